/*
 * The local run queue of a P: a slot for the goroutine to run next, and a ring.
 *
 * As in Go (runtime/proc.go, runqput, runqget, runqgrab). One producer, the owner; many
 * consumers, which claim by a CAS on head.
 *
 *   Invariant  tail - head <= GO_RUNQ_SIZE (unsigned, wrapping), and ring[head..tail) are
 *              queued.
 *   put        writes the element, then releases tail: a consumer that acquires tail sees
 *              the element.
 *   get/steal  reads elements, then CASes head with release: the owner acquires head before
 *              it writes a slot again, so a slot is not overwritten while it is read; a
 *              thief whose CAS fails drops what it read.
 *   runnext    is exchanged atomically by all. The owner's put is an exchange, which is also
 *              the full barrier between "work is queued" and "is anybody idle?" that the
 *              wake-up protocol needs (see find.c).
 */
#ifndef GOJOBD_RUNTIME_SCHED_RUNQ_H
#define GOJOBD_RUNTIME_SCHED_RUNQ_H

#include "runtime/sched/sched.h"

#define RING_MASK (GO_RUNQ_SIZE - 1)

void runq_spill(struct go_p *p, struct go_g *g);
uint32_t runq_steal(struct go_p *thief, struct go_p *victim, bool take_next,
                    struct go_g **ret);

/* Append at the tail; a full ring sends half of it to the global queue. Owner only. */
static inline void
runq_put(struct go_p *p, struct go_g *g)
{
    uint32_t head = LOAD(&p->head, ACQUIRE); /* pairs with consumers' release */
    uint32_t tail = p->tail;

    if (UNLIKELY(tail - head >= GO_RUNQ_SIZE)) {
        runq_spill(p, g);
        return;
    }
    STORE(&p->ring[tail & RING_MASK], g, RELAXED);
    STORE(&p->tail, tail + 1, RELEASE); /* publishes the element */
}

/* Make g the next to run; the one it displaces goes to the tail. Wakes another M if that
 * leaves work for one. Owner only. */
static inline void
runq_put_next(struct go_p *p, struct go_g *g)
{
    struct go_g *old = SWAP(&p->runnext, g, SEQ_CST);

    if (old != NULL)
        runq_put(p, old);
    sched_wake_local(p);
}

/* Ring slot head has been taken: fetch what the next ones' turns will touch first, while
 * this one runs. Records stay mapped for ever, whatever became of their goroutines. */
static inline void
runq_prefetch(const struct go_p *p, uint32_t head)
{
    const struct go_g *next;
    const char *sp, *g;

    if (p->tail - head < 4)
        return; /* few: they are in the cache anyway */
    g = (const char *)LOAD(&p->ring[(head + 3) & RING_MASK], RELAXED);
    PREFETCH(g);
    PREFETCH(g + CACHE_LINE);
    PREFETCH(g + 2 * CACHE_LINE);
    next = LOAD(&p->ring[(head + 1) & RING_MASK], RELAXED);
    if (LOAD(&next->stack, RELAXED) == NULL)
        return; /* new: sp is its record's former goroutine's, and may be in use elsewhere */
    sp = (const char *)LOAD(&next->sp, RELAXED);
    PREFETCH(sp);
    PREFETCH(sp + CACHE_LINE);
    PREFETCH(sp + 2 * CACHE_LINE);
    PREFETCH(sp + 3 * CACHE_LINE);
}

/* Take from the head, NULL if empty. Owner only. */
static inline struct go_g *
runq_get(struct go_p *p)
{
    for (;;) {
        uint32_t head = LOAD(&p->head, ACQUIRE);
        struct go_g *g;

        if (head == p->tail)
            return NULL;
        g = LOAD(&p->ring[head & RING_MASK], RELAXED);
        if (CAS(&p->head, head, head + 1, RELEASE)) {
            runq_prefetch(p, head);
            return g;
        }
    }
}

/* Take the next-to-run slot, NULL if empty. */
static inline struct go_g *
runq_get_next(struct go_p *p)
{
    struct go_g *g = LOAD(&p->runnext, RELAXED);

    if (g == NULL)
        return NULL;
    return SWAP(&p->runnext, NULL, ACQUIRE); /* a thief may have been faster: NULL */
}

static inline uint32_t
runq_len(const struct go_p *p)
{
    return LOAD(&p->tail, RELAXED) - LOAD(&p->head, RELAXED);
}

/* Nothing to run? Any thread: the three words are read so that work moving from runnext to
 * the ring is not missed (Go's runqempty). */
static inline bool
runq_empty(const struct go_p *p)
{
    for (;;) {
        uint32_t head = LOAD(&p->head, ACQUIRE);
        uint32_t tail = LOAD(&p->tail, ACQUIRE);
        struct go_g *next = LOAD(&p->runnext, ACQUIRE);

        if (tail == LOAD(&p->tail, ACQUIRE))
            return head == tail && next == NULL;
    }
}

/* The next goroutine to run on p, or NULL if its queue is empty. Owner only. */
static inline struct go_g *
sched_pick(struct go_m *m, struct go_p *p)
{
    struct go_g *g;

    if (UNLIKELY(--p->countdown == 0 || LOAD(m->preempt, RELAXED) ||
                 LOAD(&p->timers.first, RELAXED) != GO_NEVER)) {
        g = sched_pick_slow(m, p);
        if (g != NULL) {
            BUMP(&p->slice, 1);
            return g;
        }
    }
    g = runq_get_next(p);
    if (g != NULL)
        return g; /* inherits the slice: a ping-pong pair starves nobody */
    g = runq_get(p);
    if (g != NULL)
        BUMP(&p->slice, 1);
    return g;
}

#endif
