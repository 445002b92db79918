/*
 * goctl batch ...: batches as WaitGroups.
 */
#include <inttypes.h>
#include <string.h>

#include "client/cli.h"
#include "client/show.h"

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

/* A call that answers with a batch. */
static int
batch_call(struct cli *cli, PbRequest *req)
{
    struct goctl_reply *reply;
    PbBatch *b;
    int code = 0;

    reply = cli_call(cli, req, PB_RESPONSE__REPLY_BATCH, &code);
    if (reply == NULL)
        return code;
    b = goctl_response(reply)->batch;
    if (cli->a.json)
        out_json(PB_BASE(b));
    else
        batches_print(&b, 1);
    goctl_reply_free(reply);
    return 0;
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
    return batch_call(cli, &req);
}

static int
by_ref(struct cli *cli, PbRequest__CallCase what)
{
    PbBatchRef ref = PB_BATCH_REF__INIT;
    PbRequest req = PB_REQUEST__INIT;
    const char *name;
    uint64_t id;

    cli_batch(cli->argv[0], &id, &name);
    if (name != NULL)
        ref.name = cli->argv[0];
    else
        PB_SET(&ref, batch, id);
    req.call_case = what;
    req.batch_get = &ref; /* all of them are refs */
    return batch_call(cli, &req);
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

static int
run_cancel(struct cli *cli)
{
    return by_ref(cli, PB_REQUEST__CALL_BATCH_CANCEL);
}

static int
run_ls(struct cli *cli)
{
    static PbBatch__State unfinished[] = {PB_BATCH__STATE__STATE_OPEN,
                                          PB_BATCH__STATE__STATE_CLOSED};
    PbBatchList list = PB_BATCH_LIST__INIT;
    PbRequest req = PB_REQUEST__INIT;
    struct goctl_reply *reply;
    int code = 0;

    if (!cli->a.all) {
        list.states = unfinished;
        list.n_states = 2;
    }
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
    {"batch ls", "", "List the unfinished batches", "all limit", NULL, "batch ls --all",
     0, 0, false, run_ls},
    {"batch open", "[NAME]", "Open a batch that takes jobs until it is closed",
     "label deadline fail-fast max-parallel",
     "Add to it with `goctl submit ... --batch NAME`.",
     "batch open nightly --max-parallel 8", 0, 1, false, run_open},
    {"batch show", "BATCH", "A batch's state and counts", "", NULL, "batch show nightly",
     1, 1, false, run_show},
    {"batch close", "BATCH", "Take no more jobs, so that waiting can end", "", NULL,
     "batch close nightly", 1, 1, false, run_close},
    {"batch cancel", "BATCH", "Cancel a batch with all its jobs", "", NULL,
     "batch cancel nightly", 1, 1, false, run_cancel},
    {0},
};
