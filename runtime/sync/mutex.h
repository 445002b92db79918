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
#include "runtime/sched/spawn.h"

struct go_m;

struct go_mutex {
    uint32_t state;  /* atomic; see mutex.c */
    uint32_t in_row; /* times that last locked it with nobody between; under the lock */
    const volatile void *last; /* a thread; under the lock */
    struct go_m *owner;        /* atomic; see mutex_bias.c */
    struct go_waitq q;         /* parked lockers; guarded by a bit of state */
};

#define GO_MUTEX_LOCKED_ 1u
#define GO_MUTEX_BIASED_ 32u
#define GO_MUTEX_NEED_   256 /* times in a row */

#define GO_MUTEX_INIT                                                                    \
    {                                                                                    \
        .state = 0                                                                       \
    }

void go_mutex_lock_slow_(struct go_mutex *mu);
void go_mutex_unlock_slow_(struct go_mutex *mu);
bool go_mutex_step_(struct go_mutex *mu, uint32_t from, uint32_t to);
void go_mutex_own_(struct go_mutex *mu);

/* True if it took the lock. Never parks. */
bool go_mutex_trylock(struct go_mutex *mu);

/* PARKS until the lock is ours. Acquire. */
static inline void
go_mutex_lock(struct go_mutex *mu)
{
    uint32_t state = __atomic_load_n(&mu->state, __ATOMIC_RELAXED);

    if (state == GO_MUTEX_BIASED_ &&
        go_mutex_step_(mu, GO_MUTEX_BIASED_, GO_MUTEX_BIASED_ | GO_MUTEX_LOCKED_))
        return;
    if (state != 0 ||
        !__atomic_compare_exchange_n(&mu->state, &state, GO_MUTEX_LOCKED_, 0,
                                     __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)) {
        go_mutex_lock_slow_(mu);
        return;
    }
    if (mu->last != &go_preempt_flag_) { /* its address stands for the thread */
        mu->last = &go_preempt_flag_;
        mu->in_row = 0;
    } else if (__builtin_expect(++mu->in_row >= GO_MUTEX_NEED_, 0)) {
        go_mutex_own_(mu);
    }
}

/* Release. Panics if mu is not locked. */
static inline void
go_mutex_unlock(struct go_mutex *mu)
{
    uint32_t state = __atomic_load_n(&mu->state, __ATOMIC_RELAXED);

    if (state == (GO_MUTEX_BIASED_ | GO_MUTEX_LOCKED_) &&
        go_mutex_step_(mu, state, GO_MUTEX_BIASED_))
        return;
    if (state != GO_MUTEX_LOCKED_ ||
        !__atomic_compare_exchange_n(&mu->state, &state, 0, 0, __ATOMIC_RELEASE,
                                     __ATOMIC_RELAXED))
        go_mutex_unlock_slow_(mu);
}

#endif
