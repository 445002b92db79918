/* What the primitives of this room share. Internal: not installed. */
#ifndef GOJOBD_RUNTIME_SYNC_WAIT_H
#define GOJOBD_RUNTIME_SYNC_WAIT_H

#include "runtime/sched/rt.h"
#include "runtime/sync/sem.h"

/* Ready a list of dequeued waiters, linked by next. Each is gone once readied, and
 * with it may be the object it waited for. Runtime entered, no locks held. */
static inline void
rt_ready_list(struct go_waiter *w)
{
    while (w != NULL) {
        struct go_waiter *next = w->next;

        rt_ready(w->g);
        w = next;
    }
}

/* go_sem_acquire, with the wait's reason as dumps show it. */
void rt_sem_acquire(struct go_sem *s, int64_t n, const char *reason);

#endif
