#include "daemon/store/depend.h"

#include <errno.h>
#include <stdio.h>

#include "daemon/store/finish.h"
#include "daemon/store/inner.h"

/*
 * A blocked job has one row in `dep` for each node (batch or job) it still waits for. When
 * a node ends, a row in `fire` makes the release of its dependents durable; they are then
 * released a few at a time, by store_deps_step(), because there may be a million. A job is
 * released when its last row goes.
 *
 * Cycles. A batch waits for all its jobs, a job for its dependencies. A new job is waited
 * for by nobody but its batch, so it closes a cycle exactly if one of its dependencies
 * waits, over any number of steps, for the batch it enters. `edge` holds the dependencies
 * of a batch's jobs in one row per node, so that a batch of a million alike has one edge.
 * Such a row outlives the jobs it stands for, when they are cancelled: what it says is
 * looked up in `dep` before anybody is refused for it. A batch that is being cancelled
 * waits for nothing any more; its jobs keep their rows until the sweep comes to them.
 */

static int64_t
node_of(const struct store_dep *d)
{
    return d->on_job ? NODE_JOB(d->id) : NODE_BATCH(d->id);
}

/* The history of a job that is cancelled because of what it waits for. */
static int
unmet(struct store *st, int64_t job, int64_t attempt, int64_t node)
{
    char text[80];

    snprintf(text, sizeof(text), "%s %lld, which it waits for, did not succeed",
             node & 1 ? "job" : "batch", (long long)(node / 2));
    return store_note(st, job, attempt, STORE_END_UNMET, text);
}

/* How far a node is. */
enum progress {
    PENDING,
    ENDED_WELL,
    ENDED_BADLY,
};

static int
node_progress(struct store *st, const struct store_dep *d, enum progress *ret)
{
    struct job_row row;
    struct batch_row *b;
    int r;

    if (d->on_job) {
        r = store_job_row(st, d->id, &row);
        if (r == 0)
            return store_refuse(st, -ENOENT, "there is no job %lld to wait for",
                                (long long)d->id);
        if (r < 0)
            return r;
        *ret = !store_state_final(row.state)  ? PENDING
               : row.state == STORE_SUCCEEDED ? ENDED_WELL
                                              : ENDED_BADLY;
        return 0;
    }
    b = store_batch(st, d->id, &r);
    if (b == NULL)
        return r == -ENOENT
                   ? store_refuse(st, -ENOENT, "there is no batch %lld to wait for",
                                  (long long)d->id)
                   : r;
    if (!(b->flags & BATCH_CLOSED) || batch_live(b) > 0)
        *ret = PENDING;
    else if ((b->flags & BATCH_CANCEL) || b->n[STORE_FAILED - STORE_BLOCKED] > 0 ||
             b->n[STORE_DEAD - STORE_BLOCKED] > 0 ||
             b->n[STORE_CANCELLED - STORE_BLOCKED] > 0)
        *ret = ENDED_BADLY;
    else
        *ret = ENDED_WELL;
    return 0;
}

/* 1: the node waits, over any number of steps, for the batch; 0, or -errno. */
static int
waits_for(struct store *st, int64_t node, int64_t batch)
{
    int64_t found;
    int r = STORE_ONE(st, SQL_CYCLE_EVER, &found, node, NODE_BATCH(batch));

    return r <= 0 ? r : STORE_ONE(st, SQL_CYCLE, &found, node, NODE_BATCH(batch));
}

int
store_deps_check(struct store *st, int64_t batch, const struct store_dep *deps, size_t n)
{
    enum progress p = 0;
    int r;

    for (size_t i = 0; i < n; i++) {
        if (deps[i].mode != STORE_ON_SUCCESS && deps[i].mode != STORE_ON_FINISH)
            return store_refuse(st, -EINVAL, "a dependency has no valid mode");
        if (deps[i].sibling) /* nobody waits for it but those beside it */
            continue;
        r = node_progress(st, &deps[i], &p);
        if (r < 0)
            return r;
        if (batch == 0 || p != PENDING)
            continue;
        r = waits_for(st, node_of(&deps[i]), batch);
        if (r > 0 && !deps[i].on_job && deps[i].id == batch)
            return store_refuse(st, -ELOOP,
                                "a cycle: a job of batch %lld cannot wait for that batch",
                                (long long)batch);
        if (r > 0)
            return store_refuse(st, -ELOOP,
                                "a cycle: %s %lld waits for batch %lld already",
                                deps[i].on_job ? "job" : "batch", (long long)deps[i].id,
                                (long long)batch);
        if (r < 0)
            return r;
    }
    return 0;
}

int
store_deps_bad(struct store *st, const struct store_dep *deps, size_t n, bool *ret)
{
    enum progress p = PENDING;

    *ret = false;
    for (size_t i = 0; !*ret && i < n; i++) {
        int r = node_progress(st, &deps[i], &p);

        if (r < 0)
            return r;
        *ret = p == ENDED_BADLY && deps[i].mode == STORE_ON_SUCCESS;
    }
    return 0;
}

int
store_deps_put(struct store *st, int64_t batch, int64_t job, const struct store_dep *deps,
               size_t n, enum store_state *state)
{
    enum progress p = 0;
    int r;

    for (size_t i = 0; i < n; i++) {
        p = PENDING;
        r = deps[i].sibling && deps[i].id >= st->ids.job /* it comes after this one */
                ? 0
                : node_progress(st, &deps[i], &p);
        if (r < 0)
            return r;
        if (p == ENDED_BADLY && deps[i].mode == STORE_ON_SUCCESS) {
            *state = STORE_CANCELLED;
            r = STORE_EXEC(st, SQL_DEP_DROP_JOB, job);
            return r < 0 ? r : unmet(st, job, 0, node_of(&deps[i]));
        }
        if (p != PENDING)
            continue;
        st->any_deps = true;
        *state = STORE_BLOCKED;
        r = STORE_EXEC(st, SQL_DEP_PUT, node_of(&deps[i]), job, deps[i].mode);
        if (r == 0)
            r = STORE_EXEC(st, SQL_EDGE_PUT, batch, node_of(&deps[i]));
        if (r < 0)
            return r;
    }
    return 0;
}

int
store_node_ended(struct store *st, int64_t node, bool ok)
{
    int64_t job;
    int r;

    if (!st->any_deps)
        return 0;
    r = STORE_ONE(st, SQL_DEP_OF, &job, node);
    return r <= 0 ? r : STORE_EXEC(st, SQL_FIRE_PUT, node, ok);
}

/* One dependent of a node that has ended. */
static int
release(struct store *st, int64_t node, bool ok, int64_t job, int mode)
{
    struct job_row row;
    int64_t left = 0;
    int r;

    r = STORE_EXEC(st, SQL_DEP_DEL, node, job);
    if (r < 0)
        return r;
    r = store_job_row(st, job, &row);
    if (r <= 0 || row.state != STORE_BLOCKED)
        return r < 0 ? r : 0;
    if (mode == STORE_ON_SUCCESS && !ok) {
        r = STORE_EXEC(st, SQL_DEP_DROP_JOB, job);
        if (r == 0)
            r = unmet(st, job, row.attempt, node);
        row.state = STORE_CANCELLED;
        row.finished = st->now;
        row.flags |= STORE_F_HISTORY;
    } else {
        r = STORE_ONE(st, SQL_DEP_LEFT, &left, job);
        if (r > 0)
            r = 0;
        row.state = row.run_at > st->now ? STORE_SCHEDULED : STORE_QUEUED;
    }
    if (r < 0 || left > 0)
        return r;
    return store_job_change(st, &row, STORE_BLOCKED, EVENT_STATE);
}

bool
store_deps_due(struct store *st)
{
    int64_t node;

    return st->any_deps && STORE_ONE(st, SQL_FIRE_FIRST, &node) != 0;
}

int
store_deps_step(struct store *st, int max)
{
    int64_t node = 0, ok = 0;
    int done = 0, r;

    while (st->any_deps && done < max) {
        sqlite3_stmt *q = store_stmt(st, SQL_FIRE_FIRST);

        r = store_row(st, q);
        if (r <= 0)
            return r < 0 ? r : done;
        node = sqlite3_column_int64(q, 0);
        ok = sqlite3_column_int64(q, 1);
        sqlite3_reset(q);
        for (; done < max; done++) {
            int64_t job;
            int mode;

            q = store_stmt(st, SQL_DEP_OF);
            if (q != NULL)
                sqlite3_bind_int64(q, 1, node);
            r = store_row(st, q);
            if (r <= 0)
                break;
            job = sqlite3_column_int64(q, 0);
            mode = sqlite3_column_int(q, 1);
            sqlite3_reset(q);
            r = release(st, node, ok != 0, job, mode);
            if (r < 0)
                return r;
            r = 1;
        }
        if (r == 0)
            r = STORE_EXEC(st, SQL_FIRE_DEL, node);
        if (r == 0)
            r = STORE_EXEC(st, SQL_EDGE_DROP_NODE, node);
        if (r < 0)
            return r;
    }
    return done;
}
