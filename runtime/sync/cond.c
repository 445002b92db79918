/*
 * Cond: a FIFO of waiters under its own lock. A waiter queues before it lets go of the
 * mutex, so a signal given by whoever takes the mutex next finds it. The mutex is
 * unlocked with the cond's lock free, for waking the mutex' next owner may take a system
 * call.
 *
 * A waiter's ok says that it was signalled, not timed out.
 */
#include "runtime/sync/cond.h"

#include <errno.h>

#include "runtime/sched/rt.h"
#include "runtime/sync/wait.h"
#include "runtime/time/timer.h"

void
go_cond_init(struct go_cond *c, struct go_mutex *mu)
{
    *c = (struct go_cond){.mu = mu};
}

/* Queue w, announce the park and unlock the mutex: from here on signals come. */
static void
queue_and_unlock(struct go_cond *c, struct go_waiter *w)
{
    go_lck_lock(&c->lock, GO_LCK_SYNC);
    waitq_push(&c->q, w);
    rt_park_prepare("cond wait");
    go_lck_unlock(&c->lock);
    go_mutex_unlock(c->mu);
}

void
go_cond_wait(struct go_cond *c)
{
    struct go_waiter w = {.g = rt_enter()->g};

    queue_and_unlock(c, &w);
    rt_park_commit();
    rt_exit();
    go_mutex_lock(c->mu);
}

struct timed_wait {
    struct rt_timer timer;
    struct go_cond *c;
    struct go_waiter w;
};

static void
timed_out(struct rt_timer *t, int64_t now)
{
    struct timed_wait *tw = t->arg;
    struct go_g *g = NULL;

    (void)now;
    go_lck_lock(&tw->c->lock, GO_LCK_SYNC);
    if (tw->w.queue != NULL) {
        waitq_remove(&tw->c->q, &tw->w);
        g = tw->w.g;
    }
    go_lck_unlock(&tw->c->lock);
    if (g != NULL)
        rt_ready(g);
}

int
go_cond_wait_until(struct go_cond *c, int64_t deadline)
{
    struct timed_wait tw = {.timer = {.fn = timed_out}, .c = c};

    if (deadline == GO_NEVER) {
        go_cond_wait(c);
        return 0;
    }
    tw.timer.arg = &tw;
    tw.w.g = rt_enter()->g;
    queue_and_unlock(c, &tw.w);
    rt_timer_start(&tw.timer, deadline);
    rt_park_commit();
    (void)rt_timer_stop_sync(&tw.timer); /* it stands on this stack */
    rt_exit();
    go_mutex_lock(c->mu);
    return tw.w.ok ? 0 : -ETIMEDOUT;
}

void
go_cond_signal(struct go_cond *c)
{
    struct go_waiter *w;

    (void)rt_enter();
    go_lck_lock(&c->lock, GO_LCK_SYNC);
    w = waitq_pop(&c->q);
    go_lck_unlock(&c->lock);
    if (w != NULL) {
        w->ok = true;
        rt_ready(w->g);
    }
    rt_exit();
}

void
go_cond_broadcast(struct go_cond *c)
{
    struct go_waiter *all;

    (void)rt_enter();
    go_lck_lock(&c->lock, GO_LCK_SYNC);
    all = c->q.head;
    c->q = (struct go_waitq){0};
    for (struct go_waiter *w = all; w != NULL; w = w->next) {
        w->queue = NULL; /* signalled: too late to time out */
        w->ok = true;
    }
    go_lck_unlock(&c->lock);
    rt_ready_list(all);
    rt_exit();
}
