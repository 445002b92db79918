/*
 * Background shrinking of stacks, on sysmon's thread.
 *
 * Free stacks: what lay unused in a central pool between two visits goes back.
 *
 * Deep stacks whose goroutine waits: the pages below the frames in use go back. The
 * goroutine may be woken at any moment, so it must be kept from running meanwhile, without
 * any cost to the ordinary wake-up. The word on_cpu serves (switch.h): whoever wants to run
 * a G waits for it to be 0.
 *
 *   scavenger                        waker and runner
 *   (a) on_cpu: 0 -> SCAVENGING      (1) status = RUNNABLE
 *   (b) fence_threads()              (2) queue, dequeue
 *   (c) status still WAITING?        (3) on_cpu == 0? else wait
 *
 * That is a full fence on every thread (base/fence.h). A (1) before the fence of
 * its thread is seen by (c): we keep off. A (1) after it is followed by a (3) that sees
 * (a), since (2) orders (3) after (1): the runner waits. Either way nobody runs on the stack
 * while its pages go. A runner that had passed (3) before (a) stores on_cpu = 1 over ours;
 * its (1) came before the fence, so (c) sees it, or finds that the goroutine has run and
 * waits again: then on_cpu, looked at after status, is no longer ours.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "runtime/base/fence.h"
#include "runtime/mem/guard.h"
#include "runtime/mem/stack.h"
#include "runtime/sched/sched.h"

#define SCAVENGING  2
#define FREE_STEP   4096            /* free stacks a visit */
#define RECORD_STEP 8192            /* records looked at a visit */
#define BATCH       16              /* goroutines held at once: some 20 us */
#define IDLE_FOR    (2 * GO_SECOND) /* waiting for longer than that */
#define PAGE        4096

struct visit {
    struct go_g *batch[BATCH];
    uint32_t runs[BATCH];
    int n;
    int64_t now;
    uint32_t index, from, to; /* of the records, this visit's part */
    bool wanted;              /* some may be due later */
};

/* Give back what lies below the frames of g, which cannot run. */
static void
trim(struct go_g *g)
{
    uintptr_t lo, hi, sp = (uintptr_t)g->sp;

    if (!rt_stack_bounds(g, &lo, &hi) || sp <= lo || sp > hi)
        return;
    sp = (sp - 128) & ~(uintptr_t)(PAGE - 1); /* 128: the ABI's red zone */
    if (sp > lo && madvise((void *)lo, sp - lo, MADV_DONTNEED) == 0)
        stack_count_released(sp - lo);
}

static void
trim_batch(struct visit *v)
{
    if (v->n == 0)
        return;
    fence_threads();
    for (int i = 0; i < v->n; i++) {
        struct go_g *g = v->batch[i];

        if (LOAD(&g->status, ACQUIRE) == GO_WAITING &&
            LOAD(&g->on_cpu, ACQUIRE) == SCAVENGING) {
            stack_check(g, g->stack);
            g->stack->trimmed = v->runs[i];
            trim(g);
        }
    }
    for (int i = 0; i < v->n; i++)
        (void)CAS(&v->batch[i]->on_cpu, SCAVENGING, 0, RELEASE);
    v->n = 0;
}

static bool
consider(struct go_g *g, void *arg)
{
    struct visit *v = arg;
    uint32_t i = v->index++;
    const struct go_stack *stack;

    if (i < v->from)
        return true;
    if (i >= v->to)
        return false;
    if (LOAD(&g->status, ACQUIRE) != GO_WAITING)
        return true;
    v->wanted = true;
    if (v->now - LOAD(&g->since, RELAXED) < IDLE_FOR ||
        !CAS(&g->on_cpu, 0, SCAVENGING, SEQ_CST))
        return true;
    /* Between the look at status and the claim it may have run and even ended; stack and
     * runs are only trustworthy once (c) has found it waiting still: trim_batch() checks
     * before it uses them. */
    stack = LOAD(&g->stack, RELAXED); /* memory of stacks is never unmapped */
    if (LOAD(&g->status, ACQUIRE) != GO_WAITING || stack == NULL ||
        stack->trimmed == g->runs) {
        (void)CAS(&g->on_cpu, SCAVENGING, 0, RELEASE);
        return true;
    }
    v->batch[v->n] = g;
    v->runs[v->n++] = g->runs;
    if (v->n == BATCH)
        trim_batch(v);
    return true;
}

bool
stack_scavenge(int64_t now)
{
    static uint32_t position;
    struct visit v = {.now = now, .from = position, .to = position + RECORD_STEP};
    bool more = stack_release_free(FREE_STEP) > 0;

    if (!fence_threads_works() || guard_method() == GUARD_NONE)
        return more;
    rt_each_g(consider, &v);
    trim_batch(&v);
    position = v.index > v.to ? v.to : 0; /* the end was reached: start over */
    return more || v.wanted;
}
