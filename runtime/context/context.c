/*
 * Context: a tree in which each node holds its parent by a reference.
 *
 * Only some contexts can be cancelled by themselves ("sources"); a value context borrows
 * the nearest source above it, or has none. A source hangs in the list of children of the
 * nearest source above it, unless there is none: so a timeout under the background is an
 * allocation from a pool and a timer, nothing else.
 *
 * Cancelling a source sets its error under its lock, once; closes its done channel if
 * anybody asked for one; stops its timer; calls its hooks; then does the same to all
 * below, depth first. The tree may be deeper than a stack, hence a loop: it goes down by
 * taking the first child off its parent's list, and up by remembering where that list
 * was. Any number of cancellations may run in the same tree: each child is taken off
 * once.
 *
 * Lifetime. A canceller holds no references, for it may run as a timer's function, and
 * there must not free what carries the timer. What it works on is alive because:
 *   - the root is held by its caller, or by its timer: the one who frees it waits for the
 *     timer's function to end (rt_timer_stop_sync);
 *   - a child in the list is not freed before it has been taken off, under the parent's
 *     lock;
 *   - a child taken off is marked busy until the canceller has left it for good; the one
 *     who frees it waits for that. By then it has no children, so the wait is short.
 *
 * A second cancellation of the same tree may return while the first is still on its way
 * down; each context's own error, channel and hooks are nevertheless set, closed and
 * called once.
 */
#include "runtime/context/context.h"

#include <errno.h>
#include <sched.h>
#include <string.h>

#include "runtime/base/atomic.h"
#include "runtime/chan/chan.h"
#include "runtime/context/hook.h"
#include "runtime/mem/pool.h"
#include "runtime/sched/rt.h"
#include "runtime/sched/spawn.h"
#include "runtime/time/timer.h"

struct go_ctx {
    uint32_t refs; /* atomic; children's count */
    bool fixed;    /* the background: not counted */

    /* Constant after construction. */
    struct go_ctx *parent; /* held; NULL: the background */
    struct go_ctx *source; /* whose end is ours: self, one above, or NULL: never */
    struct go_ctx *above;  /* of a source: the next one up; NULL: none */
    int64_t deadline;      /* own or inherited; GO_NEVER: none */
    const void *key;
    void *value;

    /* From here on sources only. */
    int err;              /* atomic; set once under lock, after cause and text */
    int cause;            /* constant once err is set */
    const char *text;     /* likewise */
    struct go_chan *done; /* atomic; created when asked for, under lock */

    struct go_lck lock;        /* rank GO_LCK_CTX; parent before child */
    struct go_ctx *children;   /* guarded by lock */
    struct rt_ctx_hook *hooks; /* guarded by lock */

    struct go_ctx *next, *prev; /* among above's children; guarded by above->lock */
    bool linked;                /* likewise */
    uint32_t busy;              /* atomic: a canceller is here; set under above->lock */

    bool timed; /* the timer was armed and not stopped before it ran */
    struct rt_timer timer;
};

static struct go_ctx background = {.refs = 1, .fixed = true, .deadline = GO_NEVER};
static struct rt_pool pool = {.size = sizeof(struct go_ctx), .max = 256};

/* Somebody is about to let go of what we want to free: a few dozen instructions,
 * unless he lost his CPU. */
static void
await_zero(const uint32_t *word)
{
    for (unsigned tries = 1; LOAD(word, ACQUIRE) != 0; tries++) {
        if (tries % 64 == 0)
            (void)sched_yield();
        else
            cpu_relax();
    }
}

/* --- the end of a context --- */

enum { HOOK_IDLE, HOOK_SET, HOOK_RUNNING };

static void
hook_unlink_locked(struct go_ctx *ctx, struct rt_ctx_hook *h)
{
    if (h->prev != NULL)
        h->prev->next = h->next;
    else
        ctx->hooks = h->next;
    if (h->next != NULL)
        h->next->prev = h->prev;
}

/* Call the hooks of a context whose err is set, so that no more are added. A hook that
 * is idle again belongs to its owner. */
static void
run_hooks(struct go_ctx *ctx, int err)
{
    for (;;) {
        struct rt_ctx_hook *h;

        go_lck_lock(&ctx->lock, GO_LCK_CTX);
        h = ctx->hooks;
        if (h != NULL) {
            hook_unlink_locked(ctx, h);
            STORE(&h->state, HOOK_RUNNING, RELAXED);
        }
        go_lck_unlock(&ctx->lock);
        if (h == NULL)
            return;
        h->fn(h, err);
        STORE(&h->state, HOOK_IDLE, RELEASE); /* pairs with the acquire in await_zero() */
    }
}

struct ending {
    int err, cause;
    const char *text;
};

/* End ctx alone, if it has not ended. */
static void
end_one(struct go_ctx *ctx, const struct ending *e)
{
    struct go_chan *done = NULL;
    bool first, hooks;

    go_lck_lock(&ctx->lock, GO_LCK_CTX);
    first = ctx->err == 0;
    if (first) {
        ctx->cause = e->cause;
        ctx->text = e->text;
        done = ctx->done;
        /* Release pairs with the acquire in go_ctx_err(). */
        STORE(&ctx->err, e->err, RELEASE);
    }
    hooks = ctx->hooks != NULL;
    go_lck_unlock(&ctx->lock);
    if (first && ctx->timed && rt_timer_stop(&ctx->timer))
        ctx->timed = false;
    if (done != NULL)
        go_chan_close(done);
    if (hooks)
        run_hooks(ctx, ctx->err);
}

static void
unlink_child_locked(struct go_ctx *above, struct go_ctx *child)
{
    if (child->prev != NULL)
        child->prev->next = child->next;
    else
        above->children = child->next;
    if (child->next != NULL)
        child->next->prev = child->prev;
    child->linked = false;
}

static struct go_ctx *
take_child(struct go_ctx *ctx)
{
    struct go_ctx *child;

    go_lck_lock(&ctx->lock, GO_LCK_CTX);
    child = ctx->children;
    if (child != NULL) {
        unlink_child_locked(ctx, child);
        STORE(&child->busy, 1, RELAXED); /* published by the unlock */
    }
    go_lck_unlock(&ctx->lock);
    return child;
}

/* End root and all below it. Runtime entered; see the head of this file. */
static void
end_tree(struct go_ctx *root, const struct ending *e)
{
    struct go_ctx *ctx = root;

    end_one(root, e);
    for (;;) {
        struct go_ctx *child = take_child(ctx);

        if (child != NULL) {
            end_one(child, e);
            ctx = child;
        } else if (ctx != root) {
            struct go_ctx *up = ctx->above;

            STORE(&ctx->busy, 0, RELEASE); /* it may be gone from here on */
            ctx = up;
        } else {
            return;
        }
    }
}

static void
timer_fired(struct rt_timer *t, int64_t now)
{
    const struct ending e = {-ETIMEDOUT, -ETIMEDOUT, NULL};

    (void)now;
    end_tree(t->arg, &e);
}

void
go_ctx_cancel_cause(struct go_ctx *ctx, int err, const char *text)
{
    const struct ending e = {-ECANCELED, err < 0 ? err : -ECANCELED, text};

    /* A context without an end of its own has nothing to cancel. */
    if (ctx == NULL || ctx->source != ctx)
        return;
    (void)rt_enter();
    end_tree(ctx, &e);
    rt_exit();
}

void
go_ctx_cancel(struct go_ctx *ctx)
{
    go_ctx_cancel_cause(ctx, -ECANCELED, NULL);
}

/* --- life --- */

struct go_ctx *
go_ctx_background(void)
{
    return &background;
}

struct go_ctx *
go_ctx_ref(struct go_ctx *ctx)
{
    if (ctx != NULL && !ctx->fixed)
        (void)ADD(&ctx->refs, 1, RELAXED);
    return ctx;
}

/* Nobody holds ctx any more; it has no children and no hooks, for they hold it. */
static void
ctx_free(struct go_ctx *ctx)
{
    const struct ending e = {-ECANCELED, -ECANCELED, NULL};

    if (ctx->source == ctx) {
        if (ctx->above != NULL) {
            go_lck_lock(&ctx->above->lock, GO_LCK_CTX);
            if (ctx->linked)
                unlink_child_locked(ctx->above, ctx);
            go_lck_unlock(&ctx->above->lock);
            await_zero(&ctx->busy);
        }
        if (LOAD(&ctx->err, ACQUIRE) == 0)
            end_one(ctx, &e);
        if (ctx->timed)
            (void)rt_timer_stop_sync(&ctx->timer);
        go_chan_unref(ctx->done);
    }
    rt_pool_put(&pool, ctx);
}

void
go_ctx_unref(struct go_ctx *ctx)
{
    struct go_ctx *up;

    if (ctx == NULL || ctx->fixed)
        return;
    (void)rt_enter();
    /* Chains may be long: a loop. The only holder needs no atomic subtraction. */
    for (; ctx != NULL && !ctx->fixed; ctx = up) {
        if (LOAD(&ctx->refs, ACQUIRE) != 1 && ADD(&ctx->refs, -1, ACQ_REL) != 0)
            break;
        up = ctx->parent;
        ctx_free(ctx);
    }
    rt_exit();
}

/* A context that holds parent and, until told otherwise, ends with it. */
static struct go_ctx *
ctx_new(struct go_ctx *parent)
{
    struct go_ctx *ctx = rt_pool_get(&pool);

    if (UNLIKELY(ctx == NULL))
        return NULL;
    if (parent == NULL)
        parent = &background;
    memset(ctx, 0, sizeof(*ctx));
    ctx->refs = 1;
    ctx->parent = go_ctx_ref(parent);
    ctx->source = parent->source;
    ctx->deadline = parent->deadline;
    return ctx;
}

/* Make ctx, which has a deadline of its own if timed, a source and give it to the
 * world. */
static void
become_source(struct go_ctx *ctx)
{
    struct go_ctx *above = ctx->source;
    struct ending e = {0};

    ctx->source = ctx;
    ctx->above = above;
    /* Before anybody else can cancel it: so stopping never meets a half-started timer. */
    if (ctx->timed)
        rt_timer_start(&ctx->timer, ctx->deadline);
    if (above == NULL)
        return;
    go_lck_lock(&above->lock, GO_LCK_CTX);
    if (above->err == 0) {
        ctx->next = above->children;
        if (ctx->next != NULL)
            ctx->next->prev = ctx;
        above->children = ctx;
        ctx->linked = true;
    } else {
        e = (struct ending){above->err, above->cause, above->text};
    }
    go_lck_unlock(&above->lock);
    if (e.err != 0)
        end_one(ctx, &e);
}

struct go_ctx *
go_ctx_with_cancel(struct go_ctx *parent)
{
    return go_ctx_with_deadline(parent, GO_NEVER);
}

/* With a deadline that has passed, now says so. */
static struct go_ctx *
with_deadline(struct go_ctx *parent, int64_t deadline, int64_t now)
{
    const struct ending e = {-ETIMEDOUT, -ETIMEDOUT, NULL};
    struct go_ctx *ctx;

    (void)rt_enter();
    ctx = ctx_new(parent);
    if (LIKELY(ctx != NULL)) {
        if (deadline < ctx->deadline) { /* else the one above comes first */
            ctx->deadline = deadline;
            ctx->timed = deadline > now;
            ctx->timer.fn = timer_fired;
            ctx->timer.arg = ctx;
        }
        become_source(ctx);
        if (UNLIKELY(deadline <= now))
            end_one(ctx, &e);
    }
    rt_exit();
    return ctx;
}

struct go_ctx *
go_ctx_with_deadline(struct go_ctx *parent, int64_t deadline)
{
    return with_deadline(parent, deadline, deadline == GO_NEVER ? 0 : go_now());
}

struct go_ctx *
go_ctx_with_timeout(struct go_ctx *parent, int64_t timeout)
{
    int64_t now = go_now(), deadline;

    if (__builtin_add_overflow(now, timeout, &deadline))
        deadline = timeout > 0 ? GO_NEVER : 0;
    return with_deadline(parent, deadline, now);
}

struct go_ctx *
go_ctx_with_value(struct go_ctx *parent, const void *key, void *value)
{
    struct go_ctx *ctx = ctx_new(parent);

    if (ctx != NULL) {
        ctx->key = key;
        ctx->value = value;
    }
    return ctx;
}

struct go_ctx *
go_ctx_without_cancel(struct go_ctx *parent)
{
    struct go_ctx *ctx = ctx_new(parent);

    if (ctx != NULL) {
        ctx->source = NULL;
        ctx->deadline = GO_NEVER;
    }
    return ctx;
}

/* --- questions --- */

int
go_ctx_err(const struct go_ctx *ctx)
{
    const struct go_ctx *s = ctx != NULL ? ctx->source : NULL;

    /* Acquire pairs with the release in end_one(). */
    return s != NULL ? LOAD(&s->err, ACQUIRE) : 0;
}

int
go_ctx_cause(struct go_ctx *ctx, const char **text)
{
    bool ended = go_ctx_err(ctx) != 0;

    if (text != NULL)
        *text = ended ? ctx->source->text : NULL;
    return ended ? ctx->source->cause : 0;
}

bool
go_ctx_deadline(const struct go_ctx *ctx, int64_t *ret)
{
    if (ctx == NULL || ctx->deadline == GO_NEVER)
        return false;
    *ret = ctx->deadline;
    return true;
}

void *
go_ctx_value(const struct go_ctx *ctx, const void *key)
{
    for (; ctx != NULL; ctx = ctx->parent) {
        if (ctx->key == key && key != NULL)
            return ctx->value;
    }
    return NULL;
}

struct go_chan *
go_ctx_done(struct go_ctx *ctx)
{
    struct go_ctx *s = ctx != NULL ? ctx->source : NULL;
    struct go_chan *c, *spare = NULL;
    bool ended;

    if (s == NULL)
        return NULL;
    c = LOAD(&s->done, ACQUIRE);
    if (c != NULL)
        return c;
    c = go_chan_new(0, 0);
    if (c == NULL) /* NULL would mean: never ends */
        rt_fatal("context: no memory for a done channel");
    (void)rt_enter();
    go_lck_lock(&s->lock, GO_LCK_CTX);
    if (s->done == NULL) {
        ended = s->err != 0; /* else whoever ends it sees the channel */
        if (ended)
            go_chan_close(c); /* nobody waits on it: this only marks it */
        STORE(&s->done, c, RELEASE);
    } else {
        spare = c;
        c = s->done;
    }
    go_lck_unlock(&s->lock);
    rt_exit();
    go_chan_unref(spare);
    return c;
}

/* --- hooks --- */

int
rt_ctx_hook_add(struct go_ctx *ctx, struct rt_ctx_hook *h, rt_ctx_hook_fn *fn)
{
    struct go_ctx *s = ctx != NULL ? ctx->source : NULL;
    int err;

    *h = (struct rt_ctx_hook){.ctx = s, .fn = fn};
    if (s == NULL)
        return 0;
    (void)rt_enter();
    go_lck_lock(&s->lock, GO_LCK_CTX);
    err = s->err;
    if (err == 0) {
        h->next = s->hooks;
        if (h->next != NULL)
            h->next->prev = h;
        s->hooks = h;
        STORE(&h->state, HOOK_SET, RELAXED);
    }
    go_lck_unlock(&s->lock);
    rt_exit();
    return err;
}

bool
rt_ctx_hook_remove(struct rt_ctx_hook *h)
{
    bool removed;

    if (h->ctx == NULL)
        return true;
    (void)rt_enter();
    go_lck_lock(&h->ctx->lock, GO_LCK_CTX);
    removed = LOAD(&h->state, RELAXED) == HOOK_SET;
    if (removed) {
        hook_unlink_locked(h->ctx, h);
        STORE(&h->state, HOOK_IDLE, RELAXED);
    }
    go_lck_unlock(&h->ctx->lock);
    if (!removed)
        await_zero(&h->state);
    rt_exit();
    return removed;
}
