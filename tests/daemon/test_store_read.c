#include "tests/daemon/storetest.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/store/read.h"
#include "daemon/store/schedule.h"

/* What readers see; and retention, which takes away what they see. */

static struct store_reader *
reader(struct fixture *f)
{
    struct store_reader *rd = NULL;
    char err[256];

    if (store_reader_open(f->path, NULL, &rd, err, sizeof(err)) < 0)
        fail_msg("%s", err);
    return rd;
}

static const struct store_filter all = {.kind = -1, .queue = -1};

static void
a_job_reads_as_it_was_written(void **state)
{
    struct fixture *f = *state;
    struct store_reader *rd = reader(f);
    struct store_jobs jobs = {.v = NULL};
    struct store_attempts tries;
    struct store_claimed c;
    int64_t id = submit_job(
        f, 0,
        &(struct store_new_job){.lane = LANE, .prio = -3, .spec = "abc", .spec_len = 3});

    f->now += 10;
    c = claim_one(f, LANE);
    assert_int_equal(finish(f, &c, STORE_END_INTERRUPTED), 0);
    c = claim_one(f, LANE);
    assert_int_equal(finish(f, &c, STORE_END_SUCCEEDED), 0);
    assert_int_equal(store_read_job(rd, 99, 0, &jobs), 0);
    assert_int_equal(store_read_job(rd, id, STORE_WANT_SPEC | STORE_WANT_RESULT, &jobs),
                     1);
    assert_int_equal(jobs.v[0].state, STORE_SUCCEEDED);
    assert_int_equal(jobs.v[0].prio, -3);
    assert_int_equal(jobs.v[0].attempt, 2);
    assert_int_equal(jobs.v[0].created, T0);
    assert_int_equal(jobs.v[0].started, T0 + 10);
    assert_int_equal(jobs.v[0].spec_len, 3);
    assert_memory_equal(jobs.v[0].spec, "abc", 3);
    assert_memory_equal(jobs.v[0].result, "result", 6);
    store_jobs_free(&jobs);
    assert_int_equal(store_read_attempts(rd, id, &tries), 0);
    assert_int_equal(tries.n, 1);
    assert_int_equal(tries.v[0].outcome, STORE_END_INTERRUPTED);
    assert_string_equal(tries.v[0].error, "because");
    store_attempts_free(&tries);
    store_reader_close(rd);
}

static void
jobs_are_read_by_their_ids_in_that_order(void **state)
{
    struct fixture *f = *state;
    struct store_reader *rd = reader(f);
    struct store_claims c;
    struct store_jobs jobs;
    unsigned done = 1u << STORE_SUCCEEDED;
    int64_t first = 0, ids[60];

    (void)submit(f, 0, 60, &first);
    c = claim(f, LANE, 50);
    for (size_t i = 0; i < c.n; i++)
        if (i != 4)
            assert_int_equal(finish(f, &c.v[i], STORE_END_SUCCEEDED), 0);
    store_claims_fini(&c);
    for (int i = 0; i < 57; i++)
        ids[i] = first + i; /* one runs, seven wait */
    ids[57] = first + 9999;
    ids[58] = first + 2;
    assert_int_equal(
        store_read_jobs_of(rd, ids, 59, done, STORE_WANT_RESULT, SIZE_MAX, &jobs), 59);
    assert_int_equal(jobs.n, 50);
    assert_int_equal(jobs.v[4].id, first + 5);
    assert_int_equal(jobs.v[48].id, first + 49);
    assert_int_equal(jobs.v[49].id, first + 2);
    assert_memory_equal(jobs.v[49].result, "result", 6);
    store_jobs_free(&jobs);

    assert_in_range(store_read_jobs_of(rd, ids, 59, done, STORE_WANT_RESULT, 6, &jobs), 1,
                    58);
    assert_in_range(jobs.n, 1, 49);
    store_jobs_free(&jobs);
    store_reader_close(rd);
}

static void
lists_page_through_all_that_matches(void **state)
{
    struct fixture *f = *state;
    struct store_reader *rd = reader(f);
    int64_t a = submit(f, 0, 250, NULL), b = submit(f, 0, 40, NULL), at = 0;
    struct store_filter in_b = all, running = all;
    struct store_claims c = claim(f, LANE, 30);
    size_t n = 0;

    (void)a;
    in_b.batch = b;
    running.states = 1u << STORE_RUNNING;
    do {
        struct store_jobs jobs;

        assert_int_equal(store_read_jobs(rd, &all, at, 100, 0, &jobs), 0);
        n += jobs.n;
        at = jobs.next;
        store_jobs_free(&jobs);
    } while (at != 0);
    assert_int_equal(n, 290);
    n = 0;
    do {
        struct store_jobs jobs;

        assert_int_equal(store_read_jobs(rd, &in_b, at, 15, 0, &jobs), 0);
        for (size_t i = 0; i < jobs.n; i++)
            assert_int_equal(jobs.v[i].batch, b);
        n += jobs.n;
        at = jobs.next;
        store_jobs_free(&jobs);
    } while (at != 0);
    assert_int_equal(n, 40);
    n = 0;
    do {
        struct store_jobs jobs;

        assert_int_equal(store_read_jobs(rd, &running, at, 1000, 0, &jobs), 0);
        n += jobs.n;
        at = jobs.next;
        store_jobs_free(&jobs);
    } while (at != 0);
    assert_int_equal(n, c.n);
    store_claims_fini(&c);
    store_reader_close(rd);
}

static void
labels_select_jobs_and_the_jobs_of_batches(void **state)
{
    struct fixture *f = *state;
    struct store_reader *rd = reader(f);
    struct store_label team = {"team", "red"}, other = {"team", "blue"};
    struct store_new_batch fresh = {.labels = &team, .n_labels = 1};
    struct store_new_job jobs[3] = {{.lane = LANE}, {.lane = LANE}, {.lane = LANE}};
    struct store_submit sub = {.fresh = &fresh, .jobs = jobs, .n_jobs = 3, .close = true};
    struct store_submitted done;
    struct store_filter red = all;
    struct store_jobs got;

    begin(f);
    ok(f, store_submit(f->st, &sub, NULL, &done));
    commit(f);
    submit_job(f, 0,
               &(struct store_new_job){.lane = LANE, .labels = &team, .n_labels = 1});
    submit_job(f, 0,
               &(struct store_new_job){.lane = LANE, .labels = &other, .n_labels = 1});
    red.label_key = "team";
    red.label_value = "red";
    assert_int_equal(store_read_jobs(rd, &red, 0, 100, 0, &got), 0);
    assert_int_equal(got.n, 4);
    store_jobs_free(&got);
    store_reader_close(rd);
}

static void
events_are_numbered_without_a_gap_and_resume(void **state)
{
    struct fixture *f = *state;
    struct store_reader *rd = reader(f);
    struct store_events e;
    struct store_claims c;
    int64_t b = submit(f, 0, 3, NULL), from;

    c = claim(f, LANE, 3);
    for (size_t i = 0; i < c.n; i++)
        assert_int_equal(finish(f, &c.v[i], STORE_END_SUCCEEDED), 0);
    submit(f, 0, 1, NULL);
    store_claims_fini(&c);
    assert_int_equal(store_read_events(rd, 1, 0, 1000, &e), 0);
    assert_int_equal(e.n, 1 + 3 + 3 + 1 + 1);
    for (size_t i = 0; i < e.n; i++)
        assert_int_equal(e.v[i].seq, 1 + (int64_t)i);
    assert_int_equal(e.v[0].type, EVENT_ADDED);
    assert_int_equal(e.v[0].count, 3);
    assert_int_equal(e.v[7].type, EVENT_BATCH_END);
    assert_int_equal(e.v[7].state, STORE_SUCCEEDED);
    assert_int_equal(e.next, 10);
    from = e.v[4].seq;
    store_events_free(&e);
    fixture_crash(f);
    assert_int_equal(store_read_events(rd, from, b, 2, &e), 0);
    assert_int_equal(e.n, 2);
    assert_int_equal(e.v[0].seq, from);
    store_events_free(&e);
    store_reader_close(rd);
}

static void
why_counts_what_goes_first_and_names_what_is_waited_for(void **state)
{
    struct fixture *f = *state;
    struct store_reader *rd = reader(f);
    struct store_dep dep;
    struct store_why w;
    int64_t first, last, blocked;

    submit_job(f, 0, &(struct store_new_job){.lane = LANE, .prio = 5});
    submit(f, 0, 10, &first);
    last = first + 9;
    dep = (struct store_dep){.id = last, .on_job = true, .mode = STORE_ON_FINISH};
    blocked = submit_job(
        f, 0, &(struct store_new_job){.lane = LANE, .deps = &dep, .n_deps = 1});
    assert_int_equal(store_read_why(rd, last, &w), 1);
    assert_int_equal(w.state, STORE_QUEUED);
    assert_int_equal(w.ahead, 10);
    assert_int_equal(store_read_why(rd, blocked, &w), 1);
    assert_int_equal(w.state, STORE_BLOCKED);
    assert_int_equal(w.n_awaited, 1);
    assert_int_equal(w.n_awaited_all, 1);
    assert_true(w.awaited[0].is_job);
    assert_int_equal(w.awaited[0].id, last);
    assert_int_equal(store_read_why(rd, 999, &w), 0);
    store_reader_close(rd);
}

static int
keep_all(struct fixture *f, const struct store_keep *k)
{
    int r, steps = 0;

    do {
        begin(f);
        r = ok(f, store_keep_step(f->st, k, 50));
        commit(f);
        verify(f);
        steps++;
    } while (r > 0 && steps < 500);
    assert_true(steps < 500);
    return steps;
}

static void
retention_by_age_takes_the_old_in_steps_and_leaves_the_rest(void **state)
{
    struct fixture *f = *state;
    struct store_keep k = {.age_ms = 10000, .count = -1, .event_age_ms = 10000};
    struct store_claims c;
    int64_t old, young;

    old = submit(f, 0, 300, NULL);
    c = claim(f, LANE, 300);
    for (size_t i = 0; i < c.n; i++)
        assert_int_equal(finish(f, &c.v[i], STORE_END_SUCCEEDED), 0);
    store_claims_fini(&c);
    f->now += 9000;
    young = submit(f, 0, 100, NULL);
    c = claim(f, LANE, 100);
    for (size_t i = 0; i < c.n; i += 2)
        assert_int_equal(finish(f, &c.v[i], STORE_END_FAILED), 0);
    store_claims_fini(&c);
    keep_all(f, &k);
    assert_int_equal(query(f, "SELECT count(*) FROM job"), 400);
    f->now += 2000;
    assert_true(keep_all(f, &k) > 3);
    assert_int_equal(
        query(f, "SELECT count(*) FROM job WHERE batch = %lld", (long long)old), 0);
    assert_int_equal(query(f, "SELECT count(*) FROM result"), 50);
    assert_int_equal(query(f, "SELECT count(*) FROM batch"), 1);
    assert_int_equal(query(f, "SELECT id FROM batch"), young);
    assert_int_equal(query(f, "SELECT count(*) FROM job"), 100);
}

static void
retention_by_count_keeps_the_newest(void **state)
{
    struct fixture *f = *state;
    struct store_keep k = {.count = 10};
    struct store_claims c;

    submit(f, 0, 100, NULL);
    c = claim(f, LANE, 100);
    for (size_t i = 0; i < c.n; i++)
        assert_int_equal(finish(f, &c.v[i], STORE_END_SUCCEEDED), 0);
    store_claims_fini(&c);
    keep_all(f, &k);
    assert_int_equal(query(f, "SELECT count(*) FROM job"), 10);
    assert_int_equal(query(f, "SELECT min(id) FROM job"), 91);
    assert_int_equal(query(f, "SELECT n_succeeded FROM batch"), 100);
}

static void
pages_of_deleted_jobs_go_back_to_the_disk(void **state)
{
    struct fixture *f = *state;
    struct store_keep k = {.count = 0, .event_count = 1};
    struct store_claims c;
    int64_t before, after;

    submit(f, 0, 5000, NULL);
    c = claim(f, LANE, 5000);
    begin(f);
    for (size_t i = 0; i < c.n; i++) {
        struct store_finish fin = {.id = c.v[i].id,
                                   .attempt = 1,
                                   .lane = LANE,
                                   .batch = c.v[i].batch,
                                   .outcome = STORE_END_SUCCEEDED,
                                   .result = "r",
                                   .result_len = 1};

        ok(f, store_finish(f->st, &fin, NULL));
    }
    commit(f);
    store_claims_fini(&c);
    ok(f, store_tidy(f->st, 10000));
    before = store_disk_bytes(f->st);
    keep_all(f, &k);
    ok(f, store_tidy(f->st, 10000));
    after = store_disk_bytes(f->st);
    assert_true(after < before / 2);
    verify(f);
}

static void
a_schedule_runs_once_per_due_time_and_survives(void **state)
{
    struct fixture *f = *state;
    struct store_reader *rd = reader(f);
    char name[] = "nightly", spec[] = "spec";
    struct store_schedule s = {
        .name = name, .next_at = T0 + 100, .spec = spec, .spec_len = 4};
    struct store_schedule_head head;
    struct store_schedules got;
    int64_t id, again;

    begin(f);
    ok(f, store_schedule_put(f->st, &s, &id));
    ok(f, store_schedule_put(f->st, &s, &again));
    assert_int_equal(again, id);
    assert_int_equal(store_schedule_find(f->st, "nightly", 0, &head), 1);
    assert_true(head.id == id && head.next_at == T0 + 100 && !head.paused);
    assert_int_equal(store_schedule_find(f->st, "daily", 0, &head), 0);
    ok(f, store_schedule_ran(f->st, id, T0 + 100, T0 + 200, 7));
    assert_int_equal(store_schedule_ran(f->st, id, T0 + 100, T0 + 200, 8), -ESTALE);
    assert_int_equal(store_schedule_delete(f->st, 99), -ENOENT);
    commit(f);
    fixture_crash(f);
    assert_int_equal(store_read_schedule(rd, "nightly", 0, &got), 1);
    assert_int_equal(got.v[0].runs, 1);
    assert_int_equal(got.v[0].next_at, T0 + 200);
    assert_int_equal(got.v[0].batch, 7);
    assert_int_equal(got.v[0].last_at, T0 + 100);
    assert_memory_equal(got.v[0].spec, "spec", 4);
    store_schedules_free(&got);
    begin(f);
    ok(f, store_schedule_pause(f->st, id, true, T0 + 200));
    assert_int_equal(store_schedule_find(f->st, NULL, id, &head), 1);
    assert_true(head.paused);
    ok(f, store_schedule_delete(f->st, id));
    commit(f);
    assert_int_equal(store_read_schedules(rd, 0, 10, &got), 0);
    assert_int_equal(got.n, 0);
    store_schedules_free(&got);
    store_reader_close(rd);
    verify(f);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_job_reads_as_it_was_written),
        CASE(jobs_are_read_by_their_ids_in_that_order),
        CASE(lists_page_through_all_that_matches),
        CASE(labels_select_jobs_and_the_jobs_of_batches),
        CASE(events_are_numbered_without_a_gap_and_resume),
        CASE(a_schedule_runs_once_per_due_time_and_survives),
        CASE(why_counts_what_goes_first_and_names_what_is_waited_for),
        CASE(retention_by_age_takes_the_old_in_steps_and_leaves_the_rest),
        CASE(retention_by_count_keeps_the_newest),
        CASE(pages_of_deleted_jobs_go_back_to_the_disk),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
