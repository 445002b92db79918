#include <errno.h>
#include <string.h>

#include "daemon/call.h"
#include "daemon/hub.h"
#include "daemon/jobpb.h"
#include "daemon/select.h"
#include "daemon/store/pool.h"
#include "runtime/go.h"

/*
 * Wait: the finished jobs of a batch, a page at a time, each once.
 *
 * While a batch runs its jobs end in any order, so the cursor (`after`, `next`) is a number
 * in the log of events: a page is the jobs whose end is logged after it. A wait that begins
 * when the batch has ended pages by the jobs' ids instead, which needs no log; BY_ID in the
 * cursor tells the two apart. Whichever way a cursor began it goes on, also after a restart
 * of the daemon.
 *
 * Without `jobs` only the end of the batch answers, or the timeout.
 */

#define BY_ID        (UINT64_C(1) << 63)
#define LIMIT_DFLT   1000
#define LIMIT_MAX    10000
#define TIMEOUT_DFLT (30 * GO_SECOND)
#define TIMEOUT_MAX  (10 * 60 * GO_SECOND)
#define PAGE_EVENTS  20000
#define PAGE_BYTES   (8 << 20) /* of results in one reply, beside the first */

struct waiting {
    struct call *c;
    const PbWait *in;
    int64_t batch;
    size_t limit;
    uint64_t cursor;
    unsigned want;
    PbWaitReply *rep;
    size_t bytes;
    bool full;
};

/* --- pages ------------------------------------------------------------------------------- */

static int
add_job(struct waiting *w, const struct store_job *j)
{
    PbJob *job = jobpb_make(w->c, j, w->want);

    if (job == NULL)
        return -ENOBUFS;
    w->rep->jobs[w->rep->n_jobs++] = job;
    w->bytes += j->result_len + 64;
    w->full = w->rep->n_jobs >= w->limit || w->bytes >= PAGE_BYTES;
    return 0;
}

static int
page_by_id(struct waiting *w)
{
    struct store_filter f = {.batch = w->batch, .kind = -1, .queue = -1};
    struct store_jobs jobs = {.v = NULL};
    int64_t after = (int64_t)(w->cursor & ~BY_ID);
    int r;

    for (int s = STORE_SUCCEEDED; s < STORE_STATE_END; s++)
        f.states |= 1u << s;
    r = CALL_READ(
        w->c, rd,
        store_read_jobs(rd, &f, after, w->limit, jobpb_store_want(w->want), &jobs));
    for (size_t i = 0; r == 0 && !w->full && i < jobs.n; i++) {
        r = add_job(w, &jobs.v[i]);
        after = jobs.v[i].id;
    }
    if (r == 0 && !w->full) {
        after = jobs.next;
        w->full = jobs.next != 0; /* a page without end may be short */
    }
    w->cursor = BY_ID | (uint64_t)after;
    store_jobs_free(&jobs);
    return r;
}

static bool
ended(const struct store_event *ev)
{
    return ev->type == EVENT_STATE && store_state_final(ev->state);
}

#define FINAL_STATES                                                                     \
    (1u << STORE_SUCCEEDED | 1u << STORE_FAILED | 1u << STORE_CANCELLED |                \
     1u << STORE_DEAD)

/* The jobs whose end is in evs, as far as they fit: the cursor goes to the event of the
 * last one that was looked at. A job taken by retention, or running again by request, is
 * not among them: there is nothing to show. */
static int
add_ended(struct waiting *w, const struct store_events *evs)
{
    struct store_jobs jobs = {.v = NULL};
    int64_t *ids = call_array(w->c, w->limit, sizeof(*ids));
    size_t n = 0, seen = 0;
    int r;

    if (ids == NULL)
        return -ENOBUFS;
    for (size_t i = 0; i < evs->n && n < w->limit; i++)
        if (ended(&evs->v[i]))
            ids[n++] = evs->v[i].job;
    r = CALL_READ(w->c, rd,
                  store_read_jobs_of(rd, ids, n, FINAL_STATES, jobpb_store_want(w->want),
                                     PAGE_BYTES, &jobs));
    for (size_t i = 0; r >= 0 && i < evs->n; i++) {
        if (ended(&evs->v[i]) && seen++ == (size_t)r) {
            w->full = true;
            break;
        }
        w->cursor = (uint64_t)evs->v[i].seq;
    }
    for (size_t i = 0; r >= 0 && i < jobs.n; i++)
        r = add_job(w, &jobs.v[i]);
    store_jobs_free(&jobs);
    return r < 0 ? r : 0;
}

static int
page_by_event(struct waiting *w)
{
    struct store_events evs = {.v = NULL};
    int r = CALL_READ(
        w->c, rd,
        store_read_events(rd, (int64_t)w->cursor + 1, w->batch, PAGE_EVENTS, &evs));

    if (r == 0)
        r = add_ended(w, &evs);
    if (r == 0 && !w->full && evs.n < PAGE_EVENTS && evs.next > 0)
        w->cursor = (uint64_t)evs.next - 1;
    w->full = w->full || evs.n == PAGE_EVENTS;
    store_events_free(&evs);
    return r;
}

/* --- waiting ----------------------------------------------------------------------------- */

/* Looks once: 1 = the reply stands, 0 = wait on. */
static int
look(struct waiting *w, bool last)
{
    struct store_batches b = {.v = NULL};
    int r = CALL_READ(w->c, rd, store_read_batch(rd, w->batch, &b));
    bool done = r > 0 && b.v[0].finished != 0;

    if (r == 0)
        r = call_fail(w->c, PB_ERROR__CODE__NOT_FOUND, "batch", "there is no batch %lld",
                      (long long)w->batch);
    if (r > 0)
        r = 0;
    if (r == 0 && w->in->jobs) {
        if (done && w->cursor == 0)
            w->cursor = BY_ID;
        r = w->cursor & BY_ID ? page_by_id(w) : page_by_event(w);
    }
    done = done && !w->full;
    if (r == 0 && (done || last || w->rep->n_jobs > 0 || w->full)) {
        w->rep->batch = jobpb_batch(w->c, &b.v[0]);
        PB_SET(w->rep, done, done);
        PB_SET(w->rep, next, w->cursor);
        r = w->rep->batch != NULL ? 1 : -ENOBUFS;
    }
    store_batches_free(&b);
    return r;
}

static int
wait_batch(struct waiting *w, int64_t deadline)
{
    struct hub_waiter hw;
    unsigned what = HUB_ENDS | (w->in->jobs ? HUB_FINISHES : 0);
    bool last = false;
    int r;

    hub_enter(w->c->d->hub, &hw, w->batch, what);
    for (;;) {
        r = look(w, last);
        if (r != 0 || last)
            break;
        r = hub_wait(w->c->d->hub, &hw, deadline, w->c->ctx);
        last = r < 0;
    }
    hub_leave(w->c->d->hub, &hw);
    return r < 0 ? r : 0;
}

/* One job: 1 = the reply stands, 0 = wait on. */
static int
look_job(struct waiting *w, bool last)
{
    struct store_jobs jobs = {.v = NULL};
    int r = CALL_READ(
        w->c, rd,
        store_read_job(rd, (int64_t)w->in->job, jobpb_store_want(w->want), &jobs));
    bool done = r > 0 && store_state_final(jobs.v[0].state);

    if (r == 0)
        r = call_fail(w->c, PB_ERROR__CODE__NOT_FOUND, "job", "there is no job %llu",
                      (unsigned long long)w->in->job);
    if (r > 0) {
        w->batch = jobs.v[0].batch;
        r = 0;
        if (done)
            r = add_job(w, &jobs.v[0]);
        if (r == 0 && (done || last)) {
            PB_SET(w->rep, done, done);
            r = 1;
        }
    }
    store_jobs_free(&jobs);
    return r;
}

static int
wait_job(struct waiting *w, int64_t deadline)
{
    struct hub_waiter hw;
    bool last = false;
    int r = look_job(w, false); /* tells the batch, too */

    if (r != 0)
        return r < 0 ? r : 0;
    hub_enter(w->c->d->hub, &hw, w->batch, HUB_FINISHES | HUB_ENDS);
    for (;;) {
        r = look_job(w, last);
        if (r != 0 || last)
            break;
        last = hub_wait(w->c->d->hub, &hw, deadline, w->c->ctx) < 0;
    }
    hub_leave(w->c->d->hub, &hw);
    return r < 0 ? r : 0;
}

/* What in asks for, and an empty reply. */
static int
begin(struct waiting *w, struct call *c, const PbWait *in, int64_t *ret_deadline)
{
    int64_t timeout = pb_duration_ns(in->timeout, TIMEOUT_DFLT);

    *w = (struct waiting){.c = c, .in = in, .limit = LIMIT_DFLT};
    if (timeout < 0) {
        (void)call_fail(c, PB_ERROR__CODE__INVALID, "timeout", "timeout is negative");
        return -EINVAL;
    }
    *ret_deadline = go_deadline(timeout < TIMEOUT_MAX ? timeout : TIMEOUT_MAX);
    if (PB_GET(in, limit, 0) > 0)
        w->limit = in->limit < LIMIT_MAX ? in->limit : LIMIT_MAX;
    w->cursor = PB_GET(in, after, 0);
    if (PB_GET(in, after, 0) == INT64_MAX) /* no event has it, nor the number behind it */
        w->cursor--;
    w->want = PB_GET(in, results, 0) ? JOBPB_RESULT : 0;
    w->rep = call_new(c, &pb_wait_reply__descriptor);
    if (w->rep == NULL)
        return -ENOBUFS;
    w->rep->jobs = call_array(c, w->limit, sizeof(*w->rep->jobs));
    return w->rep->jobs == NULL ? -ENOBUFS : 0;
}

int
call_wait_batch(struct call *c, const PbWait *in, int64_t batch, PbWaitReply **ret)
{
    struct waiting w;
    int64_t deadline;
    int r = begin(&w, c, in, &deadline);

    w.batch = batch;
    if (r == 0)
        r = wait_batch(&w, deadline);
    *ret = w.rep;
    return r;
}

int
call_wait(struct call *c)
{
    const PbWait *in = c->req->wait;
    bool by_number = in->what_case == PB_WAIT__WHAT_BATCH;
    struct waiting w;
    int64_t deadline;
    int r = begin(&w, c, in, &deadline);

    if (r < 0)
        return r;
    if (in->what_case == PB_WAIT__WHAT_JOB) {
        r = wait_job(&w, deadline);
    } else if (in->what_case == PB_WAIT__WHAT__NOT_SET) {
        r = call_fail(c, PB_ERROR__CODE__INVALID, NULL,
                      "one of batch, batch_name, job is needed");
    } else {
        r = select_batch(c, by_number, in->batch, by_number ? NULL : in->batch_name,
                         &w.batch);
        if (r == 0)
            r = wait_batch(&w, deadline);
    }
    if (r < 0)
        return r;
    c->rep->reply_case = PB_RESPONSE__REPLY_WAIT;
    c->rep->wait = w.rep;
    return 0;
}
