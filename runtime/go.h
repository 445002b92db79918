/*
 * goroutine: Go's concurrency in C.
 *
 * Goroutines on an M:N scheduler (G, P, M, work stealing, preemption), channels, select,
 * WaitGroup, Mutex, RWMutex, Once, Cond, Semaphore, errgroup, context, timers and a
 * netpoller. This header includes every public one; each of those is its own manual.
 *
 * Conventions, everywhere:
 *   time      int64_t nanoseconds; a deadline is absolute on go_now()'s clock
 *   errors    0 or a positive answer, or a negative errno; errno itself is never set for
 *             the caller, because a goroutine may resume on another thread
 *   PARKS     in a comment: the goroutine may wait, and may resume on another thread.
 *             Hold no pthread lock, no address of a thread-local and no errno across it.
 *   context   "goroutine" functions may also be called by threads the runtime did not
 *             start ("foreign threads"): where a goroutine would park, the thread sleeps
 *             on a futex. Exceptions say so.
 *   misuse    (send on a closed channel, negative WaitGroup …) prints what happened and
 *             every goroutine, and ends the process with status 2, as in Go.
 */
#ifndef GOJOBD_RUNTIME_GO_H
#define GOJOBD_RUNTIME_GO_H

#include "runtime/chan/chan.h"
#include "runtime/chan/select.h"
#include "runtime/context/context.h"
#include "runtime/debug/dump.h"
#include "runtime/debug/line.h"
#include "runtime/debug/stats.h"
#include "runtime/debug/trace.h"
#include "runtime/mem/arena.h"
#include "runtime/net/io.h"
#include "runtime/net/poll.h"
#include "runtime/sched/blocking.h"
#include "runtime/sched/proc.h"
#include "runtime/sched/spawn.h"
#include "runtime/sync/cond.h"
#include "runtime/sync/group.h"
#include "runtime/sync/mutex.h"
#include "runtime/sync/once.h"
#include "runtime/sync/rwmutex.h"
#include "runtime/sync/sem.h"
#include "runtime/sync/wg.h"
#include "runtime/time/timer.h"

#endif
