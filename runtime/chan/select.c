/*
 * select, as Go's selectgo: lock all channels in address order, look for a ready case in
 * random order; if there is none, queue a waiter on each, park, and afterwards take the
 * losers out again.
 *
 * A waker claims g->select_won before it takes a select's waiter, so exactly one case wins.
 * The waiters live in the caller's case array: nothing is allocated.
 */
#define _GNU_SOURCE
#include "runtime/chan/select.h"

#include <errno.h>
#include <sched.h>

#include "runtime/chan/chan_impl.h"
#include "runtime/time/timer.h"

_Static_assert(sizeof(struct go_waiter) <= sizeof(((struct go_case *)0)->waiter_),
               "the waiter fits in its case");

static struct go_waiter *
waiter_of(struct go_case *c)
{
    return (struct go_waiter *)(void *)c->waiter_;
}

static bool
later(const struct go_case *v, uint32_t a, uint32_t b)
{
    return (uintptr_t)v[v[a].lock_order_].chan > (uintptr_t)v[v[b].lock_order_].chan;
}

static void
swap_order(struct go_case *v, uint32_t a, uint32_t b)
{
    uint16_t t = v[a].lock_order_;

    v[a].lock_order_ = v[b].lock_order_;
    v[b].lock_order_ = t;
}

static void
sift(struct go_case *v, uint32_t i, uint32_t n)
{
    for (;;) {
        uint32_t child = 2 * i + 1;

        if (child >= n)
            return;
        if (child + 1 < n && later(v, child + 1, child))
            child++;
        if (!later(v, child, i))
            return;
        swap_order(v, child, i);
        i = child;
    }
}

/* Random order to poll in, address order to lock in, of the cases with a channel. How many. */
static uint32_t
make_orders(struct go_case *v, uint32_t n)
{
    uint32_t used = 0;

    for (uint32_t i = 0; i < n; i++) {
        uint32_t j;

        if (v[i].chan == NULL)
            continue;
        chan_check(v[i].chan);
        j = used > 0 ? rt_random(used + 1) : 0;
        v[used].poll_order_ = v[j].poll_order_;
        v[j].poll_order_ = (uint16_t)i;
        v[used].lock_order_ = (uint16_t)i;
        used++;
    }
    if (used <= 4) { /* the common case: insertion sort */
        for (uint32_t i = 1; i < used; i++)
            for (uint32_t j = i; j > 0 && later(v, j - 1, j); j--)
                swap_order(v, j - 1, j);
        return used;
    }
    for (uint32_t i = used / 2; i-- > 0;)
        sift(v, i, used);
    for (uint32_t i = used; i-- > 1;) {
        swap_order(v, 0, i);
        sift(v, 0, i);
    }
    return used;
}

static void
lock_all(struct go_case *v, uint32_t used)
{
    struct go_m *m = rt_m();
    struct go_chan *last = NULL;

    for (uint32_t i = 0; i < used; i++) {
        struct go_chan *c = v[v[i].lock_order_].chan;

        if (c != last)
            bias_lock(&c->lock, m, GO_LCK_CHAN);
        last = c;
    }
}

static void
unlock_all(struct go_case *v, uint32_t used, bool parking)
{
    struct go_m *m = rt_m();
    struct go_chan *last = NULL;

    for (uint32_t i = used; i-- > 0;) {
        struct go_chan *c = v[v[i].lock_order_].chan;

        if (c != last && parking)
            bias_unlock_parking(&c->lock, m);
        else if (c != last)
            bias_unlock(&c->lock, m);
        last = c;
    }
}

/* Perform the first case in poll order that is ready: its index, or -EAGAIN. All locked;
 * *wake is whom to ready after unlocking, *closed says a send hit a closed channel. */
static int
try_all(struct go_case *v, uint32_t used, struct go_g **wake, bool *closed)
{
    *wake = NULL;
    *closed = false;
    for (uint32_t k = 0; k < used; k++) {
        int i = v[k].poll_order_;
        struct go_case *s = &v[i];

        if (s->op == GO_OP_RECV) {
            int r = chan_recv_locked(s->chan, s->elem, wake);

            if (r >= 0) {
                s->ok = r == 1;
                return i;
            }
        } else if (s->chan->closed) {
            *closed = true;
            return i;
        } else if (chan_send_locked(s->chan, s->elem, wake)) {
            return i;
        }
    }
    return -EAGAIN;
}

struct select_deadline {
    struct rt_timer timer;
    struct go_g *g;
    bool passed;
};

static void
on_deadline(struct rt_timer *t, int64_t now)
{
    struct select_deadline *d = t->arg;
    uint32_t open = 0;

    (void)now;
    if (__atomic_compare_exchange_n(&d->g->select_won, &open, 1, 0, __ATOMIC_ACQ_REL,
                                    __ATOMIC_RELAXED)) {
        d->passed = true;
        rt_ready(d->g);
    }
}

static void
enqueue_all(struct go_case *v, uint32_t used, struct go_g *g)
{
    STORE(&g->select_won, 0, RELAXED); /* published by the unlocks */
    for (uint32_t k = 0; k < used; k++) {
        struct go_case *s = &v[v[k].lock_order_];
        struct go_waiter *w = waiter_of(s);

        w->g = g;
        w->elem = s->elem;
        w->select = true;
        w->won = false;
        w->ok = false;
        waitq_push(s->op == GO_OP_RECV ? &s->chan->recvq : &s->chan->sendq, w);
    }
}

/* Take the losers out; the winner, or -ETIMEDOUT. Nothing is locked: the case was decided
 * when select_won was claimed, so `won` stands still, and each loser needs its own channel's
 * lock only. */
static int
dequeue_all(struct go_case *v, uint32_t used)
{
    struct go_m *m = rt_m();
    int won = -ETIMEDOUT;

    for (uint32_t k = 0; k < used; k++) {
        struct go_case *s = &v[v[k].lock_order_];
        struct go_waiter *w = waiter_of(s);

        if (w->won) { /* whoever claimed it took it out */
            won = v[k].lock_order_;
            continue;
        }
        bias_lock(&s->chan->lock, m, GO_LCK_CHAN);
        if (w->queue != NULL)
            waitq_remove(w->queue, w);
        bias_unlock(&s->chan->lock, m);
    }
    return won;
}

static int
wait_for_one(struct go_case *v, uint32_t used, int64_t deadline)
{
    struct select_deadline d = {.g = rt_m()->g};
    struct go_waiter *w;
    int won;

    enqueue_all(v, used, d.g);
    rt_park_prepare(used > 0 ? "select" : "select (no cases)");
    if (deadline != GO_NEVER) {
        d.timer.fn = on_deadline;
        d.timer.arg = &d;
        rt_timer_start(&d.timer, deadline);
    }
    unlock_all(v, used, true);
    rt_park_commit();
    if (deadline != GO_NEVER)
        rt_timer_stop_sync(&d.timer);

    won = dequeue_all(v, used);
    if (won < 0)
        return won;
    w = waiter_of(&v[won]);
    if (v[won].op == GO_OP_SEND) {
        if (!w->ok)
            go_panic("send on closed channel");
    } else {
        v[won].ok = w->ok; /* whoever woke us filled elem */
    }
    return won;
}

/* Named like a public function because it stands for one in dumps: those end in a jump to it. */
static int
go_select_(struct go_case *v, size_t n, bool block, int64_t deadline)
{
    struct go_g *wake;
    uint32_t used;
    bool closed;
    int i;

    if (UNLIKELY(n > UINT16_MAX))
        go_panic("select of %zu cases: at most %d", n, UINT16_MAX);
    (void)rt_enter();
    used = make_orders(v, (uint32_t)n);
    lock_all(v, used);
    i = try_all(v, used, &wake, &closed);
    if (i < 0 && block) {
        i = wait_for_one(v, used, deadline);
    } else {
        unlock_all(v, used, false);
        if (closed)
            go_panic("send on closed channel");
        if (wake != NULL)
            rt_ready(wake);
    }
    rt_exit();
    return i;
}

int
go_select(struct go_case *cases, size_t n)
{
    return go_select_(cases, n, true, GO_NEVER);
}

int
go_select_until(struct go_case *cases, size_t n, int64_t deadline)
{
    return go_select_(cases, n, true, deadline);
}

int
go_select_default(struct go_case *cases, size_t n)
{
    if (n == 1) { /* one case and a default is a try: no orders, no lock if not ready */
        int r;

        if (cases[0].op == GO_OP_SEND) {
            r = go_chan_try_send(cases[0].chan, cases[0].elem);
        } else {
            r = go_chan_try_recv(cases[0].chan, cases[0].elem);
            cases[0].ok = r == 1;
        }
        return r < 0 ? r : 0;
    }
    return go_select_(cases, n, false, GO_NEVER);
}
