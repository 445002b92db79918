/*
 * SQLite. A connection is used by one job at a time, inside one blocking region; what it
 * calls back (progress, busy) only looks at the context's flag.
 *
 * A read-only database is opened read-only, and its statements must be; beyond that an
 * authorizer keeps every statement inside the one file: no ATTACH (so no VACUUM INTO), no
 * extensions, no pragma that changes anything, no transaction that outlives the job.
 */
#define _GNU_SOURCE

#include <errno.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <time.h>

#include "config/config.h"
#include "jobs/env.h"
#include "jobs/sql_pool.h"
#include "jobs/sql_rows.h"
#include "runtime/go.h"

enum {
    PROGRESS_OPS = 1000, /* of SQLite's machine: some tens of microseconds */
    EXPR_DEPTH = 200,    /* bounds the stack that parsing needs */
    BUSY_NAP_NS = 1000000,
    STATEMENT_MAX = 1000000 /* bytes of SQL */
};

struct lite {
    struct sql_conn conn;
    sqlite3 *db;
    struct go_ctx *ctx; /* of the job that uses it */
    dev_t dev;          /* the file it was opened on */
    ino_t ino;
    char denied[80]; /* what the authorizer refused */
};

static const char *
path_of(const struct sql_pool *p)
{
    return p->url + strlen("sqlite:");
}

static int
on_progress(void *arg)
{
    const struct lite *l = arg;

    return l->ctx != NULL && go_ctx_err(l->ctx) != 0;
}

static int
on_busy(void *arg, int count)
{
    const struct timespec nap = {.tv_nsec = BUSY_NAP_NS};

    (void)count;
    if (on_progress(arg))
        return 0;
    (void)nanosleep(&nap, NULL);
    return 1;
}

/* Pragmas that only tell; those in the second list only without an argument. */
static bool
pragma_allowed(const char *name, const char *arg)
{
    static const char *const any[] = {"table_info",
                                      "table_xinfo",
                                      "table_list",
                                      "index_list",
                                      "index_info",
                                      "index_xinfo",
                                      "foreign_key_list",
                                      "integrity_check",
                                      "quick_check",
                                      "foreign_key_check",
                                      NULL};
    static const char *const bare[] = {"user_version",
                                       "schema_version",
                                       "page_count",
                                       "page_size",
                                       "encoding",
                                       "freelist_count",
                                       "compile_options",
                                       "function_list",
                                       "journal_mode",
                                       "application_id",
                                       NULL};

    for (int i = 0; any[i] != NULL; i++)
        if (strcasecmp(name, any[i]) == 0)
            return true;
    for (int i = 0; arg == NULL && bare[i] != NULL; i++)
        if (strcasecmp(name, bare[i]) == 0)
            return true;
    return false;
}

static int
on_authorize(void *arg, int action, const char *a, const char *b, const char *db,
             const char *trigger)
{
    struct lite *l = arg;
    const char *what = NULL;

    (void)db;
    (void)trigger;
    switch (action) {
    case SQLITE_ATTACH:
    case SQLITE_DETACH:
        what = "ATTACH, DETACH and VACUUM";
        break;
    case SQLITE_TRANSACTION:
    case SQLITE_SAVEPOINT:
        what = "BEGIN, COMMIT, ROLLBACK and SAVEPOINT (each job is a transaction)";
        break;
    case SQLITE_PRAGMA:
        if (a == NULL || !pragma_allowed(a, b))
            what = "this PRAGMA";
        break;
    case SQLITE_FUNCTION:
        if (b != NULL && strcasecmp(b, "load_extension") == 0)
            what = "load_extension()";
        break;
    default:
        break;
    }
    if (what == NULL)
        return SQLITE_OK;
    (void)snprintf(l->denied, sizeof(l->denied), "%s", what);
    return SQLITE_DENY;
}

static void
lite_free(struct lite *l)
{
    (void)sqlite3_close(l->db);
    free(l);
}

static void
lite_close(struct sql_conn *c)
{
    go_enter_blocking();
    lite_free((struct lite *)c);
    go_exit_blocking();
}

static void
configure(struct lite *l, const struct config *cfg)
{
    int length =
        cfg->sql.max_bytes > INT32_MAX / 2 ? INT32_MAX : (int)cfg->sql.max_bytes * 2;

    (void)sqlite3_extended_result_codes(l->db, 1);
    (void)sqlite3_db_config(l->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    (void)sqlite3_db_config(l->db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    (void)sqlite3_limit(l->db, SQLITE_LIMIT_EXPR_DEPTH, EXPR_DEPTH);
    (void)sqlite3_limit(l->db, SQLITE_LIMIT_SQL_LENGTH, STATEMENT_MAX);
    (void)sqlite3_limit(l->db, SQLITE_LIMIT_LENGTH,
                        length < STATEMENT_MAX ? STATEMENT_MAX : length);
    (void)sqlite3_limit(l->db, SQLITE_LIMIT_ATTACHED, 0);
    (void)sqlite3_busy_handler(l->db, on_busy, l);
    sqlite3_progress_handler(l->db, PROGRESS_OPS, on_progress, l);
    (void)sqlite3_set_authorizer(l->db, on_authorize, l);
}

/* In a blocking region. NULL with the run's error set. */
static struct lite *
lite_open(struct job_run *run, const struct sql_pool *p)
{
    int flags =
        SQLITE_OPEN_NOMUTEX | (p->write ? SQLITE_OPEN_READWRITE : SQLITE_OPEN_READONLY);
    struct lite *l = calloc(1, sizeof(*l));
    struct stat st;

    if (l == NULL) {
        (void)job_run_too_large(run);
        return NULL;
    }
    if (stat(path_of(p), &st) < 0 ||
        sqlite3_open_v2(path_of(p), &l->db, flags, NULL) != SQLITE_OK) {
        (void)job_error_set(&run->err, PB_ERROR__CODE__SQL, "sql.db",
                            "database %s cannot be opened: %s", p->name,
                            l->db != NULL ? sqlite3_errmsg(l->db)
                                          : strerrordesc_np(go_errno_()));
        lite_free(l);
        return NULL;
    }
    l->dev = st.st_dev;
    l->ino = st.st_ino;
    configure(l, job_env_config(run->env));
    return l;
}

/* An idle connection, if it is to the file that stands at the path now. PARKS. */
static struct lite *
lite_idle(struct sql_pool *p)
{
    struct lite *l;
    struct stat st;

    while ((l = (struct lite *)sql_pool_take(p)) != NULL) {
        if (GO_BLOCKING(stat(path_of(p), &st)) == 0 && st.st_dev == l->dev &&
            st.st_ino == l->ino)
            return l;
        lite_close(&l->conn);
    }
    return NULL;
}

/* --- one statement --- */

static int
failed(struct job_run *run, struct lite *l)
{
    struct job_error *err = &run->err;
    int r = go_ctx_err(run->ctx);

    /* What the authorizer refused comes under several codes. */
    if (l->denied[0] == '\0' && r < 0)
        return job_run_ended(run, r);
    if (l->denied[0] != '\0')
        (void)job_error_set(err, PB_ERROR__CODE__DENIED, "sql.query", "not allowed: %s",
                            l->denied);
    else
        (void)job_error_set(err, PB_ERROR__CODE__SQL, "sql.query", "%s",
                            sqlite3_errmsg(l->db));
    return -EIO;
}

/* The statement, and that it is the only one and allowed. */
static int
prepare(struct job_run *run, struct lite *l, const struct sql_pool *p, sqlite3_stmt **ret)
{
    const char *tail = NULL;
    sqlite3_stmt *more = NULL;
    int rc;

    l->denied[0] = '\0';
    rc = sqlite3_prepare_v2(l->db, run->spec->sql->query, -1, ret, &tail);
    if (rc != SQLITE_OK)
        return failed(run, l);
    if (*ret == NULL)
        return job_error_set(&run->err, PB_ERROR__CODE__INVALID, "sql.query",
                             "sql.query holds no statement");
    while (*tail != '\0') {
        const char *next = NULL;

        rc = sqlite3_prepare_v2(l->db, tail, -1, &more, &next);
        if (rc != SQLITE_OK || more != NULL) {
            (void)sqlite3_finalize(more);
            return job_error_set(&run->err, PB_ERROR__CODE__INVALID, "sql.query",
                                 "sql.query holds more than one statement");
        }
        if (next == tail)
            break;
        tail = next;
    }
    if (!p->write && !sqlite3_stmt_readonly(*ret)) {
        (void)job_error_set(&run->err, PB_ERROR__CODE__DENIED, "sql.query",
                            "database %s is read-only: databases.%s.write is not set",
                            p->name, p->name);
        return -EACCES;
    }
    return 0;
}

static int
bind_one(sqlite3_stmt *q, int i, const PbValue *v)
{
    switch (v->kind_case) {
    case PB_VALUE__KIND_FLAG:
        return sqlite3_bind_int(q, i, v->flag != 0);
    case PB_VALUE__KIND_INT:
        return sqlite3_bind_int64(q, i, v->int_);
    case PB_VALUE__KIND_REAL:
        return sqlite3_bind_double(q, i, v->real);
    case PB_VALUE__KIND_TEXT:
        return sqlite3_bind_text64(q, i, v->text, strlen(v->text), SQLITE_STATIC,
                                   SQLITE_UTF8);
    case PB_VALUE__KIND_BLOB:
        if (v->blob.len == 0)
            return sqlite3_bind_zeroblob(q, i, 0);
        return sqlite3_bind_blob64(q, i, v->blob.data, v->blob.len, SQLITE_STATIC);
    case PB_VALUE__KIND__NOT_SET:
    default:
        return sqlite3_bind_null(q, i);
    }
}

static int
bind_all(struct job_run *run, struct lite *l, sqlite3_stmt *q)
{
    const PbSqlSpec *s = run->spec->sql;
    int want = sqlite3_bind_parameter_count(q);

    if ((size_t)want != s->n_params)
        return job_error_set(&run->err, PB_ERROR__CODE__INVALID, "sql.params",
                             "the statement has %d parameters, sql.params has %zu", want,
                             s->n_params);
    for (int i = 0; i < want; i++) {
        int rc = bind_one(q, i + 1, s->params[i]);

        if (rc != SQLITE_OK)
            return failed(run, l);
    }
    return 0;
}

static int
add_value(struct sql_rows *rows, sqlite3_stmt *q, int i)
{
    const char *text;

    switch (sqlite3_column_type(q, i)) {
    case SQLITE_INTEGER:
        return sql_rows_int(rows, sqlite3_column_int64(q, i));
    case SQLITE_FLOAT:
        return sql_rows_real(rows, sqlite3_column_double(q, i));
    case SQLITE_TEXT:
        text = (const char *)sqlite3_column_text(q, i);
        return sql_rows_text(rows, text != NULL ? text : "",
                             (size_t)sqlite3_column_bytes(q, i));
    case SQLITE_BLOB:
        text = sqlite3_column_blob(q, i);
        return sql_rows_blob(rows, text, (size_t)sqlite3_column_bytes(q, i));
    default:
        return sql_rows_null(rows);
    }
}

static int
step_all(struct job_run *run, struct lite *l, sqlite3_stmt *q)
{
    int columns = sqlite3_column_count(q), r, rc;
    struct sql_rows rows;
    int64_t before = sqlite3_total_changes64(l->db);

    r = sql_rows_begin(&rows, run);
    for (int i = 0; r == 0 && i < columns; i++)
        r = sql_rows_column(&rows, sqlite3_column_name(q, i),
                            sqlite3_column_decltype(q, i));
    if (r < 0)
        return r;
    while ((rc = sqlite3_step(q)) == SQLITE_ROW) {
        r = job_run_check(run);
        if (r == 0)
            r = sql_rows_next(&rows);
        if (r <= 0)
            break;
        for (int i = 0; r >= 0 && i < columns; i++)
            r = add_value(&rows, q, i);
        if (r < 0)
            return r;
    }
    if (r < 0)
        return r;
    if (rc != SQLITE_DONE && rc != SQLITE_ROW)
        return failed(run, l);
    rc = sqlite3_reset(q);
    if (rc != SQLITE_OK)
        return failed(run, l);
    if (!sqlite3_stmt_readonly(q))
        PB_SET(rows.res, changed, (uint64_t)(sqlite3_total_changes64(l->db) - before));
    return sql_rows_end(&rows);
}

static int
query(struct job_run *run, struct lite *l, const struct sql_pool *p)
{
    sqlite3_stmt *q = NULL;
    int r;

    l->ctx = run->ctx;
    r = prepare(run, l, p, &q);
    if (r == 0)
        r = bind_all(run, l, q);
    if (r == 0)
        r = step_all(run, l, q);
    (void)sqlite3_finalize(q);
    l->ctx = NULL;
    return r;
}

static int
sqlite_run(struct job_run *run, struct sql_pool *p)
{
    struct lite *l;
    int r;

    r = sql_pool_slot(p, run);
    if (r < 0)
        return r;
    l = lite_idle(p);
    go_enter_blocking();
    if (l == NULL)
        l = lite_open(run, p);
    r = l == NULL ? -EIO : query(run, l, p);
    go_exit_blocking();
    if (l != NULL)
        sql_pool_give(p, &l->conn);
    else
        sql_pool_release(p);
    return r;
}

const struct sql_driver sql_sqlite = {
    .scheme = "sqlite",
    .run = sqlite_run,
    .close = lite_close,
};
