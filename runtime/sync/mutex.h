/*
 * Mutex: mutual exclusion between goroutines (Go's sync.Mutex, its algorithm and its
 * starvation mode: a waiter that waited for more than 1 ms gets the lock handed to it).
 *
 * Zero is an unlocked mutex. Not recursive. A locked mutex belongs to no goroutine: another
 * may unlock it. The memory may be freed by whoever holds the lock last: unlock touches it
 * no more once another could lock it.
 */
#ifndef GOJOBD_RUNTIME_SYNC_MUTEX_H
#define GOJOBD_RUNTIME_SYNC_MUTEX_H

#include <stdbool.h>
#include <stdint.h>

#include "runtime/base/waitq.h"

struct go_mutex {
    uint32_t state; /* atomic; see mutex.c */
    uint32_t spare_;
    struct go_waitq q; /* parked lockers; guarded by a bit of state */
};

#define GO_MUTEX_INIT                                                                    \
    {                                                                                    \
        .state = 0                                                                       \
    }

void go_mutex_lock_slow_(struct go_mutex *mu);
void go_mutex_unlock_slow_(struct go_mutex *mu);

/* True if it took the lock. Never parks. */
bool go_mutex_trylock(struct go_mutex *mu);

/* PARKS until the lock is ours. Acquire. */
static inline void
go_mutex_lock(struct go_mutex *mu)
{
    uint32_t unlocked = 0;

    if (!__atomic_compare_exchange_n(&mu->state, &unlocked, 1, 0, __ATOMIC_ACQUIRE,
                                     __ATOMIC_RELAXED))
        go_mutex_lock_slow_(mu);
}

/* Release. Panics if mu is not locked. */
static inline void
go_mutex_unlock(struct go_mutex *mu)
{
    uint32_t locked = 1;

    if (!__atomic_compare_exchange_n(&mu->state, &locked, 0, 0, __ATOMIC_RELEASE,
                                     __ATOMIC_RELAXED))
        go_mutex_unlock_slow_(mu);
}

#endif
