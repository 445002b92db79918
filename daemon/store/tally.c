#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/store/inner.h"
#include "runtime/base/check.h"

/*
 * Counters without hot rows.
 *
 * The rows of batches and queues are counted up and down in memory and written once per
 * transaction, inside it: a commit of a thousand finishes in one batch updates one row.
 * They are exact because nothing else writes them, and because a rollback drops the copies.
 *
 * A batch that meets an occupied slot of the cache evicts it, written first if dirty.
 */

static struct batch_row *
slot_of(struct store *st, int64_t id)
{
    return &st->batches[(uint64_t)id & (BATCH_CACHE_N - 1)];
}

static int
batch_write(struct store *st, struct batch_row *b)
{
    int64_t v[6 + STORE_STATE_N] = {b->id,       b->flags,    b->max_parallel,
                                    b->deadline, b->finished, b->pruned};
    sqlite3_stmt *q = store_stmt(st, SQL_BATCH_PUT);

    if (q == NULL)
        return -EIO;
    for (int i = 0; i < 6; i++)
        sqlite3_bind_int64(q, i + 1, v[i]);
    for (int i = 0; i < STORE_STATE_N; i++)
        sqlite3_bind_int64(q, 11 + i, b->n[i]);
    b->dirty = false;
    return store_run(st, q);
}

/* How a batch ended, as one state. */
static enum store_state
batch_verdict(const struct batch_row *b)
{
    if (b->n[STORE_FAILED - STORE_BLOCKED] + b->n[STORE_DEAD - STORE_BLOCKED] > 0)
        return STORE_FAILED;
    if (b->n[STORE_CANCELLED - STORE_BLOCKED] > 0 || (b->flags & BATCH_CANCEL))
        return STORE_CANCELLED;
    return STORE_SUCCEEDED;
}

/* Closed with nothing left is the end of a batch; a job retried by hand reopens it. */
static int
batch_settle(struct store *st, struct batch_row *b)
{
    bool ended = (b->flags & BATCH_CLOSED) && batch_live(b) == 0;
    struct store_event ev = {.type = EVENT_BATCH_END, .batch = b->id};

    if (!ended) {
        b->finished = 0;
        return 0;
    }
    if (b->finished != 0)
        return 0;
    b->finished = st->now;
    ev.state = batch_verdict(b);
    if (event_put(&st->events, &ev) < 0) {
        st->broken = true;
        return store_refuse(st, -ENOMEM, "out of memory");
    }
    return store_node_ended(st, NODE_BATCH(b->id), ev.state == STORE_SUCCEEDED);
}

struct batch_row *
store_batch(struct store *st, int64_t id, int *ret_err)
{
    struct batch_row *b = slot_of(st, id);
    sqlite3_stmt *q = NULL;
    int r = 0;

    *ret_err = 0;
    if (b->id == id && id != 0)
        return b;
    if (b->id != 0 && b->dirty) {
        r = batch_settle(st, b);
        if (r == 0)
            r = batch_write(st, b);
    }
    if (r == 0) {
        q = store_stmt(st, SQL_BATCH_GET);
        if (q != NULL)
            sqlite3_bind_int64(q, 1, id);
        r = store_row(st, q);
        if (r == 0)
            r = store_refuse(st, -ENOENT, "there is no batch %lld", (long long)id);
    }
    if (r < 0) {
        *ret_err = r;
        return NULL;
    }
    b->id = id;
    b->flags = sqlite3_column_int64(q, 0);
    b->max_parallel = sqlite3_column_int64(q, 1);
    b->deadline = sqlite3_column_int64(q, 2);
    b->finished = sqlite3_column_int64(q, 3);
    b->pruned = sqlite3_column_int64(q, 4);
    for (int i = 0; i < STORE_STATE_N; i++)
        b->n[i] = sqlite3_column_int64(q, 5 + i);
    b->dirty = false;
    sqlite3_reset(q);
    return b;
}

int
store_batch_dirty(struct store *st, struct batch_row *b)
{
    if (b->dirty)
        return 0;
    b->dirty = true;
    /* A slot may be listed twice after an eviction: the second visit finds it clean. */
    if (st->n_dirty_batch == BATCH_CACHE_N) {
        int r = store_tally_flush(st);

        if (r < 0)
            return r;
        b->dirty = true;
    }
    st->dirty_batch[st->n_dirty_batch++] = (uint16_t)(b - st->batches);
    return 0;
}

struct queue_row *
store_queue(struct store *st, int64_t id)
{
    /* Ids count up from 0 and queues are never deleted. */
    return id >= 0 && id < st->n_queues ? &st->queues[id] : NULL;
}

int
store_tally(struct store *st, int64_t batch, int64_t lane, enum store_state s, int64_t d)
{
    struct queue_row *qu = store_queue(st, STORE_LANE_QUEUE(lane));
    struct batch_row *b;
    int i = (int)s - STORE_BLOCKED, r;

    b = store_batch(st, batch, &r);
    if (b == NULL)
        return r;
    if (qu == NULL || b->n[i] + d < 0 || qu->n[i] + d < 0) {
        st->broken = true;
        return store_refuse(st, -EUCLEAN, "the counters of batch %lld do not add up",
                            (long long)batch);
    }
    r = store_batch_dirty(st, b);
    if (r < 0)
        return r;
    b->n[i] += d;
    qu->n[i] += d;
    qu->dirty = true;
    return 0;
}

int
store_move(struct store *st, int64_t batch, int64_t lane, enum store_state from,
           enum store_state to, int64_t n)
{
    int r;

    store_state_check(from, to);
    r = store_tally(st, batch, lane, from, -n);
    return r < 0 ? r : store_tally(st, batch, lane, to, n);
}

static int
queue_write(struct store *st, struct queue_row *qu)
{
    sqlite3_stmt *q = store_stmt(st, SQL_QUEUE_PUT);

    if (q == NULL)
        return -EIO;
    sqlite3_bind_int64(q, 1, qu->id);
    sqlite3_bind_int64(q, 2, qu->pruned);
    for (int i = 0; i < STORE_STATE_N; i++)
        sqlite3_bind_int64(q, 11 + i, qu->n[i]);
    qu->dirty = false;
    return store_run(st, q);
}

int
store_tally_flush(struct store *st)
{
    int r = 0;

    for (int i = 0; r == 0 && i < st->n_dirty_batch; i++) {
        struct batch_row *b = &st->batches[st->dirty_batch[i]];

        if (!b->dirty)
            continue;
        r = batch_settle(st, b);
        if (r == 0)
            r = batch_write(st, b);
    }
    if (r == 0)
        st->n_dirty_batch = 0;
    for (int i = 0; r == 0 && i < st->n_queues; i++)
        if (st->queues[i].dirty)
            r = queue_write(st, &st->queues[i]);
    return r;
}

void
store_tally_drop(struct store *st)
{
    memset(st->batches, 0, sizeof(st->batches));
    st->n_dirty_batch = 0;
}

void
store_queues_free(struct store *st)
{
    for (int i = 0; i < st->n_queues; i++)
        free(st->queues[i].name);
    free(st->queues);
    st->queues = NULL;
    st->n_queues = 0;
}

static int
queue_read(struct store *st, sqlite3_stmt *q)
{
    struct queue_row *all =
        realloc(st->queues, (size_t)(st->n_queues + 1) * sizeof(*all));
    struct queue_row *qu;

    if (all == NULL)
        return store_refuse(st, -ENOMEM, "out of memory");
    st->queues = all;
    qu = &all[st->n_queues];
    memset(qu, 0, sizeof(*qu));
    qu->id = sqlite3_column_int64(q, 0);
    if (qu->id != st->n_queues)
        return store_refuse(st, -EUCLEAN, "the table of queues has a gap");
    qu->name = strdup((const char *)sqlite3_column_text(q, 1));
    if (qu->name == NULL)
        return store_refuse(st, -ENOMEM, "out of memory");
    st->n_queues++;
    qu->paused = sqlite3_column_int64(q, 2);
    qu->parallel = sqlite3_column_int64(q, 3);
    qu->rate = sqlite3_column_double(q, 4);
    qu->burst = sqlite3_column_int64(q, 5);
    qu->pruned = sqlite3_column_int64(q, 6);
    for (int i = 0; i < STORE_STATE_N; i++)
        qu->n[i] = sqlite3_column_int64(q, 7 + i);
    return 0;
}

int
store_queues_load(struct store *st)
{
    sqlite3_stmt *q = store_stmt(st, SQL_QUEUE_ALL);
    int r;

    store_queues_free(st);
    while ((r = store_row(st, q)) > 0) {
        r = queue_read(st, q);
        if (r < 0) {
            sqlite3_reset(q);
            return r;
        }
    }
    return r;
}
