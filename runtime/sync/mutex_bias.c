/*
 * Mutexes that one thread uses alone: it changes their state by plain stores.
 *
 * As with channels' locks (sched/bias.h, which has the reasons), a thread that locked a mutex
 * often enough with no other between comes to own it. What it then does without a locked
 * instruction is one change of state at a time, from free to locked or back: while it does,
 * it notes the mutex in its M. How long the mutex stays locked, by whom it is unlocked, and
 * where its holder runs meanwhile does not matter.
 *
 *   owner, a step:   (1) m->at_mutex = mu   (2) compiler barrier   (3) mu->owner == m?
 *   other, unbias:   (1) mark mu->owner     (2) fence_threads()    (3) m->at_mutex == mu?
 *
 * One of them sees the other (base/fence.h): the owner leaves the state alone, or the other
 * waits until the step is done. After that, nobody but the other changes the state until he
 * has cleared BIASED.
 *
 *   B1  BIASED is set by the holder, whose thread becomes owner right after; owner is not
 *       NULL only while BIASED is set.
 *   B2  BIASED is cleared by whoever marked owner, once the fence and the note are past and
 *       after setting owner to NULL. So an owner that was marked is marked by one thread,
 *       and in the time in which it was found.
 */
#define _GNU_SOURCE
#include "runtime/sync/mutex_bias.h"

#include <sched.h>

#include "runtime/base/fence.h"
#include "runtime/sched/bias.h"
#include "runtime/sched/sched.h"

#define LOCKED GO_MUTEX_LOCKED_
#define BIASED GO_MUTEX_BIASED_

/* The caller's thread may own mu: change its state from one of BIASED and BIASED | LOCKED to
 * the other. False: it is in another state, or not ours, and unchanged. */
bool
go_mutex_step_(struct go_mutex *mu, uint32_t from, uint32_t to)
{
    struct go_m *m = rt_m();
    bool done = false;

    if (LOAD(&mu->owner, RELAXED) != m || m == NULL)
        return false;
    STORE(&m->at_mutex, mu, RELEASE);
    RT_BARRIER();
    if (LIKELY(LOAD(&mu->owner, ACQUIRE) == m && LOAD(&mu->state, RELAXED) == from)) {
        STORE(&mu->state, to, RELEASE);
        done = true;
    }
    STORE(&m->at_mutex, NULL, RELEASE); /* mu may be freed from here */
    return done;
}

/* The caller holds mu, and its thread has locked it often. */
void
go_mutex_own_(struct go_mutex *mu)
{
    struct go_m *m = rt_m();

    mu->in_row = 0;
    if (m != NULL && bias_allowed(m) &&
        CAS(&mu->state, LOCKED, LOCKED | BIASED, ACQ_REL)) /* else somebody waits */
        STORE(&mu->owner, m, RELEASE);
}

/* Somebody is in a step, or at unbias: a few dozen instructions, or a system call. */
static void
relax(unsigned *tries)
{
    if (++*tries % 64 == 0)
        (void)sched_yield();
    else
        cpu_relax();
}

/* o is marked, by us. */
static void
take_from(struct go_mutex *mu, struct go_m *o)
{
    unsigned tries = 0;

    if (o != rt_m()) { /* else we know that it is in no step */
        int64_t start = rt_clock_raw();

        fence_threads();
        while (LOAD(&o->at_mutex, ACQUIRE) == mu) /* pairs with the end of a step */
            relax(&tries);
        bias_fenced(start);
    }
    STORE(&mu->owner, NULL, RELAXED);
    STORE(&mu->state, LOAD(&mu->state, RELAXED) & ~BIASED, RELEASE);
}

void
mutex_unbias(struct go_mutex *mu)
{
    unsigned tries = 0;

    while (LOAD(&mu->state, ACQUIRE) & BIASED) {
        struct go_m *o = LOAD(&mu->owner, RELAXED);

        if (o != NULL && !bias_is_marked(o) &&
            CAS(&mu->owner, o, bias_marked(o), ACQUIRE))
            take_from(mu, o);
        else
            relax(&tries); /* the owner is about to be set, or another marked it */
    }
}
