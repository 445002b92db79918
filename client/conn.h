/*
 * A connection to the daemon, inside the library: what call.c needs of conn.c.
 */
#ifndef GOJOBD_CLIENT_CONN_H
#define GOJOBD_CLIENT_CONN_H

#include <nng/nng.h>
#include <pthread.h>

#include "client/goctl.h"

/* One call's place: a REQ context and its aios, reused by the next call. */
struct goctl_slot {
    nng_ctx ctx;
    nng_aio *aio; /* for messages */
    nng_aio *nap; /* for pauses: an aio that slept once reports timeouts as success */
    struct goctl_call *call; /* whose callbacks these are */
    struct goctl_slot *next; /* while free */
    bool open;
};

struct goctl {
    /* Constant after connect. */
    nng_socket socket;
    char url[GOCTL_URL_MAX];
    char *token;
    char *client;
    int64_t patience_ns;
    bool wait_when_busy;
    void (*notice)(void *arg, const char *text);
    void *notice_arg;
    struct goctl_slot *slots;
    unsigned in_flight;
    struct nng_tls_config *tls; /* NULL: none */

    pthread_mutex_t mu;
    pthread_cond_t cond;     /* a call is done, or a slot free */
    struct goctl_slot *free; /* guarded by mu */
    bool lost;               /* guarded by mu: notice was told */
    nng_dialer dialer;       /* guarded by mu */
    int pipes;               /* guarded by mu: connections that stand */
    int64_t dialed_ns;       /* guarded by mu: when dialer was started */
};

/* Monotonic nanoseconds. */
int64_t goctl_now(void);

/* Starts dialling anew if nothing is connected and the dialler has been at it for so long
 * that it may have given up (see conn.c). Any thread; does not wait. */
void goctl_redial(struct goctl *c);

/* Sets err, where given, and returns -1. */
int goctl_fail(struct goctl_error *err, enum goctl_code code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* "gojobd is not reachable at URL: WHY; is it running? ..." */
int goctl_fail_unreachable(struct goctl_error *err, const char *url, int nng_error);

#endif
