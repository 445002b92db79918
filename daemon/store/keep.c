#include "daemon/store/keep.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/store/inner.h"

/*
 * Retention walks over the job table by id, a few rows a step, and begins again at the
 * end. Compared with an index on the finishing time that costs nothing per job; the price
 * is that a backlog is looked over in each pass, at a fraction of a microsecond a row.
 *
 * A batch's row, spans, labels and edges go when it has ended, is old enough, and the last
 * of its jobs has gone.
 */

#define SWEEP_EACH 64 /* leases made between two sweeps */

static int
job_delete(struct store *st, const struct job_row *row)
{
    struct queue_row *qu = store_queue(st, STORE_LANE_QUEUE(row->lane));
    struct batch_row *b;
    int r;

    r = STORE_EXEC(st, SQL_JOB_DEL, row->id);
    if (r == 0)
        r = STORE_EXEC(st, SQL_RESULT_DEL, row->id);
    if (r == 0 && (row->flags & STORE_F_BIGSPEC))
        r = STORE_EXEC(st, SQL_SPEC_DEL, row->id);
    if (r == 0 && (row->flags & STORE_F_HISTORY))
        r = STORE_EXEC(st, SQL_ATTEMPT_DEL, row->id);
    if (r == 0 && (row->flags & STORE_F_KEY))
        r = STORE_EXEC(st, SQL_IDEM_DROP_JOB, row->id);
    if (r == 0 && (row->flags & STORE_F_LABELS))
        r = STORE_EXEC(st, SQL_LABEL_DROP, NODE_JOB(row->id));
    if (r < 0)
        return r;
    b = store_batch(st, row->batch, &r);
    if (b == NULL)
        return r;
    if (qu != NULL) {
        qu->pruned++;
        qu->dirty = true;
    }
    b->pruned++;
    return store_batch_dirty(st, b);
}

static int64_t
finished_count(const struct store *st)
{
    int64_t n = 0;

    for (int i = 0; i < st->n_queues; i++) {
        const struct queue_row *qu = &st->queues[i];

        for (int s = STORE_SUCCEEDED; s < STORE_STATE_END; s++)
            n += qu->n[s - STORE_BLOCKED];
        n -= qu->pruned;
    }
    return n;
}

/* Rows of [*first, last] into rows: their number; *first behind the last one read, 0 if
 * the range is exhausted. */
static int
read_jobs(struct store *st, int64_t *first, int64_t last, struct job_row *rows, int max)
{
    sqlite3_stmt *q = store_stmt(st, SQL_JOB_RANGE);
    int n = 0, r = 1;

    if (q != NULL) {
        sqlite3_bind_int64(q, 1, *first);
        sqlite3_bind_int64(q, 2, last);
    }
    while (n < max && (r = store_row(st, q)) > 0)
        store_job_columns(q, &rows[n++]);
    if (r < 0)
        return r;
    if (r > 0)
        sqlite3_reset(q);
    *first = r > 0 ? rows[n - 1].id + 1 : 0;
    return n;
}

/* Dependents may still ask how this job ended. */
static int
has_dependents(struct store *st, int64_t node)
{
    int64_t job;

    return st->any_deps ? STORE_ONE(st, SQL_DEP_OF, &job, node) : 0;
}

/* Or how its batch ended, and what came of its jobs. */
static int
is_awaited(struct store *st, const struct job_row *row)
{
    int r = has_dependents(st, NODE_JOB(row->id));

    return r != 0 ? r : has_dependents(st, NODE_BATCH(row->batch));
}

static int
prune_jobs(struct store *st, const struct store_keep *k, int max)
{
    struct job_row *rows;
    int64_t excess = k->count < 0 ? 0 : finished_count(st) - k->count;
    int n, deleted = 0, r = 0;

    if (k->age_ms <= 0 && excess <= 0)
        return 0;
    if (k->count < 0 && finished_count(st) == 0)
        return 0;
    rows = malloc((size_t)max * sizeof(*rows));
    if (rows == NULL)
        return store_refuse(st, -ENOMEM, "out of memory");
    n = read_jobs(st, &st->prune_cursor, INT64_MAX, rows, max);
    for (int i = 0; r >= 0 && i < n; i++) {
        bool old = k->age_ms > 0 && rows[i].finished <= st->now - k->age_ms;

        if (!store_state_final(rows[i].state) || !(old || excess > 0))
            continue;
        r = is_awaited(st, &rows[i]);
        if (r != 0)
            continue;
        r = job_delete(st, &rows[i]);
        deleted++;
        excess--;
    }
    free(rows);
    if (n < 0 || r < 0)
        return n < 0 ? n : r;
    return deleted > 0 || st->prune_cursor != 0 ? n : 0;
}

/* One batch: delete it if nothing of it is left. */
static int
prune_batch(struct store *st, const struct store_keep *k)
{
    struct batch_row *b;
    int64_t id, done = 0;
    int r;

    r = STORE_ONE(st, SQL_BATCH_NEXT, &id, st->prune_batch_cursor);
    if (r <= 0) {
        st->prune_batch_cursor = 0;
        return r;
    }
    st->prune_batch_cursor = id;
    b = store_batch(st, id, &r);
    if (b == NULL)
        return r;
    for (int s = STORE_SUCCEEDED; s < STORE_STATE_END; s++)
        done += b->n[s - STORE_BLOCKED];
    if (b->finished == 0 || batch_live(b) > 0 || b->pruned < done)
        return 1;
    /* An empty or pruned batch stays as long as a finished job would. */
    if (k->age_ms > 0 ? b->finished > st->now - k->age_ms : k->count < 0)
        return 1;
    r = has_dependents(st, NODE_BATCH(id));
    if (r != 0)
        return r;
    r = STORE_EXEC(st, SQL_SPAN_DEL, id);
    if (r == 0)
        r = STORE_EXEC(st, SQL_LABEL_DROP, NODE_BATCH(id));
    if (r == 0)
        r = STORE_EXEC(st, SQL_EDGE_DROP_BATCH, id);
    if (r == 0)
        r = STORE_EXEC(st, SQL_BATCH_DEL, id);
    if (r < 0)
        return r;
    memset(b, 0, sizeof(*b));
    return 1;
}

/* Leases whose jobs have all ended go; one that holds a few stragglers is narrowed. */
static int
sweep_leases(struct store *st)
{
    int r = 0;

    for (int i = 0; i < 2 * SWEEP_EACH; i++) {
        sqlite3_stmt *q = store_stmt(st, SQL_LEASE_NEXT);
        int64_t id, first, last, lo, hi;

        if (q != NULL)
            sqlite3_bind_int64(q, 1, st->lease_cursor);
        r = store_row(st, q);
        if (r <= 0) {
            st->lease_cursor = 0;
            return r;
        }
        id = st->lease_cursor = sqlite3_column_int64(q, 0);
        first = sqlite3_column_int64(q, 1);
        last = sqlite3_column_int64(q, 2);
        sqlite3_reset(q);
        q = store_stmt(st, SQL_LEASE_JOBS);
        if (q != NULL) {
            sqlite3_bind_int64(q, 1, first);
            sqlite3_bind_int64(q, 2, last);
        }
        r = store_row(st, q);
        if (r <= 0)
            return r;
        lo = sqlite3_column_int64(q, 0);
        hi = sqlite3_column_int64(q, 1);
        sqlite3_reset(q);
        if (lo == 0)
            r = STORE_EXEC(st, SQL_LEASE_DEL, id);
        else if (lo != first || hi != last)
            r = STORE_EXEC(st, SQL_LEASE_SET, id, lo, hi);
        else
            r = 0;
        if (r < 0)
            return r;
    }
    return 0;
}

static int
trim_requests(struct store *st, const struct store_keep *k, int max)
{
    int r;

    if (k->request_age_ms <= 0)
        return 0;
    r = STORE_EXEC(st, SQL_REQUEST_TRIM, st->now - k->request_age_ms, max);
    return r < 0 ? r : sqlite3_changes(st->db);
}

static int
trim_events(struct store *st, const struct store_keep *k, int max)
{
    int r, done;

    for (done = 0; done < max; done++) {
        sqlite3_stmt *q = store_stmt(st, SQL_EVENT_FIRST);
        int64_t first, end, at;

        r = store_row(st, q);
        if (r <= 0)
            return r < 0 ? r : done;
        first = sqlite3_column_int64(q, 0);
        end = first + sqlite3_column_int64(q, 1);
        at = sqlite3_column_int64(q, 2);
        sqlite3_reset(q);
        if (!(k->event_age_ms > 0 && at < st->now - k->event_age_ms) &&
            !(k->event_count > 0 && end <= st->ids.event - k->event_count))
            break;
        r = STORE_EXEC(st, SQL_EVENT_DEL, first);
        if (r < 0)
            return r;
    }
    return done;
}

int
store_keep_step(struct store *st, const struct store_keep *k, int max)
{
    int done = 0, r;

    if (st->leases_made >= SWEEP_EACH) {
        st->leases_made = 0;
        r = sweep_leases(st);
        if (r < 0)
            return r;
    }
    r = trim_requests(st, k, max);
    if (r >= 0) {
        done += r;
        r = trim_events(st, k, max);
    }
    if (r >= 0) {
        done += r;
        r = prune_jobs(st, k, max);
    }
    if (r >= 0) {
        done += r;
        for (int i = 0; i < max; i++) {
            r = prune_batch(st, k);
            if (r <= 0)
                break;
        }
    }
    if (r < 0)
        return r;
    return st->prune_batch_cursor != 0 ? done + 1 : done;
}

int
store_purge_job(struct store *st, int64_t id, enum store_state state)
{
    struct job_row row;
    int r = store_job_row(st, id, &row);

    if (r < 0)
        return r;
    if (r == 0)
        return store_refuse(st, -ENOENT, "there is no job %lld", (long long)id);
    if (row.state != state || !store_state_final(state))
        return store_refuse(st, -EBUSY, "job %lld is %s", (long long)id,
                            store_state_name(row.state));
    r = is_awaited(st, &row);
    if (r > 0)
        return store_refuse(st, -EBUSY, "a job waits for job %lld", (long long)id);
    if (r == 0)
        r = job_delete(st, &row);
    if (r < 0)
        st->broken = true;
    return r;
}

int
store_tidy(struct store *st, int max_pages)
{
    char sql[64];
    int rc;

    if (st->failed)
        return -EIO;
    sqlite3_snprintf((int)sizeof(sql), sql, "PRAGMA incremental_vacuum(%d)", max_pages);
    rc = sqlite3_exec(st->db, sql, NULL, NULL, NULL);
    if (rc != SQLITE_OK)
        return store_sqlite_err(st, rc, "returning free pages");
    return store_wal_tidy(st);
}
