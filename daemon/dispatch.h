/*
 * Dispatch: from queued in the store to running in a goroutine.
 *
 * One goroutine claims jobs, as many at once as the limits leave room for, and starts a
 * goroutine for each (task.h). The backlog stays in the store. While the writer is busy
 * with one commit, ended jobs and free room gather, and the next commit records the ends
 * and claims their successors together: the busier, the cheaper.
 *
 * While no limit holds jobs back a claim goes with each transaction of the writer's, as the
 * last operation of it (dispatch_ride): what is submitted to an idle daemon is claimed by
 * the commit that acknowledges it, and runs at once.
 *
 * Of kinds whose jobs end fast, as many are claimed ahead of their room as end in the time
 * of a few commits; they stand in a line in memory, and each that ends starts the next.
 * Slow kinds are not claimed ahead: what the store calls running then runs.
 *
 * Order      priority over all lanes (queue x kind); lanes of equal priority in turn; within
 *            a lane as claim.h says.
 * Limits     limits.running, one for each kind, and each queue's running, rate, burst and
 *            pause. Suspects (running in two crashes) run one at a time.
 * Context    dispatch_tell(), dispatch_ride(): the writer's goroutine. The rest: goroutines.
 */
#ifndef GOJOBD_DAEMON_DISPATCH_H
#define GOJOBD_DAEMON_DISPATCH_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/daemon.h"
#include "daemon/store/events.h"
#include "daemon/store/store.h"

struct dispatch;
struct store_op;
struct task;

/* Why a running job is told to stop. */
enum stop_why {
    STOP_NOT,
    STOP_CLIENT,    /* someone cancelled it */
    STOP_BATCH,     /* its batch was cancelled by someone */
    STOP_FAIL_FAST, /* a job of its batch failed */
    STOP_DEADLINE,  /* its batch's deadline passed */
    STOP_DRAIN,     /* the daemon stops: queue it again */
};

int dispatch_new(struct daemon *d, struct dispatch **ret);
void dispatch_start(struct dispatch *dp);
void dispatch_free(struct dispatch *dp); /* after dispatch_drain(); NULL is fine */

/* The limits may have changed. */
void dispatch_reload(struct dispatch *dp);

/* What a commit changed. */
void dispatch_tell(struct dispatch *dp, struct event_cursor events);

/* A claim to go with the transaction that is about to begin, or NULL. */
struct store_op *dispatch_ride(struct dispatch *dp);

/* Such a claim has been carried out, with a result above 0, and is not committed yet: run
 * here and now what it holds if all of that is instant (jobs/kind.h). The ends, linked by
 * next_, to go with the same transaction; or NULL. So a small sum costs one sync, not two,
 * and no other than those who waited for its submission wait for it. */
struct store_op *dispatch_instant(struct dispatch *dp);

/* Jobs may have become claimable for a reason that makes no event (a queue resumed). */
void dispatch_poke(struct dispatch *dp);

/* Tell a running job, or all of a batch, to stop. Those being claimed just now are told as
 * soon as they run. reason, if not NULL, becomes the job's error. */
void dispatch_stop_job(struct dispatch *dp, int64_t id, enum stop_why why,
                       const char *reason);
void dispatch_stop_batch(struct dispatch *dp, int64_t batch, enum stop_why why);

/* Start no more jobs. PARKS until those that run have ended; from deadline on they are told
 * to stop, and given a little time to do so. True if all have ended. */
bool dispatch_drain(struct dispatch *dp, int64_t deadline);

/* Make a drain under way tell the jobs to stop now. */
void dispatch_hurry(struct dispatch *dp);

/* A running job seen from outside. */
struct dispatch_look {
    int64_t job, batch, lane, attempt;
    int64_t goroutine; /* 0: not started yet */
    int64_t since;     /* go_now() when it began */
    uint64_t done, total;
    int unit;     /* PbProgress__Unit */
    int64_t tick; /* of a timer: the last one, in ns since 1970; else 0 */
};

/* True and *ret if that job runs. */
bool dispatch_look(struct dispatch *dp, int64_t id, struct dispatch_look *ret);

/* Up to max of the running jobs, those that were claimed first: their number. */
size_t dispatch_list(struct dispatch *dp, size_t max, struct dispatch_look *ret);

/* Up to max running jobs that came further since they were last returned here: their
 * number. One call looks at a part of all jobs, from *place (at first 0) on; when *place
 * is 0 again, all have been looked at. */
size_t dispatch_moved(struct dispatch *dp, size_t *place, size_t max,
                      struct dispatch_look *ret);

struct dispatch_counts {
    int64_t running;
    struct {
        int64_t running, in_line;  /* in goroutines; claimed ahead */
        int64_t succeeded, failed; /* since the start */
        int64_t limit;
    } kind[STORE_KIND_MAX + 1];
};
void dispatch_counts(struct dispatch *dp, struct dispatch_counts *ret);

/* Jobs of queue 0 … n-1 claimed since the start. */
void dispatch_started(struct dispatch *dp, int64_t *ret, size_t n);

/* --- for task.c --- */

/* The job's goroutine is done with it: its room is free, its finish is on its way. */
void dispatch_ended(struct dispatch *dp, struct task *t, bool succeeded);

/* The finish is recorded, or never will be. Frees t. */
void dispatch_finished(struct dispatch *dp, struct task *t);

struct daemon *dispatch_daemon(struct dispatch *dp);

#endif
