/*
 * A connection to the daemon, inside the library: what call.c needs of conn.c.
 */
#ifndef GOJOBD_CLIENT_CONN_H
#define GOJOBD_CLIENT_CONN_H

#include <nng/nng.h>
#include <pthread.h>

#include "client/goctl.h"

/* One call's place: a REQ context and its aio, reused by the next call. */
struct goctl_slot {
    nng_ctx ctx;
    nng_aio *aio;
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

    pthread_mutex_t mu;
    pthread_cond_t cond;     /* a call is done, or a slot free */
    struct goctl_slot *free; /* guarded by mu */
    bool lost;               /* guarded by mu: notice was told */
};

/* Monotonic nanoseconds. */
int64_t goctl_now(void);

/* Sets err, where given, and returns -1. */
int goctl_fail(struct goctl_error *err, enum goctl_code code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* "gojobd is not reachable at URL: WHY; is it running? ..." */
int goctl_fail_unreachable(struct goctl_error *err, const char *url, int nng_error);

#endif
