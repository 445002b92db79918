/*
 * The store's inside, shared by its own files only.
 *
 * What is in memory beside SQLite: the id counters, the batches and queues touched lately,
 * the events of this transaction and the claims' cursors. All but the cursors (mere hints)
 * belong to the transaction: a rollback drops or reloads them.
 */
#ifndef GOJOBD_DAEMON_STORE_INNER_H
#define GOJOBD_DAEMON_STORE_INNER_H

#include <sqlite3.h>
#include <stdint.h>

#include "daemon/store/events.h"
#include "daemon/store/state.h"
#include "daemon/store/store.h"

#define STORE_APPLICATION_ID 0x474f4a42 /* "GOJB" */
#define STORE_SCHEMA_VERSION 1

extern const char store_schema_sql[];

#define BATCH_CACHE_N 1024 /* a power of two */
#define CURSOR_N      256  /* a power of two */

enum store_batch_flag {
    BATCH_CLOSED = 1,
    BATCH_FAIL_FAST = 2,
    BATCH_CANCEL = 4, /* no job of it may start; why: one of the next two, or a client */
    BATCH_FAILED = 8, /* it was fail-fast, and one failed */
    BATCH_LATE = 16,  /* its deadline passed */
};

struct batch_row {
    int64_t id; /* 0: an empty slot of the cache */
    int64_t flags, max_parallel, deadline, finished, pruned;
    int64_t n[STORE_STATE_N];
    bool dirty;
};

struct queue_row {
    int64_t id;
    char *name;
    int64_t paused, parallel, burst, pruned;
    double rate;
    int64_t n[STORE_STATE_N];
    bool dirty;
};

struct ids {
    int64_t job, batch, event, sched;
};

struct claim_cursor {
    int64_t lane, prio, batch;
};

/* Every statement, prepared when first needed and kept. */
enum sql {
    SQL_BEGIN,
    SQL_COMMIT,
    SQL_ROLLBACK,
    SQL_MARK,
    SQL_MARK_KEEP,
    SQL_MARK_UNDO,
    SQL_META_GET,
    SQL_META_PUT,
    SQL_JOB_PUT,
    SQL_JOB_GET,
    SQL_JOB_RANGE,
    SQL_JOB_START_RUN,
    SQL_JOB_FINISH,
    SQL_JOB_FINISH_RUN,
    SQL_JOB_SET,
    SQL_JOB_FLAG,
    SQL_JOB_DEL,
    SQL_SPEC_PUT,
    SQL_SPEC_GET,
    SQL_SPEC_DEL,
    SQL_RESULT_PUT,
    SQL_RESULT_PUT_8,
    SQL_RESULT_DEL,
    SQL_ATTEMPT_PUT,
    SQL_ATTEMPT_NOTE,
    SQL_ATTEMPT_TRIM,
    SQL_ATTEMPT_DEL,
    SQL_READY_PUT,
    SQL_READY_DEL,
    SQL_READY_DROP_BATCH,
    SQL_READY_TOP,
    SQL_READY_NEXT_BATCH,
    SQL_READY_FIRST_BATCH,
    SQL_READY_FRONT,
    SQL_READY_NEXT_LANE,
    SQL_LATER_PUT,
    SQL_LATER_DEL,
    SQL_LATER_FRONT,
    SQL_LATER_NEXT,
    SQL_LEASE_PUT,
    SQL_LEASE_DEL,
    SQL_LEASE_SET,
    SQL_LEASE_NEXT,
    SQL_LEASE_CLEAR,
    SQL_LEASE_JOBS,
    SQL_BATCH_NEW,
    SQL_BATCH_GET,
    SQL_BATCH_PUT,
    SQL_BATCH_OPEN,
    SQL_BATCH_NAMED,
    SQL_BATCH_DUE,
    SQL_BATCH_NEXT,
    SQL_BATCH_DEL,
    SQL_SPAN_LAST,
    SQL_SPAN_PUT,
    SQL_SPAN_GROW,
    SQL_SPAN_AT,
    SQL_SPAN_DEL,
    SQL_SWEEP_PUT,
    SQL_SWEEP_FIRST,
    SQL_SWEEP_GET,
    SQL_SWEEP_DEL,
    SQL_QUEUE_ALL,
    SQL_QUEUE_NEW,
    SQL_QUEUE_PUT,
    SQL_QUEUE_CONF,
    SQL_QUEUE_FILE_GET,
    SQL_QUEUE_FILE_PUT,
    SQL_DEP_PUT,
    SQL_DEP_OF,
    SQL_DEP_DEL,
    SQL_DEP_LEFT,
    SQL_DEP_ANY,
    SQL_DEP_DROP_JOB,
    SQL_EDGE_PUT,
    SQL_EDGE_DROP_NODE,
    SQL_EDGE_DROP_BATCH,
    SQL_CYCLE_EVER,
    SQL_CYCLE,
    SQL_FIRE_PUT,
    SQL_FIRE_FIRST,
    SQL_FIRE_DEL,
    SQL_IDEM_GET,
    SQL_IDEM_PUT,
    SQL_IDEM_DROP_JOB,
    SQL_LABEL_PUT,
    SQL_LABEL_DROP,
    SQL_REQUEST_GET,
    SQL_REQUEST_PUT,
    SQL_REQUEST_TRIM,
    SQL_EVENT_PUT,
    SQL_EVENT_FIRST,
    SQL_EVENT_DEL,
    SQL_SCHED_PUT,
    SQL_SCHED_DEL,
    SQL_SCHED_FIRED,
    SQL_SCHED_PAUSE,
    SQL_SCHED_COUNT,
    SQL_SCHED_GET,
    SQL_SCHED_HEAD,
    SQL_SCHED_NAMED,
    SQL_SCHED_CONFIG,
    SQL_N
};

struct store {
    uint32_t magic;
    sqlite3 *db;
    sqlite3_stmt *stmt[SQL_N];
    char *path;
    int lock_fd;
    int64_t wal_pages;
    int64_t wal_frames; /* as of the last commit */
    int64_t wal_seen;   /* as of the last look at the log's length */
    int64_t wal_next;   /* checkpoint when it gets there */
    int64_t wal_bytes;  /* of the log's file, or less */
    int64_t wal_ahead;  /* how much longer than needed to make it */
    char err[320];
    struct store_recovery recovered;

    /* The transaction. */
    bool open;
    bool broken;              /* met an error that only a rollback mends */
    bool failed;              /* G6 */
    enum store_sync sync_now; /* what the connection is set to */
    int64_t now;
    int64_t epoch;
    struct ids ids, ids_saved,
        ids_marked; /* _saved: as committed; _marked: at the mark */
    struct event_buf events;
    struct event_buf events_marked; /* lengths only */

    struct batch_row batches[BATCH_CACHE_N]; /* by id, direct-mapped */
    uint16_t dirty_batch[BATCH_CACHE_N];     /* slots with .dirty */
    int n_dirty_batch;
    struct queue_row *queues;
    int n_queues;
    bool any_deps; /* table dep may have rows: set before, cleared after they go */

    struct claim_cursor cursors[CURSOR_N];
    int64_t lease_cursor, prune_cursor, prune_batch_cursor;
    int leases_made;          /* since the last sweep of leases */
    int64_t history, crashes; /* see store_set_limits() */
};

#define STORE_MAGIC 0x53544f52u

/* stmt.c */

/* The statement, reset and ready to bind; NULL when it cannot be prepared (st->err says
 * why, and the transaction is broken). */
sqlite3_stmt *store_stmt(struct store *st, enum sql which);

/* Step to the end: 0 or -errno; resets. */
int store_run(struct store *st, sqlite3_stmt *q);

/* Step once: 1 = a row stands in q (reset it later), 0 = none (reset), -errno (reset). */
int store_row(struct store *st, sqlite3_stmt *q);

/* bind the integers 1..n and run. */
int store_exec(struct store *st, enum sql which, int n, const int64_t *v);
#define STORE_EXEC(st, which, ...)                                                       \
    store_exec((st), (which), (int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), \
               (int64_t[]){__VA_ARGS__})

/* bind, step once and read the first column: 1 and *ret, 0 = no row, -errno. */
int store_one(struct store *st, enum sql which, int n, const int64_t *v, int64_t *ret);
#define STORE_ONE(st, which, ret, ...)                                                   \
    store_one((st), (which), (int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)),  \
              (int64_t[]){__VA_ARGS__}, (ret))

void store_stmts_free(struct store *st);

/* Turn SQLite's result into -errno, note the sentence, and mark the transaction broken. */
int store_sqlite_err(struct store *st, int rc, const char *doing);
int store_errno_of(int rc);

/* Note a sentence and return code; the transaction is still sound. */
int store_refuse(struct store *st, int code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* lock.c */
int store_lock(const char *path, int *ret_fd, char *err, size_t err_size);
void store_unlock(int fd);

/* backup.c: make path's entry in its directory survive a power cut. 0 or -errno. */
int store_sync_directory(const char *path);

/* wal.c: keep the log longer than it is full; outside a transaction. tidy: bring it to its
 * usual length after moving it into the database. */
void store_wal_ahead(struct store *st);
int store_wal_tidy(struct store *st);

/* tables.c: make in db the tables of schema `to` out of those of `from` (0: none); SQLite's
 * result. And refuse a file whose tables are not those of its schema. */
int store_migrate_to(sqlite3 *db, int64_t from, int64_t to);
int store_tables_check(struct store *st, int64_t version);

/* recover.c: start the next epoch, inside a transaction. */
int store_recover(struct store *st);

/* tally.c: batches and queues in memory. */

/* The cached row of a batch; NULL with *ret_err = -ENOENT (no such batch) or an error. It
 * stays valid until the next store_batch(). */
struct batch_row *store_batch(struct store *st, int64_t id, int *ret_err);
int store_batch_dirty(struct store *st, struct batch_row *b);

/* Count delta jobs more in state s, in their batch and queue. */
int store_tally(struct store *st, int64_t batch, int64_t lane, enum store_state s,
                int64_t d);

/* As two tallies, -n and +n, through store_state_check(). */
int store_move(struct store *st, int64_t batch, int64_t lane, enum store_state from,
               enum store_state to, int64_t n);

int store_queues_load(struct store *st);
void store_queues_free(struct store *st);
struct queue_row *store_queue(struct store *st, int64_t id);

/* Write what is dirty; decide which batches have ended. */
int store_tally_flush(struct store *st);
void store_tally_drop(struct store *st);

static inline int64_t
batch_live(const struct batch_row *b)
{
    return b->n[0] + b->n[1] + b->n[2] + b->n[3];
}

/* runs.c: the ready and later tables. */

/* ids [first, last] are queued (run_at <= now) or scheduled: enter them. */
int store_run_put(struct store *st, int64_t lane, int64_t prio, int64_t batch,
                  int64_t run_at, int64_t first, int64_t last);

/* A job's row as the slow paths need it. */
struct job_row {
    int64_t id, lane, prio, batch, attempt, fails, crashes, epoch, flags, run_at, created,
        started, finished;
    enum store_state state;
};

/* 1, 0 (no such job) or -errno. */
int store_job_row(struct store *st, int64_t id, struct job_row *ret);
void store_job_columns(sqlite3_stmt *q, struct job_row *ret);

/* Write the changed columns of row back, counting the change of state from `from`, and
 * log an event. Enters it in ready/later when it is now queued or scheduled. */
int store_job_change(struct store *st, const struct job_row *row, enum store_state from,
                     enum event_type type);

/* depend.c: a node has ended. */
#define NODE_BATCH(id) ((id)*2)
#define NODE_JOB(id)   ((id)*2 + 1)
int store_node_ended(struct store *st, int64_t node, bool ok);

#endif
