#include <errno.h>
#include <stdlib.h>

#include "daemon/call.h"
#include "daemon/eventpb.h"
#include "daemon/hub.h"
#include "daemon/jobpb.h"
#include "daemon/pulse.h"
#include "daemon/select.h"
#include "runtime/go.h"

/*
 * Events after a number, from the log; waits when there are none yet. A selector is looked
 * up job by job, and what a job is goes into its events; so a page is taken in slices,
 * whose jobs are read together.
 */

#define TIMEOUT_DFLT (30 * GO_SECOND)
#define TIMEOUT_MAX  (10 * 60 * GO_SECOND)
#define WANT         (STORE_WANT_SPEC | STORE_WANT_SMALL)
#define PAUSE        (20 * GO_MILLISECOND) /* when nothing of what happened was selected */

enum { LIMIT_DFLT = 1000, LIMIT_MAX = 10000, SLICE = 64 };

struct query {
    struct call *c;
    const PbEvents *in;
    struct selection s;
    bool jobs_only; /* the selector has conditions on jobs */
    size_t limit;
    int64_t after;
    uint64_t progress_after;
    PbEventsReply *rep;
};

/* --- what is selected -------------------------------------------------------------------- */

/* 1: j, in that state, is selected, 0: not; or refused. */
static int
matches(struct query *q, const struct store_job *j, enum store_state state)
{
    if (q->s.f.states != 0 && !(q->s.f.states & 1u << state))
        return 0;
    return q->jobs_only ? select_matches(q->c, &q->s, j) : 1;
}

/* A queue that there was not may have come into being. */
static int
look_for_queue(struct query *q)
{
    int r;

    if (!q->s.nothing)
        return 0;
    r = select_queue(q->c, q->in->select->queue, false, &q->s.f.queue);
    q->s.nothing = r == 0;
    return r < 0 ? r : 0;
}

/* --- pages ------------------------------------------------------------------------------- */

static int
by_number(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return x < y ? -1 : x > y;
}

/* Reads the jobs of ids, of which some may be twice there, in order of id. */
static int
read_jobs(struct query *q, int64_t *ids, size_t n, struct store_jobs *ret)
{
    size_t k = 0;
    int r;

    qsort(ids, n, sizeof(*ids), by_number);
    for (size_t i = 0; i < n; i++)
        if (k == 0 || ids[i] != ids[k - 1])
            ids[k++] = ids[i];
    r = CALL_READ(q->c, rd,
                  store_read_jobs_of(rd, ids, k, UINT32_MAX, WANT, SIZE_MAX, ret));
    return r < 0 ? r : 0;
}

static int
by_id(const void *a, const void *b)
{
    int64_t x = ((const struct store_job *)a)->id, y = ((const struct store_job *)b)->id;

    return x < y ? -1 : x > y;
}

/* NULL: retention has taken it. */
static const struct store_job *
find(const struct store_jobs *jobs, int64_t id)
{
    struct store_job key = {.id = id};

    return jobs->n == 0 ? NULL : bsearch(&key, jobs->v, jobs->n, sizeof(key), by_id);
}

static int
add(struct query *q, PbEvent *ev)
{
    if (ev == NULL)
        return call_fail(q->c, PB_ERROR__CODE__TOO_LARGE, "limit",
                         "the reply is too large");
    q->rep->events[q->rep->n_events++] = ev;
    return 0;
}

/* As it is now: the event does not keep what it was. */
static int
fill_queue(struct query *q, const struct store_event *ev, PbEvent *out)
{
    struct store_queues v = {.v = NULL};
    int r = CALL_READ(q->c, rd, store_read_queues(rd, &v));

    for (size_t i = 0; r == 0 && i < v.n; i++) {
        struct store_queue_conf conf = {v.v[i].paused, v.v[i].parallel, v.v[i].rate,
                                        v.v[i].burst};

        if (v.v[i].id == ev->job)
            r = eventpb_queue(&q->c->mem, out, v.v[i].name, &conf);
    }
    store_queues_info_free(&v);
    return r;
}

static int
add_event(struct query *q, const struct store_event *ev, const struct store_jobs *jobs)
{
    const struct store_job *j = eventpb_of_job(ev) ? find(jobs, ev->job) : NULL;
    int r = j != NULL ? matches(q, j, ev->state) : !q->jobs_only;

    if (r > 0)
        r = add(q, eventpb_make(&q->c->mem, ev)) < 0 ? -ENOBUFS : 1;
    if (r > 0 && j != NULL)
        r = eventpb_fill(q->c, ev, j, q->rep->events[q->rep->n_events - 1]);
    if (r > 0 && ev->type == EVENT_QUEUE)
        r = fill_queue(q, ev, q->rep->events[q->rep->n_events - 1]);
    return r < 0 ? r : 0;
}

static int
add_slice(struct query *q, const struct store_event *v, size_t n)
{
    struct store_jobs jobs = {.v = NULL};
    int64_t ids[SLICE];
    size_t k = 0;
    int r = 0;

    for (size_t i = 0; i < n; i++)
        if (eventpb_of_job(&v[i]))
            ids[k++] = v[i].job;
    if (k > 0 && !q->s.nothing)
        r = read_jobs(q, ids, k, &jobs);
    for (size_t i = 0; r == 0 && i < n; i++)
        r = add_event(q, &v[i], &jobs);
    store_jobs_free(&jobs);
    return r;
}

/* Some of the events after q->after, which moves on: 1 = there may be more of them. */
static int
page(struct query *q)
{
    int64_t asked = q->after;
    struct store_events v = {.v = NULL};
    int r =
        CALL_READ(q->c, rd, store_read_events(rd, asked + 1, q->s.f.batch, q->limit, &v));

    if (r == 0 && v.first_kept > asked + 1 && asked != 0)
        PB_SET(q->rep, lost, 1);
    if (r == 0)
        r = look_for_queue(q);
    for (size_t i = 0; r == 0 && i < v.n; i += SLICE)
        r = add_slice(q, v.v + i, v.n - i < SLICE ? v.n - i : SLICE);
    if (r == 0)
        r = v.n == q->limit;
    /* When all there is was seen, q->after may have been beyond it. */
    if (r >= 0)
        q->after = r > 0 ? v.v[v.n - 1].seq : v.next - 1;
    store_events_free(&v);
    return r;
}

static int
add_beat(struct query *q, const struct pulse_beat *b)
{
    struct store_jobs jobs = {.v = NULL};
    struct dispatch_look now;
    int r = 1;

    /* What came of a job that ended has been told. */
    if ((q->s.f.batch != 0 && b->look.batch != q->s.f.batch) ||
        !dispatch_look(q->c->d->dispatch, b->look.job, &now) || q->s.nothing)
        return 0;
    if (q->jobs_only) {
        int64_t id = b->look.job;

        r = read_jobs(q, &id, 1, &jobs);
        if (r == 0 && jobs.n > 0)
            r = matches(q, &jobs.v[0], STORE_RUNNING);
        store_jobs_free(&jobs);
    }
    return r > 0 ? add(q, eventpb_progress(&q->c->mem, b, q->after)) : r;
}

static int
progress(struct query *q)
{
    struct pulse_beat v[SLICE];
    size_t n, want;
    int r = 0;

    do {
        want = q->limit - q->rep->n_events;
        want = want < SLICE ? want : SLICE;
        n = pulse_read(q->c->d->pulse, &q->progress_after, want, v);
        for (size_t i = 0; r == 0 && i < n; i++)
            r = add_beat(q, &v[i]);
    } while (r == 0 && n == want && q->rep->n_events < q->limit);
    return r;
}

/* --- the call ---------------------------------------------------------------------------- */

static int
query_init(struct query *q)
{
    const PbSelector *in = q->in->select;
    uint64_t after = PB_GET(q->in, after, 0);
    PbSelector rest;
    int r;

    q->limit = PB_GET(q->in, limit, 0) > 0 ? q->in->limit : LIMIT_DFLT;
    q->limit = q->limit < LIMIT_MAX ? q->limit : LIMIT_MAX;
    q->after = after < INT64_MAX ? (int64_t)after : INT64_MAX - 1;
    q->progress_after = PB_GET(q->in, progress_after, 0);
    q->rep->events = call_array(q->c, q->limit, sizeof(*q->rep->events));
    if (q->rep->events == NULL)
        return -ENOBUFS;
    if (in != NULL && in->finished_before != NULL)
        return call_fail(q->c, PB_ERROR__CODE__INVALID, "select.finished_before",
                         "events are not selected by when their job finished");
    r = select_init(q->c, in, 0, &q->s);
    if (r < 0 || in == NULL)
        return r;
    rest = *in;
    rest.has_batch = 0;
    rest.batch_name = NULL;
    q->jobs_only = !select_empty(&rest);
    return 0;
}

/* Looks once; 1: there is something, or more to look through. */
static int
look(struct query *q)
{
    int r = page(q);

    if (r >= 0 && PB_GET(q->in, progress, 0) && q->rep->n_events < q->limit &&
        progress(q) < 0)
        r = -ENOBUFS;
    return r < 0 ? r : r > 0 || q->rep->n_events > 0;
}

static int
wait_for_some(struct query *q)
{
    struct daemon *d = q->c->d;
    int64_t timeout = pb_duration_ns(q->in->timeout, TIMEOUT_DFLT);
    int64_t deadline = go_deadline(timeout < TIMEOUT_MAX ? timeout : TIMEOUT_MAX);
    bool beats = PB_GET(q->in, progress, 0);
    struct hub_waiter w;
    bool last = false;
    int r;

    if (beats)
        pulse_watch(d->pulse, 1);
    hub_enter(d->hub, &w, q->s.f.batch, HUB_ANY | (beats ? HUB_PROGRESS : 0));
    for (;;) {
        do
            r = look(q);
        while (r > 0 && q->rep->n_events == 0);
        if (r != 0 || last || timeout <= 0)
            break;
        last = hub_wait(d->hub, &w, deadline, q->c->ctx) < 0;
        /* Those who select little of much are not woken by each commit. */
        if (!last && q->jobs_only)
            last = go_ctx_sleep(q->c->ctx, PAUSE) < 0;
    }
    hub_leave(d->hub, &w);
    if (beats)
        pulse_watch(d->pulse, -1);
    return r < 0 ? r : 0;
}

int
call_events(struct call *c)
{
    struct query q = {.c = c, .in = c->req->events};
    int r;

    q.rep = call_new(c, &pb_events_reply__descriptor);
    r = q.rep == NULL ? -ENOBUFS : query_init(&q);
    if (r == 0)
        r = wait_for_some(&q);
    if (r < 0)
        return r;
    PB_SET(q.rep, next, (uint64_t)q.after);
    if (PB_GET(q.in, progress, 0))
        PB_SET(q.rep, progress_next, q.progress_after);
    c->rep->reply_case = PB_RESPONSE__REPLY_EVENTS;
    c->rep->events = q.rep;
    return 0;
}
