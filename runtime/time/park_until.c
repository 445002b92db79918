/* rt_park_until: a park with a deadline, for any object whose waiters stand in a queue. */
#define _GNU_SOURCE
#include "runtime/sched/sched.h"

struct deadline {
    struct rt_timer timer;
    struct go_lck *lock;
    enum go_lck_rank rank;
    struct go_waiter *w;
    bool passed; /* guarded by *lock */
};

static void
on_deadline(struct rt_timer *t, int64_t now)
{
    struct deadline *d = t->arg;
    struct go_g *g = NULL;

    (void)now;
    go_lck_lock(d->lock, d->rank);
    if (d->w->queue != NULL) { /* nobody woke it yet */
        waitq_remove(d->w->queue, d->w);
        d->passed = true;
        g = d->w->g;
    }
    go_lck_unlock(d->lock);
    if (g != NULL)
        rt_ready(g);
}

bool
rt_park_until(struct go_lck *lock, enum go_lck_rank rank, struct go_waiter *w,
              int64_t deadline, const char *reason)
{
    struct deadline d = {.lock = lock, .rank = rank, .w = w};

    if (deadline == GO_NEVER) {
        rt_park(lock, reason);
        return true;
    }
    d.timer.fn = on_deadline;
    d.timer.arg = &d;
    rt_park_prepare(reason);
    rt_timer_start(&d.timer, deadline);
    go_lck_unlock(lock);
    rt_park_commit();
    rt_timer_stop_sync(&d.timer);
    return !d.passed;
}
