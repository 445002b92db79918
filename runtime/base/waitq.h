/*
 * A FIFO of parked goroutines, as it stands inside the public synchronisation objects.
 * Zero is empty. Only the runtime looks inside; see sched/rt.h.
 */
#ifndef GOJOBD_RUNTIME_BASE_WAITQ_H
#define GOJOBD_RUNTIME_BASE_WAITQ_H

struct go_waiter;

struct go_waitq {
    struct go_waiter *head, *tail;
};

#endif
