#include "daemon/store/submit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/store/depend.h"
#include "daemon/store/inner.h"
#include "daemon/store/resolve.h"

/*
 * Order of things in store_submit(): first all that may be refused, then all writing, so
 * that a refusal leaves the transaction as it was. A repeated request is answered from
 * what its first execution recorded in the same commit as the jobs.
 */

#define RUNS_N 16

/* A run of like jobs being gathered; see row.c. */
struct run {
    int64_t lane, prio, run_at, first, last;
};

struct submission {
    struct store *st;
    const struct store_submit *sub;
    struct store_resolved resolved;
    int64_t batch;
    struct run runs[RUNS_N];
    int n_runs;
    int64_t tally_lane, tally_n; /* jobs of one lane and state not yet counted */
    enum store_state tally_state;
    int64_t event_first, event_n; /* the same for their event */
    enum store_state event_state;
};

/* --- requests ---------------------------------------------------------------------------- */

int
store_request_get(struct store *st, const void *id, size_t id_len, void **ret,
                  size_t *ret_len)
{
    sqlite3_stmt *q = store_stmt(st, SQL_REQUEST_GET);
    int r;

    if (q != NULL)
        sqlite3_bind_blob64(q, 1, id, id_len, SQLITE_STATIC);
    r = store_row(st, q);
    if (r > 0) {
        size_t n = (size_t)sqlite3_column_bytes(q, 0);
        void *copy = malloc(n + 1);

        if (copy != NULL) {
            if (n > 0)
                memcpy(copy, sqlite3_column_blob(q, 0), n);
            *ret = copy;
            *ret_len = n;
        } else {
            r = store_refuse(st, -ENOMEM, "out of memory");
        }
        sqlite3_reset(q);
    }
    return r;
}

int
store_request_put(struct store *st, const void *id, size_t id_len, const void *reply,
                  size_t reply_len)
{
    sqlite3_stmt *q = store_stmt(st, SQL_REQUEST_PUT);

    if (q == NULL)
        return -EIO;
    sqlite3_bind_blob64(q, 1, id, id_len, SQLITE_STATIC);
    sqlite3_bind_int64(q, 2, st->now);
    sqlite3_bind_blob64(q, 3, reply_len > 0 ? reply : "", reply_len, SQLITE_STATIC);
    return store_run(st, q);
}

/* What is kept of a submission: batch, first, n_new, n_dups, n_jobs, and the ids unless
 * they just count up from first. */
#define REPLY_HEAD 5

static int
reply_put(struct store *st, const struct store_submit *sub, const int64_t *ids,
          const struct store_submitted *done)
{
    size_t n = REPLY_HEAD + (done->n_dups > 0 ? sub->n_jobs : 0);
    int64_t *v = malloc(n * sizeof(*v));
    int r;

    if (v == NULL) {
        st->broken = true;
        return store_refuse(st, -ENOMEM, "out of memory");
    }
    v[0] = done->batch;
    v[1] = done->first;
    v[2] = done->n_new;
    v[3] = done->n_dups;
    v[4] = (int64_t)sub->n_jobs;
    if (done->n_dups > 0)
        memcpy(v + REPLY_HEAD, ids, sub->n_jobs * sizeof(*v));
    r = store_request_put(st, sub->request, sub->request_len, v, n * sizeof(*v));
    free(v);
    return r;
}

/* 1 = the request is known and *ret and ids are its answer. */
static int
reply_get(struct store *st, const struct store_submit *sub, int64_t *ids,
          struct store_submitted *ret)
{
    void *data = NULL;
    size_t len = 0;
    int r = store_request_get(st, sub->request, sub->request_len, &data, &len);
    int64_t *v = data;

    if (r <= 0)
        return r;
    if (len < REPLY_HEAD * sizeof(*v) || v[4] != (int64_t)sub->n_jobs ||
        (v[3] > 0 && len != (REPLY_HEAD + sub->n_jobs) * sizeof(*v))) {
        free(data);
        return store_refuse(st, -EINVAL, "the request id was used for another request");
    }
    *ret = (struct store_submitted){v[0], v[1], v[2], v[3], true};
    for (size_t i = 0; ids != NULL && i < sub->n_jobs; i++)
        ids[i] = v[3] > 0 ? v[REPLY_HEAD + i] : v[1] + (int64_t)i;
    free(data);
    return 1;
}

/* --- batches ----------------------------------------------------------------------------- */

static int
batch_by_name(struct store *st, enum sql which, const char *name, int64_t *ret)
{
    sqlite3_stmt *q = store_stmt(st, which);
    int r;

    if (q != NULL)
        sqlite3_bind_text(q, 1, name, -1, SQLITE_STATIC);
    r = store_row(st, q);
    if (r > 0) {
        *ret = sqlite3_column_int64(q, 0);
        sqlite3_reset(q);
    }
    return r;
}

int
store_batch_find(struct store *st, const char *name, int64_t *ret)
{
    return batch_by_name(st, SQL_BATCH_OPEN, name, ret);
}

int
store_batch_named(struct store *st, const char *name, int64_t *ret)
{
    return batch_by_name(st, SQL_BATCH_NAMED, name, ret);
}

static int
labels_put(struct store *st, int64_t node, const struct store_label *labels, size_t n)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < n; i++) {
        sqlite3_stmt *q = store_stmt(st, SQL_LABEL_PUT);

        if (q == NULL)
            return -EIO;
        sqlite3_bind_int64(q, 1, node);
        sqlite3_bind_text(q, 2, labels[i].key, -1, SQLITE_STATIC);
        sqlite3_bind_text(q, 3, labels[i].value, -1, SQLITE_STATIC);
        r = store_run(st, q);
    }
    return r;
}

/* One that is alone is closed from the start: names of open ones are unique. */
static int
batch_new(struct store *st, const struct store_new_batch *nb, int64_t *ret)
{
    static const struct store_new_batch plain;
    sqlite3_stmt *q = store_stmt(st, SQL_BATCH_NEW);
    int r;

    if (q == NULL)
        return -EIO;
    if (nb == NULL)
        nb = &plain;
    sqlite3_bind_int64(q, 1, st->ids.batch);
    if (nb->name != NULL)
        sqlite3_bind_text(q, 2, nb->name, -1, SQLITE_STATIC);
    else
        sqlite3_bind_null(q, 2);
    sqlite3_bind_int64(
        q, 3, (nb->fail_fast ? BATCH_FAIL_FAST : 0) | (nb->alone ? BATCH_CLOSED : 0));
    sqlite3_bind_int64(q, 4, nb->max_parallel);
    sqlite3_bind_int64(q, 5, st->now);
    sqlite3_bind_int64(q, 6, nb->deadline);
    sqlite3_bind_int64(q, 7, nb->schedule);
    r = store_run(st, q);
    if (r < 0)
        return r;
    *ret = st->ids.batch++;
    return labels_put(st, NODE_BATCH(*ret), nb->labels, nb->n_labels);
}

static int
batch_set_closed(struct store *st, int64_t id)
{
    int r;
    struct batch_row *b = store_batch(st, id, &r);

    if (b == NULL)
        return r;
    b->flags |= BATCH_CLOSED;
    return store_batch_dirty(st, b);
}

int
store_batch_close(struct store *st, int64_t batch)
{
    return batch_set_closed(st, batch);
}

static int
span_put(struct store *st, int64_t batch, int64_t first, int64_t last)
{
    sqlite3_stmt *q = store_stmt(st, SQL_SPAN_LAST);
    int64_t f, l;
    int r;

    if (q != NULL)
        sqlite3_bind_int64(q, 1, batch);
    r = store_row(st, q);
    if (r < 0)
        return r;
    if (r > 0) {
        f = sqlite3_column_int64(q, 0);
        l = sqlite3_column_int64(q, 1);
        sqlite3_reset(q);
        if (l + 1 == first)
            return STORE_EXEC(st, SQL_SPAN_GROW, batch, f, last);
    }
    return STORE_EXEC(st, SQL_SPAN_PUT, batch, first, last);
}

/* --- jobs -------------------------------------------------------------------------------- */

static int
run_write(struct submission *s, const struct run *u)
{
    return store_run_put(s->st, u->lane, u->prio, s->batch, u->run_at, u->first, u->last);
}

/* Extend the run this job belongs to, or start one. */
static int
run_add(struct submission *s, const struct store_new_job *j, int64_t run_at, int64_t id)
{
    int r = 0;

    for (int i = s->n_runs - 1; i >= 0; i--) {
        struct run *u = &s->runs[i];

        if (u->lane == j->lane && u->prio == j->prio && u->run_at == run_at) {
            u->last = id;
            return 0;
        }
    }
    if (s->n_runs == RUNS_N) {
        r = run_write(s, &s->runs[0]);
        s->runs[0] = s->runs[--s->n_runs];
    }
    s->runs[s->n_runs++] = (struct run){j->lane, j->prio, run_at, id, id};
    return r;
}

static int
tally_flush(struct submission *s)
{
    int r = s->tally_n == 0
                ? 0
                : store_tally(s->st, s->batch, s->tally_lane, s->tally_state, s->tally_n);

    s->tally_n = 0;
    return r;
}

static int
event_flush(struct submission *s)
{
    struct store_event ev = {.type = EVENT_ADDED,
                             .state = s->event_state,
                             .job = s->event_first,
                             .batch = s->batch,
                             .count = s->event_n};

    if (s->event_n == 0)
        return 0;
    s->event_n = 0;
    if (event_put(&s->st->events, &ev) < 0) {
        s->st->broken = true;
        return store_refuse(s->st, -ENOMEM, "out of memory");
    }
    return 0;
}

/* Count a job; neighbours of one lane and state are counted in one go. */
static int
count_job(struct submission *s, int64_t lane, enum store_state state, int64_t id)
{
    int r;

    if (s->tally_n > 0 && (s->tally_lane != lane || s->tally_state != state)) {
        r = tally_flush(s);
        if (r < 0)
            return r;
    }
    if (s->event_n > 0 && s->event_state != state) {
        r = event_flush(s);
        if (r < 0)
            return r;
    }
    if (s->event_n++ == 0)
        s->event_first = id;
    s->event_state = state;
    s->tally_lane = lane;
    s->tally_state = state;
    s->tally_n++;
    return 0;
}

static int
key_put(struct store *st, const char *key, int64_t id)
{
    sqlite3_stmt *q = store_stmt(st, SQL_IDEM_PUT);

    if (q == NULL)
        return -EIO;
    sqlite3_bind_text(q, 1, key, -1, SQLITE_STATIC);
    sqlite3_bind_int64(q, 2, id);
    return store_run(st, q);
}

int
store_key_get(struct store *st, const char *key, int64_t *ret)
{
    sqlite3_stmt *q = store_stmt(st, SQL_IDEM_GET);
    int r;

    if (q != NULL)
        sqlite3_bind_text(q, 1, key, -1, SQLITE_STATIC);
    r = store_row(st, q);
    if (r > 0) {
        *ret = sqlite3_column_int64(q, 0);
        sqlite3_reset(q);
    }
    return r;
}

static int
row_put(struct submission *s, const struct store_new_job *j, int64_t id,
        enum store_state state, int64_t run_at)
{
    struct store *st = s->st;
    sqlite3_stmt *q = store_stmt(st, SQL_JOB_PUT);
    int64_t flags = STORE_F_BASE | (j->key != NULL ? STORE_F_KEY : 0) |
                    (j->n_deps > 0 ? STORE_F_DEPS : 0) |
                    (j->n_labels > 0 ? STORE_F_LABELS : 0) |
                    (j->spec_len > STORE_SPEC_INLINE ? STORE_F_BIGSPEC : 0) |
                    (state == STORE_CANCELLED ? STORE_F_HISTORY : 0);
    int64_t v[9] = {id,        state, j->lane, j->prio, s->batch,
                    st->epoch, flags, run_at,  st->now};
    int r;

    if (q == NULL)
        return -EIO;
    for (int i = 0; i < 9; i++)
        sqlite3_bind_int64(q, i + 1, v[i]);
    if (flags & STORE_F_BIGSPEC)
        sqlite3_bind_null(q, 10);
    else
        sqlite3_bind_blob64(q, 10, j->spec_len > 0 ? j->spec : "", j->spec_len,
                            SQLITE_STATIC);
    r = store_run(st, q);
    if (r < 0 || !(flags & STORE_F_BIGSPEC))
        return r;
    q = store_stmt(st, SQL_SPEC_PUT);
    if (q == NULL)
        return -EIO;
    sqlite3_bind_int64(q, 1, id);
    sqlite3_bind_blob64(q, 2, j->spec, j->spec_len, SQLITE_STATIC);
    return store_run(st, q);
}

/* What job i waits for, and in j what of its spec that changes. */
static int
deps_put(struct submission *s, size_t i, int64_t id, struct store_new_job *j,
         enum store_state *state)
{
    const struct store_dep *deps = store_resolved_deps(&s->resolved, s->sub, i);
    int r = 0;

    if (deps != j->deps && s->sub->settle != NULL)
        r = s->sub->settle(s->sub, i, deps, j->n_deps, j);
    return r < 0 ? r : store_deps_put(s->st, s->batch, id, deps, j->n_deps, state);
}

/* One job: 1 = inserted, 0 = its key is known. *ret is the id either way. */
static int
job_put(struct submission *s, size_t i, int64_t *ret)
{
    struct store *st = s->st;
    struct store_new_job job = s->sub->jobs[i], *j = &job;
    int64_t run_at = j->run_at > st->now ? j->run_at : st->now;
    enum store_state state = run_at > st->now ? STORE_SCHEDULED : STORE_QUEUED;
    int64_t id;
    int r = 0;

    if (j->key != NULL) {
        r = store_key_get(st, j->key, ret);
        if (r != 0)
            return r < 0 ? r : 0;
    }
    id = *ret = st->ids.job;
    if (j->n_deps > 0)
        r = deps_put(s, i, id, j, &state);
    if (r == 0)
        r = row_put(s, j, id, state, run_at);
    if (r == 0 && (state == STORE_QUEUED || state == STORE_SCHEDULED))
        r = run_add(s, j, run_at, id);
    if (r == 0 && j->key != NULL)
        r = key_put(st, j->key, id);
    if (r == 0 && j->n_labels > 0)
        r = labels_put(st, NODE_JOB(id), j->labels, j->n_labels);
    if (r == 0)
        r = count_job(s, j->lane, state, id);
    if (r == 0 && state == STORE_CANCELLED) /* one before it may wait for it */
        r = store_node_ended(st, NODE_JOB(id), false);
    if (r < 0)
        return r;
    st->ids.job++;
    return 1;
}

static int
jobs_put(struct submission *s, const struct store_submit *sub, int64_t *ids,
         struct store_submitted *done)
{
    int r = 0;

    for (size_t i = 0; i < sub->n_jobs; i++) {
        int64_t id;

        r = job_put(s, i, &id);
        if (r < 0)
            return r;
        if (r == 0)
            done->n_dups++;
        else if (done->n_new++ == 0)
            done->first = id;
        if (ids != NULL)
            ids[i] = id;
    }
    for (int i = 0; i < s->n_runs; i++) {
        r = run_write(s, &s->runs[i]);
        if (r < 0)
            return r;
    }
    r = tally_flush(s);
    if (r == 0)
        r = event_flush(s);
    if (r == 0 && done->n_new > 0)
        r = span_put(s->st, s->batch, done->first, done->first + done->n_new - 1);
    return r;
}

/* All that may refuse a submission. Finds the batch to join; 0 in *ret: make one. */
static int
submit_check(struct store *st, const struct store_submit *sub,
             struct store_resolved *resolved, int64_t *ret)
{
    struct batch_row *b;
    int r;

    if (sub->n_jobs > STORE_MESSAGE_MAX)
        return store_refuse(st, -EINVAL, "more than %d jobs in one message",
                            STORE_MESSAGE_MAX);
    for (size_t i = 0; i < sub->n_jobs; i++)
        if (store_queue(st, STORE_LANE_QUEUE(sub->jobs[i].lane)) == NULL ||
            STORE_LANE_SUSPECT(sub->jobs[i].lane))
            return store_refuse(st, -EINVAL, "job %zu of the message has no valid lane",
                                i);
    *ret = sub->batch;
    if (*ret == 0 && sub->fresh != NULL && sub->fresh->name != NULL &&
        !sub->fresh->alone) {
        r = store_batch_find(st, sub->fresh->name, ret);
        if (r < 0)
            return r;
        /* Closed in this transaction, which the table does not yet show. */
        if (r > 0) {
            b = store_batch(st, *ret, &r);
            if (b == NULL)
                return r;
            if (b->flags & BATCH_CLOSED) {
                r = store_tally_flush(st);
                if (r < 0)
                    return r;
                *ret = 0;
            }
        }
    }
    if (*ret != 0) {
        b = store_batch(st, *ret, &r);
        if (b == NULL)
            return r;
        if (b->flags & BATCH_CANCEL)
            return store_refuse(st, -ECANCELED, "batch %lld has been cancelled",
                                (long long)*ret);
        if (b->flags & BATCH_CLOSED)
            return store_refuse(st, -ESHUTDOWN, "batch %lld is closed", (long long)*ret);
    }
    r = store_resolve(st, sub, resolved);
    for (size_t i = 0; r == 0 && i < sub->n_jobs; i++)
        if (sub->jobs[i].n_deps > 0 && (resolved->deps == NULL || resolved->fresh[i]))
            r = store_deps_check(st, *ret, store_resolved_deps(resolved, sub, i),
                                 sub->jobs[i].n_deps);
    return r;
}

int
store_submit(struct store *st, const struct store_submit *sub, int64_t *ids,
             struct store_submitted *ret)
{
    struct submission s = {.st = st, .sub = sub};
    struct store_submitted done = {.batch = 0};
    int64_t *own = NULL;
    int r;

    if (sub->request != NULL) {
        r = reply_get(st, sub, ids, ret);
        if (r != 0)
            return r < 0 ? r : 0;
    }
    r = submit_check(st, sub, &s.resolved, &s.batch);
    if (r == 0 && ids == NULL && sub->request != NULL) {
        ids = own = malloc((sub->n_jobs + 1) * sizeof(*own));
        if (own == NULL)
            r = store_refuse(st, -ENOMEM, "out of memory");
    }
    if (r < 0) {
        store_resolved_fini(&s.resolved);
        return r;
    }
    if (s.batch == 0)
        r = batch_new(st, sub->fresh, &s.batch);
    done.batch = s.batch;
    if (r == 0)
        r = jobs_put(&s, sub, ids, &done);
    if (r == 0 && sub->close)
        r = batch_set_closed(st, s.batch);
    if (r == 0 && sub->request != NULL)
        r = reply_put(st, sub, ids, &done);
    free(own);
    store_resolved_fini(&s.resolved);
    if (r < 0) {
        st->broken = true;
        return r;
    }
    *ret = done;
    return 0;
}
