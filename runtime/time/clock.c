/* The clock: CLOCK_MONOTONIC, or virtual time in deterministic mode. */
#define _GNU_SOURCE
#include <time.h>

#include "runtime/sched/sched.h"
#include "runtime/time/timer.h"

int64_t
rt_clock_raw(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec * GO_SECOND + ts.tv_nsec;
}

int64_t
go_now(void)
{
    if (UNLIKELY(rt_seeded))
        return seed_now();
    return rt_clock_raw();
}

int64_t
go_deadline(int64_t ns)
{
    int64_t now = go_now();

    return ns > GO_NEVER - now ? GO_NEVER : now + ns;
}
