/* A program whose thread-local variables are larger than the stacks of the runtime's threads:
 * glibc puts them onto those stacks. */
#define _GNU_SOURCE
#include "tests/support/child.h"

#define BYTES ((size_t)1 << 20)

static _Thread_local unsigned char much[BYTES];

static void
fill(unsigned char with)
{
    memset(much, with, BYTES);
    CHECK_INT(much[BYTES / 2], with); /* no park in between: still the same thread */
    go_yield();
}

GO_TEST(goroutines_run_on_threads_with_much_memory_of_their_own)
{
    struct go_wg wg = GO_WG_INIT;

    for (int i = 0; i < 100; i++)
        CHECK(go_wg_go(&wg, fill, (unsigned char)i) > 0);
    go_wg_wait(&wg);
}

static int
quit_oneself(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    (void)kill(getpid(), SIGQUIT);
    go_sleep(100 * GO_SECOND);
    return 0;
}

static void
sigquit_dumps_there_too(void **state)
{
    (void)state;
#if GO_TSAN
    SKIP("ThreadSanitizer holds signals back");
#endif
    child_expect("quit_oneself", 2, "SIGQUIT: quit\n\ngoroutine 1 [");
}

int
main(int argc, char **argv)
{
    static const struct child_case children[] = {
        {"quit_oneself", quit_oneself, false},
    };
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(goroutines_run_on_threads_with_much_memory_of_their_own),
        cmocka_unit_test(sigquit_dumps_there_too),
    };

    CHILD_MAIN(argc, argv, children);
    return cmocka_run_group_tests_name("thread_locals", tests, NULL, NULL);
}
