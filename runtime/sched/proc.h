/*
 * The processors (P): how many goroutines run at once, and the ties between a goroutine
 * and its thread.
 */
#ifndef GOJOBD_RUNTIME_SCHED_PROC_H
#define GOJOBD_RUNTIME_SCHED_PROC_H

#include <stdint.h>

#define GO_MAXPROCS_MAX 1024

/* Set how many Ps may run goroutines at once and return the former number; n <= 0 only
 * asks. Clamped to GO_MAXPROCS_MAX. More Ps take effect at once; a P too many retires at
 * its next scheduling point (10 ms at most), so nothing stops meanwhile. Any thread.
 *
 * The start value is $GOMAXPROCS if that is a number from 1 to GO_MAXPROCS_MAX (anything
 * else is reported on stderr and ignored), else the CPUs this process may use: its affinity
 * mask, lowered by the CPU quota of its control groups, of either version and however
 * nested, rounded up (Go 1.25's rule, but at least 1). */
int go_maxprocs(int n);

/* CPUs this process may use, by affinity mask only (Go's NumCPU). */
int go_numcpu(void);

/* Live goroutines: spawned and not yet ended (Go's NumGoroutine). Any thread. */
int64_t go_num_goroutine(void);

/* Tie the calling goroutine to its current thread until unlocked as often as locked: no
 * other goroutine runs on that thread, and this one on no other. For libraries that keep
 * state per thread. Each switch of such a goroutine costs a thread switch. */
void go_lock_os_thread(void);
void go_unlock_os_thread(void);

/* Most threads the runtime may start (default 10000, as Go's SetMaxThreads); returns the
 * former limit. Needing one more is fatal: "thread exhaustion". */
int go_max_threads(int n);

#endif
