#include "runtime/base/san.h"
#include "tests/daemon/storetest.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/*
 * Random operations, many to a transaction, some transactions rolled back and some stores
 * killed, against a model of each job's state in plain arrays. After every transaction the
 * counters, and now and then all of the store's invariants, must hold.
 */

enum {
    JOBS_MAX = 6000,
    ROUNDS = GO_ASAN || GO_TSAN ? 100 : 250, /* sanitizers are slow */
};

struct model_job {
    enum store_state state;
    int64_t attempt, batch, lane;
    bool pruned;
};

struct model {
    struct model_job job[JOBS_MAX];
    int64_t n_jobs; /* ids 1 … n_jobs */
};

static void
op_submit(struct fixture *f, struct model *m)
{
    struct store_new_job jobs[30];
    struct store_new_batch fresh = {.fail_fast = rnd(8) == 0,
                                    .max_parallel = rnd(4) == 0 ? 5 : 0};
    struct store_submit sub = {
        .jobs = jobs, .n_jobs = rnd(30), .fresh = &fresh, .close = rnd(3) > 0};
    struct store_submitted done;
    struct store_dep dep = {.mode = rnd(2) ? STORE_ON_SUCCESS : STORE_ON_FINISH};
    int64_t ids[30];

    if (m->n_jobs + 30 >= JOBS_MAX)
        return;
    if (m->n_jobs > 0 && rnd(4) == 0)
        dep = (struct store_dep){
            .id = 1 + rnd((unsigned)m->n_jobs), .on_job = true, .mode = dep.mode};
    for (size_t i = 0; i < sub.n_jobs; i++) {
        jobs[i] = (struct store_new_job){.lane = STORE_LANE(0, rnd(2), 0),
                                         .prio = (int32_t)rnd(3),
                                         .run_at = rnd(5) == 0 ? f->now + rnd(3000) : 0,
                                         .spec = "s",
                                         .spec_len = 1};
        if (dep.id > 0 && !m->job[dep.id].pruned && rnd(2) == 0) {
            jobs[i].deps = &dep;
            jobs[i].n_deps = 1;
        }
    }
    if (rnd(4) == 0 && m->n_jobs > 0)
        sub.batch = m->job[1 + rnd((unsigned)m->n_jobs)].batch;
    int r = store_submit(f->st, &sub, ids, &done);

    if (r < 0) {
        assert_true(r == -ENOENT || r == -ECANCELED || r == -ESHUTDOWN || r == -ELOOP);
        return;
    }
    for (size_t i = 0; i < sub.n_jobs; i++) {
        struct model_job *j = &m->job[ids[i]];

        assert_int_equal(ids[i], m->n_jobs + 1);
        m->n_jobs = ids[i];
        *j = (struct model_job){STORE_QUEUED, 0, done.batch, jobs[i].lane, false};
    }
}

static void
op_claim(struct fixture *f, struct model *m)
{
    struct store_claims c = {.v = NULL};

    for (int suspect = 0; suspect < 2; suspect++) {
        ok(f, store_claim(f->st, STORE_LANE(0, rnd(2), suspect), 1 + rnd(40), 0, &c));
        for (size_t i = 0; i < c.n; i++) {
            struct model_job *j = &m->job[c.v[i].id];

            /* Never twice, never after its end, always a new attempt. */
            assert_int_not_equal(j->state, STORE_RUNNING);
            assert_false(store_state_final(j->state));
            assert_true(c.v[i].attempt > j->attempt);
            j->state = STORE_RUNNING;
            j->attempt = c.v[i].attempt;
            j->lane = c.v[i].lane;
        }
    }
    store_claims_fini(&c);
}

static void
op_finish(struct fixture *f, struct model *m)
{
    for (int k = 0; k < 20 && m->n_jobs > 0; k++) {
        int64_t id = 1 + rnd((unsigned)m->n_jobs);
        struct model_job *j = &m->job[id];
        bool late = rnd(10) == 0;
        struct store_finish fin = {.id = id,
                                   .attempt = j->attempt - (late ? 1 : 0),
                                   .lane = j->lane,
                                   .batch = j->batch,
                                   .outcome = (enum store_outcome)(1 + rnd(6)),
                                   .run_at = f->now + rnd(2000),
                                   .result = "r",
                                   .result_len = 1,
                                   .error = "e"};
        enum store_state s;
        int r = store_finish(f->st, &fin, &s);

        assert_int_equal(r, j->state == STORE_RUNNING && !late ? 0 : -ESTALE);
        if (r == 0)
            j->state = s;
    }
}

/* What runs among some neighbours ends at once. */
static void
op_finish_all(struct fixture *f, struct model *m)
{
    enum { NEAR = 40 };
    struct store_finish fin[NEAR];
    const struct store_finish *v[NEAR];
    int64_t id = 1 + rnd((unsigned)m->n_jobs + 1);
    size_t n = 0;

    for (int64_t end = id + NEAR; id < end && id <= m->n_jobs; id++) {
        const struct model_job *j = &m->job[id];

        if (j->state != STORE_RUNNING || rnd(8) == 0)
            continue;
        fin[n] = (struct store_finish){.id = id,
                                       .attempt = j->attempt,
                                       .lane = j->lane,
                                       .batch = j->batch,
                                       .outcome = rnd(10) > 0 ? STORE_END_SUCCEEDED
                                                              : STORE_END_FAILED,
                                       .result = rnd(10) > 0 ? "r" : NULL,
                                       .result_len = 1};
        v[n] = &fin[n];
        n++;
    }
    for (size_t i = 1; i < n; i++) {
        size_t k = rnd((unsigned)i + 1);
        const struct store_finish *t = v[i];

        v[i] = v[k];
        v[k] = t;
    }
    ok(f, store_finish_all(f->st, v, n));
    for (size_t i = 0; i < n; i++)
        m->job[v[i]->id].state =
            v[i]->outcome == STORE_END_SUCCEEDED ? STORE_SUCCEEDED : STORE_FAILED;
}

static void
op_other(struct fixture *f, struct model *m)
{
    static const struct store_keep keep = {
        .age_ms = 5000, .count = -1, .event_count = 1000};
    int64_t id = m->n_jobs > 0 ? 1 + rnd((unsigned)m->n_jobs) : 1;
    struct model_job *j = &m->job[id];
    enum store_state s;
    int r;

    switch (rnd(7)) {
    case 0:
        r = store_cancel_job(f->st, id, NULL, &s);
        assert_true(r == 0 ||
                    (r == -ENOENT && (j->pruned || store_state_final(j->state) ||
                                      m->n_jobs == 0 || j->state != STORE_RUNNING)));
        if (r == 0 && !store_state_final(j->state) && j->state != STORE_RUNNING)
            j->state = s;
        break;
    case 1:
        if (rnd(10) == 0 && m->n_jobs > 0) {
            r = store_cancel_batch(f->st, j->batch, STORE_STOP_CLIENT);
            assert_true(r == 0 || r == -ENOENT);
        }
        break;
    case 2:
        r = store_retry_job(f->st, id, NULL, 0);
        assert_true(r == 0 || r == -EBUSY || r == -ENOENT);
        if (r == 0)
            j->state = STORE_QUEUED;
        break;
    case 3:
        if (m->n_jobs > 0) {
            r = store_batch_close(f->st, j->batch);
            assert_true(r == 0 || r == -ENOENT);
        }
        break;
    case 4:
        ok(f, store_keep_step(f->st, &keep, 1 + (int)rnd(200)));
        break;
    case 5:
        ok(f, store_promote(f->st, 1 + (int)rnd(50)));
        break;
    default:
        ok(f, store_deps_step(f->st, 1 + (int)rnd(20)));
        ok(f, store_cancel_step(f->st, 1 + (int)rnd(50)));
    }
}

static void
one_transaction(struct fixture *f, struct model *m)
{
    static struct model before;

    memcpy(&before, m, sizeof(before));
    begin(f);
    for (unsigned k = 1 + rnd(12); k > 0; k--) {
        bool marked = rnd(6) == 0;
        static struct model at_mark;

        if (marked) {
            ok(f, store_mark(f->st));
            memcpy(&at_mark, m, sizeof(at_mark));
        }
        switch (rnd(4)) {
        case 0:
            op_submit(f, m);
            break;
        case 1:
            op_claim(f, m);
            break;
        case 2:
            if (rnd(2) == 0)
                op_finish(f, m);
            else
                op_finish_all(f, m);
            break;
        default:
            op_other(f, m);
        }
        if (marked && rnd(2) == 0) {
            ok(f, store_mark_undo(f->st));
            memcpy(m, &at_mark, sizeof(at_mark));
        } else if (marked) {
            ok(f, store_mark_keep(f->st));
        }
    }
    if (rnd(8) == 0) {
        store_rollback(f->st);
        memcpy(m, &before, sizeof(before));
    } else {
        commit(f);
    }
}

/* After a crash nothing runs; whatever ran is queued, or ended by recovery. */
static void
crash(struct fixture *f, struct model *m)
{
    fixture_crash(f);
    for (int64_t id = 1; id <= m->n_jobs; id++)
        if (m->job[id].state == STORE_RUNNING)
            m->job[id].state = state_of(f, id);
}

static void
random_operations_agree_with_the_model(void **state)
{
    struct fixture *f = *state;
    struct model *m = calloc(1, sizeof(*m));

    for (int i = 0; i < ROUNDS; i++) {
        one_transaction(f, m);
        f->now += rnd(300);
        if (rnd(25) == 0)
            crash(f, m);
        if (rnd(10) == 0 || i == ROUNDS - 1)
            verify(f);
    }
    assert_true(m->n_jobs > ROUNDS / 2);
    free(m);
}

static int
setup_seeded(void **state)
{
    static uint64_t seed = 1;
    int r = fixture_setup(state);

    rng = seed++ * UINT64_C(0x9e3779b97f4a7c15);
    return r;
}

#define CASE                                                                             \
    cmocka_unit_test_setup_teardown(random_operations_agree_with_the_model,              \
                                    setup_seeded, fixture_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {CASE, CASE, CASE, CASE, CASE, CASE};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
