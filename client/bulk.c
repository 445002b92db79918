/*
 * goctl cancel, retry, purge: one job, or all that the options select.
 */
#include <inttypes.h>

#include "client/cli.h"

enum { SHOWN = 20 };

/* The jobs named as arguments and what the options select; all must hold. */
static bool
selection(struct cli *cli, PbSelector **ret)
{
    PbSelector *s;

    if (!cli_selector(cli, &s))
        return false;
    if (s == NULL && cli->argc == 0) {
        (void)out_fail(EXIT_USAGE, "which jobs? Name them, or select: --batch, --state, "
                                   "--kind, --label, --name, --queue, --schedule, "
                                   "--finished-before");
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

/* Some of the jobs, on one line. */
static void
print_first(const PbBulkReply *r)
{
    size_t n = r->n_jobs < SHOWN ? r->n_jobs : SHOWN;

    for (size_t i = 0; i < n; i++)
        out_printf("%s%" PRIu64, i > 0 ? " " : "", r->jobs[i]);
    if (n > 0)
        out_printf("%s\n", r->matched > n ? " ..." : "");
}

int
bulk_report(struct cli *cli, PbRequest *req, const char *verb, size_t named)
{
    struct goctl_reply *reply;
    const PbBulkReply *r;
    uint64_t done;
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
        if (cli->a.dry_run)
            print_first(r);
    }
    /* Who names jobs means them: that there was nothing to do is worth a word. */
    done = cli->a.dry_run ? r->matched : r->changed;
    if (done < named) {
        out_note("%zu of the jobs named cannot be %s: see goctl show JOB",
                 named - (size_t)done, verb);
        code = EXIT_JOB;
    }
    goctl_reply_free(reply);
    return code;
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
    return bulk_report(cli, &req, "cancelled", cli->argc);
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
    return bulk_report(cli, &req, "queued again", cli->argc);
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
    return bulk_report(cli, &req, "deleted", cli->argc);
}

#define BULK_OPTIONS SELECT_OPTIONS "dry-run "

const struct command bulk_commands[] = {
    {"cancel", "JOB... | --batch B", "Cancel jobs, queued or running",
     BULK_OPTIONS "reason", "Several conditions must all hold.", "cancel --batch 7", 0,
     ARGS_ANY, false, run_cancel},
    {"retry", "JOB... | --state dead", "Queue finished jobs again", BULK_OPTIONS,
     "Those that failed, were cancelled or are dead. A job that has needs waits for them "
     "again,\nas far as they have not ended; while they ended badly it is left alone.",

     "retry --batch 7 --state failed,dead", 0, ARGS_ANY, false, run_retry},
    {"purge", "JOB... | --state S", "Delete finished jobs and their results",
     BULK_OPTIONS, "Jobs that others still wait for stay.",
     "purge --state succeeded --label run=old --finished-before 7d --dry-run", 0,
     ARGS_ANY, false, run_purge},
    {0},
};
