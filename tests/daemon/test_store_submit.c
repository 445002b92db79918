#include "tests/daemon/storetest.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* What is decided in the inserting transaction: requests, keys, dependencies. */

static void
a_repeated_request_inserts_nothing_and_gets_the_same_answer(void **state)
{
    struct fixture *f = *state;
    struct store_new_job jobs[3] = {
        {.lane = LANE}, {.lane = LANE, .key = "k"}, {.lane = LANE}};
    struct store_submit sub = {
        .request = "0123456789abcdef", .request_len = 16, .jobs = jobs, .n_jobs = 3};
    struct store_submitted a, b;
    int64_t ids_a[3], ids_b[3];

    submit_job(f, 0, &(struct store_new_job){.lane = LANE, .key = "k"});
    begin(f);
    ok(f, store_submit(f->st, &sub, ids_a, &a));
    commit(f);
    assert_false(a.repeated);
    assert_int_equal(a.n_new, 2);
    assert_int_equal(a.n_dups, 1);
    fixture_crash(f);
    begin(f);
    ok(f, store_submit(f->st, &sub, ids_b, &b));
    commit(f);
    assert_true(b.repeated);
    assert_int_equal(b.batch, a.batch);
    assert_memory_equal(ids_a, ids_b, sizeof(ids_a));
    assert_int_equal(query(f, "SELECT count(*) FROM job"), 3);
    sub.n_jobs = 2;
    begin(f);
    assert_int_equal(store_submit(f->st, &sub, ids_b, &b), -EINVAL);
    commit(f);
    verify(f);
}

static void
an_idempotency_key_names_one_job_for_ever(void **state)
{
    struct fixture *f = *state;
    struct store_new_job jobs[2] = {{.lane = LANE, .key = "once"},
                                    {.lane = LANE, .key = "once"}};
    struct store_submit sub = {.jobs = jobs, .n_jobs = 2, .close = true};
    struct store_submitted done;
    int64_t ids[2];
    struct store_claimed c;

    begin(f);
    ok(f, store_submit(f->st, &sub, ids, &done));
    commit(f);
    assert_int_equal(done.n_new, 1);
    assert_int_equal(done.n_dups, 1);
    assert_int_equal(ids[0], ids[1]);
    c = claim_one(f, LANE);
    assert_int_equal(finish(f, &c, STORE_END_SUCCEEDED), 0);
    assert_int_equal(submit_job(f, 0, &jobs[0]), ids[0]);
    verify(f);
}

static void
a_rolled_back_submission_leaves_no_trace(void **state)
{
    struct fixture *f = *state;
    struct store_new_job j = {.lane = LANE, .key = "k"};
    struct store_submit sub = {.jobs = &j, .n_jobs = 1, .close = true};
    struct store_submitted done;
    int64_t first = submit(f, 0, 1, NULL), id, again;

    begin(f);
    ok(f, store_submit(f->st, &sub, &id, &done));
    store_rollback(f->st);
    verify(f);
    again = submit_job(f, 0, &j);
    assert_int_equal(again, id);
    assert_int_equal(query(f, "SELECT count(*) FROM batch"), 2);
    assert_true(first > 0);
    verify(f);
}

static void
a_mark_undoes_one_operation_and_keeps_its_neighbours(void **state)
{
    struct fixture *f = *state;
    struct store_new_job j = {.lane = LANE};
    struct store_submit sub = {.jobs = &j, .n_jobs = 1, .close = true};
    struct store_submitted done;
    int64_t id[3];

    begin(f);
    for (int i = 0; i < 3; i++) {
        ok(f, store_mark(f->st));
        ok(f, store_submit(f->st, &sub, &id[i], &done));
        ok(f, i == 1 ? store_mark_undo(f->st) : store_mark_keep(f->st));
    }
    commit(f);
    assert_int_equal(query(f, "SELECT count(*) FROM job"), 2);
    assert_int_equal(id[2], id[1]);
    verify(f);
}

static void
bad_submissions_are_refused_and_change_nothing(void **state)
{
    struct fixture *f = *state;
    struct store_dep dep = {.id = 99, .on_job = true, .mode = STORE_ON_FINISH};
    struct store_new_job j = {.lane = STORE_LANE(50, 0, 0)};
    struct store_submit sub = {.jobs = &j, .n_jobs = 1};
    struct store_submitted done;

    begin(f);
    assert_int_equal(store_submit(f->st, &sub, NULL, &done), -EINVAL);
    j.lane = STORE_LANE(0, 1, 1);
    assert_int_equal(store_submit(f->st, &sub, NULL, &done), -EINVAL);
    j.lane = LANE;
    sub.n_jobs = STORE_MESSAGE_MAX + 1;
    assert_int_equal(store_submit(f->st, &sub, NULL, &done), -EINVAL);
    sub.n_jobs = 1;
    sub.batch = 42;
    assert_int_equal(store_submit(f->st, &sub, NULL, &done), -ENOENT);
    sub.batch = 0;
    j.deps = &dep;
    j.n_deps = 1;
    assert_int_equal(store_submit(f->st, &sub, NULL, &done), -ENOENT);
    assert_string_equal(store_error(f->st), "there is no job 99 to wait for");
    assert_false(store_broken(f->st));
    commit(f);
    assert_int_equal(query(f, "SELECT count(*) FROM job"), 0);
    assert_int_equal(query(f, "SELECT count(*) FROM batch"), 0);
}

static void
a_named_batch_is_joined_while_it_is_open(void **state)
{
    struct fixture *f = *state;
    struct store_new_batch fresh = {.name = "nightly"};
    struct store_new_job j = {.lane = LANE};
    struct store_submit sub = {.fresh = &fresh, .jobs = &j, .n_jobs = 1};
    struct store_submitted a, b, c;
    int64_t found;

    begin(f);
    ok(f, store_submit(f->st, &sub, NULL, &a));
    ok(f, store_submit(f->st, &sub, NULL, &b));
    assert_int_equal(a.batch, b.batch);
    assert_int_equal(store_batch_find(f->st, "nightly", &found), 1);
    ok(f, store_batch_close(f->st, a.batch));
    ok(f, store_submit(f->st, &sub, NULL, &c));
    assert_int_not_equal(c.batch, a.batch);
    commit(f);
    verify(f);
}

static void
step_deps(struct fixture *f)
{
    int r;

    do {
        begin(f);
        r = ok(f, store_deps_step(f->st, 2));
        commit(f);
        verify(f);
    } while (r > 0);
}

static void
dependents_start_when_their_batch_has_succeeded(void **state)
{
    struct fixture *f = *state;
    int64_t b = submit(f, 0, 2, NULL), after[5];
    struct store_dep dep = {.id = b, .mode = STORE_ON_SUCCESS};
    struct store_claims c;

    for (int i = 0; i < 5; i++)
        after[i] = submit_job(
            f, 0, &(struct store_new_job){.lane = LANE, .deps = &dep, .n_deps = 1});
    assert_int_equal(state_of(f, after[0]), STORE_BLOCKED);
    c = claim(f, LANE, 10);
    assert_int_equal(c.n, 2);
    assert_int_equal(finish(f, &c.v[0], STORE_END_SUCCEEDED), 0);
    step_deps(f);
    assert_int_equal(state_of(f, after[0]), STORE_BLOCKED);
    assert_int_equal(finish(f, &c.v[1], STORE_END_SUCCEEDED), 0);
    fixture_crash(f);
    step_deps(f);
    for (int i = 0; i < 5; i++)
        assert_int_equal(state_of(f, after[i]), STORE_QUEUED);
    store_claims_fini(&c);
    assert_int_equal(query(f, "SELECT count(*) FROM dep") +
                         query(f, "SELECT count(*) FROM edge") +
                         query(f, "SELECT count(*) FROM fire"),
                     0);
}

static void
dependents_on_success_are_cancelled_when_it_failed(void **state)
{
    struct fixture *f = *state;
    int64_t first, s, e, chain;
    struct store_dep success, end, next;
    struct store_claimed c;

    submit(f, 0, 1, &first);
    success = (struct store_dep){.id = first, .on_job = true, .mode = STORE_ON_SUCCESS};
    end = (struct store_dep){.id = first, .on_job = true, .mode = STORE_ON_FINISH};
    s = submit_job(f, 0,
                   &(struct store_new_job){.lane = LANE, .deps = &success, .n_deps = 1});
    e = submit_job(f, 0,
                   &(struct store_new_job){.lane = LANE, .deps = &end, .n_deps = 1});
    next = (struct store_dep){.id = s, .on_job = true, .mode = STORE_ON_SUCCESS};
    chain = submit_job(f, 0,
                       &(struct store_new_job){.lane = LANE, .deps = &next, .n_deps = 1});
    c = claim_one(f, LANE);
    assert_int_equal(finish(f, &c, STORE_END_FAILED), 0);
    step_deps(f);
    assert_int_equal(state_of(f, s), STORE_CANCELLED);
    assert_int_equal(state_of(f, e), STORE_QUEUED);
    assert_int_equal(state_of(f, chain), STORE_CANCELLED);
    s = submit_job(f, 0,
                   &(struct store_new_job){.lane = LANE, .deps = &success, .n_deps = 1});
    assert_int_equal(state_of(f, s), STORE_CANCELLED);
    verify(f);
}

static void
a_job_with_two_dependencies_waits_for_both(void **state)
{
    struct fixture *f = *state;
    int64_t first, id;
    struct store_dep deps[2];
    struct store_claims c;

    submit(f, 0, 2, &first);
    for (int i = 0; i < 2; i++)
        deps[i] =
            (struct store_dep){.id = first + i, .on_job = true, .mode = STORE_ON_FINISH};
    id = submit_job(f, 0,
                    &(struct store_new_job){.lane = LANE, .deps = deps, .n_deps = 2});
    c = claim(f, LANE, 10);
    assert_int_equal(finish(f, &c.v[0], STORE_END_SUCCEEDED), 0);
    step_deps(f);
    assert_int_equal(state_of(f, id), STORE_BLOCKED);
    assert_int_equal(finish(f, &c.v[1], STORE_END_DEAD), 0);
    step_deps(f);
    assert_int_equal(state_of(f, id), STORE_QUEUED);
    store_claims_fini(&c);
}

static void
cycles_are_refused(void **state)
{
    struct fixture *f = *state;
    struct store_submit open = {.n_jobs = 0};
    struct store_submitted a, b;
    struct store_dep on_a, on_b, on_job;
    struct store_new_job j = {.lane = LANE, .n_deps = 1};
    struct store_submit sub = {.jobs = &j, .n_jobs = 1};
    int64_t id;

    begin(f);
    ok(f, store_submit(f->st, &open, NULL, &a));
    ok(f, store_submit(f->st, &open, NULL, &b));
    on_a = (struct store_dep){.id = a.batch, .mode = STORE_ON_FINISH};
    on_b = (struct store_dep){.id = b.batch, .mode = STORE_ON_FINISH};
    j.deps = &on_b;
    sub.batch = a.batch;
    ok(f, store_submit(f->st, &sub, &id, &a)); /* a waits for b */
    on_job = (struct store_dep){.id = id, .on_job = true, .mode = STORE_ON_FINISH};
    sub.batch = b.batch;
    j.deps = &on_a;
    assert_int_equal(store_submit(f->st, &sub, NULL, &b), -ELOOP);
    j.deps = &on_job;
    assert_int_equal(store_submit(f->st, &sub, NULL, &b), -ELOOP);
    j.deps = &on_b;
    assert_int_equal(store_submit(f->st, &sub, NULL, &b), -ELOOP);
    sub.batch = a.batch;
    j.deps = &on_job; /* within one batch, on an older job: no cycle */
    ok(f, store_submit(f->st, &sub, NULL, &a));
    commit(f);
    verify(f);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_repeated_request_inserts_nothing_and_gets_the_same_answer),
        CASE(an_idempotency_key_names_one_job_for_ever),
        CASE(a_rolled_back_submission_leaves_no_trace),
        CASE(a_mark_undoes_one_operation_and_keeps_its_neighbours),
        CASE(bad_submissions_are_refused_and_change_nothing),
        CASE(a_named_batch_is_joined_while_it_is_open),
        CASE(dependents_start_when_their_batch_has_succeeded),
        CASE(dependents_on_success_are_cancelled_when_it_failed),
        CASE(a_job_with_two_dependencies_waits_for_both),
        CASE(cycles_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
