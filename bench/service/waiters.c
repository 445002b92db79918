/*
 * waiters_bench URL BATCH COUNT CONNECTIONS: so many calls that wait for one batch, on so
 * many connections. They are answered when the batch ends, or after ten minutes. A line
 * "woken N ms" tells how long it took from the first answer to the last.
 */
#include <nng/nng.h>
#include <nng/protocol/reqrep0/req.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "proto/wire.h"

struct waiter {
    nng_ctx ctx;
    nng_aio *aio;
    bool sent;
};

static atomic_uint answered, failed;
static unsigned count;
static double first; /* when the first answer came; its callback alone writes */

static double
now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

static void
die(const char *what, int rv)
{
    fprintf(stderr, "waiters_bench: %s: %s\n", what, nng_strerror(rv));
    exit(1);
}

static bool
is_wait_reply(nng_msg *msg)
{
    PbResponse *r = pb_response__unpack(NULL, nng_msg_len(msg), nng_msg_body(msg));
    bool yes = r != NULL && r->reply_case == PB_RESPONSE__REPLY_WAIT && r->wait->done;

    if (r != NULL)
        pb_response__free_unpacked(r, NULL);
    return yes;
}

/* On a thread of nng. */
static void
step(void *arg)
{
    struct waiter *w = arg;
    int rv = nng_aio_result(w->aio);
    unsigned n;

    if (rv == 0 && !w->sent) {
        w->sent = true;
        nng_ctx_recv(w->ctx, w->aio);
        return;
    }
    if (rv != 0 || !is_wait_reply(nng_aio_get_msg(w->aio)))
        atomic_fetch_add(&failed, 1);
    if (rv == 0)
        nng_msg_free(nng_aio_get_msg(w->aio));
    n = atomic_fetch_add(&answered, 1) + 1;
    if (n == 1)
        first = now_ms();
}

static nng_msg *
request(uint64_t batch)
{
    PbDuration timeout = PB_DURATION__INIT;
    PbWait wait = PB_WAIT__INIT;
    PbRequest req = PB_REQUEST__INIT;
    nng_msg *msg;
    int rv;

    PB_SET(&timeout, ns, INT64_C(600) * 1000000000);
    wait.timeout = &timeout;
    wait.what_case = PB_WAIT__WHAT_BATCH;
    wait.batch = batch;
    PB_SET(&req, version, PB_PROTOCOL_VERSION);
    req.call_case = PB_REQUEST__CALL_WAIT;
    req.wait = &wait;
    rv = nng_msg_alloc(&msg, pb_request__get_packed_size(&req));
    if (rv != 0)
        die("message", rv);
    (void)pb_request__pack(&req, nng_msg_body(msg));
    return msg;
}

static void
start(struct waiter *w, nng_socket sock, uint64_t batch)
{
    int rv = nng_ctx_open(&w->ctx, sock);

    if (rv == 0)
        rv = nng_ctx_set_ms(w->ctx, NNG_OPT_REQ_RESENDTIME, NNG_DURATION_INFINITE);
    if (rv == 0)
        rv = nng_aio_alloc(&w->aio, step, w);
    if (rv != 0)
        die("context", rv);
    nng_aio_set_msg(w->aio, request(batch));
    nng_ctx_send(w->ctx, w->aio);
}

int
main(int argc, char **argv)
{
    unsigned connections = argc == 5 ? (unsigned)strtoul(argv[4], NULL, 10) : 0;
    struct waiter *w;
    nng_socket sock = NNG_SOCKET_INITIALIZER;

    count = argc == 5 ? (unsigned)strtoul(argv[3], NULL, 10) : 0;
    w = calloc(count + 1, sizeof(*w));
    if (count == 0 || connections == 0 || w == NULL) {
        fprintf(stderr, "usage: waiters_bench URL BATCH COUNT CONNECTIONS\n");
        return 2;
    }
    for (unsigned i = 0; i < count; i++) {
        if (i == 0 || i * (uint64_t)connections / count !=
                          (i - 1) * (uint64_t)connections / count) {
            int rv = nng_req0_open(&sock);

            if (rv == 0)
                rv = nng_dial(sock, argv[1], NULL, 0);
            if (rv != 0)
                die(argv[1], rv);
        }
        start(&w[i], sock, strtoull(argv[2], NULL, 10));
    }
    while (atomic_load(&answered) < count)
        usleep(1000);
    printf("woken %.6g ms\n", now_ms() - first);
    if (atomic_load(&failed) > 0)
        fprintf(stderr, "waiters_bench: %u calls failed\n", atomic_load(&failed));
    return atomic_load(&failed) > 0;
}
