/*
 * sub URL TOPIC...: for the system tests. Subscribes to a daemon's events and prints each
 * as a line, its topic and the Event as JSON.
 */
#include <nng/nng.h>
#include <nng/protocol/pubsub0/sub.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/json.h"
#include "proto/wire.h"

#define ARENA (16u << 20)

static void
die(const char *what, int rv)
{
    (void)fprintf(stderr, "%s: %s\n", what, nng_strerror(rv));
    exit(3);
}

/* "b/7/" and then the packed event. */
static void
print(const char *body, size_t len)
{
    const char *end = len > 2 ? memchr(body + 2, '/', len - 2) : NULL;
    struct proto_buf out = {.data = NULL};
    struct proto_err err = {.text = ""};
    struct proto_arena a;
    ProtobufCMessage *ev;

    if (end == NULL) {
        (void)puts("no topic");
        return;
    }
    end++;
    proto_arena_init(&a, ARENA);
    if (proto_unpack(&pb_event__descriptor, end, len - (size_t)(end - body), PROTO_CHECK,
                     &a, &ev, &err) < 0 ||
        proto_json_print(ev, &out) < 0)
        (void)printf("bad event: %s\n", err.text);
    else
        (void)printf("%.*s %s\n", (int)(end - body), body, out.data);
    (void)fflush(stdout);
    proto_buf_free(&out);
    proto_arena_free(&a);
}

int
main(int argc, char **argv)
{
    nng_socket sock;
    int rv;

    if (argc < 3)
        return 2;
    rv = nng_sub0_open(&sock);
    for (int i = 2; rv == 0 && i < argc; i++)
        rv = nng_socket_set(sock, NNG_OPT_SUB_SUBSCRIBE, argv[i], strlen(argv[i]));
    if (rv == 0)
        rv = nng_socket_set_int(sock, NNG_OPT_RECVBUF, 8192);
    if (rv == 0)
        rv = nng_dial(sock, argv[1], NULL, 0);
    if (rv != 0)
        die(argv[1], rv);
    for (;;) {
        nng_msg *msg;

        rv = nng_recvmsg(sock, &msg, 0);
        if (rv != 0)
            die("receive", rv);
        print(nng_msg_body(msg), nng_msg_len(msg));
        nng_msg_free(msg);
    }
}
