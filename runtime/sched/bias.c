/* The slow half of bias.h, which holds the protocol. */
#define _GNU_SOURCE
#include "runtime/sched/bias.h"

#include <sched.h>

#include "runtime/base/fence.h"
#include "runtime/sched/sched.h"

#define RUN_NS      1000 /* that an owner may go on while somebody waits */
#define PATIENCE_NS 1000 /* then, for it to see the mark */
#define AWAY_NS     500  /* that an owner keeps away after it has handed over */
#define BACK_MIN    100  /* ns; of a plain lock that is taken */
#define BACK_MAX    1000
#define BACK_TRIES  32
#define QUIET       50 /* times what a fence cost, no lock gets an owner */

/* Atomic: when locks may have owners again. */
static int64_t quiet_until;

bool
bias_allowed(const struct go_m *m)
{
    return !m->foreign && fence_threads_works() &&
           LOAD(&quiet_until, RELAXED) <= rt_clock_raw();
}

void
bias_fenced(int64_t start)
{
    int64_t now = rt_clock_raw();

    STORE(&quiet_until, now + QUIET * (now - start), RELAXED);
}

static void
keep_away(int64_t ns)
{
    int64_t end = rt_clock_raw() + ns;

    do
        cpu_relax();
    while (rt_clock_raw() < end);
}

/* Wait until l has no owner, at most for ns. Acquire: pairs with the owner's release. */
static bool
await_no_owner(struct go_bias *l, int64_t ns)
{
    int64_t end = rt_clock_raw() + ns;

    do {
        if (LOAD(&l->owner, ACQUIRE) == NULL)
            return true;
        cpu_relax();
    } while (rt_clock_raw() < end);
    return false;
}

/* o, which owned l before a fence, may be inside: wait until it is not. */
static void
await_outside(const struct go_bias *l, struct go_m *o)
{
    unsigned tries = 0;

    for (uint32_t i = 0; i < RT_INSIDE_MAX; i++)
        while (LOAD(&o->inside[i], ACQUIRE) == l) {
            if (++tries % 64 == 0)
                (void)sched_yield(); /* it can only have lost its CPU */
            else
                cpu_relax();
        }
}

/* Holding the plain lock: make o, another thread, no longer the owner. */
static void
dispossess(struct go_bias *l, struct go_m *o, int64_t start)
{
    STORE(&l->waited, 1, RELAXED);
    if (!await_no_owner(l, RUN_NS)) {
        (void)CAS(&l->owner, o, bias_marked(o), RELAXED);
        if (!await_no_owner(l, PATIENCE_NS)) {
            STORE(&l->owner, NULL, RELAXED);
            fence_threads();
            await_outside(l, o);
            bias_fenced(start);
        }
    }
    STORE(&l->waited, 0, RELAXED);
}

static void
note_wait(struct go_m *m, int64_t since)
{
    if (m->p != NULL)
        sched_note_wait(m->p, since, rt_clock_raw());
}

/* The plain lock is taken: get it. Who comes back after a while rather than at once leaves
 * its line to the holder, who in that while uses the lock many times at its full speed, and
 * is its owner soon. */
void
bias_wait_(struct go_bias *l, struct go_m *m, enum go_lck_rank rank)
{
    int64_t start = rt_clock_raw(), ns = BACK_MIN;

    /* Hand over; we are not inside. A compare-and-swap, because the asker may lose patience
     * in between, be done, and leave the lock to somebody who owns it by now. */
    if (LOAD(&l->owner, RELAXED) == bias_marked(m) &&
        CAS(&l->owner, bias_marked(m), NULL, RELEASE))
        ns = AWAY_NS;
    for (int i = 0; i < BACK_TRIES; i++) {
        keep_away(ns);
        if (go_lck_trylock(&l->plain, rank)) {
            note_wait(m, start);
            return;
        }
        ns = ns * 2 < BACK_MAX ? ns * 2 : BACK_MAX;
    }
    go_lck_lock(&l->plain, rank);
    note_wait(m, start);
}

/* The plain lock is ours, but somebody owns the lock: make that nobody. */
void
bias_take_over_(struct go_bias *l, struct go_m *m)
{
    struct go_m *o = LOAD(&l->owner, ACQUIRE);
    int64_t start;

    if (o == m) { /* no room for a note: this one plainly */
        STORE(&l->owner, NULL, RELAXED);
    } else if (o != NULL) {
        start = rt_clock_raw();
        dispossess(l, o, start);
        note_wait(m, start);
    }
}

/* m, inside by the plain lock, used it often enough to be its owner, from the next use on. */
void
bias_own_(struct go_bias *l, struct go_m *m)
{
    l->in_row = 0;
    if (bias_allowed(m))
        STORE(&l->owner, m, RELEASE);
}
