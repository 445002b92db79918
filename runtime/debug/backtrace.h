/*
 * Backtraces by frame pointers: of the calling thread, of an interrupted one, and of any
 * goroutine. Async-signal-safe, no allocation.
 *
 * Every address but an interrupted instruction is a return address: it may lie just behind
 * the function that made the call, so symbols are looked up for the byte before it.
 */
#ifndef GOJOBD_RUNTIME_DEBUG_BACKTRACE_H
#define GOJOBD_RUNTIME_DEBUG_BACKTRACE_H

#include <stdbool.h>
#include <stdint.h>

#include "runtime/sched/rt.h"

/* Where a walk stands. The words it reads lie in [lo, hi). */
struct rt_frames {
    uintptr_t pc, fp;
    uintptr_t lo, hi;
    bool exact; /* pc is an interrupted instruction, not a return address */
};

/* The next frame outwards: false at the end. ret_pc is the frame's code address. */
bool rt_frame_next(struct rt_frames *f, uintptr_t *ret_pc);

/* Start at the caller of the function whose __builtin_frame_address(0) fp is. */
void rt_frames_here(struct rt_frames *f, const void *fp);

/* Start at the instruction that a signal interrupted. */
void rt_frames_context(struct rt_frames *f, const void *ucontext);

/* The mapping that holds addr, from /proc/self/maps: false if there is none. */
bool rt_find_mapping(uintptr_t addr, uintptr_t *lo, uintptr_t *hi);

/* A goroutine at rest: false if it is not, or has no stack. The caller checks afterwards
 * that it did not move meanwhile. */
bool rt_frames_parked(struct rt_frames *f, const struct go_g *g);

/* Backtrace of g, which was seen to run on m, by interrupting m: number of addresses written
 * to pcs; 0 if it does not answer within 100 ms; -1 if by then g did not run there. */
int rt_bt_ask(struct go_m *m, const struct go_g *g, void **pcs, int max);

#endif
