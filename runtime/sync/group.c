/* Group: a WaitGroup, a context and, with a limit, a semaphore. */
#include "runtime/sync/group.h"

#include <errno.h>

#include "runtime/base/atomic.h"
#include "runtime/context/context.h"
#include "runtime/sched/spawn.h"

int
go_group_init(struct go_group *g, struct go_ctx *parent, int limit)
{
    struct go_ctx *ctx = go_ctx_with_cancel(parent);

    if (ctx == NULL)
        return -ENOMEM;
    *g = (struct go_group){.ctx = ctx, .limit = limit > 0 ? limit : 0};
    go_sem_init(&g->slots, g->limit);
    return 0;
}

static void
report(struct go_group *g, int err)
{
    /* Release pairs with the acquire in wait. */
    if (err < 0 && CAS(&g->err, 0, err, RELEASE))
        go_ctx_cancel_cause(g->ctx, err, NULL);
}

static void
leave(struct go_group *g)
{
    if (g->limit > 0)
        go_sem_release(&g->slots, 1);
}

static void
run(struct go_group *g, int (*fn)(struct go_ctx *, void *), void *arg)
{
    report(g, fn(g->ctx, arg));
    leave(g);
}

/* The slot is taken; the WaitGroup's count keeps g alive until run() has returned. */
static int
start(struct go_group *g, int (*fn)(struct go_ctx *, void *), void *arg)
{
    int64_t id = go_wg_go(&g->wg, run, g, fn, arg);

    if (id >= 0)
        return 0;
    report(g, (int)id);
    leave(g);
    return (int)id;
}

int
go_group_go(struct go_group *g, int (*fn)(struct go_ctx *ctx, void *arg), void *arg)
{
    if (g->limit > 0)
        go_sem_acquire(&g->slots, 1);
    return start(g, fn, arg);
}

int
go_group_trygo(struct go_group *g, int (*fn)(struct go_ctx *ctx, void *arg), void *arg)
{
    if (g->limit > 0 && !go_sem_tryacquire(&g->slots, 1))
        return -EAGAIN;
    return start(g, fn, arg);
}

int
go_group_wait(struct go_group *g)
{
    go_wg_wait(&g->wg);
    go_ctx_cancel(g->ctx);
    go_ctx_unref(g->ctx);
    g->ctx = NULL;
    return LOAD(&g->err, ACQUIRE);
}
