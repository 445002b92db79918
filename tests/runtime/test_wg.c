#define _GNU_SOURCE
#include "tests/support/child.h"
#include "tests/support/foreign.h"

static void
meet(struct go_wg *wg1, struct go_wg *wg2, int32_t *exited)
{
    go_wg_done(wg1);
    go_wg_wait(wg2);
    __atomic_add_fetch(exited, 1, __ATOMIC_RELAXED);
}

GO_TEST(wait_returns_only_at_zero_and_the_group_can_be_used_again)
{
    struct go_wg wg1 = GO_WG_INIT, wg2 = GO_WG_INIT, ended = GO_WG_INIT;

    for (int round = 0; round < 8; round++) {
        int32_t exited = 0;

        go_wg_add(&wg1, 16);
        go_wg_add(&wg2, 16);
        for (int i = 0; i < 16; i++)
            REQUIRE(go_wg_go(&ended, meet, &wg1, &wg2, &exited) > 0);
        go_wg_wait(&wg1);
        for (int i = 0; i < 16; i++) {
            CHECK_INT(__atomic_load_n(&exited, __ATOMIC_RELAXED), 0);
            go_wg_done(&wg2);
        }
        go_wg_wait(&ended);
        CHECK_INT(exited, 16);
    }
}

GO_TEST(wait_at_zero_returns_at_once)
{
    struct go_wg wg = GO_WG_INIT;

    go_wg_wait(&wg);
    go_wg_add(&wg, 3);
    CHECK_INT(go_wg_count(&wg), 3);
    go_wg_add(&wg, -3);
    go_wg_wait(&wg);
    go_wg_add(&wg, INT32_MAX);
    CHECK_INT(go_wg_count(&wg), INT32_MAX);
    go_wg_add(&wg, -INT32_MAX);
    go_wg_wait(&wg);
}

static void
bump(int32_t *n)
{
    __atomic_add_fetch(n, 1, __ATOMIC_RELAXED);
}

GO_TEST(wait_sees_what_goroutines_did_before_they_ended)
{
    for (int round = 0; round < 500; round++) {
        struct go_wg wg = GO_WG_INIT;
        int32_t n = 0;

        REQUIRE(go_wg_go(&wg, bump, &n) > 0);
        REQUIRE(go_wg_go(&wg, bump, &n) > 0);
        go_wg_wait(&wg);
        CHECK_INT(n, 2);
    }
}

/* The group is on the stack of a frame that is gone right after wait; the page is written
 * over, so a late touch meets 0xee, and under ASan a report. */
static void __attribute__((noinline)) one_round_on_the_stack(int n, int32_t *ran)
{
    struct go_wg wg = GO_WG_INIT;

    for (int i = 0; i < n; i++)
        REQUIRE(go_wg_go(&wg, bump, ran) > 0);
    go_wg_wait(&wg);
    memset(&wg, 0xee, sizeof(wg));
    __asm__ volatile("" ::"r"(&wg) : "memory");
}

static void
rounds_on_the_stack(int32_t *ran, int rounds)
{
    for (int i = 0; i < rounds; i++)
        one_round_on_the_stack(1 + i % 3, ran);
}

static void *
rounds_foreign(void *arg)
{
    rounds_on_the_stack(arg, 2000);
    return NULL;
}

GO_TEST(the_group_may_live_on_the_waiters_stack)
{
    struct go_wg wg = GO_WG_INIT;
    int32_t ran = 0;
    pthread_t t = foreign_start(rounds_foreign, &ran);
    int before = go_maxprocs(4);

    for (int i = 0; i < 4; i++)
        REQUIRE(go_wg_go(&wg, rounds_on_the_stack, &ran, 2000) > 0);
    go_wg_wait(&wg);
    foreign_join(t);
    go_maxprocs(before);
    /* per goroutine: 667 rounds of 1, 667 of 2, 666 of 3 */
    CHECK_INT(ran, 5 * (667 + 2 * 667 + 3 * 666));
}

static void
wait_for(struct go_wg *wg, int32_t *woken)
{
    go_wg_wait(wg);
    bump(woken);
}

GO_TEST(zero_wakes_every_waiter)
{
    struct go_wg wg = GO_WG_INIT, waiting = GO_WG_INIT;
    int32_t woken = 0;

    go_wg_add(&wg, 2);
    for (int i = 0; i < 100; i++)
        REQUIRE(go_wg_go(&waiting, wait_for, &wg, &woken) > 0);
    wait_parked("wait group", 100);
    go_wg_done(&wg);
    CHECK_INT(__atomic_load_n(&woken, __ATOMIC_RELAXED), 0);
    go_wg_done(&wg);
    go_wg_wait(&waiting);
    CHECK_INT(woken, 100);
}

static void *
done_foreign(void *arg)
{
    for (int i = 0; i < 1000; i++)
        go_wg_done(arg);
    return NULL;
}

GO_TEST(foreign_threads_wait_and_are_waited_for)
{
    struct go_wg wg = GO_WG_INIT;
    pthread_t t[4];

    go_wg_add(&wg, 4000);
    for (int i = 0; i < 4; i++)
        t[i] = foreign_start(done_foreign, &wg);
    go_wg_wait(&wg);
    CHECK_INT(go_wg_count(&wg), 0);
    for (int i = 0; i < 4; i++)
        foreign_join(t[i]);
}

static int
negative(int argc, char **argv)
{
    struct go_wg wg = GO_WG_INIT;

    (void)argc;
    (void)argv;
    go_wg_add(&wg, 1);
    go_wg_done(&wg);
    go_wg_done(&wg);
    return 0;
}

static int
too_many(int argc, char **argv)
{
    struct go_wg wg = GO_WG_INIT;

    (void)argc;
    (void)argv;
    go_wg_add(&wg, INT32_MAX);
    go_wg_add(&wg, 1);
    return 0;
}

static void
wait_only(struct go_wg *wg)
{
    go_wg_wait(wg);
}

/* Add again between the waiter's wake-up and its return. */
static int
reused_too_early(int argc, char **argv)
{
    struct go_wg wg = GO_WG_INIT;

    (void)argc;
    (void)argv;
    go_wg_add(&wg, 1);
    REQUIRE(go(wait_only, &wg) > 0);
    wait_parked("wait group", 1);
    go_wg_done(&wg);
    go_wg_add(&wg, 1);
    go_yield();
    go_yield();
    return 0;
}

static int
never_done(int argc, char **argv)
{
    struct go_wg wg = GO_WG_INIT;

    (void)argc;
    (void)argv;
    go_wg_add(&wg, 1);
    go_wg_wait(&wg);
    return 0;
}

static int
seeded_rounds(int argc, char **argv)
{
    struct go_wg wg = GO_WG_INIT;
    int32_t ran = 0;

    (void)argc;
    (void)argv;
    for (int g = 0; g < 4; g++)
        REQUIRE(go_wg_go(&wg, rounds_on_the_stack, &ran, 60) > 0);
    go_wg_wait(&wg);
    return ran > 0 ? 0 : 1;
}

static const struct child_case children[] = {
    {"negative", negative, false},
    {"too_many", too_many, false},
    {"reused_too_early", reused_too_early, false},
    {"never_done", never_done, false},
    {"seeded_rounds", seeded_rounds, false},
};

static void
a_negative_counter_panics(void **state)
{
    (void)state;
    child_expect("negative", 2, "panic: sync: negative WaitGroup counter");
    child_expect("too_many", 2, "panic: sync: negative WaitGroup counter");
}

/* Whether the waiter returns before the group is used again is the schedule's choice. */
static void
reuse_before_wait_returned_panics(void **state)
{
    static struct child_result r;
    int caught = 0;

    (void)state;
    for (int seed = 1; seed <= 20; seed++) {
        char var[32];
        char *env[] = {var, NULL};

        (void)snprintf(var, sizeof(var), "GOSEED=%d", seed);
        child_run("reused_too_early", env, &r);
        if (r.status == 0)
            continue;
        assert_int_equal(r.status, 2);
        assert_non_null(strstr(
            r.err, "panic: sync: WaitGroup is reused before previous Wait has returned"));
        caught++;
    }
    assert_true(caught > 0);
}

static void
a_wait_without_a_done_is_a_deadlock_that_names_it(void **state)
{
    (void)state;
    child_expect("never_done", 2, "[wait group");
}

static void
rounds_hold_under_many_seeds(void **state)
{
    (void)state;
    child_seeds("seeded_rounds", 200);
}

int
main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wait_returns_only_at_zero_and_the_group_can_be_used_again),
        cmocka_unit_test(wait_at_zero_returns_at_once),
        cmocka_unit_test(wait_sees_what_goroutines_did_before_they_ended),
        cmocka_unit_test(the_group_may_live_on_the_waiters_stack),
        cmocka_unit_test(zero_wakes_every_waiter),
        cmocka_unit_test(foreign_threads_wait_and_are_waited_for),
        cmocka_unit_test(a_negative_counter_panics),
        cmocka_unit_test(reuse_before_wait_returned_panics),
        cmocka_unit_test(a_wait_without_a_done_is_a_deadlock_that_names_it),
        cmocka_unit_test(rounds_hold_under_many_seeds),
    };

    CHILD_MAIN(argc, argv, children);
    return cmocka_run_group_tests_name("wg", tests, NULL, NULL);
}
