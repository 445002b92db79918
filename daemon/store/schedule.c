#include "daemon/store/schedule.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/store/inner.h"

/* A schedule's spec stands in table spec under its negated id, as jobs' long ones do. */

static int
no_schedule(struct store *st, int64_t id)
{
    return store_refuse(st, -ENOENT, "there is no schedule %lld", (long long)id);
}

static int
tell(struct store *st, int64_t id, enum store_schedule_change what, int64_t batch)
{
    struct store_event ev = {.type = EVENT_SCHEDULE,
                             .state = STORE_QUEUED,
                             .job = id,
                             .batch = batch,
                             .attempt = (int64_t)what};

    if (event_put(&st->events, &ev) == 0)
        return 0;
    st->broken = true;
    return store_refuse(st, -ENOMEM, "out of memory");
}

/* After a statement that should have changed the row of that id. */
static int
changed(struct store *st, int r, int64_t id)
{
    return r == 0 && sqlite3_changes(st->db) == 0 ? no_schedule(st, id) : r;
}

/* --- what is stored ---------------------------------------------------------------------- */

static int
spec_put(struct store *st, int64_t id, const void *spec, size_t len)
{
    sqlite3_stmt *q = store_stmt(st, SQL_SPEC_PUT);

    if (q == NULL)
        return -EIO;
    sqlite3_bind_int64(q, 1, -id);
    sqlite3_bind_blob64(q, 2, len > 0 ? spec : "", len, SQLITE_STATIC);
    return store_run(st, q);
}

int
store_schedule_put(struct store *st, const struct store_schedule *s, int64_t *ret_id)
{
    sqlite3_stmt *q = store_stmt(st, SQL_SCHED_PUT);
    bool fresh;
    int r;

    if (q == NULL)
        return -EIO;
    sqlite3_bind_int64(q, 1, st->ids.sched);
    sqlite3_bind_text(q, 2, s->name, -1, SQLITE_STATIC);
    sqlite3_bind_int64(q, 3, s->paused);
    sqlite3_bind_int64(q, 4, s->config);
    sqlite3_bind_int64(q, 5, s->created != 0 ? s->created : st->now);
    sqlite3_bind_int64(q, 6, s->next_at);
    r = store_row(st, q);
    if (r <= 0)
        return r < 0 ? r : -EIO;
    *ret_id = sqlite3_column_int64(q, 0);
    sqlite3_reset(q);
    fresh = *ret_id == st->ids.sched;
    if (fresh)
        st->ids.sched++;
    r = spec_put(st, *ret_id, s->spec, s->spec_len);
    return r < 0 ? r : tell(st, *ret_id, fresh ? SCHEDULE_ADDED : SCHEDULE_CHANGED, 0);
}

int64_t
store_schedule_next_id(const struct store *st)
{
    return st->ids.sched;
}

int
store_schedule_find(struct store *st, const char *name, int64_t id,
                    struct store_schedule_head *ret)
{
    sqlite3_stmt *q = store_stmt(st, name != NULL ? SQL_SCHED_NAMED : SQL_SCHED_HEAD);
    int r;

    if (q != NULL && name != NULL)
        sqlite3_bind_text(q, 1, name, -1, SQLITE_STATIC);
    else if (q != NULL)
        sqlite3_bind_int64(q, 1, id);
    r = store_row(st, q);
    if (r <= 0)
        return r;
    *ret = (struct store_schedule_head){
        .id = sqlite3_column_int64(q, 0),
        .paused = sqlite3_column_int(q, 1) != 0,
        .config = sqlite3_column_int(q, 2) != 0,
        .created = sqlite3_column_int64(q, 3),
        .next_at = sqlite3_column_int64(q, 4),
        .last_at = sqlite3_column_int64(q, 5),
        .batch = sqlite3_column_int64(q, 6),
    };
    sqlite3_reset(q);
    return 1;
}

int
store_schedule_spec(struct store *st, int64_t id, void **ret, size_t *ret_len)
{
    sqlite3_stmt *q = store_stmt(st, SQL_SPEC_GET);
    size_t len;
    void *copy;
    int r;

    if (q != NULL)
        sqlite3_bind_int64(q, 1, -id);
    r = store_row(st, q);
    if (r <= 0)
        return r < 0 ? r : no_schedule(st, id);
    len = (size_t)sqlite3_column_bytes(q, 0);
    copy = malloc(len + 1);
    if (copy != NULL && len > 0)
        memcpy(copy, sqlite3_column_blob(q, 0), len);
    sqlite3_reset(q);
    if (copy == NULL)
        return store_refuse(st, -ENOMEM, "out of memory");
    *ret = copy;
    *ret_len = len;
    return 0;
}

int
store_schedule_config(struct store *st, int64_t after, int64_t *ret_id, char **ret)
{
    sqlite3_stmt *q = store_stmt(st, SQL_SCHED_CONFIG);
    char *name;
    int r;

    if (q != NULL)
        sqlite3_bind_int64(q, 1, after);
    r = store_row(st, q);
    if (r <= 0)
        return r;
    *ret_id = sqlite3_column_int64(q, 0);
    name = strdup((const char *)sqlite3_column_text(q, 1));
    sqlite3_reset(q);
    if (name == NULL)
        return store_refuse(st, -ENOMEM, "out of memory");
    *ret = name;
    return 1;
}

int
store_schedule_delete(struct store *st, int64_t id)
{
    int r = changed(st, STORE_EXEC(st, SQL_SCHED_DEL, id), id);

    if (r == 0)
        r = STORE_EXEC(st, SQL_SPEC_DEL, -id);
    return r < 0 ? r : tell(st, id, SCHEDULE_REMOVED, 0);
}

int
store_schedule_pause(struct store *st, int64_t id, bool paused, int64_t next_at)
{
    int r = changed(st, STORE_EXEC(st, SQL_SCHED_PAUSE, id, paused, next_at), id);

    return r < 0 ? r : tell(st, id, paused ? SCHEDULE_PAUSED : SCHEDULE_RESUMED, 0);
}

/* --- runs -------------------------------------------------------------------------------- */

int
store_schedule_ran(struct store *st, int64_t id, int64_t due, int64_t next_at,
                   int64_t batch)
{
    int64_t is;
    int r;

    r = STORE_ONE(st, SQL_SCHED_GET, &is, id);
    if (r == 0)
        return no_schedule(st, id);
    if (r > 0 && is != due)
        return store_refuse(st, -ESTALE, "schedule %lld is not due then", (long long)id);
    if (r > 0)
        r = STORE_EXEC(st, SQL_SCHED_FIRED, id, next_at, due, batch != 0, batch);
    return r < 0 ? r : tell(st, id, SCHEDULE_RAN, batch);
}

int
store_schedule_ran_now(struct store *st, int64_t id, int64_t batch)
{
    struct store_schedule_head h;
    int r = store_schedule_find(st, NULL, id, &h);

    if (r == 0)
        return no_schedule(st, id);
    if (r > 0)
        r = STORE_EXEC(st, SQL_SCHED_FIRED, id, h.next_at,
                       h.last_at > st->now ? h.last_at : st->now, 1, batch);
    return r < 0 ? r : tell(st, id, SCHEDULE_RAN, batch);
}

int
store_schedule_state(struct store *st, int64_t id, struct store_schedule_head *ret,
                     int64_t *ret_busy)
{
    const struct batch_row *b;
    int r;

    *ret_busy = 0;
    r = store_schedule_find(st, NULL, id, ret);
    if (r <= 0)
        return r == 0 ? no_schedule(st, id) : r;
    if (ret->batch == 0)
        return 0;
    b = store_batch(st, ret->batch, &r);
    if (b == NULL)
        return r == -ENOENT ? 0 : r; /* retention took it */
    if (b->finished == 0)
        *ret_busy = ret->batch;
    return 0;
}

int
store_schedule_move(struct store *st, int64_t id, int64_t next_at, int64_t last)
{
    return changed(st, STORE_EXEC(st, SQL_SCHED_FIRED, id, next_at, last, 0, 0), id);
}

int
store_schedule_count(struct store *st, int64_t id, int64_t missed, int64_t skipped)
{
    return changed(st, STORE_EXEC(st, SQL_SCHED_COUNT, id, missed, skipped), id);
}
