/* When nothing can ever wake anybody the program says so, as Go does, and only then. */
#define _GNU_SOURCE
#include <pthread.h>
#include <time.h>
#include <unistd.h>

#include "tests/support/await.h"
#include "tests/support/child.h"

#define DEADLOCK "fatal error: all goroutines are asleep - deadlock!"

static int
recv_alone(int argc, char **argv)
{
    struct go_chan *c = go_chan_new(0, 0);

    (void)argc;
    (void)argv;
    return go_chan_recv(c, NULL);
}

static void
wait_for(struct go_chan *c)
{
    (void)go_chan_recv(c, NULL);
}

static int
all_asleep(int argc, char **argv)
{
    struct go_wg wg = GO_WG_INIT;
    struct go_chan *c = go_chan_new(0, 0);

    (void)argc;
    (void)argv;
    for (int i = 0; i < 10; i++)
        CHECK(go_wg_go(&wg, wait_for, c) > 0);
    go_wg_wait(&wg);
    return 0;
}

static int
empty_select(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    return go_select(NULL, 0);
}

/* Go's TestLockedDeadlock. */
static int
locked_asleep(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    go_lock_os_thread();
    return go_chan_recv(NULL, NULL);
}

static int
asleep_with_few_ps(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    go_maxprocs(8);
    go_yield();
    go_maxprocs(1);
    return go_chan_recv(NULL, NULL);
}

static int
asleep_after_timers(int argc, char **argv)
{
    struct go_timer *t = go_timer_new(30 * GO_MILLISECOND);

    (void)argc;
    (void)argv;
    go_sleep(GO_MILLISECOND);
    go_timer_free(t);
    return go_chan_recv(NULL, NULL);
}

static int
asleep_after_blocking(int argc, char **argv)
{
    struct timespec ts = {.tv_nsec = 5000000};

    (void)argc;
    (void)argv;
    (void)GO_BLOCKING(nanosleep(&ts, NULL)); /* EINTR is fine: blocking.h */
    return go_chan_recv(NULL, NULL);
}

static void
all_asleep_is_a_deadlock(void **state)
{
    static struct child_result r;

    (void)state;
    child_expect("recv_alone", 2, DEADLOCK);
    child_expect("all_asleep", 2, DEADLOCK);
    child_expect("empty_select", 2, DEADLOCK);
    child_expect("locked_asleep", 2, DEADLOCK);
    child_expect("asleep_with_few_ps", 2, DEADLOCK);
    child_expect("asleep_after_timers", 2, DEADLOCK);
    child_expect("asleep_after_blocking", 2, DEADLOCK);

    child_run("all_asleep", NULL, &r); /* and the dump says who waits for what */
    assert_non_null(strstr(r.err, "[wait group"));
    assert_non_null(strstr(r.err, "[chan receive"));
}

/* --- what is none ------------------------------------------------------------------------------ */

static int
main_returns(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    CHECK(go(wait_for, NULL) > 0);
    go_yield();
    return 7;
}

static int
a_timer_is_pending(int argc, char **argv)
{
    struct go_chan *c = go_after(30 * GO_MILLISECOND);
    bool came = go_chan_recv(c, NULL);

    (void)argc;
    (void)argv;
    go_chan_unref(c);
    return came ? 7 : 1;
}

static void
write_later(int fd)
{
    struct timespec ts = {.tv_nsec = 30000000};

    (void)GO_BLOCKING(nanosleep(&ts, NULL));
    CHECK_INT(write(fd, "x", 1), 1);
}

static int
an_fd_is_waited_for(int argc, char **argv)
{
    char byte = 0;
    int fd[2];

    (void)argc;
    (void)argv;
    CHECK_INT(pipe2(fd, O_NONBLOCK), 0);
    CHECK(go(write_later, fd[1]) > 0);
    CHECK_INT(go_fd_read(fd[0], &byte, 1, GO_NEVER), 1);
    return byte == 'x' ? 7 : 1;
}

static int
a_call_blocks(int argc, char **argv)
{
    struct go_chan *c = go_chan_new(0, 0);
    int fd[2];

    (void)argc;
    (void)argv;
    CHECK_INT(pipe(fd), 0);
    CHECK(go(write_later, fd[1]) > 0);
    (void)GO_BLOCKING(read(fd[0], &(char){0}, 1)); /* everybody blocks, nobody sleeps */
    go_chan_unref(c);
    return 7;
}

static void *
send_from_outside(void *arg)
{
    struct timespec ts = {.tv_nsec = 30000000};

    CHECK(go(wait_for, arg) > 0); /* the runtime knows this thread from here on */
    (void)nanosleep(&ts, NULL);
    go_chan_send(arg, NULL);
    go_chan_send(arg, NULL);
    go_chan_unref(arg);
    return NULL;
}

static int
a_foreign_thread_may_come(int argc, char **argv)
{
    struct go_chan *c = go_chan_new(0, 0);
    pthread_t t;

    (void)argc;
    (void)argv;
    CHECK_INT(pthread_create(&t, NULL, send_from_outside, go_chan_ref(c)), 0);
    go_sleep(10 * GO_MILLISECOND);
    CHECK(go_chan_recv(c, NULL));
    CHECK_INT(GO_BLOCKING(pthread_join(t, NULL)), 0);
    go_chan_unref(c);
    return 7;
}

static int
go_main_is_called_again(int argc, char **argv)
{
    for (int i = 0; i < 200; i++)
        if (go_main(main_returns, argc, argv) != 7)
            return 1;
    return 7;
}

static void
whoever_may_be_woken_is_not_dead(void **state)
{
    (void)state;
    child_expect("main_returns", 7, NULL);
    child_expect("a_timer_is_pending", 7, NULL);
    child_expect("an_fd_is_waited_for", 7, NULL);
    child_expect("a_call_blocks", 7, NULL);
    child_expect("a_foreign_thread_may_come", 7, NULL);
    child_expect("go_main_is_called_again", 7, NULL);
}

/* GOMAXPROCS goes up and down while everybody only wakes everybody else: Ps idle at every
 * moment, yet somebody can always go on. */
static void
relay(struct go_chan *in, struct go_chan *out, int n)
{
    for (int i = 0; i < n; i++) {
        (void)go_chan_recv(in, NULL);
        if (i % 10 == 0)
            go_maxprocs(i / 10 % 4 + 1);
        if (i % 64 == 0)
            (void)GO_BLOCKING(usleep(30));
        go_chan_send(out, NULL);
    }
    go_chan_unref(in);
    go_chan_unref(out);
}

static int
busy_all_the_time(int argc, char **argv)
{
    struct go_chan *a = go_chan_new(0, 0), *b = go_chan_new(0, 0);
    int n = ROUNDS(20000);

    (void)argc;
    (void)argv;
    CHECK(go(relay, go_chan_ref(a), go_chan_ref(b), n) > 0);
    for (int i = 0; i < n; i++) {
        go_chan_send(a, NULL);
        (void)go_chan_recv(b, NULL);
    }
    go_chan_unref(a);
    go_chan_unref(b);
    return 7;
}

static void
a_changing_number_of_ps_is_no_deadlock(void **state)
{
    (void)state;
    for (int i = 0; i < ROUNDS(10); i++)
        child_expect("busy_all_the_time", 7, NULL);
}

/* --- too many threads ---------------------------------------------------------------------------- */

static void
block(void)
{
    (void)GO_BLOCKING(pause());
}

static int
exhaust_threads(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    CHECK_INT(go_max_threads(0), 10000);
    CHECK_INT(go_max_threads(8), 10000);
    CHECK_INT(go_max_threads(-1), 8);
    for (int i = 0; i < 20; i++) {
        CHECK(go(block) > 0);
        go_yield();
    }
    go_sleep(20 * GO_SECOND);
    return 0;
}

static void
too_many_blocked_threads_end_the_program(void **state)
{
    (void)state;
    child_expect("exhaust_threads", 2, "fatal error: thread exhaustion");
}

static int
nested_go_main(int argc, char **argv)
{
    return go_main(main_returns, argc, argv);
}

static void
go_main_in_a_goroutine_panics(void **state)
{
    (void)state;
    child_expect("nested_go_main", 2, "panic: go_main called by a goroutine");
}

int
main(int argc, char **argv)
{
    static const struct child_case children[] = {
        {"recv_alone", recv_alone, false},
        {"all_asleep", all_asleep, false},
        {"empty_select", empty_select, false},
        {"locked_asleep", locked_asleep, false},
        {"asleep_with_few_ps", asleep_with_few_ps, false},
        {"asleep_after_timers", asleep_after_timers, false},
        {"asleep_after_blocking", asleep_after_blocking, false},
        {"main_returns", main_returns, false},
        {"a_timer_is_pending", a_timer_is_pending, false},
        {"an_fd_is_waited_for", an_fd_is_waited_for, false},
        {"a_call_blocks", a_call_blocks, false},
        {"a_foreign_thread_may_come", a_foreign_thread_may_come, false},
        {"go_main_is_called_again", go_main_is_called_again, true},
        {"busy_all_the_time", busy_all_the_time, false},
        {"exhaust_threads", exhaust_threads, false},
        {"nested_go_main", nested_go_main, false},
    };
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_asleep_is_a_deadlock),
        cmocka_unit_test(whoever_may_be_woken_is_not_dead),
        cmocka_unit_test(a_changing_number_of_ps_is_no_deadlock),
        cmocka_unit_test(too_many_blocked_threads_end_the_program),
        cmocka_unit_test(go_main_in_a_goroutine_panics),
    };

    CHILD_MAIN(argc, argv, children);
    return cmocka_run_group_tests_name("deadlock", tests, NULL, NULL);
}
