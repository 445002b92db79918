/*
 * The watchdog: a thread without a P that takes Ps from goroutines that keep them too long,
 * and sees to everything that must happen even when all Ps are busy.
 *
 * It sleeps 20 us between rounds while it finds something to do, doubling to 10 ms after
 * 1 ms of nothing, and for as long as all is idle. Entering a blocking region while others
 * wait wakes it from its longer sleeps (blocking.c), so the 20 us hold from the first call.
 */
#define _GNU_SOURCE
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "runtime/base/thread.h"
#include "runtime/debug/internal.h"
#include "runtime/mem/stack.h"
#include "runtime/sched/runq.h"

#define STACK_BYTES ((size_t)256 << 10)

#define NAP_MIN     20000 /* ns */
#define NAP_MAX     10000000
#define IDLE_ROUNDS 50                     /* at NAP_MIN before backing off */
#define SLICE       (10 * GO_MILLISECOND)  /* a goroutine's turn */
#define GRACE       (GO_MILLISECOND)       /* from the flag to the signal */
#define POLL_LAG    (10 * GO_MILLISECOND)  /* busy Ps do not poll */
#define SKIP_NAP    (100 * GO_MICROSECOND) /* wake-ups are being skipped */
#define SCAVENGE    (100 * GO_MILLISECOND)

void
rt_sysmon_kick(void)
{
    ADD(&sched.sysmon_word, 1, RELEASE);
    futex_wake(&sched.sysmon_word);
}

static bool
others_wait(const struct go_p *p, int64_t now)
{
    return !runq_empty(p) || LOAD(&sched.gq_n, RELAXED) > 0 ||
           LOAD(&p->timers.first, RELAXED) <= now;
}

/* A nap no longer than until the first timer of a P whose M is in a blocking region: nobody
 * else looks after those. */
static int64_t
nap_limit(int64_t now, int64_t nap)
{
    uint32_t n = LOAD(&sched.nallp, ACQUIRE);

    for (uint32_t i = 0; i < n; i++) {
        const struct go_p *p = sched.allp[i];
        int64_t left = LOAD(&p->timers.first, RELAXED) - now;

        if ((LOAD(&p->status, RELAXED) & P_STATUS) == P_SYSCALL && left < nap)
            nap = left > NAP_MIN ? left : NAP_MIN;
    }
    return nap;
}

/* p's M is in a blocking region. Take p away if it has been for a round and somebody wants
 * it, or if there is nobody else to look after new work. */
static bool
retake_blocked(struct go_p *p, int64_t now)
{
    uint32_t calls = LOAD(&p->calls, RELAXED);
    struct go_m *m;

    if (calls != p->seen_calls) {
        p->seen_calls = calls;
        p->seen_calls_at = now;
        return others_wait(p, now);
    }
    if (now - p->seen_calls_at < NAP_MIN)
        return true;
    if (!others_wait(p, now) &&
        LOAD(&sched.nmspinning, RELAXED) + LOAD(&sched.npidle, RELAXED) > 0 &&
        now - p->seen_calls_at < SLICE)
        return false;
    go_lck_lock(&sched.lock, GO_LCK_SCHED);
    /* Whoever swaps SYSCALL away owns the P: we, the M coming back, or one that takes over. */
    if (!CAS(&p->status, p_in_region(calls), P_IDLE, ACQUIRE)) {
        go_lck_unlock(&sched.lock);
        return true;
    }
    m = LOAD(&p->m, RELAXED); /* not before: the P was not ours, and may have moved on */
    STORE(&m->detached, true, RELAXED);
    ADD(&sched.ndetached, 1, SEQ_CST);
    go_lck_unlock(&sched.lock);
    rt_trace(RT_EV_HANDOFF, NULL, p);
    STORE(&p->m, NULL, RELAXED);
    BUMP(&p->calls, 1);
    ADD(&sched.handoffs, 1, RELAXED);
    p_hand_off(p);
    return true;
}

/* p runs a goroutine. Flag it when its slice is over; signal it when the flag went unseen,
 * unless it has been in blocking regions meanwhile: then it will see the flag, and its
 * system calls are spared the EINTR. */
static bool
retake_running(struct go_p *p, int64_t now)
{
    uint32_t slice = LOAD(&p->slice, RELAXED), calls = LOAD(&p->calls, RELAXED);
    struct go_m *m;

    if (calls != p->seen_run_calls || slice != p->seen_slice) {
        p->seen_run_calls = calls;
        p->seen_run_at = now;
    }
    if (slice != p->seen_slice) {
        p->seen_slice = slice;
        p->seen_slice_at = now;
        return false;
    }
    if (now - p->seen_slice_at < SLICE)
        return false;
    m = LOAD(&p->m, ACQUIRE); /* pairs with p_acquire(): a new M is complete */
    if (m == NULL)
        return false;
    STORE(m->preempt, 1, RELAXED);
    if (now - p->seen_run_at < SLICE + GRACE)
        return true;
    STORE(&p->take_slice, slice + 1, RELAXED);
    rt_signal_m(m);
    return true;
}

/* The signal handler detached p from a runaway: let another thread have it. */
static bool
pass_on_detached(struct go_p *p)
{
    rt_trace(RT_EV_HANDOFF, NULL, p);
    STORE(&p->status, P_IDLE, RELAXED);
    BUMP(&p->slice, 1);
    ADD(&sched.handoffs, 1, RELAXED);
    p_hand_off(p);
    return true;
}

static bool
retake(int64_t now)
{
    uint32_t n = LOAD(&sched.nallp, ACQUIRE);
    bool busy = false;

    for (uint32_t i = 0; i < n; i++) {
        struct go_p *p = sched.allp[i];

        switch ((enum p_status)(LOAD(&p->status, ACQUIRE) & P_STATUS)) {
        case P_SYSCALL:
            busy |= retake_blocked(p, now);
            break;
        case P_RUNNING:
            busy |= retake_running(p, now);
            break;
        case P_DETACHED:
            busy |= pass_on_detached(p);
            break;
        case P_IDLE:
        case P_RETIRED:
            break;
        }
    }
    return busy;
}

/* Busy Ps look at the netpoller rarely: do it for them. */
static void
poll_for_them(int64_t now, int64_t *last)
{
    struct go_g *list = NULL, *g;

    if (LOAD(&rt_poll_waiters, RELAXED) == 0 || LOAD(&sched.polling, RELAXED) ||
        now - *last < POLL_LAG)
        return;
    *last = now;
    /* Between the netpoller and the queue they are nowhere: no deadlock meanwhile. */
    ADD(&sched.ndetached, 1, SEQ_CST);
    (void)rt_poll(0, &list);
    while ((g = list) != NULL) {
        list = g->next;
        gq_put(g);
    }
    ADD(&sched.ndetached, -1, SEQ_CST);
    sched_wake();
}

/* Measure how long goroutines run on each P, and make up for wake-ups that were found not
 * worth it (sched_wake_if_worth) where a P has not switched since the last look. True while
 * there are such. */
static bool
look_at_runs(int64_t now)
{
    uint32_t n = LOAD(&sched.nallp, ACQUIRE);
    bool skipping = sched_still_crowded(now);

    for (uint32_t i = 0; i < n; i++) {
        struct go_p *p = sched.allp[i];
        int64_t switches = LOAD(&p->count.switches, RELAXED);
        int64_t runs = switches - p->seen_switches, span = now - p->seen_switches_at;
        bool idle = LOAD(&p->status, RELAXED) == P_IDLE;

        if (LOAD(&p->skipped, RELAXED)) {
            STORE(&p->skipped, 0, RELAXED);
            skipping = true;
        }
        if (runs > 0 || idle) {
            if (!idle)
                STORE(&p->run_ns, span / runs, RELAXED);
            p->seen_switches = switches;
            p->seen_switches_at = now;
        } else {
            if (span > LOAD(&p->run_ns, RELAXED))
                STORE(&p->run_ns, span, RELAXED);
            if (!runq_empty(p))
                sched_wake();
        }
    }
    return skipping;
}

static void *
sysmon_main(void *arg)
{
    static struct go_m m; /* a foreign M: it may queue and wake, but has no P */
    int64_t polled = 0, scavenged = 0;
    bool more = false, skipping;
    int idle = 0;
    int64_t nap = NAP_MIN;

    (void)arg;
    m.foreign = true;
    m.in_rt = 1;
    m.standin.foreign = true;
    m.standin.system = true;
    m.g = &m.standin;
    rt_m_init(&m);
    (void)prctl(PR_SET_NAME, "sysmon");
    (void)prctl(PR_SET_TIMERSLACK, 1UL);
    for (;;) {
        uint32_t word = LOAD(&sched.sysmon_word, ACQUIRE);
        int64_t now = rt_clock_raw();

        STORE(&sched.coarse, now, RELAXED);
        if (retake(now)) {
            idle = 0;
            nap = NAP_MIN;
        } else if (++idle > IDLE_ROUNDS && nap < NAP_MAX) {
            nap = nap * 2 < NAP_MAX ? nap * 2 : NAP_MAX;
        }
        poll_for_them(now, &polled);
        skipping = look_at_runs(now);
        if (now - scavenged >= SCAVENGE) {
            scavenged = now;
            more = stack_scavenge(now);
        }
        STORE(&sched.sysmon_naps, nap > SKIP_NAP && !skipping, SEQ_CST);
        /* All idle: only a kick, or memory still to be returned, gets us up. Whoever takes
         * a P off the idle list kicks if it sees sysmon_asleep; seq_cst on both sides: one
         * of us sees the other. */
        STORE(&sched.sysmon_asleep, 1, SEQ_CST);
        full_fence(); /* that store alone does not hold back plain loads everywhere */
        if (rt_all_idle()) {
            futex_wait(&sched.sysmon_word, word, more ? SCAVENGE : -1);
            STORE(&sched.sysmon_asleep, 0, SEQ_CST);
        } else {
            STORE(&sched.sysmon_asleep, 0, SEQ_CST);
            if (skipping && nap > SKIP_NAP)
                nap = SKIP_NAP;
            futex_wait(&sched.sysmon_word, word, nap_limit(now, nap));
        }
        if (LOAD(&sched.sysmon_word, ACQUIRE) != word) {
            idle = 0;
            nap = NAP_MIN;
        }
    }
    return NULL;
}

void
rt_sysmon_start(void)
{
    ADD(&rt_helper_threads, 1, RELAXED);
    if (rt_thread_start(sysmon_main, NULL, STACK_BYTES) < 0)
        rt_fatal("cannot start the monitor thread; look at ulimit -u and at memory");
}
