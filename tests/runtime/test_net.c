/* Waiting for descriptors: go_fd_wait, go_fd_close, go_fd_forget. */
#define _GNU_SOURCE
#include "tests/support/gotest.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <spawn.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runtime/sched/rt.h"

#define SOON   go_deadline(2 * GO_MILLISECOND)
#define IN_ANY go_deadline(30 * GO_SECOND) /* a limit against hangs, never reached */

static void
pair(int fd[2])
{
    REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fd) == 0);
}

static void
close_pair(const int fd[2])
{
    CHECK_INT(go_fd_close(fd[0]), 0);
    CHECK_INT(go_fd_close(fd[1]), 0);
}

static void
put(int fd, const char *s)
{
    REQUIRE(write(fd, s, strlen(s)) == (ssize_t)strlen(s));
}

/* Fill fd's buffer, so that it is not writable. */
static void
fill(int fd)
{
    char block[4096] = {0};

    while (write(fd, block, sizeof(block)) > 0)
        ;
    REQUIRE(errno == EAGAIN);
}

static void
drain(int fd)
{
    char block[4096];

    while (read(fd, block, sizeof(block)) > 0)
        ;
}

/* A wait running in a goroutine of its own. */
struct wait {
    int fd;
    enum go_fd_event event;
    int64_t deadline;
    struct go_ctx *ctx;
    int result;
    struct go_wg wg;
};

static void
wait_run(struct wait *w)
{
    w->result = go_fd_wait(w->fd, w->event, w->deadline);
}

static void
wait_start(struct wait *w, int fd, enum go_fd_event event)
{
    *w = (struct wait){.fd = fd, .event = event, .deadline = IN_ANY};
    REQUIRE(go_wg_go(&w->wg, wait_run, w) > 0);
}

static int
wait_end(struct wait *w)
{
    go_wg_wait(&w->wg);
    return w->result;
}

/* Let n goroutines come to wait for fds. */
static void
await_parked(uint32_t n)
{
    while (__atomic_load_n(&rt_poll_waiters, __ATOMIC_SEQ_CST) != n)
        go_yield();
}

GO_TEST(data_wakes_who_waits_to_read)
{
    struct wait w;
    int fd[2];

    pair(fd);
    wait_start(&w, fd[0], GO_FD_READ);
    await_parked(1);
    put(fd[1], "x");
    CHECK_INT(wait_end(&w), 0);
    close_pair(fd);
}

GO_TEST(room_wakes_who_waits_to_write)
{
    struct wait w;
    int fd[2];

    pair(fd);
    fill(fd[0]);
    wait_start(&w, fd[0], GO_FD_WRITE);
    await_parked(1);
    drain(fd[1]);
    CHECK_INT(wait_end(&w), 0);
    close_pair(fd);
}

GO_TEST(pipes_work_as_sockets_do)
{
    struct wait w;
    int fd[2];

    REQUIRE(pipe2(fd, O_NONBLOCK | O_CLOEXEC) == 0);
    wait_start(&w, fd[0], GO_FD_READ);
    await_parked(1);
    put(fd[1], "x");
    CHECK_INT(wait_end(&w), 0);
    drain(fd[0]);

    fill(fd[1]);
    wait_start(&w, fd[1], GO_FD_WRITE);
    await_parked(1);
    drain(fd[0]);
    CHECK_INT(wait_end(&w), 0);
    close_pair(fd);
}

GO_TEST(an_edge_before_the_wait_is_not_lost)
{
    struct wait w;
    char c;
    int fd[2];

    pair(fd);
    /* First wait on a readable fd: the edge comes with the registration. */
    put(fd[1], "x");
    CHECK_INT(go_fd_wait(fd[0], GO_FD_READ, IN_ANY), 0);
    CHECK_INT(read(fd[0], &c, 1), 1);

    /* Registered, nobody waits, and the poller is made to see the edge: a wait on another
     * fd, readable only later, cannot end before. */
    for (int i = 0; i < 100; i++) {
        int other[2];

        pair(other);
        put(fd[1], "x");
        wait_start(&w, other[0], GO_FD_READ);
        await_parked(1);
        put(other[1], "x");
        CHECK_INT(wait_end(&w), 0);
        close_pair(other);

        CHECK_INT(go_fd_wait(fd[0], GO_FD_READ, IN_ANY), 0);
        CHECK_INT(read(fd[0], &c, 1), 1);
    }
    close_pair(fd);
}

GO_TEST(a_foreign_fd_with_bytes_left_unread_is_still_ready)
{
    char c;
    int fd[2];

    pair(fd);
    put(fd[1], "abc");
    for (int i = 0; i < 3; i++) {
        CHECK_INT(go_fd_wait(fd[0], GO_FD_READ, IN_ANY), 0);
        CHECK_INT(read(fd[0], &c, 1), 1);
        CHECK_INT(c, 'a' + i);
    }
    CHECK_INT(go_fd_wait(fd[0], GO_FD_READ, SOON), -ETIMEDOUT);
    for (int i = 0; i < 3; i++)
        CHECK_INT(go_fd_wait(fd[0], GO_FD_WRITE, IN_ANY), 0);
    close_pair(fd);
}

GO_TEST(a_hang_up_wakes_both_directions)
{
    struct wait reader, writer;
    int fd[2];

    pair(fd);
    fill(fd[0]);
    wait_start(&reader, fd[0], GO_FD_READ);
    wait_start(&writer, fd[0], GO_FD_WRITE);
    await_parked(2);
    CHECK_INT(go_fd_close(fd[1]), 0);
    CHECK_INT(wait_end(&reader), 0);
    CHECK_INT(wait_end(&writer), 0);
    CHECK_INT(go_fd_close(fd[0]), 0);
}

GO_TEST(the_end_of_the_stream_wakes_the_reader)
{
    struct wait w;
    int fd[2];

    pair(fd);
    wait_start(&w, fd[0], GO_FD_READ);
    await_parked(1);
    REQUIRE(shutdown(fd[1], SHUT_WR) == 0);
    CHECK_INT(wait_end(&w), 0);
    close_pair(fd);
}

GO_TEST(a_deadline_ends_the_wait_and_not_early)
{
    int fd[2];

    pair(fd);
    for (int i = 0; i < 5; i++) {
        const int64_t deadline = SOON;

        CHECK_INT(go_fd_wait(fd[0], GO_FD_READ, deadline), -ETIMEDOUT);
        CHECK(go_now() >= deadline);
    }
    close_pair(fd);
}

GO_TEST(a_past_deadline_ends_the_wait_at_once)
{
    int fd[2];

    pair(fd);
    CHECK_INT(go_fd_wait(fd[0], GO_FD_READ, go_now() - 1), -ETIMEDOUT);
    CHECK_INT(go_fd_wait(fd[0], GO_FD_READ, 0), -ETIMEDOUT);
    CHECK_INT(go_fd_wait(fd[0], GO_FD_READ, -5), -ETIMEDOUT);
    close_pair(fd);
}

GO_TEST(a_wait_after_a_deadline_is_woken_as_usual)
{
    struct wait w;
    int fd[2];

    pair(fd);
    CHECK_INT(go_fd_wait(fd[0], GO_FD_READ, SOON), -ETIMEDOUT);
    wait_start(&w, fd[0], GO_FD_READ);
    await_parked(1);
    put(fd[1], "x");
    CHECK_INT(wait_end(&w), 0);
    close_pair(fd);
}

GO_TEST(close_cancels_the_waits_of_both_directions)
{
    struct wait reader, writer;
    int fd[2];

    pair(fd);
    fill(fd[0]);
    wait_start(&reader, fd[0], GO_FD_READ);
    wait_start(&writer, fd[0], GO_FD_WRITE);
    await_parked(2);
    CHECK_INT(go_fd_close(fd[0]), 0);
    CHECK_INT(wait_end(&reader), -ECANCELED);
    CHECK_INT(wait_end(&writer), -ECANCELED);
    CHECK_INT(fcntl(fd[0], F_GETFD), -1);
    CHECK_INT(go_fd_close(fd[1]), 0);
}

GO_TEST(forget_cancels_the_wait_and_leaves_the_fd)
{
    struct wait w;
    int fd[2];

    pair(fd);
    wait_start(&w, fd[0], GO_FD_READ);
    await_parked(1);
    CHECK_INT(go_fd_forget(fd[0]), 0);
    CHECK_INT(wait_end(&w), -ECANCELED);
    CHECK(fcntl(fd[0], F_GETFD) >= 0);

    wait_start(&w, fd[0], GO_FD_READ);
    await_parked(1);
    put(fd[1], "x");
    CHECK_INT(wait_end(&w), 0);
    close_pair(fd);
}

GO_TEST(a_second_waiter_of_a_direction_is_refused)
{
    struct wait reader, writer;
    int fd[2];

    pair(fd);
    fill(fd[0]);
    wait_start(&reader, fd[0], GO_FD_READ);
    wait_start(&writer, fd[0], GO_FD_WRITE);
    await_parked(2);
    CHECK_INT(go_fd_wait(fd[0], GO_FD_READ, IN_ANY), -EBUSY);
    CHECK_INT(go_fd_wait(fd[0], GO_FD_WRITE, IN_ANY), -EBUSY);
    put(fd[1], "x");
    CHECK_INT(wait_end(&reader), 0);
    drain(fd[1]);
    CHECK_INT(wait_end(&writer), 0);
    close_pair(fd);
}

GO_TEST(no_open_fd_is_an_error)
{
    int fd[2];

    CHECK_INT(go_fd_wait(-1, GO_FD_READ, IN_ANY), -EBADF);
    CHECK_INT(go_fd_wait(INT32_MAX, GO_FD_READ, IN_ANY), -EBADF);
    CHECK_INT(go_fd_close(-1), -EBADF);
    CHECK_INT(go_fd_close(INT32_MAX), -EBADF);
    CHECK_INT(go_fd_forget(-1), -EBADF);
    CHECK_INT(go_fd_forget(INT32_MAX), -EBADF);

    pair(fd);
    CHECK_INT(go_fd_wait(fd[0], GO_FD_READ, SOON), -ETIMEDOUT);
    CHECK_INT(go_fd_close(fd[0]), 0);
    CHECK_INT(go_fd_close(fd[0]), -EBADF);
    CHECK_INT(go_fd_forget(fd[0]), -EBADF);
    CHECK_INT(go_fd_wait(fd[0], GO_FD_READ, IN_ANY), -EBADF);
    CHECK_INT(go_fd_close(fd[1]), 0);
}

GO_TEST(an_unknown_event_is_an_error)
{
    int fd[2];

    pair(fd);
    CHECK_INT(go_fd_wait(fd[0], (enum go_fd_event)0, IN_ANY), -EINVAL);
    CHECK_INT(go_fd_wait(fd[0], (enum go_fd_event)3, IN_ANY), -EINVAL);
    close_pair(fd);
}

GO_TEST(a_regular_file_cannot_be_polled)
{
    const int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);

    REQUIRE(fd >= 0);
    CHECK_INT(go_fd_wait(fd, GO_FD_READ, IN_ANY), -EPERM);
    CHECK_INT(go_fd_close(fd), 0);
}

GO_TEST(a_number_closed_behind_our_back_and_reused_still_wakes)
{
    struct wait w;
    int old[2], fresh[2];

    pair(old);
    pair(fresh);
    CHECK_INT(go_fd_wait(old[0], GO_FD_READ, SOON), -ETIMEDOUT);
    REQUIRE(dup2(fresh[0], old[0]) == old[0]); /* a close and a reuse in one */

    wait_start(&w, old[0], GO_FD_READ);
    await_parked(1);
    put(fresh[1], "x");
    CHECK_INT(wait_end(&w), 0);
    close_pair(old);
    close_pair(fresh);
}

GO_TEST(the_next_wait_on_a_reused_number_cancels_the_former_ones)
{
    struct wait former, now;
    int old[2], fresh[2];

    pair(old);
    pair(fresh);
    fill(fresh[0]);
    wait_start(&former, old[0], GO_FD_READ);
    await_parked(1);
    REQUIRE(dup2(fresh[0], old[0]) == old[0]);

    wait_start(&now, old[0], GO_FD_WRITE);
    CHECK_INT(wait_end(&former), -ECANCELED);
    drain(fresh[1]);
    CHECK_INT(wait_end(&now), 0);
    close_pair(old);
    close_pair(fresh);
}

GO_TEST(a_wait_on_a_number_closed_behind_our_back_fails)
{
    struct wait former;
    int fd[2];

    pair(fd);
    wait_start(&former, fd[0], GO_FD_READ);
    await_parked(1);
    REQUIRE(close(fd[0]) == 0);
    CHECK_INT(go_fd_wait(fd[0], GO_FD_WRITE, IN_ANY), -EBADF);
    CHECK_INT(wait_end(&former), -ECANCELED);
    CHECK_INT(go_fd_close(fd[1]), 0);
}

GO_TEST(events_of_a_closed_fd_do_not_reach_its_successor)
{
    for (int i = 0; i < 200; i++) {
        int fd[2], next[2];

        pair(fd);
        CHECK_INT(go_fd_wait(fd[0], GO_FD_READ, 0), -ETIMEDOUT);
        put(fd[1], "x"); /* an event the poller has not fetched, as likely as not */
        CHECK_INT(go_fd_close(fd[0]), 0);
        pair(next);
        CHECK(next[0] == fd[0]);
        CHECK_INT(go_fd_wait(next[0], GO_FD_READ, go_deadline(50 * GO_MICROSECOND)),
                  -ETIMEDOUT);
        close_pair(next);
        CHECK_INT(go_fd_close(fd[1]), 0);
    }
}

GO_TEST(an_epoll_fd_of_another_loop_can_be_waited_for)
{
    struct epoll_event ev = {.events = EPOLLIN};
    const int loop = epoll_create1(EPOLL_CLOEXEC);
    struct wait w;
    int fd[2];

    REQUIRE(loop >= 0);
    pair(fd);
    REQUIRE(epoll_ctl(loop, EPOLL_CTL_ADD, fd[0], &ev) == 0);
    wait_start(&w, loop, GO_FD_READ);
    await_parked(1);
    put(fd[1], "x");
    CHECK_INT(wait_end(&w), 0);
    CHECK_INT(epoll_wait(loop, &ev, 1, 0), 1);
    CHECK_INT(go_fd_close(loop), 0);
    close_pair(fd);
}

/* --- contexts ----------------------------------------------------------------------------------- */

static void
wait_ctx_run(struct wait *w)
{
    w->result = go_fd_wait_ctx(w->fd, w->event, w->ctx);
}

static void
wait_ctx_start(struct wait *w, int fd, struct go_ctx *ctx)
{
    *w = (struct wait){.fd = fd, .event = GO_FD_READ, .ctx = ctx};
    REQUIRE(go_wg_go(&w->wg, wait_ctx_run, w) > 0);
}

GO_TEST(the_end_of_its_context_ends_a_wait)
{
    struct go_ctx *ctx = go_ctx_with_cancel(go_ctx_background());
    struct wait w;
    int fd[2];

    pair(fd);
    wait_ctx_start(&w, fd[0], ctx);
    await_parked(1);
    go_ctx_cancel(ctx);
    CHECK_INT(wait_end(&w), -ECANCELED);
    CHECK_INT(go_fd_wait_ctx(fd[0], GO_FD_READ, ctx), -ECANCELED);
    go_ctx_unref(ctx);
    close_pair(fd);
}

GO_TEST(the_deadline_of_its_context_ends_a_wait)
{
    struct go_ctx *ctx = go_ctx_with_timeout(go_ctx_background(), 2 * GO_MILLISECOND);
    int fd[2];

    pair(fd);
    CHECK_INT(go_fd_wait_ctx(fd[0], GO_FD_READ, ctx), -ETIMEDOUT);
    go_ctx_unref(ctx);
    close_pair(fd);
}

GO_TEST(data_wakes_a_wait_under_a_context)
{
    struct go_ctx *ctx = go_ctx_with_cancel(go_ctx_background());
    struct wait w;
    int fd[2];

    pair(fd);
    for (int i = 0; i < 3; i++) {
        wait_ctx_start(&w, fd[0], ctx);
        await_parked(1);
        put(fd[1], "x");
        CHECK_INT(wait_end(&w), 0);
        drain(fd[0]);
    }
    wait_ctx_start(&w, fd[0], NULL);
    await_parked(1);
    put(fd[1], "x");
    CHECK_INT(wait_end(&w), 0);
    go_ctx_unref(ctx);
    close_pair(fd);
}

static void
cancel_it(struct go_ctx *ctx)
{
    go_ctx_cancel(ctx);
}

static void
put_it(int fd)
{
    put(fd, "x");
}

GO_TEST(a_cancellation_that_races_with_data_ends_the_wait_once)
{
    for (int i = 0; i < 500; i++) {
        struct go_ctx *ctx = go_ctx_with_cancel(go_ctx_background());
        struct go_wg wg = GO_WG_INIT;
        int fd[2], r;

        pair(fd);
        REQUIRE(go_wg_go(&wg, cancel_it, ctx) > 0);
        if (i % 2 == 0)
            REQUIRE(go_wg_go(&wg, put_it, fd[1]) > 0);
        r = go_fd_wait_ctx(fd[0], GO_FD_READ, ctx);
        CHECK(r == -ECANCELED || (r == 0 && i % 2 == 0));
        go_wg_wait(&wg);
        go_ctx_unref(ctx);
        close_pair(fd);
    }
}

/* --- while others keep the processors busy --------------------------------------------------- */

static void
spin_until(uint32_t *stop)
{
    while (!__atomic_load_n(stop, __ATOMIC_ACQUIRE))
        go_yield();
}

GO_TEST(fds_are_polled_while_every_processor_is_busy)
{
    struct go_wg wg = GO_WG_INIT;
    uint32_t stop = 0;
    struct wait w;
    int fd[2];

    pair(fd);
    for (int i = 0; i < 4 * go_maxprocs(0); i++)
        REQUIRE(go_wg_go(&wg, spin_until, &stop) > 0);
    wait_start(&w, fd[0], GO_FD_READ);
    await_parked(1);
    put(fd[1], "x");
    CHECK_INT(wait_end(&w), 0);
    __atomic_store_n(&stop, 1, __ATOMIC_RELEASE);
    go_wg_wait(&wg);
    close_pair(fd);
}

/* --- foreign threads --------------------------------------------------------------------------- */

static void *
wait_thread(void *arg)
{
    wait_run(arg);
    return NULL;
}

static void
thread_start(pthread_t *t, struct wait *w, int fd, enum go_fd_event event)
{
    *w = (struct wait){.fd = fd, .event = event, .deadline = IN_ANY};
    REQUIRE(pthread_create(t, NULL, wait_thread, w) == 0);
    /* A second waiter is refused as soon as the thread waits. */
    while (go_fd_wait(fd, event, 0) != -EBUSY)
        go_yield();
}

static int
thread_end(pthread_t t, const struct wait *w)
{
    go_enter_blocking();
    REQUIRE(pthread_join(t, NULL) == 0);
    go_exit_blocking();
    return w->result;
}

GO_TEST(a_foreign_thread_waits_too)
{
    struct wait w;
    pthread_t t;
    int fd[2];

    pair(fd);
    fill(fd[0]);
    thread_start(&t, &w, fd[0], GO_FD_READ);
    put(fd[1], "x");
    CHECK_INT(thread_end(t, &w), 0);

    drain(fd[0]);
    thread_start(&t, &w, fd[0], GO_FD_WRITE);
    drain(fd[1]);
    CHECK_INT(thread_end(t, &w), 0);
    close_pair(fd);
}

GO_TEST(close_cancels_the_wait_of_a_foreign_thread)
{
    struct wait w;
    pthread_t t;
    int fd[2];

    pair(fd);
    thread_start(&t, &w, fd[0], GO_FD_READ);
    CHECK_INT(go_fd_close(fd[0]), 0);
    CHECK_INT(thread_end(t, &w), -ECANCELED);
    CHECK_INT(go_fd_close(fd[1]), 0);
}

static void *
wait_ctx_thread(void *arg)
{
    wait_ctx_run(arg);
    return NULL;
}

GO_TEST(the_end_of_its_context_ends_the_wait_of_a_foreign_thread)
{
    struct go_ctx *ctx = go_ctx_with_cancel(go_ctx_background());
    struct wait w = {.event = GO_FD_READ, .ctx = ctx};
    pthread_t t;
    int fd[2];

    pair(fd);
    w.fd = fd[0];
    REQUIRE(pthread_create(&t, NULL, wait_ctx_thread, &w) == 0);
    while (go_fd_wait(fd[0], GO_FD_READ, 0) != -EBUSY)
        go_yield();
    go_ctx_cancel(ctx);
    CHECK_INT(thread_end(t, &w), -ECANCELED);
    go_ctx_unref(ctx);
    close_pair(fd);
}

static void *
thread_errors(void *arg)
{
    int fd[2];

    (void)arg;
    pair(fd);
    for (int i = 0; i < 3; i++) {
        const int64_t deadline = SOON;

        CHECK_INT(go_fd_wait(fd[0], GO_FD_READ, deadline), -ETIMEDOUT);
        CHECK(go_now() >= deadline);
    }
    CHECK_INT(go_fd_wait(fd[0], GO_FD_READ, 0), -ETIMEDOUT);
    CHECK_INT(go_fd_wait(-1, GO_FD_READ, IN_ANY), -EBADF);
    close_pair(fd);
    CHECK_INT(go_fd_wait(fd[0], GO_FD_READ, IN_ANY), -EBADF);
    return NULL;
}

GO_TEST(a_foreign_thread_gets_the_same_errors)
{
    pthread_t t;

    REQUIRE(pthread_create(&t, NULL, thread_errors, NULL) == 0);
    go_enter_blocking();
    REQUIRE(pthread_join(t, NULL) == 0);
    go_exit_blocking();
}

/* --- a kernel without epoll_pwait2 --------------------------------------------------------------- */

static int
coarse_main(int argc, char **argv)
{
    int fd[2];

    (void)argc;
    (void)argv;
    pair(fd);
    for (int i = 0; i < 5; i++) {
        const int64_t deadline = go_deadline(300 * GO_MICROSECOND);

        CHECK_INT(go_fd_wait(fd[0], GO_FD_READ, deadline), -ETIMEDOUT);
        CHECK(go_now() >= deadline);
    }
    close_pair(fd);
    return gotest_failures != 0;
}

static int
refuse_epoll_pwait2(int err)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_epoll_pwait2, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (uint32_t)err),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog prog = {.len = sizeof(code) / sizeof(code[0]), .filter = code};

    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return -errno;
    return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog) < 0 ? -errno : 0;
}

static void
run_refused(const char *how)
{
    char *argv[] = {(char *)(uintptr_t) "test_net", (char *)(uintptr_t)how, NULL};
    pid_t pid;
    int status = -1;

    assert_int_equal(posix_spawn(&pid, "/proc/self/exe", NULL, NULL, argv, environ), 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static void
deadlines_hold_without_epoll_pwait2(void **state)
{
    (void)state;
    run_refused("ENOSYS");
}

static void
deadlines_hold_where_a_filter_forbids_epoll_pwait2(void **state)
{
    (void)state;
    run_refused("EPERM");
}

int
main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(data_wakes_who_waits_to_read),
        cmocka_unit_test(room_wakes_who_waits_to_write),
        cmocka_unit_test(pipes_work_as_sockets_do),
        cmocka_unit_test(an_edge_before_the_wait_is_not_lost),
        cmocka_unit_test(a_foreign_fd_with_bytes_left_unread_is_still_ready),
        cmocka_unit_test(a_hang_up_wakes_both_directions),
        cmocka_unit_test(the_end_of_the_stream_wakes_the_reader),
        cmocka_unit_test(a_deadline_ends_the_wait_and_not_early),
        cmocka_unit_test(a_past_deadline_ends_the_wait_at_once),
        cmocka_unit_test(a_wait_after_a_deadline_is_woken_as_usual),
        cmocka_unit_test(close_cancels_the_waits_of_both_directions),
        cmocka_unit_test(forget_cancels_the_wait_and_leaves_the_fd),
        cmocka_unit_test(a_second_waiter_of_a_direction_is_refused),
        cmocka_unit_test(no_open_fd_is_an_error),
        cmocka_unit_test(an_unknown_event_is_an_error),
        cmocka_unit_test(a_regular_file_cannot_be_polled),
        cmocka_unit_test(a_number_closed_behind_our_back_and_reused_still_wakes),
        cmocka_unit_test(the_next_wait_on_a_reused_number_cancels_the_former_ones),
        cmocka_unit_test(a_wait_on_a_number_closed_behind_our_back_fails),
        cmocka_unit_test(events_of_a_closed_fd_do_not_reach_its_successor),
        cmocka_unit_test(an_epoll_fd_of_another_loop_can_be_waited_for),
        cmocka_unit_test(the_end_of_its_context_ends_a_wait),
        cmocka_unit_test(the_deadline_of_its_context_ends_a_wait),
        cmocka_unit_test(data_wakes_a_wait_under_a_context),
        cmocka_unit_test(a_cancellation_that_races_with_data_ends_the_wait_once),
        cmocka_unit_test(fds_are_polled_while_every_processor_is_busy),
        cmocka_unit_test(a_foreign_thread_waits_too),
        cmocka_unit_test(close_cancels_the_wait_of_a_foreign_thread),
        cmocka_unit_test(the_end_of_its_context_ends_the_wait_of_a_foreign_thread),
        cmocka_unit_test(a_foreign_thread_gets_the_same_errors),
        cmocka_unit_test(deadlines_hold_without_epoll_pwait2),
        cmocka_unit_test(deadlines_hold_where_a_filter_forbids_epoll_pwait2),
    };

    if (argc > 1) {
        if (refuse_epoll_pwait2(strcmp(argv[1], "EPERM") == 0 ? EPERM : ENOSYS) < 0)
            return 2;
        return go_main(coarse_main, argc, argv);
    }
    return cmocka_run_group_tests_name("net", tests, NULL, NULL);
}
