#include "daemon/rpc.h"

#include <errno.h>
#include <nng/nng.h>
#include <nng/protocol/reqrep0/rep.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/call.h"
#include "daemon/idset.h"
#include "daemon/listen.h"
#include "daemon/log.h"
#include "runtime/base/atomic.h"
#include "runtime/go.h"

/* A message over limits.message but not over this multiple of it gets an error reply; one
 * over that is not read at all, and its connection is closed. */
#define RECV_SLACK  2
#define ANSWER_TIME (2 * GO_SECOND)       /* for calls under way when the daemon stops */
#define FLUSH_TIME  (50 * GO_MILLISECOND) /* for their replies to leave */
#define SPARE_MAX   64 /* receiving contexts kept when load goes down */
#define STOP_EVERY  (10 * GO_MILLISECOND)

/*
 * Stopping. nng 1.5.2 frees a socket that is closed while one of its contexts is in use
 * under the hands of that user (nni_ctx_rele lets the socket go before it is done with the
 * context). So rpc_stop() ends all workers first, and closes the socket when the last has
 * closed its context. An aio that is aborted just before its operation begins goes on as if
 * nothing had happened: therefore it aborts again and again.
 */

struct rpc {
    struct daemon *d;
    nng_socket sock;
    struct go_wg wg;
    int64_t max; /* contexts */

    struct go_mutex mu;
    /* Guarded by mu. */
    int64_t n, receiving;
    bool stopping;
    struct idset pipes; /* the connections that stand */
    struct worker *all;
    struct worker *busy;    /* serving a call, until its reply is sent */
    struct go_cond changed; /* busy became empty, or all */
};

/* A context and its goroutine. */
struct worker {
    struct rpc *rpc;
    nng_ctx ctx;
    nng_aio *aio;
    struct go_sem done; /* a unit when the aio has ended */

    /* Guarded by rpc->mu. */
    struct worker *all_next, **all_link;
    struct worker *next, **link; /* of the busy ones */
    uint32_t pipe;
    struct go_ctx *call_ctx;
};

static int worker_add(struct rpc *rpc);

/* On a thread of nng. */
static void
aio_done(void *arg)
{
    struct worker *w = arg;

    go_sem_release(&w->done, 1);
}

/* On a thread of nng, before the first message of a client is received. */
static void
pipe_comes(nng_pipe pipe, nng_pipe_ev ev, void *arg)
{
    struct rpc *rpc = arg;
    int r;

    (void)ev;
    go_mutex_lock(&rpc->mu);
    r = idset_add(&rpc->pipes, (uint32_t)nng_pipe_id(pipe));
    go_mutex_unlock(&rpc->mu);
    if (r < 0)
        (void)nng_pipe_close(pipe);
}

/* On a thread of nng: a client has gone. */
static void
pipe_gone(nng_pipe pipe, nng_pipe_ev ev, void *arg)
{
    struct rpc *rpc = arg;
    uint32_t id = (uint32_t)nng_pipe_id(pipe);

    (void)ev;
    go_mutex_lock(&rpc->mu);
    idset_drop(&rpc->pipes, id);
    for (struct worker *w = rpc->busy; w != NULL; w = w->next)
        if (w->pipe == id)
            go_ctx_cancel(w->call_ctx);
    go_mutex_unlock(&rpc->mu);
}

/* Receives a request: NULL when the socket is closed. PARKS. */
static nng_msg *
receive(struct worker *w)
{
    for (;;) {
        int rv;

        nng_ctx_recv(w->ctx, w->aio);
        go_sem_acquire(&w->done, 1);
        rv = nng_aio_result(w->aio);
        if (rv == 0)
            return nng_aio_get_msg(w->aio);
        if (rv == NNG_ECLOSED || rv == NNG_ECANCELED)
            return NULL;
        log_warning("receiving a request failed: %s", nng_strerror(rv));
        go_sleep(10 * GO_MILLISECOND);
    }
}

static void
send_reply(struct worker *w, const PbResponse *rep)
{
    size_t size = protobuf_c_message_get_packed_size(PB_BASE(rep));
    nng_msg *msg;

    if (nng_msg_alloc(&msg, size) != 0) {
        log_error("no memory for a reply of %zu bytes", size);
        return;
    }
    (void)protobuf_c_message_pack(PB_BASE(rep), nng_msg_body(msg));
    nng_aio_set_msg(w->aio, msg);
    nng_ctx_send(w->ctx, w->aio);
    go_sem_acquire(&w->done, 1);
    if (nng_aio_result(w->aio) != 0) /* the client has gone */
        nng_msg_free(nng_aio_get_msg(w->aio));
}

static struct call_peer
peer_of(nng_msg *msg)
{
    struct call_peer peer = {.ipc = false};
    nng_pipe pipe = nng_msg_get_pipe(msg);
    uint64_t uid;

    if (nng_pipe_get_uint64(pipe, NNG_OPT_IPC_PEER_UID, &uid) == 0) {
        peer.ipc = true;
        peer.uid = (uid_t)uid;
    }
    return peer;
}

static void
busy_enter(struct worker *w, nng_msg *msg, struct go_ctx *ctx)
{
    struct rpc *rpc = w->rpc;

    go_mutex_lock(&rpc->mu);
    w->pipe = (uint32_t)nng_pipe_id(nng_msg_get_pipe(msg));
    w->call_ctx = ctx;
    w->next = rpc->busy;
    w->link = &rpc->busy;
    if (w->next != NULL)
        w->next->link = &w->next;
    rpc->busy = w;
    if (!idset_has(&rpc->pipes, w->pipe)) /* gone since it sent this */
        go_ctx_cancel(ctx);
    go_mutex_unlock(&rpc->mu);
}

static void
busy_leave(struct worker *w)
{
    struct rpc *rpc = w->rpc;

    go_mutex_lock(&rpc->mu);
    *w->link = w->next;
    if (w->next != NULL)
        w->next->link = w->link;
    if (rpc->busy == NULL)
        go_cond_broadcast(&rpc->changed);
    go_mutex_unlock(&rpc->mu);
}

static void
serve(struct worker *w, nng_msg *msg)
{
    struct call_peer peer = peer_of(msg);
    struct go_ctx *ctx = go_ctx_with_cancel(NULL);
    struct call c;

    if (ctx == NULL) {
        nng_msg_free(msg);
        return;
    }
    busy_enter(w, msg, ctx);
    (void)call_init(&c, w->rpc->d, &peer, ctx);
    call_serve(&c, nng_msg_body(msg), nng_msg_len(msg));
    nng_msg_free(msg);
    send_reply(w, c.rep);
    busy_leave(w);
    call_fini(&c);
    go_ctx_unref(ctx);
}

/* One receiving context less: true if another must be made in its stead. */
static bool
took_last(struct rpc *rpc)
{
    bool last;

    go_mutex_lock(&rpc->mu);
    last = --rpc->receiving == 0 && rpc->n < rpc->max && !rpc->stopping;
    go_mutex_unlock(&rpc->mu);
    return last;
}

/* Back to receiving, unless enough others do. */
static bool
receive_again(struct rpc *rpc)
{
    bool again;

    go_mutex_lock(&rpc->mu);
    again = rpc->receiving < SPARE_MAX && !rpc->stopping;
    rpc->receiving += again;
    go_mutex_unlock(&rpc->mu);
    return again;
}

static void
all_enter(struct worker *w)
{
    struct rpc *rpc = w->rpc;

    go_mutex_lock(&rpc->mu);
    w->all_next = rpc->all;
    w->all_link = &rpc->all;
    if (w->all_next != NULL)
        w->all_next->all_link = &w->all_next;
    rpc->all = w;
    rpc->n++;
    rpc->receiving++;
    go_mutex_unlock(&rpc->mu);
}

/* From here on nobody else knows w. */
static void
all_leave(struct worker *w)
{
    struct rpc *rpc = w->rpc;

    go_mutex_lock(&rpc->mu);
    *w->all_link = w->all_next;
    if (w->all_next != NULL)
        w->all_next->all_link = w->all_link;
    rpc->n--;
    if (rpc->all == NULL)
        go_cond_broadcast(&rpc->changed);
    go_mutex_unlock(&rpc->mu);
}

static void
worker_main(struct worker *w)
{
    struct rpc *rpc = w->rpc;
    nng_msg *msg;

    do {
        msg = receive(w);
        if (msg == NULL)
            break;
        if (took_last(rpc) && worker_add(rpc) < 0)
            log_warning("no memory for another call context");
        serve(w, msg);
    } while (receive_again(rpc));
    all_leave(w);
    GO_BLOCKING((nng_ctx_close(w->ctx), nng_aio_free(w->aio), 0));
    free(w);
}

static int
worker_add(struct rpc *rpc)
{
    struct worker *w = calloc(1, sizeof(*w));

    if (w == NULL)
        return -ENOMEM;
    w->rpc = rpc;
    go_sem_init(&w->done, 0);
    if (nng_aio_alloc(&w->aio, aio_done, w) != 0)
        goto fail;
    if (nng_ctx_open(&w->ctx, rpc->sock) != 0)
        goto fail_aio;
    all_enter(w);
    if (go_opt((&(const struct go_opts){.name = "call", .wg = &rpc->wg}), worker_main,
               w) > 0)
        return 0;
    all_leave(w);
    go_mutex_lock(&rpc->mu);
    rpc->receiving--;
    go_mutex_unlock(&rpc->mu);
    (void)nng_ctx_close(w->ctx);
fail_aio:
    nng_aio_free(w->aio);
fail:
    free(w);
    return -ENOMEM;
}

int
rpc_start(struct daemon *d, const struct config *cfg, struct rpc **ret, char *err,
          size_t err_size)
{
    struct rpc *rpc = calloc(1, sizeof(*rpc));
    int r = -ENOMEM;

    if (rpc == NULL || nng_rep0_open(&rpc->sock) != 0) {
        (void)snprintf(err, err_size, "no memory for a socket");
        free(rpc);
        return r;
    }
    go_cond_init(&rpc->changed, &rpc->mu);
    rpc->d = d;
    rpc->max = cfg->limits.calls + cfg->limits.waiters;
    (void)nng_pipe_notify(rpc->sock, NNG_PIPE_EV_ADD_PRE, pipe_comes, rpc);
    (void)nng_pipe_notify(rpc->sock, NNG_PIPE_EV_REM_POST, pipe_gone, rpc);
    (void)nng_socket_set_size(rpc->sock, NNG_OPT_RECVMAXSZ,
                              (size_t)cfg->limits.message * RECV_SLACK);
    for (size_t i = 0; i < cfg->listen.n; i++) {
        r = listen_on(rpc->sock.id, cfg, cfg->listen.items[i], err, err_size);
        if (r < 0)
            break;
    }
    if (r == 0)
        r = worker_add(rpc);
    if (r < 0) {
        rpc_stop(rpc);
        return r;
    }
    *ret = rpc;
    return 0;
}

/* Ends every call and every worker. */
static void
stop_workers(struct rpc *rpc)
{
    go_mutex_lock(&rpc->mu);
    rpc->stopping = true;
    while (rpc->all != NULL) {
        for (struct worker *w = rpc->busy; w != NULL; w = w->next)
            go_ctx_cancel(w->call_ctx);
        for (struct worker *w = rpc->all; w != NULL; w = w->all_next)
            nng_aio_abort(w->aio, NNG_ECANCELED);
        (void)go_cond_wait_until(&rpc->changed, go_deadline(STOP_EVERY));
    }
    go_mutex_unlock(&rpc->mu);
    go_wg_wait(&rpc->wg);
}

void
rpc_stop(struct rpc *rpc)
{
    int64_t deadline = go_deadline(ANSWER_TIME);
    int r = 0;

    if (rpc == NULL)
        return;
    go_mutex_lock(&rpc->mu);
    while (r == 0 && rpc->busy != NULL)
        r = go_cond_wait_until(&rpc->changed, deadline);
    go_mutex_unlock(&rpc->mu);
    /* nng reports a reply as sent when its pipe has taken it; closing drops what the pipe
     * has not written. */
    go_sleep(FLUSH_TIME);
    stop_workers(rpc);
    if (!listen_close(rpc->sock.id))
        return; /* pipes may still come and go: see pipe_gone() */
    idset_fini(&rpc->pipes);
    free(rpc);
}
