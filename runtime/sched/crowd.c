/*
 * Crowding: Ps whose goroutines do little else than hand values to each other.
 *
 * Two Ps that use one channel as fast as they can get less done than one of them alone: its
 * lines move to and fro, and one waits while the other works. A P that spent more than a
 * third of a window waiting for such locks is of no use, then: what it does in the rest of
 * the time, the others can do instead of waiting for it. It sends its goroutines to the
 * global queue and goes idle, and for HOLD_NS no P that queues work for itself wakes
 * another. After that the usual rule holds again (sched_wake_if_worth), and whether it is
 * still crowded shows within a window. Work from elsewhere, and a P that does not switch,
 * wake others meanwhile, too.
 *
 * One P leaves in each window, and the last one that runs never does.
 */
#include "runtime/sched/runq.h"

#define WINDOW_NS (100 * GO_MICROSECOND)
#define HOLD_NS   (5 * GO_MILLISECOND)

/* p, the caller's, may go idle: another one runs, and p has nothing only it looks after. */
static bool
may_leave(const struct go_p *p, int64_t now)
{
    return !rt_seeded &&
           LOAD(&sched.npidle, RELAXED) + 1 < LOAD(&sched.maxprocs, RELAXED) &&
           LOAD(&p->timers.n, RELAXED) == 0 &&
           now - LOAD(&sched.crowded_at, RELAXED) >= WINDOW_NS;
}

void
sched_crowded(struct go_p *p, int64_t now)
{
    if (!may_leave(p, now))
        return;
    STORE(&sched.crowded_at, now, RELAXED);
    STORE(&sched.crowded, 1, RELAXED);
    p->leave = true;
}

void
sched_note_wait(struct go_p *p, int64_t from, int64_t to)
{
    if (to - p->wait_window > WINDOW_NS) {
        p->wait_window = from;
        p->wait_ns = 0;
    }
    p->wait_ns += to - from;
    if (p->wait_ns > WINDOW_NS / 3) {
        p->wait_window = 0;
        sched_crowded(p, to);
    }
}

bool
sched_still_crowded(int64_t now)
{
    if (!LOAD(&sched.crowded, RELAXED))
        return false;
    if (now - LOAD(&sched.crowded_at, RELAXED) > HOLD_NS)
        STORE(&sched.crowded, 0, RELAXED);
    return true;
}
