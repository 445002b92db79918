/*
 * The runtime's inner lock: a word, taken by exchange and released by a plain store, so
 * that an uncontended pair costs one atomic instruction. Held for a few dozen instructions
 * only, never across a park, a callback or a system call. A thread that finds it taken
 * spins, then yields its time slice, then sleeps in growing steps: the holder can only have
 * lost its CPU.
 *
 * The enum is the lock order: a thread may take a lock only while all it holds rank lower.
 * Debug builds (GO_DEBUG_LOCKS) check that. Two of the same rank: lower address first.
 */
#ifndef GOJOBD_RUNTIME_BASE_LCK_H
#define GOJOBD_RUNTIME_BASE_LCK_H

#include <stdint.h>

struct go_lck {
    uint32_t word; /* atomic: 0 free, 1 held */
    uint32_t rank; /* debug builds: the holder's rank */
};

#define GO_LCK_INIT                                                                      \
    {                                                                                    \
        0, 0                                                                             \
    }

enum go_lck_rank {
    GO_LCK_NONE,
    GO_LCK_CTX,     /* struct go_ctx; parent before child */
    GO_LCK_TIMER,   /* struct go_timer: stop and reset against each other */
    GO_LCK_CHAN,    /* struct go_chan; two: lower address first */
    GO_LCK_SYNC,    /* WaitGroup, Semaphore, Cond */
    GO_LCK_POLL,    /* a poll descriptor */
    GO_LCK_HEAP,    /* a P's timer heap; two: lower P first */
    GO_LCK_SCHED,   /* the scheduler: idle lists and the global queue */
    GO_LCK_RECORDS, /* the central pool of goroutine records */
    GO_LCK_STACKS,  /* a central pool of stacks */
    GO_LCK_TRACE,
};

void go_lck_slow_(struct go_lck *l);

#ifdef GO_DEBUG_LOCKS
void go_lck_note_(struct go_lck *l, enum go_lck_rank rank);
void go_lck_drop_(struct go_lck *l);
#endif

static inline void
go_lck_lock(struct go_lck *l, enum go_lck_rank rank)
{
    /* Acquire pairs with the release in unlock. */
    if (__builtin_expect(__atomic_exchange_n(&l->word, 1, __ATOMIC_ACQUIRE) != 0, 0))
        go_lck_slow_(l);
#ifdef GO_DEBUG_LOCKS
    go_lck_note_(l, rank);
#else
    (void)rank;
#endif
}

static inline int
go_lck_trylock(struct go_lck *l, enum go_lck_rank rank)
{
    if (__atomic_load_n(&l->word, __ATOMIC_RELAXED) != 0 ||
        __atomic_exchange_n(&l->word, 1, __ATOMIC_ACQUIRE) != 0)
        return 0;
#ifdef GO_DEBUG_LOCKS
    go_lck_note_(l, rank);
#else
    (void)rank;
#endif
    return 1;
}

static inline void
go_lck_unlock(struct go_lck *l)
{
#ifdef GO_DEBUG_LOCKS
    go_lck_drop_(l);
#endif
    __atomic_store_n(&l->word, 0, __ATOMIC_RELEASE);
}

#endif
