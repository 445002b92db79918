#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "daemon/store/inner.h"

#define JOB_COLUMNS                                                                      \
    "id, state, lane, prio, batch, attempt, fails, crashes, epoch, flags, run_at, "      \
    "created,"                                                                           \
    " started, finished"
#define BATCH_COUNTS                                                                     \
    "n_blocked, n_scheduled, n_queued, n_running, n_succeeded, n_failed, n_cancelled, "  \
    "n_dead"
#define SET_COUNTS(from)                                                                 \
    "n_blocked = ?" #from "1, n_scheduled = ?" #from "2, n_queued = ?" #from "3,"        \
    " n_running = ?" #from "4, n_succeeded = ?" #from "5, n_failed = ?" #from "6,"       \
    " n_cancelled = ?" #from "7, n_dead = ?" #from "8"

#define CYCLE(edge_counts, dep_counts)                                                   \
    "WITH RECURSIVE reach (node) AS (VALUES (?1)"                                        \
    " UNION SELECT e.node FROM reach CROSS JOIN edge e ON e.batch = reach.node / 2"      \
    "  WHERE reach.node % 2 = 0 AND " edge_counts                                        \
    " UNION SELECT d.node FROM reach CROSS JOIN dep d ON d.job = reach.node / 2"         \
    "  WHERE reach.node % 2 = 1 AND " dep_counts ")"                                     \
    " SELECT 1 FROM reach WHERE node = ?2 LIMIT 1"

static const char *const texts[SQL_N] = {
    [SQL_BEGIN] = "BEGIN IMMEDIATE",
    [SQL_COMMIT] = "COMMIT",
    [SQL_ROLLBACK] = "ROLLBACK",
    [SQL_MARK] = "SAVEPOINT op",
    [SQL_MARK_KEEP] = "RELEASE op",
    [SQL_MARK_UNDO] = "ROLLBACK TO op",
    [SQL_META_GET] =
        "SELECT epoch, next_job, next_batch, next_event, next_sched FROM meta",
    [SQL_META_PUT] = "UPDATE meta SET epoch = ?1, next_job = ?2, next_batch = ?3,"
                     " next_event = ?4, next_sched = ?5 WHERE one = 1",

    [SQL_JOB_PUT] = "INSERT INTO job (" JOB_COLUMNS ", spec) VALUES"
                    " (?1, ?2, ?3, ?4, ?5, 0, 0, 0, ?6, ?7, ?8, ?9, ?9, ?9, ?10)",
    [SQL_JOB_GET] = "SELECT " JOB_COLUMNS " FROM job WHERE id = ?1",
    [SQL_JOB_RANGE] =
        "SELECT " JOB_COLUMNS ", spec FROM job WHERE id BETWEEN ?1 AND ?2 ORDER BY id",
    [SQL_JOB_START_RUN] =
        "UPDATE job SET state = 5, attempt = attempt + 1, epoch = ?3, started = ?4"
        " WHERE id BETWEEN ?1 AND ?2 AND state = 4 AND lane = ?5 AND prio = ?6"
        " AND batch = ?7",
    [SQL_JOB_FINISH] = "UPDATE job SET state = 6, finished = ?2 WHERE id = ?1"
                       " AND attempt = ?3 AND state = 5 AND batch = ?4 AND lane = ?5",
    [SQL_JOB_FINISH_RUN] =
        "UPDATE job SET state = 6, finished = ?2 WHERE id BETWEEN ?1 AND ?6"
        " AND attempt = ?3 AND state = 5 AND batch = ?4 AND lane = ?5",
    [SQL_JOB_SET] = "UPDATE job SET state = ?2, lane = ?3, fails = ?4, crashes = ?5,"
                    " flags = ?6, run_at = ?7, finished = ?8 WHERE id = ?1",
    [SQL_JOB_FLAG] = "UPDATE job SET flags = flags | ?2 WHERE id = ?1",
    [SQL_JOB_DEL] = "DELETE FROM job WHERE id = ?1",
    [SQL_SPEC_PUT] = "INSERT OR REPLACE INTO spec VALUES (?1, ?2)",
    [SQL_SPEC_GET] = "SELECT data FROM spec WHERE id = ?1",
    [SQL_SPEC_DEL] = "DELETE FROM spec WHERE id = ?1",
    [SQL_RESULT_PUT] = "INSERT OR REPLACE INTO result VALUES (?1, ?2)",
    [SQL_RESULT_PUT_8] =
        "INSERT OR REPLACE INTO result VALUES (?1, ?2), (?3, ?4), (?5, ?6), (?7, ?8),"
        " (?9, ?10), (?11, ?12), (?13, ?14), (?15, ?16)",
    [SQL_RESULT_DEL] = "DELETE FROM result WHERE id = ?1",
    [SQL_ATTEMPT_PUT] =
        "INSERT OR REPLACE INTO attempt VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    [SQL_ATTEMPT_NOTE] =
        "INSERT INTO attempt VALUES (?1, ?2, ?3, ?4, ?4, ?5, ?6) ON CONFLICT DO UPDATE"
        " SET error = CASE WHEN length(error) > 1000 THEN error"
        " ELSE ifnull(error || '; ', '') || excluded.error END",
    [SQL_ATTEMPT_TRIM] = "DELETE FROM attempt WHERE job = ?1 AND attempt <= ?2",
    [SQL_ATTEMPT_DEL] = "DELETE FROM attempt WHERE job = ?1",

    [SQL_READY_PUT] = "INSERT INTO ready VALUES (?1, ?2, ?3, ?4, ?5, ?6)"
                      " ON CONFLICT DO UPDATE SET last = max(last, excluded.last)",
    [SQL_READY_DEL] = "DELETE FROM ready WHERE lane = ?1 AND prio = ?2 AND batch = ?3"
                      " AND run_at = ?4 AND first = ?5",
    [SQL_READY_DROP_BATCH] =
        "DELETE FROM ready WHERE lane = ?1 AND prio = ?2 AND batch = ?3",
    [SQL_READY_TOP] =
        "SELECT prio FROM ready WHERE lane = ?1 AND prio < ?2 ORDER BY prio DESC LIMIT 1",
    [SQL_READY_NEXT_BATCH] = "SELECT batch FROM ready WHERE lane = ?1 AND prio = ?2"
                             " AND batch > ?3 ORDER BY batch LIMIT 1",
    [SQL_READY_FRONT] =
        "SELECT run_at, first, last FROM ready WHERE lane = ?1 AND prio = ?2"
        " AND batch = ?3 ORDER BY run_at, first LIMIT 1",
    [SQL_READY_NEXT_LANE] =
        "SELECT lane, prio FROM ready WHERE lane > ?1 ORDER BY lane, prio DESC LIMIT 1",
    [SQL_LATER_PUT] = "INSERT INTO later VALUES (?4, ?1, ?2, ?3, ?5, ?6)"
                      " ON CONFLICT DO UPDATE SET last = max(last, excluded.last)",
    [SQL_LATER_DEL] = "DELETE FROM later WHERE run_at = ?4 AND lane = ?1 AND prio = ?2"
                      " AND batch = ?3 AND first = ?5",
    [SQL_LATER_FRONT] = "SELECT lane, prio, batch, run_at, first, last FROM later"
                        " WHERE run_at <= ?1 ORDER BY run_at LIMIT 1",
    [SQL_LATER_NEXT] = "SELECT run_at FROM later ORDER BY run_at LIMIT 1",

    [SQL_LEASE_PUT] = "INSERT INTO lease (first, last) VALUES (?1, ?2)",
    [SQL_LEASE_DEL] = "DELETE FROM lease WHERE id = ?1",
    [SQL_LEASE_SET] = "UPDATE lease SET first = ?2, last = ?3 WHERE id = ?1",
    [SQL_LEASE_NEXT] =
        "SELECT id, first, last FROM lease WHERE id > ?1 ORDER BY id LIMIT 1",
    [SQL_LEASE_CLEAR] = "DELETE FROM lease",
    [SQL_LEASE_JOBS] = "SELECT min(id), max(id) FROM job WHERE id BETWEEN ?1 AND ?2"
                       " AND state = 5",

    [SQL_BATCH_NEW] = "INSERT INTO batch VALUES (?1, ?2, ?3, ?4, ?5, ?6, 0, 0, ?7,"
                      " 0, 0, 0, 0, 0, 0, 0, 0)",
    [SQL_BATCH_GET] =
        "SELECT flags, max_parallel, deadline, finished, pruned, " BATCH_COUNTS
        " FROM batch WHERE id = ?1",
    [SQL_BATCH_PUT] = "UPDATE batch SET flags = ?2, max_parallel = ?3, deadline = ?4,"
                      " finished = ?5, pruned = ?6, " SET_COUNTS(1) " WHERE id = ?1",
    [SQL_BATCH_NAMED] = "SELECT id FROM batch WHERE name = ?1 ORDER BY id DESC LIMIT 1",
    [SQL_BATCH_OPEN] = "SELECT id FROM batch WHERE name = ?1 AND name IS NOT NULL"
                       " AND (flags & 1) = 0",
    [SQL_BATCH_DUE] = "SELECT id, deadline FROM batch WHERE deadline > 0 AND finished = 0"
                      " AND (flags & 4) = 0 AND deadline > ?1 ORDER BY deadline LIMIT 1",
    [SQL_BATCH_NEXT] = "SELECT id FROM batch WHERE id > ?1 ORDER BY id LIMIT 1",
    [SQL_BATCH_DEL] = "DELETE FROM batch WHERE id = ?1",
    [SQL_SPAN_LAST] = "SELECT first, last FROM span WHERE batch = ?1 ORDER BY first DESC"
                      " LIMIT 1",
    [SQL_SPAN_PUT] = "INSERT INTO span VALUES (?1, ?2, ?3)",
    [SQL_SPAN_GROW] = "UPDATE span SET last = ?3 WHERE batch = ?1 AND first = ?2",
    [SQL_SPAN_AT] = "SELECT first, last FROM span WHERE batch = ?1 AND last >= ?2"
                    " ORDER BY first LIMIT 1",
    [SQL_SPAN_DEL] = "DELETE FROM span WHERE batch = ?1",
    [SQL_SWEEP_PUT] = "INSERT OR REPLACE INTO sweep VALUES (?1, ?2)",
    [SQL_SWEEP_FIRST] = "SELECT batch, next FROM sweep ORDER BY batch LIMIT 1",
    [SQL_SWEEP_GET] = "SELECT next FROM sweep WHERE batch = ?1",
    [SQL_SWEEP_DEL] = "DELETE FROM sweep WHERE batch = ?1",

    [SQL_QUEUE_ALL] =
        "SELECT id, name, paused, parallel, rate, burst, pruned, " BATCH_COUNTS
        " FROM queue ORDER BY id",
    [SQL_QUEUE_NEW] =
        "INSERT INTO queue VALUES (?1, ?2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)",
    [SQL_QUEUE_PUT] = "UPDATE queue SET pruned = ?2, " SET_COUNTS(1) " WHERE id = ?1",
    [SQL_QUEUE_CONF] = "UPDATE queue SET paused = ?2, parallel = ?3, rate = ?4, burst = "
                       "?5 WHERE id = ?1",

    [SQL_QUEUE_FILE_GET] = "SELECT paused, parallel, rate, burst FROM queue_file"
                           " WHERE id = ?1",
    [SQL_QUEUE_FILE_PUT] =
        "INSERT OR REPLACE INTO queue_file VALUES (?1, ?2, ?3, ?4, ?5)",

    [SQL_DEP_PUT] = "INSERT OR REPLACE INTO dep VALUES (?1, ?2, ?3)",
    [SQL_DEP_OF] = "SELECT job, mode FROM dep WHERE node = ?1 ORDER BY job LIMIT 1",
    [SQL_DEP_DEL] = "DELETE FROM dep WHERE node = ?1 AND job = ?2",
    [SQL_DEP_LEFT] = "SELECT EXISTS (SELECT 1 FROM dep WHERE job = ?1)",
    [SQL_DEP_ANY] = "SELECT 1 FROM dep LIMIT 1",
    [SQL_DEP_DROP_JOB] = "DELETE FROM dep WHERE job = ?1",
    [SQL_EDGE_PUT] = "INSERT OR IGNORE INTO edge VALUES (?1, ?2)",
    [SQL_EDGE_DROP_NODE] = "DELETE FROM edge WHERE node = ?1",
    [SQL_EDGE_DROP_BATCH] = "DELETE FROM edge WHERE batch = ?1",
    /* Does node ?1 wait, over any number of steps, for batch ?2 (as node) to end? The first
     * takes all of edge for true; the second only what a job still waits for. */
    [SQL_CYCLE_EVER] = CYCLE("true", "true"),
    [SQL_CYCLE] =
        CYCLE("EXISTS (SELECT 1 FROM span s JOIN dep w ON w.node = e.node"
              "   AND w.job BETWEEN s.first AND s.last WHERE s.batch = e.batch)"
              "  AND NOT EXISTS (SELECT 1 FROM sweep WHERE sweep.batch = e.batch)",
              "NOT EXISTS (SELECT 1 FROM job j JOIN sweep USING (batch)"
              "   WHERE j.id = d.job)"),
    [SQL_FIRE_PUT] = "INSERT OR REPLACE INTO fire VALUES (?1, ?2)",
    [SQL_FIRE_FIRST] = "SELECT node, ok FROM fire ORDER BY node LIMIT 1",
    [SQL_FIRE_DEL] = "DELETE FROM fire WHERE node = ?1",

    [SQL_IDEM_GET] = "SELECT job FROM idem WHERE key = ?1",
    [SQL_IDEM_PUT] = "INSERT INTO idem VALUES (?1, ?2)",
    [SQL_IDEM_DROP_JOB] = "DELETE FROM idem WHERE job = ?1",
    [SQL_LABEL_PUT] = "INSERT OR REPLACE INTO label VALUES (?1, ?2, ?3)",
    [SQL_LABEL_DROP] = "DELETE FROM label WHERE node = ?1",
    [SQL_REQUEST_GET] = "SELECT reply FROM request WHERE id = ?1",
    [SQL_REQUEST_PUT] = "INSERT INTO request VALUES (?1, ?2, ?3)",
    [SQL_REQUEST_TRIM] = "DELETE FROM request WHERE id IN"
                         " (SELECT id FROM request WHERE created < ?1 LIMIT ?2)",
    [SQL_EVENT_PUT] = "INSERT INTO event VALUES (?1, ?2, ?3, ?4)",
    [SQL_EVENT_FIRST] = "SELECT first, count, at FROM event ORDER BY first LIMIT 1",
    [SQL_EVENT_DEL] = "DELETE FROM event WHERE first = ?1",

    [SQL_SCHED_PUT] =
        "INSERT INTO schedule VALUES (?1, ?2, ?3, ?4, ?5, ?6, 0, 0, 0, 0, 0)"
        " ON CONFLICT (name) DO UPDATE SET paused = ?3, config = ?4, created = ?5,"
        " next_at = ?6 RETURNING id",
    [SQL_SCHED_DEL] = "DELETE FROM schedule WHERE id = ?1",
    [SQL_SCHED_FIRED] =
        "UPDATE schedule SET next_at = ?2, last_at = ?3, runs = runs + ?4,"
        " batch = CASE WHEN ?5 > 0 THEN ?5 ELSE batch END WHERE id = ?1",
    [SQL_SCHED_PAUSE] = "UPDATE schedule SET paused = ?2, next_at = ?3 WHERE id = ?1",
    [SQL_SCHED_COUNT] = "UPDATE schedule SET missed_runs = missed_runs + ?2,"
                        " skipped_runs = skipped_runs + ?3 WHERE id = ?1",
    [SQL_SCHED_GET] = "SELECT next_at FROM schedule WHERE id = ?1",
    [SQL_SCHED_HEAD] = "SELECT id, paused, config, created, next_at, last_at, batch"
                       " FROM schedule WHERE id = ?1",
    [SQL_SCHED_NAMED] = "SELECT id, paused, config, created, next_at, last_at, batch"
                        " FROM schedule WHERE name = ?1",
    [SQL_SCHED_CONFIG] = "SELECT id, name FROM schedule WHERE config <> 0 AND id > ?1"
                         " ORDER BY id LIMIT 1",
};

_Static_assert(STORE_QUEUED == 4 && STORE_RUNNING == 5 && STORE_SUCCEEDED == 6,
               "the texts above name states");

int
store_errno_of(int rc)
{
    switch (rc & 0xff) {
    case SQLITE_FULL:
        return -ENOSPC;
    case SQLITE_READONLY:
        return -EROFS;
    case SQLITE_CORRUPT:
        return -EUCLEAN;
    case SQLITE_NOTADB:
        return -EILSEQ;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return -EAGAIN;
    case SQLITE_NOMEM:
        return -ENOMEM;
    case SQLITE_TOOBIG:
        return -E2BIG;
    case SQLITE_CANTOPEN:
        return -ENOENT;
    case SQLITE_PERM:
    case SQLITE_AUTH:
        return -EACCES;
    case SQLITE_INTERRUPT:
        return -EINTR;
    default:
        return rc == SQLITE_IOERR_NOMEM ? -ENOMEM : -EIO;
    }
}

int
store_sqlite_err(struct store *st, int rc, const char *doing)
{
    int sys = sqlite3_system_errno(st->db);
    int r = store_errno_of(rc);

    snprintf(st->err, sizeof(st->err), "%s failed: %s%s%s%s", doing,
             (rc & 0xff) == SQLITE_FULL ? "the disk is full" : sqlite3_errmsg(st->db),
             (rc & 0xff) == SQLITE_IOERR && sys != 0 ? " (" : "",
             (rc & 0xff) == SQLITE_IOERR && sys != 0 ? strerror(sys) : "",
             (rc & 0xff) == SQLITE_IOERR && sys != 0 ? ")" : "");
    st->broken = true;
    return r;
}

int
store_refuse(struct store *st, int code, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(st->err, sizeof(st->err), fmt, ap);
    va_end(ap);
    return code;
}

sqlite3_stmt *
store_stmt(struct store *st, enum sql which)
{
    sqlite3_stmt **q = &st->stmt[which];
    int rc;

    if (*q == NULL) {
        rc = sqlite3_prepare_v3(st->db, texts[which], -1, SQLITE_PREPARE_PERSISTENT, q,
                                NULL);
        if (rc != SQLITE_OK) {
            (void)store_sqlite_err(st, rc, "preparing a statement");
            *q = NULL;
        }
    }
    return *q;
}

int
store_row(struct store *st, sqlite3_stmt *q)
{
    int rc, r = 0;

    if (q == NULL)
        return -EIO;
    rc = sqlite3_step(q);
    if (rc == SQLITE_ROW)
        return 1;
    if (rc != SQLITE_DONE)
        r = store_sqlite_err(st, rc, "access to the store");
    sqlite3_reset(q);
    return r;
}

int
store_run(struct store *st, sqlite3_stmt *q)
{
    int r;

    do
        r = store_row(st, q);
    while (r > 0);
    return r;
}

static sqlite3_stmt *
bound(struct store *st, enum sql which, int n, const int64_t *v)
{
    sqlite3_stmt *q = store_stmt(st, which);

    for (int i = 0; q != NULL && i < n; i++)
        sqlite3_bind_int64(q, i + 1, v[i]);
    return q;
}

int
store_exec(struct store *st, enum sql which, int n, const int64_t *v)
{
    return store_run(st, bound(st, which, n, v));
}

int
store_one(struct store *st, enum sql which, int n, const int64_t *v, int64_t *ret)
{
    sqlite3_stmt *q = bound(st, which, n, v);
    int r = store_row(st, q);

    if (r > 0) {
        *ret = sqlite3_column_int64(q, 0);
        sqlite3_reset(q);
    }
    return r;
}

void
store_stmts_free(struct store *st)
{
    for (int i = 0; i < SQL_N; i++) {
        sqlite3_finalize(st->stmt[i]);
        st->stmt[i] = NULL;
    }
}
