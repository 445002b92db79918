/*
 * Cond: wait for a condition guarded by a mutex (Go's sync.Cond). wait never returns
 * without a signal or broadcast, but the condition may have changed again: call it in a
 * loop. Waiters wake in the order in which they came.
 */
#ifndef GOJOBD_RUNTIME_SYNC_COND_H
#define GOJOBD_RUNTIME_SYNC_COND_H

#include <stdint.h>

#include "runtime/base/lck.h"
#include "runtime/base/waitq.h"
#include "runtime/sync/mutex.h"

struct go_cond {
    struct go_mutex *mu;
    struct go_lck lock;
    struct go_waitq q; /* FIFO; guarded by lock */
};

void go_cond_init(struct go_cond *c, struct go_mutex *mu);

/* PARKS. Unlocks c->mu, waits, locks it again. Panics if mu is not locked. */
void go_cond_wait(struct go_cond *c);

/* As wait, but gives up at deadline: 0 or -ETIMEDOUT; mu is locked again either way. */
int go_cond_wait_until(struct go_cond *c, int64_t deadline);

void go_cond_signal(struct go_cond *c);    /* wake the longest waiting one, if any */
void go_cond_broadcast(struct go_cond *c); /* wake all that wait now */

#endif
