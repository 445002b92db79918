/*
 * "all goroutines are asleep - deadlock!": nothing runs, nothing is queued, no timer is set,
 * no fd is waited for, and no thread is left that could wake anybody.
 *
 * Threads the runtime did not start are the doubtful part. One that has entered the runtime
 * is counted (sched.foreign). One that has not may still do so: before the verdict the
 * process's threads are counted, and if there are any beside the runtime's own and those
 * inside go_main(), there is no verdict.
 */
#define _GNU_SOURCE
#include <sys/stat.h>

#include "runtime/sched/runq.h"

uint32_t rt_helper_threads;

/* Is no P in use? After GOMAXPROCS went down, surplus ones may run on, or stand on the idle
 * list with timers: comparing with maxprocs would not do. */
bool
rt_all_idle(void)
{
    uint32_t n = LOAD(&sched.nallp, ACQUIRE), alive = 0;

    if (LOAD(&sched.npidle, RELAXED) < LOAD(&sched.maxprocs, RELAXED))
        return false;
    for (uint32_t i = 0; i < n; i++)
        alive += LOAD(&sched.allp[i]->status, ACQUIRE) != P_RETIRED;
    return LOAD(&sched.npidle, RELAXED) >= alive;
}

/* Threads of the process, 0 if /proc does not tell. */
static uint32_t
threads_of_process(void)
{
    struct stat st;

    /* A directory's links: itself, its name, and one for each directory in it. */
    if (stat("/proc/self/task", &st) != 0 || st.st_nlink < 2)
        return 0;
    return (uint32_t)st.st_nlink - 2;
}

/* With sched.lock held, by an M about to sleep: is there nothing left that could ever wake
 * anybody, while a main goroutine is waited for? */
void
rt_check_deadlock_locked(void)
{
    if (sched.main_waits == 0 || !rt_all_idle() || sched.gq_n > 0 ||
        LOAD(&sched.ndetached, SEQ_CST) > 0 || LOAD(&sched.nmspinning, SEQ_CST) > 0 ||
        LOAD(&sched.polling, SEQ_CST) || LOAD(&sched.foreign, SEQ_CST) > 0 ||
        LOAD(&rt_poll_waiters, SEQ_CST) > 0 || timers_count() > 0)
        return;
    for (uint32_t i = 0; i < sched.nallp; i++)
        if (!runq_empty(sched.allp[i]))
            return;
    if (threads_of_process() > sched.nm + LOAD(&rt_helper_threads, RELAXED) +
                                   sched.main_waits +
                                   GO_TSAN) /* ThreadSanitizer has a thread of its own */
        return;
    go_lck_unlock(&sched.lock);
    rt_fatal("all goroutines are asleep - deadlock!");
}
