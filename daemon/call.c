#include "daemon/call.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "daemon/access.h"
#include "daemon/hub.h"
#include "daemon/log.h"
#include "proto/wire.h"
#include "runtime/base/atomic.h"
#include "runtime/go.h"

/* What a message may cost in memory, in multiples of its limit on the wire. */
#define ARENA_FACTOR 8

static int64_t serving; /* atomic */

static const struct handler {
    call_fn *fn;
    int access; /* enum cfg_access: what the caller needs at least */
    bool waits; /* may park for long: counted against limits.waiters */
} handlers[] = {
    [PB_REQUEST__CALL_SUBMIT] = {call_submit, CFG_ACCESS_SUBMIT, false},
    [PB_REQUEST__CALL_WAIT] = {call_wait, CFG_ACCESS_READ, true},
    [PB_REQUEST__CALL_GET] = {call_get, CFG_ACCESS_READ, false},
    [PB_REQUEST__CALL_LIST] = {call_list, CFG_ACCESS_READ, false},
    [PB_REQUEST__CALL_CANCEL] = {call_cancel, CFG_ACCESS_SUBMIT, false},
    [PB_REQUEST__CALL_STATS] = {call_stats, CFG_ACCESS_READ, false},
    [PB_REQUEST__CALL_PING] = {call_ping, CFG_ACCESS_READ, false},
    [PB_REQUEST__CALL_WHY] = {call_why, CFG_ACCESS_READ, false},
    [PB_REQUEST__CALL_RETRY] = {call_retry, CFG_ACCESS_SUBMIT, false},
    [PB_REQUEST__CALL_PURGE] = {call_purge, CFG_ACCESS_ADMIN, false},
    [PB_REQUEST__CALL_EVENTS] = {call_events, CFG_ACCESS_READ, true},
    [PB_REQUEST__CALL_BACKUP] = {call_backup, CFG_ACCESS_ADMIN, false},
    [PB_REQUEST__CALL_CHECK] = {call_check, CFG_ACCESS_ADMIN, false},
    [PB_REQUEST__CALL_BATCH_OPEN] = {call_batch_open, CFG_ACCESS_SUBMIT, false},
    [PB_REQUEST__CALL_BATCH_GET] = {call_batch_get, CFG_ACCESS_READ, false},
    [PB_REQUEST__CALL_BATCH_CLOSE] = {call_batch_close, CFG_ACCESS_SUBMIT, false},
    [PB_REQUEST__CALL_BATCH_CANCEL] = {call_batch_cancel, CFG_ACCESS_SUBMIT, false},
    [PB_REQUEST__CALL_BATCH_LIST] = {call_batch_list, CFG_ACCESS_READ, false},
    [PB_REQUEST__CALL_QUEUE_LIST] = {call_queue_list, CFG_ACCESS_READ, false},
    [PB_REQUEST__CALL_QUEUE_SET] = {call_queue_set, CFG_ACCESS_ADMIN, false},
    [PB_REQUEST__CALL_QUEUE_PAUSE] = {call_queue_pause, CFG_ACCESS_SUBMIT, false},
    [PB_REQUEST__CALL_QUEUE_RESUME] = {call_queue_resume, CFG_ACCESS_SUBMIT, false},
    [PB_REQUEST__CALL_SCHEDULE_ADD] = {call_schedule_add, CFG_ACCESS_SUBMIT, false},
    [PB_REQUEST__CALL_SCHEDULE_GET] = {call_schedule_get, CFG_ACCESS_READ, false},
    [PB_REQUEST__CALL_SCHEDULE_PAUSE] = {call_schedule_pause, CFG_ACCESS_SUBMIT, false},
    [PB_REQUEST__CALL_SCHEDULE_RESUME] = {call_schedule_resume, CFG_ACCESS_SUBMIT, false},
    [PB_REQUEST__CALL_SCHEDULE_REMOVE] = {call_schedule_remove, CFG_ACCESS_SUBMIT, false},
    [PB_REQUEST__CALL_SCHEDULE_RUN] = {call_schedule_run, CFG_ACCESS_SUBMIT, false},
    [PB_REQUEST__CALL_SCHEDULE_LIST] = {call_schedule_list, CFG_ACCESS_READ, false},
    [PB_REQUEST__CALL_SCHEDULE_NEXT] = {call_schedule_next, CFG_ACCESS_READ, false},
    [PB_REQUEST__CALL_STACK] = {call_stack, CFG_ACCESS_READ, false},
    [PB_REQUEST__CALL_GOROUTINES] = {call_goroutines, CFG_ACCESS_READ, false},
    [PB_REQUEST__CALL_TRACE] = {call_trace, CFG_ACCESS_ADMIN, true},
};

int
call_init(struct call *c, struct daemon *d, const struct call_peer *peer,
          struct go_ctx *ctx)
{
    static const PbResponse empty = PB_RESPONSE__INIT;

    memset(c, 0, sizeof(*c));
    c->d = d;
    c->env = daemon_env(d);
    c->cfg = job_env_config(c->env);
    c->ctx = ctx;
    c->peer = *peer;
    c->fixed = empty;
    c->rep = &c->fixed;
    PB_SET(c->rep, version, PB_PROTOCOL_VERSION);
    proto_arena_init(&c->mem, (size_t)c->cfg->limits.message * ARENA_FACTOR);
    ADD(&serving, 1, RELAXED);
    return 0;
}

void
call_fini(struct call *c)
{
    ADD(&serving, -1, RELAXED);
    proto_arena_free(&c->mem);
    job_env_unref(c->env);
}

int64_t
call_count(void)
{
    return LOAD(&serving, RELAXED);
}

/* --- making replies ---------------------------------------------------------------------- */

int
call_fail(struct call *c, PbError__Code code, const char *field, const char *fmt, ...)
{
    static char no_memory[] = "out of memory";
    static PbError fallback;
    char text[512];
    va_list ap;
    PbError *e;

    if (c->rep->reply_case == PB_RESPONSE__REPLY_ERROR)
        return -EINVAL;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    e = proto_new(&c->mem, &pb_error__descriptor);
    if (e == NULL) {
        static const PbError init = PB_ERROR__INIT;

        fallback = init;
        PB_SET(&fallback, code, PB_ERROR__CODE__TOO_LARGE);
        fallback.message = no_memory;
        e = &fallback;
    } else {
        PB_SET(e, code, code);
        e->message = proto_arena_dup(&c->mem, text, strlen(text));
        if (field != NULL && field[0] != '\0')
            e->field = proto_arena_dup(&c->mem, field, strlen(field));
    }
    c->rep->reply_case = PB_RESPONSE__REPLY_ERROR;
    c->rep->error = e;
    return -EINVAL;
}

static PbError__Code
code_of(int r)
{
    switch (r) {
    case -ENOENT:
        return PB_ERROR__CODE__NOT_FOUND;
    case -EINVAL:
        return PB_ERROR__CODE__INVALID;
    case -ESHUTDOWN:
    case -ECANCELED:
    case -ELOOP:
    case -EEXIST:
    case -EBUSY:
        return PB_ERROR__CODE__CONFLICT;
    case -EAGAIN:
        return PB_ERROR__CODE__BUSY;
    default:
        return PB_ERROR__CODE__STORAGE;
    }
}

int
call_store_failed(struct call *c, int r, const char *why)
{
    PbError__Code code = code_of(r);

    if (code == PB_ERROR__CODE__STORAGE)
        log_error("%s", why);
    (void)call_fail(c, code, NULL, "%s", why);
    return r;
}

int
call_write(struct call *c, struct store_op *op)
{
    int r = store_writer_do(c->d->writer, op);

    return r < 0 ? call_store_failed(c, r, op->err) : r;
}

void *
call_new(struct call *c, const ProtobufCMessageDescriptor *desc)
{
    void *m = proto_new(&c->mem, desc);

    if (m == NULL)
        (void)call_fail(c, PB_ERROR__CODE__TOO_LARGE, NULL, "the reply is too large");
    return m;
}

void *
call_array(struct call *c, size_t n, size_t size)
{
    void *v = n > SIZE_MAX / size ? NULL : proto_arena_alloc(&c->mem, n * size);

    if (v == NULL)
        (void)call_fail(c, PB_ERROR__CODE__TOO_LARGE, NULL, "the reply is too large");
    else
        memset(v, 0, n * size);
    return v;
}

char *
call_dup(struct call *c, const char *s)
{
    char *copy = proto_arena_dup(&c->mem, s, strlen(s));

    if (copy == NULL)
        (void)call_fail(c, PB_ERROR__CODE__TOO_LARGE, NULL, "the reply is too large");
    return copy;
}

PbTimestamp *
call_time_ms(struct call *c, int64_t ms)
{
    PbTimestamp *t = call_new(c, &pb_timestamp__descriptor);

    if (t != NULL)
        PB_SET(t, ns, ms * GO_MILLISECOND);
    return t;
}

PbDuration *
call_duration(struct call *c, int64_t ns)
{
    PbDuration *t = call_new(c, &pb_duration__descriptor);

    if (t != NULL)
        PB_SET(t, ns, ns);
    return t;
}

/* --- serving ----------------------------------------------------------------------------- */

static int
unpack(struct call *c, const void *data, size_t len)
{
    struct proto_err err = {.text = ""};
    ProtobufCMessage *m;
    int r;

    if (len > (size_t)c->cfg->limits.message)
        return call_fail(c, PB_ERROR__CODE__TOO_LARGE, NULL,
                         "the message has %zu bytes; limits.message allows %lld", len,
                         (long long)c->cfg->limits.message);
    r = proto_unpack(&pb_request__descriptor, data, len, PROTO_CHECK, &c->mem, &m, &err);
    if (r == -ENOBUFS)
        return call_fail(c, PB_ERROR__CODE__TOO_LARGE, NULL, "the message is too large");
    if (r < 0)
        return call_fail(c, PB_ERROR__CODE__MALFORMED, err.field, "%s",
                         err.text[0] != '\0' ? err.text
                                             : "not a request of this protocol");
    c->req = (const PbRequest *)(const void *)m;
    if (c->req->has_request_id) {
        c->rep->has_request_id = 1;
        c->rep->request_id = c->req->request_id;
    }
    if (PB_GET(c->req, version, 0) != PB_PROTOCOL_VERSION)
        return call_fail(c, PB_ERROR__CODE__VERSION, "version",
                         "protocol version %u is not spoken here: version %d is",
                         PB_GET(c->req, version, 0), PB_PROTOCOL_VERSION);
    return 0;
}

static const struct handler *
find(const PbRequest *req)
{
    size_t i = (size_t)req->call_case;

    return i < sizeof(handlers) / sizeof(handlers[0]) && handlers[i].fn != NULL
               ? &handlers[i]
               : NULL;
}

static const char *const access_names[] = {"read", "submit", "admin"};

void
call_serve(struct call *c, const void *data, size_t len)
{
    const struct handler *h;
    int r;

    if (unpack(c, data, len) < 0)
        return;
    r = access_check(c->cfg, &c->peer, c->req->token);
    if (r < 0) {
        (void)call_fail(c, PB_ERROR__CODE__UNAUTHENTICATED, "token", "%s",
                        c->peer.ipc ? "this user may not connect: see socket.users"
                        : c->req->token == NULL ? "a token is needed"
                                                : "the token is not one of ours");
        return;
    }
    c->access = r;
    h = find(c->req);
    if (h == NULL) {
        (void)call_fail(c, PB_ERROR__CODE__UNSUPPORTED, NULL,
                        c->req->call_case == PB_REQUEST__CALL__NOT_SET
                            ? "the request names no call this version knows"
                            : "this daemon does not support the call");
        return;
    }
    if (c->access < h->access) {
        (void)call_fail(c, PB_ERROR__CODE__DENIED, NULL,
                        "the call needs access \"%s\", the caller has \"%s\"",
                        access_names[h->access], access_names[c->access]);
        return;
    }
    if (h->waits && hub_waiters(c->d->hub) >= c->cfg->limits.waiters) {
        (void)call_fail(c, PB_ERROR__CODE__BUSY, NULL, "limits.waiters is reached");
        return;
    }
    r = h->fn(c);
    if (r < 0)
        (void)call_fail(c, PB_ERROR__CODE__INTERNAL, NULL, "%s", strerror(-r));
}
