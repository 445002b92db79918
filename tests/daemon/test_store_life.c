#include "tests/daemon/storetest.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* The life of a job: submit, claim, finish, retry, cancel; and batches as its company. */

static void
a_job_is_queued_run_and_ends_with_its_result(void **state)
{
    struct fixture *f = *state;
    int64_t id = submit_job(
        f, 0, &(struct store_new_job){.lane = LANE, .spec = "abc", .spec_len = 3});
    struct store_claims c = claim(f, LANE, 10);

    assert_int_equal(c.n, 1);
    assert_int_equal(c.v[0].id, id);
    assert_int_equal(c.v[0].attempt, 1);
    assert_memory_equal(c.v[0].spec, "abc", 3);
    assert_int_equal(state_of(f, id), STORE_RUNNING);
    assert_int_equal(finish(f, &c.v[0], STORE_END_SUCCEEDED), 0);
    assert_int_equal(state_of(f, id), STORE_SUCCEEDED);
    assert_int_equal(query(f, "SELECT count(*) FROM result WHERE data = x'726573756c74'"),
                     1);
    store_claims_fini(&c);
    verify(f);
}

static void
a_long_spec_comes_back_whole(void **state)
{
    struct fixture *f = *state;
    char spec[STORE_SPEC_INLINE * 20];
    struct store_claims c;

    memset(spec, 's', sizeof(spec));
    submit_job(
        f, 0,
        &(struct store_new_job){.lane = LANE, .spec = spec, .spec_len = sizeof(spec)});
    submit_job(f, 0, &(struct store_new_job){.lane = LANE, .spec = "x", .spec_len = 1});
    c = claim(f, LANE, 10);
    assert_int_equal(c.n, 2);
    assert_int_equal(c.v[0].spec_len, sizeof(spec));
    assert_memory_equal(c.v[0].spec, spec, sizeof(spec));
    assert_memory_equal(c.v[1].spec, "x", 1);
    store_claims_fini(&c);
    verify(f);
}

static void
a_finish_of_another_attempt_is_stale(void **state)
{
    struct fixture *f = *state;
    struct store_claimed first, second;

    submit(f, 0, 1, NULL);
    first = claim_one(f, LANE);
    assert_int_equal(finish(f, &first, STORE_END_INTERRUPTED), 0);
    second = claim_one(f, LANE);
    assert_int_equal(second.attempt, 2);
    assert_int_equal(finish(f, &first, STORE_END_SUCCEEDED), -ESTALE);
    assert_int_equal(finish(f, &first, STORE_END_FAILED), -ESTALE);
    assert_int_equal(state_of(f, first.id), STORE_RUNNING);
    assert_int_equal(finish(f, &second, STORE_END_SUCCEEDED), 0);
    assert_int_equal(finish(f, &second, STORE_END_SUCCEEDED), -ESTALE);
    assert_int_equal(query(f, "SELECT count(*) FROM result"), 1);
    verify(f);
}

/* The ends of all that c holds, in an order of their own; each result is the job's id. */
static void
ends_of(const struct store_claims *c, struct store_finish *fin,
        const struct store_finish **v)
{
    for (size_t i = 0; i < c->n; i++) {
        fin[i] = (struct store_finish){.id = c->v[i].id,
                                       .attempt = c->v[i].attempt,
                                       .lane = c->v[i].lane,
                                       .batch = c->v[i].batch,
                                       .outcome = STORE_END_SUCCEEDED,
                                       .result = &c->v[i].id,
                                       .result_len = sizeof(c->v[i].id)};
        v[i * 7 % c->n] = &fin[i];
    }
}

static void
ends_recorded_together_are_as_if_each_alone(void **state)
{
    struct fixture *f = *state;
    struct store_finish fin[60];
    const struct store_finish *v[60];
    struct event_cursor events;
    struct store_claims c;

    submit(f, 0, 60, NULL);
    c = claim(f, LANE, 60);
    assert_int_equal(c.n, 60);
    ends_of(&c, fin, v);
    fin[20].outcome = STORE_END_FAILED;
    fin[40].result = NULL;
    begin(f);
    ok(f, store_finish_all(f->st, v, 60));
    commit(f);
    assert_int_equal(store_committed(f->st, &events), 61); /* one is the batch's */
    for (int i = 0; i < 60; i++)
        assert_int_equal(state_of(f, fin[i].id),
                         i == 20 ? STORE_FAILED : STORE_SUCCEEDED);
    for (int i = 0; i < 60; i++)
        assert_int_equal(query(f,
                               "SELECT hex(substr(data, 1, 1)) = '%02X' FROM result"
                               " WHERE id = %d",
                               (unsigned)fin[i].id, (int)fin[i].id),
                         i == 40 ? -1 : 1);
    store_claims_fini(&c);
    verify(f);
}

static void
a_stale_end_among_many_spoils_the_transaction(void **state)
{
    struct fixture *f = *state;
    struct store_finish fin[20] = {{.id = 0}};
    const struct store_finish *v[20];
    struct store_claims c;

    submit(f, 0, 20, NULL);
    c = claim(f, LANE, 20);
    assert_int_equal(c.n, 20);
    ends_of(&c, fin, v);
    assert_int_equal(finish(f, &c.v[11], STORE_END_INTERRUPTED), 0);
    begin(f);
    assert_int_equal(store_finish_all(f->st, v, 20), -ESTALE);
    assert_true(store_broken(f->st));
    store_rollback(f->st);
    for (int i = 0; i < 20; i++)
        assert_int_equal(state_of(f, fin[i].id), i == 11 ? STORE_QUEUED : STORE_RUNNING);
    store_claims_fini(&c);
    verify(f);
}

static void
a_retry_waits_for_its_time_and_spends_an_attempt(void **state)
{
    struct fixture *f = *state;
    struct store_claims none;
    struct store_claimed c;
    int64_t due = 0;

    submit(f, 0, 1, NULL);
    c = claim_one(f, LANE);
    assert_int_equal(finish(f, &c, STORE_END_RETRY), 0);
    assert_int_equal(state_of(f, c.id), STORE_SCHEDULED);
    assert_int_equal(store_next_due(f->st, &due), 1);
    assert_int_equal(due, f->now + 1000);
    verify(f);
    begin(f);
    assert_int_equal(store_promote(f->st, 10), 0);
    commit(f);
    none = claim(f, LANE, 1);
    assert_int_equal(none.n, 0);
    store_claims_fini(&none);
    f->now += 1000;
    begin(f);
    assert_int_equal(store_promote(f->st, 10), 1);
    commit(f);
    verify(f);
    c = claim_one(f, LANE);
    assert_int_equal(c.attempt, 2);
    assert_int_equal(c.fails, 1);
    assert_int_equal(finish(f, &c, STORE_END_DEAD), 0);
    assert_int_equal(state_of(f, c.id), STORE_DEAD);
    assert_int_equal(query(f, "SELECT count(*) FROM attempt WHERE error = 'because'"), 2);
    verify(f);
}

static void
an_interrupted_job_spends_no_attempt_and_keeps_its_place(void **state)
{
    struct fixture *f = *state;
    struct store_claimed c;
    int64_t first;

    submit(f, 0, 3, &first);
    c = claim_one(f, LANE);
    assert_int_equal(c.id, first);
    assert_int_equal(finish(f, &c, STORE_END_INTERRUPTED), 0);
    c = claim_one(f, LANE);
    assert_int_equal(c.id, first);
    assert_int_equal(c.fails, 0);
    verify(f);
}

static void
the_attempt_history_is_bounded(void **state)
{
    struct fixture *f = *state;

    submit(f, 0, 1, NULL);
    for (int i = 0; i < 2 * STORE_ATTEMPTS_KEPT; i++) {
        struct store_claimed c = claim_one(f, LANE);

        assert_int_equal(finish(f, &c, STORE_END_INTERRUPTED), 0);
    }
    assert_int_equal(query(f, "SELECT count(*) FROM attempt"), STORE_ATTEMPTS_KEPT);
    assert_int_equal(query(f, "SELECT max(attempt) FROM attempt"),
                     2 * STORE_ATTEMPTS_KEPT);
}

static void
a_cancelled_waiting_job_never_runs(void **state)
{
    struct fixture *f = *state;
    enum store_state s;
    struct store_claims c;
    int64_t first;

    submit(f, 0, 3, &first);
    begin(f);
    assert_int_equal(store_cancel_job(f->st, first + 1, NULL, &s), 0);
    assert_int_equal(s, STORE_CANCELLED);
    assert_int_equal(store_cancel_job(f->st, first + 1, NULL, &s), 0);
    assert_int_equal(s, STORE_CANCELLED);
    assert_int_equal(store_cancel_job(f->st, 999, NULL, &s), -ENOENT);
    commit(f);
    c = claim(f, LANE, 10);
    assert_int_equal(c.n, 2);
    assert_int_equal(c.v[0].id, first);
    assert_int_equal(c.v[1].id, first + 2);
    store_claims_fini(&c);
    verify(f);
}

static void
a_cancelled_running_job_is_not_retried(void **state)
{
    struct fixture *f = *state;
    struct store_claimed c;
    enum store_state s;

    submit(f, 0, 1, NULL);
    c = claim_one(f, LANE);
    begin(f);
    assert_int_equal(store_cancel_job(f->st, c.id, NULL, &s), 0);
    commit(f);
    assert_int_equal(s, STORE_RUNNING);
    assert_int_equal(finish(f, &c, STORE_END_RETRY), 0);
    assert_int_equal(state_of(f, c.id), STORE_CANCELLED);
    verify(f);
}

static void
a_cancelled_batch_starts_nothing_more_and_takes_nothing_more(void **state)
{
    struct fixture *f = *state;
    struct store_submit more = {.n_jobs = 0};
    struct store_submitted done;
    struct store_claims c;
    struct store_claimed run;
    int64_t b = submit(f, 0, 1000, NULL);
    int n = 0, r;

    run = claim_one(f, LANE);
    begin(f);
    ok(f, store_cancel_batch(f->st, b, STORE_STOP_CLIENT));
    more.batch = b;
    assert_int_equal(store_submit(f->st, &more, NULL, &done), -ECANCELED);
    commit(f);
    c = claim(f, LANE, 10);
    assert_int_equal(c.n, 0);
    store_claims_fini(&c);
    do {
        begin(f);
        r = ok(f, store_cancel_step(f->st, 100));
        commit(f);
        verify(f);
        n += r;
    } while (r > 0);
    assert_true(n >= 1000);
    assert_int_equal(query(f, "SELECT n_cancelled FROM batch"), 999);
    assert_int_equal(query(f, "SELECT finished FROM batch"), 0);
    assert_int_equal(finish(f, &run, STORE_END_CANCELLED), 0);
    assert_true(query(f, "SELECT finished FROM batch") > 0);
    verify(f);
}

static void
the_first_failure_cancels_the_rest_of_a_fail_fast_batch(void **state)
{
    struct fixture *f = *state;
    struct store_new_batch fresh = {.fail_fast = true};
    struct store_new_job jobs[5];
    struct store_submit sub = {.fresh = &fresh, .jobs = jobs, .n_jobs = 5, .close = true};
    struct store_submitted done;
    struct store_claimed c;

    for (int i = 0; i < 5; i++)
        jobs[i] = (struct store_new_job){.lane = LANE};
    begin(f);
    ok(f, store_submit(f->st, &sub, NULL, &done));
    commit(f);
    c = claim_one(f, LANE);
    assert_int_equal(finish(f, &c, STORE_END_FAILED), 0);
    begin(f);
    assert_true(ok(f, store_cancel_step(f->st, 100)) > 0);
    commit(f);
    assert_int_equal(query(f, "SELECT n_cancelled FROM batch"), 4);
    assert_int_equal(query(f, "SELECT n_failed FROM batch"), 1);
    verify(f);
}

static void
a_batch_ends_when_it_is_closed_and_empty_and_not_before(void **state)
{
    struct fixture *f = *state;
    struct store_submit sub = {.n_jobs = 0};
    struct store_submitted done;
    struct store_claimed c;

    begin(f);
    ok(f, store_submit(f->st, &sub, NULL, &done));
    commit(f);
    submit(f, done.batch, 1, NULL);
    c = claim_one(f, LANE);
    assert_int_equal(finish(f, &c, STORE_END_SUCCEEDED), 0);
    assert_int_equal(query(f, "SELECT finished FROM batch"), 0);
    begin(f);
    ok(f, store_batch_close(f->st, done.batch));
    commit(f);
    assert_int_equal(query(f, "SELECT finished FROM batch"), f->now);
    sub.batch = done.batch;
    begin(f);
    assert_int_equal(store_submit(f->st, &sub, NULL, &done), -ESHUTDOWN);
    commit(f);
    verify(f);
}

static void
a_dead_job_can_be_retried_and_reopens_its_batch(void **state)
{
    struct fixture *f = *state;
    struct store_claimed c;

    submit(f, 0, 1, NULL);
    c = claim_one(f, LANE);
    begin(f);
    assert_int_equal(store_retry_job(f->st, c.id, NULL, 0), -EBUSY);
    commit(f);
    assert_int_equal(finish(f, &c, STORE_END_DEAD), 0);
    begin(f);
    ok(f, store_retry_job(f->st, c.id, NULL, 0));
    commit(f);
    verify(f);
    assert_int_equal(query(f, "SELECT finished FROM batch"), 0);
    c = claim_one(f, LANE);
    assert_int_equal(c.fails, 0);
    assert_int_equal(finish(f, &c, STORE_END_SUCCEEDED), 0);
    begin(f);
    assert_int_equal(store_retry_job(f->st, c.id, NULL, 0), -EBUSY);
    commit(f);
    verify(f);
}

static void
only_lawful_changes_of_state_are_allowed(void **state)
{
    (void)state;
    for (enum store_state s = STORE_BLOCKED; s < STORE_STATE_END; s++) {
        assert_false(store_state_may(s, s));
        assert_int_equal(store_state_may(s, STORE_BLOCKED),
                         s == STORE_FAILED || s == STORE_CANCELLED || s == STORE_DEAD);
        assert_int_equal(store_state_may(s, STORE_RUNNING), s == STORE_QUEUED);
        assert_int_equal(store_state_may(s, STORE_SUCCEEDED), s == STORE_RUNNING);
        assert_int_equal(store_state_parse(store_state_name(s)), s);
    }
    assert_false(store_state_may(STORE_SUCCEEDED, STORE_QUEUED));
    assert_int_equal(store_state_parse("nonsense"), 0);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_job_is_queued_run_and_ends_with_its_result),
        CASE(a_long_spec_comes_back_whole),
        CASE(a_finish_of_another_attempt_is_stale),
        CASE(ends_recorded_together_are_as_if_each_alone),
        CASE(a_stale_end_among_many_spoils_the_transaction),
        CASE(a_retry_waits_for_its_time_and_spends_an_attempt),
        CASE(an_interrupted_job_spends_no_attempt_and_keeps_its_place),
        CASE(the_attempt_history_is_bounded),
        CASE(a_cancelled_waiting_job_never_runs),
        CASE(a_cancelled_running_job_is_not_retried),
        CASE(a_cancelled_batch_starts_nothing_more_and_takes_nothing_more),
        CASE(the_first_failure_cancels_the_rest_of_a_fail_fast_batch),
        CASE(a_batch_ends_when_it_is_closed_and_empty_and_not_before),
        CASE(a_dead_job_can_be_retried_and_reopens_its_batch),
        CASE(only_lawful_changes_of_state_are_allowed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
