#include "daemon/pub.h"

#include <errno.h>
#include <nng/nng.h>
#include <nng/protocol/pubsub0/pub.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/eventpb.h"
#include "daemon/listen.h"
#include "daemon/pulse.h"
#include "daemon/store/pool.h"
#include "daemon/store/queue.h"
#include "daemon/store/read.h"
#include "proto/wire.h"
#include "runtime/base/atomic.h"
#include "runtime/go.h"

#define EVENT_MEM (64 * 1024)

struct pub {
    struct daemon *d;
    nng_socket sock;
    int64_t listeners; /* atomic: connected subscribers */
    int64_t seq;       /* atomic: of the last stored event told */
    bool greet;        /* atomic: somebody came */
};

/* On a thread of nng. */
static void
pipe_changed(nng_pipe pipe, nng_pipe_ev ev, void *arg)
{
    struct pub *pub = arg;
    int more = ev == NNG_PIPE_EV_ADD_POST ? 1 : -1;

    (void)pipe;
    ADD(&pub->listeners, more, RELAXED);
    if (more > 0)
        STORE(&pub->greet, true, RELEASE); /* with pulse_watch: it wakes the goroutine */
    pulse_watch(pub->d->pulse, more);
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

/* On the writer's goroutine, which alone may ask the store. */
static void
fill_queue(struct pub *pub, struct proto_arena *a, const struct store_event *ev,
           PbEvent *out)
{
    struct store_queue q;

    if (store_queue_get(pub->d->store, ev->job, &q) == 0)
        (void)eventpb_queue(a, out, q.name, &q.conf);
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

        STORE(&pub->seq, ev.seq, RELAXED);
        if (LOAD(&pub->listeners, RELAXED) <= 0)
            continue;
        proto_arena_init(&a, EVENT_MEM);
        out = eventpb_make(&a, &ev);
        if (out != NULL && ev.type == EVENT_QUEUE)
            fill_queue(pub, &a, &ev, out);
        if (out != NULL)
            publish(pub, (uint64_t)ev.batch, out);
        proto_arena_free(&a);
    }
}

void
pub_daemon(struct pub *pub)
{
    PbEvent ev = PB_EVENT__INIT;
    PbTimestamp now = PB_TIMESTAMP__INIT;
    PbDaemon daemon = PB_DAEMON__INIT;

    if (pub == NULL || LOAD(&pub->listeners, RELAXED) <= 0)
        return;
    PB_SET(&daemon, epoch, pub->d->epoch);
    PB_SET(&daemon, state,
           LOAD(&pub->d->draining, RELAXED) ? PB_DAEMON__STATE__STATE_DRAINING
                                            : PB_DAEMON__STATE__STATE_RUNNING);
    PB_SET(&now, ns, daemon_now_ms() * GO_MILLISECOND);
    PB_SET(&ev, seq, (uint64_t)LOAD(&pub->seq, RELAXED));
    ev.time = &now;
    ev.what_case = PB_EVENT__WHAT_DAEMON;
    ev.daemon = &daemon;
    publish(pub, 0, &ev);
}

void
pub_greet(struct pub *pub)
{
    if (pub != NULL && SWAP(&pub->greet, false, ACQUIRE))
        pub_daemon(pub);
}

void
pub_progress(struct pub *pub, const struct pulse_beat *beat)
{
    struct proto_arena a;
    PbEvent *out;

    if (pub == NULL || LOAD(&pub->listeners, RELAXED) <= 0)
        return;
    proto_arena_init(&a, EVENT_MEM);
    out = eventpb_progress(&a, beat, LOAD(&pub->seq, RELAXED));
    if (out != NULL)
        publish(pub, (uint64_t)beat->look.batch, out);
    proto_arena_free(&a);
}

/* The number of the newest event in the store. */
static int64_t
last_event(struct daemon *d)
{
    struct store_reader *rd = store_pool_get(d->readers);
    struct store_events v = {.next = 1};
    int64_t last;

    (void)GO_BLOCKING(store_read_events(rd, INT64_MAX - 1, 0, 1, &v));
    last = v.next - 1;
    store_pool_put(d->readers, rd);
    store_events_free(&v);
    return last;
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
    pub->seq = last_event(d);
    (void)nng_pipe_notify(pub->sock, NNG_PIPE_EV_ADD_POST, pipe_changed, pub);
    (void)nng_pipe_notify(pub->sock, NNG_PIPE_EV_REM_POST, pipe_changed, pub);
    for (size_t i = 0; r == 0 && i < cfg->events.n; i++)
        r = listen_on(pub->sock.id, cfg, cfg->events.items[i], err, err_size);
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
    if (listen_close(pub->sock.id))
        free(pub);
}
