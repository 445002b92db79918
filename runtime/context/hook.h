/*
 * Hooks: what waits inside the runtime uses to learn that a context ended. Internal: not
 * installed.
 *
 *     struct my_wait { struct rt_ctx_hook hook; … } w;      // on the waiter's stack
 *
 *     r = rt_ctx_hook_add(ctx, &w.hook, ended);
 *     if (r == 0) {
 *         … queue and park, unless ended() was faster …
 *         (void)rt_ctx_hook_remove(&w.hook);
 *     }
 */
#ifndef GOJOBD_RUNTIME_CONTEXT_HOOK_H
#define GOJOBD_RUNTIME_CONTEXT_HOOK_H

#include <stdbool.h>
#include <stdint.h>

struct go_ctx;
struct rt_ctx_hook;

/* Runs in the context of whoever cancels, at times on the scheduler, without locks,
 * inside the runtime: must not park nor drop a reference to a context, and must be
 * short. err is the context's. */
typedef void rt_ctx_hook_fn(struct rt_ctx_hook *h, int err);

struct rt_ctx_hook {
    struct rt_ctx_hook *next, *prev; /* guarded by ctx's lock */
    struct go_ctx *ctx;              /* where it hangs; NULL: nowhere */
    rt_ctx_hook_fn *fn;
    uint32_t state; /* atomic: see context.c */
};

/* Have fn called, once, when ctx ends: 0, or ctx's error if it has ended already (then fn
 * is not called). The caller keeps ctx alive until remove. Never parks; takes a lock of
 * rank GO_LCK_CTX. */
int rt_ctx_hook_add(struct go_ctx *ctx, struct rt_ctx_hook *h, rt_ctx_hook_fn *fn);

/* On return fn is not running and will not: true if it was never called. Every added hook
 * is removed once. Not from fn. */
bool rt_ctx_hook_remove(struct rt_ctx_hook *h);

#endif
