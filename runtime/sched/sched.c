/*
 * What the scheduler does on a goroutine's own stack: park, ready, yield, exit.
 *
 * A goroutine that stops picks the next one itself and switches straight to it: one switch
 * of a few nanoseconds, no detour over the scheduler loop. Only when nothing is at hand, or
 * what is at hand needs waiting or a system call, does it switch to the loop (find.c) on
 * the thread's own stack.
 */
#define _GNU_SOURCE
#include "runtime/sched/sched.h"

#include <sched.h>

#include "runtime/mem/stack.h"
#include "runtime/sched/runq.h"
#include "runtime/sched/switch.h"
#include "runtime/sync/wg.h"

#define GLOBAL_EVERY 61  /* picks between looks at the global queue: as Go */
#define SHORT_RUN    250 /* ns */
#define POLL_EVERY   8   /* of those between looks at the netpoller */

struct sched sched = {.poll_until = GO_NEVER, .max_threads = 10000};

/* A P that never runs out of work looks at the netpoller all the same, rarely: it is a
 * system call. sysmon does so too, every 10 ms. */
static void
poll_busy(struct go_p *p)
{
    struct go_g *list = NULL, *g;

    if (LOAD(&rt_poll_waiters, RELAXED) == 0 || LOAD(&sched.polling, RELAXED) ||
        rt_poll(0, &list) == 0)
        return;
    while ((g = list) != NULL) {
        list = g->next;
        runq_put(p, g);
    }
    sched_wake_local(p);
}

/* Is it time to compare the clock with p's first timer? Reading it takes as long as some
 * goroutines run. Where they are that short, and several wait for their turn, every fourth
 * pick will do: that is a microsecond. */
static bool
clock_wanted(struct go_p *p)
{
    return rt_seeded || runq_len(p) < 4 || LOAD(&p->run_ns, RELAXED) >= SHORT_RUN ||
           (++p->clock_skips & 3) == 0;
}

/* The rarer duties of a pick: timers, the global queue, a slice that is over; all of it in
 * deterministic mode. NULL: go on with the local queue. */
struct go_g *
sched_pick_slow(struct go_m *m, struct go_p *p)
{
    int64_t first = LOAD(&p->timers.first, RELAXED);
    bool due = false;

    if (p->countdown == 0) {
        p->countdown = GLOBAL_EVERY;
        due = true;
    }
    if (UNLIKELY(LOAD(m->preempt, RELAXED)) && !rt_seeded) {
        struct go_g *next;

        STORE(m->preempt, 0, RELAXED);
        BUMP(&p->slice, 1);
        next = runq_get_next(p); /* its inherited slice is over too: to the back */
        if (next != NULL)
            runq_put(p, next);
    }
    if (first != GO_NEVER && clock_wanted(p)) {
        int64_t now = go_now();

        if (first <= now)
            first = timers_run(p, now);
        /* A sleeping poller that would oversleep our next timer: we may be busy by then.
         * At most once in 20 us, for this is a system call. */
        if (first < LOAD(&sched.poll_until, RELAXED) && LOAD(&sched.polling, RELAXED) &&
            now - LOAD(&sched.broke_at, RELAXED) > 20000) {
            STORE(&sched.broke_at, now, RELAXED);
            rt_poll_break();
        }
    }
    if (due && ++p->polls_due >= POLL_EVERY) {
        p->polls_due = 0;
        poll_busy(p);
    }
    if (UNLIKELY(rt_seeded)) {
        p->countdown = 1; /* every pick comes here */
        return seed_pick(p);
    }
    if (due && LOAD(&sched.gq_n, RELAXED) > 0)
        return gq_get(p, 1);
    return NULL;
}

/* Run something else: self is parked, runnable or dead. Returns when self runs again. */
static void
reschedule(struct go_m *m, struct go_g *self)
{
    struct go_p *p = m->p;
    uint32_t depth = m->in_rt;
    struct go_g *next = NULL;

    if (LIKELY(self->locked_m == NULL && !p_going(p)))
        next = sched_pick(m, p);
    if (next == self) { /* readied again before we had left */
        STORE(&self->status, GO_RUNNING, RELAXED);
        return;
    }
    rt_trace(RT_EV_STOP, self, self->reason);
    STORE(&self->m, NULL, RELAXED);
    if (LIKELY(next != NULL && switch_ready(m, next) &&
               (next->stack != NULL || stack_bind_cached(p, next)))) {
        switch_to_g(m, self, next);
    } else {
        m->next = next;
        switch_to_g0(m, self);
    }
    rt_m()->in_rt = depth;
}

_Noreturn static void
park_forbidden(struct go_g *g, const char *reason)
{
    if (g->nopark_n > 0)
        go_panic("goroutine would park (%s) in no-park region \"%s\"", reason,
                 g->nopark_name);
    go_panic("goroutine would park (%s) in a blocking region", reason);
}

static inline void
prepare(struct go_g *g, const char *reason)
{
    if (UNLIKELY(g->nopark_n | g->blocking_n | g->foreign)) {
        if (g->nopark_n | g->blocking_n)
            park_forbidden(g, reason);
        STORE(&g->futex, 0, RELAXED);
    }
    STORE(&g->reason, reason, RELAXED);
    STORE(&g->since, rt_coarse(), RELAXED);
    /* Published to wakers by the release of the lock that guards the waiter. */
    STORE(&g->status, GO_WAITING, RELAXED);
}

static void
foreign_wait(struct go_g *g)
{
    while (LOAD(&g->futex, ACQUIRE) == 0) /* pairs with the release in rt_ready */
        futex_wait(&g->futex, 0, -1);
    STORE(&g->status, GO_RUNNING, RELAXED);
}

static inline void
commit(struct go_m *m, struct go_g *g)
{
    if (UNLIKELY(g->foreign)) {
        foreign_wait(g);
        return;
    }
    BUMP(&m->p->count.parked, 1);
    reschedule(m, g);
}

void
rt_park_prepare(const char *reason)
{
    prepare(rt_m()->g, reason);
}

void
rt_park_commit(void)
{
    struct go_m *m = rt_m();

    commit(m, m->g);
}

void
rt_park(struct go_lck *lock, const char *reason)
{
    struct go_m *m = rt_m();
    struct go_g *g = m->g;

    prepare(g, reason);
    if (lock != NULL)
        go_lck_unlock(lock);
    commit(m, g);
}

static void
mark_runnable(struct go_g *g)
{
    STORE(&g->status, GO_RUNNABLE, RELAXED);
    rt_trace(RT_EV_WAKE, g, NULL);
}

void
rt_ready(struct go_g *g)
{
    struct go_p *p = rt_m()->p;

    if (UNLIKELY(g->foreign)) {
        STORE(&g->futex, 1, RELEASE);
        futex_wake(&g->futex); /* by address: the thread may be gone already */
        return;
    }
    mark_runnable(g);
    if (LIKELY(p != NULL)) {
        runq_put_next(p, g);
    } else {
        gq_put(g);
        sched_wake();
    }
}

void
rt_ready_all(struct go_g *const *v, uint32_t n)
{
    struct go_p *p = rt_m()->p;

    for (uint32_t i = 0; i < n; i++) {
        if (UNLIKELY(v[i]->foreign || p == NULL)) {
            rt_ready(v[i]);
            continue;
        }
        mark_runnable(v[i]);
        runq_put(p, v[i]);
    }
    if (p != NULL) {
        full_fence(); /* between "queued" and "is anybody idle?": see find.c */
        sched_wake_local(p);
    }
}

void
rt_ready_to_list(struct go_g *g, struct go_g **list)
{
    mark_runnable(g);
    g->next = *list;
    *list = g;
}

void
go_park_soon(int few)
{
    struct go_m *m = rt_enter();
    struct go_p *p = m->p;

    if (p != NULL) {
        p->parks_soon = LOAD(&p->count.switches, RELAXED) + 1;
        p->soon_few = few;
    }
    rt_exit();
}

void
go_yield(void)
{
    struct go_m *m = rt_enter();
    struct go_g *g = m->g;

    if (UNLIKELY(m->p ==
                 NULL)) { /* foreign, blocking or no-park: let the kernel choose */
        rt_exit();
        sched_yield();
        return;
    }
    STORE(&g->status, GO_RUNNABLE, RELAXED);
    STORE(&g->reason, NULL, RELAXED);
    runq_put(m->p, g);
    reschedule(m, g);
    rt_exit();
}

/* The slice is over: to the back of the global queue, behind everybody. */
void
rt_exit_preempted_(void)
{
    struct go_m *m = rt_m();
    struct go_g *g = m->g;

    m->in_rt++; /* before the look at p: from here the signal leaves it alone */
    RT_BARRIER();
    if (UNLIKELY(rt_seeded)) {
        if (m->p == NULL || g->nopark_n > 0 || !seed_flip(4)) {
            m->in_rt--;
            return;
        }
    } else {
        STORE(m->preempt, 0, RELAXED);
    }
    if (m->p == NULL || g == NULL || g->nopark_n > 0) {
        m->in_rt--;
        return;
    }
    BUMP(&m->p->count.preempted, 1);
    BUMP(&m->p->slice, 1);
    STORE(&g->reason, NULL, RELAXED);
    STORE(&g->status, GO_RUNNABLE, RELAXED);
    m->g0_requeue = true;
    STORE(&g->m, NULL, RELAXED);
    rt_trace(RT_EV_STOP, g, "preempted");
    switch_to_g0(m, g);
    rt_m()->in_rt = 0;
}

void
go_checkpoint_slow_(void)
{
    (void)rt_enter();
    rt_exit();
}

int64_t
go_id(void)
{
    struct go_m *m = rt_m();

    return m == NULL || m->g == NULL || m->g->foreign ? 0 : m->g->id;
}

/* Turn g, which just ended, into the next new goroutine on the same stack: no switch at
 * all. NULL if what is next is not of that kind; then it is m->next. */
static struct go_g *
run_next_here(struct go_m *m, struct go_g *g)
{
    struct go_p *p = m->p;
    struct go_g *next;

    if (GO_ASAN || GO_TSAN || g->locked_m != NULL || p_going(p))
        return NULL;
    next = sched_pick(m, p);
    if (next == NULL)
        return NULL;
    if (next->stack != NULL || next->locked_m != NULL ||
        next->size_class != g->size_class) {
        m->next = next;
        return NULL;
    }
    rt_trace(RT_EV_END, g, NULL);
    stack_pass_on(g, next);
    STORE(&g->m, NULL, RELAXED);
    STORE(&g->on_cpu, 0, RELEASE);
    STORE(&g->status, GO_DEAD, RELAXED);
    rt_free_record(p, g);
    switch_in(m, next);
    return next;
}

/* g ended and something with a context of its own is next, or nothing. */
static void
leave_for_good(struct go_m *m, struct go_g *g)
{
    struct go_p *p = m->p;
    struct go_g *next = m->next;

    rt_trace(RT_EV_END, g, NULL);
    if (g->locked_m != NULL) {
        g->locked_m->locked_g = NULL;
        g->locked_m = NULL;
        g->locked_n = 0;
    }
    STORE(&g->m, NULL, RELAXED);
    STORE(&g->status, GO_DEAD, RELAXED);
    if (next != NULL && switch_ready(m, next) &&
        (next->stack != NULL || stack_bind_cached(p, next))) {
        m->next = NULL;
        switch_to_g(m, g, next);
    } else {
        switch_to_g0(m, g);
    }
    __builtin_unreachable();
}

/* What must happen on the goroutine itself once its function returned. */
void
rt_epilogue(struct go_g *g)
{
    struct go_wg *wg = g->wg;

    if (UNLIKELY(g->nopark_n | g->blocking_n))
        go_panic("goroutine returned inside a %s region",
                 g->nopark_n > 0 ? "no-park" : "blocking");
    if (g->defers != NULL)
        rt_run_defers(g);
    if (g->arena != NULL)
        rt_free_arena(g);
    if (wg != NULL)
        go_wg_done(wg);
}

/* Every goroutine starts here, on its own fresh stack, and never returns. */
void
rt_goroutine_(void)
{
    struct go_m *m;
    struct go_g *g;

#if GO_ASAN
    __sanitizer_finish_switch_fiber(NULL, NULL, NULL);
#endif
    switch_done();
    g = rt_m()->g;
    for (;;) {
        m = rt_m();
        m->in_rt = 1;
        rt_exit();
        g->fn(g->args[0], g->args[1], g->args[2], g->args[3], g->args[4], g->args[5]);
        rt_epilogue(g);
        m = rt_enter();
        BUMP(&m->p->count.ended, 1);
        g = run_next_here(m, g);
        if (g == NULL)
            break;
    }
    m = rt_m();
    leave_for_good(m, m->g);
}
