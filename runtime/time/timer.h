/*
 * Time: sleeping, timers and tickers (Go's package time). Never early; on an idle machine
 * late by some ten microseconds (threads run with 1 ns timer slack, epoll_pwait2).
 *
 * Channels made here carry int64_t: the go_now() at which the timer fired. They buffer one
 * element; a tick nobody took is dropped.
 */
#ifndef GOJOBD_RUNTIME_TIME_TIMER_H
#define GOJOBD_RUNTIME_TIME_TIMER_H

#include <stdbool.h>
#include <stdint.h>

#define GO_NANOSECOND  INT64_C(1)
#define GO_MICROSECOND INT64_C(1000)
#define GO_MILLISECOND INT64_C(1000000)
#define GO_SECOND      INT64_C(1000000000)

/* A deadline that never comes. */
#define GO_NEVER INT64_MAX

struct go_chan;
struct go_timer;

/* CLOCK_MONOTONIC in nanoseconds; virtual time under GOSEED. Any thread. */
int64_t go_now(void);

/* go_now() + ns, clamped to GO_NEVER instead of overflowing. */
int64_t go_deadline(int64_t ns);

/* PARKS for at least ns; ns <= 0 returns at once (after a preemption check). */
void go_sleep(int64_t ns);

/* PARKS until deadline. */
void go_sleep_until(int64_t deadline);

/* A channel that gets one element after ns. The caller unrefs it. NULL: no memory. */
struct go_chan *go_after(int64_t ns);

/* A one-shot timer on a channel, or NULL. */
struct go_timer *go_timer_new(int64_t ns);

/* A timer that calls fn(arg) in a goroutine of its own after ns, or NULL. */
struct go_timer *go_after_func(int64_t ns, void (*fn)(void *), void *arg);

/* A ticker: an element every period (> 0, else panics), or NULL. */
struct go_timer *go_ticker_new(int64_t period);

/* Borrowed; NULL for an after_func. */
struct go_chan *go_timer_chan(struct go_timer *t);

/* Keep t from firing; true if it was armed. As in Go 1.23, no element of before is received
 * after stop or reset returned. */
bool go_timer_stop(struct go_timer *t);

/* Arm t anew (for a ticker: with period ns); true if it was armed. */
bool go_timer_reset(struct go_timer *t, int64_t ns);

/* Stop and free; NULL is fine. A function already started runs on. */
void go_timer_free(struct go_timer *t);

#endif
