/*
 * goctl batch ...: batches as WaitGroups.
 */
#include <inttypes.h>
#include <string.h>

#include "client/cli.h"
#include "client/conn.h"
#include "client/show.h"
#include "client/submitter.h"
#include "client/waiter.h"

static void
batch_row(struct table *t, const PbBatch *b)
{
    static const PbCounts none = PB_COUNTS__INIT;
    const PbCounts *c = b->counts != NULL ? b->counts : &none;
    char text[SHOW_TEXT_MAX];

    table_printf(t, "%" PRIu64, b->id);
    table_text(t, b->name);
    table_text(t, show_batch_state(PB_GET(b, state, PB_BATCH__STATE__STATE_OPEN)));
    table_printf(t, "%" PRIu64, c->total);
    table_printf(t, "%" PRIu64, c->queued + c->scheduled);
    table_printf(t, "%" PRIu64, c->running);
    table_printf(t, "%" PRIu64, c->succeeded);
    table_printf(t, "%" PRIu64, c->failed + c->dead);
    table_printf(t, "%" PRIu64, c->cancelled);
    table_text(t, show_time(b->created, text));
    table_text(t, show_time(b->finished, text));
}

static void
batches_print(PbBatch *const *batches, size_t n)
{
    static const char *const heads[] = {">ID",        "NAME",     "STATE",      ">JOBS",
                                        ">WAITING",   ">RUNNING", ">SUCCEEDED", ">FAILED",
                                        ">CANCELLED", "CREATED",  "FINISHED"};
    struct table t;

    table_init(&t, sizeof(heads) / sizeof(heads[0]), heads);
    for (size_t i = 0; i < n; i++)
        batch_row(&t, batches[i]);
    table_print(&t);
    table_fini(&t);
}

static void
print_batch(struct cli *cli, PbBatch *b)
{
    if (cli->a.json)
        out_json(PB_BASE(b));
    else
        batches_print(&b, 1);
}

/* A call that answers with a batch, which is printed; verdict, if not NULL, makes the exit
 * code of it. */
static int
batch_call(struct cli *cli, PbRequest *req, int (*verdict)(const PbBatch *))
{
    struct goctl_reply *reply;
    int code = 0;

    reply = cli_call(cli, req, PB_RESPONSE__REPLY_BATCH, &code);
    if (reply == NULL)
        return code;
    print_batch(cli, goctl_response(reply)->batch);
    if (verdict != NULL)
        code = verdict(goctl_response(reply)->batch);
    goctl_reply_free(reply);
    return code;
}

static int
run_open(struct cli *cli)
{
    const struct args *a = &cli->a;
    PbBatchSpec spec = PB_BATCH_SPEC__INIT;
    PbBatchOpen open = PB_BATCH_OPEN__INIT;
    PbRequest req = PB_REQUEST__INIT;
    struct cli_pair *pairs;

    if (!cli_pairs(cli, false, &pairs, &spec.n_labels))
        return EXIT_USAGE;
    spec.labels = cli_alloc(cli, (spec.n_labels + 1) * sizeof(*spec.labels));
    for (size_t i = 0; i < spec.n_labels; i++) {
        spec.labels[i] = cli_new(cli, &pb_batch_spec__labels_entry__descriptor);
        spec.labels[i]->key = pairs[i].key;
        spec.labels[i]->value = pairs[i].value;
    }
    if (cli->argc > 0)
        spec.name = cli->argv[0];
    if (a->deadline_ns > 0)
        spec.timeout = cli_duration(cli, a->deadline_ns);
    if (a->fail_fast)
        PB_SET(&spec, fail_fast, true);
    if (opt_given(a, "max-parallel"))
        PB_SET(&spec, max_parallel, (uint32_t)a->max_parallel);
    open.spec = &spec;
    req.call_case = PB_REQUEST__CALL_BATCH_OPEN;
    req.batch_open = &open;
    return batch_call(cli, &req, NULL);
}

/* A call about the batch that the first argument names. */
static void
set_ref(struct cli *cli, PbRequest__CallCase what, PbBatchRef *ref, PbRequest *req)
{
    const char *name;
    uint64_t id;

    cli_batch(cli->argv[0], &id, &name);
    if (name != NULL)
        ref->name = cli->argv[0];
    else
        PB_SET(ref, batch, id);
    req->call_case = what;
    req->batch_get = ref; /* all of them are refs */
}

static int
by_ref(struct cli *cli, PbRequest__CallCase what)
{
    PbBatchRef ref = PB_BATCH_REF__INIT;
    PbRequest req = PB_REQUEST__INIT;

    set_ref(cli, what, &ref, &req);
    return batch_call(cli, &req, NULL);
}

static int
run_show(struct cli *cli)
{
    return by_ref(cli, PB_REQUEST__CALL_BATCH_GET);
}

static int
run_close(struct cli *cli)
{
    return by_ref(cli, PB_REQUEST__CALL_BATCH_CLOSE);
}

/* A dry run is the bulk call's: it says how many jobs, and which. */
static int
run_cancel(struct cli *cli)
{
    PbSelector select = PB_SELECTOR__INIT;
    PbCancel cancel = PB_CANCEL__INIT;
    PbRequest req = PB_REQUEST__INIT;
    const char *name;
    uint64_t id;

    if (!cli->a.dry_run)
        return by_ref(cli, PB_REQUEST__CALL_BATCH_CANCEL);
    cli_batch(cli->argv[0], &id, &name);
    if (name != NULL)
        select.batch_name = cli->argv[0];
    else
        PB_SET(&select, batch, id);
    cancel.select = &select;
    PB_SET(&cancel, dry_run, true);
    req.call_case = PB_REQUEST__CALL_CANCEL;
    req.cancel = &cancel;
    return bulk_report(cli, &req, "cancelled", 0);
}

/* What came of a batch, as an exit code. */
static int
verdict(const PbBatch *b)
{
    const PbCounts *c = b->counts;

    if (b->error != NULL && PB_GET(b->error, code, 0) == PB_ERROR__CODE__DEADLINE)
        return EXIT_DEADLINE;
    return (c != NULL && c->failed + c->cancelled + c->dead > 0) ||
                   PB_GET(b, state, 0) == PB_BATCH__STATE__STATE_CANCELLED
               ? EXIT_JOB
               : EXIT_ALL_WELL;
}

static int
run_wait(struct cli *cli)
{
    PbBatchRef ref = PB_BATCH_REF__INIT;
    PbRequest req = PB_REQUEST__INIT;
    struct goctl_reply *reply;
    struct waiter w;
    int code = 0;

    set_ref(cli, cli->a.close ? PB_REQUEST__CALL_BATCH_CLOSE : PB_REQUEST__CALL_BATCH_GET,
            &ref, &req);
    reply = cli_call(cli, &req, PB_RESPONSE__REPLY_BATCH, &code);
    if (reply == NULL)
        return code;
    PB_SET(&ref, batch, goctl_response(reply)->batch->id); /* whatever its name does */
    ref.name = NULL;
    goctl_reply_free(reply);
    waiter_init(&w, cli);
    w.w.jobs = false;
    w.w.results = false;
    w.w.batch = ref.batch;
    if (cli->a.timeout_ns > 0)
        w.until_ns = goctl_now() + cli->a.timeout_ns;
    interrupt_batch(w.w.batch);
    waiter_run(&w);
    if (w.broken != 0)
        return w.broken;
    req.call_case = PB_REQUEST__CALL_BATCH_GET;
    return batch_call(cli, &req, verdict);
}

/* What --state, --all and --label choose. */
static bool
list_options(struct cli *cli, PbBatchList *list)
{
    static PbBatch__State unfinished[] = {PB_BATCH__STATE__STATE_OPEN,
                                          PB_BATCH__STATE__STATE_CLOSED};
    struct cli_pair *pairs;
    int *states;

    if (!cli_enums(cli, &cli->a.states, &pb_batch__state__descriptor, "--state", &states,
                   &list->n_states) ||
        !cli_pairs(cli, true, &pairs, &list->n_labels))
        return false;
    list->states = (PbBatch__State *)states;
    if (list->n_states == 0 && !cli->a.all) {
        list->states = unfinished;
        list->n_states = 2;
    }
    list->labels = cli_alloc(cli, (list->n_labels + 1) * sizeof(*list->labels));
    for (size_t i = 0; i < list->n_labels; i++) {
        list->labels[i] = cli_new(cli, &pb_batch_list__labels_entry__descriptor);
        list->labels[i]->key = pairs[i].key;
        list->labels[i]->value = pairs[i].value;
    }
    return true;
}

static int
run_ls(struct cli *cli)
{
    PbBatchList list = PB_BATCH_LIST__INIT;
    PbRequest req = PB_REQUEST__INIT;
    struct goctl_reply *reply;
    int code = 0;

    if (!list_options(cli, &list))
        return EXIT_USAGE;
    PB_SET(&list, limit, opt_given(&cli->a, "limit") ? (uint32_t)cli->a.limit : 100);
    req.call_case = PB_REQUEST__CALL_BATCH_LIST;
    req.batch_list = &list;
    reply = cli_call(cli, &req, PB_RESPONSE__REPLY_BATCH_LIST, &code);
    if (reply == NULL)
        return code;
    if (cli->a.json)
        for (size_t i = 0; i < goctl_response(reply)->batch_list->n_batches; i++)
            out_json(PB_BASE(goctl_response(reply)->batch_list->batches[i]));
    else
        batches_print(goctl_response(reply)->batch_list->batches,
                      goctl_response(reply)->batch_list->n_batches);
    goctl_reply_free(reply);
    return 0;
}

const struct command batch_commands[] = {
    {"batch ls", "", "List the unfinished batches", "all state label limit",
     "--state takes open, closed, done and cancelled; --all is all of them.",
     "batch ls --all --label team=web", 0, 0, false, run_ls},
    {"batch open", "[NAME]", "Open a batch that takes jobs until it is closed",
     "label deadline fail-fast max-parallel",
     "Add to it with `goctl batch add`, or `goctl submit ... --batch NAME`. Opening one "
     "that is\n"
     "open already answers with it, as it is.",
     "batch open nightly --max-parallel 8", 0, 1, false, run_open},
    {"batch add", "BATCH KIND ARG... | BATCH -f FILE", "Add jobs to an open batch",
     SUBMIT_ADD_OPTIONS,
     "As `goctl submit KIND ARG... --batch BATCH`, which makes the batch where there is "
     "none; this\n"
     "command does not.",
     "batch add nightly sum 1 2 3", 1, ARGS_ANY, false, submit_add},
    {"batch wait", "BATCH", "Wait until a batch is closed and none of its jobs is left",
     "timeout close",
     "Like WaitGroup's Wait: prints the batch's line when its counter reaches zero. An "
     "open batch\n"
     "is waited for until somebody closes it; --close does so first. Exit status 1: a "
     "job "
     "did not\n"
     "succeed; 124: its deadline passed, or --timeout did. `goctl wait` prints the jobs.",
     "batch wait nightly --close", 1, 1, false, run_wait},
    {"batch show", "BATCH", "A batch's state and counts", "",
     "BATCH is a number, or a name: the newest batch of that name.", "batch show nightly",
     1, 1, false, run_show},
    {"batch close", "BATCH", "Take no more jobs, so that waiting can end", "", NULL,
     "batch close nightly", 1, 1, false, run_close},
    {"batch cancel", "BATCH", "Cancel a batch with all its jobs", "dry-run", NULL,
     "batch cancel nightly", 1, 1, false, run_cancel},
    {0},
};
