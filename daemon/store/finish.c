#include "daemon/store/finish.h"

#include <errno.h>
#include <stdlib.h>

#include "daemon/store/inner.h"
#include "runtime/base/check.h"

static const char *const outcome_names[] = {
    [STORE_END_SUCCEEDED] = "succeeded", [STORE_END_FAILED] = "failed",
    [STORE_END_CANCELLED] = "cancelled", [STORE_END_DEAD] = "dead",
    [STORE_END_RETRY] = "retry",         [STORE_END_INTERRUPTED] = "interrupted",
    [STORE_END_CRASHED] = "crashed",     [STORE_END_UNMET] = "unmet",
};

const char *
store_outcome_name(enum store_outcome o)
{
    return o >= STORE_END_SUCCEEDED && o <= STORE_END_UNMET ? outcome_names[o] : "?";
}

int
store_history(struct store *st, int64_t job, int64_t attempt, int64_t started,
              enum store_outcome outcome, const char *error)
{
    sqlite3_stmt *q = store_stmt(st, SQL_ATTEMPT_PUT);
    int64_t v[6] = {job, attempt, st->epoch, started, st->now, outcome};
    int r;

    if (q == NULL)
        return -EIO;
    for (int i = 0; i < 6; i++)
        sqlite3_bind_int64(q, i + 1, v[i]);
    if (error != NULL)
        sqlite3_bind_text(q, 7, error, -1, SQLITE_STATIC);
    else
        sqlite3_bind_null(q, 7);
    r = store_run(st, q);
    if (r == 0 && attempt > st->history)
        r = STORE_EXEC(st, SQL_ATTEMPT_TRIM, job, attempt - st->history);
    return r;
}

int
store_note(struct store *st, int64_t job, int64_t attempt, enum store_outcome outcome,
           const char *text)
{
    sqlite3_stmt *q = store_stmt(st, SQL_ATTEMPT_NOTE);
    int64_t v[5] = {job, attempt, st->epoch, st->now, outcome};

    if (q == NULL)
        return -EIO;
    for (int i = 0; i < 5; i++)
        sqlite3_bind_int64(q, i + 1, v[i]);
    sqlite3_bind_text(q, 6, text, -1, SQLITE_STATIC);
    return store_run(st, q);
}

/* Results of n attempts that have one: 1, or as many as the statement takes. */
static int
put_results(struct store *st, enum sql which, const struct store_finish *const *v, int n)
{
    sqlite3_stmt *q = store_stmt(st, which);

    if (q == NULL)
        return -EIO;
    for (int i = 0; i < n; i++) {
        sqlite3_bind_int64(q, 2 * i + 1, v[i]->id);
        sqlite3_bind_blob64(q, 2 * i + 2, v[i]->result_len > 0 ? v[i]->result : "",
                            v[i]->result_len, SQLITE_STATIC);
    }
    return store_run(st, q);
}

static int
result_put(struct store *st, const struct store_finish *f)
{
    return f->result == NULL ? 0 : put_results(st, SQL_RESULT_PUT, &f, 1);
}

static int
results_put(struct store *st, const struct store_finish *const *v, size_t n)
{
    const struct store_finish *have[8];
    int k = 0, r = 0;

    for (size_t i = 0; r == 0 && i < n; i++) {
        if (v[i]->result != NULL)
            have[k++] = v[i];
        if (k == 8) {
            r = put_results(st, SQL_RESULT_PUT_8, have, k);
            k = 0;
        }
    }
    for (int i = 0; r == 0 && i < k; i++)
        r = put_results(st, SQL_RESULT_PUT, &have[i], 1);
    return r;
}

static int
stale(struct store *st, const struct store_finish *f)
{
    return store_refuse(st, -ESTALE, "job %lld is not running as attempt %lld",
                        (long long)f->id, (long long)f->attempt);
}

/* Tell of a success, whose row is written. */
static int
succeeded(struct store *st, const struct store_finish *f)
{
    struct store_event ev = {.type = EVENT_STATE,
                             .state = STORE_SUCCEEDED,
                             .job = f->id,
                             .batch = f->batch,
                             .attempt = f->attempt};

    if (event_put(&st->events, &ev) < 0)
        return store_refuse(st, -ENOMEM, "out of memory");
    return store_node_ended(st, NODE_JOB(f->id), true);
}

/* Success, the common end: one update in place and one row for the result. The fence is the
 * update's WHERE. */
static int
finish_success(struct store *st, const struct store_finish *f)
{
    int r;

    r = STORE_EXEC(st, SQL_JOB_FINISH, f->id, st->now, f->attempt, f->batch, f->lane);
    if (r < 0)
        return r;
    if (sqlite3_changes(st->db) == 0)
        return stale(st, f);
    r = store_move(st, f->batch, f->lane, STORE_RUNNING, STORE_SUCCEEDED, 1);
    if (r == 0)
        r = result_put(st, f);
    if (r == 0)
        r = succeeded(st, f);
    if (r < 0)
        st->broken = true;
    return r;
}

/* The same for n successes that run_of() found alike. */
static int
finish_run(struct store *st, const struct store_finish *const *v, size_t n)
{
    const struct store_finish *f = v[0];
    int r;

    r = STORE_EXEC(st, SQL_JOB_FINISH_RUN, f->id, st->now, f->attempt, f->batch, f->lane,
                   v[n - 1]->id);
    if (r < 0)
        return r;
    if (sqlite3_changes(st->db) != (int)n)
        return stale(st, f);
    r = store_move(st, f->batch, f->lane, STORE_RUNNING, STORE_SUCCEEDED, (int64_t)n);
    if (r == 0)
        r = results_put(st, v, n);
    for (size_t i = 0; r == 0 && i < n; i++)
        r = succeeded(st, v[i]);
    return r;
}

/* The job's row as its attempt's end leaves it. */
static void
end_row(struct store *st, const struct store_finish *f, struct job_row *row)
{
    enum store_outcome o = f->outcome;

    if ((row->flags & STORE_F_CANCEL) &&
        (o == STORE_END_RETRY || o == STORE_END_INTERRUPTED))
        o = STORE_END_CANCELLED;
    row->flags &= ~(int64_t)STORE_F_CANCEL;
    row->flags |= STORE_F_HISTORY;
    row->finished = st->now;
    switch (o) {
    case STORE_END_FAILED:
        row->state = STORE_FAILED;
        row->fails++;
        break;
    case STORE_END_DEAD:
        row->state = STORE_DEAD;
        row->fails++;
        break;
    case STORE_END_CANCELLED:
        row->state = STORE_CANCELLED;
        break;
    case STORE_END_RETRY:
        row->fails++;
        row->run_at = f->run_at > st->now ? f->run_at : st->now;
        row->state = row->run_at > st->now ? STORE_SCHEDULED : STORE_QUEUED;
        row->finished = row->created;
        break;
    case STORE_END_INTERRUPTED:
        /* run_at stays: it goes back to its place at the head of the line. */
        row->state = STORE_QUEUED;
        row->finished = row->created;
        break;
    case STORE_END_SUCCEEDED:
    case STORE_END_CRASHED:
    case STORE_END_UNMET:
        ENSURE(!"an outcome of this function");
    }
}

static int
finish_other(struct store *st, const struct store_finish *f, enum store_state *ret)
{
    struct job_row row;
    int r;

    r = store_job_row(st, f->id, &row);
    if (r < 0)
        return r;
    if (r == 0 || row.state != STORE_RUNNING || row.attempt != f->attempt ||
        row.batch != f->batch || row.lane != f->lane)
        return stale(st, f);
    r = store_history(st, f->id, f->attempt, row.started, f->outcome, f->error);
    end_row(st, f, &row);
    if (r == 0 && store_state_final(row.state))
        r = result_put(st, f);
    if (r == 0)
        r = store_job_change(st, &row, STORE_RUNNING, EVENT_STATE);
    if (r < 0)
        st->broken = true;
    *ret = row.state;
    return r;
}

int
store_finish(struct store *st, const struct store_finish *f, enum store_state *ret)
{
    enum store_state s = STORE_SUCCEEDED;
    int r;

    if (f->outcome < STORE_END_SUCCEEDED || f->outcome >= STORE_END_CRASHED)
        return store_refuse(st, -EINVAL, "no such outcome");
    r = f->outcome == STORE_END_SUCCEEDED ? finish_success(st, f)
                                          : finish_other(st, f, &s);
    if (r == 0 && ret != NULL)
        *ret = s;
    return r;
}

static int
by_id(const void *a, const void *b)
{
    const struct store_finish *const *x = a, *const *y = b;

    return ((*x)->id > (*y)->id) - ((*x)->id < (*y)->id);
}

/* How many at the start of v are successes that one statement can record. */
static size_t
run_of(const struct store_finish *const *v, size_t n)
{
    const struct store_finish *f = v[0];
    size_t len = 1;

    if (f->outcome != STORE_END_SUCCEEDED)
        return 1;
    while (len < n && v[len]->id == f->id + (int64_t)len &&
           v[len]->outcome == STORE_END_SUCCEEDED && v[len]->attempt == f->attempt &&
           v[len]->batch == f->batch && v[len]->lane == f->lane)
        len++;
    return len;
}

int
store_finish_all(struct store *st, const struct store_finish **v, size_t n)
{
    int r = 0;

    qsort(v, n, sizeof(*v), by_id);
    for (size_t i = 0, len; r >= 0 && i < n; i += len) {
        len = run_of(v + i, n - i);
        r = len > 1 ? finish_run(st, v + i, len) : store_finish(st, v[i], NULL);
    }
    if (r < 0)
        st->broken = true;
    return r;
}
