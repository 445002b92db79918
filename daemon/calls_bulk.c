#include <errno.h>
#include <string.h>

#include "daemon/call.h"
#include "daemon/dispatch.h"
#include "daemon/jobpb.h"
#include "daemon/select.h"
#include "daemon/store/finish.h"
#include "daemon/store/keep.h"
#include "runtime/go.h"

/*
 * Cancel, retry and purge: many jobs, a page at a time, each page one operation of the
 * writer. All three may be repeated without harm, so no request id is remembered.
 */

enum { PAGE = 1000, SHOWN_MAX = 1000 };

struct page_op {
    struct store_op op;
    const struct store_jobs *jobs;
    bool changed[PAGE]; /* of each job */
    bool running[PAGE]; /* to be told to stop */
};

static int
cancel_run(struct store *st, struct store_op *op)
{
    struct page_op *p = (struct page_op *)op;

    for (size_t i = 0; i < p->jobs->n; i++) {
        const struct store_job *j = &p->jobs->v[i];
        enum store_state now;
        int r = store_cancel_job(st, j->id, &now);

        if (r < 0 && r != -ENOENT)
            return r;
        p->running[i] = r == 0 && now == STORE_RUNNING;
        p->changed[i] = r == 0 && !store_state_final(j->state) &&
                        (now == STORE_CANCELLED || now == STORE_RUNNING);
    }
    return 0;
}

static int
retry_run(struct store *st, struct store_op *op)
{
    struct page_op *p = (struct page_op *)op;

    for (size_t i = 0; i < p->jobs->n; i++) {
        int r = store_retry_job(st, p->jobs->v[i].id);

        if (r < 0 && r != -ENOENT && r != -EBUSY)
            return r;
        p->changed[i] = r == 0;
    }
    return 0;
}

static PbBulkReply *
bulk_reply(struct call *c)
{
    PbBulkReply *rep = call_new(c, &pb_bulk_reply__descriptor);

    if (rep == NULL)
        return NULL;
    PB_SET(rep, matched, 0);
    PB_SET(rep, changed, 0);
    rep->jobs = call_array(c, SHOWN_MAX, sizeof(*rep->jobs));
    return rep->jobs != NULL ? rep : NULL;
}

static bool
applies(enum store_state s, bool retry)
{
    return retry ? s == STORE_FAILED || s == STORE_CANCELLED || s == STORE_DEAD
                 : !store_state_final(s);
}

/* The jobs of a page that the call concerns; the others are dropped from it. */
static void
keep_concerned(struct store_jobs *jobs, bool retry)
{
    size_t n = 0;

    for (size_t i = 0; i < jobs->n; i++)
        if (applies(jobs->v[i].state, retry))
            jobs->v[n++] = jobs->v[i]; /* read without spec and result: nothing to free */
    jobs->n = n;
}

static int
do_page(struct call *c, struct page_op *p, PbBulkReply *rep, bool dry_run)
{
    int r = 0;

    memset(p->changed, 0, sizeof(p->changed));
    memset(p->running, 0, sizeof(p->running));
    if (!dry_run && p->jobs->n > 0)
        r = call_write(c, &p->op);
    for (size_t i = 0; r >= 0 && i < p->jobs->n; i++) {
        rep->matched++;
        if (p->running[i])
            dispatch_stop_job(c->d->dispatch, p->jobs->v[i].id, STOP_CLIENT);
        if (!dry_run && !p->changed[i])
            continue;
        rep->changed += !dry_run;
        if (rep->n_jobs < SHOWN_MAX)
            rep->jobs[rep->n_jobs++] = (uint64_t)p->jobs->v[i].id;
    }
    return r < 0 ? r : 0;
}

static int
bulk(struct call *c, struct selection *s, bool retry, bool dry_run, PbBulkReply *rep)
{
    struct page_op *p = call_array(c, 1, sizeof(*p));
    int64_t cursor = 0;
    int r = 0;

    if (p == NULL)
        return -ENOBUFS;
    p->op.run = retry ? retry_run : cancel_run;
    do {
        struct store_jobs jobs = {0};

        r = select_next(c, s, &cursor, PAGE, &jobs);
        if (r == 0) {
            if (s->want == 0)
                keep_concerned(&jobs, retry);
            p->jobs = &jobs;
            r = do_page(c, p, rep, dry_run);
        }
        store_jobs_free(&jobs);
        if (r == 0)
            r = go_ctx_err(c->ctx);
    } while (r == 0 && cursor != 0);
    return r;
}

static int
check_selector(struct call *c, const PbSelector *in)
{
    if (!select_empty(in))
        return 0;
    return call_fail(c, PB_ERROR__CODE__INVALID, "select", "select names no jobs");
}

static int
answer(struct call *c, PbBulkReply *rep)
{
    c->rep->reply_case = PB_RESPONSE__REPLY_BULK;
    c->rep->bulk = rep;
    return 0;
}

/* --- cancel and retry -------------------------------------------------------------------- */

struct batch_op {
    struct store_op op;
    int64_t batch;
};

static int
cancel_batch_run(struct store *st, struct store_op *op)
{
    return store_cancel_batch(st, ((struct batch_op *)op)->batch);
}

/* A whole batch is cancelled by one flag: also what is added to it just now. */
static int
cancel_batch(struct call *c, int64_t batch, bool dry_run, PbBulkReply *rep)
{
    struct batch_op b = {.op = {.run = cancel_batch_run}, .batch = batch};
    struct store_batches v = {.v = NULL};
    int r = CALL_READ(c, rd, store_read_batch(rd, batch, &v));

    if (r == 0)
        r = call_fail(c, PB_ERROR__CODE__NOT_FOUND, "select.batch",
                      "there is no batch %lld", (long long)batch);
    for (int s = STORE_BLOCKED; r > 0 && s <= STORE_RUNNING; s++)
        rep->matched += (uint64_t)v.v[0].n[s - STORE_BLOCKED];
    store_batches_free(&v);
    if (r < 0 || dry_run)
        return r < 0 ? r : 0;
    r = call_write(c, &b.op);
    rep->changed = rep->matched;
    return r;
}

int
call_cancel(struct call *c)
{
    const PbCancel *in = c->req->cancel;
    PbBulkReply *rep = bulk_reply(c);
    struct selection s = {0};
    int r = rep == NULL ? -ENOBUFS : check_selector(c, in->select);

    if (r == 0)
        r = select_init(c, in->select, 0, &s);
    if (r < 0)
        return r;
    if (select_whole_batch(&s) != 0) {
        r = cancel_batch(c, s.f.batch, PB_GET(in, dry_run, 0), rep);
    } else {
        if (s.f.states == 0)
            s.f.states = 1u << STORE_BLOCKED | 1u << STORE_SCHEDULED |
                         1u << STORE_QUEUED | 1u << STORE_RUNNING;
        r = bulk(c, &s, false, PB_GET(in, dry_run, 0), rep);
    }
    return r < 0 ? r : answer(c, rep);
}

int
call_retry(struct call *c)
{
    const PbRetry *in = c->req->retry;
    PbBulkReply *rep = bulk_reply(c);
    struct selection s = {0};
    int r = rep == NULL ? -ENOBUFS : check_selector(c, in->select);

    if (r == 0)
        r = select_init(c, in->select, 0, &s);
    if (r < 0)
        return r;
    if (s.f.states == 0)
        s.f.states = 1u << STORE_FAILED | 1u << STORE_CANCELLED | 1u << STORE_DEAD;
    r = bulk(c, &s, true, PB_GET(in, dry_run, 0), rep);
    return r < 0 ? r : answer(c, rep);
}

/* --- purge ------------------------------------------------------------------------------- */

struct purge_op {
    struct store_op op;
    int64_t batch, cursor, next;
    int state, deleted;
};

static int
purge_run(struct store *st, struct store_op *op)
{
    struct purge_op *p = (struct purge_op *)op;

    p->next = p->cursor;
    p->deleted = store_purge_step(st, p->batch, p->state, &p->next, PAGE);
    return p->deleted;
}

/* One state, or 0: all final ones. */
static int
purge_state(struct call *c, const struct selection *s, int state, PbBulkReply *rep)
{
    struct purge_op p = {.op = {.run = purge_run}, .batch = s->f.batch, .state = state};
    int r;

    do {
        r = call_write(c, &p.op);
        if (r < 0)
            return r;
        rep->matched += (uint64_t)p.deleted;
        rep->changed += (uint64_t)p.deleted;
        p.cursor = p.next;
        r = go_ctx_err(c->ctx);
    } while (r == 0 && p.cursor != 0);
    return r;
}

/* The store deletes by batch and state only. */
static int
check_purge(struct call *c, const PbSelector *in, const struct selection *s)
{
    PbSelector rest = *in;
    unsigned final = 1u << STORE_SUCCEEDED | 1u << STORE_FAILED | 1u << STORE_CANCELLED |
                     1u << STORE_DEAD;

    rest.has_batch = 0;
    rest.batch_name = NULL;
    rest.n_states = 0;
    if (!select_empty(&rest))
        return call_fail(c, PB_ERROR__CODE__UNSUPPORTED, "select",
                         "purge selects by batch and state only");
    if (s->f.states & ~final)
        return call_fail(c, PB_ERROR__CODE__INVALID, "select.states",
                         "only finished jobs can be purged");
    return 0;
}

int
call_purge(struct call *c)
{
    const PbPurge *in = c->req->purge;
    PbBulkReply *rep = bulk_reply(c);
    struct selection s = {0};
    int r = rep == NULL ? -ENOBUFS : check_selector(c, in->select);

    if (r == 0)
        r = select_init(c, in->select, 0, &s);
    if (r == 0)
        r = check_purge(c, in->select, &s);
    if (r < 0)
        return r;
    if (PB_GET(in, dry_run, 0)) {
        int64_t cursor = 0;

        if (s.f.states == 0)
            s.f.states = 1u << STORE_SUCCEEDED | 1u << STORE_FAILED |
                         1u << STORE_CANCELLED | 1u << STORE_DEAD;
        do {
            struct store_jobs jobs = {0};

            r = select_next(c, &s, &cursor, PAGE, &jobs);
            rep->matched += jobs.n;
            store_jobs_free(&jobs);
        } while (r == 0 && cursor != 0);
        return r < 0 ? r : answer(c, rep);
    }
    if (s.f.states == 0)
        r = purge_state(c, &s, 0, rep);
    for (int st = STORE_SUCCEEDED; r == 0 && st < STORE_STATE_END; st++)
        if (s.f.states & 1u << st)
            r = purge_state(c, &s, st, rep);
    return r < 0 ? r : answer(c, rep);
}
