/*
 * Reading beside the writer: each reader is a connection of its own, read only, which sees
 * the store as of one commit per call. A reader serves one caller at a time; calls block
 * on the disk, so goroutines make them in a blocking region (pool.h does).
 *
 * What is returned is the caller's own memory, freed with the call named beside it.
 */
#ifndef GOJOBD_DAEMON_STORE_READ_H
#define GOJOBD_DAEMON_STORE_READ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/store/events.h"
#include "daemon/store/finish.h"
#include "daemon/store/state.h"
#include "daemon/store/store.h"

struct store_reader;

/* vfs NULL: the system's. The store must be open. 0 or -errno and a sentence in err. */
int store_reader_open(const char *path, const char *vfs, struct store_reader **ret,
                      char *err, size_t err_size);
void store_reader_close(struct store_reader *rd); /* accepts NULL */

/* Why the last call failed. */
const char *store_reader_error(const struct store_reader *rd);

struct store_job {
    int64_t id, lane, batch, attempt, fails, crashes, epoch;
    int64_t schedule; /* that made its batch; 0: none */
    int64_t run_at, created;
    int64_t started;  /* 0: never */
    int64_t finished; /* 0: not yet */
    int32_t prio;
    enum store_state state;
    bool cancelling; /* running, and asked to stop */
    bool has_deps;   /* it was submitted with dependencies */
    void *spec;      /* as submitted; NULL unless asked for */
    size_t spec_len;
    void *result; /* NULL: none, or not asked for */
    size_t result_len;
};

struct store_jobs {
    struct store_job *v;
    size_t n;
    int64_t next; /* where to go on: `after` of the next call; 0 = that was all */
};
void store_jobs_free(struct store_jobs *jobs);

enum store_want {
    STORE_WANT_SPEC = 1,
    STORE_WANT_RESULT = 2,
    STORE_WANT_SMALL = 4, /* the result, unless it is longer than 2 KiB */
};

/* A selection of jobs: all that is set must hold. */
struct store_filter {
    int64_t batch;                       /* 0: any */
    int64_t schedule;                    /* that made the batch; 0: any */
    unsigned states;                     /* bits 1 << state; 0: any */
    int kind;                            /* -1: any */
    int64_t queue;                       /* -1: any */
    const char *label_key, *label_value; /* of the job or its batch; key NULL: any; value
                                            NULL: whatever its value */
    bool newest_first;
};

/* The job of that id: 1, or 0 = there is none. */
int store_read_job(struct store_reader *rd, int64_t id, unsigned want,
                   struct store_jobs *ret);

/* Those of the n jobs that exist and are in one of the states (bits 1 << state), in the
 * order of ids, until their results have max_bytes or a little more together: how many ids
 * were looked at. */
int store_read_jobs_of(struct store_reader *rd, const int64_t *ids, size_t n,
                       unsigned states, unsigned want, size_t max_bytes,
                       struct store_jobs *ret);

/* Jobs with ids above `after`, in order of id, at most max; newest first: with ids below
 * `after` (0: from the newest), in falling order. Looks at no more than 50 000 rows a call:
 * ret->n may be small and ret->next still set. */
int store_read_jobs(struct store_reader *rd, const struct store_filter *f, int64_t after,
                    size_t max, unsigned want, struct store_jobs *ret);

struct store_attempt {
    int64_t attempt, epoch, started, finished;
    enum store_outcome outcome;
    char *error; /* or NULL */
};
struct store_attempts {
    struct store_attempt *v;
    size_t n;
};
void store_attempts_free(struct store_attempts *a);

/* The kept history of a job's unsuccessful attempts, oldest first. */
int store_read_attempts(struct store_reader *rd, int64_t job, struct store_attempts *ret);

/* Whether the job or its batch has this label; value NULL: whatever its value. 1, 0. */
int store_read_has_label(struct store_reader *rd, int64_t job, int64_t batch,
                         const char *key, const char *value);

struct store_named {
    char *key, *value;
};

struct store_batch_info {
    int64_t id, max_parallel, created, deadline, finished, pruned, schedule;
    bool closed, fail_fast, cancelled;
    enum store_stop why;      /* it is cancelled */
    int64_t n[STORE_STATE_N]; /* by state - STORE_BLOCKED */
    char *name;               /* or NULL */
    struct store_named *labels;
    size_t n_labels;
};
struct store_batches {
    struct store_batch_info *v;
    size_t n;
};
void store_batches_free(struct store_batches *b);

/* Batches with ids below `before` (0: from the newest), newest first, at most max. */
int store_read_batches(struct store_reader *rd, int64_t before, size_t max,
                       struct store_batches *ret);

/* Those of the newest 10 000 batches that have not ended, newest first, at most max. */
int store_read_unfinished(struct store_reader *rd, size_t max, struct store_batches *ret);

/* One batch: 1, or 0 = there is none. */
int store_read_batch(struct store_reader *rd, int64_t id, struct store_batches *ret);

/* The newest batch of that name, open or not: 1 and its id, or 0. */
int store_read_batch_named(struct store_reader *rd, const char *name, int64_t *ret);

struct store_events {
    struct store_event *v;
    size_t n;
    int64_t first_kept; /* older ones are gone; = next if the log is empty */
    int64_t next;       /* the number the next event of the store will have */
};
void store_events_free(struct store_events *e);

/* Events from number `from` on, at most max; of one batch only unless batch is 0. Go on at
 * the last one's seq + 1. */
int store_read_events(struct store_reader *rd, int64_t from, int64_t batch, size_t max,
                      struct store_events *ret);

/* A queue's settings and counters (by state - STORE_BLOCKED, since ever). */
struct store_queue_info {
    int64_t id, parallel, burst, pruned;
    double rate;
    bool paused;
    char *name;
    int64_t n[STORE_STATE_N];
};
struct store_queues {
    struct store_queue_info *v;
    size_t n;
};
void store_queues_info_free(struct store_queues *q);

/* All queues, by id. */
int store_read_queues(struct store_reader *rd, struct store_queues *ret);

/* Why a waiting job waits, as far as the store knows. */
enum { STORE_WHY_AWAITED = 100 };
struct store_why {
    enum store_state state;
    int64_t run_at;
    int64_t ahead;     /* queued jobs that go first by priority or place; capped */
    bool ahead_capped; /* there may be more */
    struct store_awaited {
        int64_t id;
        bool is_job;              /* else a batch */
    } awaited[STORE_WHY_AWAITED]; /* blocked: what has not ended, the first ones */
    size_t n_awaited;
    int64_t n_awaited_all;
    bool queue_paused, batch_cancelled;
    int64_t queue_parallel, queue_running; /* limit (0: none) and how many run */
    double queue_rate;                     /* 0: none */
    int64_t batch_parallel, batch_running;
};
int store_read_why(struct store_reader *rd, int64_t job, struct store_why *ret);

#endif
