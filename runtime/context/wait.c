/* What is built from hooks: functions called, and sleeps cut short, by a context's
 * end. */
#include <errno.h>
#include <stdlib.h>

#include "runtime/context/context.h"
#include "runtime/context/hook.h"
#include "runtime/sched/rt.h"
#include "runtime/time/timer.h"

struct go_ctx_after {
    struct rt_ctx_hook hook;
    struct go_ctx *ctx; /* held */
    void (*fn)(void *);
    void *arg;
    bool called; /* before the hook was set: ctx had ended */
};

static void
run_after(void (*fn)(void *), void *arg)
{
    fn(arg);
}

static void
after_ended(struct rt_ctx_hook *h, int err)
{
    struct go_ctx_after *a = (struct go_ctx_after *)h;

    (void)err;
    if (go(run_after, a->fn, a->arg) < 0)
        rt_fatal("context: no memory to call an AfterFunc");
}

struct go_ctx_after *
go_ctx_after_func(struct go_ctx *ctx, void (*fn)(void *), void *arg)
{
    struct go_ctx_after *a = calloc(1, sizeof(*a));

    if (a == NULL)
        return NULL;
    a->ctx = go_ctx_ref(ctx);
    a->fn = fn;
    a->arg = arg;
    if (rt_ctx_hook_add(ctx, &a->hook, after_ended) != 0) {
        a->called = true;
        if (go(run_after, fn, arg) < 0) {
            go_ctx_unref(ctx);
            free(a);
            return NULL;
        }
    }
    return a;
}

bool
go_ctx_after_stop(struct go_ctx_after *a)
{
    bool stopped = !a->called && rt_ctx_hook_remove(&a->hook);

    go_ctx_unref(a->ctx);
    free(a);
    return stopped;
}

struct nap {
    struct rt_ctx_hook hook;
    struct go_lck lock;
    struct go_waitq q;  /* guarded by lock */
    struct go_waiter w; /* guarded by lock while queued */
    int err;            /* guarded by lock: the context's, once it has ended */
};

static void
nap_ended(struct rt_ctx_hook *h, int err)
{
    struct nap *nap = (struct nap *)h;
    struct go_waiter *w;

    go_lck_lock(&nap->lock, GO_LCK_SYNC);
    nap->err = err;
    w = waitq_pop(&nap->q);
    go_lck_unlock(&nap->lock);
    if (w != NULL)
        rt_ready(w->g);
}

int
go_ctx_sleep(struct go_ctx *ctx, int64_t ns)
{
    struct nap nap = {.err = 0};
    int64_t deadline = go_deadline(ns);
    int r = go_ctx_err(ctx);

    if (r != 0)
        return r;
    if (ns <= 0) {
        go_checkpoint();
        return 0;
    }
    nap.w.g = rt_enter()->g;
    r = rt_ctx_hook_add(ctx, &nap.hook, nap_ended);
    if (r == 0) { /* from here nap.err is the hook's */
        go_lck_lock(&nap.lock, GO_LCK_SYNC);
        if (nap.err == 0) {
            waitq_push(&nap.q, &nap.w);
            (void)rt_park_until(&nap.lock, GO_LCK_SYNC, &nap.w, deadline, "sleep");
        } else {
            go_lck_unlock(&nap.lock);
        }
        (void)rt_ctx_hook_remove(&nap.hook);
        r = nap.err;
    }
    rt_exit();
    return r;
}
