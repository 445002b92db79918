#define _GNU_SOURCE
#include "runtime/sched/runq.h"

#include "runtime/time/timer.h"

/* The ring is full: send half of it and g to the global queue, in order. Owner only. */
void
runq_spill(struct go_p *p, struct go_g *g)
{
    struct go_g *batch[GO_RUNQ_SIZE / 2];
    uint32_t head = LOAD(&p->head, ACQUIRE);
    uint32_t n = GO_RUNQ_SIZE / 2;

    if (p->tail - head < GO_RUNQ_SIZE) { /* consumers made room meanwhile */
        runq_put(p, g);
        return;
    }
    for (uint32_t i = 0; i < n; i++)
        batch[i] = LOAD(&p->ring[(head + i) & RING_MASK], RELAXED);
    if (!CAS(&p->head, head, head + n, RELEASE)) {
        runq_put(p, g);
        return;
    }
    for (uint32_t i = 0; i + 1 < n; i++)
        batch[i]->next = batch[i + 1];
    batch[n - 1]->next = g;
    gq_put_list(batch[0], g, n + 1);
}

/* Take victim's runnext, if victim seems not to get to it. It mostly will within a moment:
 * taking it at once makes a ping-pong pair thrash between two Ps. So wait for 3 us, some
 * thirty channel operations, and take it only if nothing has moved. */
static uint32_t
steal_next(struct go_p *victim, struct go_g **ret)
{
    struct go_g *next = LOAD(&victim->runnext, RELAXED);
    int64_t switches = LOAD(&victim->count.switches, RELAXED);

    if (next == NULL)
        return 0;
    if (LOAD(&victim->status, RELAXED) == P_RUNNING) {
        struct timespec nap = {.tv_nsec = 3000};

        nanosleep(&nap, NULL);
        if (LOAD(&victim->runnext, RELAXED) != next ||
            LOAD(&victim->count.switches, RELAXED) != switches)
            return 0;
    }
    *ret = SWAP(&victim->runnext, NULL, ACQUIRE);
    return *ret != NULL;
}

/* Move half of victim's ring (or its runnext, if asked and nothing else is there) to
 * thief's. One of them is returned in *ret rather than queued. The number taken. */
uint32_t
runq_steal(struct go_p *thief, struct go_p *victim, bool take_next, struct go_g **ret)
{
    uint32_t tail = thief->tail;

    for (;;) {
        uint32_t head = LOAD(&victim->head, ACQUIRE);
        uint32_t n = LOAD(&victim->tail, ACQUIRE) - head;

        n -= n / 2;
        if (n == 0) {
            return take_next ? steal_next(victim, ret) : 0;
        }
        if (n > GO_RUNQ_SIZE / 2) /* head and tail were read at different times */
            continue;
        for (uint32_t i = 0; i < n; i++)
            STORE(&thief->ring[(tail + i) & RING_MASK],
                  LOAD(&victim->ring[(head + i) & RING_MASK], RELAXED), RELAXED);
        /* Release: our reads of the slots come before the owner may reuse them. */
        if (CAS(&victim->head, head, head + n, ACQ_REL)) {
            *ret = LOAD(&thief->ring[(tail + n - 1) & RING_MASK], RELAXED);
            if (n > 1)
                STORE(&thief->tail, tail + n - 1, RELEASE);
            return n;
        }
    }
}

/* --- the global queue ------------------------------------------------------------------------ */

void
gq_put_list(struct go_g *head, struct go_g *tail, uint32_t n)
{
    tail->next = NULL;
    go_lck_lock(&sched.lock, GO_LCK_SCHED);
    if (sched.gq_tail != NULL)
        sched.gq_tail->next = head;
    else
        sched.gq_head = head;
    sched.gq_tail = tail;
    /* seq_cst: ordered before the look at the idle Ps that follows (find.c). */
    STORE(&sched.gq_n, sched.gq_n + n, SEQ_CST);
    go_lck_unlock(&sched.lock);
}

void
gq_put(struct go_g *g)
{
    gq_put_list(g, g, 1);
}

/* Take a fair share of the global queue, at most max: one is returned, the others go to
 * p's ring. NULL: empty. p's owner only. */
struct go_g *
gq_get(struct go_p *p, uint32_t max)
{
    struct go_g *first, *g;
    uint32_t n, room = GO_RUNQ_SIZE / 2;

    go_lck_lock(&sched.lock, GO_LCK_SCHED);
    n = sched.gq_n / LOAD(&sched.maxprocs, RELAXED) + 1;
    if (n > sched.gq_n)
        n = sched.gq_n;
    if (n > max)
        n = max;
    if (n > room)
        n = room;
    if (n > 1 && n - 1 > GO_RUNQ_SIZE - runq_len(p))
        n = GO_RUNQ_SIZE - runq_len(p) + 1;
    first = g = sched.gq_head;
    for (uint32_t i = 0; i < n; i++)
        g = g->next;
    if (n > 0) {
        sched.gq_head = g;
        if (g == NULL)
            sched.gq_tail = NULL;
        STORE(&sched.gq_n, sched.gq_n - n, RELAXED);
    }
    g = n > 0 ? first->next : NULL;
    for (uint32_t i = 1; i < n; i++) {
        struct go_g *next = g->next; /* before it is published: a thief may re-link it */

        STORE(&p->ring[p->tail & RING_MASK], g, RELAXED);
        STORE(&p->tail, p->tail + 1, RELEASE);
        g = next;
    }
    go_lck_unlock(&sched.lock);
    return n > 0 ? first : NULL;
}
