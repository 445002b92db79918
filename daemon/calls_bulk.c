#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/call.h"
#include "daemon/dispatch.h"
#include "daemon/jobpb.h"
#include "daemon/select.h"
#include "daemon/spec.h"
#include "daemon/store/finish.h"
#include "daemon/store/keep.h"
#include "daemon/store/submit.h"
#include "proto/wire.h"
#include "runtime/go.h"

/*
 * Cancel, retry and purge: many jobs, a page at a time, each page one operation of the
 * writer. All three may be repeated without harm, so no request id is remembered.
 *
 * A page is read beside the writer, so a job may have changed when the writer comes to it:
 * each of the three looks again at what it needs.
 */

enum { PAGE = 1000, SHOWN_MAX = 1000, REASON_MAX = 500 };

struct deps;

struct page_op {
    struct store_op op;
    struct store_jobs jobs;
    const char *reason;      /* of a cancellation; or NULL */
    const struct deps *deps; /* of a retry: what each job waits for */
    bool changed[PAGE];      /* of each job */
    bool running[PAGE];      /* to be told to stop */
};

#define FINAL                                                                            \
    (1u << STORE_SUCCEEDED | 1u << STORE_FAILED | 1u << STORE_CANCELLED |                \
     1u << STORE_DEAD)
#define LIVE                                                                             \
    (1u << STORE_BLOCKED | 1u << STORE_SCHEDULED | 1u << STORE_QUEUED |                  \
     1u << STORE_RUNNING)

/* --- pages ------------------------------------------------------------------------------- */

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

/* The jobs of a page that the call concerns; the others are dropped from it. */
static void
keep_concerned(struct store_jobs *jobs, unsigned states)
{
    size_t n = 0;

    for (size_t i = 0; i < jobs->n; i++) {
        struct store_job j = jobs->v[n];

        if (!(states & 1u << jobs->v[i].state))
            continue;
        jobs->v[n++] = jobs->v[i];
        if (n - 1 != i)
            jobs->v[i] = j;
    }
    for (size_t i = n; i < jobs->n; i++) {
        free(jobs->v[i].spec);
        free(jobs->v[i].result);
    }
    jobs->n = n;
}

static int
do_page(struct call *c, struct page_op *p, PbBulkReply *rep, bool dry_run)
{
    int r = 0;

    memset(p->changed, 0, sizeof(p->changed));
    memset(p->running, 0, sizeof(p->running));
    if (!dry_run && p->jobs.n > 0)
        r = call_write(c, &p->op);
    for (size_t i = 0; r >= 0 && i < p->jobs.n; i++) {
        rep->matched++;
        if (p->running[i])
            dispatch_stop_job(c->d->dispatch, p->jobs.v[i].id, STOP_CLIENT, p->reason);
        if (!dry_run && !p->changed[i])
            continue;
        rep->changed += !dry_run;
        if (rep->n_jobs < SHOWN_MAX)
            rep->jobs[rep->n_jobs++] = (uint64_t)p->jobs.v[i].id;
    }
    return r < 0 ? r : 0;
}

static int read_deps(struct call *c, struct page_op *p);
static int retry_run(struct store *st, struct store_op *op);

static int
bulk(struct call *c, struct selection *s, struct page_op *p, unsigned states,
     bool dry_run, PbBulkReply *rep)
{
    int64_t cursor = 0;
    int r = 0;

    if (s->f.states == 0)
        s->f.states = states;
    do {
        r = select_next(c, s, &cursor, PAGE, &p->jobs);
        if (r == 0) {
            keep_concerned(&p->jobs, states);
            if (p->op.run == retry_run && !dry_run)
                r = read_deps(c, p);
        }
        if (r == 0)
            r = do_page(c, p, rep, dry_run);
        store_jobs_free(&p->jobs);
        if (r == 0)
            r = go_ctx_err(c->ctx);
    } while (r == 0 && cursor != 0);
    return r;
}

/* What every bulk call begins with: a selector that says something, a reply, and a page of jobs
 * for run to change. */
static int
begin(struct call *c, const PbSelector *in,
      int (*run)(struct store *st, struct store_op *op), struct selection *s,
      struct page_op **ret_page, PbBulkReply **ret_rep)
{
    *ret_rep = bulk_reply(c);
    *ret_page = call_array(c, 1, sizeof(**ret_page));
    if (*ret_rep == NULL || *ret_page == NULL)
        return -ENOBUFS;
    (*ret_page)->op.run = run;
    if (select_empty(in))
        return call_fail(c, PB_ERROR__CODE__INVALID, "select", "select names no jobs");
    return select_init(c, in, 0, s);
}

static int
answer(struct call *c, PbBulkReply *rep)
{
    c->rep->reply_case = PB_RESPONSE__REPLY_BULK;
    c->rep->bulk = rep;
    return 0;
}

/* --- cancel ------------------------------------------------------------------------------ */

static int
cancel_run(struct store *st, struct store_op *op)
{
    struct page_op *p = (struct page_op *)op;

    for (size_t i = 0; i < p->jobs.n; i++) {
        const struct store_job *j = &p->jobs.v[i];
        enum store_state now;
        int r = store_cancel_job(st, j->id, p->reason != NULL ? p->reason : "cancelled",
                                 &now);

        if (r < 0 && r != -ENOENT)
            return r;
        p->running[i] = r == 0 && now == STORE_RUNNING;
        p->changed[i] = r == 0 && !store_state_final(j->state) &&
                        (now == STORE_CANCELLED || now == STORE_RUNNING);
    }
    return 0;
}

struct batch_op {
    struct store_op op;
    int64_t batch;
};

static int
cancel_batch_run(struct store *st, struct store_op *op)
{
    return store_cancel_batch(st, ((struct batch_op *)op)->batch, STORE_STOP_CLIENT);
}

/* A whole batch is cancelled by one flag: also what is added to it just now. */
static int
cancel_batch(struct call *c, int64_t batch, PbBulkReply *rep)
{
    struct batch_op b = {.op = {.run = cancel_batch_run}, .batch = batch};
    struct store_batches v = {.v = NULL};
    int r = CALL_READ(c, rd, store_read_batch(rd, batch, &v));

    if (r == 0)
        r = call_fail(c, PB_ERROR__CODE__NOT_FOUND, "select.batch",
                      "there is no batch %lld", (long long)batch);
    if (rep == NULL)
        r = -ENOBUFS;
    for (int s = STORE_BLOCKED; r > 0 && s <= STORE_RUNNING; s++)
        rep->matched += (uint64_t)v.v[0].n[s - STORE_BLOCKED];
    store_batches_free(&v);
    if (r < 0)
        return r;
    r = call_write(c, &b.op);
    rep->changed = rep->matched;
    return r;
}

int
call_cancel(struct call *c)
{
    const PbCancel *in = c->req->cancel;
    PbBulkReply *rep;
    struct page_op *p;
    bool dry_run = PB_GET(in, dry_run, 0);
    struct selection s = {0};
    int r = begin(c, in->select, cancel_run, &s, &p, &rep);

    if (r < 0)
        return r;
    if (in->reason != NULL && strlen(in->reason) > REASON_MAX)
        return call_fail(c, PB_ERROR__CODE__INVALID, "reason",
                         "reason is longer than %d bytes", REASON_MAX);
    p->reason = in->reason;
    if (select_whole_batch(&s) == 0 || dry_run) {
        r = bulk(c, &s, p, LIVE, dry_run, rep);
    } else {
        /* A reason stands with each job; what is left then has none. */
        if (in->reason != NULL)
            r = bulk(c, &s, p, LIVE, false, rep);
        if (r == 0)
            r = cancel_batch(c, s.f.batch, in->reason != NULL ? bulk_reply(c) : rep);
    }
    return r < 0 ? r : answer(c, rep);
}

/* --- retry ------------------------------------------------------------------------------- */

struct deps {
    struct store_dep *v;
    size_t n;
};

static int
unpack_deps(struct call *c, const struct store_job *j, struct deps *ret)
{
    struct proto_err err = {.text = ""};
    ProtobufCMessage *m;
    const PbNeeds *needs;
    enum store_dep_mode mode;
    int r = proto_unpack(&pb_job_spec__descriptor, j->spec,
                         spec_head(j->spec, j->spec_len), PROTO_TRUST, &c->mem, &m, &err);

    if (r < 0)
        return call_fail(c, PB_ERROR__CODE__STORAGE, NULL,
                         "the spec of job %lld cannot be read", (long long)j->id);
    needs = ((const PbJobSpec *)(const void *)m)->needs;
    if (needs == NULL)
        return 0;
    mode = PB_GET(needs, on, PB_NEEDS__ON__SUCCESS) == PB_NEEDS__ON__FINISH
               ? STORE_ON_FINISH
               : STORE_ON_SUCCESS;
    ret->v = call_array(c, needs->n_jobs + needs->n_batches + 1, sizeof(*ret->v));
    if (ret->v == NULL)
        return -ENOBUFS;
    for (size_t i = 0; i < needs->n_jobs; i++)
        ret->v[ret->n++] = (struct store_dep){
            .id = (int64_t)needs->jobs[i], .on_job = true, .mode = mode};
    for (size_t i = 0; i < needs->n_batches; i++)
        ret->v[ret->n++] =
            (struct store_dep){.id = (int64_t)needs->batches[i], .mode = mode};
    return 0;
}

/* What the jobs of a page wait for, as their specs say. */
static int
read_deps(struct call *c, struct page_op *p)
{
    struct deps *v = call_array(c, p->jobs.n + 1, sizeof(*v));
    int r = v == NULL ? -ENOBUFS : 0;

    for (size_t i = 0; r >= 0 && i < p->jobs.n; i++) {
        struct store_jobs one = {.v = NULL};

        if (!p->jobs.v[i].has_deps)
            continue;
        r = CALL_READ(c, rd, store_read_job(rd, p->jobs.v[i].id, STORE_WANT_SPEC, &one));
        if (r > 0)
            r = unpack_deps(c, &one.v[0], &v[i]);
        store_jobs_free(&one);
    }
    p->deps = v;
    return r < 0 ? r : 0;
}

/* What is awaited may stand behind those that wait for it: again, while that helps. Those
 * that are refused for what they wait for stay as they are, as do those whose awaited jobs
 * are gone by now. */
static int
retry_run(struct store *st, struct store_op *op)
{
    struct page_op *p = (struct page_op *)op;
    bool again;

    memset(p->changed, 0, sizeof(p->changed));
    do {
        again = false;
        for (size_t i = 0; i < p->jobs.n; i++) {
            int r;

            if (p->changed[i])
                continue;
            r = store_retry_job(st, p->jobs.v[i].id, p->deps[i].v, p->deps[i].n);
            if (r < 0 && r != -ENOENT && r != -EBUSY && r != -ELOOP)
                return r;
            p->changed[i] = r == 0;
            again = again || (r == 0 && i > 0);
        }
    } while (again);
    return 0;
}

int
call_retry(struct call *c)
{
    const PbRetry *in = c->req->retry;
    PbBulkReply *rep;
    struct page_op *p;
    struct selection s = {0};
    int r = begin(c, in->select, retry_run, &s, &p, &rep);

    if (r < 0)
        return r;
    r = bulk(c, &s, p, FINAL & ~(1u << STORE_SUCCEEDED), PB_GET(in, dry_run, 0), rep);
    return r < 0 ? r : answer(c, rep);
}

/* --- purge ------------------------------------------------------------------------------- */

static int
purge_run(struct store *st, struct store_op *op)
{
    struct page_op *p = (struct page_op *)op;

    for (size_t i = 0; i < p->jobs.n; i++) {
        int r = store_purge_job(st, p->jobs.v[i].id, p->jobs.v[i].state);

        if (r < 0 && r != -ENOENT && r != -EBUSY)
            return r;
        p->changed[i] = r == 0;
    }
    return 0;
}

int
call_purge(struct call *c)
{
    const PbPurge *in = c->req->purge;
    PbBulkReply *rep;
    struct page_op *p;
    struct selection s = {0};
    int r = begin(c, in->select, purge_run, &s, &p, &rep);

    if (r < 0)
        return r;
    if (s.f.states & ~FINAL)
        return call_fail(c, PB_ERROR__CODE__INVALID, "select.states",
                         "only finished jobs can be purged");
    r = bulk(c, &s, p, FINAL, PB_GET(in, dry_run, 0), rep);
    return r < 0 ? r : answer(c, rep);
}
