/* How the process dies: runtime/debug/panic.c, each way in a process of its own. */
#define _GNU_SOURCE
#include <pthread.h>
#include <sys/resource.h>
#include <unistd.h>

#include "runtime/base/check.h"
#include "runtime/base/san.h"
#include "runtime/sched/rt.h"
#include "tests/support/ages.h"
#include "tests/support/child.h"
#include "tests/support/foreign.h"
#include "tests/support/gotest.h"

static struct child_result r;

static int
count(const char *text, const char *part)
{
    int n = 0;

    for (; (text = strstr(text, part)) != NULL; text++)
        n++;
    return n;
}

static void
no_core(void)
{
    const struct rlimit none = {0, 0};

    (void)setrlimit(RLIMIT_CORE, &none);
}

/* --- what the children do --------------------------------------------------------------------- */

__attribute__((noinline)) static void
wait_here(struct go_chan *stop)
{
    int v;

    (void)go_chan_recv(stop, &v);
    __asm__ volatile("");
}

__attribute__((noinline)) static void
culprit(const char *why)
{
    go_panic("%s: %d", why, 42);
}

static int
panic_case(int argc, char **argv)
{
    struct go_chan *stop = go_chan_new(sizeof(int), 0);

    (void)argc;
    (void)argv;
    no_core();
    for (int i = 0; i < 3; i++)
        (void)go(wait_here, stop);
    wait_parked("chan receive", 3);
    culprit("a reason");
    return 0;
}

static int
panic_with_a_double(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    go_panic("%s is %.3f", "pi", 3.14159);
    return 0;
}

static void
panic_soon(int n)
{
    go_yield();
    go_panic("number %d", n);
}

static int
many_panics(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    for (int i = 0; i < 100; i++)
        (void)go(panic_soon, i);
    go_sleep(100 * GO_SECOND);
    return 0;
}

static void *
panic_on_a_thread(void *arg)
{
    (void)arg;
    go_panic("from outside");
    return NULL;
}

static int
foreign_panic(int argc, char **argv)
{
    pthread_t t;

    (void)argc;
    (void)argv;
    (void)pthread_create(&t, NULL, panic_on_a_thread, NULL);
    go_sleep(100 * GO_SECOND);
    return 0;
}

/* Down to the last 6 KiB of the stack. */
__attribute__((noinline)) static int
dig(int depth)
{
    volatile char here[256];
    volatile bool deeper = true; /* the compiler would warn of what it sees */
    uintptr_t lo, hi;

    here[0] = (char)depth;
    if (rt_stack_bounds(rt_m()->g, &lo, &hi) && (uintptr_t)here - lo < 6144)
        go_panic("with %s left", "little");
    return deeper ? dig(depth + 1) + here[0] : 0;
}

static int
panic_at_the_end_of_a_stack(int argc, char **argv)
{
    const struct go_opts opts = {.stack_size = 65536};

    (void)argc;
    (void)argv;
    (void)go_opt(&opts, dig, 0);
    go_sleep(100 * GO_SECOND);
    return 0;
}

__attribute__((noinline)) static int
recurse_for_ever(volatile int *depth)
{
    volatile char here[200];
    volatile bool deeper = true;

    here[0] = (char)++*depth;
    return deeper ? recurse_for_ever(depth) + here[0] : 0;
}

static void
too_deep(void)
{
    int depth = 0;

    (void)recurse_for_ever(&depth);
}

static int
overflow(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    (void)go(too_deep);
    go_sleep(100 * GO_SECOND);
    return 0;
}

static int
broken_invariant(int argc, char **argv)
{
    volatile int two = 2; /* the compiler would see what comes */

    (void)argc;
    (void)argv;
    no_core();
    ENSURE(two + two == 5);
    return 0;
}

__attribute__((noinline)) static int
read_from(volatile int *p)
{
    return *p;
}

static int
fault(int argc, char **argv)
{
    uintptr_t address = 16;

    (void)argc;
    (void)argv;
    no_core();
    __asm__ volatile("" : "+r"(address));
    return read_from((int *)address) + 1; /* not a jump */
}

static int
quit(int argc, char **argv)
{
    struct go_chan *stop = go_chan_new(sizeof(int), 0);

    (void)argc;
    (void)argv;
    no_core();
    (void)go(wait_here, stop);
    (void)kill(getpid(), SIGQUIT);
    go_sleep(100 * GO_SECOND);
    return 0;
}

static uint32_t own_quits; /* atomic: the handler runs on any thread */

static void
own_quit(int sig)
{
    (void)sig;
    __atomic_add_fetch(&own_quits, 1, __ATOMIC_RELAXED);
}

static int
raise_quit(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    (void)kill(getpid(), SIGQUIT);
    while (__atomic_load_n(&own_quits, __ATOMIC_RELAXED) == 0)
        go_yield();
    return 0;
}

static int
quit_with_own_handler(int argc, char **argv)
{
    (void)signal(SIGQUIT, own_quit);
    return go_main(raise_quit, argc, argv);
}

static int
ignored_quit(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    (void)kill(getpid(), SIGQUIT);
    return 0;
}

static int
quit_ignored_from_outside(int argc, char **argv)
{
    (void)signal(SIGQUIT, SIG_IGN);
    return go_main(ignored_quit, argc, argv);
}

static int
panic_without_stderr(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    (void)close(2);
    go_panic("to nobody");
    return 0;
}

/* --- tests ---------------------------------------------------------------------------------------- */

static void
run_with(const char *name, const char *traceback)
{
    char var[64], *env[] = {var, NULL};

    (void)snprintf(var, sizeof(var), "GOTRACEBACK=%s", traceback);
    child_run(name, env, &r);
    without_ages(r.err);
}

static void
panic_shows_the_culprit_first_then_everybody_else(void **state)
{
    const char *first, *others;

    (void)state;
    run_with("panic_case", "");
    assert_int_equal(r.status, 2);
    assert_int_equal(strncmp(r.err, "panic: a reason: 42\n\ngoroutine ", 31), 0);
    first = strstr(r.err, " [running]:\nculprit(+0x");
    assert_non_null(first);
    assert_non_null(strstr(first, "\npanic_case(+0x"));
    others = strstr(r.err, "[chan receive]:\n");
    assert_non_null(others);
    assert_true(first < others);
    assert_int_equal(count(r.err, "[chan receive]:\n"), 3);
    assert_int_equal(count(r.err, "\nwait_here(+0x"), 3);
    assert_int_equal(count(r.err, "[running]"), 1);
}

static void
traceback_none_prints_the_message_alone(void **state)
{
    (void)state;
    run_with("panic_case", "none");
    assert_int_equal(r.status, 2);
    assert_string_equal(r.err, "panic: a reason: 42\n\n");
}

static void
traceback_single_prints_the_culprit_alone(void **state)
{
    (void)state;
    run_with("panic_case", "single");
    assert_int_equal(r.status, 2);
    assert_int_equal(count(r.err, "\ngoroutine "), 1);
    assert_non_null(strstr(r.err, "culprit(+0x"));
}

static void
traceback_system_shows_the_runtime_inside(void **state)
{
    (void)state;
    run_with("panic_case", "system");
    assert_int_equal(r.status, 2);
    assert_non_null(strstr(r.err, "\nrt_goroutine_(+0x"));
}

static void
traceback_crash_aborts_after_the_dump(void **state)
{
    (void)state;
    run_with("panic_case", "crash");
    assert_int_equal(r.status, 128 + SIGABRT);
    assert_int_equal(count(r.err, "[chan receive]:\n"), 3);
}

static void
traceback_of_another_word_is_the_default(void **state)
{
    (void)state;
    run_with("panic_case", "everything");
    assert_int_equal(r.status, 2);
    assert_int_equal(count(r.err, "[chan receive]:\n"), 3);
    assert_int_equal(count(r.err, "rt_goroutine_(+0x"), 0);
}

static void
message_may_hold_any_conversion(void **state)
{
    (void)state;
    child_expect("panic_with_a_double", 2, "panic: pi is 3.142\n\ngoroutine ");
}

static void
of_many_panics_at_once_one_is_reported_whole(void **state)
{
    (void)state;
    for (int i = 0; i < 20; i++) {
        child_run("many_panics", NULL, &r);
        assert_int_equal(r.status, 2);
        assert_int_equal(count(r.err, "panic: "), 1);
        assert_int_equal(strncmp(r.err, "panic: number ", 14), 0);
        assert_int_equal(count(r.err, "died while"), 0);
    }
}

static void
panic_of_a_foreign_thread_names_the_thread(void **state)
{
    (void)state;
    child_expect("foreign_panic", 2, "panic: from outside\n\nthread ");
    child_expect("foreign_panic", 2, " [no goroutine]:\npanic_on_a_thread(+0x");
}

static void
panic_needs_little_stack(void **state)
{
    (void)state;
    child_expect("panic_at_the_end_of_a_stack", 2,
                 "panic: with little left\n\ngoroutine ");
    child_expect("panic_at_the_end_of_a_stack", 2, "frames elided...\n");
}

static void
stack_overflow_names_goroutine_function_and_size(void **state)
{
    (void)state;
    child_run("overflow", NULL, &r);
    assert_int_equal(r.status, 2);
    assert_int_equal(strncmp(r.err, "runtime: goroutine ", 19), 0);
    assert_non_null(strstr(r.err, " (too_deep) exceeded its 262144-byte stack"));
    assert_non_null(strstr(r.err, "\nfatal error: stack overflow\n\ngoroutine "));
    assert_true(count(r.err, "recurse_for_ever") >= 50);
    assert_true(count(r.err, "recurse_for_ever") <= 61);
    assert_non_null(strstr(r.err, "frames elided...\n"));
    assert_non_null(strstr(r.err, "\ntoo_deep(+0x"));
    assert_non_null(strstr(r.err, "created by overflow in goroutine "));
    assert_non_null(strstr(r.err, "\n\ngoroutine 1 [")); /* and the others */
}

static void
broken_invariant_names_the_condition_and_aborts(void **state)
{
    (void)state;
    child_run("broken_invariant", NULL, &r);
    assert_int_equal(r.status, 128 + SIGABRT);
    assert_non_null(strstr(r.err, "fatal error: invariant broken: two + two == 5\n"));
    assert_non_null(strstr(r.err, "test_panic.c:"));
    assert_non_null(strstr(r.err, "[running]:\nbroken_invariant(+0x"));
}

static void
memory_fault_is_reported_and_ends_the_process_by_its_signal(void **state)
{
    (void)state;
#if GO_ASAN || GO_TSAN
    SKIP("the sanitizer reports it instead");
#endif
    child_run("fault", NULL, &r);
    assert_int_equal(r.status, 128 + SIGSEGV);
    assert_non_null(
        strstr(r.err, "fatal error: SIGSEGV: segmentation violation at address 0x10"));
    assert_non_null(strstr(r.err, "[running]:\nread_from(+0x"));
    assert_non_null(strstr(r.err, "\nfault(+0x"));
}

static void
sigquit_dumps_everyone_and_ends_with_status_2(void **state)
{
    (void)state;
#if GO_TSAN
    SKIP("ThreadSanitizer holds signals back");
#endif
    child_run("quit", NULL, &r);
    assert_int_equal(r.status, 2);
    assert_int_equal(strncmp(r.err, "SIGQUIT: quit\n\ngoroutine ", 25), 0);
    assert_int_equal(count(r.err, "created by quit in goroutine "), 1);
    run_with("quit", "none");
    assert_int_equal(r.status, 2);
    assert_string_equal(r.err, "SIGQUIT: quit\n\n");
    run_with("quit", "crash");
    assert_int_equal(r.status, 128 + SIGABRT);
}

static void
own_or_ignored_sigquit_stays_the_programs_affair(void **state)
{
    (void)state;
    child_run("quit_with_own_handler", NULL, &r);
    assert_int_equal(r.status, 0);
    assert_string_equal(r.err, "");
    child_run("quit_ignored_from_outside", NULL, &r);
    assert_int_equal(r.status, 0);
    assert_string_equal(r.err, "");
}

static void
panic_ends_even_without_stderr(void **state)
{
    (void)state;
    child_expect("panic_without_stderr", 2, NULL);
}

int
main(int argc, char **argv)
{
    static const struct child_case children[] = {
        {"panic_case", panic_case, false},
        {"panic_with_a_double", panic_with_a_double, false},
        {"many_panics", many_panics, false},
        {"foreign_panic", foreign_panic, false},
        {"panic_at_the_end_of_a_stack", panic_at_the_end_of_a_stack, false},
        {"overflow", overflow, false},
        {"broken_invariant", broken_invariant, false},
        {"fault", fault, false},
        {"quit", quit, false},
        {"quit_with_own_handler", quit_with_own_handler, true},
        {"quit_ignored_from_outside", quit_ignored_from_outside, true},
        {"panic_without_stderr", panic_without_stderr, false},
    };
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(panic_shows_the_culprit_first_then_everybody_else),
        cmocka_unit_test(traceback_none_prints_the_message_alone),
        cmocka_unit_test(traceback_single_prints_the_culprit_alone),
        cmocka_unit_test(traceback_system_shows_the_runtime_inside),
        cmocka_unit_test(traceback_crash_aborts_after_the_dump),
        cmocka_unit_test(traceback_of_another_word_is_the_default),
        cmocka_unit_test(message_may_hold_any_conversion),
        cmocka_unit_test(of_many_panics_at_once_one_is_reported_whole),
        cmocka_unit_test(panic_of_a_foreign_thread_names_the_thread),
        cmocka_unit_test(panic_needs_little_stack),
        cmocka_unit_test(stack_overflow_names_goroutine_function_and_size),
        cmocka_unit_test(broken_invariant_names_the_condition_and_aborts),
        cmocka_unit_test(memory_fault_is_reported_and_ends_the_process_by_its_signal),
        cmocka_unit_test(sigquit_dumps_everyone_and_ends_with_status_2),
        cmocka_unit_test(own_or_ignored_sigquit_stays_the_programs_affair),
        cmocka_unit_test(panic_ends_even_without_stderr),
    };

    CHILD_MAIN(argc, argv, children);
    return cmocka_run_group_tests_name("panic", tests, NULL, NULL);
}
