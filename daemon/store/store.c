#include "daemon/store/store.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/store/inner.h"
#include "runtime/base/check.h"

/*
 * Opening, migrating, transactions.
 *
 * A transaction's end, in order: counters, the row of events, the id counters, COMMIT. If
 * any of these fails everything is rolled back, in SQLite and in memory. See store.h, G6,
 * for what happens next.
 */

#define WAL_AHEAD_MAX (1 << 20)

static int
exec_text(struct store *st, const char *sql)
{
    int rc = sqlite3_exec(st->db, sql, NULL, NULL, NULL);

    return rc == SQLITE_OK ? 0 : store_sqlite_err(st, rc, "preparing the store");
}

/* The integer that a PRAGMA or SELECT answers. */
static int
ask_int(struct store *st, const char *sql, int64_t *ret)
{
    sqlite3_stmt *q = NULL;
    int rc = sqlite3_prepare_v2(st->db, sql, -1, &q, NULL);

    if (rc == SQLITE_OK) {
        rc = sqlite3_step(q);
        if (rc == SQLITE_ROW) {
            *ret = sqlite3_column_int64(q, 0);
            rc = SQLITE_OK;
        }
    }
    sqlite3_finalize(q);
    return rc == SQLITE_OK ? 0 : store_sqlite_err(st, rc, "reading the store");
}

/* --- opening ----------------------------------------------------------------------------- */

/* Whose file is this? *ret_version is 0 for a new one. */
static int
identify(struct store *st, int64_t *ret_version)
{
    int64_t app = 0, tables = 0;
    int r;

    r = ask_int(st, "PRAGMA application_id", &app);
    if (r == 0)
        r = ask_int(st, "PRAGMA user_version", ret_version);
    if (r == 0)
        r = ask_int(st, "SELECT count(*) FROM sqlite_schema", &tables);
    if (r == -EILSEQ)
        return store_refuse(st, -EILSEQ, "%s is not a gojobd database", st->path);
    if (r == -EUCLEAN)
        return store_refuse(st, -EUCLEAN, "%s is damaged; restore a backup", st->path);
    if (r < 0)
        return r;
    if (app == 0 && *ret_version == 0 && tables == 0)
        return 0;
    if (app != STORE_APPLICATION_ID)
        return store_refuse(st, -EILSEQ, "%s is the database of another application",
                            st->path);
    if (*ret_version < 1)
        return store_refuse(st, -EUCLEAN,
                            "%s is damaged: its schema has the number %lld; restore a "
                            "backup",
                            st->path, (long long)*ret_version);
    if (*ret_version > STORE_SCHEMA_VERSION)
        return store_refuse(
            st, -EPROTO,
            "%s was written by a newer gojobd (schema %lld, this one knows %d)", st->path,
            (long long)*ret_version, STORE_SCHEMA_VERSION);
    return 0;
}

/* Before the first page is written: what only a new file can be told. */
static int
configure(struct store *st, const struct store_opts *o, bool fresh)
{
    char sql[512];
    int64_t kib = o->cache_kib > 0 ? o->cache_kib : 16384;
    int r = 0;

    if (fresh)
        r = exec_text(st, "PRAGMA page_size = 4096; PRAGMA auto_vacuum = INCREMENTAL;");
    if (r < 0)
        return r;
    snprintf(sql, sizeof(sql),
             "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA secure_delete "
             "= OFF;"
             "PRAGMA wal_autocheckpoint = 0; PRAGMA trusted_schema = OFF;"
             "PRAGMA temp_store = MEMORY; PRAGMA cache_size = -%lld;"
             "PRAGMA journal_size_limit = %lld;",
             (long long)kib, (long long)st->wal_pages * 4096 * 4);
    st->sync_now = STORE_SYNC;
    return exec_text(st, sql);
}

static int
migrate(struct store *st, int64_t from)
{
    char sql[128];
    int rc, r;

    if (from == STORE_SCHEMA_VERSION)
        return 0;
    r = exec_text(st, "BEGIN IMMEDIATE");
    if (r < 0)
        return r;
    rc = store_migrate_to(st->db, from, STORE_SCHEMA_VERSION);
    if (rc != SQLITE_OK)
        return store_sqlite_err(st, rc, "preparing the store");
    snprintf(sql, sizeof(sql),
             "PRAGMA application_id = %d; PRAGMA user_version = %d; COMMIT",
             STORE_APPLICATION_ID, STORE_SCHEMA_VERSION);
    return exec_text(st, sql);
}

static int
meta_load(struct store *st)
{
    sqlite3_stmt *q = store_stmt(st, SQL_META_GET);
    int r = store_row(st, q);

    if (r == 0)
        return store_refuse(st, -EUCLEAN, "%s is damaged: it has lost its counters",
                            st->path);
    if (r < 0)
        return r;
    st->epoch = sqlite3_column_int64(q, 0);
    st->ids.job = sqlite3_column_int64(q, 1);
    st->ids.batch = sqlite3_column_int64(q, 2);
    st->ids.event = sqlite3_column_int64(q, 3);
    st->ids.sched = sqlite3_column_int64(q, 4);
    st->ids_saved = st->ids;
    sqlite3_reset(q);
    return 0;
}

static int
note_frames(void *arg, sqlite3 *db, const char *name, int frames)
{
    struct store *st = arg;

    (void)db;
    (void)name;
    st->wal_frames = frames;
    return SQLITE_OK;
}

static int
open_db(struct store *st, const struct store_opts *o, int64_t now_ms)
{
    int64_t version = 0;
    int rc, r;

    rc = sqlite3_open_v2(st->path, &st->db,
                         SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE |
                             SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE,
                         o->vfs);
    if (st->db == NULL)
        return store_refuse(st, -ENOMEM, "out of memory");
    if (rc != SQLITE_OK) {
        int sys = sqlite3_system_errno(st->db);

        return store_refuse(st, sys > 0 ? -sys : store_errno_of(rc), "cannot open %s: %s",
                            st->path, sys > 0 ? strerror(sys) : sqlite3_errmsg(st->db));
    }
    sqlite3_busy_timeout(st->db, 5000);
    r = identify(st, &version);
    if (r == 0)
        r = store_tables_check(st, version);
    if (r == 0)
        r = configure(st, o, version == 0);
    if (r == 0)
        r = migrate(st, version);
    if (r == 0 && version == 0 && o->vfs == NULL) {
        r = store_sync_directory(st->path);
        if (r < 0)
            (void)store_refuse(st, r, "cannot sync the directory of %s: %s", st->path,
                               strerror(-r));
    }
    if (r == 0)
        r = meta_load(st);
    if (r == 0)
        r = store_queues_load(st);
    if (r < 0)
        return r;
    st->any_deps = true;
    sqlite3_wal_hook(st->db, note_frames, st);
    r = store_begin(st, now_ms, STORE_SYNC);
    if (r == 0)
        r = store_recover(st);
    return r < 0 ? r : store_commit(st);
}

/* Counting its memory would cost SQLite a lock of all threads around each allocation. Comes
 * too late if SQLite has been used before, without harm. */
static void
tune_sqlite(void)
{
    (void)sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
}

int
store_open(const struct store_opts *o, int64_t now_ms, struct store **ret, char *err,
           size_t err_size)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    struct store *st = calloc(1, sizeof(*st));
    int r;

    (void)pthread_once(&once, tune_sqlite);
    if (st != NULL)
        st->path = strdup(o->path);
    if (st == NULL || st->path == NULL) {
        free(st);
        snprintf(err, err_size, "out of memory");
        return -ENOMEM;
    }
    st->magic = STORE_MAGIC;
    st->lock_fd = -1;
    st->wal_pages = o->wal_pages > 0 ? o->wal_pages : 4096;
    st->wal_next = st->wal_pages;
    st->wal_ahead =
        st->wal_pages * 1024 < WAL_AHEAD_MAX ? st->wal_pages * 1024 : WAL_AHEAD_MAX;
    store_set_limits(st, o->history, o->crashes);
    r = o->no_lock ? 0 : store_lock(o->path, &st->lock_fd, err, err_size);
    if (r < 0) {
        store_close(st);
        return r;
    }
    r = open_db(st, o, now_ms);
    if (r < 0) {
        snprintf(err, err_size, "%s", st->err);
        st->failed = true; /* leave the file as it is */
        store_close(st);
        return r;
    }
    *ret = st;
    return 0;
}

void
store_set_limits(struct store *st, int64_t history, int64_t crashes)
{
    st->history = history > 0 ? history : STORE_ATTEMPTS_KEPT;
    st->crashes = crashes > 0 ? crashes : STORE_CRASHES_MAX;
}

void
store_close(struct store *st)
{
    if (st == NULL)
        return;
    ENSURE(st->magic == STORE_MAGIC);
    if (st->open)
        store_rollback(st);
    store_stmts_free(st);
    store_queues_free(st);
    event_fini(&st->events);
    if (st->db != NULL) {
        if (st->failed)
            sqlite3_db_config(st->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
        ENSURE(sqlite3_close(st->db) == SQLITE_OK);
    }
    store_unlock(st->lock_fd);
    free(st->path);
    st->magic = 0;
    free(st);
}

/* --- transactions ------------------------------------------------------------------------ */

static int
set_sync(struct store *st, enum store_sync sync)
{
    int rc;

    if (st->sync_now == sync)
        return 0;
    rc = sqlite3_exec(st->db,
                      sync == STORE_SYNC ? "PRAGMA synchronous = FULL"
                                         : "PRAGMA synchronous = NORMAL",
                      NULL, NULL, NULL);
    if (rc != SQLITE_OK)
        return store_sqlite_err(st, rc, "preparing a transaction");
    st->sync_now = sync;
    return 0;
}

int
store_begin(struct store *st, int64_t now_ms, enum store_sync sync)
{
    int r;

    ENSURE(st->magic == STORE_MAGIC && !st->open);
    if (st->failed)
        return -EIO; /* st->err still says what happened */
    r = set_sync(st, sync);
    if (r == 0)
        r = store_exec(st, SQL_BEGIN, 0, NULL);
    if (r < 0) {
        st->broken = false;
        return r;
    }
    event_clear(&st->events);
    st->open = true;
    st->broken = false;
    st->now = now_ms;
    return 0;
}

/* Back to what is committed, in memory as well. */
static void
undo(struct store *st)
{
    char err[sizeof(st->err)];

    memcpy(err, st->err, sizeof(err));
    for (int i = 0; i < SQL_N; i++)
        if (st->stmt[i] != NULL)
            sqlite3_reset(st->stmt[i]);
    /* SQLite rolls back by itself after some errors. */
    if (!sqlite3_get_autocommit(st->db) && store_exec(st, SQL_ROLLBACK, 0, NULL) < 0)
        st->failed = true;
    st->open = false;
    st->broken = false;
    event_clear(&st->events);
    st->ids = st->ids_saved;
    store_tally_drop(st);
    if (store_queues_load(st) < 0)
        st->failed = true;
    st->broken = false;
    memcpy(st->err, err, sizeof(err));
}

void
store_rollback(struct store *st)
{
    ENSURE(st->open);
    undo(st);
}

static int
write_tail(struct store *st)
{
    sqlite3_stmt *q;
    int r;

    r = store_tally_flush(st);
    if (r == 0 && st->events.count > 0) {
        q = store_stmt(st, SQL_EVENT_PUT);
        if (q == NULL)
            return -EIO;
        sqlite3_bind_int64(q, 1, st->ids.event);
        sqlite3_bind_int64(q, 2, st->events.count);
        sqlite3_bind_int64(q, 3, st->now);
        sqlite3_bind_blob64(q, 4, st->events.data, st->events.len, SQLITE_STATIC);
        r = store_run(st, q);
        st->ids.event += st->events.count;
    }
    if (r == 0 && memcmp(&st->ids, &st->ids_saved, sizeof(st->ids)) != 0)
        r = STORE_EXEC(st, SQL_META_PUT, st->epoch, st->ids.job, st->ids.batch,
                       st->ids.event, st->ids.sched);
    return r;
}

int
store_commit(struct store *st)
{
    int r;

    ENSURE(st->open);
    if (st->broken) {
        undo(st);
        return -EIO;
    }
    r = write_tail(st);
    if (r < 0) {
        undo(st);
        return r;
    }
    r = store_exec(st, SQL_COMMIT, 0, NULL);
    if (r < 0) {
        undo(st);
        /* A full disk is found while writing, before anything counts; any other failure
         * leaves it open whether the commit is on the disk. */
        if (r != -ENOSPC)
            st->failed = true;
        return r;
    }
    st->open = false;
    st->ids_saved = st->ids;
    return 0;
}

int64_t
store_committed(const struct store *st, struct event_cursor *ret)
{
    event_cursor_init(ret, st->events.data, st->events.len,
                      st->ids.event - st->events.count, st->now);
    return st->events.count;
}

int
store_mark(struct store *st)
{
    int r;

    ENSURE(st->open);
    r = store_tally_flush(st);
    if (r == 0)
        r = store_exec(st, SQL_MARK, 0, NULL);
    st->ids_marked = st->ids;
    st->events_marked = st->events;
    return r;
}

int
store_mark_keep(struct store *st)
{
    int r = store_tally_flush(st);

    return r < 0 ? r : store_exec(st, SQL_MARK_KEEP, 0, NULL);
}

int
store_mark_undo(struct store *st)
{
    char err[sizeof(st->err)];
    int r;

    memcpy(err, st->err, sizeof(err));
    if (sqlite3_get_autocommit(st->db))
        return -EIO; /* SQLite has rolled all of it back */
    r = store_exec(st, SQL_MARK_UNDO, 0, NULL);
    if (r == 0)
        r = store_exec(st, SQL_MARK_KEEP, 0, NULL);
    st->ids = st->ids_marked;
    st->events.len = st->events_marked.len;
    st->events.count = st->events_marked.count;
    st->events.last_job = st->events_marked.last_job;
    st->events.last_batch = st->events_marked.last_batch;
    store_tally_drop(st);
    if (r == 0)
        r = store_queues_load(st);
    if (r == 0) {
        st->broken = false;
        memcpy(st->err, err, sizeof(err));
    }
    return r;
}

static int
checkpoint(struct store *st)
{
    int frames = 0, moved = 0, rc;

    rc = sqlite3_wal_checkpoint_v2(st->db, NULL, SQLITE_CHECKPOINT_PASSIVE, &frames,
                                   &moved);
    if (rc != SQLITE_OK && (rc & 0xff) != SQLITE_BUSY) {
        int r = store_sqlite_err(st, rc, "moving the log into the database");

        /* Nothing acknowledged is lost, the log still has it; but a disk whose fsync fails
         * is not to be trusted with more. */
        if (r != -ENOSPC)
            st->failed = true;
        return r;
    }
    /* A reader holds the rest back: try again only when there is more to gain. */
    st->wal_next = moved == frames ? st->wal_pages : frames + st->wal_pages / 4;
    if (moved == frames)
        st->wal_frames = 0;
    return 0;
}

int
store_checkpoint_due(struct store *st)
{
    int r = st->wal_frames < st->wal_next || st->failed ? 0 : checkpoint(st);

    store_wal_ahead(st);
    return r;
}

/* --- answers ----------------------------------------------------------------------------- */

const char *
store_error(const struct store *st)
{
    return st->err;
}

bool
store_failed(const struct store *st)
{
    return st->failed;
}

int64_t
store_now(const struct store *st)
{
    return st->now;
}

bool
store_broken(const struct store *st)
{
    return st->broken;
}

uint64_t
store_epoch(const struct store *st)
{
    return (uint64_t)st->epoch;
}

int64_t
store_schema(void)
{
    return STORE_SCHEMA_VERSION;
}

const char *
store_path(const struct store *st)
{
    return st->path;
}

struct store_recovery
store_recovered(const struct store *st)
{
    return st->recovered;
}
