/*
 * goctl wait: for a batch, or for the jobs that options select.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "client/conn.h"
#include "client/show.h"
#include "client/waiter.h"

enum { PAGE = 500 };

/* The selected jobs that are not finished. */
struct unfinished {
    uint64_t *ids;
    size_t n, cap;
};

static bool
remember(struct unfinished *u, uint64_t id)
{
    if (u->n == u->cap) {
        size_t cap = u->cap > 0 ? u->cap * 2 : 64;
        uint64_t *ids = realloc(u->ids, cap * sizeof(*ids));

        if (ids == NULL)
            return false;
        u->ids = ids;
        u->cap = cap;
    }
    u->ids[u->n++] = id;
    return true;
}

/* Prints what has finished of a page and remembers the rest. */
static int
take_page(struct waiter *w, struct unfinished *u, const PbListReply *r)
{
    w->many = w->many || r->n_jobs > 1;
    for (size_t i = 0; i < r->n_jobs; i++)
        if (show_finished(r->jobs[i]->state))
            waiter_job(w, r->jobs[i]);
        else if (!remember(u, r->jobs[i]->id))
            return out_fail(EXIT_JOB, "out of memory");
    out_flush();
    return 0;
}

/* All that match now. */
static int
look(struct waiter *w, PbSelector *select, struct unfinished *u)
{
    PbList list = PB_LIST__INIT;
    PbRequest req = PB_REQUEST__INIT;
    bool more = true;
    int code = 0;

    list.select = select;
    PB_SET(&list, oldest_first, true);
    PB_SET(&list, results, true);
    PB_SET(&list, limit, PAGE);
    req.call_case = PB_REQUEST__CALL_LIST;
    req.list = &list;
    while (more && code == 0) {
        struct goctl_reply *reply =
            cli_call(w->cli, &req, PB_RESPONSE__REPLY_LIST, &code);
        const PbListReply *r;

        if (reply == NULL)
            break;
        r = goctl_response(reply)->list;
        code = take_page(w, u, r);
        more = r->has_next;
        PB_SET(&list, after, r->next);
        goctl_reply_free(reply);
    }
    return code;
}

/* Those that match as it begins; each is waited for by a call of its own, which costs the
 * daemon nothing while the job runs. */
static int
wait_selected(struct waiter *w, PbSelector *select)
{
    struct unfinished u = {0};
    int code = look(w, select, &u);

    w->many = w->many || u.n > 1;
    if (code == 0 && u.n == 0 && w->succeeded + w->others == 0)
        code = out_fail(EXIT_REFUSED, "no job matches");
    for (size_t i = 0; code == 0 && w->broken == 0 && i < u.n; i++)
        waiter_one(w, u.ids[i], 0);
    free(u.ids);
    return code != 0 ? code : waiter_code(w);
}

static int
run_wait(struct cli *cli)
{
    struct args *a = &cli->a;
    PbSelector *select;
    struct waiter w;

    if (cli->argc > 0 && a->batch != NULL)
        return out_fail(EXIT_USAGE, "give the batch once");
    if (cli->argc > 0)
        a->batch = cli->argv[0];
    if (!cli_selector(cli, &select))
        return EXIT_USAGE;
    if (select == NULL)
        return out_fail(EXIT_USAGE, "wait for what? A batch, or what --label, --name, "
                                    "--queue, --kind or --state select");
    waiter_init(&w, cli);
    if (a->timeout_ns > 0)
        w.until_ns = goctl_now() + a->timeout_ns;
    if (select->n_labels + select->n_kinds + select->n_states > 0 ||
        select->name != NULL || select->queue != NULL)
        return wait_selected(&w, select);
    cli_batch(a->batch, &w.w.batch, &w.w.batch_name);
    interrupt_batch(w.w.batch);
    waiter_run(&w);
    return waiter_code(&w);
}

const struct command wait_commands[] = {
    {"wait", "[BATCH]", "Wait for a batch, or for selected jobs, and print what finishes",
     "timeout batch label name queue kind state",
     "BATCH is a number, or a name: the newest batch of that name. A batch is done when "
     "it "
     "is\n"
     "closed and none of its jobs is left; one that is open is waited for until it is "
     "closed.\n"
     "With --label and the like it is the jobs that match as it begins. What finished "
     "before is\n"
     "printed, too. Exit status 124: the batch's deadline passed, or --timeout did.",
     "wait nightly --timeout 1m", 0, 1, false, run_wait},
    {0},
};
