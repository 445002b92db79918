/* Who waits for descriptors, and where: under a context, beside busy processors, on foreign
 * threads, on kernels without epoll_pwait2. */
#define _GNU_SOURCE
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <spawn.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "tests/runtime/net_pairs.h"

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
    return cmocka_run_group_tests_name("net_who", tests, NULL, NULL);
}
