/*
 * The log of events: what happened to jobs and batches, numbered without a gap.
 *
 * The events of one commit are one row: a packed text of about six bytes each, so that a
 * job's events cost next to nothing. A client that has seen number n asks for n + 1 and
 * following; numbers older than the log's start are gone by retention, which the answer
 * shows by starting later.
 *
 * Packed form, per event: type byte; then as unsigned LEB128 the zigzag difference of the
 * job and of the batch to those of the event before (0 at the start), then attempt, state
 * and count.
 */
#ifndef GOJOBD_DAEMON_STORE_EVENTS_H
#define GOJOBD_DAEMON_STORE_EVENTS_H

#include <stddef.h>
#include <stdint.h>

#include "daemon/store/state.h"

/* Durable: never renumber. */
enum event_type {
    EVENT_ADDED = 1, /* jobs job … job+count-1 were submitted, in this state */
    EVENT_STATE = 2, /* the job is now in this state, its attempt is this */
    EVENT_BATCH_END =
        3, /* closed and nothing left; state: succeeded, failed, cancelled */
    EVENT_BATCH_STOP = 4, /* the batch is being cancelled */
    EVENT_SCHEDULE = 5,   /* schedule `job` started batch `batch` (0: skipped a run) */
    EVENT_QUEUE = 6,      /* queue `job` has other limits, or was paused or resumed */
};

struct store_event {
    int64_t seq;
    int64_t at_ms;
    enum event_type type;
    enum store_state state;
    int64_t job;
    int64_t batch;
    int64_t attempt;
    int64_t count;
};

/* A growing packed text. Zero is empty. */
struct event_buf {
    unsigned char *data;
    size_t len, cap;
    int64_t count;
    int64_t last_job, last_batch;
};

/* 0 or -ENOMEM: nothing was added. */
int event_put(struct event_buf *b, const struct store_event *ev);
void event_clear(struct event_buf *b);
void event_fini(struct event_buf *b);

/* Reads a packed text. Bytes that make no sense end it with an error, never a crash. */
struct event_cursor {
    const unsigned char *p, *end;
    int64_t seq, at_ms, last_job, last_batch;
};

void event_cursor_init(struct event_cursor *c, const void *data, size_t len,
                       int64_t first, int64_t at_ms);

/* 1 and *ret, 0 at the end, -EUCLEAN for a damaged text. */
int event_next(struct event_cursor *c, struct store_event *ret);

#endif
