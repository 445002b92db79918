/* Scheduler counters: sums over all Ps since the start. Any thread; exact when idle. */
#ifndef GOJOBD_RUNTIME_DEBUG_STATS_H
#define GOJOBD_RUNTIME_DEBUG_STATS_H

#include <stdint.h>

struct go_stats {
    int64_t spawned;  /* goroutines ever started */
    int64_t live;     /* spawned, not ended */
    int64_t runnable; /* in run queues now */
    int64_t running;  /* on a processor now */
    int64_t
        waiting; /* the rest of the live ones: parked, or in a call without processor */
    int64_t parked;    /* times a goroutine parked */
    int64_t switches;  /* switches into a goroutine */
    int64_t steals;    /* goroutines taken from another P's queue */
    int64_t handoffs;  /* Ps taken from a blocking call or a runaway */
    int64_t preempted; /* time slices that ended by preemption */
    int64_t polls;     /* epoll_wait calls */
    int64_t timers;    /* timers fired */
    int64_t threads;   /* threads started by the runtime, alive now */
    int64_t idle_threads;
    int64_t maxprocs;
    int64_t idle_procs;
    int64_t stack_reserved; /* bytes of address space */
    int64_t stack_inuse;    /* bytes reserved by goroutines that have a stack */
    int64_t stack_cached;   /* bytes reserved by free stacks not yet returned */
    int64_t stack_released; /* bytes given back to the system so far */
};

void go_stats(struct go_stats *ret);

#endif
