#include "daemon/store/queue.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/store/inner.h"

int
store_queue_find(struct store *st, const char *name, bool create, int64_t *ret)
{
    sqlite3_stmt *q;
    int r;

    for (int i = 0; i < st->n_queues; i++)
        if (strcmp(st->queues[i].name, name) == 0) {
            *ret = i;
            return 1;
        }
    if (!create)
        return 0;
    if (st->n_queues >= STORE_QUEUES_MAX)
        return store_refuse(st, -ENOSPC, "there are %d queues already", STORE_QUEUES_MAX);
    /* The counters of the others are loaded anew with the table. */
    r = store_tally_flush(st);
    if (r < 0)
        return r;
    q = store_stmt(st, SQL_QUEUE_NEW);
    if (q == NULL)
        return -EIO;
    *ret = st->n_queues;
    sqlite3_bind_int64(q, 1, *ret);
    sqlite3_bind_text(q, 2, name, -1, SQLITE_STATIC);
    r = store_run(st, q);
    if (r == 0)
        r = store_queues_load(st);
    return r < 0 ? r : 1;
}

int
store_queue_set(struct store *st, int64_t id, const struct store_queue_conf *conf)
{
    struct store_event ev = {.type = EVENT_QUEUE, .job = id};
    struct queue_row *qu = store_queue(st, id);
    sqlite3_stmt *q;

    if (qu == NULL)
        return store_refuse(st, -ENOENT, "there is no queue %lld", (long long)id);
    if (event_put(&st->events, &ev) < 0) {
        st->broken = true;
        return store_refuse(st, -ENOMEM, "out of memory");
    }
    q = store_stmt(st, SQL_QUEUE_CONF);
    if (q == NULL)
        return -EIO;
    qu->paused = conf->paused;
    qu->parallel = conf->parallel;
    qu->rate = conf->rate;
    qu->burst = conf->burst;
    sqlite3_bind_int64(q, 1, id);
    sqlite3_bind_int64(q, 2, conf->paused);
    sqlite3_bind_int64(q, 3, conf->parallel);
    sqlite3_bind_double(q, 4, conf->rate);
    sqlite3_bind_int64(q, 5, conf->burst);
    return store_run(st, q);
}

/* 1 and the entry as it was last applied, or 0. */
static int
file_get(struct store *st, int64_t id, struct store_queue_conf *ret)
{
    sqlite3_stmt *q = store_stmt(st, SQL_QUEUE_FILE_GET);
    int r;

    if (q != NULL)
        sqlite3_bind_int64(q, 1, id);
    r = store_row(st, q);
    if (r > 0) {
        ret->paused = sqlite3_column_int(q, 0);
        ret->parallel = sqlite3_column_int64(q, 1);
        ret->rate = sqlite3_column_double(q, 2);
        ret->burst = sqlite3_column_int64(q, 3);
        sqlite3_reset(q);
    }
    return r;
}

int
store_queue_apply(struct store *st, int64_t id, const struct store_queue_conf *conf)
{
    struct store_queue_conf was = {.paused = false};
    sqlite3_stmt *q;
    int r = file_get(st, id, &was);

    if (r < 0)
        return r;
    if (r > 0 && was.paused == conf->paused && was.parallel == conf->parallel &&
        was.burst == conf->burst && !(was.rate < conf->rate || was.rate > conf->rate))
        return 0;
    r = store_queue_set(st, id, conf);
    if (r < 0)
        return r;
    q = store_stmt(st, SQL_QUEUE_FILE_PUT);
    if (q == NULL)
        return -EIO;
    sqlite3_bind_int64(q, 1, id);
    sqlite3_bind_int64(q, 2, conf->paused);
    sqlite3_bind_int64(q, 3, conf->parallel);
    sqlite3_bind_double(q, 4, conf->rate);
    sqlite3_bind_int64(q, 5, conf->burst);
    return store_run(st, q);
}

int
store_queue_get(const struct store *st, int64_t id, struct store_queue *ret)
{
    const struct queue_row *qu;

    if (id < 0 || id >= st->n_queues)
        return -ENOENT;
    qu = &st->queues[id];
    ret->id = id;
    ret->name = qu->name;
    ret->conf =
        (struct store_queue_conf){qu->paused != 0, qu->parallel, qu->rate, qu->burst};
    memcpy(ret->n, qu->n, sizeof(ret->n));
    ret->pruned = qu->pruned;
    return 0;
}

int64_t
store_backlog(const struct store *st)
{
    int64_t n = 0;

    for (int i = 0; i < st->n_queues; i++)
        for (int s = STORE_BLOCKED; s <= STORE_RUNNING; s++)
            n += st->queues[i].n[s - STORE_BLOCKED];
    return n;
}

int64_t
store_queued(const struct store *st)
{
    int64_t n = 0;

    for (int i = 0; i < st->n_queues; i++)
        n += st->queues[i].n[STORE_QUEUED - STORE_BLOCKED];
    return n;
}

int64_t
store_disk_bytes(struct store *st)
{
    sqlite3_stmt *q = NULL;
    int64_t pages = 0;

    if (sqlite3_prepare_v2(st->db, "PRAGMA page_count", -1, &q, NULL) == SQLITE_OK &&
        sqlite3_step(q) == SQLITE_ROW)
        pages = sqlite3_column_int64(q, 0);
    sqlite3_finalize(q);
    return (pages + st->wal_frames) * 4096;
}
