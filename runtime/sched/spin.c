/* Whether waiting a little on the CPU can beat parking. As Go's sync_runtime_canSpin. */
#include "runtime/sched/runq.h"
#include "runtime/sched/sched.h"

/* The holder of what we wait for must be running meanwhile, and nobody must be waiting
 * for our P. */
bool
rt_may_spin(void)
{
    const struct go_p *p = rt_m()->p;

    if (rt_seeded ||
        LOAD(&sched.maxprocs, RELAXED) <=
            LOAD(&sched.npidle, RELAXED) + LOAD(&sched.nmspinning, RELAXED) + 1)
        return false;
    return p == NULL || runq_empty(p);
}
