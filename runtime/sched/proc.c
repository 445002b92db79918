/* Ps: how many, who has which, and their retirement when GOMAXPROCS goes down. */
#define _GNU_SOURCE
#include "runtime/sched/proc.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/mem/stack.h"
#include "runtime/sched/cgroup.h"
#include "runtime/sched/runq.h"
#include "runtime/sched/switch.h"

int
go_numcpu(void)
{
    cpu_set_t *set = CPU_ALLOC(8192);
    size_t size = CPU_ALLOC_SIZE(8192);
    int n = 1;

    if (set == NULL)
        return 1;
    if (sched_getaffinity(0, size, set) == 0)
        n = CPU_COUNT_S(size, set);
    CPU_FREE(set);
    return n > 0 ? n : 1;
}

static int
default_procs(void)
{
    const char *env = getenv("GOMAXPROCS");
    int n = go_numcpu(), quota;

    if (env != NULL && *env != '\0') {
        char *end;
        long v;

        errno = 0;
        v = strtol(env, &end, 10);
        if (*end == '\0' && errno == 0 && v >= 1 && v <= GO_MAXPROCS_MAX)
            return (int)v;
        fprintf(stderr, "goroutine: GOMAXPROCS=%s ignored: not a number from 1 to %d\n",
                env, GO_MAXPROCS_MAX);
    }
    quota = rt_cgroup_cpus("");
    if (quota < n)
        n = quota;
    return n < 1 ? 1 : n > GO_MAXPROCS_MAX ? GO_MAXPROCS_MAX : n;
}

static struct go_p *
p_new(uint32_t id)
{
    struct go_p *p = NULL;

    if (posix_memalign((void **)&p, CACHE_LINE, sizeof(*p)) != 0)
        return NULL;
    memset(p, 0, sizeof(*p));
    p->id = id;
    p->status = P_RETIRED;
    p->countdown = 1;
    p->timers.first = GO_NEVER;
    p->run_ns = 10 * GO_MICROSECOND; /* until measured: wake for any */
    return p;
}

/* Have at least n Ps in allp; how many there are then. Under sched.lock or before start. */
static uint32_t
procs_grow(uint32_t n)
{
    uint32_t have = sched.nallp;

    while (have < n) {
        struct go_p *p = p_new(have);

        if (p == NULL)
            break;
        sched.allp[have++] = p;
        /* Release: readers of nallp see the P. */
        STORE(&sched.nallp, have, RELEASE);
    }
    return have;
}

int
rt_procs_init(void)
{
    int want = rt_seeded ? 1 : default_procs();
    uint32_t n = procs_grow((uint32_t)want);

    if (n == 0)
        return -ENOMEM;
    sched.maxprocs = n;
    for (uint32_t i = n; i-- > 0;)
        p_idle_put_locked(sched.allp[i]);
    return 0;
}

int
go_maxprocs(int n)
{
    uint32_t old, now;

    rt_init();
    if (n > GO_MAXPROCS_MAX)
        n = GO_MAXPROCS_MAX;
    go_lck_lock(&sched.lock, GO_LCK_SCHED);
    old = sched.maxprocs;
    if (n <= 0 || (uint32_t)n == old || rt_seeded) {
        go_lck_unlock(&sched.lock);
        return (int)old;
    }
    now = procs_grow((uint32_t)n);
    if (now > (uint32_t)n)
        now = (uint32_t)n;
    STORE(&sched.maxprocs, now, SEQ_CST);
    /* New ones, and ones that had retired, start idle. */
    for (uint32_t i = old; i < now; i++)
        if (LOAD(&sched.allp[i]->status, ACQUIRE) == P_RETIRED)
            p_idle_put_locked(sched.allp[i]);
    go_lck_unlock(&sched.lock);
    /* Surplus ones retire by themselves: idle ones when next taken (below), running ones at
     * their next pick, runaways when sysmon takes them. */
    if (now < old) {
        struct go_p *keep = NULL, *p;

        go_lck_lock(&sched.lock, GO_LCK_SCHED);
        while ((p = p_idle_get_locked()) != NULL) {
            p->idle_next = keep;
            keep = p;
        }
        while ((p = keep) != NULL) {
            keep = p->idle_next;
            p_idle_put_locked(p);
        }
        go_lck_unlock(&sched.lock);
    } else {
        sched_wake(); /* there may be work queued for them */
    }
    return (int)old;
}

/* m has no P; p is nobody's. */
void
p_acquire(struct go_m *m, struct go_p *p)
{
    ENSURE(m->p == NULL && p != NULL);
    STORE(&p->m, m, RELEASE); /* whoever finds m there finds it made: sysmon.c */
    m->p = p;
    STORE(&p->status, P_RUNNING, RELEASE);
}

struct go_p *
p_release(struct go_m *m)
{
    struct go_p *p = m->p;

    ENSURE(p != NULL);
    m->p = NULL;
    STORE(&p->m, NULL, RELAXED);
    STORE(&p->status, P_IDLE, RELEASE);
    return p;
}

void
p_idle_put_locked(struct go_p *p)
{
    if (p_surplus(p) && runq_empty(p) && LOAD(&p->timers.n, RELAXED) == 0) {
        STORE(&p->status, P_RETIRED, RELEASE);
        return;
    }
    STORE(&p->status, P_IDLE, RELEASE);
    p->idle_next = sched.pidle;
    sched.pidle = p;
    STORE(&sched.npidle, sched.npidle + 1, SEQ_CST);
}

struct go_p *
p_idle_get_locked(void)
{
    struct go_p *p = sched.pidle;

    if (p != NULL) {
        sched.pidle = p->idle_next;
        STORE(&sched.npidle, sched.npidle - 1, SEQ_CST);
        if (UNLIKELY(LOAD(&sched.sysmon_asleep, SEQ_CST)) &&
            SWAP(&sched.sysmon_asleep, 0, SEQ_CST))
            rt_sysmon_kick();
    }
    return p;
}

/* Send everything queued on p, which the caller owns, elsewhere. */
void
p_empty(struct go_p *p)
{
    struct go_g *g;

    while ((g = runq_get_next(p)) != NULL || (g = runq_get(p)) != NULL)
        gq_put(g);
    if (p->id > 0)
        timers_move(p, sched.allp[0]);
}

/* GOMAXPROCS went down and m's P is too many: give it up and wait for another. */
void
p_retire(struct go_m *m)
{
    struct go_p *p = m->p, *other;

    p_empty(p);
    stack_flush(p);
    go_lck_lock(&sched.lock, GO_LCK_SCHED);
    (void)p_release(m);
    p_idle_put_locked(p); /* retires it, unless GOMAXPROCS went up again meanwhile */
    other = p_idle_get_locked();
    go_lck_unlock(&sched.lock);
    if (other != NULL)
        p_acquire(m, other);
    else
        m_stop(m);
    sched_wake();
}

void
go_lock_os_thread(void)
{
    struct go_m *m = rt_enter();
    struct go_g *g = m->g;

    if (!g->foreign && g->locked_n++ == 0) {
        g->locked_m = m;
        m->locked_g = g;
    }
    rt_exit();
}

void
go_unlock_os_thread(void)
{
    struct go_m *m = rt_enter();
    struct go_g *g = m->g;

    if (!g->foreign) {
        if (g->locked_n == 0)
            go_panic("go_unlock_os_thread: the goroutine is not locked to a thread");
        if (--g->locked_n == 0) {
            g->locked_m->locked_g = NULL;
            g->locked_m = NULL;
        }
    }
    rt_exit();
}

int
go_max_threads(int n)
{
    int old;

    go_lck_lock(&sched.lock, GO_LCK_SCHED);
    old = (int)sched.max_threads;
    if (n > 0)
        sched.max_threads = (uint32_t)n;
    go_lck_unlock(&sched.lock);
    return old;
}
