#include "daemon/store/schedule.h"

#include <errno.h>

#include "daemon/store/inner.h"

/* A schedule's spec stands in table spec under its negated id, as jobs' long ones do. */

int
store_schedule_put(struct store *st, const struct store_schedule *s, int64_t *ret_id)
{
    sqlite3_stmt *q = store_stmt(st, SQL_SCHED_PUT);
    int r;

    if (q == NULL)
        return -EIO;
    sqlite3_bind_int64(q, 1, st->ids.sched);
    sqlite3_bind_text(q, 2, s->name, -1, SQLITE_STATIC);
    sqlite3_bind_int(q, 3, s->kind);
    sqlite3_bind_text(q, 4, s->expr, -1, SQLITE_STATIC);
    sqlite3_bind_text(q, 5, s->zone, -1, SQLITE_STATIC);
    sqlite3_bind_int(q, 6, s->missed);
    sqlite3_bind_int(q, 7, s->overlap);
    sqlite3_bind_int64(q, 8, s->jitter_ms);
    sqlite3_bind_int64(q, 9, s->paused);
    sqlite3_bind_int64(q, 10, st->now);
    sqlite3_bind_int64(q, 11, s->next_at);
    r = store_row(st, q);
    if (r <= 0)
        return r < 0 ? r : -EIO;
    *ret_id = sqlite3_column_int64(q, 0);
    sqlite3_reset(q);
    if (*ret_id == st->ids.sched)
        st->ids.sched++;
    q = store_stmt(st, SQL_SPEC_PUT);
    if (q == NULL)
        return -EIO;
    sqlite3_bind_int64(q, 1, -*ret_id);
    sqlite3_bind_blob64(q, 2, s->spec_len > 0 ? s->spec : "", s->spec_len, SQLITE_STATIC);
    return store_run(st, q);
}

static int
no_schedule(struct store *st, int64_t id)
{
    return store_refuse(st, -ENOENT, "there is no schedule %lld", (long long)id);
}

int
store_schedule_delete(struct store *st, int64_t id)
{
    int r = STORE_EXEC(st, SQL_SCHED_DEL, id);

    if (r == 0 && sqlite3_changes(st->db) == 0)
        return no_schedule(st, id);
    return r < 0 ? r : STORE_EXEC(st, SQL_SPEC_DEL, -id);
}

int
store_schedule_pause(struct store *st, int64_t id, bool paused, int64_t next_at)
{
    int r = STORE_EXEC(st, SQL_SCHED_PAUSE, id, paused, next_at);

    return r == 0 && sqlite3_changes(st->db) == 0 ? no_schedule(st, id) : r;
}

int
store_schedule_ran(struct store *st, int64_t id, int64_t due, int64_t next_at,
                   int64_t batch)
{
    struct store_event ev = {
        .type = EVENT_SCHEDULE, .state = STORE_QUEUED, .job = id, .batch = batch};
    int64_t is;
    int r;

    r = STORE_ONE(st, SQL_SCHED_GET, &is, id);
    if (r == 0)
        return no_schedule(st, id);
    if (r > 0 && is != due)
        return store_refuse(st, -ESTALE, "schedule %lld is not due then", (long long)id);
    if (r > 0)
        r = STORE_EXEC(st, SQL_SCHED_FIRED, id, next_at, due, batch != 0, batch);
    if (r == 0 && event_put(&st->events, &ev) < 0) {
        st->broken = true;
        r = store_refuse(st, -ENOMEM, "out of memory");
    }
    return r;
}

int
store_schedule_state(struct store *st, int64_t id, int64_t *ret_next, int64_t *ret_busy)
{
    const struct batch_row *b;
    int64_t batch = 0;
    int r;

    *ret_busy = 0;
    r = STORE_ONE(st, SQL_SCHED_GET, ret_next, id);
    if (r > 0)
        r = STORE_ONE(st, SQL_SCHED_BATCH, &batch, id);
    if (r <= 0)
        return r == 0 ? no_schedule(st, id) : r;
    if (batch == 0)
        return 0;
    b = store_batch(st, batch, &r);
    if (b == NULL)
        return r == -ENOENT ? 0 : r; /* retention took it */
    if (b->finished == 0)
        *ret_busy = batch;
    return 0;
}

int
store_schedule_move(struct store *st, int64_t id, int64_t next_at, int64_t last)
{
    int r = STORE_EXEC(st, SQL_SCHED_FIRED, id, next_at, last, 0, 0);

    return r == 0 && sqlite3_changes(st->db) == 0 ? no_schedule(st, id) : r;
}

int
store_schedule_due(struct store *st, int64_t now_ms, int64_t *ids, int64_t *times,
                   int max)
{
    sqlite3_stmt *q = store_stmt(st, SQL_SCHED_DUE);
    int n = 0, r;

    if (q != NULL) {
        sqlite3_bind_int64(q, 1, now_ms);
        sqlite3_bind_int(q, 2, max);
    }
    while ((r = store_row(st, q)) > 0) {
        ids[n] = sqlite3_column_int64(q, 0);
        times[n++] = sqlite3_column_int64(q, 1);
    }
    return r < 0 ? r : n;
}

int
store_schedule_next(struct store *st, int64_t *ret)
{
    return store_one(st, SQL_SCHED_NEXT, 0, NULL, ret);
}
