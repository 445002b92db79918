#define _GNU_SOURCE
#include "runtime/sched/runq.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

/* The ring is full: send half of it and g to the global queue, in order. Owner only. */
void
runq_spill(struct go_p *p, struct go_g *g)
{
    struct go_g *batch[GO_RUNQ_SIZE / 2 + 1];
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
    batch[n] = g;
    gq_put_all(batch, n + 1);
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

/* --- the global queue ------------------------------------------------------------------------
 *
 * Pointers in one array, reserved for as many goroutines as there can be, so that queueing
 * never fails; and an array rather than a list through the records, so that moving a batch
 * touches none of them: they are cold. */

static struct {
    struct go_g **v;     /* guarded by sched.lock */
    uint32_t head, tail; /* guarded by sched.lock; queued: v[head..tail) */
} gq;

#define GQ_SLIDE 65536 /* entries used up before the rest is moved to the front */

int
gq_init(void)
{
    size_t bytes = (size_t)2 * RT_G_MAX * sizeof(*gq.v);

    gq.v = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return gq.v == MAP_FAILED ? -ENOMEM : 0;
}

void
gq_put_all(struct go_g *const *v, uint32_t n)
{
    go_lck_lock(&sched.lock, GO_LCK_SCHED);
    memcpy(gq.v + gq.tail, v, n * sizeof(*v));
    gq.tail += n;
    /* seq_cst: ordered before the look at the idle Ps that follows (find.c). */
    STORE(&sched.gq_n, gq.tail - gq.head, SEQ_CST);
    go_lck_unlock(&sched.lock);
}

void
gq_put(struct go_g *g)
{
    gq_put_all(&g, 1);
}

/* Keep the used part of the array at its front. Each entry moves at most once for every
 * one that was taken out. Under sched.lock. */
static void
gq_slide(void)
{
    uint32_t n = gq.tail - gq.head;

    if (n == 0) {
        gq.head = gq.tail = 0;
    } else if (gq.head >= GQ_SLIDE && n <= gq.head) {
        memcpy(gq.v, gq.v + gq.head, n * sizeof(*gq.v));
        gq.head = 0;
        gq.tail = n;
    }
}

/* Take a fair share of the global queue, at most max: one is returned, the others go to
 * p's ring. NULL: empty. p's owner only. */
struct go_g *
gq_get(struct go_p *p, uint32_t max)
{
    struct go_g *first = NULL;
    uint32_t n, tail = p->tail;

    go_lck_lock(&sched.lock, GO_LCK_SCHED);
    n = sched.gq_n / LOAD(&sched.maxprocs, RELAXED) + 1;
    if (n > sched.gq_n)
        n = sched.gq_n;
    if (n > max)
        n = max;
    if (n > GO_RUNQ_SIZE - runq_len(p) + 1)
        n = GO_RUNQ_SIZE - runq_len(p) + 1;
    if (n > 0) {
        first = gq.v[gq.head];
        for (uint32_t i = 1; i < n; i++)
            STORE(&p->ring[tail++ & RING_MASK], gq.v[gq.head + i], RELAXED);
        gq.head += n;
        gq_slide();
        STORE(&sched.gq_n, gq.tail - gq.head, RELAXED);
    }
    go_lck_unlock(&sched.lock);
    STORE(&p->tail, tail, RELEASE); /* publishes the elements */
    return first;
}
