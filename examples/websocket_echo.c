/*
 * websocket_echo: a WebSocket server (RFC 6455) that sends every message back, a goroutine
 * per connection.
 *
 * libwslay turns bytes into messages and back; it wants to be called when the socket is
 * ready. So each connection is a loop: let the library do what it can, then wait, with
 * go_fd_wait(), for what it needs next. Any library with a non-blocking interface fits into
 * a goroutine this way.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <getopt.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <wslay/wslay.h>

#include "examples/http.h"
#include "examples/server.h"

#define PATIENCE    (60 * GO_SECOND) /* for anything at all from the peer */
#define MESSAGE_MAX (1 << 20)
#define KEY_GUID    "258EAFA5-E914-47DA-95CA-C5AB0DC85B11" /* RFC 6455, 1.3 */

struct conn {
    struct server *server;
    int fd;
    int unsent;        /* messages queued to go back */
    size_t have, used; /* bytes in buf, and how many of them wslay has had */
    char buf[HTTP_HEAD_MAX];
};

/* --- the handshake: an HTTP request that asks for another protocol -------------------------------- */

/* What proves that we understood key: base64(SHA-1(key + KEY_GUID)). */
static bool
accept_key(const char *key, char ret[32])
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned digest_len = 0;
    char text[64 + sizeof(KEY_GUID)];

    if (strlen(key) > 64)
        return false;
    (void)snprintf(text, sizeof(text), "%s" KEY_GUID, key);
    if (EVP_Digest(text, strlen(text), digest, &digest_len, EVP_sha1(), NULL) != 1)
        return false;
    return EVP_EncodeBlock((unsigned char *)ret, digest, (int)digest_len) > 0;
}

static int
answer_handshake(struct conn *c, const struct http_request *req)
{
    const char *key = http_header(req, "Sec-WebSocket-Key");
    const char *version = http_header(req, "Sec-WebSocket-Version");
    char proof[32], text[256];
    int n;

    if (strcmp(req->method, "GET") == 0 && key != NULL && version != NULL &&
        strcmp(version, "13") == 0 && http_header_has(req, "Upgrade", "websocket") &&
        http_header_has(req, "Connection", "upgrade") && accept_key(key, proof)) {
        n = snprintf(text, sizeof(text),
                     "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                     "Connection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n",
                     proof);
        n = (int)go_fd_write(c->fd, text, (size_t)n, go_deadline(PATIENCE));
        return n < 0 ? n : 0;
    }
    n = snprintf(text, sizeof(text),
                 "HTTP/1.1 426 Upgrade Required\r\nUpgrade: websocket\r\n"
                 "Sec-WebSocket-Version: 13\r\nConnection: Upgrade, close\r\n"
                 "Content-Length: 0\r\n\r\n");
    (void)go_fd_write(c->fd, text, (size_t)n, go_deadline(PATIENCE));
    return -EPROTO;
}

/* PARKS. 0 once both sides speak WebSocket, else -errno. What was read past the handshake
 * is left in c->buf. */
static int
handshake(struct conn *c)
{
    const int64_t deadline = go_deadline(PATIENCE);
    struct http_request req;

    for (;;) {
        const int head = http_parse(c->buf, c->have, &req);
        ssize_t n;

        if (head < 0)
            return head;
        if (head > 0) {
            c->used = (size_t)head;
            return answer_handshake(c, &req);
        }
        if (c->have == sizeof(c->buf))
            return -E2BIG;
        n = go_fd_read(c->fd, c->buf + c->have, sizeof(c->buf) - c->have, deadline);
        if (n <= 0)
            return n < 0 ? (int)n : -ECONNRESET;
        c->have += (size_t)n;
    }
}

/* --- what wslay calls: none of these waits --------------------------------------------------------- */

static ssize_t
on_recv(wslay_event_context_ptr ws, uint8_t *buf, size_t len, int flags, void *arg)
{
    struct conn *c = arg;
    const size_t left = c->have - c->used;
    ssize_t n;

    (void)flags;
    if (left > 0) {
        n = (ssize_t)(left < len ? left : len);
        memcpy(buf, c->buf + c->used, (size_t)n);
        c->used += (size_t)n;
        return n;
    }
    if (wslay_event_get_queued_msg_length(ws) > MESSAGE_MAX)
        n = -EAGAIN; /* what is to go out first */
    else
        do {
            n = GO_ERRNO(recv(c->fd, buf, len, MSG_DONTWAIT));
        } while (n == -EINTR);
    if (n > 0)
        return n;
    wslay_event_set_error(ws, n == -EAGAIN ? WSLAY_ERR_WOULDBLOCK
                                           : WSLAY_ERR_CALLBACK_FAILURE);
    return -1;
}

static ssize_t
on_send(wslay_event_context_ptr ws, const uint8_t *data, size_t len, int flags, void *arg)
{
    struct conn *c = arg;
    const int more = flags & WSLAY_MSG_MORE ? MSG_MORE : 0;
    ssize_t n;

    do {
        n = GO_ERRNO(send(c->fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL | more));
    } while (n == -EINTR);
    if (n >= 0)
        return n;
    wslay_event_set_error(ws, n == -EAGAIN ? WSLAY_ERR_WOULDBLOCK
                                           : WSLAY_ERR_CALLBACK_FAILURE);
    return -1;
}

/* A whole message came: queue it to go back. Pings and closes wslay answers by itself. */
static void
on_message(wslay_event_context_ptr ws, const struct wslay_event_on_msg_recv_arg *in,
           void *arg)
{
    const struct wslay_event_msg out = {
        .opcode = in->opcode, .msg = in->msg, .msg_length = in->msg_length};
    struct conn *c = arg;

    if (wslay_is_ctrl_frame(in->opcode))
        return;
    if (wslay_event_queue_msg(ws, &out) == 0)
        c->unsent++;
}

/* --- a connection ------------------------------------------------------------------------------------- */

/* PARKS until the peer or the server closes, or something fails. */
static void
converse(struct conn *c, wslay_event_context_ptr ws)
{
    for (;;) {
        const bool sending = wslay_event_want_write(ws);
        int r;

        /* What is to go out goes first: a peer that does not read is not read from. */
        if (sending)
            r = wslay_event_send(ws);
        else if (wslay_event_want_read(ws))
            r = wslay_event_recv(ws);
        else
            return; /* both sides have said goodbye */
        if (r != 0)
            return;
        for (; sending && !wslay_event_want_write(ws) && c->unsent > 0; c->unsent--)
            server_count(c->server);
        if (sending ? wslay_event_want_write(ws)
                    : wslay_event_want_read(ws) && !wslay_event_want_write(ws))
            r = go_fd_wait(c->fd, sending ? GO_FD_WRITE : GO_FD_READ,
                           go_deadline(PATIENCE));
        if (r != 0)
            return;
    }
}

static void
serve(struct server *s, int fd)
{
    static const struct wslay_event_callbacks callbacks = {
        .recv_callback = on_recv,
        .send_callback = on_send,
        .on_msg_recv_callback = on_message,
    };
    wslay_event_context_ptr ws;
    struct conn c;

    c.server = s;
    c.fd = fd;
    c.unsent = 0;
    c.have = c.used = 0;
    if (handshake(&c) < 0 || wslay_event_context_server_init(&ws, &callbacks, &c) != 0)
        return;
    wslay_event_config_set_max_recv_msg_length(ws, MESSAGE_MAX);
    converse(&c, ws);
    wslay_event_context_free(ws);
}

static int
usage(FILE *to, int status)
{
    fprintf(to,
            "usage: websocket_echo [--host ADDRESS] [--port PORT] [--requests N]\n\n"
            "Send every WebSocket message back.\n\n"
            "  --host ADDRESS  IPv4 address to listen on (default 127.0.0.1)\n"
            "  --port PORT     port to listen on (default 8081; 0: any free one)\n"
            "  --requests N    stop after N messages (default: on SIGINT or SIGTERM)\n");
    return status;
}

static int
main_(int argc, char **argv)
{
    struct server s = {.port = 8081, .serve = serve};
    int opt, r;

    while ((opt = getopt_long(argc, argv, "H:p:n:h", server_options, NULL)) != -1)
        if (!server_option(&s, opt, optarg))
            return opt == 'h' ? usage(stdout, 0) : usage(stderr, 2);
    if (optind < argc)
        return usage(stderr, 2);
    r = server_run(&s);
    if (r < 0)
        fprintf(stderr, "websocket_echo: %s\n", strerror(-r));
    return r < 0;
}

int
main(int argc, char **argv)
{
    server_signals();
    return go_main(main_, argc, argv);
}
