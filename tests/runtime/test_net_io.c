/* Blocking-style I/O: read, write, accept, connect, listen, dial. */
#define _GNU_SOURCE
#include "tests/support/gotest.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

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

/* An address, and one of the calls that take it by its generic type. */
union address {
    struct sockaddr any;
    struct sockaddr_in in;
    struct sockaddr_in6 in6;
    struct sockaddr_un un;
};

/* Listen where the system likes (an abstract Unix name, a free port): the fd, and the
 * address it got. */
static int
listen_any(sa_family_t family, int backlog, union address *a, socklen_t *len)
{
    int fd;

    *a = (union address){.any.sa_family = family};
    *len = sizeof(sa_family_t);
    if (family == AF_INET) {
        a->in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        *len = sizeof(a->in);
    } else if (family == AF_INET6) {
        a->in6.sin6_addr = in6addr_loopback;
        *len = sizeof(a->in6);
    }
    fd = go_listen(&a->any, *len, backlog);
    if (fd >= 0) {
        *len = sizeof(*a);
        REQUIRE(getsockname(fd, &a->any, len) == 0);
    }
    return fd;
}

/* --- read and write ---------------------------------------------------------------------------- */

#define BIG (1 << 20)

static unsigned char
pattern(size_t i)
{
    return (unsigned char)(i * 31 + (i >> 8));
}

static void
write_big(int fd)
{
    unsigned char *buf = malloc(BIG);

    REQUIRE(buf != NULL);
    for (size_t i = 0; i < BIG; i++)
        buf[i] = pattern(i);
    CHECK_INT(go_fd_write(fd, buf, BIG, IN_ANY), BIG);
    free(buf);
    CHECK_INT(go_fd_close(fd), 0);
}

static void
read_big(int fd)
{
    unsigned char buf[1000];
    size_t have = 0;
    size_t wrong = 0;

    for (;;) {
        const ssize_t n = go_fd_read(fd, buf, sizeof(buf), IN_ANY);

        REQUIRE(n >= 0);
        if (n == 0)
            break;
        for (ssize_t i = 0; i < n; i++)
            wrong += buf[i] != pattern(have++);
    }
    CHECK_INT(have, BIG);
    CHECK_INT(wrong, 0);
    CHECK_INT(go_fd_close(fd), 0);
}

GO_TEST(a_megabyte_passes_a_socket_whole)
{
    struct go_wg wg = GO_WG_INIT;
    int fd[2];

    pair(fd);
    REQUIRE(go_wg_go(&wg, write_big, fd[1]) > 0);
    read_big(fd[0]);
    go_wg_wait(&wg);
}

GO_TEST(a_megabyte_passes_a_pipe_whole)
{
    struct go_wg wg = GO_WG_INIT;
    int fd[2];

    REQUIRE(pipe2(fd, O_NONBLOCK | O_CLOEXEC) == 0);
    REQUIRE(go_wg_go(&wg, write_big, fd[1]) > 0);
    read_big(fd[0]);
    go_wg_wait(&wg);
}

static void
write_in_pieces(int fd)
{
    for (int i = 0; i < 10; i++) {
        CHECK_INT(go_fd_write(fd, &"0123456789"[i], 1, IN_ANY), 1);
        go_yield();
    }
    CHECK_INT(go_fd_close(fd), 0);
}

GO_TEST(read_full_gathers_pieces_and_stops_at_the_end)
{
    struct go_wg wg = GO_WG_INIT;
    char buf[8];
    int fd[2];

    pair(fd);
    REQUIRE(go_wg_go(&wg, write_in_pieces, fd[1]) > 0);
    CHECK_INT(go_fd_read_full(fd[0], buf, sizeof(buf), IN_ANY), 8);
    CHECK(memcmp(buf, "01234567", 8) == 0);
    CHECK_INT(go_fd_read_full(fd[0], buf, sizeof(buf), IN_ANY), 2);
    CHECK(memcmp(buf, "89", 2) == 0);
    CHECK_INT(go_fd_read_full(fd[0], buf, sizeof(buf), IN_ANY), 0);
    CHECK_INT(go_fd_read(fd[0], buf, sizeof(buf), IN_ANY), 0);
    go_wg_wait(&wg);
    CHECK_INT(go_fd_close(fd[0]), 0);
}

GO_TEST(nothing_to_transfer_is_no_wait)
{
    char c;
    int fd[2];

    pair(fd);
    CHECK_INT(go_fd_read_full(fd[0], &c, 0, IN_ANY), 0);
    CHECK_INT(go_fd_write(fd[0], &c, 0, IN_ANY), 0);
    close_pair(fd);
}

GO_TEST(a_deadline_ends_read_and_write)
{
    char buf[4096] = {0};
    int fd[2];
    ssize_t n;

    pair(fd);
    CHECK_INT(go_fd_read(fd[0], buf, sizeof(buf), SOON), -ETIMEDOUT);
    CHECK_INT(go_fd_read_full(fd[0], buf, sizeof(buf), SOON), -ETIMEDOUT);
    do {
        n = go_fd_write(fd[0], buf, sizeof(buf), SOON);
    } while (n > 0);
    CHECK_INT(n, -ETIMEDOUT);
    close_pair(fd);
}

GO_TEST(what_is_there_is_read_past_the_deadline)
{
    char c = 0;
    int fd[2];

    pair(fd);
    CHECK_INT(go_fd_write(fd[1], "x", 1, 0), 1);
    CHECK_INT(go_fd_read(fd[0], &c, 1, 0), 1);
    CHECK_INT(c, 'x');
    close_pair(fd);
}

GO_TEST(write_to_a_closed_socket_says_so_without_a_signal)
{
    int fd[2];

    pair(fd);
    CHECK_INT(go_fd_close(fd[1]), 0);
    CHECK_INT(go_fd_write(fd[0], "x", 1, IN_ANY), -EPIPE);
    CHECK_INT(go_fd_close(fd[0]), 0);
}

static void
read_until_cancelled(int fd, int *ret)
{
    char c;

    *ret = (int)go_fd_read(fd, &c, 1, IN_ANY);
}

GO_TEST(close_cancels_a_read)
{
    struct go_wg wg = GO_WG_INIT;
    int fd[2], r = 1;

    pair(fd);
    REQUIRE(go_wg_go(&wg, read_until_cancelled, fd[0], &r) > 0);
    /* Refused as soon as the reader waits. */
    while (go_fd_wait(fd[0], GO_FD_READ, 0) != -EBUSY)
        go_yield();
    CHECK_INT(go_fd_close(fd[0]), 0);
    go_wg_wait(&wg);
    CHECK_INT(r, -ECANCELED);
    CHECK_INT(go_fd_close(fd[1]), 0);
}

GO_TEST(bad_descriptors_are_errors)
{
    union address a = {.any.sa_family = AF_INET};
    char c = 0;

    CHECK_INT(go_fd_read(-1, &c, 1, IN_ANY), -EBADF);
    CHECK_INT(go_fd_write(-1, &c, 1, IN_ANY), -EBADF);
    CHECK_INT(go_fd_accept(-1, NULL, NULL, IN_ANY), -EBADF);
    CHECK_INT(go_fd_connect(-1, &a.any, sizeof(a.in), IN_ANY), -EBADF);
    CHECK_INT(go_fd_nonblock(-1), -EBADF);
}

GO_TEST(nonblock_makes_a_blocking_pipe_fit_to_wait_on)
{
    char c;
    int fd[2];

    REQUIRE(pipe2(fd, O_CLOEXEC) == 0);
    CHECK_INT(go_fd_nonblock(fd[0]), 0);
    CHECK_INT(go_fd_nonblock(fd[0]), 0);
    CHECK(fcntl(fd[0], F_GETFL) & O_NONBLOCK);
    CHECK_INT(go_fd_read(fd[0], &c, 1, SOON), -ETIMEDOUT);
    close_pair(fd);
}

/* --- connections ---------------------------------------------------------------------------------- */

static void
echo_once(int listener)
{
    union address peer = {.any.sa_family = AF_UNSPEC};
    socklen_t len = sizeof(peer);
    const int fd = go_fd_accept(listener, &peer.any, &len, IN_ANY);
    char buf[64];
    ssize_t n;

    REQUIRE(fd >= 0);
    CHECK(len > 0 && peer.any.sa_family != AF_UNSPEC);
    CHECK(fcntl(fd, F_GETFL) & O_NONBLOCK);
    CHECK(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    while ((n = go_fd_read(fd, buf, sizeof(buf), IN_ANY)) > 0)
        CHECK_INT(go_fd_write(fd, buf, (size_t)n, IN_ANY), n);
    CHECK_INT(n, 0);
    CHECK_INT(go_fd_close(fd), 0);
}

static void
check_echo(sa_family_t family)
{
    struct go_wg wg = GO_WG_INIT;
    union address a;
    socklen_t len;
    const int listener = listen_any(family, 16, &a, &len);
    char buf[5];
    int fd;

    if (family == AF_INET6 && (listener == -EADDRNOTAVAIL || listener == -EAFNOSUPPORT)) {
        fprintf(stderr, "no IPv6 on this machine: not tried\n");
        return;
    }
    REQUIRE(listener >= 0);
    REQUIRE(go_wg_go(&wg, echo_once, listener) > 0);
    fd = go_dial(&a.any, len, IN_ANY);
    REQUIRE(fd >= 0);
    for (int i = 0; i < 10; i++) {
        CHECK_INT(go_fd_write(fd, "hello", 5, IN_ANY), 5);
        CHECK_INT(go_fd_read_full(fd, buf, 5, IN_ANY), 5);
        CHECK(memcmp(buf, "hello", 5) == 0);
    }
    CHECK_INT(go_fd_close(fd), 0);
    go_wg_wait(&wg);
    CHECK_INT(go_fd_close(listener), 0);
}

GO_TEST(tcp_connections_carry_data)
{
    check_echo(AF_INET);
}

GO_TEST(tcp_connections_over_ipv6_carry_data)
{
    check_echo(AF_INET6);
}

GO_TEST(unix_connections_carry_data)
{
    check_echo(AF_UNIX);
}

static bool
has_nodelay(int fd)
{
    int on = 0;
    socklen_t len = sizeof(on);

    REQUIRE(getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, &len) == 0);
    return on != 0;
}

GO_TEST(both_ends_of_a_tcp_connection_send_without_delay)
{
    union address a;
    socklen_t len;
    const int listener = listen_any(AF_INET, 16, &a, &len);
    const int out = go_dial(&a.any, len, IN_ANY);
    const int in = go_fd_accept(listener, NULL, NULL, IN_ANY);

    REQUIRE(listener >= 0 && out >= 0 && in >= 0);
    CHECK(has_nodelay(out));
    CHECK(has_nodelay(in));
    CHECK_INT(go_fd_close(in), 0);
    CHECK_INT(go_fd_close(out), 0);
    CHECK_INT(go_fd_close(listener), 0);
}

GO_TEST(news_of_a_connection_that_nobody_waits_on_are_kept)
{
    union address a;
    socklen_t len;
    const int listener = listen_any(AF_INET, 16, &a, &len);
    const int out = go_dial(&a.any, len, IN_ANY);
    const int in = go_fd_accept(listener, NULL, NULL, IN_ANY);
    char c;

    REQUIRE(listener >= 0 && out >= 0 && in >= 0);
    CHECK_INT(go_fd_wait(in, GO_FD_READ, SOON), -ETIMEDOUT); /* registers it */
    for (int i = 0; i < 100; i++) {
        CHECK_INT(go_fd_write(out, "x", 1, IN_ANY), 1);
        /* The poller may see the edge now, while nobody waits. */
        go_sleep(i % 2 * (10 * GO_MICROSECOND));
        CHECK_INT(go_fd_wait(in, GO_FD_READ, IN_ANY), 0);
        CHECK_INT(go_fd_read(in, &c, 1, IN_ANY), 1);
        CHECK_INT(recv(in, &c, 1, MSG_DONTWAIT), -1);
    }
    CHECK_INT(go_fd_close(in), 0);
    CHECK_INT(go_fd_close(out), 0);
    CHECK_INT(go_fd_close(listener), 0);
}

GO_TEST(nobody_listening_refuses_the_connection)
{
    union address a;
    socklen_t len;
    const int listener = listen_any(AF_INET, 1, &a, &len);

    REQUIRE(listener >= 0);
    CHECK_INT(go_fd_close(listener), 0);
    CHECK_INT(go_dial(&a.any, len, IN_ANY), -ECONNREFUSED);
}

GO_TEST(an_address_in_use_cannot_be_listened_on)
{
    union address a;
    socklen_t len;
    const int listener = listen_any(AF_INET, 1, &a, &len);

    REQUIRE(listener >= 0);
    CHECK_INT(go_listen(&a.any, len, 1), -EADDRINUSE);
    CHECK_INT(go_fd_close(listener), 0);
}

GO_TEST(accept_gives_up_at_its_deadline)
{
    union address a;
    socklen_t len;
    const int listener = listen_any(AF_INET, 1, &a, &len);

    REQUIRE(listener >= 0);
    CHECK_INT(go_fd_accept(listener, NULL, NULL, SOON), -ETIMEDOUT);
    CHECK_INT(go_fd_close(listener), 0);
}

static void
accept_until_cancelled(int listener, int *ret)
{
    *ret = go_fd_accept(listener, NULL, NULL, IN_ANY);
}

GO_TEST(closing_the_listener_ends_accept)
{
    struct go_wg wg = GO_WG_INIT;
    union address a;
    socklen_t len;
    const int listener = listen_any(AF_INET, 1, &a, &len);
    int r = 1;

    REQUIRE(listener >= 0);
    REQUIRE(go_wg_go(&wg, accept_until_cancelled, listener, &r) > 0);
    while (go_fd_wait(listener, GO_FD_READ, 0) != -EBUSY)
        go_yield();
    CHECK_INT(go_fd_close(listener), 0);
    go_wg_wait(&wg);
    CHECK_INT(r, -ECANCELED);
}

/* Connect to a Unix listener until its backlog is full: how many there are. */
static int
fill_backlog(const union address *a, socklen_t len, int *fd, int max)
{
    for (int n = 0; n < max; n++) {
        fd[n] = go_dial(&a->any, len, SOON);
        if (fd[n] < 0) {
            CHECK_INT(fd[n], -ETIMEDOUT);
            return n;
        }
    }
    return max;
}

static void
accept_one(int listener)
{
    const int fd = go_fd_accept(listener, NULL, NULL, IN_ANY);

    CHECK(fd >= 0);
    CHECK_INT(go_fd_close(fd), 0);
}

GO_TEST(a_full_unix_backlog_delays_the_dialler_until_there_is_room)
{
    struct go_wg wg = GO_WG_INIT;
    union address a;
    socklen_t len;
    const int listener = listen_any(AF_UNIX, 1, &a, &len);
    int fd[8], n, late;

    REQUIRE(listener >= 0);
    n = fill_backlog(&a, len, fd, 8);
    REQUIRE(n > 0 && n < 8);
    REQUIRE(go_wg_go(&wg, accept_one, listener) > 0);
    late = go_dial(&a.any, len, IN_ANY);
    CHECK(late >= 0);
    go_wg_wait(&wg);
    CHECK_INT(go_fd_close(late), 0);
    while (n > 0)
        CHECK_INT(go_fd_close(fd[--n]), 0);
    CHECK_INT(go_fd_close(listener), 0);
}

GO_TEST(a_socket_waited_on_before_it_connects_still_connects)
{
    union address a;
    socklen_t len;
    const int listener = listen_any(AF_INET, 16, &a, &len);
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    REQUIRE(listener >= 0 && fd >= 0);
    /* An unconnected socket counts as hung up. */
    CHECK_INT(go_fd_wait(fd, GO_FD_WRITE, IN_ANY), 0);
    CHECK_INT(go_fd_connect(fd, &a.any, len, IN_ANY), 0);
    CHECK_INT(go_fd_write(fd, "x", 1, IN_ANY), 1);
    CHECK_INT(go_fd_close(fd), 0);
    CHECK_INT(go_fd_close(listener), 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_megabyte_passes_a_socket_whole),
        cmocka_unit_test(a_megabyte_passes_a_pipe_whole),
        cmocka_unit_test(read_full_gathers_pieces_and_stops_at_the_end),
        cmocka_unit_test(nothing_to_transfer_is_no_wait),
        cmocka_unit_test(a_deadline_ends_read_and_write),
        cmocka_unit_test(what_is_there_is_read_past_the_deadline),
        cmocka_unit_test(write_to_a_closed_socket_says_so_without_a_signal),
        cmocka_unit_test(close_cancels_a_read),
        cmocka_unit_test(bad_descriptors_are_errors),
        cmocka_unit_test(nonblock_makes_a_blocking_pipe_fit_to_wait_on),
        cmocka_unit_test(tcp_connections_carry_data),
        cmocka_unit_test(tcp_connections_over_ipv6_carry_data),
        cmocka_unit_test(unix_connections_carry_data),
        cmocka_unit_test(both_ends_of_a_tcp_connection_send_without_delay),
        cmocka_unit_test(news_of_a_connection_that_nobody_waits_on_are_kept),
        cmocka_unit_test(nobody_listening_refuses_the_connection),
        cmocka_unit_test(an_address_in_use_cannot_be_listened_on),
        cmocka_unit_test(accept_gives_up_at_its_deadline),
        cmocka_unit_test(closing_the_listener_ends_accept),
        cmocka_unit_test(a_full_unix_backlog_delays_the_dialler_until_there_is_room),
        cmocka_unit_test(a_socket_waited_on_before_it_connects_still_connects),
    };

    return cmocka_run_group_tests_name("net_io", tests, NULL, NULL);
}
