/*
 * One call: send, receive, and again where that helps.
 *
 * Normal path        start packs the request and sends it in a free slot; the slot's aio
 *                    callback turns to receiving, then unpacks the reply and marks the call
 *                    done. finish waits for that.
 * Failure modes      The connection breaks (NNG_ECONNRESET: REQ's own resend timer is off),
 *                    or the reply is UNAVAILABLE, or BUSY and the caller wants patience:
 *                    pause, then send the same bytes again, under the same request id. It
 *                    ends with the call's timeout, or with the patience when no daemon
 *                    comes back. What cannot be sent for want of a connection looks after
 *                    the dialler every RETRY_NS.
 *
 * Until done is set the call belongs to the callback, afterwards to finish.
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "client/conn.h"
#include "proto/wire.h"

#define REPLY_MEMORY ((size_t)4 << 30)
#define PAUSE_NS     (GOCTL_SECOND / 10)
#define PAUSE_MAX_NS (30 * GOCTL_SECOND)
#define RETRY_NS     GOCTL_SECOND

struct goctl_reply {
    struct proto_arena arena;
    const PbResponse *response;
};

enum phase { SENDING, RECEIVING, PAUSING };

struct goctl_call {
    struct goctl *client;
    struct goctl_slot *slot;
    nng_msg *request;    /* kept to send it again */
    int64_t deadline_ns; /* GOCTL_FOREVER: none */
    int64_t lost_ns;     /* since when no daemon answers; 0: one does */
    PbRequest__CallCase what;
    enum phase phase;

    struct goctl_reply *reply;
    struct goctl_error error;
    bool done; /* guarded by client->mu */
};

const PbResponse *
goctl_response(const struct goctl_reply *reply)
{
    return reply->response;
}

void
goctl_reply_free(struct goctl_reply *reply)
{
    if (reply == NULL)
        return;
    proto_arena_free(&reply->arena);
    free(reply);
}

/* --- the state machine, in the aios' callback -------------------------------------------- */

static void
call_done(struct goctl_call *call)
{
    struct goctl *c = call->client;

    pthread_mutex_lock(&c->mu);
    call->done = true;
    pthread_cond_broadcast(&c->cond);
    pthread_mutex_unlock(&c->mu);
}

static void
tell(struct goctl_call *call, bool lost, const char *text)
{
    struct goctl *c = call->client;
    bool news;

    pthread_mutex_lock(&c->mu);
    news = c->lost != lost;
    c->lost = lost;
    pthread_mutex_unlock(&c->mu);
    if (news && c->notice != NULL)
        c->notice(c->notice_arg, text);
}

/* What the next step may take: the call's time and, with the daemon lost, the patience. */
static int64_t
left_ns(const struct goctl_call *call)
{
    int64_t until = call->deadline_ns;

    if (call->lost_ns != 0 && until > call->lost_ns + call->client->patience_ns)
        until = call->lost_ns + call->client->patience_ns;
    return until == GOCTL_FOREVER ? GOCTL_FOREVER : until - goctl_now();
}

static nng_duration
to_ms(int64_t ns)
{
    if (ns == GOCTL_FOREVER)
        return NNG_DURATION_INFINITE;
    if (ns <= 0)
        return 0;
    if (ns > (int64_t)INT32_MAX * 1000000)
        return INT32_MAX;
    return (nng_duration)((ns + 999999) / 1000000);
}

static void
step_send(struct goctl_call *call)
{
    nng_aio *aio = call->slot->aio;
    int64_t left = left_ns(call);
    nng_msg *copy;

    if (nng_msg_dup(&copy, call->request) != 0) {
        (void)goctl_fail(&call->error, GOCTL_MEMORY, "out of memory");
        call_done(call);
        return;
    }
    call->phase = SENDING;
    nng_aio_set_msg(aio, copy);
    nng_aio_set_timeout(aio, to_ms(left < RETRY_NS ? left : RETRY_NS));
    nng_ctx_send(call->slot->ctx, aio);
}

static void
step_receive(struct goctl_call *call)
{
    call->phase = RECEIVING;
    nng_aio_set_timeout(call->slot->aio, to_ms(left_ns(call)));
    nng_ctx_recv(call->slot->ctx, call->slot->aio);
}

static void
step_pause(struct goctl_call *call, int64_t ns)
{
    int64_t left = left_ns(call);

    if (ns > left)
        ns = left > 0 ? left : 0;
    call->phase = PAUSING;
    nng_sleep_aio(to_ms(ns), call->slot->nap);
}

static void
lose(struct goctl_call *call, const char *text)
{
    if (call->lost_ns == 0)
        call->lost_ns = goctl_now();
    tell(call, true, text);
    step_pause(call, PAUSE_NS);
}

static void
out_of_time(struct goctl_call *call)
{
    if (call->lost_ns != 0 || call->phase == SENDING)
        (void)goctl_fail_unreachable(&call->error, call->client->url, NNG_ETIMEDOUT);
    else
        (void)goctl_fail(&call->error, GOCTL_TIMEOUT,
                         "gojobd at %s did not answer in time", call->client->url);
    call_done(call);
}

static void
set_refusal(struct goctl_error *err, const PbError *e)
{
    *err = (struct goctl_error){.code = GOCTL_REFUSED};
    err->refused = PB_GET(e, code, PB_ERROR__CODE__INTERNAL);
    err->retry_after_ns = pb_duration_ns(e->retry_after, 0);
    err->has_index = e->has_index;
    err->index = e->index;
    (void)snprintf(err->field, sizeof(err->field), "%s",
                   e->field != NULL ? e->field : "");
    (void)snprintf(err->text, sizeof(err->text), "%s",
                   e->message != NULL ? e->message : "refused without a reason");
}

/* An error reply: whether to go on with it later. */
static bool
go_on_after(struct goctl_call *call, const PbError *e)
{
    PbError__Code code = PB_GET(e, code, PB_ERROR__CODE__INTERNAL);
    int64_t after = pb_duration_ns(e->retry_after, PAUSE_NS);
    char text[256];

    if (after < PAUSE_NS / 10)
        after = PAUSE_NS / 10;
    if (after > PAUSE_MAX_NS)
        after = PAUSE_MAX_NS;
    if (code == PB_ERROR__CODE__UNAVAILABLE) {
        lose(call, "the daemon is shutting down; waiting for it to come back");
        return true;
    }
    if (code == PB_ERROR__CODE__BUSY && call->client->wait_when_busy) {
        (void)snprintf(text, sizeof(text), "the daemon is busy (%.200s); waiting",
                       e->message != NULL ? e->message : "no reason given");
        tell(call, true, text);
        step_pause(call, after);
        return true;
    }
    return false;
}

/* What came for this call: a reply, an error of the daemon, or nonsense. */
static void
take_reply(struct goctl_call *call, nng_msg *msg)
{
    struct goctl_reply *reply = calloc(1, sizeof(*reply));
    struct proto_err perr = {0};
    ProtobufCMessage *m = NULL;
    const PbResponse *rsp;
    int r = -ENOMEM;

    if (reply != NULL) {
        proto_arena_init(&reply->arena, REPLY_MEMORY);
        r = proto_unpack(&pb_response__descriptor, nng_msg_body(msg), nng_msg_len(msg),
                         PROTO_TRUST, &reply->arena, &m, &perr);
    }
    nng_msg_free(msg);
    if (r < 0) {
        (void)goctl_fail(&call->error, GOCTL_PROTOCOL, "no reply of gojobd: %s",
                         perr.text);
        goctl_reply_free(reply);
        call_done(call);
        return;
    }

    rsp = (const PbResponse *)m;
    if (rsp->reply_case == PB_RESPONSE__REPLY_ERROR) {
        bool again = go_on_after(call, rsp->error);

        if (!again)
            set_refusal(&call->error, rsp->error);
        goctl_reply_free(reply);
        if (!again)
            call_done(call);
        return;
    }
    reply->response = rsp;
    call->reply = reply;
    tell(call, false, "the daemon is back");
    call_done(call);
}

static void
callback(void *arg)
{
    struct goctl_slot *slot = arg;
    struct goctl_call *call = slot->call;
    int r = call->phase == PAUSING ? 0 : nng_aio_result(slot->aio);

    if (r != 0 && call->phase == SENDING) /* then the message is still ours */
        nng_msg_free(nng_aio_get_msg(slot->aio));
    if (r == NNG_ETIMEDOUT && call->phase == SENDING && left_ns(call) > 0) {
        goctl_redial(call->client);
        step_send(call);
    } else if (r == NNG_ETIMEDOUT || (call->phase == PAUSING && left_ns(call) <= 0)) {
        out_of_time(call);
    } else if (call->phase == PAUSING) {
        step_send(call);
    } else if (r == NNG_ECONNRESET || r == NNG_ECONNABORTED || r == NNG_ECONNSHUT) {
        lose(call, "the connection to the daemon broke; waiting for it to come back");
    } else if (r != 0) {
        (void)goctl_fail(&call->error, GOCTL_UNREACHABLE, "%s: %s", call->client->url,
                         nng_strerror(r));
        call_done(call);
    } else if (call->phase == SENDING) {
        call->lost_ns = 0;
        step_receive(call);
    } else {
        take_reply(call, nng_aio_get_msg(slot->aio));
    }
}

/* --- the caller's side ------------------------------------------------------------------ */

static int
slot_open(struct goctl *c, struct goctl_slot *slot)
{
    if (nng_aio_alloc(&slot->aio, callback, slot) != 0)
        return -1;
    if (nng_aio_alloc(&slot->nap, callback, slot) != 0) {
        nng_aio_free(slot->aio);
        return -1;
    }
    if (nng_ctx_open(&slot->ctx, c->socket) != 0) {
        nng_aio_free(slot->nap);
        nng_aio_free(slot->aio);
        return -1;
    }
    /* REQ would send again by itself; when and what to repeat is decided here. */
    (void)nng_ctx_set_ms(slot->ctx, "req:resend-time", NNG_DURATION_INFINITE);
    slot->open = true;
    return 0;
}

static struct goctl_slot *
slot_take(struct goctl *c)
{
    struct goctl_slot *slot;

    pthread_mutex_lock(&c->mu);
    while (c->free == NULL)
        pthread_cond_wait(&c->cond, &c->mu);
    slot = c->free;
    c->free = slot->next;
    pthread_mutex_unlock(&c->mu);

    if (!slot->open && slot_open(c, slot) < 0) {
        pthread_mutex_lock(&c->mu);
        slot->next = c->free;
        c->free = slot;
        pthread_mutex_unlock(&c->mu);
        return NULL;
    }
    return slot;
}

static int
pack(struct goctl *c, PbRequest *req, nng_msg **ret, struct goctl_error *err)
{
    uint8_t id[16];
    size_t len;
    nng_msg *msg;

    if (req->call_case == PB_REQUEST__CALL__NOT_SET)
        return goctl_fail(err, GOCTL_INVALID, "the request holds no call");
    if (getrandom(id, sizeof(id), 0) != (ssize_t)sizeof(id))
        return goctl_fail(err, GOCTL_MEMORY, "no random numbers: %s", strerror(errno));
    PB_SET(req, version, PB_PROTOCOL_VERSION);
    req->has_request_id = 1;
    req->request_id = (ProtobufCBinaryData){sizeof(id), id};
    req->token = c->token;
    req->client = c->client;

    len = pb_request__get_packed_size(req);
    if (nng_msg_alloc(&msg, len) != 0)
        return goctl_fail(err, GOCTL_MEMORY, "out of memory");
    (void)pb_request__pack(req, nng_msg_body(msg));
    req->has_request_id = 0; /* id leaves with this frame */
    req->request_id = (ProtobufCBinaryData){0, NULL};
    *ret = msg;
    return 0;
}

int
goctl_start(struct goctl *c, PbRequest *req, int64_t timeout_ns, struct goctl_call **ret,
            struct goctl_error *err)
{
    struct goctl_call *call = calloc(1, sizeof(*call));
    int64_t now = goctl_now();

    if (call == NULL)
        return goctl_fail(err, GOCTL_MEMORY, "out of memory");
    if (pack(c, req, &call->request, err) < 0) {
        free(call);
        return -1;
    }
    call->client = c;
    call->what = req->call_case;
    call->deadline_ns =
        timeout_ns >= GOCTL_FOREVER - now ? GOCTL_FOREVER : now + timeout_ns;
    call->slot = slot_take(c);
    if (call->slot == NULL) {
        nng_msg_free(call->request);
        free(call);
        return goctl_fail(err, GOCTL_MEMORY, "no more contexts");
    }
    call->slot->call = call;
    *ret = call;
    step_send(call);
    return 0;
}

bool
goctl_finished(struct goctl_call *call)
{
    bool done;

    pthread_mutex_lock(&call->client->mu);
    done = call->done;
    pthread_mutex_unlock(&call->client->mu);
    return done;
}

int
goctl_finish(struct goctl_call *call, struct goctl_reply **ret, struct goctl_error *err)
{
    struct goctl *c = call->client;
    int r = -1;

    pthread_mutex_lock(&c->mu);
    while (!call->done)
        pthread_cond_wait(&c->cond, &c->mu);
    pthread_mutex_unlock(&c->mu);
    nng_aio_wait(call->slot->aio); /* the callback has left */
    nng_aio_wait(call->slot->nap);

    pthread_mutex_lock(&c->mu);
    call->slot->call = NULL;
    call->slot->next = c->free;
    c->free = call->slot;
    pthread_cond_broadcast(&c->cond);
    pthread_mutex_unlock(&c->mu);

    if (call->reply != NULL) {
        *ret = call->reply;
        r = 0;
    } else if (err != NULL) {
        *err = call->error;
    }
    nng_msg_free(call->request);
    free(call);
    return r;
}

int
goctl_call(struct goctl *c, PbRequest *req, int64_t timeout_ns, struct goctl_reply **ret,
           struct goctl_error *err)
{
    struct goctl_call *call = NULL;

    if (goctl_start(c, req, timeout_ns, &call, err) < 0 || call == NULL)
        return -1;
    return goctl_finish(call, ret, err);
}
