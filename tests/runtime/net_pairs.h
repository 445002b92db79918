/* Pairs of descriptors, and goroutines that wait for them: for the suites of the netpoller. */
#ifndef GOJOBD_TESTS_RUNTIME_NET_PAIRS_H
#define GOJOBD_TESTS_RUNTIME_NET_PAIRS_H

#include "tests/support/gotest.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "runtime/sched/rt.h"

#define SOON   go_deadline(2 * GO_MILLISECOND)
#define IN_ANY go_deadline(30 * GO_SECOND) /* a limit against hangs, never reached */

static inline void
pair(int fd[2])
{
    REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fd) == 0);
}

static inline void
close_pair(const int fd[2])
{
    CHECK_INT(go_fd_close(fd[0]), 0);
    CHECK_INT(go_fd_close(fd[1]), 0);
}

static inline void
put(int fd, const char *s)
{
    REQUIRE(write(fd, s, strlen(s)) == (ssize_t)strlen(s));
}

/* Fill fd's buffer, so that it is not writable. */
static inline void
fill(int fd)
{
    char block[4096] = {0};

    while (write(fd, block, sizeof(block)) > 0)
        ;
    REQUIRE(errno == EAGAIN);
}

static inline void
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

static inline void
wait_run(struct wait *w)
{
    w->result = go_fd_wait(w->fd, w->event, w->deadline);
}

static inline void
wait_start(struct wait *w, int fd, enum go_fd_event event)
{
    *w = (struct wait){.fd = fd, .event = event, .deadline = IN_ANY};
    REQUIRE(go_wg_go(&w->wg, wait_run, w) > 0);
}

static inline int
wait_end(struct wait *w)
{
    go_wg_wait(&w->wg);
    return w->result;
}

/* Let n goroutines come to wait for fds. */
static inline void
await_parked(uint32_t n)
{
    while (__atomic_load_n(&rt_poll_waiters, __ATOMIC_SEQ_CST) != n)
        go_yield();
}

#endif
