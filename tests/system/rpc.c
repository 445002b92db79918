/*
 * rpc URL [TOKEN]: for the system tests. Each line of standard input is a Request as JSON
 * (version and request_id are added where absent); each reply is a line of JSON. The line
 * "!N HEX" sends raw bytes instead. A reply that does not come within 30 s is "timeout".
 */
#include <nng/nng.h>
#include <nng/protocol/reqrep0/req.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "proto/json.h"
#include "proto/wire.h"

#define ARENA (512u << 20)

static nng_socket sock;

static void
die(const char *what, int rv)
{
    (void)fprintf(stderr, "%s: %s\n", what, nng_strerror(rv));
    exit(3);
}

/* Sends msg, which it takes, and prints the reply. */
static void
call(nng_msg *msg)
{
    struct proto_arena a;
    struct proto_buf out = {.data = NULL};
    struct proto_err err = {.text = ""};
    ProtobufCMessage *rep;
    int rv = nng_sendmsg(sock, msg, 0);

    if (rv == 0)
        rv = nng_recvmsg(sock, &msg, 0);
    if (rv != 0) {
        (void)printf("%s\n", rv == NNG_ETIMEDOUT ? "timeout" : nng_strerror(rv));
        return;
    }
    proto_arena_init(&a, ARENA);
    if (proto_unpack(&pb_response__descriptor, nng_msg_body(msg), nng_msg_len(msg),
                     PROTO_CHECK, &a, &rep, &err) < 0 ||
        proto_json_print(rep, &out) < 0)
        (void)printf("bad reply: %s\n", err.text);
    else
        (void)printf("%s\n", out.data);
    proto_buf_free(&out);
    proto_arena_free(&a);
    nng_msg_free(msg);
}

static nng_msg *
raw(const char *hex)
{
    nng_msg *msg;
    size_t len = strlen(hex);

    if (nng_msg_alloc(&msg, 0) != 0)
        abort();
    for (size_t i = 0; i + 2 <= len; i += 2) {
        char digits[3] = {hex[i], hex[i + 1], '\0'};
        unsigned char b = (unsigned char)strtoul(digits, NULL, 16);

        (void)nng_msg_append(msg, &b, 1);
    }
    return msg;
}

static nng_msg *
from_json(char *line, size_t len, char *token)
{
    static uint8_t id[16];
    struct proto_arena a;
    struct proto_err err = {.text = ""};
    ProtobufCMessage *m;
    PbRequest *req;
    nng_msg *msg;
    size_t size;

    proto_arena_init(&a, ARENA);
    if (proto_json_parse(&pb_request__descriptor, line, len, &a, &m, &err) < 0) {
        (void)printf("bad request: %s\n", err.text);
        proto_arena_free(&a);
        return NULL;
    }
    req = (PbRequest *)(void *)m;
    if (!req->has_version)
        PB_SET(req, version, PB_PROTOCOL_VERSION);
    if (!req->has_request_id) {
        (void)!getrandom(id, sizeof(id), 0);
        req->has_request_id = 1;
        req->request_id = (ProtobufCBinaryData){sizeof(id), id};
    }
    if (req->token == NULL)
        req->token = token;
    size = protobuf_c_message_get_packed_size(m);
    if (nng_msg_alloc(&msg, size) != 0)
        abort();
    (void)protobuf_c_message_pack(m, nng_msg_body(msg));
    proto_arena_free(&a);
    return msg;
}

int
main(int argc, char **argv)
{
    char *line = NULL;
    size_t cap = 0;
    ssize_t n;
    int rv;

    if (argc < 2)
        return 2;
    rv = nng_req0_open(&sock);
    if (rv != 0)
        die("socket", rv);
    (void)nng_socket_set_ms(sock, NNG_OPT_SENDTIMEO, 30000);
    (void)nng_socket_set_ms(sock, NNG_OPT_RECVTIMEO, 30000);
    (void)nng_socket_set_ms(sock, NNG_OPT_RECONNMINT, 10);
    (void)nng_socket_set_ms(sock, NNG_OPT_RECONNMAXT, 100);
    (void)nng_socket_set_size(sock, NNG_OPT_RECVMAXSZ, 0);
    rv = nng_dial(sock, argv[1], NULL, NNG_FLAG_NONBLOCK);
    if (rv != 0)
        die(argv[1], rv);
    while ((n = getline(&line, &cap, stdin)) > 0) {
        nng_msg *msg = line[0] == '!'
                           ? raw(line + 1)
                           : from_json(line, (size_t)n, argc > 2 ? argv[2] : NULL);

        if (msg != NULL)
            call(msg);
        (void)fflush(stdout);
    }
    free(line);
    return 0;
}
