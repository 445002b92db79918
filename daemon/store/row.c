#include <errno.h>

#include "daemon/store/finish.h"
#include "daemon/store/inner.h"
#include "runtime/base/check.h"

/*
 * A job's row on the slow paths, and the runs of ids by which queued and scheduled jobs
 * are found.
 *
 * A run [first, last] of lane, priority and batch says: every job in this range of ids that
 * is queued (table ready) or scheduled (table later) and has these three may be found here.
 * Other jobs in the range are skipped by whoever walks it, so a run is never updated when
 * a job in its middle is cancelled, and a message of 10 000 like jobs is one row.
 */

int
store_run_put(struct store *st, int64_t lane, int64_t prio, int64_t batch, int64_t run_at,
              int64_t first, int64_t last)
{
    return STORE_EXEC(st, run_at <= st->now ? SQL_READY_PUT : SQL_LATER_PUT, lane, prio,
                      batch, run_at, first, last);
}

void
store_job_columns(sqlite3_stmt *q, struct job_row *ret)
{
    ret->id = sqlite3_column_int64(q, 0);
    ret->state = (enum store_state)sqlite3_column_int(q, 1);
    ret->lane = sqlite3_column_int64(q, 2);
    ret->prio = sqlite3_column_int64(q, 3);
    ret->batch = sqlite3_column_int64(q, 4);
    ret->attempt = sqlite3_column_int64(q, 5);
    ret->fails = sqlite3_column_int64(q, 6);
    ret->crashes = sqlite3_column_int64(q, 7);
    ret->epoch = sqlite3_column_int64(q, 8);
    ret->flags = sqlite3_column_int64(q, 9);
    ret->run_at = sqlite3_column_int64(q, 10);
    ret->created = sqlite3_column_int64(q, 11);
    ret->started = sqlite3_column_int64(q, 12);
    ret->finished = sqlite3_column_int64(q, 13);
}

int
store_job_row(struct store *st, int64_t id, struct job_row *ret)
{
    sqlite3_stmt *q = store_stmt(st, SQL_JOB_GET);
    int r;

    if (q != NULL)
        sqlite3_bind_int64(q, 1, id);
    r = store_row(st, q);
    if (r > 0) {
        store_job_columns(q, ret);
        sqlite3_reset(q);
        if (ret->state < STORE_BLOCKED || ret->state >= STORE_STATE_END) {
            st->broken = true;
            return store_refuse(st, -EUCLEAN, "job %lld has no valid state",
                                (long long)id);
        }
    }
    return r;
}

/* The first failure of a fail-fast batch cancels the rest. */
static int
fail_fast(struct store *st, const struct job_row *row)
{
    struct batch_row *b;
    int r;

    if (row->state != STORE_FAILED && row->state != STORE_DEAD)
        return 0;
    b = store_batch(st, row->batch, &r);
    if (b == NULL)
        return r;
    return b->flags & BATCH_FAIL_FAST
               ? store_cancel_batch(st, row->batch, STORE_STOP_FAIL_FAST)
               : 0;
}

int
store_job_change(struct store *st, const struct job_row *row, enum store_state from,
                 enum event_type type)
{
    struct store_event ev = {.type = type,
                             .state = row->state,
                             .job = row->id,
                             .batch = row->batch,
                             .attempt = row->attempt};
    int r;

    r = store_move(st, row->batch, row->lane, from, row->state, 1);
    if (r < 0)
        return r;
    r = STORE_EXEC(st, SQL_JOB_SET, row->id, row->state, row->lane, row->fails,
                   row->crashes, row->flags, row->run_at, row->finished);
    if (r < 0)
        return r;
    if (event_put(&st->events, &ev) < 0) {
        st->broken = true;
        return store_refuse(st, -ENOMEM, "out of memory");
    }
    if (row->state == STORE_QUEUED || row->state == STORE_SCHEDULED) {
        ENSURE((row->run_at <= st->now) == (row->state == STORE_QUEUED));
        return store_run_put(st, row->lane, row->prio, row->batch, row->run_at, row->id,
                             row->id);
    }
    if (!store_state_final(row->state))
        return 0;
    r = store_node_ended(st, NODE_JOB(row->id), row->state == STORE_SUCCEEDED);
    return r < 0 ? r : fail_fast(st, row);
}
