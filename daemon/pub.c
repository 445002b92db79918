#include "daemon/pub.h"

#include <errno.h>
#include <nng/nng.h>
#include <nng/protocol/pubsub0/pub.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/dispatch.h"
#include "daemon/eventpb.h"
#include "daemon/listen.h"
#include "proto/wire.h"
#include "runtime/base/atomic.h"
#include "runtime/go.h"

#define EVENT_MEM      (64 * 1024)
#define PROGRESS_EVERY (500 * GO_MILLISECOND)

enum { PROGRESS_MAX = 1000 }; /* running jobs whose progress is published */

struct pub {
    struct daemon *d;
    nng_socket sock;
    int64_t listeners; /* atomic: connected subscribers */
    uint64_t seq;      /* atomic: of the last stored event told */
    struct go_ctx *ctx;
    struct go_wg wg;
};

/* On a thread of nng. */
static void
pipe_changed(nng_pipe pipe, nng_pipe_ev ev, void *arg)
{
    struct pub *pub = arg;

    (void)pipe;
    ADD(&pub->listeners, ev == NNG_PIPE_EV_ADD_POST ? 1 : -1, RELAXED);
}

/* PUB never makes the sender wait. */
static void
publish(struct pub *pub, uint64_t batch, const PbEvent *ev)
{
    char topic[32];
    int n = snprintf(topic, sizeof(topic), "b/%llu/", (unsigned long long)batch);
    size_t size = protobuf_c_message_get_packed_size(PB_BASE(ev));
    nng_msg *msg;

    if (nng_msg_alloc(&msg, (size_t)n + size) != 0)
        return;
    memcpy(nng_msg_body(msg), topic, (size_t)n);
    (void)protobuf_c_message_pack(PB_BASE(ev), (uint8_t *)nng_msg_body(msg) + n);
    if (nng_sendmsg(pub->sock, msg, NNG_FLAG_NONBLOCK) != 0)
        nng_msg_free(msg);
}

void
pub_tell(struct pub *pub, struct event_cursor events)
{
    struct store_event ev;

    if (pub == NULL)
        return;
    while (event_next(&events, &ev) > 0) {
        struct proto_arena a;
        PbEvent *out;

        STORE(&pub->seq, (uint64_t)ev.seq, RELAXED);
        if (LOAD(&pub->listeners, RELAXED) <= 0)
            continue;
        proto_arena_init(&a, EVENT_MEM);
        out = eventpb_make(&a, &ev);
        if (out != NULL)
            publish(pub, (uint64_t)ev.batch, out);
        proto_arena_free(&a);
    }
}

/* --- progress of running jobs ------------------------------------------------------------ */

static void
publish_progress(struct pub *pub, const struct dispatch_look *l)
{
    PbEvent ev = PB_EVENT__INIT;
    PbJobProgress job = PB_JOB_PROGRESS__INIT;
    PbProgress progress = PB_PROGRESS__INIT;

    PB_SET(&progress, done, l->done);
    if (l->total > 0)
        PB_SET(&progress, total, l->total);
    PB_SET(&progress, unit, (PbProgress__Unit)l->unit);
    PB_SET(&job, job, (uint64_t)l->job);
    PB_SET(&job, batch, (uint64_t)l->batch);
    job.progress = &progress;
    PB_SET(&ev, seq, LOAD(&pub->seq, RELAXED));
    ev.what_case = PB_EVENT__WHAT_PROGRESS;
    ev.progress = &job;
    publish(pub, (uint64_t)l->batch, &ev);
}

static void
progress_main(struct pub *pub)
{
    struct dispatch_look *v = calloc(PROGRESS_MAX, sizeof(*v));

    while (v != NULL && go_ctx_sleep(pub->ctx, PROGRESS_EVERY) == 0) {
        size_t n;

        if (LOAD(&pub->listeners, RELAXED) <= 0)
            continue;
        n = dispatch_list(pub->d->dispatch, 0, PROGRESS_MAX, v);
        for (size_t i = 0; i < n; i++)
            publish_progress(pub, &v[i]);
    }
    free(v);
}

int
pub_start(struct daemon *d, const struct config *cfg, struct pub **ret, char *err,
          size_t err_size)
{
    struct pub *pub = calloc(1, sizeof(*pub));
    int r = 0;

    if (pub == NULL || nng_pub0_open(&pub->sock) != 0) {
        (void)snprintf(err, err_size, "no memory for a socket");
        free(pub);
        return -ENOMEM;
    }
    pub->d = d;
    (void)nng_pipe_notify(pub->sock, NNG_PIPE_EV_ADD_POST, pipe_changed, pub);
    (void)nng_pipe_notify(pub->sock, NNG_PIPE_EV_REM_POST, pipe_changed, pub);
    for (size_t i = 0; r == 0 && i < cfg->events.n; i++)
        r = listen_on(pub->sock.id, cfg, cfg->events.items[i], err, err_size);
    if (r == 0) {
        pub->ctx = go_ctx_with_cancel(NULL);
        if (pub->ctx == NULL || go_wg_go(&pub->wg, progress_main, pub) < 0) {
            (void)snprintf(err, err_size, "no memory for a goroutine");
            r = -ENOMEM;
        }
    }
    if (r < 0) {
        pub_stop(pub);
        return r;
    }
    *ret = pub;
    return 0;
}

void
pub_stop(struct pub *pub)
{
    if (pub == NULL)
        return;
    if (pub->ctx != NULL)
        go_ctx_cancel(pub->ctx);
    go_wg_wait(&pub->wg);
    go_ctx_unref(pub->ctx);
    (void)GO_BLOCKING(nng_close(pub->sock));
    free(pub);
}
