/*
 * Switching between contexts, and the hand-over note the rest refers to.
 *
 * A goroutine that parks becomes visible to wakers (its waiter is queued, the lock is
 * released) before its registers are saved: it may be readied, stolen and picked by another
 * M while it still runs the last instructions on its own stack. on_cpu closes that gap:
 *
 *   - the M that switches a G in sets on_cpu (it owns the G then);
 *   - the context that runs next on the same M clears it, with release, as its first act
 *     (switch_done): from there the saved registers and the stack are complete;
 *   - whoever picked the G waits for on_cpu == 0, with acquire, before switching to it.
 *
 * That wait must not be done on the stack of a G that is itself on its way out: two Ms could
 * wait for each other's. So sched.c, which picks on the parking G's stack, only switches
 * directly to a G whose on_cpu is already 0, and leaves the others to the scheduler loop,
 * which runs on the thread's own stack and may wait.
 *
 * The scavenger uses the same word to keep a waiting G from running while it returns pages
 * of its stack; see mem/scavenge.c.
 */
#ifndef GOJOBD_RUNTIME_SCHED_SWITCH_H
#define GOJOBD_RUNTIME_SCHED_SWITCH_H

#include "runtime/mem/stack.h"
#include "runtime/sched/context.h"
#include "runtime/sched/sched.h"

#if GO_ASAN
#include <sanitizer/common_interface_defs.h>
#endif
#if GO_TSAN
#include <sanitizer/tsan_interface.h>
#endif

/* Save the running context in *save, and run the one saved as load, whose stack is
 * [lo, lo + size) and, under TSan, fiber. ending: the running context never comes back. */
static inline void
switch_raw(void **save, void *load, const void *lo, size_t size, void *fiber, bool ending)
{
#if GO_ASAN
    void *fake = NULL;

    __sanitizer_start_switch_fiber(ending ? NULL : &fake, lo, size);
#endif
#if GO_TSAN
    __tsan_switch_to_fiber(fiber, 0);
#endif
    ctx_switch(save, load);
#if GO_ASAN
    __sanitizer_finish_switch_fiber(fake, NULL, NULL);
#endif
    (void)lo;
    (void)size;
    (void)fiber;
    (void)ending;
}

/* The first act of a context that was switched to: complete the hand-over of the one before. */
static inline void
switch_done(void)
{
    struct go_m *m = rt_m();
    struct go_g *prev = m->prev;

    if (prev == NULL)
        return;
    m->prev = NULL;
    if (UNLIKELY(LOAD(&prev->status, RELAXED) == GO_DEAD)) {
        stack_unbind(m->p, prev);
        STORE(&prev->on_cpu, 0, RELEASE);
        rt_free_record(m->p, prev);
        return;
    }
    STORE(&prev->on_cpu, 0, RELEASE); /* pairs with the acquire of whoever picked it */
}

/* Make g, picked by m and with a stack, the running one. */
static inline void
switch_in(struct go_m *m, struct go_g *g)
{
    m->g = g;
    STORE(&g->m, m, RELEASE); /* pairs with look.c's: whoever finds m finds it made */
    STORE(&g->on_cpu, 1, RELAXED);
    STORE(&g->status, GO_RUNNING, RELAXED);
    g->runs++;
    BUMP(&m->p->count.switches, 1);
    rt_trace(RT_EV_RUN, g, NULL);
}

/* From the running goroutine to another that is ready to go. Returns when from runs again,
 * perhaps on another thread. */
static inline void
switch_to_g(struct go_m *m, struct go_g *from, struct go_g *to)
{
    m->prev = from;
    switch_in(m, to);
    switch_raw(&from->sp, to->sp, (const void *)to->stack->lo,
               to->stack->hi - to->stack->lo, to->stack->fiber,
               LOAD(&from->status, RELAXED) == GO_DEAD);
    switch_done();
}

/* From the running goroutine to the scheduler loop of its thread. */
static inline void
switch_to_g0(struct go_m *m, struct go_g *from)
{
    m->prev = from;
    m->g = NULL;
    switch_raw(&from->sp, m->g0_sp, m->stack_lo, m->stack_size, m->fiber,
               LOAD(&from->status, RELAXED) == GO_DEAD);
    switch_done();
}

/* Can we switch to g from a goroutine's stack, without waiting or allocating? */
static inline bool
switch_ready(struct go_m *m, const struct go_g *g)
{
    (void)m;
    return g->locked_m == NULL && LOAD(&g->on_cpu, ACQUIRE) == 0;
}

#endif
