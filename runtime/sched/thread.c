/*
 * Ms: the threads. Started when a P has work and no thread sleeps; they sleep when there is
 * none, and never end. A foreign thread gets an M of its own kind at its first call.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "runtime/base/thread.h"
#include "runtime/debug/internal.h"
#include "runtime/mem/stack.h"
#include "runtime/sched/runq.h"
#include "runtime/sched/switch.h"

/* In ns. Moving a goroutine that runs for less than the cache misses of moving it pays only
 * where so many are queued that the last would wait for long. */
#define WAKE_COST      10000
#define WAKE_COST_TINY 100000
#define MOVE_COST      300

#define STACK_BYTES                                                                      \
    ((size_t)256 << 10) /* of a thread: the scheduler loop alone runs there */

_Thread_local struct go_m *go_m_ __attribute__((tls_model("initial-exec")));
_Thread_local volatile unsigned char go_preempt_flag_
    __attribute__((tls_model("initial-exec")));
struct go_m *rt_all_m;

static _Thread_local struct go_m foreign_m;

/* Fill in what only the thread itself knows. */
struct go_m *
rt_m_init(struct go_m *m)
{
    pthread_attr_t attr;
    void *lo = NULL;

    m->tid = (int)syscall(SYS_gettid);
    m->preempt = &go_preempt_flag_;
    m->rand = (uint32_t)m->tid * 2654435761u | 1;
    if (!m->foreign && pthread_getattr_np(pthread_self(), &attr) == 0) {
        pthread_attr_getstack(&attr, &lo, &m->stack_size);
        m->stack_lo = lo;
        pthread_attr_destroy(&attr);
    }
#if GO_TSAN
    m->fiber = __tsan_get_current_fiber();
#endif
    go_m_ = m;
    return m;
}

struct go_m *
rt_enter_foreign_(void)
{
    struct go_m *m = &foreign_m;

    rt_init();
    ADD(&sched.foreign, 1, SEQ_CST);
    m->foreign = true;
    m->standin.foreign = true;
    m->standin.status = GO_RUNNING;
    m->g = &m->standin;
    return rt_m_init(m);
}

/* The thread has no P. Which kind is it? */
struct go_m *
rt_enter_no_p_(struct go_m *m)
{
    if (m->foreign || m->g == NULL || m->g->blocking_n > 0 || m->g->nopark_n > 0)
        return m;
    p_reacquire(m);
    return rt_m();
}

static void *
thread_main(void *arg)
{
    struct go_m *m = arg;

    rt_m_init(m);
    if (rt_seeded)
        STORE(m->preempt, 1,
              RELAXED); /* for good: the seed decides (rt_exit_preempted_) */
    (void)prctl(PR_SET_TIMERSLACK, 1UL); /* sleeps end when asked for, not 50 us later */
    rt_thread_signals(m);
    /* Publish: dumps and signals may use it from here. */
    do
        m->all_next = LOAD(&rt_all_m, RELAXED);
    while (!CAS(&rt_all_m, m->all_next, m, RELEASE));
    rt_g0_loop(m);
}

/* A new thread for p (its first P). False: the system would not give us one. */
static bool
thread_start(struct go_p *p, bool spinning)
{
    struct go_m *m = NULL;

    if (posix_memalign((void **)&m, CACHE_LINE, sizeof(*m)) != 0)
        return false;
    memset(m, 0, sizeof(*m));
    m->next_p = p;
    m->park = p != NULL; /* m_stop will find it at once */
    m->spinning = spinning;
    go_lck_lock(&sched.lock, GO_LCK_SCHED);
    if (sched.nm >= sched.max_threads) {
        go_lck_unlock(&sched.lock);
        rt_fatal("thread exhaustion: the runtime's limit of %u threads is reached; many "
                 "goroutines block in C calls at once (go_max_threads)",
                 sched.max_threads);
    }
    m->id = (int)sched.nm++;
    go_lck_unlock(&sched.lock);

    if (rt_thread_start(thread_main, m, STACK_BYTES) < 0) {
        go_lck_lock(&sched.lock, GO_LCK_SCHED);
        sched.nm--;
        go_lck_unlock(&sched.lock);
        free(m);
        return false;
    }
    return true;
}

/* Sleep until m_wake() brings a P. */
void
m_stop(struct go_m *m)
{
    bool given = LOAD(&m->park, ACQUIRE) != 0; /* a new M's first P */

    /* One that starts with a P goes on to look for work, as it was counted for. */
    if (m->spinning && !given) {
        m->spinning = false;
        ADD(&sched.nmspinning, -1, SEQ_CST);
    }
    if (m->locked_g != NULL || !given) {
        go_lck_lock(&sched.lock, GO_LCK_SCHED);
        if (m->locked_g == NULL) { /* else only its goroutine's turn wakes it */
            m->idle_next = sched.midle;
            sched.midle = m;
            sched.nmidle++;
        }
        rt_check_deadlock_locked();
        go_lck_unlock(&sched.lock);
    }
    while (LOAD(&m->park, ACQUIRE) == 0) /* pairs with the release in m_wake */
        futex_wait(&m->park, 0, -1);
    STORE(&m->park, 0, RELAXED);
    p_acquire(m, m->next_p);
    m->next_p = NULL;
    if (m->next_g != NULL) {
        m->next = m->next_g;
        m->next_g = NULL;
    }
}

/* Give p to m, which sleeps and is on no list. */
void
m_wake(struct go_m *m, struct go_p *p)
{
    m->next_p = p;
    STORE(&m->park, 1, RELEASE);
    futex_wake(&m->park);
}

/* Run p on a sleeping thread, or a new one. p belongs to nobody. spinning: the thread
 * starts out looking for work, and nmspinning counts it already. */
void
m_start(struct go_p *p, bool spinning)
{
    struct go_m *m;

    go_lck_lock(&sched.lock, GO_LCK_SCHED);
    m = sched.midle;
    if (m != NULL) {
        sched.midle = m->idle_next;
        sched.nmidle--;
    }
    go_lck_unlock(&sched.lock);
    if (m != NULL) {
        m->spinning = spinning;
        m_wake(m, p);
        return;
    }
    if (thread_start(p, spinning))
        return;
    /* No thread to be had: the others will do the work. */
    if (spinning)
        ADD(&sched.nmspinning, -1, SEQ_CST);
    p_empty(p);
    go_lck_lock(&sched.lock, GO_LCK_SCHED);
    if (sched.nm == 0) {
        go_lck_unlock(&sched.lock);
        rt_fatal("cannot start a first thread; look at ulimit -u and at memory");
    }
    p_idle_put_locked(p);
    go_lck_unlock(&sched.lock);
}

/* Waking a thread costs the waker a system call and the woken some microseconds until it
 * has found and moved the work. Where goroutines run for some ten nanoseconds, which is what
 * a channel operation takes, p is through with all it has by then, and goroutines that talk
 * to each other end up on two processors. So weigh what is queued against that price, by
 * how long goroutines ran lately. If it turns out wrong, because the next one runs for
 * long, sysmon notices within 100 us. docs/decisions/0004. */
void
sched_wake_if_worth(struct go_p *p)
{
    int64_t queued = (int64_t)runq_len(p) + 1 + LOAD(&sched.gq_n, RELAXED);
    int64_t each = LOAD(&p->run_ns, RELAXED);

    if (queued <= p->soon_few && p->parks_soon == LOAD(&p->count.switches, RELAXED) + 1)
        return;
    if (!LOAD(&sched.crowded, RELAXED) &&
        queued * each >= (each < MOVE_COST ? WAKE_COST_TINY : WAKE_COST)) {
        sched_wake_slow();
        return;
    }
    if (LOAD(&p->skipped, RELAXED) == 0) {
        STORE(&p->skipped, 1, RELAXED);
        if (LOAD(&sched.sysmon_naps, RELAXED))
            rt_sysmon_kick();
    }
}

/* sched_wake(), past the cheap questions. */
void
sched_wake_slow(void)
{
    struct go_p *p;

    if (!CAS(&sched.nmspinning, 0, 1, SEQ_CST))
        return;
    go_lck_lock(&sched.lock, GO_LCK_SCHED);
    p = p_idle_get_locked();
    go_lck_unlock(&sched.lock);
    if (p == NULL) {
        ADD(&sched.nmspinning, -1, SEQ_CST);
        return;
    }
    m_start(p, true);
}

/* p was taken from its M. Start another if there is anything to do for it, else idle it
 * (Go's handoffp). */
void
p_hand_off(struct go_p *p)
{
    bool first_poller;

    if (p_surplus(p)) {
        p_empty(p);
        go_lck_lock(&sched.lock, GO_LCK_SCHED);
        p_idle_put_locked(p); /* under the lock: GOMAXPROCS may be going up again */
        go_lck_unlock(&sched.lock);
        sched_wake();
        return;
    }
    if (!runq_empty(p) || LOAD(&sched.gq_n, SEQ_CST) > 0) {
        m_start(p, false);
        return;
    }
    if (LOAD(&sched.nmspinning, SEQ_CST) == 0 && LOAD(&sched.npidle, SEQ_CST) == 0 &&
        CAS(&sched.nmspinning, 0, 1, SEQ_CST)) {
        m_start(p, true);
        return;
    }
    /* Timers and fds need somebody in the poller. */
    first_poller = !LOAD(&sched.polling, SEQ_CST) &&
                   (LOAD(&rt_poll_waiters, SEQ_CST) > 0 || timers_first() != GO_NEVER);
    if (first_poller) {
        m_start(p, false);
        return;
    }
    go_lck_lock(&sched.lock, GO_LCK_SCHED);
    if (sched.gq_n > 0) {
        go_lck_unlock(&sched.lock);
        m_start(p, false);
        return;
    }
    p_idle_put_locked(p);
    rt_check_deadlock_locked();
    go_lck_unlock(&sched.lock);
    if (timers_first() < LOAD(&sched.poll_until, SEQ_CST))
        rt_poll_break();
}
