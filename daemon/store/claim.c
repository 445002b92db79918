#include "daemon/store/claim.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/store/inner.h"

#define QUANTUM   32  /* jobs a batch may take in its first turn; doubled each round */
#define LEASE_MAX 256 /* ids a lease may span */
#define CHUNK     512 /* rows of a run looked at in one go */

void
store_claims_fini(struct store_claims *c)
{
    free(c->v);
    free(c->text);
    memset(c, 0, sizeof(*c));
}

static int
grow(void **p, size_t *cap, size_t want, size_t size)
{
    size_t n = *cap < 64 ? 64 : *cap;
    void *q;

    while (n < want)
        n *= 2;
    if (n == *cap)
        return 0;
    q = realloc(*p, n * size);
    if (q == NULL)
        return -ENOMEM;
    *p = q;
    *cap = n;
    return 0;
}

static int
no_memory(struct store *st)
{
    st->broken = true;
    return store_refuse(st, -ENOMEM, "out of memory");
}

/* Copy a spec to the end of c's text. */
static int
add_spec(struct store *st, struct store_claims *c, sqlite3_stmt *q, int column)
{
    size_t len = (size_t)sqlite3_column_bytes(q, column);

    if (c->text_len + len > c->text_cap) {
        void *p = c->text;

        if (grow(&p, &c->text_cap, c->text_len + len, 1) < 0)
            return no_memory(st);
        c->text = p;
    }
    if (len > 0)
        memcpy(c->text + c->text_len, sqlite3_column_blob(q, column), len);
    c->text_len += len;
    c->v[c->n].spec_len = (uint32_t)len;
    return 0;
}

static int
add_claimed(struct store *st, struct store_claims *c, sqlite3_stmt *q,
            const struct job_row *row)
{
    struct store_claimed *v;
    sqlite3_stmt *qs;
    int r;

    if (c->n == c->cap) {
        void *p = c->v;

        if (grow(&p, &c->cap, c->n + 1, sizeof(*c->v)) < 0)
            return no_memory(st);
        c->v = p;
    }
    v = &c->v[c->n];
    *v = (struct store_claimed){.id = row->id,
                                .lane = row->lane,
                                .batch = row->batch,
                                .attempt = row->attempt + 1,
                                .fails = row->fails,
                                .crashes = row->crashes,
                                .created = row->created,
                                .run_at = row->run_at,
                                .prio = (int32_t)row->prio};
    if (!(row->flags & STORE_F_BIGSPEC)) {
        r = add_spec(st, c, q, 14);
    } else {
        qs = store_stmt(st, SQL_SPEC_GET);
        if (qs != NULL)
            sqlite3_bind_int64(qs, 1, row->id);
        r = store_row(st, qs);
        if (r > 0) {
            r = add_spec(st, c, qs, 0);
            sqlite3_reset(qs);
        }
    }
    if (r == 0)
        c->n++;
    return r;
}

/* What a claim is about, and how far it is. */
struct claim {
    struct store *st;
    struct store_claims *out;
    int64_t lane, prio;
    size_t max, max_bytes;
    int visits;                      /* batches looked at in vain */
    int64_t lease_first, lease_last; /* being gathered; 0: none */
};

static bool
claim_full(const struct claim *c)
{
    return c->out->n >= c->max ||
           (c->max_bytes > 0 && c->out->n > 0 && c->out->text_len >= c->max_bytes);
}

/* A run: where a walk over it starts and stops. */
struct run {
    int64_t run_at, first, last;
};

/* 1 and the batch's first run, or 0. */
static int
run_front(struct claim *c, int64_t batch, struct run *ret)
{
    sqlite3_stmt *q = store_stmt(c->st, SQL_READY_FRONT);
    int r;

    if (q != NULL) {
        sqlite3_bind_int64(q, 1, c->lane);
        sqlite3_bind_int64(q, 2, c->prio);
        sqlite3_bind_int64(q, 3, batch);
    }
    r = store_row(c->st, q);
    if (r > 0) {
        ret->run_at = sqlite3_column_int64(q, 0);
        ret->first = sqlite3_column_int64(q, 1);
        ret->last = sqlite3_column_int64(q, 2);
        sqlite3_reset(q);
    }
    return r;
}

/* Read up to CHUNK rows of u and add up to k queued ones to the claim. u->first moves
 * behind the last row looked at. */
static int
run_read(struct claim *c, int64_t batch, struct run *u, size_t k)
{
    sqlite3_stmt *q = store_stmt(c->st, SQL_JOB_RANGE);
    struct job_row row;
    int r, seen = 0;

    if (q == NULL)
        return -EIO;
    sqlite3_bind_int64(q, 1, u->first);
    sqlite3_bind_int64(q, 2, u->last);
    while (k > 0 && seen < CHUNK && !claim_full(c)) {
        r = store_row(c->st, q);
        if (r < 0)
            return r;
        if (r == 0) {
            u->first = u->last + 1;
            return 0;
        }
        store_job_columns(q, &row);
        u->first = row.id + 1;
        seen++;
        if (row.state != STORE_QUEUED || row.lane != c->lane || row.prio != c->prio ||
            row.batch != batch)
            continue;
        r = add_claimed(c->st, c->out, q, &row);
        if (r < 0) {
            sqlite3_reset(q);
            return r;
        }
        k--;
    }
    sqlite3_reset(q);
    return 0;
}

static int
run_shrink(struct claim *c, int64_t batch, const struct run *was, const struct run *now)
{
    int r = STORE_EXEC(c->st, SQL_READY_DEL, c->lane, c->prio, batch, was->run_at,
                       was->first);

    if (r < 0 || now->first > now->last)
        return r;
    return STORE_EXEC(c->st, SQL_READY_PUT, c->lane, c->prio, batch, now->run_at,
                      now->first, now->last);
}

static int
lease_flush(struct claim *c)
{
    int r;

    if (c->lease_first == 0)
        return 0;
    c->st->leases_made++;
    r = STORE_EXEC(c->st, SQL_LEASE_PUT, c->lease_first, c->lease_last);
    c->lease_first = 0;
    return r;
}

/* Cover id by the lease being gathered, or by a new one. Ids need not come in order. */
static int
lease_add(struct claim *c, int64_t id)
{
    int r = 0;

    if (c->lease_first != 0 && id >= c->lease_first && id < c->lease_first + LEASE_MAX) {
        if (id > c->lease_last)
            c->lease_last = id;
        return 0;
    }
    r = lease_flush(c);
    c->lease_first = c->lease_last = id;
    return r;
}

/* The jobs out->v[from …], which are all that run_read() found queued in ids [first, last],
 * start; before another run is read, for runs may overlap and a job must not be found queued
 * twice. */
static int
start_run(struct claim *c, int64_t batch, size_t from, int64_t first, int64_t last)
{
    struct store *st = c->st;
    size_t n = c->out->n - from;
    int r;

    if (n == 0)
        return 0;
    r = STORE_EXEC(st, SQL_JOB_START_RUN, first, last, st->epoch, st->now, c->lane,
                   c->prio, batch);
    if (r == 0 && sqlite3_changes(st->db) != (int)n)
        r = store_refuse(st, -EUCLEAN, "jobs %lld to %lld changed while being claimed",
                         (long long)first, (long long)last);
    for (size_t i = from; r == 0 && i < c->out->n; i++) {
        const struct store_claimed *v = &c->out->v[i];
        struct store_event ev = {.type = EVENT_STATE,
                                 .state = STORE_RUNNING,
                                 .job = v->id,
                                 .batch = v->batch,
                                 .attempt = v->attempt};

        if (event_put(&st->events, &ev) < 0)
            return no_memory(st);
        r = lease_add(c, v->id);
    }
    return r;
}

/* How many jobs of this batch may start now. */
static int
batch_quota(struct claim *c, int64_t batch, size_t *ret)
{
    int r;
    struct batch_row *b = store_batch(c->st, batch, &r);
    int64_t left;

    *ret = 0;
    if (b == NULL && r != -ENOENT)
        return r;
    /* Runs of a batch whose queued jobs will all be cancelled, or which is gone, have no
     * more use. */
    if (b == NULL || (b->flags & BATCH_CANCEL))
        return STORE_EXEC(c->st, SQL_READY_DROP_BATCH, c->lane, c->prio, batch);
    left = b->max_parallel == 0 ? INT64_MAX
                                : b->max_parallel - b->n[STORE_RUNNING - STORE_BLOCKED];
    *ret = left > 0 ? (size_t)left : 0;
    return 0;
}

/* Take up to k jobs of one batch: the number taken. */
static int
take_batch(struct claim *c, int64_t batch, size_t k)
{
    size_t from = c->out->n, quota, got;
    struct run was, now;
    int r;

    r = batch_quota(c, batch, &quota);
    if (r < 0)
        return r;
    k = k < quota ? k : quota;
    while (c->out->n - from < k && !claim_full(c)) {
        size_t run_from = c->out->n;

        r = run_front(c, batch, &was);
        if (r <= 0)
            break;
        now = was;
        r = run_read(c, batch, &now, k - (c->out->n - from));
        if (r == 0)
            r = run_shrink(c, batch, &was, &now);
        if (r == 0)
            r = start_run(c, batch, run_from, was.first, now.first - 1);
        if (r < 0)
            return r;
    }
    if (r < 0)
        return r;
    got = c->out->n - from;
    if (got == 0) {
        c->visits++;
        return 0;
    }
    r = store_move(c->st, batch, c->lane, STORE_QUEUED, STORE_RUNNING, (int64_t)got);
    return r < 0 ? r : (int)got;
}

static struct claim_cursor *
cursor_of(struct store *st, int64_t lane, int64_t prio)
{
    uint64_t h = ((uint64_t)lane * 31 + (uint64_t)prio) * UINT64_C(0x9e3779b97f4a7c15);
    struct claim_cursor *cu = &st->cursors[h >> 56 & (CURSOR_N - 1)];

    if (cu->lane != lane || cu->prio != prio)
        *cu = (struct claim_cursor){lane, prio, 0};
    return cu;
}

/* All batches of one priority in turn, from where the last claim stopped, until the claim
 * is full or a whole round yields nothing. */
static int
take_prio(struct claim *c)
{
    struct claim_cursor *cu = cursor_of(c->st, c->lane, c->prio);
    size_t quantum = QUANTUM, round = 0;
    int64_t batch;
    int r, wraps = 0;

    while (!claim_full(c) && c->visits < 1024) {
        r = STORE_ONE(c->st, SQL_READY_NEXT_BATCH, &batch, c->lane, c->prio, cu->batch);
        if (r < 0)
            return r;
        if (r == 0) {
            /* The first wrap may have begun in the middle: only a full round counts. */
            if (wraps++ > 0 && round == 0)
                return 0;
            cu->batch = 0;
            round = 0;
            quantum *= 2;
            continue;
        }
        cu->batch = batch;
        r = take_batch(c, batch,
                       c->max - c->out->n < quantum ? c->max - c->out->n : quantum);
        if (r < 0)
            return r;
        round += (size_t)r;
    }
    return 0;
}

int
store_claim(struct store *st, int64_t lane, size_t max, size_t max_bytes,
            struct store_claims *ret)
{
    struct claim c = {
        .st = st, .out = ret, .lane = lane, .max = max, .max_bytes = max_bytes};
    int64_t prio = INT64_MAX;
    size_t at = 0;
    int r;

    ret->n = 0;
    ret->text_len = 0;
    while (!claim_full(&c)) {
        r = STORE_ONE(st, SQL_READY_TOP, &c.prio, lane, prio);
        if (r < 0)
            return r;
        if (r == 0)
            break;
        r = take_prio(&c);
        if (r < 0) {
            st->broken = true;
            return r;
        }
        prio = c.prio;
    }
    r = lease_flush(&c);
    if (r < 0)
        return r;
    for (size_t i = 0; i < ret->n; i++) {
        ret->v[i].spec = ret->text + at;
        at += ret->v[i].spec_len;
    }
    return 0;
}

int
store_lane_next(struct store *st, int64_t after, int64_t *ret_lane, int32_t *ret_prio)
{
    sqlite3_stmt *q = store_stmt(st, SQL_READY_NEXT_LANE);
    int r;

    if (q != NULL)
        sqlite3_bind_int64(q, 1, after);
    r = store_row(st, q);
    if (r > 0) {
        *ret_lane = sqlite3_column_int64(q, 0);
        *ret_prio = sqlite3_column_int(q, 1);
        sqlite3_reset(q);
    }
    return r;
}

/* --- scheduled jobs ---------------------------------------------------------------------- */

struct due {
    int64_t lane, prio, batch, run_at, first, last;
};

/* Set up to max due jobs of the run queued: the number set, and u->first behind the last
 * row looked at. *ret_from, *ret_to: the first and last of them. */
static int
promote_rows(struct store *st, struct due *u, int max, int64_t *ret_from, int64_t *ret_to)
{
    struct job_row *rows;
    struct job_row row;
    sqlite3_stmt *q;
    int n = 0, r = 1, seen = 0;

    rows = malloc((size_t)(max < CHUNK ? max : CHUNK) * sizeof(*rows));
    if (rows == NULL)
        return no_memory(st);
    q = store_stmt(st, SQL_JOB_RANGE);
    if (q != NULL) {
        sqlite3_bind_int64(q, 1, u->first);
        sqlite3_bind_int64(q, 2, u->last);
    }
    while (n < max && seen < CHUNK && (r = store_row(st, q)) > 0) {
        store_job_columns(q, &row);
        u->first = row.id + 1;
        seen++;
        if (row.state == STORE_SCHEDULED && row.lane == u->lane && row.prio == u->prio &&
            row.batch == u->batch && row.run_at <= st->now)
            rows[n++] = row;
    }
    if (r > 0)
        sqlite3_reset(q);
    else
        u->first = u->last + 1;
    for (int i = 0; r >= 0 && i < n; i++) {
        struct store_event ev = {.type = EVENT_STATE,
                                 .state = STORE_QUEUED,
                                 .job = rows[i].id,
                                 .batch = u->batch,
                                 .attempt = rows[i].attempt};

        r = STORE_EXEC(st, SQL_JOB_SET, rows[i].id, STORE_QUEUED, rows[i].lane,
                       rows[i].fails, rows[i].crashes, rows[i].flags, rows[i].run_at,
                       rows[i].finished);
        if (r == 0 && event_put(&st->events, &ev) < 0)
            r = no_memory(st);
    }
    if (n > 0) {
        *ret_from = rows[0].id;
        *ret_to = rows[n - 1].id;
    }
    free(rows);
    return r < 0 ? r : n;
}

static int
promote_run(struct store *st, struct due *u, int max)
{
    int64_t first = u->first, from = 0, to = 0;
    int n, r;

    n = promote_rows(st, u, max, &from, &to);
    if (n < 0)
        return n;
    r = STORE_EXEC(st, SQL_LATER_DEL, u->lane, u->prio, u->batch, u->run_at, first);
    if (r == 0 && u->first <= u->last)
        r = STORE_EXEC(st, SQL_LATER_PUT, u->lane, u->prio, u->batch, u->run_at, u->first,
                       u->last);
    if (r == 0 && n > 0)
        r = STORE_EXEC(st, SQL_READY_PUT, u->lane, u->prio, u->batch, u->run_at, from,
                       to);
    if (r == 0 && n > 0)
        r = store_move(st, u->batch, u->lane, STORE_SCHEDULED, STORE_QUEUED, n);
    return r < 0 ? r : n;
}

int
store_promote(struct store *st, int max)
{
    int done = 0, r;

    for (int runs = 0; done < max && runs < max; runs++) {
        sqlite3_stmt *q = store_stmt(st, SQL_LATER_FRONT);
        struct due u;

        if (q != NULL)
            sqlite3_bind_int64(q, 1, st->now);
        r = store_row(st, q);
        if (r <= 0)
            return r < 0 ? r : done;
        u.lane = sqlite3_column_int64(q, 0);
        u.prio = sqlite3_column_int64(q, 1);
        u.batch = sqlite3_column_int64(q, 2);
        u.run_at = sqlite3_column_int64(q, 3);
        u.first = sqlite3_column_int64(q, 4);
        u.last = sqlite3_column_int64(q, 5);
        sqlite3_reset(q);
        r = promote_run(st, &u, max - done);
        if (r < 0)
            return r;
        done += r;
    }
    return done;
}

int
store_next_due(struct store *st, int64_t *ret)
{
    int64_t scheduled = 0;

    /* Asked after every commit: the counters know when there is nothing to look for. */
    for (int i = 0; i < st->n_queues; i++)
        scheduled += st->queues[i].n[STORE_SCHEDULED - STORE_BLOCKED];
    return scheduled == 0 ? 0 : store_one(st, SQL_LATER_NEXT, 0, NULL, ret);
}
