/*
 * goctl queue ...: named queues and their limits.
 */
#include <inttypes.h>

#include "client/cli.h"
#include "client/table.h"

static void
limit_cell(struct table *t, bool has, double v)
{
    if (has && v > 0)
        table_printf(t, "%g", v);
    else
        table_text(t, "-");
}

static void
queues_print(PbQueue *const *queues, size_t n)
{
    static const char *const heads[] = {"QUEUE",    ">SCHEDULED", ">QUEUED", ">RUNNING",
                                        ">AT ONCE", ">RATE",      ">BURST",  "STATE"};
    static const PbQueueLimits none = PB_QUEUE_LIMITS__INIT;
    struct table t;

    table_init(&t, sizeof(heads) / sizeof(heads[0]), heads);
    for (size_t i = 0; i < n; i++) {
        const PbQueue *q = queues[i];
        const PbQueueLimits *l = q->limits != NULL ? q->limits : &none;

        table_text(&t, q->name);
        table_printf(&t, "%" PRIu64, q->scheduled);
        table_printf(&t, "%" PRIu64, q->queued);
        table_printf(&t, "%" PRIu64, q->running);
        limit_cell(&t, l->has_running, l->running);
        limit_cell(&t, l->has_rate, l->rate);
        limit_cell(&t, l->has_burst, l->burst);
        table_text(&t, PB_GET(l, paused, false) ? "paused" : "");
    }
    table_print(&t);
    table_fini(&t);
}

static int
run_ls(struct cli *cli)
{
    PbQueueList list = PB_QUEUE_LIST__INIT;
    PbRequest req = PB_REQUEST__INIT;
    struct goctl_reply *reply;
    const PbQueueListReply *r;
    int code = 0;

    req.call_case = PB_REQUEST__CALL_QUEUE_LIST;
    req.queue_list = &list;
    reply = cli_call(cli, &req, PB_RESPONSE__REPLY_QUEUE_LIST, &code);
    if (reply == NULL)
        return code;
    r = goctl_response(reply)->queue_list;
    if (cli->a.json)
        for (size_t i = 0; i < r->n_queues; i++)
            out_json(PB_BASE(r->queues[i]));
    else
        queues_print(r->queues, r->n_queues);
    goctl_reply_free(reply);
    return 0;
}

static int
queue_call(struct cli *cli, PbRequest *req)
{
    struct goctl_reply *reply;
    PbQueue *q;
    int code = 0;

    reply = cli_call(cli, req, PB_RESPONSE__REPLY_QUEUE, &code);
    if (reply == NULL)
        return code;
    q = goctl_response(reply)->queue;
    if (cli->a.json)
        out_json(PB_BASE(q));
    else
        queues_print(&q, 1);
    goctl_reply_free(reply);
    return 0;
}

static int
by_name(struct cli *cli, PbRequest__CallCase what)
{
    PbQueueRef ref = PB_QUEUE_REF__INIT;
    PbRequest req = PB_REQUEST__INIT;

    ref.name = cli->argv[0];
    req.call_case = what;
    req.queue_pause = &ref; /* both are refs */
    return queue_call(cli, &req);
}

static int
run_pause(struct cli *cli)
{
    return by_name(cli, PB_REQUEST__CALL_QUEUE_PAUSE);
}

static int
run_resume(struct cli *cli)
{
    return by_name(cli, PB_REQUEST__CALL_QUEUE_RESUME);
}

static int
run_set(struct cli *cli)
{
    const struct args *a = &cli->a;
    PbQueueLimits limits = PB_QUEUE_LIMITS__INIT;
    PbQueueSet set = PB_QUEUE_SET__INIT;
    PbRequest req = PB_REQUEST__INIT;

    if (opt_given(a, "running"))
        PB_SET(&limits, running, (uint32_t)a->running);
    if (opt_given(a, "rate"))
        PB_SET(&limits, rate, a->rate);
    if (opt_given(a, "burst"))
        PB_SET(&limits, burst, (uint32_t)a->burst);
    if (!limits.has_running && !limits.has_rate && !limits.has_burst)
        return out_fail(EXIT_USAGE, "set what? --running N, --rate R or --burst N");
    set.name = cli->argv[0];
    set.limits = &limits;
    req.call_case = PB_REQUEST__CALL_QUEUE_SET;
    req.queue_set = &set;
    return queue_call(cli, &req);
}

const struct command queue_commands[] = {
    {"queue ls", "", "List queues, their load and limits", "", NULL, "queue ls", 0, 0,
     false, run_ls},
    {"queue pause", "QUEUE", "Start no more of its jobs", "", NULL, "queue pause mail", 1,
     1, false, run_pause},
    {"queue resume", "QUEUE", "Go on", "", NULL, "queue resume mail", 1, 1, false,
     run_resume},
    {"queue set", "QUEUE", "Change its limits", "running rate burst", NULL,
     "queue set mail --running 10 --rate 5 --burst 20", 1, 1, false, run_set},
    {0},
};
