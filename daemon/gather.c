#include "daemon/gather.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/store/pool.h"
#include "daemon/store/read.h"
#include "proto/numpath.h"
#include "proto/wire.h"
#include "runtime/go.h"

/*
 * Results are read some megabytes at a time, whatever they hold beside the number. A job
 * that is gone, or has no number there, is an error: a sum that leaves out what it should
 * have added would be wrong without anybody seeing it.
 */

enum { PAGE = 1000, PAGE_BYTES = 4 << 20, RESULT_FACTOR = 16 };

#define FIELD "sum.results"

struct gathering {
    struct gather *g;
    const char *path;
    bool
        all; /* every job must have a number; else those that did not succeed may lack it */
    struct job_error *err;
};

static void *
room(void *v, size_t n, size_t *cap, size_t size)
{
    void *p = v;

    if (n < *cap)
        return v;
    *cap = *cap == 0 ? 64 : *cap * 2;
    p = realloc(v, *cap * size);
    return p;
}

static int
no_memory(struct gathering *w)
{
    (void)job_error_set(w->err, PB_ERROR__CODE__TOO_LARGE, FIELD,
                        "no memory for the numbers");
    return -ENOMEM;
}

static int
add(struct gathering *w, const PbNumber *n)
{
    struct gather *g = w->g;
    PbNumberList *l = &g->numbers;
    void *p = NULL;

    if ((int64_t)(l->n_ints + l->n_reals + l->n_bigs) >= g->cfg->sum.max_numbers) {
        (void)job_error_set(w->err, PB_ERROR__CODE__TOO_LARGE, FIELD,
                            "more numbers than sum.max_numbers allows (%lld)",
                            (long long)g->cfg->sum.max_numbers);
        return -E2BIG;
    }
    switch (n->kind_case) {
    case PB_NUMBER__KIND_INT:
        p = room(l->ints, l->n_ints, &g->cap_ints, sizeof(*l->ints));
        if (p == NULL)
            return no_memory(w);
        l->ints = p;
        l->ints[l->n_ints++] = n->int_;
        return 0;
    case PB_NUMBER__KIND_REAL:
        p = room(l->reals, l->n_reals, &g->cap_reals, sizeof(*l->reals));
        if (p == NULL)
            return no_memory(w);
        l->reals = p;
        l->reals[l->n_reals++] = n->real;
        return 0;
    case PB_NUMBER__KIND_BIG:
        p = room(l->bigs, l->n_bigs, &g->cap_bigs, sizeof(*l->bigs));
        if (p == NULL)
            return no_memory(w);
        l->bigs = p;
        l->bigs[l->n_bigs] = strdup(n->big);
        return l->bigs[l->n_bigs++] != NULL ? 0 : no_memory(w);
    case PB_NUMBER__KIND__NOT_SET:
        break;
    }
    return 0;
}

/* The numbers that stand in the spec itself. */
static int
add_own(struct gathering *w, const PbNumberList *own)
{
    PbNumber n = PB_NUMBER__INIT;
    int r = 0;

    n.kind_case = PB_NUMBER__KIND_INT;
    for (size_t i = 0; own != NULL && r == 0 && i < own->n_ints; i++) {
        n.int_ = own->ints[i];
        r = add(w, &n);
    }
    n.kind_case = PB_NUMBER__KIND_REAL;
    for (size_t i = 0; own != NULL && r == 0 && i < own->n_reals; i++) {
        n.real = own->reals[i];
        r = add(w, &n);
    }
    n.kind_case = PB_NUMBER__KIND_BIG;
    for (size_t i = 0; own != NULL && r == 0 && i < own->n_bigs; i++) {
        n.big = own->bigs[i];
        r = add(w, &n);
    }
    return r;
}

static int
add_job(struct gathering *w, const struct store_job *j)
{
    struct proto_err perr = {.text = ""};
    struct proto_arena a;
    char big[NUMPATH_BIG_MAX];
    ProtobufCMessage *m;
    PbNumber n;
    int r = 0, found = 0;

    proto_arena_init(&a, j->result_len * RESULT_FACTOR + 65536);
    if (j->result != NULL) {
        if (proto_unpack(&pb_job_result__descriptor, j->result, j->result_len,
                         PROTO_TRUST, &a, &m, &perr) < 0)
            r = job_error_set(w->err, PB_ERROR__CODE__STORAGE, FIELD,
                              "the result of job %lld cannot be read", (long long)j->id);
        else
            found = numpath_get(m, w->path, big, &n);
    }
    if (r == 0 && found)
        r = add(w, &n);
    else if (r == 0 && (w->all || j->state == STORE_SUCCEEDED))
        r = job_error_set(w->err, PB_ERROR__CODE__PARSE, FIELD,
                          "the result of job %lld has no number at \"%.100s\"",
                          (long long)j->id, w->path);
    proto_arena_free(&a);
    return r;
}

static int
read_failed(struct gathering *w, struct store_reader *rd)
{
    (void)job_error_set(w->err, PB_ERROR__CODE__STORAGE, NULL, "%s",
                        store_reader_error(rd));
    return -EIO;
}

/* The first of n ids that has no job among those read for them; there is one. */
static int64_t
first_missing(const struct store_jobs *jobs, const int64_t *ids, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (i >= jobs->n || jobs->v[i].id != ids[i])
            return ids[i];
    return 0;
}

/* Some of the jobs ids[0..n): how many were looked at. */
static int
add_some(struct gathering *w, const int64_t *ids, size_t n)
{
    struct store_pool *pool = w->g->d->readers;
    struct store_reader *rd = store_pool_get(pool);
    struct store_jobs jobs = {.v = NULL};
    int seen = GO_BLOCKING(
        store_read_jobs_of(rd, ids, n, ~0u, STORE_WANT_RESULT, PAGE_BYTES, &jobs));
    int r = seen < 0 ? read_failed(w, rd) : 0;

    store_pool_put(pool, rd);
    if (r == 0 && jobs.n < (size_t)seen) {
        r = job_error_set(w->err, PB_ERROR__CODE__NOT_FOUND, FIELD,
                          "job %lld is gone, and its result with it",
                          (long long)first_missing(&jobs, ids, (size_t)seen));
    }
    for (size_t i = 0; r == 0 && i < jobs.n; i++)
        r = add_job(w, &jobs.v[i]);
    store_jobs_free(&jobs);
    if (r == 0)
        r = go_ctx_err(w->g->ctx);
    return r < 0 ? r : seen;
}

static int
add_ids(struct gathering *w, const int64_t *ids, size_t n)
{
    int r = 0;

    for (size_t i = 0; r >= 0 && i < n; i += (size_t)r) {
        r = add_some(w, ids + i, n - i < PAGE ? n - i : PAGE);
        if (r == 0)
            return -EIO; /* a page is never empty */
    }
    return r < 0 ? r : 0;
}

/* Retention may have taken some of the batch's jobs. */
static int
check_batch(struct gathering *w, int64_t batch)
{
    struct store_pool *pool = w->g->d->readers;
    struct store_reader *rd = store_pool_get(pool);
    struct store_batches b = {.v = NULL};
    int r = GO_BLOCKING(store_read_batch(rd, batch, &b));

    if (r < 0)
        r = read_failed(w, rd);
    else if (r == 0)
        r = job_error_set(w->err, PB_ERROR__CODE__NOT_FOUND, FIELD, "batch %lld is gone",
                          (long long)batch);
    else if (b.v[0].pruned > 0)
        r = job_error_set(w->err, PB_ERROR__CODE__NOT_FOUND, FIELD,
                          "jobs of batch %lld are gone, and their results with them",
                          (long long)batch);
    store_pool_put(pool, rd);
    store_batches_free(&b);
    return r < 0 ? r : 0;
}

static int
add_batch(struct gathering *w, int64_t batch)
{
    struct store_filter f = {.batch = batch, .kind = -1, .queue = -1};
    struct store_pool *pool = w->g->d->readers;
    int64_t ids[PAGE] = {0}, after = 0;
    int r = check_batch(w, batch);

    while (r == 0) {
        struct store_reader *rd = store_pool_get(pool);
        struct store_jobs jobs = {.v = NULL};
        size_t n;

        r = GO_BLOCKING(store_read_jobs(rd, &f, after, PAGE, 0, &jobs));
        if (r < 0)
            r = read_failed(w, rd);
        store_pool_put(pool, rd);
        after = jobs.next;
        n = jobs.n;
        for (size_t i = 0; i < n; i++)
            ids[i] = jobs.v[i].id;
        store_jobs_free(&jobs);
        if (r == 0)
            r = add_ids(w, ids, n);
        if (after == 0)
            break;
    }
    return r;
}

int
gather(struct gather *g, const PbJobSpec *spec, struct job_error *err)
{
    static const PbNumberList none = PB_NUMBER_LIST__INIT;
    const PbNeeds *needs = spec->needs;
    struct gathering w = {
        .g = g,
        .path = spec->sum->results,
        .all = PB_GET(needs, on, PB_NEEDS__ON__SUCCESS) == PB_NEEDS__ON__SUCCESS,
        .err = err,
    };
    int r;

    g->numbers = none;
    r = add_own(&w, spec->sum->numbers);
    for (size_t i = 0; r == 0 && i < needs->n_jobs; i += PAGE) {
        size_t n = needs->n_jobs - i < PAGE ? needs->n_jobs - i : PAGE;

        r = add_ids(&w, (const int64_t *)needs->jobs + i, n); /* positive all of them */
    }
    for (size_t i = 0; r == 0 && i < needs->n_batches; i++)
        r = add_batch(&w, (int64_t)needs->batches[i]);
    return r;
}

void
gather_fini(struct gather *g)
{
    for (size_t i = 0; i < g->numbers.n_bigs; i++)
        free(g->numbers.bigs[i]);
    free(g->numbers.ints);
    free(g->numbers.reals);
    free(g->numbers.bigs);
}
