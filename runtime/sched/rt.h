/*
 * The scheduler's own structures, and what the primitives of this library stand on.
 * Internal: not installed.
 *
 *   G  a goroutine: a record, and a stack from its first run to its end
 *   M  a thread
 *   P  a processor: a run queue and caches. An M needs a P to run Gs; GOMAXPROCS of them.
 *
 * A primitive (channel, mutex, semaphore …) is written like this:
 *
 *     struct go_m *m = rt_enter();              // from here no signal takes the P away
 *     go_lck_lock(&x->lock, GO_LCK_SYNC);
 *     if (!condition) {
 *         struct go_waiter w = {.g = m->g};     // lives on this stack: it does not move
 *         waitq_push(&x->q, &w);
 *         rt_park(&x->lock, "sem acquire");     // releases the lock; runs others meanwhile
 *         … woken: w says why. THE THREAD MAY BE ANOTHER: m is stale …
 *     } else
 *         go_lck_unlock(&x->lock);
 *     rt_exit();
 *
 * and the waker, after dequeuing w under the lock, reads what it needs from w, releases the
 * lock, and calls rt_ready(w.g) last: from then on w is gone and x may be.
 *
 * Foreign threads take the same path: rt_enter() gives them an M without a P whose G is a
 * stand-in; rt_park() sleeps on a futex, rt_ready() wakes it.
 *
 * Who may touch a G: the M that runs it; while it waits, whoever dequeued its waiter; while
 * runnable, whoever took it from a run queue. on_cpu bridges the gap between "visible to
 * wakers" and "its registers are saved": see the note in switch.h.
 */
#ifndef GOJOBD_RUNTIME_SCHED_RT_H
#define GOJOBD_RUNTIME_SCHED_RT_H

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "runtime/base/atomic.h"
#include "runtime/base/check.h"
#include "runtime/base/lck.h"
#include "runtime/base/san.h"
#include "runtime/base/waitq.h"
#include "runtime/debug/dump.h"
#include "runtime/sched/spawn.h"

struct go_m;
struct go_p;
struct go_stack;
struct go_arena;
struct go_defer_rec;

/* --- G --- */

struct go_g {
    /* Switch state. sp is valid while on_cpu is 0 and the G has run. */
    void *sp;
    uint32_t on_cpu; /* atomic; see switch.h */
    uint32_t status; /* atomic; enum go_state. Written by whoever owns the G (above) */
    struct go_stack *stack; /* NULL until the first run, and after the end */
    struct go_g *next;      /* link in whatever list holds it */

    struct go_m *m;        /* the M that runs it; NULL else. Atomic for dumps */
    struct go_m *locked_m; /* go_lock_os_thread; by the G itself */
    const char *reason;    /* of the wait; atomic for dumps */
    int64_t since;         /* coarse time of the last park or unpark; atomic for dumps */
    uint32_t select_won;   /* atomic: 1 once a select's waiter has been claimed */
    uint32_t runs;         /* times switched in; dumps use it to notice a change */

    uint16_t locked_n;   /* nesting of go_lock_os_thread */
    uint16_t nopark_n;   /* nesting of go_nopark_begin */
    uint16_t blocking_n; /* nesting of go_enter_blocking */
    bool foreign;        /* the stand-in of a thread the runtime did not start */
    bool system;         /* of the runtime's own: not counted by deadlock detection */
    const char *nopark_name;

    /* Constant from spawn to end. */
    int64_t id;
    int64_t creator;
    const struct go_site *site;
    const char *name;
    struct go_wg *wg;
    go_entry_fn *fn;
    uintptr_t args[6];

    /* The G's own. */
    struct go_arena *arena;
    struct go_defer_rec *defers;

    uint32_t futex; /* foreign only: 0 asleep, 1 woken */
    uint32_t size_class;
};

/* --- what a park needs --- */

/* One wait of one goroutine; lives on its stack. Guarded by the lock of the object waited
 * on while queued, and the waiting goroutine's own otherwise. */
struct go_waiter {
    struct go_waiter *next, *prev;
    struct go_g *g;
    struct go_waitq *queue; /* the queue it stands in; NULL once taken out */
    void *elem;             /* channel: where to copy to or from */
    int64_t n;              /* semaphore: units wanted; select: index of the case */
    bool ok;                /* outcome: woken by success (channel: not by close) */
    bool select;            /* claim g->select_won before taking this one */
    bool won;               /* select: this is the case that was claimed */
};

/* head is atomic: try operations look at it without the lock. */
static inline void
waitq_push(struct go_waitq *q, struct go_waiter *w)
{
    w->queue = q;
    w->next = NULL;
    w->prev = q->tail;
    if (q->tail)
        q->tail->next = w;
    else
        STORE(&q->head, w, RELAXED);
    q->tail = w;
}

static inline void
waitq_push_front(struct go_waitq *q, struct go_waiter *w)
{
    w->queue = q;
    w->prev = NULL;
    w->next = q->head;
    if (q->head)
        q->head->prev = w;
    else
        q->tail = w;
    STORE(&q->head, w, RELAXED);
}

static inline void
waitq_remove(struct go_waitq *q, struct go_waiter *w)
{
    if (w->prev)
        w->prev->next = w->next;
    else
        STORE(&q->head, w->next, RELAXED);
    if (w->next)
        w->next->prev = w->prev;
    else
        q->tail = w->prev;
    w->queue = NULL;
}

static inline struct go_waiter *
waitq_pop(struct go_waitq *q)
{
    struct go_waiter *w = q->head;

    if (w != NULL)
        waitq_remove(q, w);
    return w;
}

/* --- M --- */

#define RT_INSIDE_MAX 4

struct go_bias;
struct go_mutex;

struct go_m {
    /* Touched by this thread and its own signal handler only, hence plain (volatile). */
    volatile uint32_t in_rt; /* > 0: in the runtime; the handler keeps its hands off */
    struct go_p *volatile p; /* NULL: none (blocking, runaway, idle, foreign) */
    struct go_g *g;    /* what runs here; on a foreign thread, the stand-in; NULL on g0 */
    struct go_g *prev; /* what ran before the last switch; see switch.h */
    struct go_g *next; /* for g0: run this one next */
    void *g0_sp;       /* saved context of the scheduler loop, on the thread's stack */
    volatile unsigned char *preempt; /* this thread's go_preempt_flag_; others set it */
    uint32_t ninside;                /* notes in inside[] */
    struct go_p *old_p; /* P left at go_enter_blocking, to get back cheaply */
    uint32_t left_as;   /* old_p's status since then, as long as it is still ours */
    bool foreign;
    bool spinning;
    bool g0_requeue; /* for g0: put prev on the global queue */
    uint32_t rand;

    /* Shared. */
    struct go_bias *inside[RT_INSIDE_MAX]; /* atomic: biased locks it holds; see bias.h */
    struct go_mutex *at_mutex; /* atomic: whose state it changes; see mutex_bias.c */
    uint32_t park;             /* futex: 1 = wake-up pending */
    struct go_p *next_p; /* handed over by whoever woke it; written before park is set */
    struct go_g *next_g; /* likewise: its tied goroutine, now runnable; or NULL */
    struct go_g *locked_g;  /* the G tied to this thread */
    struct go_m *idle_next; /* guarded by sched.lock */
    struct go_m *all_next;  /* constant once published */
    int tid;
    int id;
    bool detached; /* atomic: its P was taken while its G ran on */

    /* Backtrace on request: see debug/. */
    uint32_t bt_state;       /* atomic: 0 idle, 1 asked, 2 answered */
    const struct go_g *bt_g; /* whose the answer is; NULL: nobody ran */
    int bt_n;
    void *bt_pc[32];

    void *fiber;          /* TSan: the thread's own fiber */
    const void *stack_lo; /* the thread's stack, for ASan and backtraces */
    size_t stack_size;
    void *fake_stack;
    struct go_g standin; /* foreign only */
};

/* --- entering and leaving the runtime --- */

extern _Thread_local struct go_m *go_m_ __attribute__((tls_model("initial-exec")));

/* The calling thread's M, never from a cached address: a goroutine resumes on other
 * threads, and compilers keep thread-local addresses across calls (style.md, "Parking"). */
static inline struct go_m *
rt_m(void)
{
#if defined(__x86_64__)
    struct go_m *m;

    __asm__ volatile("movq go_m_@gottpoff(%%rip), %0\n\tmovq %%fs:(%0), %0"
                     : "=r"(m)
                     :
                     : "memory");
    return m;
#elif defined(__aarch64__)
    struct go_m *m;
    uint64_t off;

    __asm__ volatile("adrp %1, :gottprel:go_m_\n\tldr %1, [%1, :gottprel_lo12:go_m_]\n\t"
                     "mrs %0, tpidr_el0\n\tldr %0, [%0, %1]"
                     : "=&r"(m), "=&r"(off)
                     :
                     : "memory");
    return m;
#else
#error "goroutine: unsupported processor"
#endif
}

#define RT_BARRIER() __asm__ volatile("" ::: "memory")

struct go_m *rt_enter_foreign_(void);
struct go_m *rt_enter_no_p_(struct go_m *m);
void rt_exit_preempted_(void);

/* Enter the runtime. From here to rt_exit() the preemption signal leaves this thread's P
 * alone. Returns the M, whose p is NULL on a foreign thread, in a blocking region, and in a
 * no-park region whose P was taken: then work goes to the global queue. If a runaway lost
 * its P, gets one first (PARKS). Nests. */
static inline struct go_m *
rt_enter(void)
{
    struct go_m *m = rt_m();

    if (UNLIKELY(m == NULL))
        m = rt_enter_foreign_();
    m->in_rt++;
    RT_BARRIER();
    if (UNLIKELY(m->p == NULL))
        return rt_enter_no_p_(m);
    return m;
}

/* Leave it. Yields if the time slice is over. Call with the runtime entered. */
static inline void
rt_exit(void)
{
    struct go_m *m = rt_m();

    RT_BARRIER();
    if (--m->in_rt == 0 && UNLIKELY(__atomic_load_n(m->preempt, __ATOMIC_RELAXED)))
        rt_exit_preempted_();
}

/* --- parking and waking --- */

/* Park the calling goroutine: call between rt_enter and rt_exit, with the waiter queued
 * under *lock, which this releases (NULL: none). Returns once rt_ready() was called on it.
 * Panics in a no-park or blocking region. reason must be static. */
void rt_park(struct go_lck *lock, const char *reason);

/* rt_park in two steps, for objects whose lock is not a struct go_lck. prepare first, then
 * make the waiter visible and release the lock, then commit. rt_ready() may come at any
 * moment after the waiter is visible, even before commit: commit then returns at once. */
void rt_park_prepare(const char *reason);
void rt_park_commit(void);

/* As rt_park, but gives up at deadline (go_now() clock): true if woken by rt_ready(), false
 * if the deadline came first, and then w has been taken out of its queue under *lock. w
 * must stand in a go_waitq guarded by *lock, whose rank is rank. On return *lock is not
 * held. The object must outlive the call (the lock is touched until it returns). */
bool rt_park_until(struct go_lck *lock, enum go_lck_rank rank, struct go_waiter *w,
                   int64_t deadline, const char *reason);

/* Make g, which parked or is about to have parked, runnable. Call once per park, with the
 * runtime entered, holding locks below GO_LCK_HEAP's rank or none. */
void rt_ready(struct go_g *g);

/* The same for n at once, which none of them is to run ahead of the others. The fewer full
 * barriers, the more of their records' cache misses overlap. */
void rt_ready_all(struct go_g *const *v, uint32_t n);

/* May a lock's waiter spin a little first: does somebody else run, and has our P nothing
 * else to do? Runtime entered. */
bool rt_may_spin(void);

/* Claim a waiter just dequeued: false if it belongs to a select that another case won. */
static inline bool
waiter_claim(struct go_waiter *w)
{
    uint32_t open = 0;

    /* acq_rel: the winner's view of the select is ordered against the losers'. */
    return !w->select || __atomic_compare_exchange_n(&w->g->select_won, &open, 1, 0,
                                                     __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
}

/* --- inner timers --- */

/* A timer in some P's heap. fn(t) runs on the scheduler, without locks, inside the runtime:
 * it must not park and must be short. Zeroed is unarmed. */
#define RT_TIMER_SELF_FREEING                                                            \
    (-1) /* as period: one-shot, and fn frees t; never stopped */

#define RT_TIMER_WAKES                                                                   \
    NULL /* as fn: rt_ready(arg), and t is not touched from there; never stopped */

struct rt_timer {
    int64_t when;
    int64_t period; /* > 0: re-armed at when + k * period before fn runs */
    void (*fn)(struct rt_timer *t, int64_t now);
    void *arg;
    struct go_p *owner; /* atomic: whose heap, under whose lock; NULL = not armed */
    uint32_t index;     /* in the heap; guarded by the heap's lock */
    uint32_t firing;    /* atomic: how many threads run fn now */
};

/* Arm t, which is not armed, for when. Runtime entered. */
void rt_timer_start(struct rt_timer *t, int64_t when);

/* Disarm: true if it was armed (fn will not run). False: not armed, or fn has been or is
 * being called. */
bool rt_timer_stop(struct rt_timer *t);

/* As stop, and on return fn is not running either: t may be freed. Not from fn itself, and
 * not holding a lock that fn takes. */
bool rt_timer_stop_sync(struct rt_timer *t);

/* --- odds and ends --- */

/* Uniform in [0, n), n > 0; from the seed in deterministic mode. Runtime entered. */
uint32_t rt_random(uint32_t n);

/* Deterministic mode (GOSEED): one P, seeded choices, virtual time. Constant after start. */
extern bool rt_seeded;

/* Threads of the runtime that are no Ms: the monitor, the dumper. Atomic. */
extern uint32_t rt_helper_threads;

/* Start the runtime if it is not running yet. Any thread. */
void rt_init(void);

/* Start a goroutine of the runtime's own (not counted by deadlock detection). Aborts when
 * there is no memory. */
void rt_spawn_system(const char *name, void (*fn)(void *), void *arg);

/* "fatal error: …", dump, status 2: the runtime itself cannot go on. */
_Noreturn void rt_fatal(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* What the netpoller gives the scheduler (net/poll.c) and the other way round. */
void rt_poll_init(void);
/* Ready every goroutine whose fd became ready: waits at most until deadline (absolute;
 * 0 = do not wait; GO_NEVER). Returns how many were readied. They are appended to *list
 * (linked by next) rather than queued. now is virtual-time aware. */
int rt_poll(int64_t deadline, struct go_g **list);
/* Make a waiting rt_poll() return. Async-signal-safe, any thread. */
void rt_poll_break(void);
/* Goroutines waiting for fds now (atomic). */
extern uint32_t rt_poll_waiters;

/* For rt_poll: mark g runnable, as rt_ready() would, but do not queue it. */
void rt_ready_to_list(struct go_g *g, struct go_g **list);

/* Goroutine exit calls these on the goroutine itself (mem/arena.c); they may park. */
void rt_run_defers(struct go_g *g);
void rt_free_arena(struct go_g *g);

/* Bounds of g's usable stack for backtraces; false if it has none. */
bool rt_stack_bounds(const struct go_g *g, uintptr_t *lo, uintptr_t *hi);

/* Call fn for every goroutine record, dead ones too, until it returns false. Records are
 * never unmapped. */
void rt_each_g(bool (*fn)(struct go_g *g, void *arg), void *arg);

/* --- trace hooks (debug/trace.c) --- */

enum rt_event {
    RT_EV_SPAWN, /* g = new one */
    RT_EV_RUN,   /* g switched in */
    RT_EV_STOP,  /* g switched out; arg = reason or NULL (yield, end) */
    RT_EV_WAKE,  /* g readied */
    RT_EV_STEAL, /* n in arg */
    RT_EV_BLOCK, /* g entered a blocking region */
    RT_EV_UNBLOCK,
    RT_EV_HANDOFF, /* arg = the P taken; NULL: of the caller */
    RT_EV_END,
};
extern uint32_t rt_tracing; /* atomic, relaxed: 0 = off */
void rt_trace_event(enum rt_event ev, const struct go_g *g, const void *arg);

static inline void
rt_trace(enum rt_event ev, const struct go_g *g, const void *arg)
{
    if (UNLIKELY(__atomic_load_n(&rt_tracing, __ATOMIC_RELAXED)))
        rt_trace_event(ev, g, arg);
}

#endif
