#include "daemon/store/backup.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/store/inner.h"

#define STEP_PAGES 1024 /* between two looks at stop */

/* --- invariants -------------------------------------------------------------------------- */

#define COUNTED(owner, match)                                                            \
    "SELECT o.id FROM " owner " o LEFT JOIN (SELECT " match " AS k,"                     \
    " sum(state = 2) s2, sum(state = 3) s3, sum(state = 4) s4, sum(state = 5) s5,"       \
    " sum(state > 5) sx FROM job GROUP BY 1) c ON c.k = o.id"                            \
    " WHERE ifnull(c.s2, 0) <> n_blocked OR ifnull(c.s3, 0) <> n_scheduled"              \
    " OR ifnull(c.s4, 0) <> n_queued OR ifnull(c.s5, 0) <> n_running"                    \
    " OR ifnull(c.sx, 0) + pruned <> n_succeeded + n_failed + n_cancelled + n_dead "     \
    "LIMIT 1"

/* Each must answer no row; the number in the row is named in the report. */
static const struct {
    const char *what, *sql;
} invariants[] = {
    {"I1: the counters of batch %lld differ from its jobs", COUNTED("batch", "batch")},
    {"I1: job %lld belongs to no batch",
     "SELECT id FROM job WHERE batch NOT IN (SELECT id FROM batch) LIMIT 1"},
    {"I2: the counters of queue %lld differ from its jobs",
     COUNTED("queue", "lane >> 6")},
    {"I2: job %lld belongs to no queue",
     "SELECT id FROM job WHERE lane >> 6 NOT IN (SELECT id FROM queue) LIMIT 1"},
    {"I3: queued job %lld is in no run",
     "SELECT id FROM job j WHERE state = 4 AND NOT EXISTS (SELECT 1 FROM ready r WHERE"
     " r.lane = j.lane AND r.prio = j.prio AND r.batch = j.batch"
     " AND j.id BETWEEN r.first AND r.last)"
     " AND NOT EXISTS (SELECT 1 FROM sweep s WHERE s.batch = j.batch) LIMIT 1"},
    {"I3: scheduled job %lld is in no run",
     "SELECT id FROM job j WHERE state = 3 AND NOT EXISTS (SELECT 1 FROM later r WHERE"
     " r.run_at <= j.run_at AND r.lane = j.lane AND r.prio = j.prio AND r.batch = j.batch"
     " AND j.id BETWEEN r.first AND r.last) LIMIT 1"},
    {"I4: running job %lld is in no lease",
     "SELECT id FROM job j WHERE state = 5 AND NOT EXISTS (SELECT 1 FROM lease l WHERE"
     " j.id BETWEEN l.first AND l.last) LIMIT 1"},
    {"I5: job %lld is in no span of its batch",
     "SELECT id FROM job j WHERE NOT EXISTS (SELECT 1 FROM span s WHERE s.batch = j.batch"
     " AND s.first <= j.id AND s.last >= j.id) LIMIT 1"},
    {"I6: batch %lld has ended without having finished, or the reverse",
     "SELECT id FROM batch WHERE (finished <> 0) <> ((flags & 1) <> 0"
     " AND n_blocked + n_scheduled + n_queued + n_running = 0) LIMIT 1"},
    {"I7: job %lld has a result but has not ended",
     "SELECT r.id FROM result r LEFT JOIN job j ON j.id = r.id"
     " WHERE j.state IS NULL OR j.state < 6 LIMIT 1"},
    {"I8: blocked job %lld waits for nothing",
     "SELECT id FROM job j WHERE state = 2 AND NOT EXISTS"
     " (SELECT 1 FROM dep d WHERE d.job = j.id) LIMIT 1"},
    {"I9: the log of events has a gap at %lld",
     "SELECT first FROM (SELECT first, lag(first + count) OVER (ORDER BY first) AS want"
     " FROM event) WHERE want <> first LIMIT 1"},
    {"I9: the log of events ends after %lld",
     "SELECT first FROM event WHERE first + count > (SELECT next_event FROM meta) LIMIT "
     "1"},
    {"I10: id %lld was given away twice",
     "SELECT id FROM job WHERE id >= (SELECT next_job FROM meta) LIMIT 1"},
    {"I11: job %lld has a state that does not exist",
     "SELECT id FROM job WHERE state NOT BETWEEN 2 AND 9 LIMIT 1"},
    {"I12: job %lld has lost its spec",
     "SELECT id FROM job j WHERE spec IS NULL AND NOT EXISTS"
     " (SELECT 1 FROM spec s WHERE s.id = j.id) LIMIT 1"},
};

static int
sorry(sqlite3 *db, int rc, const char *path, char *err, size_t err_size)
{
    snprintf(err, err_size, "cannot read %s: %s", path,
             db != NULL ? sqlite3_errmsg(db) : "out of memory");
    return db != NULL ? store_errno_of(rc) : -ENOMEM;
}

static int
check_file(sqlite3 *db, const char *path, char *err, size_t err_size)
{
    sqlite3_stmt *q = NULL;
    int rc = sqlite3_prepare_v2(db, "PRAGMA integrity_check(1)", -1, &q, NULL);
    int r = 0;

    if (rc == SQLITE_OK)
        rc = sqlite3_step(q);
    if (rc != SQLITE_ROW) {
        r = sorry(db, rc, path, err, err_size);
    } else if (strcmp((const char *)sqlite3_column_text(q, 0), "ok") != 0) {
        snprintf(err, err_size, "%s is damaged: %s", path, sqlite3_column_text(q, 0));
        r = -EUCLEAN;
    }
    sqlite3_finalize(q);
    return r;
}

static int
check_invariant(sqlite3 *db, size_t i, const char *path, char *err, size_t err_size)
{
    sqlite3_stmt *q = NULL;
    int rc = sqlite3_prepare_v2(db, invariants[i].sql, -1, &q, NULL);
    char *what;
    int r = 0;

    if (rc == SQLITE_OK)
        rc = sqlite3_step(q);
    if (rc == SQLITE_ROW) {
        what = sqlite3_mprintf(invariants[i].what, sqlite3_column_int64(q, 0));
        snprintf(err, err_size, "%s is damaged: %s", path, what != NULL ? what : "?");
        sqlite3_free(what);
        r = -EUCLEAN;
    } else if (rc != SQLITE_DONE) {
        r = sorry(db, rc, path, err, err_size);
    }
    sqlite3_finalize(q);
    return r;
}

int
store_verify(const char *path, const char *vfs, char *err, size_t err_size)
{
    sqlite3 *db = NULL;
    int rc, r = 0;

    rc = sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_EXRESCODE, vfs);
    if (rc != SQLITE_OK) {
        r = sorry(db, rc, path, err, err_size);
        sqlite3_close(db);
        return r;
    }
    sqlite3_busy_timeout(db, 5000);
    sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    /* One snapshot for all of it. */
    rc = sqlite3_exec(db, "PRAGMA query_only = 1; BEGIN", NULL, NULL, NULL);
    if (rc != SQLITE_OK)
        r = sorry(db, rc, path, err, err_size);
    if (r == 0)
        r = check_file(db, path, err, err_size);
    for (size_t i = 0; r == 0 && i < sizeof(invariants) / sizeof(invariants[0]); i++)
        r = check_invariant(db, i, path, err, err_size);
    sqlite3_close(db);
    return r;
}

/* --- backup ------------------------------------------------------------------------------ */

static int
copy(sqlite3 *from, const char *temp, const volatile bool *stop, char *err,
     size_t err_size)
{
    sqlite3 *to = NULL;
    sqlite3_backup *b = NULL;
    int rc, r = 0;

    rc = sqlite3_open_v2(temp, &to, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL);
    if (rc == SQLITE_OK)
        b = sqlite3_backup_init(to, "main", from, "main");
    if (b == NULL)
        rc = to != NULL ? sqlite3_errcode(to) : SQLITE_NOMEM;
    /* The snapshot is pinned by the caller's open read transaction, so that the writer's
     * commits do not make it start again. */
    while (b != NULL && (rc = sqlite3_backup_step(b, STEP_PAGES)) == SQLITE_OK)
        if (stop != NULL && *stop) {
            r = -ECANCELED;
            break;
        }
    if (b != NULL && (rc == SQLITE_DONE || rc == SQLITE_OK))
        rc = sqlite3_backup_finish(b);
    else if (b != NULL)
        sqlite3_backup_finish(b);
    if (r == -ECANCELED)
        snprintf(err, err_size, "the backup was stopped");
    else if (rc != SQLITE_OK) {
        snprintf(err, err_size, "cannot write %s: %s", temp, sqlite3_errstr(rc));
        r = store_errno_of(rc);
    }
    sqlite3_close(to);
    return r;
}

static int
sync_path(const char *path, int flags)
{
    int fd = open(path, flags | O_CLOEXEC), r = 0;

    if (fd < 0)
        return -errno;
    if (fsync(fd) < 0)
        r = -errno;
    close(fd);
    return r;
}

int
store_sync_directory(const char *path)
{
    char *dir = strdup(path);
    char *slash = dir != NULL ? strrchr(dir, '/') : NULL;
    int r;

    if (dir == NULL)
        return -ENOMEM;
    if (slash != NULL)
        slash[slash == dir] = '\0';
    r = sync_path(slash != NULL ? dir : ".", O_RDONLY | O_DIRECTORY);
    free(dir);
    return r;
}

/* Give the copy its name, for good. link() rather than rename(): never over a file. */
static int
publish(const char *temp, const char *dest, char *err, size_t err_size)
{
    int r = sync_path(temp, O_RDWR);

    if (r == 0 && link(temp, dest) < 0)
        r = -errno;
    if (r == 0)
        r = store_sync_directory(dest);
    if (r < 0)
        snprintf(err, err_size, "cannot write %s: %s", dest, strerror(-r));
    return r;
}

int
store_backup(const char *path, const char *dest, const volatile bool *stop, char *err,
             size_t err_size)
{
    sqlite3 *db = NULL;
    char *temp = NULL;
    int rc, r;

    if (access(dest, F_OK) == 0) {
        snprintf(err, err_size, "%s exists already", dest);
        return -EEXIST;
    }
    if (asprintf(&temp, "%s.part", dest) < 0) {
        snprintf(err, err_size, "out of memory");
        return -ENOMEM;
    }
    (void)unlink(temp);
    rc = sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY | SQLITE_OPEN_EXRESCODE, NULL);
    if (rc == SQLITE_OK) {
        sqlite3_busy_timeout(db, 5000);
        rc = sqlite3_exec(db, "BEGIN; SELECT 1 FROM meta", NULL, NULL, NULL);
    }
    r = rc != SQLITE_OK ? sorry(db, rc, path, err, err_size)
                        : copy(db, temp, stop, err, err_size);
    sqlite3_close(db);
    if (r == 0)
        r = publish(temp, dest, err, err_size);
    (void)unlink(temp);
    free(temp);
    return r;
}
