/*
 * Claims: taking queued jobs to run. A claim is a start: the jobs it returns are running,
 * each in a new attempt, once the transaction is committed.
 *
 * The commit may be STORE_NOSYNC. It must still happen before the jobs run, so that a
 * crash of the daemon finds them recorded as running (the poison rule) and no attempt
 * number is used twice; after a power cut no attempt of the dead epoch is alive, so a
 * start that was undone is as if it had not been.
 *
 * Order within a lane: priority; then batches in turn, so that a huge one cannot starve a
 * small one; then run_at; then id. Cost: the jobs taken, plus the cancelled ones and the
 * batches at their limit that are stepped over, never the backlog.
 */
#ifndef GOJOBD_DAEMON_STORE_CLAIM_H
#define GOJOBD_DAEMON_STORE_CLAIM_H

#include <stddef.h>
#include <stdint.h>

struct store;

struct store_claimed {
    int64_t id;
    int64_t lane;
    int64_t batch;
    int64_t attempt; /* the fence: give it back with the finish */
    int64_t fails;   /* attempts spent before this one */
    int64_t crashes;
    int64_t created;
    int64_t run_at;
    int32_t prio;
    uint32_t spec_len;
    const void *spec; /* in the claims' own memory */
};

/* Zero is empty. Reused from claim to claim: it grows to the largest and is freed by
 * store_claims_fini(). */
struct store_claims {
    struct store_claimed *v;
    size_t n, cap;
    char *text;
    size_t text_len, text_cap;
};

void store_claims_fini(struct store_claims *c);

/* Claim up to max jobs of a lane whose specs sum up to at most max_bytes (0: no limit; one
 * job is always allowed). *ret is overwritten; 0 with ret->n == 0: nothing is queued that
 * may start. Paused queues are the caller's business. */
int store_claim(struct store *st, int64_t lane, size_t max, size_t max_bytes,
                struct store_claims *ret);

/* The lanes that have queued jobs, in order, after `after` (-1: from the first), with
 * their highest priority: 1, or 0 = no more. */
int store_lane_next(struct store *st, int64_t after, int64_t *ret_lane,
                    int32_t *ret_prio);

/* Move up to max scheduled jobs whose time has come to their queues: the number moved.
 * Looking at the table is all it costs when there are none. */
int store_promote(struct store *st, int max);

/* When the next scheduled job is due: 1 and ms since 1970, or 0 = there is none. */
int store_next_due(struct store *st, int64_t *ret);

#endif
