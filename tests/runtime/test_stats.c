/* The scheduler's counters. */
#define _GNU_SOURCE
#include <unistd.h>

#include "tests/support/gotest.h"

static void
wait_here(struct go_chan *stop)
{
    int v;

    (void)go_chan_recv(stop, &v);
}

static void
finish(struct go_wg *wg)
{
    go_wg_done(wg);
}

/* Until the counters satisfy what the caller checks next: others may still be stopping. */
#define AWAIT(s, cond)                                                                   \
    do {                                                                                 \
        go_stats(&(s));                                                                  \
        if (!(cond))                                                                     \
            go_yield();                                                                  \
    } while (!(cond))

GO_TEST(spawned_and_live_follow_goroutines)
{
    enum { N = 100 };
    struct go_chan *stop = go_chan_new(sizeof(int), 0);
    struct go_stats before, during, after;

    go_stats(&before);
    for (int i = 0; i < N; i++)
        REQUIRE(go(wait_here, stop) > 0);
    AWAIT(during, during.parked - before.parked >= N && during.waiting == N &&
                      during.running == 1 && during.runnable == 0);
    CHECK_INT(during.spawned - before.spawned, N);
    CHECK(during.live >= N + 1);
    CHECK_INT(during.live, go_num_goroutine());
    CHECK(during.switches - before.switches >= N);
    CHECK(during.stack_inuse >= N * (64 << 10));
    CHECK(during.stack_reserved >= during.stack_inuse);
    go_chan_close(stop);
    AWAIT(after, after.live <= before.live);
    CHECK_INT(after.spawned - before.spawned, N);
    AWAIT(after, after.waiting == 0);
    CHECK(after.stack_inuse < during.stack_inuse);
    go_chan_unref(stop);
}

GO_TEST(every_goroutine_is_at_least_one_switch)
{
    enum { N = 1000 };
    struct go_stats before, after;
    struct go_wg wg = GO_WG_INIT;

    go_stats(&before);
    for (int i = 0; i < N; i++) {
        go_wg_add(&wg, 1);
        REQUIRE(go(finish, &wg) > 0);
        go_wg_wait(&wg);
    }
    go_stats(&after);
    CHECK_INT(after.spawned - before.spawned, N);
    CHECK(after.switches - before.switches >= N);
}

GO_TEST(timers_are_counted_as_they_fire)
{
    struct go_stats before, after;

    go_stats(&before);
    for (int i = 0; i < 10; i++)
        go_sleep(2 * GO_MILLISECOND);
    go_stats(&after);
    CHECK(after.timers - before.timers >= 10);
    CHECK(after.parked - before.parked >= 10);
    CHECK(after.polls > before.polls);
}

static void
block_for_a_while(struct go_wg *wg)
{
    go_enter_blocking();
    (void)usleep(20000);
    go_exit_blocking();
    go_wg_done(wg);
}

GO_TEST(processor_taken_from_a_blocking_call_is_a_hand_off)
{
    int procs = go_maxprocs(1);
    struct go_wg wg = GO_WG_INIT;
    struct go_stats before, after;

    go_stats(&before);
    CHECK_INT(before.maxprocs, 1);
    /* It blocks while we wait to go on; the processor comes to us by a hand-off. */
    do {
        go_wg_add(&wg, 1);
        REQUIRE(go(block_for_a_while, &wg) > 0);
        go_yield();
        go_wg_wait(&wg);
        go_stats(&after);
    } while (after.handoffs == before.handoffs);
    CHECK(after.threads >= 2);
    (void)go_maxprocs(procs);
}

GO_TEST(processors_and_threads_add_up)
{
    int procs = go_maxprocs(3);
    struct go_stats s;

    /* Ours may be one of those that are too many now: it is until our thread next picks. */
    go_sleep(GO_MILLISECOND);
    go_stats(&s);
    CHECK_INT(s.maxprocs, 3);
    CHECK(s.idle_procs >= 0 && s.idle_procs < 3); /* we run on one */
    CHECK(s.threads >= 1);
    CHECK(s.idle_threads >= 0 && s.idle_threads < s.threads);
    CHECK(s.runnable >= 0);
    CHECK(s.stack_cached >= 0 && s.stack_released >= 0);
    (void)go_maxprocs(procs);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(spawned_and_live_follow_goroutines),
        cmocka_unit_test(every_goroutine_is_at_least_one_switch),
        cmocka_unit_test(timers_are_counted_as_they_fire),
        cmocka_unit_test(processor_taken_from_a_blocking_call_is_a_hand_off),
        cmocka_unit_test(processors_and_threads_add_up),
    };

    return cmocka_run_group_tests_name("stats", tests, NULL, NULL);
}
