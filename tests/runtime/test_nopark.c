/* No-park regions: a park in one is a panic that names the region and the wait. */
#define _GNU_SOURCE
#include <pthread.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/support/await.h"
#include "tests/support/child.h"

#define PANICS(name, operation)                                                          \
    static int name(int argc, char **argv)                                               \
    {                                                                                    \
        struct go_chan *c = go_chan_new(sizeof(int), 0);                                 \
        struct go_wg wg = GO_WG_INIT;                                                    \
        int v = 0;                                                                       \
        struct go_case cases[] = {GO_CASE_RECV(c, &v)};                                  \
                                                                                         \
        (void)argc;                                                                      \
        (void)argv;                                                                      \
        (void)cases;                                                                     \
        go_wg_add(&wg, 1);                                                               \
        go_nopark_begin("outer");                                                        \
        go_nopark_begin("sqlite progress handler");                                      \
        operation;                                                                       \
        return 0;                                                                        \
    }

PANICS(park_by_send, go_chan_send(c, &v))
PANICS(park_by_recv, (void)go_chan_recv(c, &v))
PANICS(park_by_select, (void)go_select(cases, 1))
PANICS(park_by_sleep, go_sleep(GO_SECOND))
PANICS(park_by_wait, go_wg_wait(&wg))
PANICS(return_inside, return 0)

static int
end_without_begin(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    go_nopark_end();
    return 0;
}

static void
a_park_in_a_region_names_both(void **state)
{
    (void)state;
    child_expect("park_by_send", 2,
                 "panic: goroutine would park (chan send) in no-park region "
                 "\"sqlite progress handler\"");
    child_expect("park_by_recv", 2, "would park (chan receive) in no-park region");
    child_expect("park_by_select", 2, "would park (select) in no-park region");
    child_expect("park_by_sleep", 2, "would park (sleep) in no-park region");
    child_expect("park_by_wait", 2, "would park (wait group) in no-park region");
    child_expect("return_inside", 2, "goroutine returned inside a no-park region");
    child_expect("end_without_begin", 2, "go_nopark_end without go_nopark_begin");
}

static void
write_slowly(void *arg)
{
    go_sleep(5 * GO_MILLISECOND);
    fputs((const char *)arg, stderr);
}

static char said[] = "deferred";

static int
defer_in_main(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    return go_defer(write_slowly, said);
}

static void
what_main_deferred_runs_before_the_program_ends(void **state)
{
    (void)state;
    child_expect("defer_in_main", 0, said);
}

static void
add_one(struct go_chan *c)
{
    go_send(c, 1);
}

GO_TEST(what_does_not_park_is_allowed)
{
    struct go_chan *c = go_chan_new(sizeof(int), 2);
    int v = 3;

    go_nopark_begin("a");
    CHECK(go(add_one, c) > 0);
    CHECK_INT(go_chan_try_send(c, &v), 1);
    go_sleep(0);
    go_yield();
    go_checkpoint();
    go_nopark_begin("b");
    go_nopark_end();
    CHECK_INT(go_chan_try_recv(c, &v), 1);
    go_nopark_end();
    (void)go_chan_recv(c, &v); /* parks again as before */
    go_chan_unref(c);
}

static void
hog(uint32_t *stop)
{
    while (!__atomic_load_n(stop, __ATOMIC_RELAXED))
        go_yield();
}

/* Its slice may end, its P may be taken: its thread stays the same. */
GO_TEST(a_region_keeps_its_thread)
{
    int old = go_maxprocs(1);
    uint32_t stop = 0;
    long tid;

    for (int i = 0; i < 4; i++)
        CHECK(go(hog, &stop) > 0);
    for (int round = 0; round < 3; round++) {
        int64_t end = go_now() + 30 * GO_MILLISECOND;

        go_nopark_begin("holds a lock");
        tid = syscall(SYS_gettid);
        while (go_now() < end) {
            go_checkpoint();
            (void)go_chan_try_recv(NULL, NULL);
        }
        CHECK_INT(syscall(SYS_gettid), tid);
        (void)GO_BLOCKING(usleep(1000));
        CHECK_INT(syscall(SYS_gettid), tid);
        go_nopark_end();
        go_yield();
    }
    __atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
    go_maxprocs(old);
}

static void *
outside(void *arg)
{
    struct go_chan *c = arg;

    go_nopark_end(); /* no-ops need no pairs */
    go_nopark_begin("foreign");
    go_send(c, 4); /* parks */
    go_enter_blocking();
    go_exit_blocking();
    go_exit_blocking();
    go_send(c, 5);
    return NULL;
}

GO_TEST(regions_mean_nothing_on_a_foreign_thread)
{
    struct go_chan *c = go_chan_new(sizeof(int), 0);
    pthread_t t;

    CHECK_INT(pthread_create(&t, NULL, outside, c), 0);
    CHECK_INT(go_recv(c, int), 4);
    CHECK_INT(go_recv(c, int), 5);
    CHECK_INT(GO_BLOCKING(pthread_join(t, NULL)), 0);
    go_chan_unref(c);
}

int
main(int argc, char **argv)
{
    static const struct child_case children[] = {
        {"park_by_send", park_by_send, false},
        {"park_by_recv", park_by_recv, false},
        {"park_by_select", park_by_select, false},
        {"park_by_sleep", park_by_sleep, false},
        {"park_by_wait", park_by_wait, false},
        {"return_inside", return_inside, false},
        {"end_without_begin", end_without_begin, false},
        {"defer_in_main", defer_in_main, false},
    };
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_park_in_a_region_names_both),
        cmocka_unit_test(what_main_deferred_runs_before_the_program_ends),
        cmocka_unit_test(what_does_not_park_is_allowed),
        cmocka_unit_test(a_region_keeps_its_thread),
        cmocka_unit_test(regions_mean_nothing_on_a_foreign_thread),
    };

    CHILD_MAIN(argc, argv, children);
    return cmocka_run_group_tests_name("nopark", tests, NULL, NULL);
}
