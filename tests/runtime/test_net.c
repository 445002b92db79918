/* Waiting for descriptors: go_fd_wait, go_fd_close, go_fd_forget. */
#define _GNU_SOURCE
#include <stddef.h>
#include <sys/epoll.h>

#include "tests/runtime/net_pairs.h"

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

int
main(void)
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
    };

    return cmocka_run_group_tests_name("net", tests, NULL, NULL);
}
