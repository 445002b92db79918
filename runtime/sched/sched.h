/*
 * The scheduler's inside: P, the global state, and the calls between its files. Nothing
 * outside sched/, mem/ and time/ includes this.
 *
 *   spawn.c     go(): records, first queueing; go_main
 *   sched.c     park, ready, yield, exit: what runs on a goroutine's own stack
 *   find.c      the scheduler loop on the thread's stack: find work, steal, poll, sleep
 *   thread.c    Ms: start, sleep, wake, hand a P over; foreign threads
 *   proc.c      Ps: GOMAXPROCS, idle list, retirement; OS thread locking
 *   bias.c      the lock of channels
 *   crowd.c     Ps that only wait for each other
 *   preempt.c   the signal that takes a P from a runaway
 *   sysmon.c    the watchdog thread
 *   deadlock.c  "all goroutines are asleep"
 *   blocking.c  blocking regions, no-park regions
 *   runq.h      the local run queue
 *   switch.h    the switch and its hand-over protocol
 */
#ifndef GOJOBD_RUNTIME_SCHED_SCHED_H
#define GOJOBD_RUNTIME_SCHED_SCHED_H

#include "runtime/base/atomic.h"
#include "runtime/base/futex.h"
#include "runtime/sched/proc.h"
#include "runtime/sched/rt.h"
#include "runtime/time/timer.h"

#ifndef GO_RUNQ_SIZE
#define GO_RUNQ_SIZE 256
#endif

_Static_assert((GO_RUNQ_SIZE & (GO_RUNQ_SIZE - 1)) == 0, "ring sizes are powers of two");

#define CACHE_LINE 64
#define RT_G_MAX   (16 << 20) /* goroutine records */

enum p_status {
    P_IDLE,     /* on the idle list, or on its way from one M to another */
    P_RUNNING,  /* an M has it */
    P_SYSCALL,  /* its M is in a blocking region; whoever swaps this away owns the P */
    P_DETACHED, /* the preemption signal took it from its M; sysmon passes it on */
    P_RETIRED,  /* beyond GOMAXPROCS */
};

/* P_SYSCALL comes with the number of the region (p->calls) above these bits: a P that was
 * taken from its M may stand in the region of another by the time the first comes back. */
#define P_STATUS      7u
#define P_STATUS_BITS 3

struct timer_node {
    int64_t when; /* copy: the heap is compared without touching the timers */
    struct rt_timer *t;
};

/* A P's timers: a 4-ary heap. */
struct timers {
    struct go_lck lock;
    uint32_t n, cap;      /* guarded by lock; n is atomic for readers */
    struct timer_node *v; /* guarded by lock */
    int64_t first;        /* atomic: when of v[0], GO_NEVER if none */
};

struct p_counters {
    int64_t spawned, ended, parked, switches, steals, preempted, timers;
};

struct go_p {
    /* Read by all, written rarely. */
    uint32_t id;
    uint32_t status;        /* atomic, enum p_status; see P_STATUS */
    struct go_m *m;         /* atomic: the M that has it */
    struct go_p *idle_next; /* guarded by sched.lock */

    /* Owner writes, sysmon reads. */
    uint32_t slice;      /* atomic: counts time slices; runnext inherits its slice */
    uint32_t calls;      /* atomic: counts blocking regions */
    uint32_t take_slice; /* atomic: slice + 1 that sysmon wants ended; 0 none */
    uint32_t skipped; /* atomic: a wake-up was found not worth it since sysmon looked */
    int64_t run_ns;   /* atomic: how long a goroutine ran lately; sysmon writes */

    /* Owner only. */
    int64_t parks_soon;   /* count.switches + 1 when go_park_soon() was called last */
    int64_t soon_few;     /* its argument */
    uint32_t polls_due;   /* looks at the global queue since the last at the netpoller */
    uint32_t clock_skips; /* picks that might have looked at the clock */
    uint32_t countdown;   /* picks until the next look at the global queue */
    struct go_g *gfree;   /* dead records */
    struct go_g *gspare;  /* a full batch of them, or NULL */
    uint32_t gfree_n;
    uint32_t stacks_n;
    struct go_stack *stacks; /* free default-size stacks, hottest first */
    bool leave;              /* go idle at the next pick: crowd.c */
    int64_t wait_window;     /* since when wait_ns counts */
    int64_t wait_ns;         /* spent waiting for other Ps' goroutines */
    int64_t id_next, id_end; /* goroutine ids to give out */
    struct p_counters count; /* BUMPed by the owner, read by go_stats */

    /* sysmon only. */
    uint32_t seen_slice, seen_calls, seen_run_calls;
    int64_t seen_run_at;
    int64_t seen_switches, seen_switches_at;
    int64_t seen_slice_at, seen_calls_at;

    /* The run queue: see runq.h. */
    _Alignas(CACHE_LINE) struct go_g *runnext; /* atomic */
    uint32_t head;                             /* atomic: consumers advance by CAS */
    _Alignas(CACHE_LINE) uint32_t tail;        /* atomic: the owner alone writes */
    struct go_g *ring[GO_RUNQ_SIZE];           /* atomic elements */

    _Alignas(CACHE_LINE) struct timers timers;
};

struct sched {
    /* Hot, read on every wake-up. */
    _Alignas(CACHE_LINE) uint32_t npidle; /* atomic: idle Ps; written under lock */
    uint32_t nmspinning;                  /* atomic: Ms looking for work */
    uint32_t maxprocs;                    /* atomic */
    uint32_t nallp;                       /* atomic: entries of allp, only grows */
    int64_t
        poll_until; /* atomic: when the sleeping poller wakes; GO_NEVER + nobody: see find.c */
    uint32_t polling;     /* atomic: an M sleeps in rt_poll */
    uint32_t sysmon_naps; /* atomic: sysmon sleeps longer than its shortest */
    uint32_t crowded;     /* atomic: a P left lately, wake none for local work: crowd.c */
    int64_t crowded_at;   /* atomic: when */
    int64_t coarse;       /* atomic: go_now() some time ago, for dumps */

    _Alignas(CACHE_LINE) uint32_t gq_n; /* atomic copy of the global queue's length */

    _Alignas(CACHE_LINE) struct go_lck lock;
    /* Guarded by lock. */
    struct go_m *midle;
    struct go_p *pidle;
    uint32_t nmidle;
    uint32_t nm; /* Ms started, sysmon not counted */
    uint32_t max_threads;
    uint32_t main_waits; /* main goroutines that go_main waits for */
    uint32_t foreign;    /* atomic: foreign threads seen, less those waiting in go_main */

    /* Atomic: Ms at work without a P, which may yet wake somebody: their P was taken while
     * their goroutine ran or blocked on, or they hold goroutines that are in no queue. */
    uint32_t ndetached;
    uint32_t sysmon_asleep;  /* atomic */
    int64_t handoffs;        /* atomic */
    int64_t foreign_spawned; /* atomic: spawns without a P */
    int64_t polls;           /* atomic */
    int64_t broke_at;        /* atomic: last rt_poll_break for timers */
    uint32_t sysmon_word;    /* futex: bumped to wake sysmon */
    uint32_t ready;          /* atomic: rt_init is done */

    struct go_p *allp[GO_MAXPROCS_MAX]; /* filled once, never freed */
};

extern struct sched sched;
extern struct go_m *rt_all_m; /* atomic: every M but foreign ones */

/* sched.c */
void rt_goroutine_(void);
void rt_epilogue(struct go_g *g); /* defers, arena; PARKS. May be called twice */
struct go_g *sched_pick_slow(struct go_m *m, struct go_p *p);

/* find.c */
void rt_g0_loop(struct go_m *m) __attribute__((noreturn));

/* crowd.c */
void sched_note_wait(struct go_p *p, int64_t from, int64_t to); /* by p's owner */
void sched_crowded(struct go_p *p, int64_t now);
bool sched_still_crowded(int64_t now); /* sysmon asks at each look */

/* spawn.c */
void rt_free_record(struct go_p *p, struct go_g *g);

/* global queue (runq.c) */
void gq_put(struct go_g *g);
void gq_put_all(struct go_g *const *v, uint32_t n); /* takes sched.lock */
int gq_init(void);
struct go_g *gq_get(struct go_p *p,
                    uint32_t max); /* takes sched.lock; rest to p's ring */

/* thread.c */
void m_start(struct go_p *p, bool spinning); /* an M for p, asleep or new */
void m_stop(struct go_m *m);                 /* sleep until handed a P */
void m_wake(struct go_m *m, struct go_p *p);
void sched_wake_slow(void);
void sched_wake_if_worth(struct go_p *p);
void p_hand_off(struct go_p *p); /* p has no M: find it one or idle it */
struct go_m *rt_m_init(struct go_m *m);

/* proc.c */
int rt_procs_init(void);
void p_acquire(struct go_m *m, struct go_p *p);
struct go_p *p_release(struct go_m *m);
void p_idle_put_locked(struct go_p *p);
struct go_p *p_idle_get_locked(void);
void p_retire(struct go_m *m);
void p_empty(struct go_p *p);

/* preempt.c */
void rt_preempt_init(void);
void rt_thread_signals(struct go_m *m);
void rt_signal_m(struct go_m *m);
void p_reacquire(struct go_m *m);

/* sysmon.c */
void rt_sysmon_start(void);
void rt_sysmon_kick(void);

/* deadlock.c */
bool rt_all_idle(void); /* no P in use; under sched.lock or as a hint */
void rt_check_deadlock_locked(void);

/* time/heap.c */
int64_t timers_run(struct go_p *p, int64_t now); /* fire what is due; when the next is */
int64_t timers_first(void);                      /* the earliest of all Ps */
void timers_move(struct go_p *from, struct go_p *to);
uint32_t timers_count(void);

/* seed.c */
void rt_seed_init(void);
struct go_g *seed_pick(struct go_p *p);
void seed_idle(int64_t until, struct go_g **list); /* poll, else advance virtual time */
int64_t seed_now(void);
bool seed_flip(uint32_t one_in);

/* time/clock.c */
int64_t rt_clock_raw(void);

/* The status of a P whose M is in region number calls. */
static inline uint32_t
p_in_region(uint32_t calls)
{
    return P_SYSCALL | calls << P_STATUS_BITS;
}

/* GOMAXPROCS went down: p is to retire at its next scheduling point. */
static inline bool
p_surplus(const struct go_p *p)
{
    return UNLIKELY(p->id >= LOAD(&sched.maxprocs, RELAXED));
}

/* p's owner is to go to the scheduler loop rather than to the next goroutine. */
static inline bool
p_going(const struct go_p *p)
{
    return p_surplus(p) || UNLIKELY(p->leave);
}

/* Work was queued: wake one more M if a P is idle and nobody is looking already. */
static inline void
sched_wake(void)
{
    if (UNLIKELY(LOAD(&sched.npidle, SEQ_CST) != 0) &&
        LOAD(&sched.nmspinning, SEQ_CST) == 0)
        sched_wake_slow();
}

/* Work was queued on p, by its owner. As sched_wake(), but only if p has enough of it to be
 * worth the price of waking a thread. */
static inline void
sched_wake_local(struct go_p *p)
{
    if (UNLIKELY(LOAD(&sched.npidle, SEQ_CST) != 0) &&
        LOAD(&sched.nmspinning, SEQ_CST) == 0)
        sched_wake_if_worth(p);
}

/* m's goroutine is queued, or has a P again, after its P had been taken from it. */
static inline void
m_attach(struct go_m *m)
{
    if (UNLIKELY(LOAD(&m->detached, RELAXED))) {
        STORE(&m->detached, false, RELAXED);
        ADD(&sched.ndetached, -1, SEQ_CST);
    }
}

static inline int64_t
rt_coarse(void)
{
    return LOAD(&sched.coarse, RELAXED);
}

#endif
