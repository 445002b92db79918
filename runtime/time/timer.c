/* Sleeping, timers and tickers: see timer.h. */
#define _GNU_SOURCE
#include "runtime/time/timer.h"

#include <stdlib.h>

#include "runtime/chan/chan.h"
#include "runtime/sched/sched.h"

struct go_timer {
    struct rt_timer rt;
    struct go_chan *chan; /* NULL: calls fn */
    void (*fn)(void *);
    void *arg;
    struct go_lck lock; /* stop and reset against each other */
};

void
go_sleep_until(int64_t deadline)
{
    struct go_m *m = rt_enter();
    struct rt_timer t = {.fn = RT_TIMER_WAKES, .arg = m->g};

    rt_park_prepare("sleep");
    rt_timer_start(&t, deadline);
    rt_park_commit();
    rt_exit();
}

void
go_sleep(int64_t ns)
{
    if (ns > 0) {
        go_sleep_until(go_deadline(ns));
    } else {
        (void)rt_enter();
        rt_exit();
    }
}

static void
fire_channel(struct rt_timer *rt, int64_t now)
{
    struct go_timer *t = rt->arg;

    (void)go_chan_try_send(t->chan, &now); /* full: nobody took the last one; drop this */
}

static void
fire_func(struct rt_timer *rt, int64_t now)
{
    struct go_timer *t = rt->arg;

    (void)now;
    if (go(t->fn, t->arg) < 0)
        rt_fatal("out of memory for the goroutine of a timer");
}

static void
fire_after(struct rt_timer *rt, int64_t now)
{
    struct go_timer *t = rt->arg;

    (void)go_chan_try_send(t->chan, &now);
    go_chan_unref(t->chan);
    free(t);
}

static struct go_timer *
timer_new(void (*fire)(struct rt_timer *, int64_t), bool with_chan)
{
    struct go_timer *t = calloc(1, sizeof(*t));

    if (t == NULL)
        return NULL;
    if (with_chan && (t->chan = go_chan_new(sizeof(int64_t), 1)) == NULL) {
        free(t);
        return NULL;
    }
    t->rt.fn = fire;
    t->rt.arg = t;
    return t;
}

static void
arm(struct go_timer *t, int64_t when)
{
    (void)rt_enter();
    rt_timer_start(&t->rt, when);
    rt_exit();
}

struct go_chan *
go_after(int64_t ns)
{
    struct go_timer *t = timer_new(fire_after, true);
    struct go_chan *c;

    if (t == NULL)
        return NULL;
    t->rt.period = RT_TIMER_SELF_FREEING;
    c = go_chan_ref(t->chan);
    arm(t, go_deadline(ns > 0 ? ns : 0));
    return c;
}

struct go_timer *
go_timer_new(int64_t ns)
{
    struct go_timer *t = timer_new(fire_channel, true);

    if (t != NULL)
        arm(t, go_deadline(ns > 0 ? ns : 0));
    return t;
}

struct go_timer *
go_after_func(int64_t ns, void (*fn)(void *), void *arg)
{
    struct go_timer *t = timer_new(fire_func, false);

    if (t == NULL)
        return NULL;
    t->fn = fn;
    t->arg = arg;
    arm(t, go_deadline(ns > 0 ? ns : 0));
    return t;
}

struct go_timer *
go_ticker_new(int64_t period)
{
    struct go_timer *t;

    if (period <= 0)
        go_panic("non-positive period for go_ticker_new");
    t = timer_new(fire_channel, true);
    if (t == NULL)
        return NULL;
    t->rt.period = period;
    arm(t, go_deadline(period));
    return t;
}

struct go_chan *
go_timer_chan(struct go_timer *t)
{
    return t->chan;
}

/* Disarm and drop an element that was sent but not received. Under t->lock. */
static bool
quiet(struct go_timer *t)
{
    bool was_armed = rt_timer_stop_sync(&t->rt);
    int64_t stale;

    /* Fired, but nobody has seen it: for the caller that is still armed (Go 1.23). */
    if (t->chan != NULL && go_chan_try_recv(t->chan, &stale) == 1)
        was_armed = true;
    return was_armed;
}

bool
go_timer_stop(struct go_timer *t)
{
    bool was_armed;

    (void)rt_enter();
    go_lck_lock(&t->lock, GO_LCK_TIMER);
    was_armed = quiet(t);
    go_lck_unlock(&t->lock);
    rt_exit();
    return was_armed;
}

bool
go_timer_reset(struct go_timer *t, int64_t ns)
{
    bool was_armed;

    (void)rt_enter();
    go_lck_lock(&t->lock, GO_LCK_TIMER);
    was_armed = quiet(t);
    if (t->rt.period > 0) {
        if (ns <= 0)
            go_panic("non-positive period for go_timer_reset of a ticker");
        t->rt.period = ns;
    }
    rt_timer_start(&t->rt, go_deadline(ns > 0 ? ns : 0));
    go_lck_unlock(&t->lock);
    rt_exit();
    return was_armed;
}

void
go_timer_free(struct go_timer *t)
{
    if (t == NULL)
        return;
    (void)go_timer_stop(t);
    go_chan_unref(t->chan);
    free(t);
}
