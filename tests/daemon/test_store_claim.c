#include "tests/daemon/storetest.h"

#include <errno.h>
#include <stdlib.h>

/* Who runs first: priority, fairness between batches, time, limits; and scheduled jobs. */

static void
higher_priority_goes_first(void **state)
{
    struct fixture *f = *state;
    int64_t low = submit_job(f, 0, &(struct store_new_job){.lane = LANE, .prio = -5});
    int64_t mid = submit_job(f, 0, &(struct store_new_job){.lane = LANE});
    int64_t high = submit_job(f, 0, &(struct store_new_job){.lane = LANE, .prio = 9});
    struct store_claims c = claim(f, LANE, 10);

    assert_int_equal(c.n, 3);
    assert_int_equal(c.v[0].id, high);
    assert_int_equal(c.v[1].id, mid);
    assert_int_equal(c.v[2].id, low);
    assert_int_equal(c.v[2].prio, -5);
    store_claims_fini(&c);
    verify(f);
}

static void
a_huge_batch_does_not_starve_a_small_one(void **state)
{
    struct fixture *f = *state;
    struct store_claims c;
    int64_t small;
    size_t at = 0;

    submit(f, 0, 5000, NULL);
    submit(f, 0, 5000, NULL);
    small = submit(f, 0, 3, NULL);
    c = claim(f, LANE, 200);
    assert_int_equal(c.n, 200);
    for (size_t i = 0; i < c.n; i++)
        if (c.v[i].batch == small)
            at++;
    assert_int_equal(at, 3);
    store_claims_fini(&c);
}

static void
single_claims_take_batches_in_turn(void **state)
{
    struct fixture *f = *state;
    int64_t seen[6];

    submit(f, 0, 100, NULL);
    submit(f, 0, 100, NULL);
    submit(f, 0, 100, NULL);
    for (int i = 0; i < 6; i++)
        seen[i] = claim_one(f, LANE).batch;
    for (int i = 0; i < 3; i++)
        assert_int_equal(seen[i], seen[i + 3]);
    assert_int_not_equal(seen[0], seen[1]);
    assert_int_not_equal(seen[1], seen[2]);
    assert_int_not_equal(seen[0], seen[2]);
    verify(f);
}

static void
every_job_of_a_mixed_message_is_claimed_once_from_its_lane(void **state)
{
    struct fixture *f = *state;
    enum { N = 2000, LANES = 40 };
    struct store_new_job *jobs = calloc(N, sizeof(*jobs));
    struct store_submit sub = {.jobs = jobs, .n_jobs = N, .close = true};
    struct store_submitted done;
    unsigned char *seen = calloc(N + 1, 1);
    size_t total = 0;

    for (int i = 0; i < N; i++)
        jobs[i] = (struct store_new_job){.lane = STORE_LANE(0, i % 5, 0), .prio = i % 8};
    begin(f);
    ok(f, store_submit(f->st, &sub, NULL, &done));
    commit(f);
    verify(f);
    for (int lane = 0; lane < 5; lane++) {
        struct store_claims c = claim(f, STORE_LANE(0, lane, 0), N);

        for (size_t i = 0; i < c.n; i++) {
            int64_t k = c.v[i].id - done.first;

            assert_int_equal(k % 5, lane);
            assert_int_equal(seen[k]++, 0);
            if (i > 0)
                assert_true(c.v[i - 1].prio >= c.v[i].prio);
        }
        total += c.n;
        store_claims_fini(&c);
    }
    assert_int_equal(total, N);
    assert_int_equal(query(f, "SELECT count(*) FROM ready"), 0);
    verify(f);
    free(jobs);
    free(seen);
}

static void
max_parallel_bounds_what_runs_of_a_batch(void **state)
{
    struct fixture *f = *state;
    struct store_new_batch fresh = {.max_parallel = 3};
    struct store_new_job jobs[10];
    struct store_submit sub = {
        .fresh = &fresh, .jobs = jobs, .n_jobs = 10, .close = true};
    struct store_submitted done;
    struct store_claims c, d;

    for (int i = 0; i < 10; i++)
        jobs[i] = (struct store_new_job){.lane = LANE};
    begin(f);
    ok(f, store_submit(f->st, &sub, NULL, &done));
    commit(f);
    submit(f, 0, 2, NULL);
    c = claim(f, LANE, 100);
    assert_int_equal(c.n, 5);
    d = claim(f, LANE, 100);
    assert_int_equal(d.n, 0);
    store_claims_fini(&d);
    for (size_t i = 0; i < c.n; i++)
        assert_int_equal(finish(f, &c.v[i], STORE_END_SUCCEEDED), 0);
    d = claim(f, LANE, 100);
    assert_int_equal(d.n, 3);
    store_claims_fini(&c);
    store_claims_fini(&d);
    verify(f);
}

static void
the_bytes_of_a_claim_are_bounded(void **state)
{
    struct fixture *f = *state;
    static char spec[5000];
    struct store_claims c = {.v = NULL};

    for (int i = 0; i < 4; i++)
        submit_job(f, 0,
                   &(struct store_new_job){
                       .lane = LANE, .spec = spec, .spec_len = sizeof(spec)});
    begin(f);
    ok(f, store_claim(f->st, LANE, 100, 7000, &c));
    commit(f);
    assert_int_equal(c.n, 2);
    begin(f);
    ok(f, store_claim(f->st, LANE, 100, 1, &c));
    commit(f);
    assert_int_equal(c.n, 1);
    store_claims_fini(&c);
    verify(f);
}

static void
scheduled_jobs_wait_and_come_in_time_order_in_steps(void **state)
{
    struct fixture *f = *state;
    struct store_new_job jobs[300];
    struct store_submit sub = {.jobs = jobs, .n_jobs = 300, .close = true};
    struct store_submitted done;
    struct store_claims c;
    int64_t due;
    int n = 0, r;

    for (int i = 0; i < 300; i++)
        jobs[i] =
            (struct store_new_job){.lane = LANE, .run_at = f->now + 1000 * (1 + i % 3)};
    begin(f);
    ok(f, store_submit(f->st, &sub, NULL, &done));
    commit(f);
    verify(f);
    assert_int_equal(query(f, "SELECT n_scheduled FROM batch"), 300);
    assert_int_equal(store_next_due(f->st, &due), 1);
    assert_int_equal(due, f->now + 1000);
    f->now += 2000;
    do {
        begin(f);
        r = ok(f, store_promote(f->st, 70));
        commit(f);
        verify(f);
        n += r;
    } while (r > 0);
    assert_int_equal(n, 200);
    c = claim(f, LANE, 1000);
    assert_int_equal(c.n, 200);
    for (size_t i = 0; i < c.n; i++)
        assert_true(c.v[i].run_at <= f->now);
    assert_int_equal(query(f, "SELECT n_scheduled FROM batch"), 100);
    store_claims_fini(&c);
}

static void
lanes_with_work_are_listed_with_their_highest_priority(void **state)
{
    struct fixture *f = *state;
    int64_t lane;
    int32_t prio;

    begin(f);
    assert_int_equal(store_queue_find(f->st, "other", true, &lane), 1);
    commit(f);
    assert_int_equal(lane, 1);
    submit_job(f, 0, &(struct store_new_job){.lane = STORE_LANE(1, 2, 0), .prio = 1});
    submit_job(f, 0, &(struct store_new_job){.lane = STORE_LANE(1, 2, 0), .prio = 7});
    submit_job(f, 0, &(struct store_new_job){.lane = STORE_LANE(0, 4, 0), .prio = 3});
    assert_int_equal(store_lane_next(f->st, -1, &lane, &prio), 1);
    assert_int_equal(lane, STORE_LANE(0, 4, 0));
    assert_int_equal(prio, 3);
    assert_int_equal(store_lane_next(f->st, lane, &lane, &prio), 1);
    assert_int_equal(lane, STORE_LANE(1, 2, 0));
    assert_int_equal(prio, 7);
    assert_int_equal(store_lane_next(f->st, lane, &lane, &prio), 0);
    verify(f);
}

static void
queue_settings_and_counters_survive_reopening(void **state)
{
    struct fixture *f = *state;
    struct store_queue_conf conf = {true, 4, 2.5, 10};
    struct store_queue q;
    int64_t id;

    begin(f);
    assert_int_equal(store_queue_find(f->st, "slow", false, &id), 0);
    assert_int_equal(store_queue_find(f->st, "slow", true, &id), 1);
    ok(f, store_queue_set(f->st, id, &conf));
    assert_int_equal(store_queue_set(f->st, 77, &conf), -ENOENT);
    commit(f);
    submit_job(f, 0, &(struct store_new_job){.lane = STORE_LANE(id, 0, 0)});
    fixture_reopen(f);
    assert_int_equal(store_queue_get(f->st, id, &q), 0);
    assert_string_equal(q.name, "slow");
    assert_true(q.conf.paused && q.conf.parallel == 4 && q.conf.burst == 10);
    assert_true(q.conf.rate > 2.4 && q.conf.rate < 2.6);
    assert_int_equal(q.n[STORE_QUEUED - STORE_BLOCKED], 1);
    assert_int_equal(store_backlog(f->st), 1);
    verify(f);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(higher_priority_goes_first),
        CASE(a_huge_batch_does_not_starve_a_small_one),
        CASE(single_claims_take_batches_in_turn),
        CASE(every_job_of_a_mixed_message_is_claimed_once_from_its_lane),
        CASE(max_parallel_bounds_what_runs_of_a_batch),
        CASE(the_bytes_of_a_claim_are_bounded),
        CASE(scheduled_jobs_wait_and_come_in_time_order_in_steps),
        CASE(lanes_with_work_are_listed_with_their_highest_priority),
        CASE(queue_settings_and_counters_survive_reopening),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
