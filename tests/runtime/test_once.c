#define _GNU_SOURCE
#include "tests/support/child.h"
#include "tests/support/foreign.h"

struct counted {
    struct go_once once;
    int n; /* plain: ordered by the once alone */
};

static void
slowly_increment(void *arg)
{
    struct counted *c = arg;

    go_yield();
    c->n++;
    go_yield();
}

static void
call(struct counted *c)
{
    go_once(&c->once, slowly_increment, c);
    CHECK_INT(c->n, 1);
}

GO_TEST(the_function_runs_once_and_has_returned_for_everybody)
{
    for (int round = 0; round < 200; round++) {
        struct counted c = {.once = GO_ONCE_INIT};
        struct go_wg wg = GO_WG_INIT;

        for (int i = 0; i < 10; i++)
            REQUIRE(go_wg_go(&wg, call, &c) > 0);
        go_wg_wait(&wg);
        CHECK_INT(c.n, 1);
    }
}

static void *
call_foreign(void *arg)
{
    struct counted *c = arg;

    for (int i = 0; i < 200; i++)
        call(&c[i]);
    return NULL;
}

static void
call_all(struct counted *c)
{
    (void)call_foreign(c);
}

GO_TEST(foreign_threads_compete_with_goroutines_for_the_call)
{
    static struct counted c[200];
    struct go_wg wg = GO_WG_INIT;
    pthread_t t[2];

    memset(c, 0, sizeof(c));
    for (int i = 0; i < 2; i++)
        t[i] = foreign_start(call_foreign, c);
    for (int i = 0; i < 3; i++)
        REQUIRE(go_wg_go(&wg, call_all, c) > 0);
    go_wg_wait(&wg);
    for (int i = 0; i < 2; i++)
        foreign_join(t[i]);
}

static void
call_again(void *arg)
{
    go_once(arg, call_again, arg);
}

static int
recursive(int argc, char **argv)
{
    struct go_once once = GO_ONCE_INIT;

    (void)argc;
    (void)argv;
    go_once(&once, call_again, &once);
    return 0;
}

static const struct child_case children[] = {{"recursive", recursive, false}};

static void
a_call_from_within_deadlocks_as_in_go(void **state)
{
    (void)state;
    child_expect("recursive", 2, "all goroutines are asleep - deadlock!");
}

int
main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_function_runs_once_and_has_returned_for_everybody),
        cmocka_unit_test(foreign_threads_compete_with_goroutines_for_the_call),
        cmocka_unit_test(a_call_from_within_deadlocks_as_in_go),
    };

    CHILD_MAIN(argc, argv, children);
    return cmocka_run_group_tests_name("once", tests, NULL, NULL);
}
