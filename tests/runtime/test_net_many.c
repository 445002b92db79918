/* The netpoller under load: ten thousand connections, and waits that race with everything. */
#define _GNU_SOURCE
#include "tests/support/gotest.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runtime/base/san.h"

/* ThreadSanitizer knows 8128 fibers at most. */
#define CONNECTIONS (GO_TSAN || GO_ASAN ? 2000 : 10000)
#define ROUNDS      3
#define IN_ANY      go_deadline(120 * GO_SECOND) /* a limit against hangs, never reached */

/* --- a goroutine at each end of ten thousand connections ----------------------------------------
 *
 * The clients are a process of their own, so that each needs no more than 10 000 fds. */

static int listener; /* constant while the servers run */

static void
serve(int fd)
{
    uint32_t msg;
    ssize_t n;

    while ((n = go_fd_read_full(fd, &msg, sizeof(msg), IN_ANY)) == (ssize_t)sizeof(msg)) {
        msg++;
        CHECK_INT(go_fd_write(fd, &msg, sizeof(msg), IN_ANY), sizeof(msg));
    }
    CHECK_INT(n, 0);
    CHECK_INT(go_fd_close(fd), 0);
}

GO_TEST(serve_all)
{
    struct go_wg wg = GO_WG_INIT;

    for (int i = 0; i < CONNECTIONS; i++) {
        const int fd = go_fd_accept(listener, NULL, NULL, IN_ANY);

        REQUIRE(fd >= 0);
        REQUIRE(go_wg_go(&wg, serve, fd) > 0);
    }
    go_wg_wait(&wg);
}

struct clients {
    struct sockaddr_in addr;
    struct go_sem dialling; /* fewer than the backlog holds */
    struct go_wg connected;
};

/* Once all are connected, each asks ROUNDS times. */
static void
ask(struct clients *c, uint32_t id)
{
    int fd;

    go_sem_acquire(&c->dialling, 1);
    fd = go_dial((struct sockaddr *)&c->addr, sizeof(c->addr), IN_ANY);
    go_sem_release(&c->dialling, 1);
    REQUIRE(fd >= 0);
    go_wg_done(&c->connected);
    go_wg_wait(&c->connected);

    for (uint32_t i = 0; i < ROUNDS; i++) {
        uint32_t msg = id * ROUNDS + i;

        CHECK_INT(go_fd_write(fd, &msg, sizeof(msg), IN_ANY), sizeof(msg));
        CHECK_INT(go_fd_read_full(fd, &msg, sizeof(msg), IN_ANY), sizeof(msg));
        CHECK_INT(msg, id * ROUNDS + i + 1);
    }
    CHECK_INT(go_fd_close(fd), 0);
}

/* The clients' process: argv[1] is the port. */
static int
clients_main(int argc, char **argv)
{
    struct clients c = {
        .addr = {.sin_family = AF_INET, .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}}};
    struct go_wg wg = GO_WG_INIT;

    REQUIRE(argc == 2);
    c.addr.sin_port = htons((uint16_t)strtol(argv[1], NULL, 10));
    go_sem_init(&c.dialling, 100);
    go_wg_add(&c.connected, CONNECTIONS);
    for (uint32_t i = 0; i < CONNECTIONS; i++)
        REQUIRE(go_wg_go(&wg, ask, &c, i) > 0);
    go_wg_wait(&wg);
    return gotest_failures != 0;
}

static bool
allow_files(rlim_t n)
{
    struct rlimit lim;

    if (getrlimit(RLIMIT_NOFILE, &lim) < 0)
        return false;
    if (lim.rlim_cur >= n)
        return true;
    lim.rlim_cur = n;
    if (lim.rlim_max < n)
        lim.rlim_max = n;
    return setrlimit(RLIMIT_NOFILE, &lim) == 0;
}

static void
each_of_10000_connections_has_its_goroutine(void **state)
{
    struct sockaddr_in addr = {.sin_family = AF_INET,
                               .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof(addr);
    char port[8];
    char *argv[] = {(char *)(uintptr_t) "test_net_many", port, NULL};
    int status = -1;
    pid_t pid;

    if (!allow_files(CONNECTIONS + 100)) {
        SKIP("this user may not open so many files");
    }
    listener = go_listen((struct sockaddr *)&addr, len, 4096);
    assert_true(listener >= 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&addr, &len), 0);
    (void)snprintf(port, sizeof(port), "%u", ntohs(addr.sin_port));
    assert_int_equal(posix_spawn(&pid, "/proc/self/exe", NULL, NULL, argv, environ), 0);

    serve_all(state);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_int_equal(go_fd_close(listener), 0);
}

/* --- streams over which nothing is lost, whatever the deadlines ------------------------------------ */

#define STREAMS  32
#define MESSAGES (GO_TSAN || GO_ASAN ? 300 : 2000)

/* Deadlines so short that many pass just as the data comes. */
static void
send_numbers(int fd)
{
    for (uint32_t i = 0; i < MESSAGES; i++) {
        CHECK_INT(go_fd_write(fd, &i, sizeof(i), IN_ANY), sizeof(i));
        if (i % 7 == 0)
            go_yield();
    }
}

static void
receive_numbers(int fd)
{
    for (uint32_t want = 0; want < MESSAGES;) {
        uint32_t got = 0;
        const ssize_t n =
            go_fd_read(fd, &got, sizeof(got), go_deadline(want % 40 * GO_MICROSECOND));

        if (n == -ETIMEDOUT)
            continue;
        REQUIRE(n == (ssize_t)sizeof(got));
        CHECK_INT(got, want++);
    }
}

GO_TEST(streams_lose_nothing_while_deadlines_pass)
{
    struct go_wg wg = GO_WG_INIT;
    int fd[STREAMS][2];

    for (int i = 0; i < STREAMS; i++) {
        REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0,
                           fd[i]) == 0);
        for (int end = 0; end < 2; end++) {
            REQUIRE(go_wg_go(&wg, send_numbers, fd[i][end]) > 0);
            REQUIRE(go_wg_go(&wg, receive_numbers, fd[i][end]) > 0);
        }
    }
    go_wg_wait(&wg);
    for (int i = 0; i < STREAMS; i++) {
        CHECK_INT(go_fd_close(fd[i][0]), 0);
        CHECK_INT(go_fd_close(fd[i][1]), 0);
    }
}

/* --- waits against closes --------------------------------------------------------------------------- */

#define RACERS 16
#define RACES  (GO_TSAN || GO_ASAN ? 200 : 1500)

static void
close_it(int fd)
{
    CHECK_INT(go_fd_close(fd), 0);
}

static void
write_it(int fd)
{
    CHECK_INT(go_fd_write(fd, "x", 1, IN_ANY), 1);
}

/* fd numbers go round among all racers, so an event or a wake-up that went astray would hit
 * another's wait. Each wait must end in the way its own race allows. */
static void
race(uint32_t seed)
{
    for (uint32_t i = 0; i < RACES; i++) {
        const bool closing = (i + seed) % 2 == 0;
        struct go_wg wg = GO_WG_INIT;
        char c = 0;
        ssize_t n;
        int fd[2];

        REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fd) ==
                0);
        if (closing)
            REQUIRE(go_wg_go(&wg, close_it, fd[1]) > 0);
        else
            REQUIRE(go_wg_go(&wg, write_it, fd[1]) > 0);
        n = go_fd_read(fd[0], &c, 1, IN_ANY);
        CHECK_INT(n, closing ? 0 : 1);
        CHECK_INT(c, closing ? 0 : 'x');
        go_wg_wait(&wg);
        CHECK_INT(go_fd_close(fd[0]), 0);
        if (!closing)
            CHECK_INT(go_fd_close(fd[1]), 0);
    }
}

GO_TEST(waits_end_as_they_should_while_fd_numbers_go_round)
{
    struct go_wg wg = GO_WG_INIT;

    for (uint32_t i = 0; i < RACERS; i++)
        REQUIRE(go_wg_go(&wg, race, i) > 0);
    go_wg_wait(&wg);
}

static void
wait_for_it(int fd, int *ret)
{
    *ret = go_fd_wait(fd, GO_FD_READ, IN_ANY);
}

/* The fd may be closed before, while and after the wait begins. Alone in the process, so
 * that its number is not another's meanwhile. */
GO_TEST(a_close_at_any_moment_ends_the_wait)
{
    for (int i = 0; i < RACES; i++) {
        struct go_wg wg = GO_WG_INIT;
        int fd[2], r = 1;

        REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fd) ==
                0);
        REQUIRE(go_wg_go(&wg, wait_for_it, fd[0], &r) > 0);
        for (int k = 0; k < i % 4; k++)
            go_yield();
        CHECK_INT(go_fd_close(fd[0]), 0);
        go_wg_wait(&wg);
        CHECK(r == -ECANCELED || r == -EBADF);
        CHECK_INT(go_fd_close(fd[1]), 0);
    }
}

int
main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_of_10000_connections_has_its_goroutine),
        cmocka_unit_test(streams_lose_nothing_while_deadlines_pass),
        cmocka_unit_test(waits_end_as_they_should_while_fd_numbers_go_round),
        cmocka_unit_test(a_close_at_any_moment_ends_the_wait),
    };

    if (argc > 1)
        return go_main(clients_main, argc, argv);
    return cmocka_run_group_tests_name("net_many", tests, NULL, NULL);
}
