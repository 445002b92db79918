#include <errno.h>
#include <string.h>

#include "daemon/call.h"
#include "daemon/jobpb.h"
#include "daemon/select.h"
#include "daemon/spec.h"
#include "daemon/store/finish.h"
#include "daemon/store/submit.h"
#include "daemon/watch.h"
#include "runtime/base/atomic.h"
#include "runtime/go.h"

static int
reply_batch(struct call *c, int64_t id)
{
    struct store_batches v = {.v = NULL};
    int r = CALL_READ(c, rd, store_read_batch(rd, id, &v));

    if (r == 0)
        r = call_fail(c, PB_ERROR__CODE__NOT_FOUND, "batch", "there is no batch %lld",
                      (long long)id);
    if (r > 0) {
        PbBatch *b = jobpb_batch(c, &v.v[0]);

        r = b != NULL ? 0 : -ENOBUFS;
        if (r == 0) {
            c->rep->reply_case = PB_RESPONSE__REPLY_BATCH;
            c->rep->batch = b;
        }
    }
    store_batches_free(&v);
    return r;
}

/* The batch a reference means. */
static int
resolve(struct call *c, const PbBatchRef *ref, int64_t *ret)
{
    int r = select_batch(c, ref->has_batch, ref->batch, ref->name, ret);

    if (r == 0 && *ret == 0)
        r = call_fail(c, PB_ERROR__CODE__INVALID, "batch", "give a batch's id or name");
    return r;
}

int
call_batch_get(struct call *c)
{
    int64_t id;
    int r = resolve(c, c->req->batch_get, &id);

    return r < 0 ? r : reply_batch(c, id);
}

/* --- changes ----------------------------------------------------------------------------- */

struct batch_op {
    struct store_op op;
    int64_t batch;
};

static int
close_run(struct store *st, struct store_op *op)
{
    return store_batch_close(st, ((struct batch_op *)op)->batch);
}

static int
cancel_run(struct store *st, struct store_op *op)
{
    return store_cancel_batch(st, ((struct batch_op *)op)->batch, STORE_STOP_CLIENT);
}

static int
change(struct call *c, const PbBatchRef *ref,
       int (*run)(struct store *, struct store_op *))
{
    struct batch_op b = {.op = {.run = run}};
    int r = resolve(c, ref, &b.batch);

    if (r == 0)
        r = call_write(c, &b.op);
    return r < 0 ? r : reply_batch(c, b.batch);
}

int
call_batch_close(struct call *c)
{
    return change(c, c->req->batch_close, close_run);
}

int
call_batch_cancel(struct call *c)
{
    return change(c, c->req->batch_cancel, cancel_run);
}

struct open_op {
    struct store_op op;
    struct store_submit sub;
    struct store_new_batch fresh;
    struct store_submitted done;
};

static int
open_run(struct store *st, struct store_op *op)
{
    struct open_op *o = (struct open_op *)op;

    return store_submit(st, &o->sub, NULL, &o->done);
}

/* Opening one that is open already answers with it, as a repeated request does. */
int
call_batch_open(struct call *c)
{
    static const PbBatchSpec none = PB_BATCH_SPEC__INIT;
    const PbBatchSpec *in =
        c->req->batch_open->spec != NULL ? c->req->batch_open->spec : &none;
    struct open_op o = {.op = {.run = open_run}};
    int64_t timeout = pb_duration_ns(in->timeout, 0);
    int r;

    if (LOAD(&c->d->draining, RELAXED))
        return call_fail(c, PB_ERROR__CODE__UNAVAILABLE, NULL,
                         "the daemon is shutting down");
    if (timeout < 0)
        return call_fail(c, PB_ERROR__CODE__INVALID, "spec.timeout",
                         "timeout is negative");
    o.fresh = (struct store_new_batch){
        .name = in->name,
        .fail_fast = PB_GET(in, fail_fast, 0),
        .max_parallel = PB_GET(in, max_parallel, 0),
        .deadline = spec_deadline(in->deadline),
        .labels = spec_labels(&c->mem, (void *const *)in->labels, in->n_labels),
        .n_labels = in->n_labels,
    };
    if (timeout > 0)
        o.fresh.deadline = spec_time_after(daemon_now_ms(), timeout);
    o.sub.fresh = &o.fresh;
    if (c->req->has_request_id && c->req->request_id.len > 0) {
        o.sub.request = c->req->request_id.data;
        o.sub.request_len = c->req->request_id.len;
    }
    r = call_write(c, &o.op);
    if (r >= 0 && o.fresh.deadline != 0)
        watch_deadlines(c->d->watch);
    return r < 0 ? r : reply_batch(c, o.done.batch);
}

/* --- list -------------------------------------------------------------------------------- */

enum { LIST_DFLT = 100, LIST_MAX = 10000 };

/* An empty value: the label exists. */
static bool
has_label(const PbBatch *b, const PbBatchList__LabelsEntry *want)
{
    for (size_t i = 0; i < b->n_labels; i++)
        if (strcmp(b->labels[i]->key, want->key) == 0)
            return want->value == NULL || want->value[0] == '\0' ||
                   strcmp(b->labels[i]->value, want->value) == 0;
    return false;
}

static bool
wanted(const PbBatchList *in, const PbBatch *b)
{
    bool state = in->n_states == 0;

    for (size_t i = 0; i < in->n_states; i++)
        state = state || in->states[i] == b->state;
    for (size_t i = 0; state && i < in->n_labels; i++)
        state = has_label(b, in->labels[i]);
    return state;
}

int
call_batch_list(struct call *c)
{
    const PbBatchList *in = c->req->batch_list;
    size_t limit = PB_GET(in, limit, 0) > 0 ? in->limit : LIST_DFLT;
    PbBatchListReply *rep = call_new(c, &pb_batch_list_reply__descriptor);
    int64_t before = (int64_t)PB_GET(in, after, 0);
    bool end = false;
    int r = 0;

    if (rep == NULL)
        return -ENOBUFS;
    limit = limit < LIST_MAX ? limit : LIST_MAX;
    rep->batches = call_array(c, limit, sizeof(*rep->batches));
    if (rep->batches == NULL)
        return -ENOBUFS;
    while (r == 0 && !end && rep->n_batches < limit) {
        struct store_batches v = {.v = NULL};

        r = CALL_READ(c, rd, store_read_batches(rd, before, limit, &v));
        for (size_t i = 0; r == 0 && i < v.n && rep->n_batches < limit; i++) {
            PbBatch *b = jobpb_batch(c, &v.v[i]);

            before = v.v[i].id;
            end = v.n < limit && i + 1 == v.n;
            r = b != NULL ? 0 : -ENOBUFS;
            if (r == 0 && wanted(in, b))
                rep->batches[rep->n_batches++] = b;
        }
        end = end || v.n == 0;
        store_batches_free(&v);
    }
    if (r < 0)
        return r;
    if (!end)
        PB_SET(rep, next, (uint64_t)before);
    c->rep->reply_case = PB_RESPONSE__REPLY_BATCH_LIST;
    c->rep->batch_list = rep;
    return 0;
}
