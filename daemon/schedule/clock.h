/*
 * The wall clock that schedules follow, which may be set while they wait.
 *
 * The system's is CLOCK_REALTIME through a timerfd that reports when it is set. The virtual
 * one runs on go_now() from any start: with GOSEED a year of it passes in seconds.
 */
#ifndef GOJOBD_DAEMON_SCHEDULE_CLOCK_H
#define GOJOBD_DAEMON_SCHEDULE_CLOCK_H

#include <stdint.h>

struct go_ctx;
struct sched_clock;

/* 0 or -errno. */
int sched_clock_new(struct sched_clock **ret);
int sched_clock_new_virtual(int64_t start_ms, struct sched_clock **ret);
void sched_clock_free(struct sched_clock *c); /* nobody waits; NULL is fine */

/* Milliseconds since 1970. Any thread. */
int64_t sched_clock_now(const struct sched_clock *c);

enum { SCHED_CLOCK_SET = 1 };

/* PARKS until the clock shows until_ms, or somebody woke it: 0. SCHED_CLOCK_SET if it was
 * set meanwhile, or since the last wait; ctx's error when that ends. One goroutine. */
int sched_clock_wait(struct sched_clock *c, int64_t until_ms, struct go_ctx *ctx);

/* End the wait under way, or the next one. Any thread; never parks. */
void sched_clock_wake(struct sched_clock *c);

/* Set a virtual clock forward or back. */
void sched_clock_step(struct sched_clock *c, int64_t by_ms);

#endif
