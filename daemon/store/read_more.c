#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/store/inner.h"
#include "daemon/store/read.h"
#include "daemon/store/read_inner.h"
#include "daemon/store/schedule.h"

/* Reading what is not a job: attempts, batches, queues, schedules, events, reasons. */

#define AHEAD_MAX       1000  /* runs counted for store_why.ahead */
#define UNFINISHED_LOOK 10000 /* batches looked at for unfinished ones */

/* --- attempts ---------------------------------------------------------------------------- */

void
store_attempts_free(struct store_attempts *a)
{
    for (size_t i = 0; i < a->n; i++)
        free(a->v[i].error);
    free(a->v);
    memset(a, 0, sizeof(*a));
}

int
store_read_attempts(struct store_reader *rd, int64_t job, struct store_attempts *ret)
{
    struct store_attempts list = {.v = NULL};
    sqlite3_stmt *q = NULL;
    int r = store_rd_prepare(
        rd,
        "SELECT attempt, epoch, started, finished, outcome, error FROM attempt"
        " WHERE job = ?1 ORDER BY attempt",
        1, &job, &q);

    while (r >= 0 && (r = store_rd_step(rd, q)) > 0) {
        struct store_attempt *a = APPEND(&list);
        const char *error = (const char *)sqlite3_column_text(q, 5);

        if (a != NULL && error != NULL)
            a->error = strdup(error);
        if (a == NULL || (error != NULL && a->error == NULL)) {
            r = store_rd_no_memory(rd);
            break;
        }
        a->attempt = sqlite3_column_int64(q, 0);
        a->epoch = sqlite3_column_int64(q, 1);
        a->started = sqlite3_column_int64(q, 2);
        a->finished = sqlite3_column_int64(q, 3);
        a->outcome = (enum store_outcome)sqlite3_column_int(q, 4);
    }
    store_rd_done(rd, q);
    if (r < 0)
        store_attempts_free(&list);
    else
        *ret = list;
    return r;
}

/* --- batches ----------------------------------------------------------------------------- */

void
store_batches_free(struct store_batches *b)
{
    for (size_t i = 0; i < b->n; i++) {
        for (size_t k = 0; k < b->v[i].n_labels; k++) {
            free(b->v[i].labels[k].key);
            free(b->v[i].labels[k].value);
        }
        free(b->v[i].labels);
        free(b->v[i].name);
    }
    free(b->v);
    memset(b, 0, sizeof(*b));
}

struct named_list {
    struct store_named *v;
    size_t n;
};

static int
read_labels(struct store_reader *rd, int64_t node, struct named_list *ret)
{
    sqlite3_stmt *q = NULL;
    int r = store_rd_prepare(
        rd, "SELECT key, value FROM label WHERE node = ?1 ORDER BY key", 1, &node, &q);

    while (r >= 0 && (r = store_rd_step(rd, q)) > 0) {
        struct store_named *l = APPEND(ret);

        r = l == NULL ? store_rd_no_memory(rd) : store_rd_text(rd, q, 0, &l->key);
        if (r == 0)
            r = store_rd_text(rd, q, 1, &l->value);
        if (r < 0)
            break;
    }
    store_rd_done(rd, q);
    return r;
}

static int
read_batches(struct store_reader *rd, const char *where, int64_t a, int64_t max,
             struct store_batches *ret)
{
    struct store_batches list = {.v = NULL};
    int64_t v[2] = {a, max};
    sqlite3_stmt *q = NULL;
    char sql[400];
    int r;

    snprintf(sql, sizeof(sql),
             "SELECT id, name, flags, max_parallel, created, deadline, finished, pruned,"
             " n_blocked, n_scheduled, n_queued, n_running, n_succeeded, n_failed,"
             " n_cancelled, n_dead, schedule FROM batch WHERE %s ORDER BY id DESC"
             " LIMIT ?2",
             where);
    r = store_rd_prepare(rd, sql, 2, v, &q);
    while (r >= 0 && (r = store_rd_step(rd, q)) > 0) {
        struct store_batch_info *b = APPEND(&list);
        const char *name = (const char *)sqlite3_column_text(q, 1);
        int64_t flags = sqlite3_column_int64(q, 2);

        if (b != NULL && name != NULL)
            b->name = strdup(name);
        if (b == NULL || (name != NULL && b->name == NULL)) {
            r = store_rd_no_memory(rd);
            break;
        }
        b->id = sqlite3_column_int64(q, 0);
        b->closed = flags & BATCH_CLOSED;
        b->fail_fast = flags & BATCH_FAIL_FAST;
        b->cancelled = flags & BATCH_CANCEL;
        b->why = flags & BATCH_LATE     ? STORE_STOP_DEADLINE
                 : flags & BATCH_FAILED ? STORE_STOP_FAIL_FAST
                                        : STORE_STOP_CLIENT;
        b->max_parallel = sqlite3_column_int64(q, 3);
        b->created = sqlite3_column_int64(q, 4);
        b->deadline = sqlite3_column_int64(q, 5);
        b->finished = sqlite3_column_int64(q, 6);
        b->pruned = sqlite3_column_int64(q, 7);
        for (int i = 0; i < STORE_STATE_N; i++)
            b->n[i] = sqlite3_column_int64(q, 8 + i);
        b->schedule = sqlite3_column_int64(q, 8 + STORE_STATE_N);
    }
    store_rd_done(rd, q);
    for (size_t i = 0; r >= 0 && i < list.n; i++) {
        struct named_list labels = {.v = NULL};

        r = read_labels(rd, NODE_BATCH(list.v[i].id), &labels);
        list.v[i].labels = labels.v;
        list.v[i].n_labels = labels.n;
    }
    if (r < 0)
        store_batches_free(&list);
    else
        *ret = list;
    return r;
}

int
store_read_batches(struct store_reader *rd, int64_t before, size_t max,
                   struct store_batches *ret)
{
    return read_batches(rd, "id < ?1", before == 0 ? INT64_MAX : before, (int64_t)max,
                        ret);
}

int
store_read_unfinished(struct store_reader *rd, size_t max, struct store_batches *ret)
{
    return read_batches(rd, "finished = 0 AND id > (SELECT max(id) FROM batch) - ?1",
                        UNFINISHED_LOOK, (int64_t)max, ret);
}

int
store_read_batch(struct store_reader *rd, int64_t id, struct store_batches *ret)
{
    int r = read_batches(rd, "id = ?1", id, 1, ret);

    return r < 0 ? r : (int)ret->n;
}

int
store_read_batch_named(struct store_reader *rd, const char *name, int64_t *ret)
{
    sqlite3_stmt *q = NULL;
    int r = store_rd_prepare(
        rd, "SELECT id FROM batch WHERE name = ?1 ORDER BY id DESC LIMIT 1", 0, NULL, &q);

    if (r == 0) {
        sqlite3_bind_text(q, 1, name, -1, SQLITE_STATIC);
        r = store_rd_step(rd, q);
    }
    if (r > 0)
        *ret = sqlite3_column_int64(q, 0);
    store_rd_done(rd, q);
    return r;
}

int
store_read_has_label(struct store_reader *rd, int64_t job, int64_t batch, const char *key,
                     const char *value)
{
    int64_t v[2] = {NODE_JOB(job), NODE_BATCH(batch)};
    sqlite3_stmt *q = NULL;
    int r = store_rd_prepare(rd,
                             "SELECT 1 FROM label WHERE node IN (?1, ?2) AND key = ?3"
                             " AND value = ifnull(?4, value) LIMIT 1",
                             2, v, &q);

    if (r == 0) {
        sqlite3_bind_text(q, 3, key, -1, SQLITE_STATIC);
        if (value != NULL)
            sqlite3_bind_text(q, 4, value, -1, SQLITE_STATIC);
        r = store_rd_step(rd, q);
    }
    store_rd_done(rd, q);
    return r;
}

/* --- events ------------------------------------------------------------------------------ */

void
store_events_free(struct store_events *e)
{
    free(e->v);
    memset(e, 0, sizeof(*e));
}

static int
add_events(struct store_reader *rd, sqlite3_stmt *q, int64_t from, int64_t batch,
           size_t max, struct store_events *list)
{
    struct event_cursor c;
    struct store_event ev;
    int r;

    event_cursor_init(&c, sqlite3_column_blob(q, 2), (size_t)sqlite3_column_bytes(q, 2),
                      sqlite3_column_int64(q, 0), sqlite3_column_int64(q, 1));
    while (list->n < max && (r = event_next(&c, &ev)) != 0) {
        struct store_event *e;

        if (r < 0) {
            snprintf(rd->err, sizeof(rd->err), "the log of events is damaged");
            return r;
        }
        if (ev.seq < from || (batch != 0 && ev.batch != batch))
            continue;
        e = APPEND(list);
        if (e == NULL)
            return store_rd_no_memory(rd);
        *e = ev;
    }
    return 0;
}

static int
read_bounds(struct store_reader *rd, struct store_events *list)
{
    sqlite3_stmt *q = NULL;
    int r = store_rd_prepare(
        rd,
        "SELECT next_event, ifnull((SELECT min(first) FROM event), next_event)"
        " FROM meta",
        0, NULL, &q);

    if (r == 0)
        r = store_rd_step(rd, q);
    if (r > 0) {
        list->next = sqlite3_column_int64(q, 0);
        list->first_kept = sqlite3_column_int64(q, 1);
    }
    store_rd_done(rd, q);
    return r;
}

static int
read_list(struct store_reader *rd, int64_t from, int64_t batch, size_t max,
          struct store_events *list)
{
    sqlite3_stmt *q = NULL;
    int r =
        store_rd_prepare(rd,
                         "SELECT first, at, data FROM event WHERE first >= ifnull((SELECT"
                         " max(first) FROM event WHERE first <= ?1), ?1) ORDER BY first",
                         1, &from, &q);

    while (r >= 0 && list->n < max && (r = store_rd_step(rd, q)) > 0)
        r = add_events(rd, q, from, batch, max, list);
    store_rd_done(rd, q);
    return r;
}

int
store_read_events(struct store_reader *rd, int64_t from, int64_t batch, size_t max,
                  struct store_events *ret)
{
    struct store_events list = {.v = NULL};
    int r = store_rd_begin(rd); /* or next could be older than the events */

    if (r < 0)
        return r;
    r = read_bounds(rd, &list);
    if (r >= 0)
        r = read_list(rd, from, batch, max, &list);
    store_rd_end(rd);
    if (r < 0)
        store_events_free(&list);
    else
        *ret = list;
    return r < 0 ? r : 0;
}

/* --- why --------------------------------------------------------------------------------- */

static const char why_sql[] =
    "SELECT j.state, j.run_at, q.paused, q.parallel, q.n_running, b.flags, "
    "b.max_parallel,"
    " b.n_running, (SELECT count(*) FROM dep WHERE job = j.id),"
    " j.lane, j.prio, j.batch, q.rate FROM job j JOIN queue q ON q.id = j.lane >> 6"
    " JOIN batch b ON b.id = j.batch WHERE j.id = ?1";

static const char ahead_sql[] =
    "SELECT sum(last - first + 1), count(*) FROM (SELECT first, CASE WHEN batch = ?3 AND"
    " prio = ?2 AND last >= ?4 THEN max(first, ?4) - 1 ELSE last END AS last FROM ready"
    " WHERE lane = ?1 AND (prio > ?2 OR (prio = ?2 AND batch = ?3 AND first <= ?4))"
    " LIMIT ?5)";

static int
read_awaited(struct store_reader *rd, int64_t job, struct store_why *w)
{
    int64_t v[2] = {job, STORE_WHY_AWAITED};
    sqlite3_stmt *q = NULL;
    int r = store_rd_prepare(
        rd, "SELECT node FROM dep WHERE job = ?1 ORDER BY node LIMIT ?2", 2, v, &q);

    while (r >= 0 && (r = store_rd_step(rd, q)) > 0) {
        int64_t node = sqlite3_column_int64(q, 0);

        w->awaited[w->n_awaited++] = (struct store_awaited){node / 2, node & 1};
    }
    store_rd_done(rd, q);
    return r;
}

int
store_read_why(struct store_reader *rd, int64_t job, struct store_why *ret)
{
    struct store_why w = {.ahead = 0};
    int64_t v[5] = {0, 0, 0, job, AHEAD_MAX};
    sqlite3_stmt *q = NULL;
    int r = store_rd_prepare(rd, why_sql, 1, &job, &q);

    if (r == 0)
        r = store_rd_step(rd, q);
    if (r > 0) {
        w.state = (enum store_state)sqlite3_column_int(q, 0);
        w.run_at = sqlite3_column_int64(q, 1);
        w.queue_paused = sqlite3_column_int(q, 2);
        w.queue_parallel = sqlite3_column_int64(q, 3);
        w.queue_running = sqlite3_column_int64(q, 4);
        w.batch_cancelled = sqlite3_column_int64(q, 5) & BATCH_CANCEL;
        w.batch_parallel = sqlite3_column_int64(q, 6);
        w.batch_running = sqlite3_column_int64(q, 7);
        w.n_awaited_all = sqlite3_column_int64(q, 8);
        for (int i = 0; i < 3; i++)
            v[i] = sqlite3_column_int64(q, 9 + i);
        w.queue_rate = sqlite3_column_double(q, 12);
    }
    store_rd_done(rd, q);
    if (r <= 0)
        return r;
    q = NULL;
    if (w.state == STORE_BLOCKED)
        r = read_awaited(rd, job, &w);
    if (w.state == STORE_QUEUED) {
        r = store_rd_prepare(rd, ahead_sql, 5, v, &q);
        if (r == 0)
            r = store_rd_step(rd, q);
        if (r > 0) {
            w.ahead = sqlite3_column_int64(q, 0);
            w.ahead_capped = sqlite3_column_int64(q, 1) == AHEAD_MAX;
        }
        store_rd_done(rd, q);
    }
    if (r < 0)
        return r;
    *ret = w;
    return 1;
}

/* --- queues and schedules ---------------------------------------------------------------- */

void
store_queues_info_free(struct store_queues *q)
{
    for (size_t i = 0; i < q->n; i++)
        free(q->v[i].name);
    free(q->v);
    memset(q, 0, sizeof(*q));
}

int
store_read_queues(struct store_reader *rd, struct store_queues *ret)
{
    struct store_queues list = {.v = NULL};
    sqlite3_stmt *q = NULL;
    int r = store_rd_prepare(rd,
                             "SELECT id, name, paused, parallel, rate, burst, pruned,"
                             " n_blocked, n_scheduled, n_queued, n_running, n_succeeded,"
                             " n_failed, n_cancelled, n_dead FROM queue ORDER BY id",
                             0, NULL, &q);

    while (r >= 0 && (r = store_rd_step(rd, q)) > 0) {
        struct store_queue_info *qu = APPEND(&list);

        r = qu == NULL ? store_rd_no_memory(rd) : store_rd_text(rd, q, 1, &qu->name);
        if (r < 0)
            break;
        qu->id = sqlite3_column_int64(q, 0);
        qu->paused = sqlite3_column_int(q, 2);
        qu->parallel = sqlite3_column_int64(q, 3);
        qu->rate = sqlite3_column_double(q, 4);
        qu->burst = sqlite3_column_int64(q, 5);
        qu->pruned = sqlite3_column_int64(q, 6);
        for (int i = 0; i < STORE_STATE_N; i++)
            qu->n[i] = sqlite3_column_int64(q, 7 + i);
    }
    store_rd_done(rd, q);
    if (r < 0)
        store_queues_info_free(&list);
    else
        *ret = list;
    return r;
}

void
store_schedules_free(struct store_schedules *s)
{
    for (size_t i = 0; i < s->n; i++) {
        free(s->v[i].name);
        free(s->v[i].spec);
    }
    free(s->v);
    memset(s, 0, sizeof(*s));
}

static int
add_schedule(struct store_reader *rd, sqlite3_stmt *q, struct store_schedules *list)
{
    struct store_schedule *s = APPEND(list);
    int r;

    if (s == NULL)
        return store_rd_no_memory(rd);
    s->id = sqlite3_column_int64(q, 0);
    s->paused = sqlite3_column_int(q, 2);
    s->config = sqlite3_column_int(q, 3);
    s->created = sqlite3_column_int64(q, 4);
    s->next_at = sqlite3_column_int64(q, 5);
    s->last_at = sqlite3_column_int64(q, 6);
    s->runs = sqlite3_column_int64(q, 7);
    s->missed_runs = sqlite3_column_int64(q, 8);
    s->skipped_runs = sqlite3_column_int64(q, 9);
    s->batch = sqlite3_column_int64(q, 10);
    r = store_rd_text(rd, q, 1, &s->name);
    return r < 0 ? r : store_rd_blob(rd, q, 11, &s->spec, &s->spec_len);
}

static int
read_schedules(struct store_reader *rd, const char *where, const char *name, int64_t id,
               size_t max, struct store_schedules *ret)
{
    struct store_schedules list = {.v = NULL};
    int64_t v[2] = {id, (int64_t)max};
    sqlite3_stmt *q = NULL;
    char sql[400];
    int r;

    snprintf(
        sql, sizeof(sql),
        "SELECT s.id, name, paused, config, created, next_at, last_at, runs, missed_runs,"
        " skipped_runs, batch, data FROM schedule s LEFT JOIN spec p ON p.id = -s.id"
        " WHERE %s ORDER BY s.id LIMIT ?2",
        where);
    r = store_rd_prepare(rd, sql, 2, v, &q);
    if (r == 0 && name != NULL)
        sqlite3_bind_text(q, 3, name, -1, SQLITE_STATIC);
    while (r >= 0 && (r = store_rd_step(rd, q)) > 0) {
        r = add_schedule(rd, q, &list);
        if (r < 0)
            break;
    }
    store_rd_done(rd, q);
    if (r < 0)
        store_schedules_free(&list);
    else
        *ret = list;
    return r;
}

int
store_read_schedules(struct store_reader *rd, int64_t after, size_t max,
                     struct store_schedules *ret)
{
    return read_schedules(rd, "s.id > ?1", NULL, after, max, ret);
}

int
store_read_schedule(struct store_reader *rd, const char *name, int64_t id,
                    struct store_schedules *ret)
{
    int r = name != NULL ? read_schedules(rd, "?1 = 0 AND name = ?3", name, 0, 1, ret)
                         : read_schedules(rd, "s.id = ?1", NULL, id, 1, ret);

    return r < 0 ? r : (int)ret->n;
}
