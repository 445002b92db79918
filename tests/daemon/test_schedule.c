#include "tests/daemon/storetest.h"

#include <errno.h>
#include <string.h>

#include "daemon/schedule/record.h"
#include "daemon/store/schedule.h"

/* Runs recorded in a real store: once, with their batches, or not at all. */

#define HOUR INT64_C(3600000)

struct submitter {
    int n;
    int refuse; /* the n-th submission is refused with this */
    int refuse_at;
    int64_t after[8];
};

static int
submit_run(void *arg, struct store *st, int64_t schedule, int64_t nominal, int64_t after,
           int64_t *ret_batch)
{
    struct submitter *s = arg;
    struct store_dep dep = {.id = after, .mode = STORE_ON_FINISH};
    struct store_new_job job = {
        .lane = LANE, .spec = "run", .spec_len = 3, .deps = &dep, .n_deps = after != 0};
    struct store_submit sub = {.jobs = &job, .n_jobs = 1, .close = true};
    struct store_submitted done;
    int64_t id;
    int r;

    assert_true(schedule > 0 && nominal > 0);
    if (s->refuse != 0 && s->n == s->refuse_at)
        return s->refuse;
    s->after[s->n++] = after;
    r = store_submit(st, &sub, &id, &done);
    *ret_batch = done.batch;
    return r;
}

static int64_t
make(struct fixture *f, int64_t next)
{
    static char name[] = "nightly";
    struct store_schedule s = {.name = name, .next_at = next};
    int64_t id;

    begin(f);
    ok(f, store_schedule_put(f->st, &s, &id));
    commit(f);
    return id;
}

/* n runs, an hour apart, from `at`. */
static struct sched_fire
fire_of(int64_t id, int overlap, int64_t at, size_t n)
{
    struct sched_fire fi = {.id = id, .overlap = overlap, .from = at, .n = n};

    for (size_t i = 0; i < n; i++)
        fi.runs[i] = (struct sched_run){.at = at + (int64_t)i * HOUR,
                                        .next = at + (int64_t)(i + 1) * HOUR};
    fi.next = at + (int64_t)n * HOUR;
    fi.last = fi.next - HOUR;
    return fi;
}

static int
record(struct fixture *f, struct sched_fire *fi, struct submitter *s)
{
    int r;

    begin(f);
    r = sched_record(f->st, fi, &(struct sched_submit){submit_run, s});
    commit(f);
    return r;
}

static const int SKIP = PB_SCHEDULE_SPEC__OVERLAP__OVERLAP_SKIP;
static const int QUEUE = PB_SCHEDULE_SPEC__OVERLAP__OVERLAP_QUEUE;
static const int ALLOW = PB_SCHEDULE_SPEC__OVERLAP__OVERLAP_ALLOW;

static void
a_run_is_submitted_once_and_moves_its_row(void **state)
{
    struct fixture *f = *state;
    struct submitter s = {.n = 0};
    int64_t id = make(f, T0);
    struct sched_fire fi = fire_of(id, SKIP, T0, 1), again = fi;

    assert_int_equal(record(f, &fi, &s), 0);
    assert_int_equal(fi.done, 1);
    assert_int_equal(fi.runs[0].verdict, SCHED_RUN);
    fixture_crash(f);
    assert_int_equal(query(f, "SELECT next_at FROM schedule"), T0 + HOUR);
    assert_int_equal(query(f, "SELECT last_at FROM schedule"), T0);
    assert_int_equal(query(f, "SELECT runs FROM schedule"), 1);
    assert_int_equal(query(f, "SELECT batch FROM schedule"), fi.runs[0].batch);
    /* The same fire, as an engine that never heard the answer would bring it. */
    assert_int_equal(record(f, &again, &s), -ESTALE);
    assert_int_equal(again.row_next, T0 + HOUR);
    assert_int_equal(query(f, "SELECT count(*) FROM batch"), 1);
    verify(f);
}

static void
a_crash_before_the_commit_leaves_the_run_due(void **state)
{
    struct fixture *f = *state;
    struct submitter s = {.n = 0};
    int64_t id = make(f, T0);
    struct sched_fire fi = fire_of(id, SKIP, T0, 1);

    begin(f);
    ok(f, sched_record(f->st, &fi, &(struct sched_submit){submit_run, &s}));
    fixture_crash(f);
    assert_int_equal(query(f, "SELECT next_at FROM schedule"), T0);
    assert_int_equal(query(f, "SELECT count(*) FROM job"), 0);
    assert_int_equal(record(f, &fi, &s), 0);
    assert_int_equal(query(f, "SELECT count(*) FROM job"), 1);
    verify(f);
}

static void
an_unfinished_run_makes_the_next_one_skip(void **state)
{
    struct fixture *f = *state;
    struct submitter s = {.n = 0};
    int64_t id = make(f, T0);
    struct sched_fire fi = fire_of(id, SKIP, T0, 3);
    struct store_claimed c;

    assert_int_equal(record(f, &fi, &s), 0);
    assert_int_equal(fi.done, 3);
    assert_int_equal(fi.runs[1].verdict, SCHED_SKIP);
    assert_int_equal(fi.runs[2].verdict, SCHED_SKIP);
    assert_int_equal(query(f, "SELECT runs FROM schedule"), 1);
    assert_int_equal(query(f, "SELECT next_at FROM schedule"), T0 + 3 * HOUR);
    c = claim_one(f, LANE);
    fi = fire_of(id, SKIP, T0 + 3 * HOUR, 1);
    assert_int_equal(record(f, &fi, &s), 0);
    assert_int_equal(fi.runs[0].verdict, SCHED_SKIP);
    assert_int_equal(finish(f, &c, STORE_END_SUCCEEDED), 0);
    fi = fire_of(id, SKIP, T0 + 4 * HOUR, 1);
    assert_int_equal(record(f, &fi, &s), 0);
    assert_int_equal(fi.runs[0].verdict, SCHED_RUN);
    verify(f);
}

static void
queued_runs_wait_for_one_another(void **state)
{
    struct fixture *f = *state;
    struct submitter s = {.n = 0};
    int64_t id = make(f, T0);
    struct sched_fire fi = fire_of(id, QUEUE, T0, 3);
    struct store_claimed c;

    assert_int_equal(record(f, &fi, &s), 0);
    assert_int_equal(s.n, 3);
    assert_int_equal(s.after[0], 0);
    assert_int_equal(s.after[1], fi.runs[0].batch);
    assert_int_equal(s.after[2], fi.runs[1].batch);
    assert_int_equal(fi.waiting_now, 2);
    for (int i = 0; i < 3; i++) {
        c = claim_one(f, LANE); /* one at a time */
        assert_int_equal(c.batch, fi.runs[i].batch);
        assert_int_equal(finish(f, &c, i == 1 ? STORE_END_FAILED : STORE_END_SUCCEEDED),
                         0);
        begin(f);
        while (store_deps_step(f->st, 100) > 0)
            ;
        commit(f);
    }
    fi = fire_of(id, QUEUE, T0 + 3 * HOUR, 1);
    fi.waiting = 2;
    assert_int_equal(record(f, &fi, &s), 0);
    assert_int_equal(s.after[3], 0);
    assert_int_equal(fi.waiting_now, 0);
    verify(f);
}

static void
the_line_of_queued_runs_is_bounded(void **state)
{
    struct fixture *f = *state;
    struct submitter s = {.n = 0};
    int64_t id = make(f, T0);
    struct sched_fire fi = fire_of(id, QUEUE, T0, 3);

    fi.waiting = SCHED_WAITING_MAX - 1;
    submit(f, 0, 1, NULL); /* nothing of the schedule's */
    assert_int_equal(record(f, &fi, &s), 0);
    assert_int_equal(fi.waiting_now,
                     2); /* nothing was unfinished: the count began anew */
    fi = fire_of(id, QUEUE, T0 + 3 * HOUR, 3);
    fi.waiting = SCHED_WAITING_MAX - 1;
    assert_int_equal(record(f, &fi, &s), 0);
    assert_int_equal(fi.runs[0].verdict, SCHED_WAIT);
    assert_int_equal(fi.runs[1].verdict, SCHED_SKIP);
    assert_int_equal(fi.runs[2].verdict, SCHED_SKIP);
    verify(f);
}

static void
allowed_runs_go_side_by_side(void **state)
{
    struct fixture *f = *state;
    struct submitter s = {.n = 0};
    int64_t id = make(f, T0);
    struct sched_fire fi = fire_of(id, ALLOW, T0, 3);

    assert_int_equal(record(f, &fi, &s), 0);
    assert_int_equal(query(f, "SELECT count(*) FROM job WHERE state = %d", STORE_QUEUED),
                     3);
    assert_int_equal(s.after[2], 0);
    verify(f);
}

static void
missed_runs_move_the_row_without_a_run(void **state)
{
    struct fixture *f = *state;
    struct submitter s = {.n = 0};
    int64_t id = make(f, T0);
    struct sched_fire fi = {
        .id = id, .from = T0, .next = T0 + 9 * HOUR, .last = T0 + 8 * HOUR};

    assert_int_equal(record(f, &fi, &s), 0);
    assert_int_equal(query(f, "SELECT next_at FROM schedule"), T0 + 9 * HOUR);
    assert_int_equal(query(f, "SELECT last_at FROM schedule"), T0 + 8 * HOUR);
    assert_int_equal(query(f, "SELECT runs FROM schedule"), 0);
    /* The last of them only. */
    fi = fire_of(id, SKIP, T0 + 12 * HOUR, 1);
    fi.from = T0 + 9 * HOUR;
    assert_int_equal(record(f, &fi, &s), 0);
    assert_int_equal(query(f, "SELECT last_at FROM schedule"), T0 + 12 * HOUR);
    assert_int_equal(query(f, "SELECT runs FROM schedule"), 1);
    /* And never again. */
    fi = fire_of(id, ALLOW, T0 + 13 * HOUR, 1);
    fi.next = fi.runs[0].next = 0;
    assert_int_equal(record(f, &fi, &s), 0);
    assert_int_equal(query(f, "SELECT next_at FROM schedule"), 0);
}

static void
what_is_lost_is_counted_in_the_row(void **state)
{
    struct fixture *f = *state;
    struct submitter s = {.n = 0};
    int64_t id = make(f, T0);
    struct sched_fire fi = fire_of(id, SKIP, T0, 3);

    fi.missed = 5;
    assert_int_equal(record(f, &fi, &s), 0);
    assert_int_equal(query(f, "SELECT missed_runs FROM schedule"), 5);
    assert_int_equal(query(f, "SELECT skipped_runs FROM schedule"), 2);
    fi = (struct sched_fire){
        .id = id, .from = T0 + 3 * HOUR, .next = 0, .last = T0 + 5 * HOUR, .missed = 2};
    assert_int_equal(record(f, &fi, &s), 0);
    assert_int_equal(query(f, "SELECT missed_runs FROM schedule"), 7);
    assert_int_equal(query(f, "SELECT skipped_runs FROM schedule"), 2);
}

static void
a_paused_schedule_does_not_run_though_its_time_stands(void **state)
{
    struct fixture *f = *state;
    struct submitter s = {.n = 0};
    int64_t id = make(f, T0);
    struct sched_fire fi = fire_of(id, ALLOW, T0, 1);

    begin(f);
    ok(f, store_schedule_pause(f->st, id, true, T0));
    commit(f);
    assert_int_equal(record(f, &fi, &s), -ESTALE);
    assert_int_equal(fi.row_next, T0);
    assert_int_equal(query(f, "SELECT count(*) FROM job"), 0);
    begin(f);
    ok(f, store_schedule_pause(f->st, id, false, T0));
    commit(f);
    assert_int_equal(record(f, &fi, &s), 0);
    assert_int_equal(query(f, "SELECT count(*) FROM job"), 1);
}

/* A schedule's batch bears a name that may be open elsewhere, and leaves that alone. */
static void
a_batch_made_alone_joins_no_open_one(void **state)
{
    struct fixture *f = *state;
    struct store_new_job job = {.lane = LANE, .spec = "run", .spec_len = 3};
    struct store_new_batch open = {.name = "nightly"},
                           alone = {.name = "nightly", .alone = true, .schedule = 7};
    struct store_submit first = {.fresh = &open, .jobs = &job, .n_jobs = 1},
                        sub = {.fresh = &alone, .jobs = &job, .n_jobs = 1, .close = true};
    struct store_submitted a, b, c;

    begin(f);
    ok(f, store_submit(f->st, &first, NULL, &a));
    ok(f, store_submit(f->st, &sub, NULL, &b));
    ok(f, store_submit(f->st, &sub, NULL, &c));
    commit(f);
    assert_true(a.batch != b.batch && b.batch != c.batch && a.batch != c.batch);
    assert_int_equal(query(f, "SELECT count(*) FROM batch WHERE schedule = 7"), 2);
    assert_int_equal(query(f, "SELECT flags FROM batch WHERE id = %ld", (long)a.batch),
                     0);
    begin(f);
    ok(f, store_submit(f->st, &first, NULL, &c));
    commit(f);
    assert_int_equal(c.batch, a.batch);
    verify(f);
}

static void
a_refused_submission_leaves_the_rest_for_later(void **state)
{
    struct fixture *f = *state;
    struct submitter s = {.refuse = -EBUSY, .refuse_at = 2};
    int64_t id = make(f, T0);
    struct sched_fire fi = fire_of(id, ALLOW, T0, 4);

    assert_int_equal(record(f, &fi, &s), 0);
    assert_int_equal(fi.done, 2);
    assert_int_equal(query(f, "SELECT next_at FROM schedule"), T0 + 2 * HOUR);
    assert_int_equal(query(f, "SELECT runs FROM schedule"), 2);
    fi = fire_of(id, ALLOW, T0 + 2 * HOUR, 2);
    assert_int_equal(record(f, &fi, &s), -EBUSY);
    assert_int_equal(query(f, "SELECT next_at FROM schedule"), T0 + 2 * HOUR);
    s.refuse = -EINVAL; /* never to be submitted: not tried again for ever */
    assert_int_equal(record(f, &fi, &s), 0);
    assert_int_equal(fi.runs[0].verdict, SCHED_SKIP);
    assert_int_equal(query(f, "SELECT next_at FROM schedule"), T0 + 4 * HOUR);
    assert_int_equal(query(f, "SELECT runs FROM schedule"), 2);
    verify(f);
}

static void
a_deleted_schedule_does_not_run(void **state)
{
    struct fixture *f = *state;
    struct submitter s = {.n = 0};
    int64_t id = make(f, T0);
    struct sched_fire fi = fire_of(id, ALLOW, T0, 1);

    begin(f);
    ok(f, store_schedule_delete(f->st, id));
    commit(f);
    assert_int_equal(record(f, &fi, &s), -ENOENT);
    assert_int_equal(query(f, "SELECT count(*) FROM job"), 0);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_run_is_submitted_once_and_moves_its_row),
        CASE(a_crash_before_the_commit_leaves_the_run_due),
        CASE(an_unfinished_run_makes_the_next_one_skip),
        CASE(queued_runs_wait_for_one_another),
        CASE(the_line_of_queued_runs_is_bounded),
        CASE(allowed_runs_go_side_by_side),
        CASE(missed_runs_move_the_row_without_a_run),
        CASE(what_is_lost_is_counted_in_the_row),
        CASE(a_paused_schedule_does_not_run_though_its_time_stands),
        CASE(a_batch_made_alone_joins_no_open_one),
        CASE(a_refused_submission_leaves_the_rest_for_later),
        CASE(a_deleted_schedule_does_not_run),
    };

    return cmocka_run_group_tests_name("schedule", tests, NULL, NULL);
}
