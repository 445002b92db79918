#include "daemon/store/inner.h"
#include "runtime/base/san.h"
#include "tests/daemon/storetest.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * Random workflows against a model in plain arrays: jobs that wait for jobs and batches by
 * id, place and key, on success or on finish; fail-fast and limited batches, cancellations,
 * retries, crashes. After every step the state of every job and batch must be the model's,
 * and when all batches are closed everything must come to an end. Cycles among what waiting
 * jobs wait for must be refused, and nothing else may be.
 */

enum {
    JOBS = 400,
    BATCHES = 100,
    DEPS = 3,
    ROUNDS = 120,
    MESSAGE = 6,
    SEEDS = GO_ASAN || GO_TSAN ? 10 : 30, /* sanitizers are slow */
};

struct mdep {
    int64_t id;
    bool on_job;
    enum store_dep_mode mode;
    bool done;
};

struct mjob {
    enum store_state state;
    int64_t batch, attempt;
    int crashes, n_deps;
    bool flagged; /* running, and to be cancelled */
    struct mdep dep[DEPS];
};

struct mbatch {
    bool closed, cancelled, fail_fast;
    int64_t parallel;
};

struct model {
    struct mjob job[JOBS + 1];
    struct mbatch batch[BATCHES + 1];
    int64_t n_jobs, n_batches;
};

/* --- the model --------------------------------------------------------------------------- */

static int
count(const struct model *m, int64_t batch, enum store_state from, enum store_state to)
{
    int n = 0;

    for (int64_t i = 1; i <= m->n_jobs; i++)
        n += m->job[i].batch == batch && m->job[i].state >= from && m->job[i].state <= to;
    return n;
}

enum progress { PENDING, WELL, BADLY };

static enum progress
progress(const struct model *m, int64_t id, bool on_job)
{
    const struct mbatch *b;

    if (on_job)
        return !store_state_final(m->job[id].state)  ? PENDING
               : m->job[id].state == STORE_SUCCEEDED ? WELL
                                                     : BADLY;
    b = &m->batch[id];
    if (!b->closed || count(m, id, STORE_BLOCKED, STORE_RUNNING) > 0)
        return PENDING;
    return b->cancelled || count(m, id, STORE_FAILED, STORE_DEAD) > 0 ? BADLY : WELL;
}

static void
cancel_batch(struct model *m, int64_t batch)
{
    struct mbatch *b = &m->batch[batch];

    if (b->cancelled || progress(m, batch, false) != PENDING)
        return;
    b->cancelled = b->closed = true;
    for (int64_t i = 1; i <= m->n_jobs; i++) {
        struct mjob *j = &m->job[i];

        if (j->batch != batch || store_state_final(j->state))
            continue;
        if (j->state == STORE_RUNNING)
            j->flagged = true;
        else
            j->state = STORE_CANCELLED;
    }
}

static void
end_job(struct model *m, int64_t id, enum store_state state)
{
    m->job[id].state = state;
    m->job[id].flagged = false;
    if ((state == STORE_FAILED || state == STORE_DEAD) &&
        m->batch[m->job[id].batch].fail_fast)
        cancel_batch(m, m->job[id].batch);
}

/* A blocked job after what it waits for may have ended: whether it changed. */
static bool
release(struct model *m, struct mjob *j)
{
    bool left = false;

    for (int k = 0; k < j->n_deps; k++) {
        struct mdep *d = &j->dep[k];
        enum progress p = d->done ? WELL : progress(m, d->id, d->on_job);

        if (p == BADLY && d->mode == STORE_ON_SUCCESS) {
            j->state = STORE_CANCELLED;
            return true;
        }
        d->done = p != PENDING;
        left = left || p == PENDING;
    }
    if (!left)
        j->state = STORE_QUEUED;
    return !left;
}

static void
settle(struct model *m)
{
    bool again;

    do {
        again = false;
        for (int64_t i = 1; i <= m->n_jobs; i++)
            if (m->job[i].state == STORE_BLOCKED && release(m, &m->job[i]))
                again = true;
    } while (again);
}

/* Whether a node waits, over any number of steps, for the batch to end. */
static bool
reaches(const struct model *m, int64_t id, bool on_job, int64_t batch, bool *seen)
{
    bool *mark = &seen[on_job ? id : JOBS + 1 + id];

    if (!on_job && id == batch)
        return true;
    if (*mark)
        return false;
    *mark = true;
    for (int64_t i = 1; i <= m->n_jobs; i++) {
        const struct mjob *j = &m->job[i];

        if (on_job ? i != id : j->batch != id)
            continue;
        for (int k = 0; k < j->n_deps; k++)
            if (j->state == STORE_BLOCKED && !j->dep[k].done &&
                reaches(m, j->dep[k].id, j->dep[k].on_job, batch, seen))
                return true;
    }
    return false;
}

static bool
closes_cycle(const struct model *m, const struct mdep *d, int64_t batch)
{
    bool seen[JOBS + BATCHES + 2] = {false};

    return progress(m, d->id, d->on_job) == PENDING &&
           reaches(m, d->id, d->on_job, batch, seen);
}

/* --- the store, step by step ------------------------------------------------------------- */

/* What a power cut would undo is not the subject. */
static void
unsynced(struct fixture *f)
{
    ok(f, store_begin(f->st, f->now, STORE_NOSYNC));
}

static void
quiesce(struct fixture *f)
{
    int n;

    do {
        f->now++;
        unsynced(f);
        n = ok(f, store_deps_step(f->st, 3));
        n += ok(f, store_cancel_step(f->st, 3));
        commit(f);
    } while (n > 0);
}

static void
compare(struct fixture *f, const struct model *m)
{
    sqlite3_stmt *q = NULL;
    int64_t n = 0;

    assert_int_equal(sqlite3_prepare_v2(f->st->db,
                                        "SELECT id, state FROM job ORDER BY id", -1, &q,
                                        NULL),
                     SQLITE_OK);
    while (sqlite3_step(q) == SQLITE_ROW) {
        int64_t id = sqlite3_column_int64(q, 0);
        int state = sqlite3_column_int(q, 1);

        assert_int_equal(id, ++n);
        if (state != (int)m->job[id].state)
            fail_msg("job %lld is %s, the model says %s", (long long)id,
                     store_state_name((enum store_state)state),
                     store_state_name(m->job[id].state));
    }
    sqlite3_finalize(q);
    assert_int_equal(n, m->n_jobs);
    assert_int_equal(
        sqlite3_prepare_v2(f->st->db,
                           "SELECT id, flags & 1, flags & 4, finished FROM batch", -1, &q,
                           NULL),
        SQLITE_OK);
    while (sqlite3_step(q) == SQLITE_ROW) {
        int64_t id = sqlite3_column_int64(q, 0);

        assert_int_equal(sqlite3_column_int(q, 1) != 0, m->batch[id].closed);
        assert_int_equal(sqlite3_column_int(q, 2) != 0, m->batch[id].cancelled);
        assert_int_equal(sqlite3_column_int64(q, 3) != 0,
                         progress(m, id, false) != PENDING);
    }
    sqlite3_finalize(q);
}

/* --- submissions ------------------------------------------------------------------------- */

struct message {
    struct store_new_job jobs[MESSAGE];
    struct store_dep deps[MESSAGE][DEPS];
    char keys[MESSAGE][16], dep_keys[MESSAGE][DEPS][16];
    struct mdep meant[MESSAGE][DEPS]; /* the same by id */
    int64_t ids[MESSAGE];             /* that the jobs will have */
    bool fresh[MESSAGE];
    size_t n;
};

/* Ids: a known key leads to the older job. Keys are "k" and the job's id. */
static void
plan_jobs(const struct model *m, struct message *s)
{
    int64_t next = m->n_jobs + 1;

    for (size_t i = 0; i < s->n; i++) {
        s->fresh[i] = m->n_jobs == 0 || rnd(15) > 0;
        s->ids[i] = s->fresh[i] ? next++ : 1 + rnd((unsigned)m->n_jobs);
        snprintf(s->keys[i], sizeof(s->keys[i]), "k%d", (int)s->ids[i]);
        s->jobs[i] = (struct store_new_job){
            .lane = LANE, .spec = "s", .spec_len = 1, .key = s->keys[i]};
    }
}

static void
plan_dep(const struct model *m, struct message *s, size_t i, size_t k,
         enum store_dep_mode mode)
{
    struct store_dep *d = &s->deps[i][k];
    struct mdep *meant = &s->meant[i][k];
    unsigned what = rnd(m->n_jobs > 0 ? 4 : 1);
    size_t sibling = rnd(5) > 0 && i > 0 ? rnd((unsigned)i) : rnd((unsigned)s->n);

    *d = (struct store_dep){.mode = mode};
    *meant = (struct mdep){.on_job = what != 3, .mode = mode};
    if (what == 0) {
        d->sibling = true;
        d->id = (int64_t)sibling;
        meant->id = s->ids[sibling];
    } else if (what == 1) {
        meant->id = rnd(2) > 0 ? s->ids[sibling] : 1 + rnd((unsigned)m->n_jobs);
        snprintf(s->dep_keys[i][k], sizeof(s->dep_keys[i][k]), "k%d", (int)meant->id);
        d->key = s->dep_keys[i][k];
    } else {
        d->on_job = what == 2;
        d->id = meant->id = 1 + rnd((unsigned)(what == 2 ? m->n_jobs : m->n_batches));
    }
}

/* Whether the new jobs of the message wait for themselves. */
static bool
cycle_within(const struct message *s)
{
    bool waits[MESSAGE] = {
        false}; /* for one of the message that is not known to be free */
    bool again = true;

    for (size_t i = 0; i < s->n; i++)
        waits[i] = s->fresh[i];
    while (again) {
        again = false;
        for (size_t i = 0; i < s->n; i++) {
            bool blocked = false;

            for (size_t k = 0; waits[i] && k < s->jobs[i].n_deps; k++)
                for (size_t o = 0; o < s->n; o++)
                    blocked = blocked || (s->meant[i][k].on_job && waits[o] &&
                                          s->fresh[o] && s->meant[i][k].id == s->ids[o]);
            if (waits[i] && !blocked) {
                waits[i] = false;
                again = true;
            }
        }
    }
    for (size_t i = 0; i < s->n; i++)
        if (waits[i])
            return true;
    return false;
}

static bool
cycle_through(const struct model *m, const struct message *s, int64_t batch)
{
    for (size_t i = 0; batch != 0 && i < s->n; i++)
        for (size_t k = 0; s->fresh[i] && k < s->jobs[i].n_deps; k++)
            if ((!s->meant[i][k].on_job || s->meant[i][k].id <= m->n_jobs) &&
                closes_cycle(m, &s->meant[i][k], batch))
                return true;
    return false;
}

static void
add_jobs(struct model *m, const struct message *s, int64_t batch)
{
    for (size_t i = 0; i < s->n; i++) {
        struct mjob *j = &m->job[s->ids[i]];

        if (!s->fresh[i])
            continue;
        m->n_jobs = s->ids[i];
        *j = (struct mjob){.state = STORE_BLOCKED, .batch = batch};
        j->n_deps = (int)s->jobs[i].n_deps;
        memcpy(j->dep, s->meant[i], sizeof(j->dep));
    }
}

static void
op_submit(struct fixture *f, struct model *m)
{
    struct store_new_batch fresh = {.fail_fast = rnd(5) == 0,
                                    .max_parallel = rnd(5) == 0 ? 2 : 0};
    struct message s = {.n = 1 + rnd(MESSAGE)};
    struct store_submit sub = {
        .jobs = s.jobs, .n_jobs = s.n, .fresh = &fresh, .close = rnd(2) > 0};
    int64_t old = m->n_batches > 0 ? 1 + rnd((unsigned)m->n_batches) : 0;
    struct store_submitted done;
    bool within, now;
    int r;

    if (m->n_jobs + MESSAGE > JOBS || m->n_batches + 1 > BATCHES)
        return;
    if (old != 0 && !m->batch[old].closed)
        sub.batch = old;
    plan_jobs(m, &s);
    for (size_t i = 0; i < s.n; i++) {
        enum store_dep_mode mode = rnd(3) > 0 ? STORE_ON_SUCCESS : STORE_ON_FINISH;

        s.jobs[i].deps = s.deps[i];
        s.jobs[i].n_deps = rnd(2) > 0 ? rnd(DEPS + 1) : 0;
        for (size_t k = 0; k < s.jobs[i].n_deps; k++)
            plan_dep(m, &s, i, k, mode);
    }
    within = cycle_within(&s);
    now = cycle_through(m, &s, sub.batch);
    unsynced(f);
    r = store_submit(f->st, &sub, NULL, &done);
    commit(f);
    assert_int_equal(r, within || now ? -ELOOP : 0);
    if (r < 0)
        return;
    if (sub.batch == 0) {
        m->n_batches++;
        m->batch[m->n_batches] =
            (struct mbatch){.fail_fast = fresh.fail_fast, .parallel = fresh.max_parallel};
    }
    assert_int_equal(done.batch, sub.batch != 0 ? sub.batch : m->n_batches);
    add_jobs(m, &s, done.batch);
    m->batch[done.batch].closed = sub.close;
}

/* --- runs -------------------------------------------------------------------------------- */

static void
op_claim(struct fixture *f, struct model *m)
{
    for (int suspect = 0; suspect < 2; suspect++) {
        struct store_claims c = {.v = NULL};

        unsynced(f);
        ok(f, store_claim(f->st, LANE | (suspect ? 32 : 0), 1 + rnd(6), 0, &c));
        commit(f);
        for (size_t i = 0; i < c.n; i++) {
            struct mjob *j = &m->job[c.v[i].id];
            const struct mbatch *b = &m->batch[j->batch];

            assert_int_equal(j->state, STORE_QUEUED);
            assert_false(b->cancelled);
            assert_int_equal(suspect, j->crashes >= 2);
            j->state = STORE_RUNNING;
            j->attempt = c.v[i].attempt;
            assert_true(b->parallel == 0 ||
                        count(m, j->batch, STORE_RUNNING, STORE_RUNNING) <= b->parallel);
        }
        store_claims_fini(&c);
    }
}

static void
finish_job(struct fixture *f, struct model *m, int64_t id)
{
    static const enum store_outcome outcomes[] = {
        STORE_END_SUCCEEDED, STORE_END_SUCCEEDED, STORE_END_SUCCEEDED,  STORE_END_FAILED,
        STORE_END_DEAD,      STORE_END_RETRY,     STORE_END_INTERRUPTED};
    struct mjob *j = &m->job[id];
    enum store_outcome o = outcomes[rnd(7)];
    struct store_finish fin = {.id = id,
                               .attempt = j->attempt,
                               .lane = LANE | (j->crashes >= 2 ? 32 : 0),
                               .batch = j->batch,
                               .outcome = o,
                               .error = "e"};

    unsynced(f);
    ok(f, store_finish(f->st, &fin, NULL));
    commit(f);
    if (o == STORE_END_RETRY || o == STORE_END_INTERRUPTED)
        end_job(m, id, j->flagged ? STORE_CANCELLED : STORE_QUEUED);
    else
        end_job(m, id,
                o == STORE_END_SUCCEEDED ? STORE_SUCCEEDED
                : o == STORE_END_FAILED  ? STORE_FAILED
                                         : STORE_DEAD);
}

static void
op_finish(struct fixture *f, struct model *m, unsigned part)
{
    for (int64_t i = 1; i <= m->n_jobs; i++)
        if (m->job[i].state == STORE_RUNNING && rnd(part) == 0) {
            finish_job(f, m, i);
            quiesce(f);
            settle(m);
        }
}

static void
op_cancel(struct fixture *f, struct model *m)
{
    int64_t id = 1 + rnd((unsigned)m->n_jobs), batch = 1 + rnd((unsigned)m->n_batches);
    struct mjob *j = &m->job[id];
    enum store_state s;

    unsynced(f);
    if (rnd(3) == 0) {
        ok(f, store_cancel_batch(f->st, batch, STORE_STOP_CLIENT));
        cancel_batch(m, batch);
    } else {
        ok(f, store_cancel_job(f->st, id, "why not", &s));
        if (j->state == STORE_RUNNING)
            j->flagged = true;
        else if (!store_state_final(j->state))
            j->state = STORE_CANCELLED;
        assert_int_equal(s, j->state);
    }
    commit(f);
}

static void
op_retry(struct fixture *f, struct model *m)
{
    int64_t id = 1 + rnd((unsigned)m->n_jobs);
    struct store_dep deps[DEPS];
    struct mjob *j = &m->job[id];
    bool now = false, bad = false;
    int r;

    for (int k = 0; k < j->n_deps; k++) {
        const struct mdep *d = &j->dep[k];

        deps[k] = (struct store_dep){.id = d->id, .on_job = d->on_job, .mode = d->mode};
        now = now || closes_cycle(m, d, j->batch);
        bad = bad ||
              (d->mode == STORE_ON_SUCCESS && progress(m, d->id, d->on_job) == BADLY);
    }
    unsynced(f);
    r = store_retry_job(f->st, id, deps, (size_t)j->n_deps);
    commit(f);
    if (!store_state_final(j->state) || j->state == STORE_SUCCEEDED) {
        assert_int_equal(r, -EBUSY);
        return;
    }
    assert_int_equal(r, now ? -ELOOP : bad ? -EBUSY : 0);
    if (r < 0)
        return;
    m->batch[j->batch].cancelled = false;
    j->crashes = 0;
    j->state = STORE_BLOCKED;
    for (int k = 0; k < j->n_deps; k++)
        j->dep[k].done = false;
}

static void
op_restart(struct fixture *f, struct model *m)
{
    if (rnd(2) > 0)
        fixture_crash(f);
    else
        fixture_reopen(f);
    for (int64_t i = 1; i <= m->n_jobs; i++) {
        struct mjob *j = &m->job[i];

        if (j->state != STORE_RUNNING)
            continue;
        j->crashes++;
        end_job(m, i,
                j->flagged                        ? STORE_CANCELLED
                : j->crashes >= STORE_CRASHES_MAX ? STORE_DEAD
                                                  : STORE_QUEUED);
    }
}

static void
op_close(struct fixture *f, struct model *m, int64_t batch)
{
    unsynced(f);
    ok(f, store_batch_close(f->st, batch));
    commit(f);
    m->batch[batch].closed = true;
}

static void
step(struct fixture *f, struct model *m)
{
    unsigned what = m->n_jobs == 0 ? 0 : rnd(12);

    if (what < 4)
        op_submit(f, m);
    else if (what < 6)
        op_claim(f, m);
    else if (what < 9)
        op_finish(f, m, 3);
    else if (what == 9)
        op_cancel(f, m);
    else if (what == 10)
        op_retry(f, m);
    else if (rnd(4) == 0)
        op_restart(f, m);
    else
        op_close(f, m, 1 + rnd((unsigned)m->n_batches));
    quiesce(f);
    settle(m);
    compare(f, m);
}

/* With every batch closed, nothing may be left waiting. */
static void
drain(struct fixture *f, struct model *m)
{
    for (int64_t b = 1; b <= m->n_batches; b++)
        op_close(f, m, b);
    for (int turn = 0; turn < 10000; turn++) {
        int left = 0;

        quiesce(f);
        settle(m);
        compare(f, m);
        for (int64_t i = 1; i <= m->n_jobs; i++)
            left += !store_state_final(m->job[i].state);
        if (left == 0)
            return;
        op_claim(f, m);
        op_finish(f, m, 1);
    }
    fail_msg("some jobs wait for ever");
}

static void
random_workflows_end_as_the_model_says(void **state)
{
    const char *given = getenv("SEED"); /* to do one again */
    struct model *m = malloc(sizeof(*m));

    (void)state;
    assert_non_null(m);
    for (unsigned seed = given != NULL ? (unsigned)strtoul(given, NULL, 10) : 1, n = 0;
         n < (given != NULL ? 1 : SEEDS); n++, seed++) {
        struct fixture *f = NULL;

        printf("# seed %u\n", seed);
        rng = seed * UINT64_C(0x9e3779b97f4a7c15);
        memset(m, 0, sizeof(*m));
        assert_int_equal(fixture_setup((void **)&f), 0);
        for (int i = 0; i < ROUNDS; i++)
            step(f, m);
        drain(f, m);
        verify(f);
        (void)fixture_teardown((void **)&f);
    }
    free(m);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_workflows_end_as_the_model_says),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
