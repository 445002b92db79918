/* Between the files of this room: the two halves of every death. See panic.c. */
#ifndef GOJOBD_RUNTIME_DEBUG_PANIC_H
#define GOJOBD_RUNTIME_DEBUG_PANIC_H

#include <stdbool.h>

#include "runtime/debug/backtrace.h"

/* Become the one that reports, and print; returns in one thread of the process only. */
void rt_die_begin(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Report culprit (NULL: none) as the calling goroutine, then the others, as $GOTRACEBACK
 * wants, and end the process: by abort() if core, else with status 2. */
_Noreturn void rt_die_end(const struct rt_frames *culprit, bool core);

/* Read $GOTRACEBACK. */
void rt_traceback_init(void);

#endif
