#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/call.h"
#include "daemon/dispatch.h"
#include "daemon/queuepb.h"
#include "daemon/select.h"
#include "daemon/store/queue.h"

/* A copy of the queues, made on the writer. */
struct queues_op {
    struct store_op op;
    int n;
    struct store_queue v[STORE_QUEUES_MAX];
    char *names[STORE_QUEUES_MAX];
};

static void
names_free(struct queues_op *q)
{
    for (int i = 0; i < q->n; i++)
        free(q->names[i]);
    q->n = 0;
}

static int
queues_run(struct store *st, struct store_op *op)
{
    struct queues_op *q = (struct queues_op *)op;

    names_free(q);
    while (q->n < STORE_QUEUES_MAX && store_queue_get(st, q->n, &q->v[q->n]) == 0) {
        q->names[q->n] = strdup(q->v[q->n].name);
        if (q->names[q->n] == NULL)
            return -ENOMEM;
        q->n++;
    }
    return 0;
}

static PbQueue *
queue_make(struct call *c, const struct store_queue *q, const char *name)
{
    PbQueue *out = call_new(c, &pb_queue__descriptor);

    if (out == NULL)
        return NULL;
    out->name = call_dup(c, name);
    out->limits = call_new(c, &pb_queue_limits__descriptor);
    if (out->name == NULL || out->limits == NULL)
        return NULL;
    PB_SET(out->limits, running, (uint32_t)q->conf.parallel);
    PB_SET(out->limits, rate, q->conf.rate);
    PB_SET(out->limits, burst, (uint32_t)q->conf.burst);
    PB_SET(out->limits, paused, q->conf.paused);
    PB_SET(out, scheduled, (uint64_t)(q->n[STORE_SCHEDULED - STORE_BLOCKED] + q->n[0]));
    PB_SET(out, queued, (uint64_t)q->n[STORE_QUEUED - STORE_BLOCKED]);
    PB_SET(out, running, (uint64_t)q->n[STORE_RUNNING - STORE_BLOCKED]);
    if (cfg_queue(c->cfg, name) != NULL)
        PB_SET(out, config, 1);
    return out;
}

int
queuepb_all(struct call *c, PbQueue ***ret, size_t *ret_n, PbCounts *sum)
{
    struct queues_op *q = calloc(1, sizeof(*q));
    uint64_t n[STORE_STATE_N] = {0};
    int r;

    if (q == NULL)
        return call_fail(c, PB_ERROR__CODE__INTERNAL, NULL, "out of memory");
    q->op.run = queues_run;
    q->op.nosync = true;
    r = call_write(c, &q->op);
    *ret = r < 0 ? NULL : call_array(c, (size_t)q->n + 1, sizeof(**ret));
    if (r == 0 && *ret == NULL)
        r = -ENOBUFS;
    for (int i = 0; r == 0 && i < q->n; i++) {
        (*ret)[i] = queue_make(c, &q->v[i], q->names[i]);
        if ((*ret)[i] == NULL)
            r = -ENOBUFS;
        for (int s = 0; s < STORE_STATE_N; s++)
            n[s] += (uint64_t)q->v[i].n[s];
    }
    *ret_n = r == 0 ? (size_t)q->n : 0;
    names_free(q);
    free(q);
    if (r < 0 || sum == NULL)
        return r;
    PB_SET(sum, scheduled, n[0] + n[STORE_SCHEDULED - STORE_BLOCKED]);
    PB_SET(sum, queued, n[STORE_QUEUED - STORE_BLOCKED]);
    PB_SET(sum, running, n[STORE_RUNNING - STORE_BLOCKED]);
    PB_SET(sum, succeeded, n[STORE_SUCCEEDED - STORE_BLOCKED]);
    PB_SET(sum, failed, n[STORE_FAILED - STORE_BLOCKED]);
    PB_SET(sum, cancelled, n[STORE_CANCELLED - STORE_BLOCKED]);
    PB_SET(sum, dead, n[STORE_DEAD - STORE_BLOCKED]);
    PB_SET(sum, total, 0);
    for (int s = 0; s < STORE_STATE_N; s++)
        sum->total += n[s];
    return 0;
}

int
call_queue_list(struct call *c)
{
    PbQueueListReply *rep = call_new(c, &pb_queue_list_reply__descriptor);
    int r = rep == NULL ? -ENOBUFS : queuepb_all(c, &rep->queues, &rep->n_queues, NULL);

    if (r < 0)
        return r;
    c->rep->reply_case = PB_RESPONSE__REPLY_QUEUE_LIST;
    c->rep->queue_list = rep;
    return 0;
}

/* --- changes ----------------------------------------------------------------------------- */

struct set_op {
    struct store_op op;
    int64_t id;
    const PbQueueLimits *limits; /* only what is set changes */
    struct store_queue now;
};

static int
set_run(struct store *st, struct store_op *op)
{
    struct set_op *s = (struct set_op *)op;
    const PbQueueLimits *l = s->limits;
    struct store_queue_conf conf;
    int r = store_queue_get(st, s->id, &s->now);

    if (r < 0)
        return r;
    conf = s->now.conf;
    conf.parallel = PB_GET(l, running, conf.parallel);
    conf.rate = PB_GET(l, rate, conf.rate);
    conf.burst = PB_GET(l, burst, conf.burst);
    conf.paused = PB_GET(l, paused, conf.paused);
    r = store_queue_set(st, s->id, &conf);
    return r < 0 ? r : store_queue_get(st, s->id, &s->now);
}

static int
check_limits(struct call *c, const PbQueueLimits *l)
{
    if (l->has_rate && !(l->rate >= 0 && l->rate <= 1e9))
        return call_fail(c, PB_ERROR__CODE__INVALID, "limits.rate",
                         "rate is not between 0 and 1000000000");
    return 0;
}

static int
set(struct call *c, const char *name, const PbQueueLimits *limits, bool create)
{
    struct set_op s = {.op = {.run = set_run}, .limits = limits};
    int r;

    if (name == NULL || name[0] == '\0' || strlen(name) > 64)
        return call_fail(c, PB_ERROR__CODE__INVALID, "name",
                         "a queue's name of 1 to 64 bytes is needed");
    r = check_limits(c, limits);
    if (r == 0)
        r = select_queue(c, name, create, &s.id);
    if (r == 0)
        return call_fail(c, PB_ERROR__CODE__NOT_FOUND, "name",
                         "there is no queue \"%.64s\"", name);
    if (r > 0)
        r = call_write(c, &s.op);
    if (r < 0)
        return r;
    dispatch_poke(c->d->dispatch);
    c->rep->queue = queue_make(c, &s.now, name);
    if (c->rep->queue == NULL)
        return -ENOBUFS;
    c->rep->reply_case = PB_RESPONSE__REPLY_QUEUE;
    return 0;
}

int
call_queue_set(struct call *c)
{
    const PbQueueSet *in = c->req->queue_set;
    static const PbQueueLimits none = PB_QUEUE_LIMITS__INIT;

    return set(c, in->name, in->limits != NULL ? in->limits : &none, true);
}

static int
set_paused(struct call *c, const PbQueueRef *ref, bool paused)
{
    PbQueueLimits limits = PB_QUEUE_LIMITS__INIT;

    PB_SET(&limits, paused, paused);
    return set(c, ref->name, &limits, false);
}

int
call_queue_pause(struct call *c)
{
    return set_paused(c, c->req->queue_pause, true);
}

int
call_queue_resume(struct call *c)
{
    return set_paused(c, c->req->queue_resume, false);
}
