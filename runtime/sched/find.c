/*
 * The scheduler loop: runs on each thread's own stack whenever no goroutine does.
 *
 * Look for work in this order: the local queue and timers, the global queue, the netpoller,
 * other Ps' queues (spinning), other Ps' timers. Then give the P back and sleep, in the
 * netpoller if there is anything to wait for and nobody waits there yet, else on a futex.
 *
 * The wake-up protocol ("submit and park races", as in Go's proc.go)
 *
 *   submit:  (1) queue the work          park:  (1) put the P on the idle list, drop
 *            (2) full barrier                       nmspinning
 *            (3) idle P and nobody              (2) full barrier
 *                spinning? wake one M           (3) look at all queues once more
 *
 * Whichever barrier comes later, its side sees the other's (1): work is never left queued
 * with all Ms asleep. A spinning M that finds work wakes another spinner when it was the
 * last one, so that one wake-up per burst is enough.
 *
 * Timers follow the same pattern with poll_until in the place of the idle list: a P that
 * goes idle publishes its timers first and then compares with poll_until; the poller
 * publishes poll_until first and then computes the minimum once more.
 */
#define _GNU_SOURCE
#include <sched.h>
#include <stdio.h>
#include <time.h>

#include "runtime/mem/stack.h"
#include "runtime/sched/runq.h"
#include "runtime/sched/switch.h"

#define STEAL_PASSES 4
#define SLEEP_COST   4000 /* ns: into the kernel and back */

static void
spin_start(struct go_m *m)
{
    m->spinning = true;
    ADD(&sched.nmspinning, 1, SEQ_CST);
}

/* This M found work: it spins no more; the last one sees to a successor. */
static void
spin_end(struct go_m *m)
{
    if (!m->spinning)
        return;
    m->spinning = false;
    if (ADD(&sched.nmspinning, -1, SEQ_CST) == 0)
        sched_wake();
}

/* Queue a list of goroutines that the netpoller made runnable. Returns the first. */
static struct go_g *
take_polled(struct go_p *p, struct go_g *list)
{
    struct go_g *first = list, *g, *next;

    if (first == NULL)
        return NULL;
    for (g = first->next; g != NULL; g = next) {
        next = g->next;
        if (p != NULL)
            runq_put(p, g);
        else
            gq_put(g);
    }
    if (first->next != NULL)
        sched_wake();
    return first;
}

/* One look at every other P's queue, in random order; timers and runnext on the last pass
 * only, for their owner is likely to get there first. */
static struct go_g *
steal(struct go_m *m, struct go_p *p)
{
    struct go_g *g = NULL;

    for (int pass = 0; pass < STEAL_PASSES; pass++) {
        uint32_t n = LOAD(&sched.nallp, ACQUIRE);
        uint32_t start = rt_random(n);
        bool last = pass == STEAL_PASSES - 1;

        for (uint32_t i = 0; i < n; i++) {
            struct go_p *victim = sched.allp[(start + i) % n];
            uint32_t got;

            if (victim == p)
                continue;
            if (last && LOAD(&victim->timers.first, RELAXED) != GO_NEVER) {
                int64_t now = go_now();

                if (LOAD(&victim->timers.first, RELAXED) <= now) {
                    timers_run(victim, now); /* readies into our queue */
                    if ((g = sched_pick(m, p)) != NULL)
                        return g;
                }
            }
            got = runq_steal(p, victim, last, &g);
            if (got > 0) {
                BUMP(&p->count.steals, got);
                rt_trace(RT_EV_STEAL, g, (void *)(uintptr_t)got);
                return g;
            }
        }
    }
    return NULL;
}

/* Is there work anywhere? For the second look after giving the P up. */
static bool
work_anywhere(void)
{
    uint32_t n = LOAD(&sched.nallp, ACQUIRE);

    if (LOAD(&sched.gq_n, SEQ_CST) > 0)
        return true;
    for (uint32_t i = 0; i < n; i++)
        if (!runq_empty(sched.allp[i]))
            return true;
    return false;
}

static struct go_p *
idle_p(void)
{
    struct go_p *p;

    go_lck_lock(&sched.lock, GO_LCK_SCHED);
    p = p_idle_get_locked();
    go_lck_unlock(&sched.lock);
    return p;
}

/* Sleep in the netpoller, without a P, until an fd, a timer or a break. Returns with a P
 * and perhaps a goroutine in *ret; false: no P could be had, sleep on the futex. */
static bool
poll_and_sleep(struct go_m *m, struct go_g **ret)
{
    struct go_g *list = NULL;
    int64_t until = timers_first();
    struct go_p *p;

    /* Publish before the final look: see the head of this file. */
    STORE(&sched.poll_until, until, SEQ_CST);
    until = timers_first();
    STORE(&sched.poll_until, until, SEQ_CST);
    if (work_anywhere())
        until = 0;
    if (rt_seeded)
        seed_idle(until, &list);
    else
        rt_poll(until, &list);
    ADD(&sched.polls, 1, RELAXED);
    STORE(&sched.poll_until, GO_NEVER, RELAXED);
    ADD(&sched.ndetached, 1, SEQ_CST); /* what was found is in no queue yet */
    STORE(&sched.polling, 0, SEQ_CST);
    STORE(&sched.coarse, go_now(), RELAXED);

    p = idle_p();
    if (p == NULL) {
        struct go_g *first = take_polled(NULL, list);

        if (first != NULL) {
            gq_put(first);
            sched_wake(); /* a P may have gone idle since we asked */
        }
        ADD(&sched.ndetached, -1, SEQ_CST);
        return false;
    }
    p_acquire(m, p);
    ADD(&sched.ndetached, -1, SEQ_CST);
    *ret = take_polled(p, list);
    if (*ret == NULL)
        spin_start(m);
    return true;
}

static bool
poll_wanted(void)
{
    return LOAD(&rt_poll_waiters, SEQ_CST) > 0 || timers_first() != GO_NEVER;
}

/* Nothing to do: give the P up and sleep. Returns with a P; *ret may be set. leaving: there
 * is something to do, in the global queue, but another P runs that shall do it (crowd.c); if
 * that one goes idle it looks there under the same lock. */
static void
go_idle(struct go_m *m, struct go_g **ret, bool leaving)
{
    bool was_spinning = m->spinning;
    struct go_p *p = m->p, *other;

    stack_flush(p);
    go_lck_lock(&sched.lock, GO_LCK_SCHED);
    if (leaving ? sched.npidle + 1 >= LOAD(&sched.maxprocs, RELAXED) : sched.gq_n > 0) {
        go_lck_unlock(&sched.lock);
        return;
    }
    (void)p_release(m);
    p_idle_put_locked(p);
    go_lck_unlock(&sched.lock);

    if (was_spinning) {
        m->spinning = false;
        ADD(&sched.nmspinning, -1, SEQ_CST);
    }
    full_fence();
    if (!leaving && work_anywhere()) {
        other = idle_p();
        if (other != NULL) {
            p_acquire(m, other);
            spin_start(m);
            return;
        }
    }
    if (rt_seeded) {
        go_lck_lock(&sched.lock, GO_LCK_SCHED);
        rt_check_deadlock_locked();
        go_lck_unlock(&sched.lock);
    }
    if (poll_wanted()) {
        if (SWAP(&sched.polling, 1, SEQ_CST) == 0) {
            if (poll_and_sleep(m, ret))
                return;
        } else if (timers_first() < LOAD(&sched.poll_until, SEQ_CST)) {
            rt_poll_break();
        }
    }
    m_stop(m);
}

/* A non-blocking look at the netpoller. */
static struct go_g *
poll_now(struct go_p *p)
{
    struct go_g *list = NULL;

    if (LOAD(&rt_poll_waiters, RELAXED) == 0 || LOAD(&sched.polling, RELAXED))
        return NULL;
    if (rt_poll(0, &list) == 0)
        return NULL;
    return take_polled(p, list);
}

/* May one more M spin? At most half as many as there are busy Ps. */
static bool
may_spin(const struct go_m *m)
{
    return m->spinning ||
           2 * LOAD(&sched.nmspinning, RELAXED) <
               LOAD(&sched.maxprocs, RELAXED) - LOAD(&sched.npidle, RELAXED);
}

/* Is p's next timer due within the time that going to sleep and waking up would take? */
static bool
timer_near(const struct go_p *p)
{
    int64_t first = LOAD(&p->timers.first, RELAXED);

    return first != GO_NEVER && !rt_seeded && first - go_now() < SLEEP_COST;
}

/* Find a goroutine to run, sleeping until there is one. Returns with a P. */
static struct go_g *
find_runnable(struct go_m *m)
{
    struct go_g *g = NULL;

    for (;;) {
        struct go_p *p = m->p;

        if (p == NULL) {
            m_stop(m);
            continue;
        }
        if (m->next != NULL) {
            g = m->next;
            m->next = NULL;
            return g;
        }
        if (p_surplus(p)) {
            p_retire(m);
            continue;
        }
        if (UNLIKELY(p->leave)) {
            p->leave = false;
            p_empty(p);
            g = NULL;
            go_idle(m, &g, true);
            if (g != NULL)
                return g;
            continue;
        }
        if ((g = sched_pick(m, p)) != NULL)
            return g;
        if (LOAD(&sched.gq_n, RELAXED) > 0 && (g = gq_get(p, GO_RUNQ_SIZE / 2)) != NULL)
            return g;
        if ((g = poll_now(p)) != NULL)
            return g;
        if (may_spin(m)) {
            if (!m->spinning)
                spin_start(m);
            if ((g = steal(m, p)) != NULL)
                return g;
        }
        if (timer_near(p)) { /* sleeping would take longer than waiting for it */
            cpu_relax();
            continue;
        }
        g = NULL;
        go_idle(m, &g, false);
        if (g != NULL)
            return g;
    }
}

/* g belongs to another thread: give that thread our P and wait for a new one. */
static void
run_on_its_thread(struct go_m *m, struct go_g *g)
{
    struct go_m *owner = g->locked_m;
    struct go_p *p = p_release(m);

    owner->next_g = g;
    m_wake(owner, p);
    m_stop(m);
}

/* This thread's own goroutine stopped: nobody else runs here. Pass the P on and wait until
 * somebody brings one for it. What is next on the P may be tied to a thread, too, or be our
 * own again: then the P goes straight there. */
static void
wait_for_own(struct go_m *m)
{
    struct go_g *g = sched_pick(m, m->p);
    struct go_p *p;

    ENSURE(m->next == NULL);
    if (g != NULL && g->locked_m == m) {
        m->next = g;
        return;
    }
    if (g != NULL && g->locked_m != NULL) {
        run_on_its_thread(m, g);
        return;
    }
    if (g != NULL)
        runq_put_next(m->p, g);
    p = p_release(m);
    p_hand_off(p);
    m_stop(m);
}

/* Run g, picked, until it or one that it switched to directly comes back here. */
static void
execute(struct go_m *m, struct go_g *g)
{
    if (g->stack == NULL && stack_bind(m->p, g) < 0) {
        /* No memory for a stack now: others may end and leave theirs. */
        struct timespec nap = {.tv_nsec = 1000000};
        static uint32_t said;

        if (SWAP(&said, 1, RELAXED) == 0)
            (void)fputs(
                "goroutine: no memory for another stack: goroutines that have not "
                "run wait until others end\n",
                stderr);
        gq_put(g);
        nanosleep(&nap, NULL);
        return;
    }
    while (LOAD(&g->on_cpu, ACQUIRE) != 0) /* see switch.h; a moment */
        cpu_relax();
    m->prev = NULL;
    switch_in(m, g);
    switch_raw(&m->g0_sp, g->sp, (const void *)g->stack->lo, g->stack->hi - g->stack->lo,
               g->stack->fiber, false);
}

/* A goroutine has switched here: complete what it asked for. */
static void
come_back(struct go_m *m)
{
    struct go_g *prev = m->prev;
    bool requeue = m->g0_requeue;
    bool tied = prev != NULL && prev->locked_m == m;

    m->in_rt = 1;
    m->g0_requeue = false;
    switch_done(); /* from here prev may run elsewhere, unless we queue it */
    if (requeue) {
        gq_put(prev);
        m_attach(m);  /* only now that it is queued: it was nowhere before */
        sched_wake(); /* if it found no P: one may have gone idle since */
    }
    if (m->p == NULL) /* it lost its P and found none */
        m_stop(m);
    else if (tied && m->locked_g == prev)
        wait_for_own(m);
}

void
rt_g0_loop(struct go_m *m)
{
    struct go_g *g;

    m->in_rt = 1;
    if (m->p == NULL)
        m_stop(m);
    for (;;) {
        g = find_runnable(m);
        spin_end(m);
        if (g->locked_m != NULL && g->locked_m != m) {
            run_on_its_thread(m, g);
            continue;
        }
        execute(m, g);
        come_back(m);
    }
}
