/*
 * Schedules: durable rows of "what to submit, and when next". When that is (cron, zones,
 * missed and overlapping runs, jitter) stands in the spec and is the caller's business; the
 * store keeps the row, and records a run in the very transaction that submits its jobs, so
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
    int64_t id; /* given by the store */
    char *name; /* unique */
    bool paused;
    bool config;     /* stands in the configuration file */
    int64_t created; /* put: 0 means now */
    int64_t next_at; /* ms since 1970; 0: never again */
    int64_t last_at; /* nominal time of the last run; 0: none */
    int64_t runs;
    int64_t missed_runs, skipped_runs;
    int64_t batch; /* of the last run; 0: none */
    void *spec;    /* what to submit: opaque */
    size_t spec_len;
};

/* What happened to a schedule: `attempt` of its events. Durable: never renumber. */
enum store_schedule_change {
    SCHEDULE_RAN = 0, /* batch 0: the run was skipped */
    SCHEDULE_CHANGED = 1,
    SCHEDULE_PAUSED = 2,
    SCHEDULE_RESUMED = 3,
    SCHEDULE_REMOVED = 4,
    SCHEDULE_ADDED = 5,
};

/* Enter a schedule, or replace the one of that name, whose history stays: *ret_id. Uses
 * name … next_at and spec of s. Inside a transaction, as all that take a store. */
int store_schedule_put(struct store *st, const struct store_schedule *s, int64_t *ret_id);

struct store_schedule_head {
    int64_t id;
    bool paused, config;
    int64_t created, next_at, last_at, batch;
};

/* By name, or by id if name is NULL: 1 and *ret, or 0 = there is none. */
int store_schedule_find(struct store *st, const char *name, int64_t id,
                        struct store_schedule_head *ret);

/* Its spec: malloc'd, the caller frees. 0 or -ENOENT. */
int store_schedule_spec(struct store *st, int64_t id, void **ret, size_t *ret_len);

/* The first with an id above `after` that stands in the configuration: 1, its id and its
 * name (malloc'd, the caller frees), or 0. */
int store_schedule_config(struct store *st, int64_t after, int64_t *ret_id, char **ret);

/* The id that the next new one gets. */
int64_t store_schedule_next_id(const struct store *st);

/* -ENOENT: there is none. */
int store_schedule_delete(struct store *st, int64_t id);
int store_schedule_pause(struct store *st, int64_t id, bool paused, int64_t next_at);

/* A run of the schedule that was to happen at `due` (its next_at) has been decided: the
 * next is at next_at; batch is what was submitted in this transaction, 0 if the run was
 * skipped. -ESTALE: next_at is no longer `due`: somebody was faster, undo the submission. */
int store_schedule_ran(struct store *st, int64_t id, int64_t due, int64_t next_at,
                       int64_t batch);

/* It ran beside its times, because somebody asked for it. -ENOENT as above. */
int store_schedule_ran_now(struct store *st, int64_t id, int64_t batch);

/* The row's head and, if its last run is not finished, that run's batch (else 0). 0 or
 * -ENOENT. */
int store_schedule_state(struct store *st, int64_t id, struct store_schedule_head *ret,
                         int64_t *ret_busy);

/* So many more runs were missed, and skipped. */
int store_schedule_count(struct store *st, int64_t id, int64_t missed, int64_t skipped);

/* No run, but the row goes on to next_at: what was missed is given up, or the clock or a
 * law moved it. last_at becomes `last`. */
int store_schedule_move(struct store *st, int64_t id, int64_t next_at, int64_t last);

struct store_schedules {
    struct store_schedule *v;
    size_t n;
};
void store_schedules_free(struct store_schedules *s);

/* Schedules with ids above `after`, by id, at most max. */
int store_read_schedules(struct store_reader *rd, int64_t after, size_t max,
                         struct store_schedules *ret);

/* One: 1, or 0 = there is none. By name, or by id if name is NULL. */
int store_read_schedule(struct store_reader *rd, const char *name, int64_t id,
                        struct store_schedules *ret);

#endif
