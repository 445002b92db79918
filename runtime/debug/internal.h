/*
 * What the scheduler and the debugging room give each other. Internal: not installed.
 */
#ifndef GOJOBD_RUNTIME_DEBUG_INTERNAL_H
#define GOJOBD_RUNTIME_DEBUG_INTERNAL_H

#include "runtime/sched/rt.h"

/* --- given to the scheduler ---------------------------------------------------------------- */

/* As the runtime starts, once: $GOTRACEBACK, the SIGQUIT dumper, $GOTRACE. */
void rt_debug_init(void);

/* When the first go_main() ends, by its caller, or in a death's report: writes $GOTRACE's
 * file. */
void rt_debug_exit(void);

/* Called by the SIGURG handler on m's own thread while m->bt_state is 1: answers a request
 * for a backtrace of what was interrupted. Async-signal-safe. */
void rt_bt_answer(struct go_m *m, void *ucontext);

/* g ran off its stack: says so, shows its frames and ends the process with status 2.
 * Called by the SIGSEGV handler on the alternate stack (16 KiB of it are needed). */
_Noreturn void rt_report_overflow(struct go_g *g, void *fault_addr, void *ucontext);

/* A memory fault that is no overflow and that nobody else handles: reports as a death
 * does, and ends the process by that signal, with a core. On the alternate stack, too. */
_Noreturn void rt_report_fault(int sig, void *fault_addr, void *ucontext);

/* --- given by the scheduler ------------------------------------------------------------------ */

/* Every M but foreign ones, linked by all_next; atomic. Ms are never freed. */
extern struct go_m *rt_all_m;

/* How debug/gdb/goroutines.py finds goroutines; it also knows spawn.c's "records". */
extern const uint32_t rt_records_per_chunk;

/* Interrupt m's thread with SIGURG. */
void rt_signal_m(struct go_m *m);

/* --- between this room's files ----------------------------------------------------------------- */

/* $GOTRACEBACK: what is printed after the message. */
enum rt_traceback {
    RT_TB_NONE,   /* the message only */
    RT_TB_SINGLE, /* and the culprit */
    RT_TB_ALL,    /* and everybody else */
    RT_TB_SYSTEM, /* and the runtime's own frames and goroutines */
    RT_TB_CRASH,  /* and a core */
};
extern enum rt_traceback rt_traceback; /* constant after rt_debug_init() */

/* $GOTRACE. */
void rt_trace_init(void);
void rt_trace_exit(void);

#endif
