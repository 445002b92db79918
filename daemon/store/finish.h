/*
 * The end of an attempt, cancellation, and retry by hand.
 */
#ifndef GOJOBD_DAEMON_STORE_FINISH_H
#define GOJOBD_DAEMON_STORE_FINISH_H

#include <stddef.h>
#include <stdint.h>

#include "daemon/store/state.h"

struct store;

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

/* Cancel a job. *ret: CANCELLED if it is so now; RUNNING if it runs and must be told by the
 * caller (a crash meanwhile cancels it, too); another final state if it had ended before.
 * -ENOENT: no such job. */
int store_cancel_job(struct store *st, int64_t id, enum store_state *ret);

/* Cancel a batch: from this commit on none of its jobs starts and none can be added. Those
 * that wait are cancelled by store_cancel_step(); those that run must be told by the
 * caller, who sees EVENT_BATCH_STOP. -ENOENT; an ended batch is left alone. */
int store_cancel_batch(struct store *st, int64_t id);

/* Carry on cancelling batches, up to max jobs looked at: the number; 0 = nothing to do. */
int store_cancel_step(struct store *st, int max);

/* Queue a failed, cancelled or dead job again, as if new but for its history. -ENOENT;
 * -EBUSY if it has not ended, has succeeded, or its batch is still being cancelled. */
int store_retry_job(struct store *st, int64_t id);

/* The earliest deadline after `after` of a batch that has not ended: 1, or 0 = none. */
int store_deadline_next(struct store *st, int64_t after, int64_t *ret_batch,
                        int64_t *ret_deadline);

/* Add to a job's attempt history and drop what is too old. The caller sets the job's
 * STORE_F_HISTORY. For the store's own files. */
int store_history(struct store *st, int64_t job, int64_t attempt, int64_t started,
                  enum store_outcome outcome, const char *error);

#endif
