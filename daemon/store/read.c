#include "daemon/store/read.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/store/inner.h"
#include "daemon/store/read_inner.h"

#define LOOK_MAX  50000 /* rows a list call looks at */
#define RANGE_MAX 32    /* ids read by one statement, so that max_bytes is kept about */

/* --- the connection ---------------------------------------------------------------------- */

int
store_reader_open(const char *path, const char *vfs, struct store_reader **ret, char *err,
                  size_t err_size)
{
    struct store_reader *rd = calloc(1, sizeof(*rd));
    int rc, r = 0;

    if (rd == NULL) {
        snprintf(err, err_size, "out of memory");
        return -ENOMEM;
    }
    rc = sqlite3_open_v2(
        path, &rd->db, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE,
        vfs);
    if (rc == SQLITE_OK) {
        sqlite3_busy_timeout(rd->db, 5000);
        sqlite3_db_config(rd->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
        rc = sqlite3_exec(rd->db, "PRAGMA cache_size = -2048; PRAGMA temp_store = MEMORY",
                          NULL, NULL, NULL);
    }
    if (rc != SQLITE_OK) {
        r = store_errno_of(rc);
        snprintf(err, err_size, "cannot read %s: %s", path,
                 rd->db != NULL ? sqlite3_errmsg(rd->db) : "out of memory");
        store_reader_close(rd);
        return r;
    }
    *ret = rd;
    return 0;
}

void
store_reader_close(struct store_reader *rd)
{
    if (rd == NULL)
        return;
    for (int i = 0; i < RD_KEPT; i++)
        sqlite3_finalize(rd->kept[i]);
    sqlite3_close(rd->db);
    free(rd);
}

const char *
store_reader_error(const struct store_reader *rd)
{
    return rd->err;
}

int
store_rd_failed(struct store_reader *rd, int rc)
{
    snprintf(rd->err, sizeof(rd->err), "reading the store failed: %s",
             sqlite3_errmsg(rd->db));
    return store_errno_of(rc);
}

int
store_rd_no_memory(struct store_reader *rd)
{
    snprintf(rd->err, sizeof(rd->err), "out of memory");
    return -ENOMEM;
}

int
store_rd_begin(struct store_reader *rd)
{
    int rc = sqlite3_exec(rd->db, "BEGIN", NULL, NULL, NULL);

    return rc != SQLITE_OK ? store_rd_failed(rd, rc) : 0;
}

void
store_rd_end(struct store_reader *rd)
{
    (void)sqlite3_exec(rd->db, "COMMIT", NULL, NULL,
                       NULL); /* of reads: nothing to lose */
}

static sqlite3_stmt *
take_kept(struct store_reader *rd, const char *sql)
{
    for (int i = 0; i < RD_KEPT; i++) {
        sqlite3_stmt *q = rd->kept[i];

        if (q == NULL || strcmp(sqlite3_sql(q), sql) != 0)
            continue;
        rd->kept[i] = NULL;
        return q;
    }
    return NULL;
}

void
store_rd_done(struct store_reader *rd, sqlite3_stmt *q)
{
    unsigned place = 0;

    if (q == NULL)
        return;
    sqlite3_reset(q);
    sqlite3_clear_bindings(q);
    while (place < RD_KEPT && rd->kept[place] != NULL)
        place++;
    if (place == RD_KEPT) {
        place = rd->next_kept++ % RD_KEPT;
        sqlite3_finalize(rd->kept[place]);
    }
    rd->kept[place] = q;
}

int
store_rd_prepare(struct store_reader *rd, const char *sql, int n, const int64_t *v,
                 sqlite3_stmt **ret)
{
    sqlite3_stmt *q = take_kept(rd, sql);
    int rc;

    if (q == NULL) {
        rc = sqlite3_prepare_v2(rd->db, sql, -1, &q, NULL);
        if (rc != SQLITE_OK)
            return store_rd_failed(rd, rc);
    }
    *ret = q;
    for (int i = 0; i < n; i++)
        sqlite3_bind_int64(q, i + 1, v[i]);
    return 0;
}

int
store_rd_step(struct store_reader *rd, sqlite3_stmt *q)
{
    int rc = sqlite3_step(q);

    return rc == SQLITE_ROW ? 1 : rc == SQLITE_DONE ? 0 : store_rd_failed(rd, rc);
}

int
store_rd_text(struct store_reader *rd, sqlite3_stmt *q, int column, char **ret)
{
    const char *s = (const char *)sqlite3_column_text(q, column);

    *ret = s != NULL ? strdup(s) : NULL;
    return s != NULL && *ret == NULL ? store_rd_no_memory(rd) : 0;
}

int
store_rd_blob(struct store_reader *rd, sqlite3_stmt *q, int column, void **ret,
              size_t *ret_len)
{
    size_t len = (size_t)sqlite3_column_bytes(q, column);

    if (sqlite3_column_type(q, column) == SQLITE_NULL)
        return 0;
    *ret = malloc(len + 1);
    if (*ret == NULL)
        return store_rd_no_memory(rd);
    if (len > 0)
        memcpy(*ret, sqlite3_column_blob(q, column), len);
    *ret_len = len;
    return 0;
}

void *
store_rd_append(void **v, size_t *n, size_t size)
{
    char *p = *v;

    if ((*n & (*n - 1)) == 0) { /* full at each power of two */
        p = realloc(*v, (*n == 0 ? 1 : *n * 2) * size);
        if (p == NULL)
            return NULL;
        *v = p;
    }
    memset(p + *n * size, 0, size);
    return p + (*n)++ * size;
}

/* --- jobs -------------------------------------------------------------------------------- */

void
store_jobs_free(struct store_jobs *jobs)
{
    for (size_t i = 0; i < jobs->n; i++) {
        free(jobs->v[i].spec);
        free(jobs->v[i].result);
    }
    free(jobs->v);
    memset(jobs, 0, sizeof(*jobs));
}

#define JOB_SQL                                                                          \
    "SELECT j.id, j.state, j.lane, j.prio, j.batch, j.attempt, j.fails, j.crashes, "     \
    "j.epoch,"                                                                           \
    " j.flags, j.run_at, j.created, j.started, j.finished,"                              \
    " CASE WHEN ?1 & 1 THEN ifnull(j.spec, (SELECT data FROM spec WHERE id = j.id)) "    \
    "END,"                                                                               \
    " CASE WHEN ?1 & 6 THEN (SELECT data FROM result WHERE id = j.id AND (?1 & 2 OR"     \
    "  length(data) <= 2048)) END,"                                                      \
    " (SELECT schedule FROM batch WHERE id = j.batch) FROM job j "

static int
add_job(struct store_reader *rd, sqlite3_stmt *q, struct store_jobs *ret)
{
    struct store_job *j = APPEND(ret);
    struct job_row row;
    int r;

    if (j == NULL)
        return store_rd_no_memory(rd);
    store_job_columns(q, &row);
    j->id = row.id;
    j->state = row.state;
    j->lane = row.lane;
    j->prio = (int32_t)row.prio;
    j->batch = row.batch;
    j->attempt = row.attempt;
    j->fails = row.fails;
    j->crashes = row.crashes;
    j->epoch = row.epoch;
    j->run_at = row.run_at;
    j->created = row.created;
    j->started = row.attempt > 0 ? row.started : 0;
    j->finished = store_state_final(row.state) ? row.finished : 0;
    j->cancelling = row.state == STORE_RUNNING && (row.flags & STORE_F_CANCEL);
    j->has_deps = row.flags & STORE_F_DEPS;
    r = store_rd_blob(rd, q, 14, &j->spec, &j->spec_len);
    j->schedule = sqlite3_column_int64(q, 16);
    return r < 0 ? r : store_rd_blob(rd, q, 15, &j->result, &j->result_len);
}

int
store_read_job(struct store_reader *rd, int64_t id, unsigned want, struct store_jobs *ret)
{
    int64_t v[2] = {want, id};
    struct store_jobs jobs = {.v = NULL};
    sqlite3_stmt *q = NULL;
    int r = store_rd_prepare(rd, JOB_SQL "WHERE j.id = ?2", 2, v, &q);

    if (r == 0)
        r = store_rd_step(rd, q);
    if (r > 0) {
        r = add_job(rd, q, &jobs);
        r = r < 0 ? r : 1;
    }
    store_rd_done(rd, q);
    if (r > 0)
        *ret = jobs;
    else
        store_jobs_free(&jobs);
    return r;
}

static const char range_sql[] =
    JOB_SQL "WHERE j.id BETWEEN ?2 AND ?3 AND (1 << j.state) & ?4 ORDER BY j.id";

/* The jobs among ids[0..n), which are a run of consecutive numbers. */
static int
add_range(struct store_reader *rd, const int64_t *ids, size_t n, unsigned states,
          unsigned want, struct store_jobs *jobs)
{
    int64_t v[4] = {want, ids[0], ids[n - 1], states};
    sqlite3_stmt *q = NULL;
    int r = store_rd_prepare(rd, range_sql, 4, v, &q);

    while (r >= 0 && (r = store_rd_step(rd, q)) > 0)
        r = add_job(rd, q, jobs);
    store_rd_done(rd, q);
    return r;
}

/* How many of ids[0..n), of RANGE_MAX at most, count up by one. */
static size_t
range_len(const int64_t *ids, size_t n)
{
    size_t len = 1;

    while (len < n && len < RANGE_MAX && ids[len] == ids[len - 1] + 1)
        len++;
    return len;
}

int
store_read_jobs_of(struct store_reader *rd, const int64_t *ids, size_t n, unsigned states,
                   unsigned want, size_t max_bytes, struct store_jobs *ret)
{
    struct store_jobs jobs = {.v = NULL};
    size_t bytes = 0, had = 0, len, i;
    int r = store_rd_begin(rd);

    if (r < 0)
        return r;
    for (i = 0; r >= 0 && i < n && bytes < max_bytes; i += len) {
        len = range_len(ids + i, n - i);
        r = add_range(rd, ids + i, len, states, want, &jobs);
        for (; had < jobs.n; had++)
            bytes += jobs.v[had].result_len;
    }
    store_rd_end(rd);
    if (r < 0) {
        store_jobs_free(&jobs);
        return r;
    }
    *ret = jobs;
    return (int)i;
}

/* The table is walked by id; a batch's jobs by its spans. */
#define FILTER_SQL                                                                       \
    " AND (?3 = 0 OR (1 << j.state) & ?3) AND (?4 < 0 OR j.lane & 31 = ?4)"              \
    " AND (?5 < 0 OR j.lane >> 6 = ?5)"                                                  \
    " AND (?11 = 0 OR EXISTS (SELECT 1 FROM batch WHERE id = j.batch"                    \
    "  AND schedule = ?11)) AND (?6 IS NULL OR"                                          \
    "  EXISTS (SELECT 1 FROM label WHERE node = j.id * 2 + 1 AND key = ?6"               \
    "   AND value = ifnull(?7, value))"                                                  \
    "  OR EXISTS (SELECT 1 FROM label WHERE node = j.batch * 2 AND key = ?6"             \
    "   AND value = ifnull(?7, value)))"

static const char list_all[] =
    JOB_SQL "WHERE j.id > ?2 AND j.id <= ?8" FILTER_SQL " ORDER BY j.id LIMIT ?9";
static const char list_batch[] =
    JOB_SQL "JOIN span s ON j.id BETWEEN s.first AND s.last WHERE s.batch = ?10"
            " AND s.last > ?2 AND s.first <= ?8 AND j.batch = ?10 AND j.id > ?2"
            " AND j.id <= ?8" FILTER_SQL " ORDER BY s.first, j.id LIMIT ?9";
static const char list_all_down[] =
    JOB_SQL "WHERE j.id < ?2 AND j.id >= ?8" FILTER_SQL " ORDER BY j.id DESC LIMIT ?9";
static const char list_batch_down[] =
    JOB_SQL "JOIN span s ON j.id BETWEEN s.first AND s.last WHERE s.batch = ?10"
            " AND s.first < ?2 AND s.last >= ?8 AND j.batch = ?10 AND j.id < ?2"
            " AND j.id >= ?8" FILTER_SQL " ORDER BY s.first DESC, j.id DESC LIMIT ?9";

static const char *
list_sql(const struct store_filter *f)
{
    if (f->newest_first)
        return f->batch != 0 ? list_batch_down : list_all_down;
    return f->batch != 0 ? list_batch : list_all;
}

static const char *
horizon_sql(const struct store_filter *f)
{
    if (f->newest_first)
        return f->batch != 0
                   ? "SELECT max(min(last, ?1 - 1)), min(first) FROM span"
                     " WHERE batch = ?2 AND first < ?1"
                   : "SELECT (SELECT max(id) FROM job WHERE id < ?1), min(id) FROM job";
    return f->batch != 0
               ? "SELECT min(max(first, ?1 + 1)), max(last) FROM span"
                 " WHERE batch = ?2 AND last > ?1"
               : "SELECT (SELECT min(id) FROM job WHERE id > ?1), max(id) FROM job";
}

/* The last id a call starting after `after` may look at, and the last there is. */
static int
horizon(struct store_reader *rd, const struct store_filter *f, int64_t after,
        int64_t *ret_to, int64_t *ret_last)
{
    int64_t v[2] = {after, f->batch};
    sqlite3_stmt *q = NULL;
    int64_t first;
    int r;

    r = store_rd_prepare(rd, horizon_sql(f), f->batch != 0 ? 2 : 1, v, &q);
    if (r == 0)
        r = store_rd_step(rd, q);
    if (r > 0) {
        first = sqlite3_column_int64(q, 0);
        *ret_last = sqlite3_column_int64(q, 1);
        if (f->newest_first)
            *ret_to = first - LOOK_MAX;
        else
            *ret_to = (first > after ? first : after) + LOOK_MAX;
        if (first == 0)
            *ret_last = f->newest_first ? INT64_MAX : 0;
    }
    store_rd_done(rd, q);
    return r < 0 ? r : 0;
}

int
store_read_jobs(struct store_reader *rd, const struct store_filter *f, int64_t after,
                size_t max, unsigned want, struct store_jobs *ret)
{
    int64_t from = f->newest_first && after == 0 ? INT64_MAX : after;
    int64_t v[5] = {want, from, f->states, f->kind, f->queue};
    struct store_jobs jobs = {.v = NULL};
    sqlite3_stmt *q = NULL;
    int64_t to = 0, last = 0;
    int r;

    r = horizon(rd, f, from, &to, &last);
    if (r == 0)
        r = store_rd_prepare(rd, list_sql(f), 5, v, &q);
    if (r == 0) {
        if (f->label_key != NULL) {
            sqlite3_bind_text(q, 6, f->label_key, -1, SQLITE_STATIC);
            if (f->label_value != NULL)
                sqlite3_bind_text(q, 7, f->label_value, -1, SQLITE_STATIC);
        }
        sqlite3_bind_int64(q, 8, to);
        sqlite3_bind_int64(q, 9, (int64_t)max);
        if (f->batch != 0)
            sqlite3_bind_int64(q, 10, f->batch);
        sqlite3_bind_int64(q, 11, f->schedule);
        while ((r = store_rd_step(rd, q)) > 0) {
            r = add_job(rd, q, &jobs);
            if (r < 0)
                break;
        }
    }
    store_rd_done(rd, q);
    if (r < 0) {
        store_jobs_free(&jobs);
        return r;
    }
    if (jobs.n == max && max > 0)
        to = jobs.v[jobs.n - 1].id;
    jobs.next = f->newest_first ? (to > last ? to : 0) : to < last ? to : 0;
    *ret = jobs;
    return 0;
}
