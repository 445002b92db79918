#include "daemon/schedule_run.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/schedule_spec.h"
#include "daemon/spec.h"
#include "daemon/store/claim.h"
#include "daemon/store/queue.h"
#include "daemon/store/store.h"
#include "daemon/store/submit.h"
#include "proto/wire.h"
#include "runtime/time/timer.h"

/* What a spec becomes on its way into the store: rows, dependencies, labels. */
#define ARENA_MAX ((size_t)SCHEDULE_SPEC_MAX * 32)

struct running {
    struct store_submit sub; /* first: settle() gets it */
    struct schedule_run *x;
    struct store *st;
    struct proto_arena mem;
    PbScheduleSpec *spec; /* in mem */
    int64_t after;
    struct store_new_job *jobs;
    struct store_new_batch batch;
    struct running *self; /* for settle(), whose view of it is constant */
};

/* Batches that are named become those of now that are. */
static int
name_batches(struct running *g, PbNeeds *n)
{
    uint64_t *ids =
        proto_arena_alloc(&g->mem, (n->n_batches + n->n_batch_names) * sizeof(*ids));
    int64_t id;

    if (ids == NULL)
        return -ENOMEM;
    if (n->n_batches > 0)
        memcpy(ids, n->batches, n->n_batches * sizeof(*ids));
    for (size_t i = 0; i < n->n_batch_names; i++) {
        int r = store_batch_named(g->st, n->batch_names[i], &id);

        if (r == 0)
            (void)snprintf(g->x->why, sizeof(g->x->why), "there is no batch \"%.100s\"",
                           n->batch_names[i]);
        if (r <= 0)
            return r < 0 ? r : -ENOENT;
        ids[n->n_batches++] = (uint64_t)id;
    }
    n->batches = ids;
    n->n_batch_names = 0;
    return 0;
}

static int
add_deps(struct running *g, const PbNeeds *n, struct store_new_job *j)
{
    enum store_dep_mode mode = n != NULL && n->has_on && n->on == PB_NEEDS__ON__FINISH
                                   ? STORE_ON_FINISH
                                   : STORE_ON_SUCCESS;
    size_t max = 1 + spec_needs_count(n), k = 0;
    struct store_dep *v = proto_arena_alloc(&g->mem, max * sizeof(*v));
    int r = v == NULL ? -ENOMEM : 0;

    for (size_t i = 0; r == 0 && n != NULL && i < n->n_jobs; i++)
        v[k++] =
            (struct store_dep){.id = (int64_t)n->jobs[i], .on_job = true, .mode = mode};
    for (size_t i = 0; r == 0 && n != NULL && i < n->n_batches; i++)
        v[k++] = (struct store_dep){.id = (int64_t)n->batches[i], .mode = mode};
    for (size_t i = 0; r == 0 && n != NULL && i < n->n_siblings; i++)
        v[k++] = (struct store_dep){.id = n->siblings[i], .sibling = true, .mode = mode};
    for (size_t i = 0; r == 0 && n != NULL && i < n->n_keys; i++)
        v[k++] = (struct store_dep){.key = n->keys[i], .mode = mode};
    if (r == 0 && g->after != 0)
        v[k++] = (struct store_dep){.id = g->after, .mode = STORE_ON_FINISH};
    j->deps = v;
    j->n_deps = k;
    return r;
}

/* Places among the run's jobs have become ids. The batch that the run waits for stands behind
 * them, and is no part of what the job itself needs. */
static int
settle(const struct store_submit *sub, size_t i, const struct store_dep *deps,
       size_t n_deps, struct store_new_job *j)
{
    struct running *g = ((const struct running *)sub)->self;

    if (g->spec->jobs[i]->needs == NULL)
        return 0;
    return spec_settle(g->spec->jobs[i], deps, n_deps - (g->after != 0), &g->mem, j);
}

static int
fill_jobs(struct running *g, int64_t now_ms)
{
    PbScheduleSpec *s = g->spec;
    int64_t queue = 0;
    int r = 0;

    g->jobs = proto_arena_alloc(&g->mem, (s->n_jobs + 1) * sizeof(*g->jobs));
    if (g->jobs == NULL)
        return -ENOMEM;
    for (size_t i = 0; r == 0 && i < s->n_jobs; i++) {
        PbJobSpec *job = s->jobs[i];

        if (job->needs != NULL && job->needs->n_batch_names > 0)
            r = name_batches(g, job->needs);
        if (r == 0)
            r = spec_row(g->x->cfg, job, now_ms, &g->mem, &g->jobs[i]);
        if (r == 0 && (job->needs != NULL || g->after != 0))
            r = add_deps(g, job->needs, &g->jobs[i]);
        if (r == 0 && job->queue != NULL) {
            r = store_queue_find(g->st, job->queue, true, &queue);
            g->jobs[i].lane = STORE_LANE(queue, STORE_LANE_KIND(g->jobs[i].lane), false);
            r = r < 0 ? r : 0;
        }
    }
    return r == -ENOBUFS ? -ENOMEM : r;
}

static int
fill_batch(struct running *g, int64_t schedule, int64_t now_ms)
{
    const PbBatchSpec *b = g->spec->batch;
    int64_t timeout = b != NULL ? pb_duration_ns(b->timeout, 0) : 0;

    g->batch = (struct store_new_batch){
        .name = b != NULL && b->name != NULL ? b->name : g->spec->name,
        .alone = true,
        .schedule = schedule,
    };
    if (b == NULL)
        return 0;
    g->batch.fail_fast = PB_GET(b, fail_fast, 0);
    g->batch.max_parallel = PB_GET(b, max_parallel, 0);
    if (timeout > 0)
        g->batch.deadline = spec_time_after(now_ms, timeout);
    g->batch.n_labels = b->n_labels;
    if (b->n_labels > 0)
        g->batch.labels = spec_labels(&g->mem, (void *const *)b->labels, b->n_labels);
    return b->n_labels > 0 && g->batch.labels == NULL ? -ENOMEM : 0;
}

static int
submit(struct running *g, int64_t schedule, int64_t *ret_batch)
{
    struct store_submitted done;
    int64_t now = store_now(g->st);
    int r = fill_jobs(g, now);

    if (r == 0)
        r = fill_batch(g, schedule, now);
    if (r < 0)
        return r;
    g->sub = (struct store_submit){
        .request = g->x->request,
        .request_len = g->x->request_len,
        .fresh = &g->batch,
        .close = true,
        .jobs = g->jobs,
        .n_jobs = g->spec->n_jobs,
        .settle = settle,
    };
    r = store_submit(g->st, &g->sub, NULL, &done);
    if (r < 0)
        return r;
    g->x->repeated = done.repeated;
    g->x->deadline = g->x->deadline || g->batch.deadline != 0;
    *ret_batch = done.batch;
    return 0;
}

static bool
has_room(const struct running *g)
{
    int64_t max = g->x->cfg->limits.backlog;

    return !g->x->refuse &&
           (max == 0 || store_backlog(g->st) + (int64_t)g->spec->n_jobs <= max);
}

/* What the store refused without harm will be refused again. */
static int
judge(struct running *g, int r)
{
    if (r >= 0 || store_broken(g->st) || r == -ENOMEM || r == -EAGAIN)
        return r;
    if (g->x->why[0] == '\0')
        (void)snprintf(g->x->why, sizeof(g->x->why), "%s", store_error(g->st));
    return -EINVAL;
}

int
schedule_run_submit(struct schedule_run *x, struct store *st, int64_t schedule,
                    int64_t after, int64_t *ret_batch)
{
    struct running g = {.x = x, .st = st, .after = after, .self = &g};
    struct proto_err err = {.text = ""};
    ProtobufCMessage *m;
    void *data = NULL;
    size_t len = 0;
    int r = store_schedule_spec(st, schedule, &data, &len);

    if (r < 0)
        return r;
    proto_arena_init(&g.mem, ARENA_MAX);
    r = proto_unpack(&pb_schedule_spec__descriptor, data, len, PROTO_TRUST, &g.mem, &m,
                     &err);
    if (r < 0) {
        (void)snprintf(x->why, sizeof(x->why), "its stored jobs cannot be read");
        r = r == -ENOBUFS ? -ENOMEM : -EINVAL;
    } else {
        g.spec = (PbScheduleSpec *)(void *)m;
        r = has_room(&g) ? judge(&g, submit(&g, schedule, ret_batch)) : -EAGAIN;
    }
    proto_arena_free(&g.mem);
    free(data);
    return r;
}
