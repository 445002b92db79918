/*
 * Mutex: Go's algorithm on a word lock.
 *
 * Normal mode  unlock frees the lock and wakes the longest waiting goroutine, which then
 *              competes with newcomers. They are running already and usually win, which
 *              is what makes a busy mutex fast: no switch per hand-over.
 * Starvation   a woken waiter that lost and has been waiting for more than 1 ms queues at
 *              the front and sets STARVING: from now on unlock hands the lock straight to
 *              the first waiter, and newcomers queue at the back without trying. The mode
 *              ends with a waiter that is the last one or waited less than 1 ms.
 *
 * The queue is guarded by a bit of the same word, so that releasing the mutex and letting
 * go of its queue are one store: after it, the memory may be gone (see mutex.h).
 *
 *   I1  QUEUE is set only by a CAS that sees LOCKED set and QUEUE clear.
 *   I2  While QUEUE is set nobody else changes the word: taking the lock needs LOCKED
 *       clear; unlock, a spinner's WOKEN and a second QUEUE need QUEUE clear. So its
 *       holder releases it with a plain store, together with whatever else changes.
 *   I3  WAITERS is set exactly while the queue is not empty (looked at without QUEUE).
 *   I4  WOKEN has one owner: the waiter that unlock woke, or a spinner. He clears it when
 *       he gets the lock or queues. While it is set, unlock wakes nobody.
 *   I5  STARVING implies WAITERS and LOCKED: a hand-over keeps LOCKED set.
 *
 *   I6  While BIASED is set, only LOCKED may be set besides, and all of the above rests: see
 *       mutex_bias.c.
 *
 * A waiter's n is the time at which it first queued; ok says that it was handed the lock.
 */
#include "runtime/sync/mutex.h"

#include <sched.h>

#include "runtime/base/atomic.h"
#include "runtime/sched/rt.h"
#include "runtime/sync/mutex_bias.h"
#include "runtime/time/timer.h"

#define LOCKED   GO_MUTEX_LOCKED_
#define WOKEN    2u
#define STARVING 4u
#define QUEUE    8u
#define WAITERS  16u
#define BIASED   GO_MUTEX_BIASED_

#define STARVE_NS   GO_MILLISECOND
#define SPIN_ROUNDS 4
#define SPIN_PAUSES 30

/* Somebody queues or dequeues: a few dozen instructions, unless he lost his CPU. */
static void
await_queue(unsigned *tries)
{
    if (++*tries % 64 == 0)
        (void)sched_yield();
    else
        cpu_relax();
}

struct locker {
    struct go_waiter w;
    unsigned rounds; /* of spinning */
    bool woken;      /* owns WOKEN */
    bool queued;     /* has queued before */
    bool starving;   /* for more than STARVE_NS */
};

static bool
spin(struct go_mutex *mu, uint32_t old, struct locker *l)
{
    if ((old & STARVING) || l->rounds >= SPIN_ROUNDS || !rt_may_spin())
        return false;
    /* Keep unlock from waking another while we are about to take the lock (I4). */
    if (!l->woken && (old & (WAITERS | WOKEN | QUEUE)) == WAITERS &&
        CAS(&mu->state, old, old | WOKEN, RELAXED))
        l->woken = true;
    l->rounds++;
    for (int i = 0; i < SPIN_PAUSES; i++)
        cpu_relax();
    return true;
}

/* Wait in the queue, with QUEUE held and old the word before; releases QUEUE. True: woken
 * with the lock handed over. */
static bool
queue_and_park(struct go_mutex *mu, uint32_t old, struct locker *l)
{
    uint32_t new = old | WAITERS;

    if (l->woken)
        new &= ~WOKEN;
    if (l->starving)
        new |= STARVING;
    if (l->queued)
        waitq_push_front(&mu->q, &l->w);
    else
        waitq_push(&mu->q, &l->w);
    rt_park_prepare("mutex lock");
    STORE(&mu->state, new, RELEASE);
    rt_park_commit();
    if (l->w.ok)
        return true;
    l->rounds = 0;
    l->woken = true; /* unlock set it for us */
    l->queued = true;
    l->starving = l->starving || go_now() - l->w.n > STARVE_NS;
    return false;
}

void
go_mutex_lock_slow_(struct go_mutex *mu)
{
    struct locker l = {.w = {.g = rt_enter()->g}};
    unsigned tries = 0;

    for (;;) {
        uint32_t old = LOAD(&mu->state, RELAXED);

        if (UNLIKELY(old & BIASED)) {
            mutex_unbias(mu);
            continue;
        }
        if (!(old & LOCKED)) {
            /* Acquire pairs with the release in unlock. */
            if (CAS(&mu->state, old, (old | LOCKED) & ~(l.woken ? WOKEN : 0), ACQUIRE))
                break;
        } else if (spin(mu, old, &l)) {
            continue;
        } else if (old & QUEUE) {
            await_queue(&tries);
        } else {
            if (l.w.n == 0)
                l.w.n = go_now();
            if (CAS(&mu->state, old, old | QUEUE, ACQUIRE) && queue_and_park(mu, old, &l))
                break;
        }
    }
    rt_exit();
}

/* Wake the first waiter, with QUEUE held and old the word before. Releases all. */
static void
wake_one(struct go_mutex *mu, uint32_t old, int64_t now)
{
    struct go_waiter *w = waitq_pop(&mu->q);
    struct go_g *g = w->g;
    uint32_t new = old;

    if (mu->q.head == NULL)
        new &= ~WAITERS;
    if (old & STARVING) {
        w->ok = true; /* LOCKED stays: the mutex is his */
        if (mu->q.head == NULL || now - w->n < STARVE_NS)
            new &= ~STARVING;
    } else {
        new = (new & ~LOCKED) | WOKEN;
    }
    STORE(&mu->state, new, RELEASE);
    rt_ready(g);
}

void
go_mutex_unlock_slow_(struct go_mutex *mu)
{
    unsigned tries = 0;

    (void)rt_enter();
    for (;;) {
        uint32_t old = LOAD(&mu->state, RELAXED);
        bool wake;
        int64_t now;

        if (UNLIKELY(old & BIASED)) {
            mutex_unbias(mu);
            continue;
        }
        wake = (old & STARVING) || (old & (WAITERS | WOKEN)) == WAITERS;
        now = (old & STARVING) ? go_now() : 0;

        if (!(old & LOCKED))
            rt_fatal("sync: unlock of unlocked mutex");
        if (old & QUEUE) {
            await_queue(&tries);
        } else if (!wake) {
            if (CAS(&mu->state, old, old & ~LOCKED, RELEASE))
                break;
        } else if (CAS(&mu->state, old, old | QUEUE, ACQUIRE)) {
            wake_one(mu, old, now);
            break;
        }
    }
    rt_exit();
}

bool
go_mutex_trylock(struct go_mutex *mu)
{
    uint32_t old = LOAD(&mu->state, RELAXED);

    while (!(old & LOCKED)) {
        if (UNLIKELY(old & BIASED)) {
            if (go_mutex_step_(mu, BIASED, BIASED | LOCKED))
                return true;
            mutex_unbias(mu);
        } else if (CAS(&mu->state, old, old | LOCKED, ACQUIRE)) {
            return true;
        }
        old = LOAD(&mu->state, RELAXED);
    }
    return false;
}
