/* Time: sleeping, timers, tickers. Never early, on the real clock and on the virtual one. */
#define _GNU_SOURCE
#include <pthread.h>

#include "tests/support/await.h"
#include "tests/support/child.h"

static void
sleep_and_check(struct go_wg *wg, int i)
{
    int64_t ns = (int64_t)(i % 97) * 20 * GO_MICROSECOND, start = go_now();

    go_sleep(ns);
    CHECK(go_now() - start >= ns);
    go_wg_done(wg);
}

static void
sleep_many(int n)
{
    struct go_wg wg = GO_WG_INIT;

    go_wg_add(&wg, n);
    for (int i = 0; i < n; i++)
        CHECK(go(sleep_and_check, &wg, i) > 0);
    go_wg_wait(&wg);
}

GO_TEST(nobody_wakes_early)
{
    int old = go_maxprocs(4);

    for (int i = 0; i < 5; i++)
        sleep_many(ROUNDS(2000));
    go_maxprocs(1);
    sleep_many(ROUNDS(2000));
    go_maxprocs(old);
}

GO_TEST(no_sleep_returns_at_once_and_never_is_never)
{
    int64_t start = go_now();

    go_sleep(0);
    go_sleep(-5 * GO_SECOND);
    go_sleep_until(0);
    go_sleep_until(start);
    CHECK(go_now() - start < 30 * GO_SECOND);
    CHECK(go_deadline(GO_NEVER) == GO_NEVER);
    CHECK(go_deadline(GO_NEVER - 1) == GO_NEVER);
    CHECK(go_deadline(0) <= go_now());
}

GO_TEST(after_sends_the_time_once)
{
    int64_t start = go_now(), at = 0;
    struct go_chan *c = go_after(GO_MILLISECOND), *now = go_after(-1);

    CHECK(go_chan_recv(c, &at));
    CHECK(at - start >= GO_MILLISECOND && at <= go_now());
    CHECK_INT(go_chan_try_recv(c, NULL), -EAGAIN);
    CHECK(go_chan_recv(now, &at));
    CHECK(at >= start);
    go_chan_unref(c);
    go_chan_unref(now);
    go_chan_unref(go_after(10 * GO_MILLISECOND)); /* fires with nobody there */
}

static void
count_up(void *arg)
{
    __atomic_fetch_add((uint32_t *)arg, 1, __ATOMIC_RELAXED);
}

GO_TEST(after_func_runs_in_a_goroutine_unless_stopped)
{
    uint32_t n = 0, never = 0;
    struct go_timer *t = go_after_func(GO_MILLISECOND, count_up, &n);
    struct go_timer *stopped = go_after_func(GO_SECOND * 3600, count_up, &never);

    CHECK(go_timer_chan(t) == NULL);
    CHECK(go_timer_stop(stopped));
    CHECK(!go_timer_stop(stopped));
    AWAIT(__atomic_load_n(&n, __ATOMIC_RELAXED) == 1);
    CHECK(!go_timer_stop(t));
    CHECK(!go_timer_reset(t, 0));
    AWAIT(__atomic_load_n(&n, __ATOMIC_RELAXED) == 2);
    go_timer_free(t);
    go_timer_free(stopped);
    go_timer_free(NULL);
    CHECK_INT(never, 0);
}

/* Go 1.23: nothing of before is received after stop or reset returned. */
GO_TEST(nothing_stale_comes_after_stop_or_reset)
{
    struct go_timer *t = go_timer_new(0);
    struct go_chan *c = go_timer_chan(t);
    int64_t at = 0, asked;

    AWAIT(go_chan_len(c) == 1); /* fired, but not received: still armed to its owner */
    CHECK(go_timer_stop(t));
    CHECK_INT(go_chan_try_recv(c, NULL), -EAGAIN);
    CHECK(!go_timer_reset(t, 0));
    AWAIT(go_chan_len(c) == 1);
    asked = go_now();
    CHECK(go_timer_reset(t, GO_MILLISECOND));
    CHECK(go_chan_recv(c, &at));
    CHECK(at - asked >= GO_MILLISECOND);
    CHECK(!go_timer_stop(t));
    go_timer_free(t);
}

static void
race_resets(int rounds)
{
    struct go_timer *t = go_timer_new(0);
    struct go_chan *c = go_timer_chan(t);

    for (int i = 0; i < rounds; i++) {
        int64_t ns = i % 7 * GO_MICROSECOND, asked = go_now(), at = 0;

        (void)go_timer_reset(t, ns);
        if (i % 3 == 0) {
            CHECK(go_chan_recv(c, &at));
            CHECK(at - asked >= ns);
            CHECK(!go_timer_stop(t));
        } else if (i % 3 == 1) {
            (void)go_timer_stop(t);
            CHECK_INT(go_chan_try_recv(c, NULL), -EAGAIN);
        } else if (go_chan_try_recv(c, &at) == 1) {
            CHECK(at - asked >= ns);
        }
    }
    go_timer_free(t);
}

static void
race_in_parallel(struct go_wg *wg, int rounds)
{
    race_resets(rounds);
    go_wg_done(wg);
}

GO_TEST(stop_and_reset_race_with_firing)
{
    struct go_wg wg = GO_WG_INIT;
    int old = go_maxprocs(4);

    go_wg_add(&wg, 4);
    for (int i = 0; i < 4; i++)
        CHECK(go(race_in_parallel, &wg, ROUNDS(5000)) > 0);
    go_wg_wait(&wg);
    go_maxprocs(old);
}

struct shared {
    struct go_timer *t;
    struct go_wg wg;
    uint32_t fired, armed; /* atomic */
};

static void
fiddle(struct shared *s, int rounds)
{
    for (int i = 0; i < rounds; i++) {
        if (i % 2 == 0)
            (void)go_timer_reset(s->t, i % 5 * GO_MICROSECOND);
        else
            (void)go_timer_stop(s->t);
        if (i % 16 == 0)
            go_yield();
    }
    go_wg_done(&s->wg);
}

GO_TEST(many_may_stop_and_reset_one_timer)
{
    struct shared s = {.wg = GO_WG_INIT};
    int old = go_maxprocs(4);
    uint32_t n;

    s.t = go_after_func(0, count_up, &s.fired);
    go_wg_add(&s.wg, 4);
    for (int i = 0; i < 4; i++)
        CHECK(go(fiddle, &s, ROUNDS(5000)) > 0);
    go_wg_wait(&s.wg);
    (void)go_timer_stop(s.t);
    AWAIT(go_num_goroutine() < 20); /* functions started before the stop have run */
    n = __atomic_load_n(&s.fired, __ATOMIC_RELAXED);
    CHECK(n <= 4 * 5000 + 1);
    CHECK(!go_timer_reset(s.t, 0));
    AWAIT(__atomic_load_n(&s.fired, __ATOMIC_RELAXED) >= n + 1);
    go_timer_free(s.t);
    go_maxprocs(old);
}

GO_TEST(a_ticker_ticks_in_step_and_drops_what_nobody_takes)
{
    int64_t start = go_now(), last = start, at = 0;
    struct go_timer *t = go_ticker_new(GO_MILLISECOND);
    struct go_chan *c = go_timer_chan(t);

    for (int i = 1; i <= 10; i++) {
        CHECK(go_chan_recv(c, &at));
        CHECK(at - start >= i * GO_MILLISECOND); /* never more than were due */
        CHECK(at > last);
        last = at;
    }
    go_sleep(5 * GO_MILLISECOND);
    CHECK(go_chan_len(c) <= 1);
    CHECK(go_timer_stop(t));
    CHECK_INT(go_chan_try_recv(c, NULL), -EAGAIN);
    start = go_now();
    CHECK(!go_timer_reset(t, 2 * GO_MILLISECOND));
    CHECK(go_chan_recv(c, &at));
    CHECK(go_chan_recv(c, &at));
    CHECK(at - start >= 4 * GO_MILLISECOND);
    go_timer_free(t);
}

/* 10 000 timers armed in every order and half of them stopped: the others fire. */
GO_TEST(a_crowd_of_timers_fires_all_but_the_stopped)
{
    enum { N = 10000 };
    struct go_timer **t = (struct go_timer **)calloc(N, sizeof(struct go_timer *));
    uint32_t fired = 0, stopped = 0;
    int old = go_maxprocs(3);

    for (int i = 0; i < N; i++)
        t[i] =
            go_after_func((int64_t)(i * 7919 % N) * 2 * GO_MICROSECOND, count_up, &fired);
    for (int i = 0; i < N; i += 2)
        stopped += go_timer_stop(t[i]);
    AWAIT(__atomic_load_n(&fired, __ATOMIC_RELAXED) == N - stopped);
    for (int i = 0; i < N; i++)
        go_timer_free(t[i]);
    CHECK_INT(__atomic_load_n(&fired, __ATOMIC_RELAXED), N - stopped);
    free((void *)t);
    go_maxprocs(old);
}

static void
sleep_then(struct go_chan *c)
{
    go_sleep(2 * GO_MILLISECOND);
    go_chan_close(c);
}

/* Timers stand in the heap of the P they were armed on; retiring moves them. */
GO_TEST(timers_survive_the_end_of_their_p)
{
    for (int i = 0; i < ROUNDS(50); i++) {
        struct go_chan *c = go_chan_new(0, 0);
        int old = go_maxprocs(4);

        for (int k = 0; k < 4; k++)
            go_yield();
        CHECK(go(sleep_then, c) > 0);
        go_sleep(50 * GO_MICROSECOND);
        go_maxprocs(1);
        CHECK(!go_chan_recv(c, NULL));
        go_chan_unref(c);
        go_maxprocs(old);
    }
}

static void *
sleep_outside(void *arg)
{
    int64_t start = go_now();

    (void)arg;
    go_sleep(GO_MILLISECOND);
    CHECK(go_now() - start >= GO_MILLISECOND);
    return NULL;
}

GO_TEST(a_foreign_thread_sleeps_too)
{
    pthread_t t;

    CHECK_INT(pthread_create(&t, NULL, sleep_outside, NULL), 0);
    CHECK_INT(GO_BLOCKING(pthread_join(t, NULL)), 0);
}

/* --- virtual time ------------------------------------------------------------------------------ */

static int
sleep_a_year(int argc, char **argv)
{
    int64_t year = 365 * 86400 * GO_SECOND, start = go_now();
    struct go_timer *hourly = go_ticker_new(3600 * GO_SECOND);
    int ticks = 0;

    (void)argc;
    (void)argv;
    while (go_now() - start < year) {
        CHECK(go_chan_recv(go_timer_chan(hourly), NULL));
        ticks++;
    }
    CHECK_INT(ticks, 365 * 24);
    go_timer_free(hourly);
    go_sleep(year);
    CHECK(go_now() - start >= 2 * year);
    return 0;
}

static void
a_virtual_year_passes_at_once(void **state)
{
    char seed[] = "GOSEED=1";
    char *env[] = {seed, NULL};
    static struct child_result r;

    (void)state;
    child_run("sleep_a_year", env, &r);
    if (r.status != 0)
        fprintf(stderr, "%s\n", r.err);
    assert_int_equal(r.status, 0);
}

static int
seeded_timers(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    sleep_many(60);
    race_resets(60);
    return 0;
}

static void
timers_hold_under_any_seed(void **state)
{
    (void)state;
    child_seeds("seeded_timers", ROUNDS(300));
}

static int
ticker_of_zero(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    (void)go_ticker_new(0);
    return 0;
}

static int
reset_ticker_to_zero(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    (void)go_timer_reset(go_ticker_new(1), 0);
    return 0;
}

static void
a_ticker_needs_a_period(void **state)
{
    (void)state;
    child_expect("ticker_of_zero", 2, "panic: non-positive period for go_ticker_new");
    child_expect("reset_ticker_to_zero", 2, "panic: non-positive period");
}

int
main(int argc, char **argv)
{
    static const struct child_case children[] = {
        {"sleep_a_year", sleep_a_year, false},
        {"seeded_timers", seeded_timers, false},
        {"ticker_of_zero", ticker_of_zero, false},
        {"reset_ticker_to_zero", reset_ticker_to_zero, false},
    };
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nobody_wakes_early),
        cmocka_unit_test(no_sleep_returns_at_once_and_never_is_never),
        cmocka_unit_test(after_sends_the_time_once),
        cmocka_unit_test(after_func_runs_in_a_goroutine_unless_stopped),
        cmocka_unit_test(nothing_stale_comes_after_stop_or_reset),
        cmocka_unit_test(stop_and_reset_race_with_firing),
        cmocka_unit_test(many_may_stop_and_reset_one_timer),
        cmocka_unit_test(a_ticker_ticks_in_step_and_drops_what_nobody_takes),
        cmocka_unit_test(a_crowd_of_timers_fires_all_but_the_stopped),
        cmocka_unit_test(timers_survive_the_end_of_their_p),
        cmocka_unit_test(a_foreign_thread_sleeps_too),
        cmocka_unit_test(a_virtual_year_passes_at_once),
        cmocka_unit_test(timers_hold_under_any_seed),
        cmocka_unit_test(a_ticker_needs_a_period),
    };

    CHILD_MAIN(argc, argv, children);
    return cmocka_run_group_tests_name("timer", tests, NULL, NULL);
}
