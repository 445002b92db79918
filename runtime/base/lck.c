#define _GNU_SOURCE
#include "runtime/base/lck.h"

#include <sched.h>
#include <time.h>

#include "runtime/base/atomic.h"
#include "runtime/base/check.h"

#define SPINS  100
#define YIELDS 10

void
go_lck_slow_(struct go_lck *l)
{
    struct timespec nap = {.tv_nsec = 20000};
    int round = 0;

    for (;;) {
        for (int i = 0; i < SPINS; i++) {
            if (__atomic_load_n(&l->word, __ATOMIC_RELAXED) == 0 &&
                __atomic_exchange_n(&l->word, 1, __ATOMIC_ACQUIRE) == 0)
                return;
            cpu_relax();
        }
        if (round++ < YIELDS) {
            sched_yield();
        } else {
            (void)clock_nanosleep(CLOCK_MONOTONIC, 0, &nap, NULL);
            if (nap.tv_nsec < 1000000)
                nap.tv_nsec *= 2;
        }
    }
}

#ifdef GO_DEBUG_LOCKS

/* Locks of one thread are taken in rank order but may be released in any; a count per rank
 * is all the check needs. */
static _Thread_local uint32_t held_count[GO_LCK_TRACE + 1];

void
go_lck_note_(struct go_lck *l, enum go_lck_rank rank)
{
    for (uint32_t r = (uint32_t)rank + 1; r <= GO_LCK_TRACE; r++)
        ENSURE(held_count[r] == 0);
    l->rank = (uint32_t)rank;
    held_count[rank]++;
}

void
go_lck_drop_(struct go_lck *l)
{
    ENSURE(held_count[l->rank] > 0);
    held_count[l->rank]--;
}

#endif
