/*
 * Schedules: durable rows of "what to submit, and when next". When that is (cron, zones,
 * missed and overlapping runs, jitter) is the caller's business; the store keeps the row,
 * finds the due ones, and records a run in the very transaction that submits its jobs, so
 * that a run happens exactly once.
 */
#ifndef GOJOBD_DAEMON_STORE_SCHEDULE_H
#define GOJOBD_DAEMON_STORE_SCHEDULE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct store;
struct store_reader;

struct store_schedule {
    int64_t id;   /* given by the store */
    char *name;   /* unique */
    int32_t kind; /* kind, missed, overlap: the caller's numbers */
    int32_t missed, overlap;
    char *expr, *zone;
    int64_t jitter_ms;
    bool paused;
    int64_t created;
    int64_t next_at; /* ms since 1970; 0: never again */
    int64_t last_at; /* nominal time of the last run; 0: none */
    int64_t runs;
    int64_t batch; /* of the last run; 0: none */
    void *spec;    /* what to submit: opaque */
    size_t spec_len;
};

/* Enter a schedule, or replace the one of that name, whose history stays: *ret_id. Uses
 * name … next_at and spec of s. Inside a transaction. */
int store_schedule_put(struct store *st, const struct store_schedule *s, int64_t *ret_id);

/* -ENOENT: there is none. Inside a transaction, as the next three. */
int store_schedule_delete(struct store *st, int64_t id);
int store_schedule_pause(struct store *st, int64_t id, bool paused, int64_t next_at);

/* A run of the schedule that was to happen at `due` (its next_at) has been decided: the
 * next is at next_at; batch is what was submitted in this transaction, 0 if the run was
 * skipped. -ESTALE: next_at is no longer `due`: somebody was faster, undo the submission. */
int store_schedule_ran(struct store *st, int64_t id, int64_t due, int64_t next_at,
                       int64_t batch);

/* The row's next_at and, if its last run is not finished, that run's batch (else 0). 0 or
 * -ENOENT. Inside a transaction, as the next one. */
int store_schedule_state(struct store *st, int64_t id, int64_t *ret_next,
                         int64_t *ret_busy);

/* No run, but the row goes on to next_at: what was missed is given up, or the clock or a
 * law moved it. last_at becomes `last`. */
int store_schedule_move(struct store *st, int64_t id, int64_t next_at, int64_t last);

/* Ids and times of up to max schedules that are due at now_ms, by time: their number. */
int store_schedule_due(struct store *st, int64_t now_ms, int64_t *ids, int64_t *times,
                       int max);

/* When the next one is due: 1 and the time, or 0 = none. */
int store_schedule_next(struct store *st, int64_t *ret);

struct store_schedules {
    struct store_schedule *v;
    size_t n;
};
void store_schedules_free(struct store_schedules *s);

/* Schedules with names above `after` (NULL: from the first), by name, at most max. */
int store_read_schedules(struct store_reader *rd, const char *after, size_t max,
                         struct store_schedules *ret);

/* One: 1, or 0 = there is none. By name, or by id if name is NULL. */
int store_read_schedule(struct store_reader *rd, const char *name, int64_t id,
                        struct store_schedules *ret);

#endif
