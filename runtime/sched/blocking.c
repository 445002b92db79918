/*
 * Blocking regions: the goroutine leaves its P where sysmon may take it, and gets it back
 * with one compare-and-swap if nobody did. No-park regions: a counter.
 */
#define _GNU_SOURCE
#include "runtime/sched/blocking.h"

#include <errno.h>

#include "runtime/sched/runq.h"

void
go_enter_blocking(void)
{
    struct go_m *m = rt_enter();
    struct go_g *g = m->g;
    struct go_p *p = m->p;

    if (g->foreign || g->blocking_n++ > 0 || p == NULL) {
        rt_exit();
        return;
    }
    STORE(&g->status, GO_SYSCALL, RELAXED);
    STORE(&g->since, rt_coarse(), RELAXED);
    rt_trace(RT_EV_BLOCK, g, NULL);
    BUMP(&p->calls, 1);
    m->old_p = p;
    m->left_as = p_in_region(LOAD(&p->calls, RELAXED));
    m->p = NULL;
    STORE(&p->status, m->left_as, RELEASE); /* from here sysmon may take it */
    /* sysmon may sleep for 10 ms; others should not wait that long for this P. */
    if (UNLIKELY(LOAD(&sched.sysmon_naps, RELAXED)) &&
        (!runq_empty(p) || LOAD(&p->timers.first, RELAXED) != GO_NEVER)) {
        STORE(&sched.sysmon_naps, 0, RELAXED);
        rt_sysmon_kick();
    }
    m->in_rt--;
}

/* p was taken from m, which left it in a region. If it stands in another M's region by now,
 * nobody uses it: take it over, as sysmon would (retake_blocked). The other one goes on
 * without a P, which must not look as if it were asleep; it comes back, sees that the P is
 * gone, and takes the lock to look for one: so that it is noted before. */
static bool
take_over(struct go_m *m, struct go_p *p)
{
    uint32_t status = LOAD(&p->status, RELAXED);
    bool taken;

    if ((status & P_STATUS) != P_SYSCALL)
        return false;
    go_lck_lock(&sched.lock, GO_LCK_SCHED);
    taken = CAS(&p->status, status, P_RUNNING, ACQUIRE);
    if (taken) {
        STORE(&LOAD(&p->m, RELAXED)->detached, true, RELAXED);
        ADD(&sched.ndetached, 1, SEQ_CST);
        STORE(&p->m, m, RELEASE); /* the monitor signals whom it finds here */
        m_attach(m);
    }
    go_lck_unlock(&sched.lock);
    if (taken) {
        rt_trace(RT_EV_HANDOFF, NULL, p);
        ADD(&sched.handoffs, 1, RELAXED);
        BUMP(&p->slice, 1);
    }
    return taken;
}

void
go_exit_blocking(void)
{
    struct go_m *m = rt_m();
    struct go_g *g;
    struct go_p *p;

    if (m == NULL || m->foreign)
        return;
    m->in_rt++;
    RT_BARRIER();
    g = m->g;
    if (g->blocking_n == 0)
        go_panic("go_exit_blocking without go_enter_blocking");
    if (--g->blocking_n > 0 || m->p != NULL) {
        rt_exit();
        return;
    }
    p = m->old_p;
    m->old_p = NULL;
    /* Acquire pairs with the release above and with sysmon's. */
    if (LIKELY(p != NULL && CAS(&p->status, m->left_as, P_RUNNING, ACQUIRE)) ||
        (p != NULL && take_over(m, p))) {
        m->p = p;
        STORE(&g->status, GO_RUNNING, RELAXED);
    } else if (g->nopark_n == 0) {
        p_reacquire(m);
    }
    rt_trace(RT_EV_UNBLOCK, g, NULL);
    rt_exit();
}

/* Not inlined, and opaque: compilers take the address of errno for constant in a function,
 * and ours may change between two statements (style.md, "Verified trap"). */
__attribute__((noinline)) int
go_errno_(void)
{
    __asm__ volatile("" ::: "memory");
    return errno;
}

void
go_nopark_begin(const char *name)
{
    struct go_m *m = rt_enter();

    if (!m->g->foreign) {
        m->g->nopark_n++;
        m->g->nopark_name = name;
    }
    rt_exit();
}

void
go_nopark_end(void)
{
    struct go_m *m = rt_enter();

    if (!m->g->foreign) {
        if (m->g->nopark_n == 0)
            go_panic("go_nopark_end without go_nopark_begin");
        m->g->nopark_n--;
    }
    rt_exit();
}
