/*
 * A lock that its most frequent thread takes without a locked instruction: the lock of
 * channels. Internal. docs/decisions/0006-channel-locks-are-biased.md says why.
 *
 * It is a plain lock (base/lck.h) as long as several threads take it in turn. Once a
 * thread took it often enough in a row, that thread owns it: it only notes, in its own M,
 * that it is inside, and looks whether it still owns the lock.
 *
 *   owner, in:    (1) m->inside[i] = l    (2) compiler barrier   (3) l->owner == m?
 *   other:        (1) l->owner = NULL     (2) fence_threads()    (3) m->inside[i] == l?
 *
 * One of the two sees the other (base/fence.h): the owner finds that it is none any more and
 * takes the plain lock, or the other waits until inside[i] is cleared. The note lies in
 * the M and not in the lock, because a thread that read "owner" long ago may still write
 * its note, at a time when somebody else owns the lock: so it must be a word of its own.
 *
 * That fence costs microseconds, so others ask first. They hold the plain lock while they
 * wait for the owner (I2): one asks at a time, the rest wait for him.
 *
 *   - `waited` says that somebody waits. An owner that parks on the lock's object hands the
 *     lock over: it will not need it soon.
 *   - After RUN_NS the asker marks owner. The owner's next look finds the mark, hands over,
 *     and keeps away for a while. So two threads that both use a channel as fast as they
 *     can take turns of RUN_NS, in which the lines of the channel stay with one of them,
 *     instead of pulling them to and fro at each operation.
 *   - An owner that has not reacted after PATIENCE_NS is busy with something else, and loses
 *     the lock by the fence. Then no lock of the program gets an owner for fifty times as
 *     long as that took: at most a fiftieth of a thread's time goes into it.
 *
 * Time spent waiting here tells the scheduler which Ps would better be idle: crowd.c.
 *
 *   I1  owner becomes m only by m, holding the plain lock; m is never foreign: its memory
 *       stays, and so others may look at its notes.
 *   I2  Who holds the plain lock is inside if owner is NULL, and else is asking for it.
 *   I3  owner becomes NULL by the owner, when it is outside or done, or by an asker, who
 *       then waits for the fence and the note. Only askers mark it, and an asker leaves
 *       with owner NULL. Outside, the owner does it by a compare-and-swap from its mark.
 *   I4  inside[0..ninside) are the locks the thread holds by note, in the order of taking.
 */
#ifndef GOJOBD_RUNTIME_SCHED_BIAS_H
#define GOJOBD_RUNTIME_SCHED_BIAS_H

#include "runtime/sched/rt.h"

struct go_bias {
    struct go_lck plain;
    uint32_t waited;    /* atomic: somebody waits for the owner; under plain */
    uint32_t in_row;    /* times that last took it with nobody between; under plain */
    struct go_m *last;  /* under plain; never dereferenced */
    struct go_m *owner; /* atomic; an odd address: marked, the asker wants it now */
};

#define BIAS_NEED 32 /* uses in a row until a lock has an owner */

/* An owner with a mark: the owner's own address no longer equals it. */
static inline struct go_m *
bias_marked(struct go_m *m)
{
    return (struct go_m *)(void *)((char *)m + 1);
}

static inline bool
bias_is_marked(const struct go_m *m)
{
    return ((uintptr_t)m & 1) != 0;
}

/* May m own locks, and may a lock get an owner now? */
bool bias_allowed(const struct go_m *m);

/* A lock was taken from its owner by a fence; the caller began with it at start. */
void bias_fenced(int64_t start);

void bias_wait_(struct go_bias *l, struct go_m *m, enum go_lck_rank rank);
void bias_take_over_(struct go_bias *l, struct go_m *m);
void bias_own_(struct go_bias *l, struct go_m *m);

/* m: the calling thread's M. Does not park. */
static inline void
bias_lock(struct go_bias *l, struct go_m *m, enum go_lck_rank rank)
{
    uint32_t n = m->ninside;

    if (LIKELY(LOAD(&l->owner, RELAXED) == m) && LIKELY(n < RT_INSIDE_MAX)) {
        /* Release: who reads the note has seen what we did under the locks noted before. */
        STORE(&m->inside[n], l, RELEASE);
        RT_BARRIER();
        if (LIKELY(LOAD(&l->owner, ACQUIRE) == m)) {
            m->ninside = n + 1;
#ifdef GO_DEBUG_LOCKS
            go_lck_note_(&l->plain, rank);
#endif
            return;
        }
        STORE(&m->inside[n], NULL, RELEASE);
    }
    if (UNLIKELY(!go_lck_trylock(&l->plain, rank)))
        bias_wait_(l, m, rank);
    if (UNLIKELY(LOAD(&l->owner, ACQUIRE) != NULL))
        bias_take_over_(l, m);
    if (l->last != m) {
        l->last = m;
        l->in_row = 0;
    } else if (UNLIKELY(++l->in_row == BIAS_NEED)) {
        bias_own_(l, m);
    }
}

/* Locks of one thread are released in the reverse order of their taking. */
static inline void
bias_unlock(struct go_bias *l, struct go_m *m)
{
    uint32_t n = m->ninside;

    if (LIKELY(n > 0 && m->inside[n - 1] == l)) {
#ifdef GO_DEBUG_LOCKS
        go_lck_drop_(&l->plain);
#endif
        m->ninside = n - 1;
        STORE(&m->inside[n - 1], NULL, RELEASE); /* pairs with the acquire of who waits */
        return;
    }
    go_lck_unlock(&l->plain);
}

/* As bias_unlock, by a goroutine that is about to park on the lock's object. */
static inline void
bias_unlock_parking(struct go_bias *l, struct go_m *m)
{
    uint32_t n = m->ninside;

    /* An owner that is inside and waited for: the store to owner lets the asker in, so it is
     * the last thing we do inside, and l may be gone after it. The note that is left guards
     * nothing any more. */
    if (UNLIKELY(LOAD(&l->waited, RELAXED)) && n > 0 && m->inside[n - 1] == l) {
#ifdef GO_DEBUG_LOCKS
        go_lck_drop_(&l->plain);
#endif
        m->ninside = n - 1;
        STORE(&l->owner, NULL, RELEASE);
        STORE(&m->inside[n - 1], NULL, RELEASE);
        return;
    }
    bias_unlock(l, m);
}

#endif
