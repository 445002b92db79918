#include "daemon/store/inner.h"
#include "daemon/store/read.h"
#include "tests/daemon/storetest.h"

#include <errno.h>
#include <string.h>

/* Dependencies by key and place, retries that wait again, and what holds around them. */

static void
steps(struct fixture *f)
{
    int n;

    do {
        begin(f);
        n = ok(f, store_deps_step(f->st, 100)) + ok(f, store_cancel_step(f->st, 100));
        commit(f);
    } while (n > 0);
}

static int
retry(struct fixture *f, int64_t id, const struct store_dep *deps, size_t n)
{
    int r;

    begin(f);
    r = store_retry_job(f->st, id, deps, n);
    commit(f);
    steps(f);
    return r;
}

/* What settle() was told, in order. */
static int64_t told[8];
static size_t n_told;

static int
settle(const struct store_submit *sub, size_t i, const struct store_dep *deps,
       size_t n_deps, struct store_new_job *j)
{
    assert_ptr_equal(sub->jobs[i].deps == NULL ? NULL : sub->jobs[i].spec, j->spec);
    for (size_t k = 0; k < n_deps; k++) {
        assert_true(deps[k].on_job);
        told[n_told++] = deps[k].id;
    }
    j->spec = "settled";
    j->spec_len = 7;
    return 0;
}

static void
keys_and_places_become_ids_and_the_spec_is_told(void **state)
{
    struct fixture *f = *state;
    struct store_dep after[] = {
        {.id = 2, .sibling = true, .mode = STORE_ON_FINISH},
        {.key = "old", .mode = STORE_ON_FINISH},
        {.key = "new", .mode = STORE_ON_FINISH},
    };
    struct store_new_job jobs[] = {
        {.lane = LANE, .spec = "s", .spec_len = 1, .deps = after, .n_deps = 3},
        {.lane = LANE, .spec = "s", .spec_len = 1, .key = "old"},
        {.lane = LANE, .spec = "s", .spec_len = 1, .key = "new"},
    };
    struct store_submit sub = {.jobs = jobs, .n_jobs = 3, .settle = settle};
    struct store_submitted done;
    int64_t ids[3], old;

    old = submit_job(f, 0, &(struct store_new_job){.lane = LANE, .key = "old"});
    n_told = 0;
    begin(f);
    ok(f, store_submit(f->st, &sub, ids, &done));
    commit(f);
    assert_int_equal(ids[1], old);
    assert_int_equal(done.n_new, 2);
    assert_int_equal(done.n_dups, 1);
    assert_int_equal(n_told, 3);
    assert_int_equal(told[0], ids[2]);
    assert_int_equal(told[1], old);
    assert_int_equal(told[2], ids[2]);
    assert_int_equal(query(f, "SELECT spec = x'736574746c6564' FROM job WHERE id = %lld",
                           (long long)ids[0]),
                     1);
    assert_int_equal(state_of(f, ids[0]), STORE_BLOCKED);
    verify(f);
}

static void
a_refused_message_leaves_nothing(void **state)
{
    struct fixture *f = *state;
    struct store_dep dep = {.mode = STORE_ON_FINISH};
    struct store_new_job jobs[] = {
        {.lane = LANE, .key = "a"},
        {.lane = LANE, .deps = &dep, .n_deps = 1},
    };
    struct store_submit sub = {.jobs = jobs, .n_jobs = 2};
    struct store_submitted done;
    const struct {
        struct store_dep dep;
        int code;
    } wrong[] = {
        {{.id = 2, .sibling = true, .mode = STORE_ON_FINISH}, -EINVAL},
        {{.id = 1, .sibling = true, .mode = STORE_ON_FINISH}, -ELOOP},
        {{.key = "none", .mode = STORE_ON_FINISH}, -ENOENT},
        {{.id = 2, .on_job = true, .mode = STORE_ON_FINISH}, -ENOENT},
        {{.id = 0, .sibling = true}, -EINVAL},
    };

    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        dep = wrong[i].dep;
        begin(f);
        assert_int_equal(store_submit(f->st, &sub, NULL, &done), wrong[i].code);
        commit(f);
    }
    assert_int_equal(query(f, "SELECT (SELECT count(*) FROM job) + (SELECT count(*) FROM"
                              " batch) + (SELECT count(*) FROM idem)"),
                     0);
    verify(f);
}

static void
a_retried_job_waits_again_unless_that_is_hopeless(void **state)
{
    struct fixture *f = *state;
    struct store_dep dep = {.on_job = true, .mode = STORE_ON_SUCCESS};
    struct store_claimed c;
    int64_t first, second;

    submit(f, 0, 1, &first);
    dep.id = first;
    second = submit_job(f, 0,
                        &(struct store_new_job){.lane = LANE, .deps = &dep, .n_deps = 1});
    c = claim_one(f, LANE);
    assert_int_equal(finish(f, &c, STORE_END_FAILED), 0);
    steps(f);
    assert_int_equal(state_of(f, second), STORE_CANCELLED);
    assert_int_equal(retry(f, second, &dep, 1), -EBUSY);
    assert_int_equal(retry(f, first, NULL, 0), 0);
    assert_int_equal(retry(f, second, &dep, 1), 0);
    assert_int_equal(state_of(f, second), STORE_BLOCKED);
    c = claim_one(f, LANE);
    assert_int_equal(c.id, first);
    assert_int_equal(finish(f, &c, STORE_END_SUCCEEDED), 0);
    steps(f);
    assert_int_equal(state_of(f, second), STORE_QUEUED);
    verify(f);
}

/* x in a waits for b, which ends; z in b, retried, waits for a. x, retried, would close a
 * circle that was none when it was submitted. */
static void
a_retry_that_closes_a_cycle_is_refused(void **state)
{
    struct fixture *f = *state;
    struct store_dep on_a = {.mode = STORE_ON_FINISH}, on_b = {.mode = STORE_ON_FINISH};
    struct store_submitted a, b;
    struct store_submit plain = {.n_jobs = 0};
    struct store_claimed c;
    enum store_state s;
    int64_t x, z;

    begin(f);
    ok(f, store_submit(f->st, &plain, NULL, &a));
    ok(f, store_submit(f->st, &plain, NULL, &b));
    commit(f);
    on_a.id = a.batch;
    on_b.id = b.batch;
    z = submit_job(f, b.batch,
                   &(struct store_new_job){.lane = LANE, .deps = &on_a, .n_deps = 1});
    begin(f);
    ok(f, store_cancel_job(f->st, z, NULL, &s));
    ok(f, store_batch_close(f->st, b.batch));
    commit(f);
    steps(f);
    x = submit_job(f, a.batch,
                   &(struct store_new_job){.lane = LANE, .deps = &on_b, .n_deps = 1});
    c = claim_one(f, LANE);
    assert_int_equal(c.id, x);
    assert_int_equal(finish(f, &c, STORE_END_FAILED), 0);
    assert_int_equal(retry(f, z, &on_a, 1), 0);
    assert_int_equal(state_of(f, z), STORE_BLOCKED);
    assert_int_equal(retry(f, x, &on_b, 1), -ELOOP);
    assert_int_equal(state_of(f, x), STORE_FAILED);
    verify(f);
}

static int
waits_for_batch(struct fixture *f, int64_t batch, int64_t other, int64_t *ret_id)
{
    struct store_dep dep = {.id = other, .mode = STORE_ON_FINISH};
    struct store_new_job j = {.lane = LANE, .deps = &dep, .n_deps = 1};
    struct store_submit sub = {.batch = batch, .jobs = &j, .n_jobs = 1};
    struct store_submitted done;
    int r;

    begin(f);
    r = store_submit(f->st, &sub, ret_id, &done);
    commit(f);
    return r;
}

/* A batch waits as long as one of its jobs does, and no longer. */
static void
a_cancelled_job_closes_no_cycle(void **state)
{
    struct fixture *f = *state;
    struct store_submit open = {.n_jobs = 0};
    struct store_submitted a, b;
    enum store_state s;
    int64_t x, y, z;

    begin(f);
    ok(f, store_submit(f->st, &open, NULL, &a));
    ok(f, store_submit(f->st, &open, NULL, &b));
    commit(f);
    assert_int_equal(waits_for_batch(f, a.batch, b.batch, &x), 0);
    submit(f, a.batch, 1, NULL);
    submit(f, b.batch, 1, NULL); /* so that the next is in another span */
    assert_int_equal(waits_for_batch(f, a.batch, b.batch, &y), 0);
    assert_int_equal(waits_for_batch(f, b.batch, a.batch, &z), -ELOOP);
    begin(f);
    ok(f, store_cancel_job(f->st, x, NULL, &s));
    commit(f);
    assert_int_equal(waits_for_batch(f, b.batch, a.batch, &z), -ELOOP);
    begin(f);
    ok(f, store_cancel_job(f->st, y, NULL, &s));
    commit(f);
    assert_int_equal(waits_for_batch(f, b.batch, a.batch, &z), 0);
    /* Now the other way round. */
    assert_int_equal(waits_for_batch(f, a.batch, b.batch, &x), -ELOOP);
    assert_int_equal(
        retry(f, x, &(struct store_dep){.id = b.batch, .mode = STORE_ON_FINISH}, 1),
        -ELOOP);
    verify(f);
}

/* Also before the sweep has come to its jobs. */
static void
a_batch_that_is_being_cancelled_closes_no_cycle(void **state)
{
    struct fixture *f = *state;
    struct store_submit open = {.n_jobs = 0};
    struct store_submitted a, b;
    struct store_dep on_x = {.on_job = true, .mode = STORE_ON_FINISH};
    int64_t x, z;

    begin(f);
    ok(f, store_submit(f->st, &open, NULL, &a));
    ok(f, store_submit(f->st, &open, NULL, &b));
    commit(f);
    assert_int_equal(waits_for_batch(f, a.batch, b.batch, &x), 0);
    begin(f);
    ok(f, store_cancel_batch(f->st, a.batch, STORE_STOP_CLIENT));
    commit(f);
    assert_int_equal(state_of(f, x), STORE_BLOCKED);
    assert_int_equal(waits_for_batch(f, b.batch, a.batch, &z), 0);
    on_x.id = x;
    submit_job(f, b.batch,
               &(struct store_new_job){.lane = LANE, .deps = &on_x, .n_deps = 1});
    steps(f);
    assert_int_equal(state_of(f, x), STORE_CANCELLED);
    assert_int_equal(state_of(f, z), STORE_QUEUED);
    verify(f);
}

static void
a_late_batch_that_is_slow_to_end_hides_no_other_deadline(void **state)
{
    struct fixture *f = *state;
    struct store_new_batch fresh = {.deadline = T0 + 10};
    struct store_new_job job = {.lane = LANE};
    struct store_submit sub = {.fresh = &fresh, .jobs = &job, .n_jobs = 1, .close = true};
    struct store_submitted first, second;
    struct store_claimed c;
    int64_t batch, at;

    begin(f);
    ok(f, store_submit(f->st, &sub, NULL, &first));
    fresh.deadline = T0 + 20;
    ok(f, store_submit(f->st, &sub, NULL, &second));
    commit(f);
    c = claim_one(f, LANE);
    assert_int_equal(c.batch, first.batch);
    f->now = T0 + 30;
    begin(f);
    assert_int_equal(store_deadline_next(f->st, 0, &batch, &at), 1);
    assert_int_equal(batch, first.batch);
    ok(f, store_cancel_batch(f->st, batch, STORE_STOP_DEADLINE));
    assert_int_equal(store_deadline_next(f->st, 0, &batch, &at), 1);
    assert_int_equal(batch, second.batch);
    ok(f, store_cancel_batch(f->st, batch, STORE_STOP_DEADLINE));
    assert_int_equal(store_deadline_next(f->st, 0, &batch, &at), 0);
    commit(f);
    steps(f);
    /* And a retry lifts what has passed. */
    assert_int_equal(
        query(f, "SELECT deadline FROM batch WHERE id = %lld", (long long)second.batch),
        T0 + 20);
    assert_int_equal(retry(f, c.id + 1, NULL, 0), 0);
    assert_int_equal(
        query(f, "SELECT deadline FROM batch WHERE id = %lld", (long long)second.batch),
        0);
    verify(f);
}

static void
a_reason_joins_the_error_of_the_attempt_before(void **state)
{
    struct fixture *f = *state;
    struct store_reader *rd;
    struct store_attempts v = {.v = NULL};
    struct store_claimed c;
    enum store_state s;
    char err[200];
    int64_t id;

    submit(f, 0, 1, &id);
    c = claim_one(f, LANE);
    assert_int_equal(finish(f, &c, STORE_END_RETRY), 0);
    begin(f);
    ok(f, store_cancel_job(f->st, id, "enough", &s));
    commit(f);
    assert_int_equal(store_reader_open(f->path, NULL, &rd, err, sizeof(err)), 0);
    assert_int_equal(store_read_attempts(rd, id, &v), 0);
    assert_int_equal(v.n, 1);
    assert_int_equal(v.v[0].outcome, STORE_END_RETRY);
    assert_non_null(strstr(v.v[0].error, "enough"));
    store_attempts_free(&v);
    store_reader_close(rd);
}

static void
history_is_kept_within_what_was_set(void **state)
{
    struct fixture *f = *state;
    int64_t id;

    store_set_limits(f->st, 2, 0);
    submit(f, 0, 1, &id);
    for (int i = 0; i < 5; i++) {
        struct store_claimed c = claim_one(f, LANE);

        assert_int_equal(finish(f, &c, STORE_END_INTERRUPTED), 0);
    }
    assert_int_equal(query(f, "SELECT count(*) FROM attempt"), 2);
    assert_int_equal(query(f, "SELECT min(attempt) FROM attempt"), 4);
}

static void
a_queues_entry_counts_when_it_has_changed(void **state)
{
    struct fixture *f = *state;
    struct store_queue_conf file = {.parallel = 2},
                            hand = {.parallel = 7, .paused = true};
    struct store_queue q;
    int64_t id;

    begin(f);
    ok(f, store_queue_find(f->st, "mail", true, &id));
    ok(f, store_queue_apply(f->st, id, &file));
    assert_int_equal(store_queue_get(f->st, id, &q), 0);
    assert_int_equal(q.conf.parallel, 2);
    ok(f, store_queue_set(f->st, id, &hand));
    commit(f);
    fixture_reopen(f);
    begin(f);
    ok(f, store_queue_apply(f->st, id, &file));
    assert_int_equal(store_queue_get(f->st, id, &q), 0);
    assert_int_equal(q.conf.parallel, 7);
    assert_true(q.conf.paused);
    file.rate = 0.5;
    ok(f, store_queue_apply(f->st, id, &file));
    assert_int_equal(store_queue_get(f->st, id, &q), 0);
    assert_int_equal(q.conf.parallel, 2);
    assert_false(q.conf.paused);
    commit(f);
}

static void
what_a_job_waits_for_is_not_purged(void **state)
{
    struct fixture *f = *state;
    struct store_dep dep = {.mode = STORE_ON_FINISH};
    struct store_submit open = {.n_jobs = 0};
    struct store_submitted b;
    struct store_claimed c;
    int64_t id;

    begin(f);
    ok(f, store_submit(f->st, &open, NULL, &b));
    commit(f);
    submit(f, b.batch, 1, &id);
    dep.id = b.batch;
    submit_job(f, 0, &(struct store_new_job){.lane = LANE, .deps = &dep, .n_deps = 1});
    c = claim_one(f, LANE);
    assert_int_equal(finish(f, &c, STORE_END_SUCCEEDED), 0);
    begin(f);
    assert_int_equal(store_purge_job(f->st, id, STORE_SUCCEEDED), -EBUSY);
    ok(f, store_batch_close(f->st, b.batch));
    commit(f);
    steps(f);
    begin(f);
    assert_int_equal(store_purge_job(f->st, id, STORE_FAILED), -EBUSY);
    assert_int_equal(store_purge_job(f->st, id, STORE_SUCCEEDED), 0);
    assert_int_equal(store_purge_job(f->st, id, STORE_SUCCEEDED), -ENOENT);
    commit(f);
    verify(f);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(keys_and_places_become_ids_and_the_spec_is_told),
        CASE(a_refused_message_leaves_nothing),
        CASE(a_retried_job_waits_again_unless_that_is_hopeless),
        CASE(a_retry_that_closes_a_cycle_is_refused),
        CASE(a_cancelled_job_closes_no_cycle),
        CASE(a_batch_that_is_being_cancelled_closes_no_cycle),
        CASE(a_late_batch_that_is_slow_to_end_hides_no_other_deadline),
        CASE(a_reason_joins_the_error_of_the_attempt_before),
        CASE(history_is_kept_within_what_was_set),
        CASE(a_queues_entry_counts_when_it_has_changed),
        CASE(what_a_job_waits_for_is_not_purged),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
