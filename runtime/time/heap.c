/*
 * Timers: a 4-ary heap per P, each with its lock, so that arming and disarming touch
 * nothing shared. Whoever picks the next goroutine for a P first fires what is due there; an
 * M that looks for work fires the others'; the netpoller sleeps no longer than the earliest.
 *
 * Most timers are deadlines, and most deadlines are cancelled: arming one that lies behind
 * the others appends, and disarming the last one pops, both without a comparison chain.
 *
 * t->owner says in whose heap t stands. It changes under that heap's lock only, so whoever
 * holds the lock and still sees the same owner may remove t.
 */
#define _GNU_SOURCE
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/sched/sched.h"

#define ARITY 4
#define WAKES 16 /* sleepers woken at once: the lock is held for about a microsecond */

_Static_assert(ARITY * sizeof(struct timer_node) == CACHE_LINE, "see heap_grow");

/* --- the heap; under its lock --------------------------------------------------------------- */

static void
place(struct timers *h, uint32_t i, struct timer_node node)
{
    h->v[i] = node;
    node.t->index = i;
}

static void
sift_up(struct timers *h, uint32_t i, struct timer_node node)
{
    while (i > 0) {
        uint32_t up = (i - 1) / ARITY;

        if (h->v[up].when <= node.when)
            break;
        place(h, i, h->v[up]);
        i = up;
    }
    place(h, i, node);
}

static void
sift_down(struct timers *h, uint32_t i, struct timer_node node)
{
    for (;;) {
        uint32_t child = i * ARITY + 1, least = child;

        if (child >= h->n)
            break;
        for (uint32_t c = child + 1; c < child + ARITY && c < h->n; c++)
            if (h->v[c].when < h->v[least].when)
                least = c;
        if (h->v[least].when >= node.when)
            break;
        place(h, i, h->v[least]);
        i = least;
    }
    place(h, i, node);
}

static void
publish_first(struct timers *h)
{
    int64_t first = h->n > 0 ? h->v[0].when : GO_NEVER;

    if (first != LOAD(&h->first, RELAXED))
        STORE(&h->first, first, RELEASE);
}

/* The children of a node, v[4i + 1 .. 4i + 4], lie in one cache line. */
static bool
heap_grow(struct timers *h, uint32_t cap)
{
    enum { BEFORE = ARITY - 1 };
    struct timer_node *v =
        aligned_alloc(CACHE_LINE, (BEFORE + cap + 1) * sizeof(*v)); /* cap % 4 == 0 */

    if (v == NULL)
        return false;
    v += BEFORE;
    if (h->v != NULL) {
        memcpy(v, h->v, h->n * sizeof(*v));
        free(h->v - BEFORE);
    }
    h->v = v;
    h->cap = cap;
    return true;
}

static void
heap_add(struct timers *h, struct rt_timer *t)
{
    if (UNLIKELY(h->n == h->cap)) {
        uint32_t cap = h->cap > 0 ? h->cap * 2 : 64;

        if (!heap_grow(h, cap))
            rt_fatal("out of memory for %u timers", cap);
    }
    STORE(&h->n, h->n + 1, RELAXED);
    sift_up(h, h->n - 1, (struct timer_node){t->when, t});
    publish_first(h);
}

static void
heap_remove(struct timers *h, uint32_t i)
{
    struct timer_node last = h->v[h->n - 1];

    STORE(&h->n, h->n - 1, RELAXED);
    if (i < h->n) {
        if (i > 0 && last.when < h->v[(i - 1) / ARITY].when)
            sift_up(h, i, last);
        else
            sift_down(h, i, last);
    }
    if (i == 0)
        publish_first(h);
}

/* --- arming ------------------------------------------------------------------------------------- */

/* A timer was armed by a thread without a P: nobody on the way would notice it. The fence
 * stands between "the timer is there" and "does anybody poll or spin?"; the other side's is
 * in go_idle(). Without it an M that goes to sleep may miss the timer while we count on it
 * for a spinning one. */
static void
tell_poller(int64_t when)
{
    full_fence();
    if (LOAD(&sched.polling, SEQ_CST)) {
        if (when < LOAD(&sched.poll_until, SEQ_CST))
            rt_poll_break();
    } else {
        sched_wake();
    }
}

void
rt_timer_start(struct rt_timer *t, int64_t when)
{
    struct go_p *mine = rt_m()->p;
    struct go_p *p = mine != NULL ? mine : sched.allp[0];

    t->when = when;
    go_lck_lock(&p->timers.lock, GO_LCK_HEAP);
    STORE(&t->owner, p, RELAXED);
    heap_add(&p->timers, t);
    go_lck_unlock(&p->timers.lock);
    if (UNLIKELY(mine == NULL))
        tell_poller(when);
}

bool
rt_timer_stop(struct rt_timer *t)
{
    struct go_p *p;

    /* Acquire pairs with the release in timers_run(): whoever finds it disarmed sees that it
     * fires (rt_timer_stop_sync). */
    while ((p = LOAD(&t->owner, ACQUIRE)) != NULL) {
        go_lck_lock(&p->timers.lock, GO_LCK_HEAP);
        if (LOAD(&t->owner, RELAXED) == p) {
            heap_remove(&p->timers, t->index);
            STORE(&t->owner, NULL, RELAXED);
            go_lck_unlock(&p->timers.lock);
            return true;
        }
        go_lck_unlock(&p->timers.lock); /* it fired or moved meanwhile */
    }
    return false;
}

bool
rt_timer_stop_sync(struct rt_timer *t)
{
    bool stopped = rt_timer_stop(t);
    int rounds = 0;

    /* Acquire pairs with the release after fn: what fn did is seen. */
    while (LOAD(&t->firing, ACQUIRE) != 0) {
        if (++rounds < 1000)
            cpu_relax();
        else
            sched_yield();
    }
    return stopped;
}

/* --- firing ------------------------------------------------------------------------------------- */

/* Take up to WAKES sleepers out of h from its top, as long as they are due; their goroutines
 * in v, how many. Under the lock. */
static uint32_t
take_sleepers(struct timers *h, int64_t now, struct go_g **v)
{
    uint32_t n = 0;

    while (n < WAKES && h->n > 0 && h->v[0].when <= now &&
           h->v[0].t->fn == RT_TIMER_WAKES) {
        struct rt_timer *t = h->v[0].t;

        v[n++] = t->arg;
        heap_remove(h, 0);
        STORE(&t->owner, NULL, RELAXED);
    }
    return n;
}

/* Fire what is due in p's heap, which need not be the caller's; when the next one is. */
int64_t
timers_run(struct go_p *p, int64_t now)
{
    struct timers *h = &p->timers;

    for (;;) {
        struct go_p *mine = rt_m()->p;
        struct go_g *sleepers[WAKES];
        struct rt_timer *t;
        uint32_t n;
        bool mark;

        go_lck_lock(&h->lock, GO_LCK_HEAP);
        n = take_sleepers(h, now, sleepers);
        if (n > 0) {
            go_lck_unlock(&h->lock);
            if (mine != NULL)
                BUMP(&mine->count.timers, n);
            rt_ready_all(sleepers, n);
            continue;
        }
        if (h->n == 0 || h->v[0].when > now) {
            int64_t first = h->n > 0 ? h->v[0].when : GO_NEVER;

            go_lck_unlock(&h->lock);
            return first;
        }
        t = h->v[0].t;
        if (t->period > 0) {
            t->when += t->period * (1 + (now - t->when) / t->period);
            sift_down(h, 0, (struct timer_node){t->when, t});
            publish_first(h);
        } else {
            heap_remove(h, 0);
        }
        /* Before owner: whoever finds it disarmed must see that it fires. A timer that
         * frees itself is not touched after fn. */
        mark = t->period != RT_TIMER_SELF_FREEING;
        if (mark)
            ADD(&t->firing, 1, RELAXED);
        if (t->period <= 0)
            STORE(&t->owner, NULL, RELEASE);
        go_lck_unlock(&h->lock);
        if (mine != NULL)
            BUMP(&mine->count.timers, 1);
        t->fn(t, now);
        if (mark)
            ADD(&t->firing, -1, RELEASE);
    }
}

int64_t
timers_first(void)
{
    uint32_t n = LOAD(&sched.nallp, ACQUIRE);
    int64_t first = GO_NEVER;

    for (uint32_t i = 0; i < n; i++) {
        int64_t when = LOAD(&sched.allp[i]->timers.first, SEQ_CST);

        if (when < first)
            first = when;
    }
    return first;
}

uint32_t
timers_count(void)
{
    uint32_t n = LOAD(&sched.nallp, ACQUIRE), count = 0;

    for (uint32_t i = 0; i < n; i++)
        count += LOAD(&sched.allp[i]->timers.n, RELAXED);
    return count;
}

/* from retires: its timers go to to, whose id is lower. */
void
timers_move(struct go_p *from, struct go_p *to)
{
    go_lck_lock(&to->timers.lock, GO_LCK_HEAP);
    go_lck_lock(&from->timers.lock, GO_LCK_HEAP);
    while (from->timers.n > 0) {
        struct rt_timer *t = from->timers.v[from->timers.n - 1].t;

        heap_remove(&from->timers, from->timers.n - 1);
        STORE(&t->owner, to, RELAXED);
        heap_add(&to->timers, t);
    }
    publish_first(&from->timers);
    go_lck_unlock(&from->timers.lock);
    go_lck_unlock(&to->timers.lock);
    tell_poller(LOAD(&to->timers.first, RELAXED));
}
