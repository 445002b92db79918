/*
 * WaitGroup: wait for a number of goroutines to finish (Go's sync.WaitGroup).
 *
 *     struct go_wg wg = GO_WG_INIT;
 *     for (int i = 0; i < 3; i++)
 *         go_wg_go(&wg, worker, i);
 *     go_wg_wait(&wg);
 *
 * Zero is an empty group. The waiter may free it as soon as wait returned (it may live on
 * the waiter's stack): done touches it no more once the waiter could run.
 */
#ifndef GOJOBD_RUNTIME_SYNC_WG_H
#define GOJOBD_RUNTIME_SYNC_WG_H

#include <stdint.h>

#include "runtime/base/lck.h"
#include "runtime/base/waitq.h"

struct go_wg {
    uint64_t state; /* atomic: counter << 32 | waiters; see wg.c */
    struct go_lck lock;
    struct go_waitq q; /* guarded by lock */
};

#define GO_WG_INIT                                                                       \
    {                                                                                    \
        .state = 0                                                                       \
    }

/* Add n (may be negative) to the counter; at zero, all waiters wake. Panics below zero and
 * above 2^31-1, and when add races with a wait that saw zero. Never parks. */
void go_wg_add(struct go_wg *wg, int n);

/* go_wg_add(wg, -1). */
void go_wg_done(struct go_wg *wg);

/* PARKS until the counter is zero. */
void go_wg_wait(struct go_wg *wg);

/* The counter now; for progress displays. */
int go_wg_count(const struct go_wg *wg);

#endif
