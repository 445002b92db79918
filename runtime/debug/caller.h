/*
 * Who called code that keeps no frame pointer. Internal to backtrace.c.
 *
 * Distributions build libc, SQLite and most libraries without frame pointers, and blocking
 * calls end there: a walk by frame pointers alone would leave out the very function that
 * made the call. Its return address is on the stack all the same, between the stack pointer
 * and the next frame; rt_find_caller() looks for it.
 */
#ifndef GOJOBD_RUNTIME_DEBUG_CALLER_H
#define GOJOBD_RUNTIME_DEBUG_CALLER_H

#include <stdbool.h>
#include <stdint.h>

/* A word of any stack, read without sanitizers' objections. */
uintptr_t rt_peek(uintptr_t addr);

/* Whether the function that pc is in (exact: pc is the instruction itself) has not set up a
 * frame pointer there. */
bool rt_is_frameless(uintptr_t pc, bool exact);

/* The lowest word in [lo, hi) that is a return address from a call of the function that pc
 * is in: its address, or 0. */
uintptr_t rt_find_caller(uintptr_t pc, bool exact, uintptr_t lo, uintptr_t hi);

/* Whether word is a return address at all. */
bool rt_is_return(uintptr_t word);

#endif
