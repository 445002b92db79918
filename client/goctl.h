/*
 * libgoctl: calls to gojobd from any C program, blocking, from any thread.
 *
 *     struct goctl *c;
 *     struct goctl_error err;
 *     struct goctl_reply *reply;
 *     PbPing ping = PB_PING__INIT;
 *     PbRequest req = PB_REQUEST__INIT;
 *
 *     req.call_case = PB_REQUEST__CALL_PING;
 *     req.ping = &ping;
 *     if (goctl_connect(&(struct goctl_options){0}, &c, &err) < 0 ||
 *         goctl_call(c, &req, 5 * GOCTL_SECOND, &reply, &err) < 0)
 *         errx(1, "%s", err.text);
 *     puts(goctl_response(reply)->ping->version);
 *     goctl_reply_free(reply);
 *     goctl_close(c);
 *
 * Lifecycle  connect -> call ... -> close. A started call is finished exactly once, before
 *            close.
 * Lost       A call whose connection breaks, or that finds the daemon shutting down, is
 *            sent again with the same request id once the daemon is back, until its timeout
 *            or options.patience_ns without a daemon. The daemon executes a request id once
 *            only: nothing is done twice.
 * Context    Any thread, any number at once; calls beyond options.in_flight wait their turn.
 *            Not across fork(2).
 * Errors     0 or negative; err, where given, says what and why in one sentence.
 */
#ifndef GOJOBD_CLIENT_GOCTL_H
#define GOJOBD_CLIENT_GOCTL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/pb.h"

#define GOCTL_SECOND  INT64_C(1000000000)
#define GOCTL_FOREVER INT64_MAX

enum goctl_code {
    GOCTL_OK = 0,
    GOCTL_INVALID,     /* an argument or option makes no sense; nothing was sent */
    GOCTL_UNREACHABLE, /* no daemon answers there */
    GOCTL_REFUSED,     /* the daemon said no: see refused and field */
    GOCTL_TIMEOUT,  /* the call's timeout passed; a mutating call may yet be executed */
    GOCTL_PROTOCOL, /* what came back is no reply of gojobd */
    GOCTL_MEMORY,
};

struct goctl_error {
    enum goctl_code code;
    PbError__Code refused;  /* with GOCTL_REFUSED */
    int64_t retry_after_ns; /* with GOCTL_REFUSED and BUSY; 0: not said */
    uint32_t index;         /* the job of a Submit that was at fault */
    bool has_index;
    char field[192]; /* of the request, "" when no field is meant */
    char text[640];
};

/* All may be absent (zero). */
struct goctl_options {
    const char *url;    /* default: goctl_default_url() */
    const char *token;  /* for tcp and beyond */
    const char *client; /* name and version, for the daemon's log */
    /* For tls+tcp:// and wss://: PEM files. */
    const char *tls_ca;   /* default: the system's */
    const char *tls_cert; /* certificate and key in one file */
    const char *tls_name; /* the server's name, when it is not the URL's host */

    unsigned in_flight;  /* calls at once; default 32 */
    int64_t patience_ns; /* how long to look for a daemon that went away; default 60 s */
    bool wait_when_busy; /* send again after retry_after when the daemon is BUSY */
    /* Told from a thread of the library when the daemon is lost or busy, and when a call
     * goes on after that. May be NULL. */
    void (*notice)(void *arg, const char *text);
    void *notice_arg;
};

struct goctl;
struct goctl_call;
struct goctl_reply;

/* $GOJOBD_URL, the system's socket if there is one, else the user's. Returns out. */
enum { GOCTL_URL_MAX = 256 };
const char *goctl_default_url(char out[GOCTL_URL_MAX]);

/* Waits for the connection, and fails with GOCTL_UNREACHABLE at once if nobody listens. */
int goctl_connect(const struct goctl_options *options, struct goctl **ret,
                  struct goctl_error *err);
void goctl_close(struct goctl *c);
const char *goctl_url(const struct goctl *c);

/* Sends req, whose version, request_id, token and client are filled in, and waits for the
 * reply. An error reply of the daemon is GOCTL_REFUSED. Free the reply. */
int goctl_call(struct goctl *c, PbRequest *req, int64_t timeout_ns,
               struct goctl_reply **ret, struct goctl_error *err);

/* The two halves, for several calls in flight from one thread: start returns when the
 * request is on its way, after waiting for a turn; req is the caller's again. finish waits
 * and frees the call. */
int goctl_start(struct goctl *c, PbRequest *req, int64_t timeout_ns,
                struct goctl_call **ret, struct goctl_error *err);
int goctl_finish(struct goctl_call *call, struct goctl_reply **ret,
                 struct goctl_error *err);
/* Whether finish would not wait. */
bool goctl_finished(struct goctl_call *call);

/* Lives as long as the reply. Its reply_case matches the request's call. */
const PbResponse *goctl_response(const struct goctl_reply *reply);
void goctl_reply_free(struct goctl_reply *reply);

/* --- the calls most programs need ---------------------------------------------------- */

/* One batch of n jobs; its id and, in the order of jobs and where given, theirs.
 * options may be NULL. */
int goctl_submit(struct goctl *c, PbJobSpec *const *jobs, size_t n, PbBatchSpec *options,
                 uint64_t *ret_batch, uint64_t *ret_ids, struct goctl_error *err);

/* What to wait for, and how far it got. */
struct goctl_wait {
    uint64_t batch; /* one of the three */
    const char *batch_name;
    uint64_t job;
    bool jobs;      /* each finished job is wanted */
    bool results;   /* with its result */
    uint32_t limit; /* jobs in one reply; default 1000 */
    uint64_t after; /* kept by goctl_wait_next */
    bool done;      /* set when all are finished, and all of them were returned */
};

/* Waits up to timeout_ns for jobs to finish that were not returned yet. The reply's `wait`
 * holds them and the batch's counts; it may hold no job when the time is over. */
int goctl_wait_next(struct goctl *c, struct goctl_wait *w, int64_t timeout_ns,
                    struct goctl_reply **ret, struct goctl_error *err);

enum { GOCTL_SUBMIT_WAIT_MAX = 1000 }; /* jobs; the daemon takes no more with a wait */

/* goctl_submit() and the first goctl_wait_next() for its batch, in one call if it has up to
 * so many jobs: w->batch is set, *ret_wait is the wait's reply, which lives as long as *ret. A
 * w that is not done then goes on with goctl_wait_next(). */
int goctl_submit_wait(struct goctl *c, PbJobSpec *const *jobs, size_t n,
                      PbBatchSpec *options, struct goctl_wait *w, int64_t timeout_ns,
                      uint64_t *ret_ids, struct goctl_reply **ret,
                      const PbWaitReply **ret_wait, struct goctl_error *err);

/* Which events, and how far they were taken. */
#define GOCTL_NOW UINT64_MAX
struct goctl_events {
    uint64_t after;     /* the number of the last one; GOCTL_NOW: from now on */
    PbSelector *select; /* NULL: all; borrowed */
    bool progress;      /* of running jobs, too, at most twice a second each */
    uint64_t progress_after;
};

/* The events after ev->after, which is moved on; waits up to timeout_ns when there are none.
 * The reply's `events` holds them. After a restart of the daemon it goes on where it was.
 * With GOCTL_NOW it returns at once: what "now" is, is then known. */
int goctl_events_next(struct goctl *c, struct goctl_events *ev, int64_t timeout_ns,
                      struct goctl_reply **ret, struct goctl_error *err);

#endif
