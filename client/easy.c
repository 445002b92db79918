/*
 * The calls most programs need, on goctl_call().
 */
#include <string.h>

#include "client/conn.h"

enum { WAIT_LIMIT = 1000 };

/* A long wait is a row of shorter ones: the daemon bounds each. Over a network a connection
 * may be dead without a sign, and is asked again soon; a local one is not. */
#define ROUND_NS       (30 * GOCTL_SECOND)
#define LOCAL_ROUND_NS (600 * GOCTL_SECOND)
#define GRACE_NS       (30 * GOCTL_SECOND) /* for the answer, beyond what was asked */

/* An answer of another kind would be read as what it is not. */
static int
expect(struct goctl_reply *reply, PbResponse__ReplyCase what, struct goctl_error *err)
{
    if (goctl_response(reply)->reply_case == what)
        return 0;
    goctl_reply_free(reply);
    return goctl_fail(err, GOCTL_PROTOCOL, "gojobd sent a reply of another call");
}

static int64_t
round_ns(const struct goctl *c, int64_t timeout_ns)
{
    bool local = strncmp(c->url, "ipc:", 4) == 0 || strncmp(c->url, "abstract:", 9) == 0;
    int64_t most = local ? LOCAL_ROUND_NS : ROUND_NS;

    return timeout_ns < most ? timeout_ns : most;
}

/* wait may be NULL; *ret then holds no wait. */
static int
submit(struct goctl *c, PbJobSpec *const *jobs, size_t n, PbBatchSpec *options,
       PbWait *wait, int64_t timeout_ns, uint64_t *ret_ids, struct goctl_reply **ret,
       struct goctl_error *err)
{
    PbSubmit submit = PB_SUBMIT__INIT;
    PbRequest req = PB_REQUEST__INIT;
    struct goctl_reply *reply;
    const PbSubmitReply *sr;
    PbJobSpec **list;

    memcpy(&list, &jobs, sizeof(list)); /* packing only reads it */
    submit.jobs = list;
    submit.n_jobs = n;
    submit.options = options;
    submit.wait = wait;
    req.call_case = PB_REQUEST__CALL_SUBMIT;
    req.submit = &submit;
    if (goctl_call(c, &req, timeout_ns, &reply, err) < 0 ||
        expect(reply, PB_RESPONSE__REPLY_SUBMIT, err) < 0)
        return -1;

    sr = goctl_response(reply)->submit;
    if (sr->n_ids != n) {
        goctl_reply_free(reply);
        (void)goctl_fail(err, GOCTL_PROTOCOL, "gojobd took another number of jobs");
        return -1;
    }
    if (ret_ids != NULL && n > 0)
        memcpy(ret_ids, sr->ids, n * sizeof(*ret_ids));
    *ret = reply;
    return 0;
}

int
goctl_submit(struct goctl *c, PbJobSpec *const *jobs, size_t n, PbBatchSpec *options,
             uint64_t *ret_batch, uint64_t *ret_ids, struct goctl_error *err)
{
    struct goctl_reply *reply;

    if (submit(c, jobs, n, options, NULL, GOCTL_FOREVER, ret_ids, &reply, err) < 0)
        return -1;
    if (ret_batch != NULL)
        *ret_batch = goctl_response(reply)->submit->batch;
    goctl_reply_free(reply);
    return 0;
}

/* How w waits, without for what. */
static void
fill_wait(const struct goctl *c, const struct goctl_wait *w, int64_t timeout_ns,
          PbDuration *round, PbWait *wait)
{
    PB_SET(round, ns, round_ns(c, timeout_ns));
    wait->timeout = round;
    PB_SET(wait, limit, w->limit != 0 ? w->limit : WAIT_LIMIT);
    PB_SET(wait, jobs, w->jobs);
    PB_SET(wait, results, w->results);
}

static void
took(struct goctl_wait *w, const PbWaitReply *wr)
{
    if (wr->has_next)
        w->after = wr->next;
    w->done = PB_GET(wr, done, false);
    if (w->batch_name != NULL && wr->batch != NULL) {
        w->batch = wr->batch->id; /* another may have the name by the next call */
        w->batch_name = NULL;
    }
}

int
goctl_submit_wait(struct goctl *c, PbJobSpec *const *jobs, size_t n, PbBatchSpec *options,
                  struct goctl_wait *w, int64_t timeout_ns, uint64_t *ret_ids,
                  struct goctl_reply **ret, const PbWaitReply **ret_wait,
                  struct goctl_error *err)
{
    PbDuration round = PB_DURATION__INIT;
    PbWait wait = PB_WAIT__INIT;
    const PbSubmitReply *sr;

    fill_wait(c, w, timeout_ns, &round, &wait);
    /* Of what is submitted something is known in the end, whatever the time. */
    if (submit(c, jobs, n, options, n <= GOCTL_SUBMIT_WAIT_MAX ? &wait : NULL,
               GOCTL_FOREVER, ret_ids, ret, err) < 0)
        return -1;
    sr = goctl_response(*ret)->submit;
    w->batch = sr->batch;
    w->batch_name = NULL;
    w->job = 0;
    w->after = 0;
    w->done = false;
    *ret_wait = sr->wait;
    if (sr->wait != NULL) {
        took(w, sr->wait);
        return 0;
    }
    goctl_reply_free(*ret);
    if (goctl_wait_next(c, w, timeout_ns, ret, err) < 0)
        return -1;
    *ret_wait = goctl_response(*ret)->wait;
    return 0;
}

int
goctl_wait_next(struct goctl *c, struct goctl_wait *w, int64_t timeout_ns,
                struct goctl_reply **ret, struct goctl_error *err)
{
    PbDuration round = PB_DURATION__INIT;
    PbWait wait = PB_WAIT__INIT;
    PbRequest req = PB_REQUEST__INIT;
    struct goctl_reply *reply;

    fill_wait(c, w, timeout_ns, &round, &wait);
    if (w->job != 0) {
        wait.what_case = PB_WAIT__WHAT_JOB;
        wait.job = w->job;
    } else if (w->batch_name != NULL) {
        wait.what_case = PB_WAIT__WHAT_BATCH_NAME;
        memcpy(&wait.batch_name, &w->batch_name, sizeof(wait.batch_name));
    } else {
        wait.what_case = PB_WAIT__WHAT_BATCH;
        wait.batch = w->batch;
    }
    if (w->after != 0)
        PB_SET(&wait, after, w->after);
    req.call_case = PB_REQUEST__CALL_WAIT;
    req.wait = &wait;
    if (goctl_call(c, &req, round.ns + GRACE_NS + c->patience_ns, &reply, err) < 0 ||
        expect(reply, PB_RESPONSE__REPLY_WAIT, err) < 0)
        return -1;

    took(w, goctl_response(reply)->wait);
    *ret = reply;
    return 0;
}

int
goctl_events_next(struct goctl *c, struct goctl_events *ev, int64_t timeout_ns,
                  struct goctl_reply **ret, struct goctl_error *err)
{
    PbDuration round = PB_DURATION__INIT;
    PbEvents events = PB_EVENTS__INIT;
    PbRequest req = PB_REQUEST__INIT;
    struct goctl_reply *reply;
    const PbEventsReply *er;

    PB_SET(&round, ns, round_ns(c, timeout_ns));
    if (ev->after == GOCTL_NOW)
        round.ns = 0;
    events.timeout = &round;
    events.select = ev->select;
    PB_SET(&events, after, ev->after);
    if (ev->progress) {
        PB_SET(&events, progress, true);
        PB_SET(&events, progress_after, ev->progress_after);
    }
    req.call_case = PB_REQUEST__CALL_EVENTS;
    req.events = &events;
    if (goctl_call(c, &req, round.ns + GRACE_NS + c->patience_ns, &reply, err) < 0 ||
        expect(reply, PB_RESPONSE__REPLY_EVENTS, err) < 0)
        return -1;

    er = goctl_response(reply)->events;
    if (er->has_next)
        ev->after = er->next;
    ev->progress_after = PB_GET(er, progress_next, 0);
    *ret = reply;
    return 0;
}
