#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "daemon/call.h"
#include "daemon/select.h"
#include "daemon/spec.h"
#include "daemon/store/queue.h"
#include "daemon/store/submit.h"
#include "daemon/watch.h"
#include "proto/wire.h"
#include "runtime/base/atomic.h"
#include "runtime/go.h"

/* Dependencies of all jobs of a message together. */
#define NEEDS_ALL_MAX 200000

#define WAIT_JOBS_MAX 1000

/* After how long a refused client may try again. */
#define RETRY_BACKLOG GO_SECOND
#define RETRY_DISK    (2 * GO_SECOND)

struct submit_op {
    struct store_op op;
    const PbSubmit *in;
    const PbJobSpec **specs; /* of each job, with batches by number */
    struct proto_arena *mem; /* the call's */
    int64_t backlog_max;
    const char *const *queues; /* of each job; NULL: the default queue */
    struct store_new_job *jobs;
    struct store_submit sub;
    struct store_new_batch fresh;
    int64_t *ids;
    struct store_submitted done;
};

/* --- on the writer ----------------------------------------------------------------------- */

/* Queue names become lanes; most jobs name the queue of the one before, or none. */
static int
resolve_queues(struct store *st, struct submit_op *s)
{
    const char *last = NULL;
    int64_t queue = 0;
    int r;

    for (size_t i = 0; i < s->sub.n_jobs; i++) {
        const char *name = s->queues[i];

        if (name == NULL)
            continue;
        if (last == NULL || strcmp(name, last) != 0) {
            r = store_queue_find(st, name, true, &queue);
            if (r < 0)
                return r;
            last = name;
        }
        s->jobs[i].lane = STORE_LANE(queue, STORE_LANE_KIND(s->jobs[i].lane), false);
    }
    return 0;
}

/* A message that is larger than the limit itself would wait for ever: it is let in as soon
 * as there is any room. One without jobs only closes its batch. */
static bool
is_full(int64_t max, int64_t backlog, int64_t n)
{
    return max > 0 && n > 0 && (n > max ? backlog >= max : n > max - backlog);
}

static int
submit_run(struct store *st, struct store_op *op)
{
    struct submit_op *s = (struct submit_op *)op;
    int r;

    if (is_full(s->backlog_max, store_backlog(st), (int64_t)s->sub.n_jobs))
        return -EAGAIN;
    r = resolve_queues(st, s);
    return r < 0 ? r : store_submit(st, &s->sub, s->ids, &s->done);
}

/* --- before it --------------------------------------------------------------------------- */

static int
refuse_busy(struct call *c, int64_t retry_after, const char *why)
{
    (void)call_fail(c, PB_ERROR__CODE__BUSY, NULL, "%s", why);
    c->rep->error->retry_after = call_duration(c, retry_after);
    return -EAGAIN;
}

static int
check_jobs(struct call *c, const PbSubmit *in)
{
    for (size_t i = 0; i < in->n_jobs; i++) {
        struct job_error err = {.message = ""};
        char field[192];

        if (spec_check(c->env, in->jobs[i], &err) == 0)
            continue;
        (void)snprintf(field, sizeof(field), "jobs[%zu]%s%s", i,
                       err.field[0] != '\0' ? "." : "", err.field);
        (void)call_fail(c, (PbError__Code)err.code, field, "%s", err.message);
        PB_SET(c->rep->error, index, (uint32_t)i);
        return -EINVAL;
    }
    return 0;
}

/* A call that waits keeps its specs in memory meanwhile. */
static int
check_wait(struct call *c, const PbSubmit *in)
{
    const PbWait *w = in->wait;

    if (w == NULL)
        return 0;
    if (w->what_case != PB_WAIT__WHAT__NOT_SET || w->has_after)
        return call_fail(c, PB_ERROR__CODE__INVALID, "wait",
                         "wait is for the batch submitted: it names no batch, no job and "
                         "no place");
    if (PB_GET(in, more, 0) || PB_GET(in, dry_run, 0))
        return call_fail(c, PB_ERROR__CODE__INVALID, "wait",
                         "wait does not go with more or dry_run");
    if (pb_duration_ns(w->timeout, 0) < 0)
        return call_fail(c, PB_ERROR__CODE__INVALID, "wait.timeout",
                         "wait.timeout is negative");
    if (in->n_jobs > WAIT_JOBS_MAX)
        return call_fail(c, PB_ERROR__CODE__INVALID, "wait",
                         "wait goes with up to %d jobs", WAIT_JOBS_MAX);
    return 0;
}

static int
check(struct call *c, const PbSubmit *in)
{
    if (LOAD(&c->d->draining, RELAXED))
        return call_fail(c, PB_ERROR__CODE__UNAVAILABLE, NULL,
                         "the daemon is shutting down");
    if (in->n_jobs > (size_t)c->cfg->limits.jobs_per_message ||
        in->n_jobs > STORE_MESSAGE_MAX)
        return call_fail(c, PB_ERROR__CODE__TOO_LARGE, "jobs",
                         "%zu jobs in one message; limits.jobs_per_message allows %lld",
                         in->n_jobs, (long long)c->cfg->limits.jobs_per_message);
    if (in->has_batch && in->batch_name != NULL)
        return call_fail(c, PB_ERROR__CODE__INVALID, "batch_name",
                         "give either batch or batch_name, not both");
    if (in->batch_name != NULL && in->batch_name[0] == '\0')
        return call_fail(c, PB_ERROR__CODE__INVALID, "batch_name", "batch_name is empty");
    if (check_wait(c, in) < 0)
        return -EINVAL;
    return check_jobs(c, in);
}

/* Dependencies as the store takes them. */
static int
fill_deps(struct call *c, const PbNeeds *n, struct store_new_job *j)
{
    enum store_dep_mode mode =
        PB_GET(n, on, PB_NEEDS__ON__SUCCESS) == PB_NEEDS__ON__FINISH ? STORE_ON_FINISH
                                                                     : STORE_ON_SUCCESS;
    struct store_dep *v = call_array(c, spec_needs_count(n) + 1, sizeof(*v));
    size_t k = 0;

    if (v == NULL)
        return -ENOBUFS;
    for (size_t i = 0; i < n->n_jobs; i++)
        v[k++] =
            (struct store_dep){.id = (int64_t)n->jobs[i], .on_job = true, .mode = mode};
    for (size_t i = 0; i < n->n_batches; i++)
        v[k++] = (struct store_dep){.id = (int64_t)n->batches[i], .mode = mode};
    for (size_t i = 0; i < n->n_siblings; i++)
        v[k++] = (struct store_dep){.id = n->siblings[i], .sibling = true, .mode = mode};
    for (size_t i = 0; i < n->n_keys; i++)
        v[k++] = (struct store_dep){.key = n->keys[i], .mode = mode};
    j->deps = v;
    j->n_deps = k;
    return 0;
}

/* The names of batches as their numbers, in a copy of the spec. */
static int
resolve_names(struct call *c, size_t job, const PbJobSpec **spec)
{
    const PbNeeds *was = (*spec)->needs;
    PbJobSpec *copy = call_array(c, 1, sizeof(*copy));
    PbNeeds *n = call_array(c, 1, sizeof(*n));
    uint64_t *ids = call_array(c, was->n_batches + was->n_batch_names, sizeof(*ids));

    if (copy == NULL || n == NULL || ids == NULL)
        return -ENOBUFS;
    *copy = **spec;
    copy->needs = n;
    *n = *was;
    if (was->n_batches > 0)
        memcpy(ids, was->batches, was->n_batches * sizeof(*ids));
    for (size_t i = 0; i < was->n_batch_names; i++) {
        int64_t id;
        int r = select_batch(c, false, 0, was->batch_names[i], &id);

        if (r < 0) {
            PB_SET(c->rep->error, index, (uint32_t)job);
            return r;
        }
        ids[n->n_batches++] = (uint64_t)id;
    }
    n->batches = ids;
    n->n_batch_names = 0;
    *spec = copy;
    return 0;
}

/* On the writer: keys and places have become ids, and so they are stored. The call's
 * goroutine waits for the writer meanwhile: its arena may be used. */
static int
settle(const struct store_submit *sub, size_t i, const struct store_dep *deps,
       size_t n_deps, struct store_new_job *j)
{
    const struct submit_op *s =
        (const struct submit_op *)((const char *)sub - offsetof(struct submit_op, sub));

    return spec_settle(s->specs[i], deps, n_deps, s->mem, j);
}

static int
fill_job(struct call *c, struct submit_op *s, size_t i, int64_t now_ms)
{
    const PbJobSpec *spec = s->in->jobs[i];
    int r = 0;

    if (spec->needs != NULL && spec->needs->n_batch_names > 0)
        r = resolve_names(c, i, &spec);
    s->specs[i] = spec;
    if (r == 0)
        r = spec_row(c->cfg, spec, now_ms, &c->mem, &s->jobs[i]);
    return r == 0 && spec->needs != NULL ? fill_deps(c, spec->needs, &s->jobs[i]) : r;
}

static int
fill_jobs(struct call *c, struct submit_op *s, int64_t now_ms)
{
    size_t n = s->in->n_jobs, needs = 0;
    const char **queues = call_array(c, n + 1, sizeof(*queues));
    int r = 0;

    s->jobs = call_array(c, n + 1, sizeof(*s->jobs));
    s->ids = call_array(c, n + 1, sizeof(*s->ids));
    s->specs = call_array(c, n + 1, sizeof(*s->specs));
    if (queues == NULL || s->jobs == NULL || s->ids == NULL || s->specs == NULL)
        return -ENOBUFS;
    for (size_t i = 0; r == 0 && i < n; i++) {
        needs += spec_needs_count(s->in->jobs[i]->needs);
        if (needs > NEEDS_ALL_MAX)
            return call_fail(c, PB_ERROR__CODE__TOO_LARGE, "jobs",
                             "the jobs of the message wait for more than %d others",
                             NEEDS_ALL_MAX);
        r = fill_job(c, s, i, now_ms);
        queues[i] = s->in->jobs[i]->queue;
    }
    s->queues = queues;
    return r < 0 ? call_fail(c, PB_ERROR__CODE__TOO_LARGE, "jobs",
                             "the message is too large")
                 : 0;
}

/* What a new batch is to be. */
static int
fill_batch(struct call *c, struct submit_op *s, int64_t now_ms)
{
    const PbBatchSpec *o = s->in->options;
    int64_t timeout;

    s->fresh.name = s->in->batch_name;
    s->sub.fresh = &s->fresh;
    if (o == NULL)
        return 0;
    timeout = pb_duration_ns(o->timeout, 0);
    if (timeout < 0)
        return call_fail(c, PB_ERROR__CODE__INVALID, "options.timeout",
                         "timeout is negative");
    if (s->fresh.name == NULL)
        s->fresh.name = o->name;
    s->fresh.fail_fast = PB_GET(o, fail_fast, 0);
    s->fresh.max_parallel = PB_GET(o, max_parallel, 0);
    s->fresh.deadline = spec_deadline(o->deadline);
    if (timeout > 0 &&
        (s->fresh.deadline == 0 || spec_time_after(now_ms, timeout) < s->fresh.deadline))
        s->fresh.deadline = spec_time_after(now_ms, timeout);
    s->fresh.n_labels = o->n_labels;
    if (o->n_labels > 0) {
        s->fresh.labels = spec_labels(&c->mem, (void *const *)o->labels, o->n_labels);
        if (s->fresh.labels == NULL)
            return call_fail(c, PB_ERROR__CODE__TOO_LARGE, "options", "too large");
    }
    return 0;
}

/* --- after it ---------------------------------------------------------------------------- */

static int
reply(struct call *c, const struct submit_op *s)
{
    PbSubmitReply *rep = call_new(c, &pb_submit_reply__descriptor);

    if (rep == NULL)
        return -ENOBUFS;
    PB_SET(rep, batch, (uint64_t)s->done.batch);
    rep->n_ids = s->in->n_jobs;
    rep->ids = (uint64_t *)s->ids; /* positive all of them */
    if (s->done.n_dups > 0)
        PB_SET(rep, duplicates, (uint32_t)s->done.n_dups);
    /* A wait that fails takes nothing back: the jobs are in. */
    if (s->in->wait != NULL &&
        call_wait_batch(c, s->in->wait, s->done.batch, &rep->wait) < 0)
        rep->wait = NULL;
    c->rep->reply_case = PB_RESPONSE__REPLY_SUBMIT;
    c->rep->submit = rep;
    return 0;
}

int
call_submit(struct call *c)
{
    struct submit_op s = {.op = {.run = submit_run}, .in = c->req->submit};
    int64_t now = daemon_now_ms();
    int r = check(c, s.in);

    if (r < 0)
        return r;
    if (LOAD(&c->d->low_disk, RELAXED))
        return refuse_busy(c, RETRY_DISK,
                           "the disk is fuller than limits.disk_free allows");
    s.backlog_max = c->cfg->limits.backlog;
    s.sub.batch = (int64_t)PB_GET(s.in, batch, 0);
    s.sub.close = !PB_GET(s.in, more, 0);
    s.sub.n_jobs = s.in->n_jobs;
    r = fill_jobs(c, &s, now);
    if (r == 0 && s.sub.batch == 0)
        r = fill_batch(c, &s, now);
    if (r < 0 || PB_GET(s.in, dry_run, 0))
        return r < 0 ? r : reply(c, &s);
    s.sub.jobs = s.jobs;
    s.sub.settle = settle;
    s.mem = &c->mem;
    if (c->req->has_request_id && c->req->request_id.len > 0) {
        s.sub.request = c->req->request_id.data;
        s.sub.request_len = c->req->request_id.len;
    }
    r = store_writer_do(c->d->writer, &s.op);
    if (r == -EAGAIN)
        return refuse_busy(c, RETRY_BACKLOG,
                           "as many jobs wait as limits.backlog allows");
    if (r >= 0 && s.fresh.deadline != 0)
        watch_deadlines(c->d->watch);
    return r < 0 ? call_store_failed(c, r, s.op.err) : reply(c, &s);
}
