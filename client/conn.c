#include "client/conn.h"

#include <errno.h>
#include <nng/protocol/reqrep0/req.h>
#include <nng/supplemental/tls/tls.h>
#include <nng/supplemental/util/platform.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define SYSTEM_SOCKET "/run/gojobd/gojobd.sock"

enum {
    IN_FLIGHT = 32, /* bursts of contexts choke REQ: a bounded number is faster */
    IN_FLIGHT_MAX = 1024,
    RECONNECT_MIN_MS = 10,
    RECONNECT_MAX_MS = 500,
};

#define PATIENCE_NS (60 * GOCTL_SECOND)

/*
 * A dialler of nng 1.5.2 that connects just as the daemon ends may find its greeting
 * refused with EPIPE. It takes that for having been closed itself and never dials again. So
 * one that has had this time and has nothing to show for it is replaced.
 */
#define REDIAL_NS (2 * GOCTL_SECOND)

int64_t
goctl_now(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * GOCTL_SECOND + t.tv_nsec;
}

int
goctl_fail(struct goctl_error *err, enum goctl_code code, const char *fmt, ...)
{
    va_list ap;

    if (err == NULL)
        return -1;
    *err = (struct goctl_error){.code = code};
    va_start(ap, fmt);
    (void)vsnprintf(err->text, sizeof(err->text), fmt, ap);
    va_end(ap);
    return -1;
}

int
goctl_fail_unreachable(struct goctl_error *err, const char *url, int nng_error)
{
    const char *why = nng_strerror(nng_error);
    const char *hint = "is it running?";

    if (nng_error == NNG_ENOENT)
        why = "no such socket";
    else if (nng_error == NNG_ECONNREFUSED)
        why = "connection refused";
    else if (nng_error == NNG_EPERM)
        why = "permission denied";
    else if (nng_error == NNG_EAGAIN)
        why = "too many others connect";
    if (nng_error == NNG_EAGAIN)
        hint = "is it stuck?";
    else if (nng_error == NNG_EPERM)
        hint = "are you in the group that owns the socket?";
    else if (nng_error == NNG_ECRYPTO || nng_error == NNG_EPEERAUTH)
        hint = "does its certificate match?";
    else if (strcmp(url, "ipc://" SYSTEM_SOCKET) == 0)
        hint = "is it running? (systemctl status gojobd)";
    return goctl_fail(err, GOCTL_UNREACHABLE, "gojobd is not reachable at %s: %s; %s",
                      url, why, hint);
}

const char *
goctl_default_url(char out[GOCTL_URL_MAX])
{
    const char *url = getenv("GOJOBD_URL");
    const char *dir = getenv("XDG_RUNTIME_DIR");

    if (url != NULL && *url != '\0')
        (void)snprintf(out, GOCTL_URL_MAX, "%s", url);
    else if (dir != NULL && *dir != '\0' && access(SYSTEM_SOCKET, F_OK) < 0)
        (void)snprintf(out, GOCTL_URL_MAX, "ipc://%s/gojobd/gojobd.sock", dir);
    else
        (void)snprintf(out, GOCTL_URL_MAX, "ipc://%s", SYSTEM_SOCKET);
    return out;
}

static int
check_url(const char *url, bool *ret_tls, struct goctl_error *err)
{
    static const char *const schemes[] = {"ipc://",  "abstract://", "tcp://",
                                          "tcp4://", "tcp6://",     "tls+tcp://",
                                          "ws://",   "wss://",      "inproc://"};

    if (strlen(url) >= GOCTL_URL_MAX)
        return goctl_fail(err, GOCTL_INVALID, "the daemon's URL is too long: %.60s...",
                          url);
    *ret_tls = strncmp(url, "tls+", 4) == 0 || strncmp(url, "wss:", 4) == 0;
    for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++) {
        size_t n = strlen(schemes[i]);

        if (strncmp(url, schemes[i], n) == 0 && url[n] != '\0')
            return 0;
    }
    return goctl_fail(err, GOCTL_INVALID,
                      "\"%s\" is not the URL of a daemon; one is ipc:///PATH, "
                      "tcp://HOST:PORT, tls+tcp://HOST:PORT or ws://HOST:PORT/PATH",
                      url);
}

/* The host of "tls+tcp://host:port/...". */
static void
url_host(const char *url, char *out, size_t size)
{
    const char *host = strstr(url, "://") + 3;
    size_t n;

    if (*host == '[') {
        host++;
        n = strcspn(host, "]");
    } else {
        n = strcspn(host, ":/");
    }
    (void)snprintf(out, size, "%.*s", (int)n, host);
}

static int
make_tls(struct goctl *c, const struct goctl_options *o, struct goctl_error *err)
{
    const char *ca = o->tls_ca != NULL ? o->tls_ca : "/etc/ssl/certs/ca-certificates.crt";
    char host[GOCTL_URL_MAX];
    int r;

    url_host(c->url, host, sizeof(host));
    r = nng_tls_config_alloc(&c->tls, NNG_TLS_MODE_CLIENT);
    if (r != 0)
        return goctl_fail(err, GOCTL_INVALID, "TLS: %s", nng_strerror(r));

    (void)nng_tls_config_auth_mode(c->tls, NNG_TLS_AUTH_MODE_REQUIRED);
    r = nng_tls_config_server_name(c->tls, o->tls_name != NULL ? o->tls_name : host);
    if (r != 0)
        return goctl_fail(err, GOCTL_INVALID, "TLS: %s", nng_strerror(r));
    r = nng_tls_config_ca_file(c->tls, ca);
    if (r != 0)
        return goctl_fail(err, GOCTL_INVALID, "TLS: %s: %s", ca, nng_strerror(r));
    if (o->tls_cert == NULL)
        return 0;
    r = nng_tls_config_cert_key_file(c->tls, o->tls_cert, NULL);
    if (r != 0)
        return goctl_fail(err, GOCTL_INVALID, "TLS: %s: %s", o->tls_cert,
                          nng_strerror(r));
    return 0;
}

static int
make_dialer(struct goctl *c, nng_dialer *ret)
{
    nng_dialer d;
    int r = nng_dialer_create(&d, c->socket, c->url);

    if (r != 0)
        return r;
    (void)nng_dialer_set_ms(d, NNG_OPT_RECONNMINT, RECONNECT_MIN_MS);
    (void)nng_dialer_set_ms(d, NNG_OPT_RECONNMAXT, RECONNECT_MAX_MS);
    (void)nng_dialer_set_bool(d, NNG_OPT_TCP_NODELAY, true);
    (void)nng_dialer_set_bool(d, NNG_OPT_TCP_KEEPALIVE, true);
    if (c->tls != NULL)
        r = nng_dialer_set_ptr(d, NNG_OPT_TLS_CONFIG, c->tls);
    if (r != 0) {
        (void)nng_dialer_close(d);
        return r;
    }
    *ret = d;
    return 0;
}

/* Dials once, or again and again while the daemon's queue of connections is full: a crowd of
 * clients that come at once only has to wait a little. */
static int
dial(struct goctl *c)
{
    int64_t until = goctl_now() + c->patience_ns;
    int r = make_dialer(c, &c->dialer);

    if (r != 0)
        return r;
    for (;;) {
        c->dialed_ns = goctl_now();
        r = nng_dialer_start(c->dialer, 0);
        if (r != NNG_EAGAIN || goctl_now() >= until)
            return r;
        nng_msleep(RECONNECT_MIN_MS);
    }
}

void
goctl_redial(struct goctl *c)
{
    int64_t now = goctl_now();
    nng_dialer fresh;

    pthread_mutex_lock(&c->mu);
    if (c->pipes == 0 && now - c->dialed_ns >= REDIAL_NS && make_dialer(c, &fresh) == 0) {
        (void)nng_dialer_close(c->dialer);
        c->dialer = fresh;
        c->dialed_ns = now;
        (void)nng_dialer_start(c->dialer, NNG_FLAG_NONBLOCK);
    }
    pthread_mutex_unlock(&c->mu);
}

/* On a thread of nng. */
static void
count_pipe(nng_pipe pipe, nng_pipe_ev ev, void *arg)
{
    struct goctl *c = arg;

    (void)pipe;
    pthread_mutex_lock(&c->mu);
    c->pipes += ev == NNG_PIPE_EV_ADD_POST ? 1 : -1;
    if (c->pipes == 0) /* the dialler begins again now */
        c->dialed_ns = goctl_now();
    pthread_mutex_unlock(&c->mu);
}

static char *
copy_or_null(const char *s)
{
    return s != NULL ? strdup(s) : NULL;
}

static int
setup(struct goctl *c, const struct goctl_options *o, struct goctl_error *err)
{
    char fallback[GOCTL_URL_MAX];
    const char *url = o->url != NULL ? o->url : goctl_default_url(fallback);
    bool tls = false;
    int r;

    if (check_url(url, &tls, err) < 0)
        return -1;
    (void)snprintf(c->url, sizeof(c->url), "%s", url);
    c->token = copy_or_null(o->token);
    c->client = copy_or_null(o->client);
    c->patience_ns = o->patience_ns > 0 ? o->patience_ns : PATIENCE_NS;
    c->wait_when_busy = o->wait_when_busy;
    c->notice = o->notice;
    c->notice_arg = o->notice_arg;
    c->in_flight = o->in_flight == 0              ? IN_FLIGHT
                   : o->in_flight > IN_FLIGHT_MAX ? IN_FLIGHT_MAX
                                                  : o->in_flight;
    c->slots = calloc(c->in_flight, sizeof(*c->slots));
    if (c->slots == NULL)
        return goctl_fail(err, GOCTL_MEMORY, "out of memory");
    for (unsigned i = 0; i < c->in_flight; i++) {
        c->slots[i].next = c->free;
        c->free = &c->slots[i];
    }

    r = nng_req0_open(&c->socket);
    if (r != 0)
        return goctl_fail(err, GOCTL_MEMORY, "nng: %s", nng_strerror(r));
    /* The daemon is trusted with sizes, within reason. */
    (void)nng_socket_set_size(c->socket, NNG_OPT_RECVMAXSZ, (size_t)1 << 30);
    (void)nng_pipe_notify(c->socket, NNG_PIPE_EV_ADD_POST, count_pipe, c);
    (void)nng_pipe_notify(c->socket, NNG_PIPE_EV_REM_POST, count_pipe, c);
    if (tls && make_tls(c, o, err) < 0)
        return -1;
    r = dial(c);
    return r != 0 ? goctl_fail_unreachable(err, c->url, r) : 0;
}

int
goctl_connect(const struct goctl_options *options, struct goctl **ret,
              struct goctl_error *err)
{
    struct goctl *c = calloc(1, sizeof(*c));
    pthread_condattr_t attr;

    if (c == NULL)
        return goctl_fail(err, GOCTL_MEMORY, "out of memory");
    (void)pthread_mutex_init(&c->mu, NULL);
    (void)pthread_condattr_init(&attr);
    (void)pthread_cond_init(&c->cond, &attr);
    (void)pthread_condattr_destroy(&attr);
    if (setup(c, options, err) < 0) {
        goctl_close(c);
        return -1;
    }
    *ret = c;
    return 0;
}

void
goctl_close(struct goctl *c)
{
    if (c == NULL)
        return;
    for (unsigned i = 0; c->slots != NULL && i < c->in_flight; i++)
        if (c->slots[i].open) {
            nng_aio_free(c->slots[i].nap);
            nng_aio_free(c->slots[i].aio);
            (void)nng_ctx_close(c->slots[i].ctx);
        }
    if (c->socket.id != 0)
        (void)nng_close(c->socket);
    if (c->tls != NULL)
        nng_tls_config_free(c->tls);
    (void)pthread_cond_destroy(&c->cond);
    (void)pthread_mutex_destroy(&c->mu);
    free(c->slots);
    free(c->token);
    free(c->client);
    free(c);
}

const char *
goctl_url(const struct goctl *c)
{
    return c->url;
}
