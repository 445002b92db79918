/*
 * Semaphore: a counter and a FIFO of requests under one lock.
 *
 *   I1  With the lock free, the first request in the queue asks for more than is free:
 *       whoever changes free or the head of the queue grants what has become possible.
 *   I2  A grant takes the units on the waiter's behalf before waking it.
 *
 * A waiter's n is the number of units wanted; ok says that it got them.
 */
#include "runtime/sync/sem.h"

#include <errno.h>

#include "runtime/base/atomic.h"
#include "runtime/context/context.h"
#include "runtime/context/hook.h"
#include "runtime/sync/wait.h"
#include "runtime/time/timer.h"

void
go_sem_init(struct go_sem *s, int64_t n)
{
    if (n < 0)
        go_panic("sync: negative semaphore size");
    *s = (struct go_sem){.free = n};
}

static bool
take_locked(struct go_sem *s, int64_t n)
{
    if (s->q.head != NULL || s->free < n)
        return false;
    s->free -= n;
    return true;
}

/* Serve the head of the queue as far as free reaches. Returns the served, linked by
 * next but in no queue: a deadline or a context's end that comes now sees that it is
 * too late. */
static struct go_waiter *
grant_locked(struct go_sem *s)
{
    struct go_waiter *first = NULL, **link = &first;

    while (s->q.head != NULL && s->q.head->n <= s->free) {
        struct go_waiter *w = waitq_pop(&s->q);

        s->free -= w->n;
        w->ok = true;
        w->next = NULL;
        *link = w;
        link = &w->next;
    }
    return first;
}

/* Units came back, or a request left the queue without its own: others may go on (I1). */
static void
grant_and_unlock(struct go_sem *s)
{
    struct go_waiter *granted = grant_locked(s);

    go_lck_unlock(&s->lock);
    rt_ready_list(granted);
}

static void
check_wanted(int64_t n)
{
    if (UNLIKELY(n < 0))
        go_panic("sync: negative semaphore acquire");
}

void
rt_sem_acquire(struct go_sem *s, int64_t n, const char *reason)
{
    struct go_waiter w = {.g = rt_enter()->g, .n = n};

    go_lck_lock(&s->lock, GO_LCK_SYNC);
    if (take_locked(s, n)) {
        go_lck_unlock(&s->lock);
    } else {
        waitq_push(&s->q, &w);
        rt_park(&s->lock, reason);
    }
    rt_exit();
}

void
go_sem_acquire(struct go_sem *s, int64_t n)
{
    check_wanted(n);
    rt_sem_acquire(s, n, "sem acquire");
}

int
go_sem_acquire_until(struct go_sem *s, int64_t n, int64_t deadline)
{
    struct go_waiter w = {.n = n};
    int r = 0;

    check_wanted(n);
    if (deadline == GO_NEVER) {
        go_sem_acquire(s, n);
        return 0;
    }
    w.g = rt_enter()->g;
    go_lck_lock(&s->lock, GO_LCK_SYNC);
    if (take_locked(s, n)) {
        go_lck_unlock(&s->lock);
    } else if (go_now() >= deadline) {
        go_lck_unlock(&s->lock);
        r = -ETIMEDOUT;
    } else {
        waitq_push(&s->q, &w);
        if (!rt_park_until(&s->lock, GO_LCK_SYNC, &w, deadline, "sem acquire")) {
            go_lck_lock(&s->lock, GO_LCK_SYNC);
            grant_and_unlock(s);
            r = -ETIMEDOUT;
        }
    }
    rt_exit();
    return r;
}

/* A wait that a context's end cuts short; on the waiter's stack. */
struct ctx_wait {
    struct rt_ctx_hook hook;
    struct go_sem *sem;
    struct go_waiter w;
    int err; /* guarded by sem->lock: the context has ended */
};

static void
ctx_ended(struct rt_ctx_hook *hook, int err)
{
    struct ctx_wait *cw = (struct ctx_wait *)hook;
    struct go_sem *s = cw->sem;
    struct go_g *g = NULL;

    go_lck_lock(&s->lock, GO_LCK_SYNC);
    cw->err = err;
    if (cw->w.queue != NULL) {
        waitq_remove(&s->q, &cw->w);
        g = cw->w.g;
    }
    grant_and_unlock(s);
    if (g != NULL)
        rt_ready(g);
}

int
go_sem_acquire_ctx(struct go_sem *s, int64_t n, struct go_ctx *ctx)
{
    struct ctx_wait cw = {.sem = s, .w = {.n = n}};
    int r;

    check_wanted(n);
    r = go_ctx_err(ctx);
    if (r != 0)
        return r;
    cw.w.g = rt_enter()->g;
    go_lck_lock(&s->lock, GO_LCK_SYNC);
    if (take_locked(s, n)) {
        go_lck_unlock(&s->lock);
        rt_exit();
        return 0;
    }
    /* The context's lock ranks below ours, so the hook goes in with ours free. */
    go_lck_unlock(&s->lock);
    r = rt_ctx_hook_add(ctx, &cw.hook, ctx_ended);
    if (r == 0) {
        go_lck_lock(&s->lock, GO_LCK_SYNC);
        if (cw.err != 0) {
            go_lck_unlock(&s->lock);
        } else if (take_locked(s, n)) {
            cw.w.ok = true;
            go_lck_unlock(&s->lock);
        } else {
            waitq_push(&s->q, &cw.w);
            rt_park(&s->lock, "sem acquire");
        }
        (void)rt_ctx_hook_remove(&cw.hook);
        r = cw.w.ok ? 0 : cw.err;
    }
    rt_exit();
    return r;
}

bool
go_sem_tryacquire(struct go_sem *s, int64_t n)
{
    bool ok;

    check_wanted(n);
    (void)rt_enter();
    go_lck_lock(&s->lock, GO_LCK_SYNC);
    ok = take_locked(s, n);
    go_lck_unlock(&s->lock);
    rt_exit();
    return ok;
}

void
go_sem_release(struct go_sem *s, int64_t n)
{
    (void)rt_enter();
    if (UNLIKELY(n < 0))
        go_panic("sync: negative semaphore release");
    go_lck_lock(&s->lock, GO_LCK_SYNC);
    if (UNLIKELY(__builtin_add_overflow(s->free, n, &s->free)))
        go_panic("sync: semaphore overflow");
    grant_and_unlock(s);
    rt_exit();
}
