/*
 * Semaphore: a weighted counting semaphore, first come first served (as Go's
 * golang.org/x/sync/semaphore: a large request at the head holds back small ones behind it).
 */
#ifndef GOJOBD_RUNTIME_SYNC_SEM_H
#define GOJOBD_RUNTIME_SYNC_SEM_H

#include <stdbool.h>
#include <stdint.h>

#include "runtime/base/lck.h"
#include "runtime/base/waitq.h"

struct go_ctx;

struct go_sem {
    int64_t free; /* units free; guarded by lock */
    struct go_lck lock;
    struct go_waitq q; /* parked, FIFO; guarded by lock */
};

/* Start with n units (n >= 0). A zeroed semaphore has none. */
void go_sem_init(struct go_sem *s, int64_t n);

/* PARKS until n units (n >= 0) are ours. */
void go_sem_acquire(struct go_sem *s, int64_t n);

/* As acquire; 0, or -ETIMEDOUT once deadline (go_now() clock) has passed. */
int go_sem_acquire_until(struct go_sem *s, int64_t n, int64_t deadline);

/* As acquire; 0, or ctx's error (-ECANCELED, -ETIMEDOUT) if ctx ends first: then nothing
 * was taken. */
int go_sem_acquire_ctx(struct go_sem *s, int64_t n, struct go_ctx *ctx);

/* True if n units could be had at once, and nobody was waiting before us. */
bool go_sem_tryacquire(struct go_sem *s, int64_t n);

/* Give n units back and wake those they serve. Never parks. */
void go_sem_release(struct go_sem *s, int64_t n);

#endif
