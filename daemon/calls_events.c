#include <errno.h>

#include "daemon/call.h"
#include "daemon/eventpb.h"
#include "daemon/hub.h"
#include "daemon/select.h"
#include "runtime/go.h"

/* Events after a number, from the log; waits when there are none yet. */

#define TIMEOUT_DFLT (30 * GO_SECOND)
#define TIMEOUT_MAX  (10 * 60 * GO_SECOND)

enum { LIMIT_DFLT = 1000, LIMIT_MAX = 10000 };

static int
page(struct call *c, int64_t *after, int64_t batch, size_t limit, PbEventsReply *rep)
{
    struct store_events v = {.v = NULL};
    int r = CALL_READ(c, rd, store_read_events(rd, *after + 1, batch, limit, &v));

    if (r == 0 && v.first_kept > *after + 1 && *after != 0)
        PB_SET(rep, lost, 1);
    rep->events = r < 0 ? NULL : call_array(c, v.n + 1, sizeof(*rep->events));
    if (r == 0 && rep->events == NULL)
        r = -ENOBUFS;
    for (size_t i = 0; r == 0 && i < v.n; i++) {
        rep->events[i] = eventpb_make(&c->mem, &v.v[i]);
        if (rep->events[i] == NULL)
            r = call_fail(c, PB_ERROR__CODE__TOO_LARGE, "limit",
                          "the reply is too large");
        rep->n_events = i + 1;
    }
    if (r == 0 && v.n > 0)
        *after = v.v[v.n - 1].seq;
    if (r == 0 && v.n < limit) /* all there is was seen; after may have been beyond it */
        *after = v.next - 1;
    store_events_free(&v);
    return r;
}

static int
check(struct call *c, const PbEvents *in, int64_t *ret_batch)
{
    PbSelector rest;

    *ret_batch = 0;
    if (in->select == NULL)
        return 0;
    rest = *in->select;
    rest.has_batch = 0;
    rest.batch_name = NULL;
    if (!select_empty(&rest))
        return call_fail(c, PB_ERROR__CODE__UNSUPPORTED, "select",
                         "events are selected by batch only");
    return select_batch(c, in->select->has_batch, in->select->batch,
                        in->select->batch_name, ret_batch);
}

int
call_events(struct call *c)
{
    const PbEvents *in = c->req->events;
    PbEventsReply *rep = call_new(c, &pb_events_reply__descriptor);
    int64_t timeout = pb_duration_ns(in->timeout, TIMEOUT_DFLT);
    uint64_t asked = PB_GET(in, after, 0);
    int64_t after = asked < INT64_MAX ? (int64_t)asked : INT64_MAX - 1, deadline, batch;
    size_t limit = PB_GET(in, limit, 0) > 0 ? in->limit : LIMIT_DFLT;
    struct hub_waiter w;
    bool last = false;
    int r = rep == NULL ? -ENOBUFS : check(c, in, &batch);

    if (r < 0)
        return r;
    limit = limit < LIMIT_MAX ? limit : LIMIT_MAX;
    deadline = go_deadline(timeout < TIMEOUT_MAX ? timeout : TIMEOUT_MAX);
    hub_enter(c->d->hub, &w, batch, HUB_ANY);
    for (;;) {
        r = page(c, &after, batch, limit, rep);
        if (r < 0 || rep->n_events > 0 || last || timeout <= 0)
            break;
        last = hub_wait(c->d->hub, &w, deadline, c->ctx) < 0;
    }
    hub_leave(c->d->hub, &w);
    if (r < 0)
        return r;
    PB_SET(rep, next, (uint64_t)after);
    c->rep->reply_case = PB_RESPONSE__REPLY_EVENTS;
    c->rep->events = rep;
    return 0;
}
