/*
 * goctl cancel, retry, purge: one job, or all that the options select.
 */
#include <inttypes.h>

#include "client/cli.h"

/* The jobs named as arguments and what the options select; all must hold. */
static bool
selection(struct cli *cli, PbSelector **ret)
{
    PbSelector *s;

    if (!cli_selector(cli, &s))
        return false;
    if (s == NULL && cli->argc == 0) {
        (void)out_fail(EXIT_USAGE, "which jobs? Name them, or select: --batch, --state, "
                                   "--kind, --label, --name, --queue");
        return false;
    }
    if (s == NULL)
        s = cli_new(cli, &pb_selector__descriptor);
    s->jobs = cli_alloc(cli, (cli->argc + 1) * sizeof(*s->jobs));
    for (size_t i = 0; i < cli->argc; i++)
        if (!cli_id(cli->argv[i], &s->jobs[s->n_jobs++]))
            return false;
    *ret = s;
    return true;
}

static int
report(struct cli *cli, PbRequest *req, const char *verb)
{
    struct goctl_reply *reply;
    const PbBulkReply *r;
    int code = 0;

    reply = cli_call(cli, req, PB_RESPONSE__REPLY_BULK, &code);
    if (reply == NULL)
        return code;
    r = goctl_response(reply)->bulk;
    if (cli->a.json) {
        out_json(PB_BASE(r));
    } else {
        if (cli->a.dry_run)
            out_printf("%" PRIu64 " jobs match; nothing was changed\n", r->matched);
        else
            out_printf("%" PRIu64 " of %" PRIu64 " jobs %s\n", r->changed, r->matched,
                       verb);
        for (size_t i = 0; cli->a.dry_run && i < r->n_jobs; i++)
            out_printf("%" PRIu64 "%s", r->jobs[i], i + 1 == r->n_jobs ? "\n" : " ");
    }
    goctl_reply_free(reply);
    return 0;
}

static int
run_cancel(struct cli *cli)
{
    PbCancel c = PB_CANCEL__INIT;
    PbRequest req = PB_REQUEST__INIT;

    if (!selection(cli, &c.select))
        return EXIT_USAGE;
    PB_SET(&c, dry_run, cli->a.dry_run);
    c.reason = cli->a.reason;
    req.call_case = PB_REQUEST__CALL_CANCEL;
    req.cancel = &c;
    return report(cli, &req, "cancelled");
}

static int
run_retry(struct cli *cli)
{
    PbRetry c = PB_RETRY__INIT;
    PbRequest req = PB_REQUEST__INIT;

    if (!selection(cli, &c.select))
        return EXIT_USAGE;
    PB_SET(&c, dry_run, cli->a.dry_run);
    req.call_case = PB_REQUEST__CALL_RETRY;
    req.retry = &c;
    return report(cli, &req, "queued again");
}

static int
run_purge(struct cli *cli)
{
    PbPurge c = PB_PURGE__INIT;
    PbRequest req = PB_REQUEST__INIT;

    if (!selection(cli, &c.select))
        return EXIT_USAGE;
    PB_SET(&c, dry_run, cli->a.dry_run);
    req.call_case = PB_REQUEST__CALL_PURGE;
    req.purge = &c;
    return report(cli, &req, "deleted");
}

#define BULK_OPTIONS "batch state kind label name queue dry-run "

const struct command bulk_commands[] = {
    {"cancel", "JOB... | --batch B", "Cancel jobs, queued or running",
     BULK_OPTIONS "reason", "Several conditions must all hold.", "cancel --batch 7", 0,
     ARGS_ANY, false, run_cancel},
    {"retry", "JOB... | --state dead", "Queue finished jobs again", BULK_OPTIONS, NULL,
     "retry --batch 7 --state failed,dead", 0, ARGS_ANY, false, run_retry},
    {"purge", "JOB... | --state S", "Delete finished jobs and their results",
     BULK_OPTIONS, NULL, "purge --state succeeded --label run=old --dry-run", 0, ARGS_ANY,
     false, run_purge},
    {0},
};
