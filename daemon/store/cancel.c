#include <errno.h>

#include "daemon/store/depend.h"
#include "daemon/store/finish.h"
#include "daemon/store/inner.h"

/*
 * Cancelling. One job is cancelled on the spot. A batch is cancelled by one flag in its
 * row, from which on none of its jobs starts; a row in `sweep` then walks over its jobs, a
 * few a transaction, so that a batch of a million neither makes one huge transaction nor
 * is half cancelled after a crash.
 */

static int
cancel_row(struct store *st, struct job_row *row, const char *reason)
{
    enum store_state from = row->state;
    int r = 0;

    if (from == STORE_RUNNING) {
        if (row->flags & STORE_F_CANCEL)
            return 0;
        row->flags |= STORE_F_CANCEL;
        return STORE_EXEC(st, SQL_JOB_FLAG, row->id, STORE_F_CANCEL);
    }
    if (from == STORE_BLOCKED) {
        r = STORE_EXEC(st, SQL_DEP_DROP_JOB, row->id);
        if (r < 0)
            return r;
    }
    if (reason != NULL) {
        row->flags |= STORE_F_HISTORY;
        r = store_note(st, row->id, row->attempt, STORE_END_CANCELLED, reason);
    }
    row->state = STORE_CANCELLED;
    row->finished = st->now;
    return r < 0 ? r : store_job_change(st, row, from, EVENT_STATE);
}

int
store_cancel_job(struct store *st, int64_t id, const char *reason, enum store_state *ret)
{
    struct job_row row;
    int r;

    r = store_job_row(st, id, &row);
    if (r == 0)
        return store_refuse(st, -ENOENT, "there is no job %lld", (long long)id);
    if (r > 0 && !store_state_final(row.state)) {
        r = cancel_row(st, &row, reason);
        if (r < 0)
            st->broken = true;
    }
    if (r < 0)
        return r;
    *ret = row.state;
    return 0;
}

int
store_cancel_batch(struct store *st, int64_t id, enum store_stop why)
{
    struct store_event ev = {
        .type = EVENT_BATCH_STOP, .state = STORE_CANCELLED, .batch = id, .count = why};
    struct batch_row *b;
    int r;

    b = store_batch(st, id, &r);
    if (b == NULL)
        return r;
    if ((b->flags & BATCH_CANCEL) || b->finished != 0 ||
        ((b->flags & BATCH_CLOSED) && batch_live(b) == 0))
        return 0;
    b->flags |= BATCH_CANCEL | BATCH_CLOSED |
                (why == STORE_STOP_FAIL_FAST  ? BATCH_FAILED
                 : why == STORE_STOP_DEADLINE ? BATCH_LATE
                                              : 0);
    r = store_batch_dirty(st, b);
    if (r == 0)
        r = STORE_EXEC(st, SQL_SWEEP_PUT, id, 0);
    if (r == 0 && event_put(&st->events, &ev) < 0)
        r = store_refuse(st, -ENOMEM, "out of memory");
    if (r < 0)
        st->broken = true;
    return r;
}

/* One batch, from job `next` on: looks at up to max jobs; *next moves on, 0 at the end. */
static int
sweep_batch(struct store *st, int64_t batch, int64_t *next, int max)
{
    int64_t at = *next, last = -1;
    int seen = 0, r;

    while (seen < max) {
        struct job_row row;

        if (at > last) {
            sqlite3_stmt *q = store_stmt(st, SQL_SPAN_AT);

            if (q != NULL) {
                sqlite3_bind_int64(q, 1, batch);
                sqlite3_bind_int64(q, 2, at);
            }
            r = store_row(st, q);
            if (r <= 0) {
                *next = 0;
                return r < 0 ? r : seen;
            }
            if (at < sqlite3_column_int64(q, 0))
                at = sqlite3_column_int64(q, 0);
            last = sqlite3_column_int64(q, 1);
            sqlite3_reset(q);
        }
        seen++;
        r = store_job_row(st, at++, &row);
        if (r > 0 && row.batch == batch && !store_state_final(row.state))
            r = cancel_row(st, &row, NULL);
        if (r < 0)
            return r;
    }
    *next = at;
    return seen;
}

bool
store_cancels_due(struct store *st)
{
    int64_t batch;

    return STORE_ONE(st, SQL_SWEEP_FIRST, &batch) != 0;
}

int
store_cancel_step(struct store *st, int max)
{
    int done = 0, r;

    while (done < max) {
        sqlite3_stmt *q = store_stmt(st, SQL_SWEEP_FIRST);
        int64_t batch, next;

        r = store_row(st, q);
        if (r <= 0)
            return r < 0 ? r : done;
        batch = sqlite3_column_int64(q, 0);
        next = sqlite3_column_int64(q, 1);
        sqlite3_reset(q);
        r = sweep_batch(st, batch, &next, max - done);
        if (r < 0)
            return r;
        done += r > 0 ? r : 1;
        r = next == 0 ? STORE_EXEC(st, SQL_SWEEP_DEL, batch)
                      : STORE_EXEC(st, SQL_SWEEP_PUT, batch, next);
        if (r < 0)
            return r;
    }
    return done;
}

/* Where a job that is retried begins: *ret is not touched when it may be queued at once. */
static int
retry_deps(struct store *st, const struct job_row *row, const struct store_dep *deps,
           size_t n, enum store_state *ret)
{
    bool bad;
    int r = store_deps_check(st, row->batch, deps, n);

    if (r == 0)
        r = store_deps_bad(st, deps, n, &bad);
    if (r == 0 && bad)
        return store_refuse(st, -EBUSY,
                            "what job %lld waits for did not succeed: retry that first",
                            (long long)row->id);
    return r < 0 ? r : store_deps_put(st, row->batch, row->id, deps, n, ret);
}

int
store_retry_job(struct store *st, int64_t id, const struct store_dep *deps, size_t n)
{
    struct job_row row;
    struct batch_row *b;
    enum store_state from;
    int64_t next;
    int r;

    r = store_job_row(st, id, &row);
    if (r == 0)
        return store_refuse(st, -ENOENT, "there is no job %lld", (long long)id);
    if (r < 0)
        return r;
    if (!store_state_may(row.state, STORE_QUEUED) || !store_state_final(row.state))
        return store_refuse(st, -EBUSY, "job %lld is %s: nothing to retry", (long long)id,
                            store_state_name(row.state));
    r = STORE_ONE(st, SQL_SWEEP_GET, &next, row.batch);
    if (r > 0)
        return store_refuse(st, -EBUSY, "batch %lld is still being cancelled",
                            (long long)row.batch);
    if (r < 0)
        return r;
    from = row.state;
    row.state = STORE_QUEUED;
    if (n > 0)
        r = retry_deps(st, &row, deps, n, &row.state);
    if (r < 0)
        return r;
    b = store_batch(st, row.batch, &r);
    if (b == NULL)
        return r;
    b->flags &= ~(int64_t)(BATCH_CANCEL | BATCH_FAILED | BATCH_LATE);
    if (b->deadline != 0 && b->deadline <= st->now)
        b->deadline = 0;
    row.lane &= ~(int64_t)32;
    row.fails = 0;
    row.crashes = 0;
    row.run_at = st->now;
    row.finished = row.created;
    r = STORE_EXEC(st, SQL_RESULT_DEL, id);
    if (r == 0)
        r = store_job_change(st, &row, from, EVENT_STATE);
    if (r < 0)
        st->broken = true;
    return r;
}

int
store_deadline_next(struct store *st, int64_t after, int64_t *ret_batch,
                    int64_t *ret_deadline)
{
    sqlite3_stmt *q;
    int r;

    r = store_tally_flush(st);
    if (r < 0)
        return r;
    q = store_stmt(st, SQL_BATCH_DUE);
    if (q != NULL)
        sqlite3_bind_int64(q, 1, after);
    r = store_row(st, q);
    if (r > 0) {
        *ret_batch = sqlite3_column_int64(q, 0);
        *ret_deadline = sqlite3_column_int64(q, 1);
        sqlite3_reset(q);
    }
    return r;
}
