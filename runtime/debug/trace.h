/*
 * Event trace: what the scheduler did, as Chrome trace-event JSON for Perfetto
 * (https://ui.perfetto.dev) or chrome://tracing: one track per P, one slice per run of a
 * goroutine that says why it stopped (what it waits for, if it parked), and instants for
 * spawn, wake, steal, blocking call and hand-off.
 * $GOTRACE=FILE traces the whole program from go_main on.
 */
#ifndef GOJOBD_RUNTIME_DEBUG_TRACE_H
#define GOJOBD_RUNTIME_DEBUG_TRACE_H

#include <stddef.h>

/* Start recording, at most max_events per thread (0: 1 Mi); later ones are counted and
 * dropped. 0, -EBUSY if already on, -ENOMEM. Any thread. */
int go_trace_start(size_t max_events);

/* Stop, and write the JSON to fd: 0 or -errno (-EINVAL: not on). Blocks while fd does. */
int go_trace_stop(int fd);

#endif
