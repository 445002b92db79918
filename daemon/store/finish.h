/*
 * The end of an attempt, cancellation, and retry by hand.
 */
#ifndef GOJOBD_DAEMON_STORE_FINISH_H
#define GOJOBD_DAEMON_STORE_FINISH_H

#include <stddef.h>
#include <stdint.h>

#include "daemon/store/state.h"

struct store;
struct store_dep;

/* How an attempt ended. Durable: never renumber. */
enum store_outcome {
    STORE_END_SUCCEEDED = 1,
    STORE_END_FAILED, /* final: not to be retried */
    STORE_END_CANCELLED,
    STORE_END_DEAD,        /* final: it failed and its retries are spent */
    STORE_END_RETRY,       /* it failed: again at run_at */
    STORE_END_INTERRUPTED, /* the daemon stops, or has no use for it now: again at once,
                              without spending a retry */
    STORE_END_CRASHED,     /* recorded by recovery only */
    STORE_END_UNMET,       /* cancelled: what it waits for did not succeed */
};

const char *store_outcome_name(enum store_outcome o);

struct store_finish {
    int64_t id, attempt, lane, batch; /* as claimed */
    enum store_outcome outcome;
    int64_t run_at;     /* of a retry */
    const void *result; /* opaque; NULL: none */
    size_t result_len;
    const char *error; /* for the attempt history; NULL: none */
};

/* Record the end of an attempt. -ESTALE: the job is not running in this attempt (any more):
 * nothing was recorded, and nothing shall be. A retry of a job that is to be cancelled
 * becomes its cancellation. *ret (may be NULL): the job's state now. */
int store_finish(struct store *st, const struct store_finish *f, enum store_state *ret);

/* Record n ends, in the order of ids (v is sorted): as store_finish() for each, but successes
 * whose ids follow each other cost half. All or nothing: a stale one among them spoils the
 * transaction, and after its rollback they must be recorded one by one. */
int store_finish_all(struct store *st, const struct store_finish **v, size_t n);

/* Why a batch is cancelled. Told in EVENT_BATCH_STOP's count: never renumber. */
enum store_stop {
    STORE_STOP_CLIENT,    /* by somebody */
    STORE_STOP_FAIL_FAST, /* a job of it failed */
    STORE_STOP_DEADLINE,  /* its deadline passed */
};

/* Cancel a job. reason, if not NULL, goes into the history of one that waits. *ret: CANCELLED if it is so now; RUNNING if it runs and must be told by the
 * caller (a crash meanwhile cancels it, too); another final state if it had ended before.
 * -ENOENT: no such job. */
int store_cancel_job(struct store *st, int64_t id, const char *reason,
                     enum store_state *ret);

/* Cancel a batch: from this commit on none of its jobs starts and none can be added. Those
 * that wait are cancelled by store_cancel_step(); those that run must be told by the
 * caller, who sees EVENT_BATCH_STOP. -ENOENT; an ended batch is left alone. */
int store_cancel_batch(struct store *st, int64_t id, enum store_stop why);

/* Carry on cancelling batches, up to max jobs looked at: the number; 0 = nothing to do. */
int store_cancel_step(struct store *st, int max);

/* Whether store_cancel_step() would find something to do. */
bool store_cancels_due(struct store *st);

/* Queue a failed, cancelled or dead job again, as if new but for its history; one that has
 * dependencies (the caller knows them) waits for those of them that have not ended. A
 * deadline of its batch that has passed is lifted. -ENOENT; -ELOOP; -EBUSY if it has not
 * ended, has succeeded, its batch is still being cancelled, or what it waits for did not
 * succeed. */
int store_retry_job(struct store *st, int64_t id, const struct store_dep *deps, size_t n);

/* The earliest deadline after `after` of a batch that has neither ended nor been cancelled:
 * 1, or 0 = none. */
int store_deadline_next(struct store *st, int64_t after, int64_t *ret_batch,
                        int64_t *ret_deadline);

/* Add to a job's attempt history and drop what is too old. The caller sets the job's
 * STORE_F_HISTORY. For the store's own files. */
int store_history(struct store *st, int64_t job, int64_t attempt, int64_t started,
                  enum store_outcome outcome, const char *error);

/* Why a job ended that was not running: a row of its own if it never ran, else added to the
 * error of its last attempt. */
int store_note(struct store *st, int64_t job, int64_t attempt, enum store_outcome outcome,
               const char *text);

#endif
