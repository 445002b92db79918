/*
 * Each call is one loop: try the system call, and while it says EAGAIN wait for the fd.
 * What an edge before the attempt told is void (rt_fd_prepare), or the wait after EAGAIN
 * would return at once for old news.
 */
#define _GNU_SOURCE
#include "runtime/net/io.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <unistd.h>

#include "runtime/base/check.h"
#include "runtime/net/fd.h"
#include "runtime/net/poll.h"
#include "runtime/sched/blocking.h"
#include "runtime/time/timer.h"

int
go_fd_nonblock(int fd)
{
    const int flags = GO_ERRNO(fcntl(fd, F_GETFL));

    if (flags < 0)
        return flags;
    if (flags & O_NONBLOCK)
        return 0;
    return GO_ERRNO(fcntl(fd, F_SETFL, flags | O_NONBLOCK));
}

/* After an attempt at event on fd that said err: 0 to try again, else the error to return. */
static int
retry(int fd, enum go_fd_event event, int err, int64_t deadline)
{
    if (err == -EINTR)
        return 0;
    if (err != -EAGAIN)
        return err;
    return go_fd_wait(fd, event, deadline);
}

ssize_t
go_fd_read(int fd, void *buf, size_t len, int64_t deadline)
{
    int r;

    do {
        ssize_t n;

        rt_fd_prepare(fd, GO_FD_READ);
        n = GO_ERRNO(read(fd, buf, len));
        if (n >= 0)
            return n;
        r = retry(fd, GO_FD_READ, (int)n, deadline);
    } while (r == 0);
    return r;
}

ssize_t
go_fd_read_full(int fd, void *buf, size_t len, int64_t deadline)
{
    size_t have = 0;

    while (have < len) {
        const ssize_t n = go_fd_read(fd, (char *)buf + have, len - have, deadline);

        if (n < 0)
            return n;
        if (n == 0)
            break;
        have += (size_t)n;
    }
    return (ssize_t)have;
}

ssize_t
go_fd_write(int fd, const void *buf, size_t len, int64_t deadline)
{
    bool is_socket = true; /* until it says otherwise */
    size_t done = 0;
    int r = 0;

    do {
        ssize_t n;

        rt_fd_prepare(fd, GO_FD_WRITE);
        if (is_socket)
            n = GO_ERRNO(send(fd, (const char *)buf + done, len - done, MSG_NOSIGNAL));
        else
            n = GO_ERRNO(write(fd, (const char *)buf + done, len - done));
        if (n >= 0)
            done += (size_t)n;
        else if (n == -ENOTSOCK && is_socket)
            is_socket = false;
        else
            r = retry(fd, GO_FD_WRITE, (int)n, deadline);
    } while (r == 0 && (done < len));
    return r < 0 ? r : (ssize_t)done;
}

/* Take charge of a descriptor just made: fd, or -errno and it is closed. */
static int
adopt(int fd)
{
    const int r = rt_fd_adopt(fd);

    if (r < 0) {
        (void)close(fd);
        return r;
    }
    return fd;
}

int
go_fd_accept(int fd, struct sockaddr *addr, socklen_t *len, int64_t deadline)
{
    const socklen_t room = addr == NULL || len == NULL ? 0 : *len;
    int r;

    do {
        int conn;

        rt_fd_prepare(fd, GO_FD_READ);
        if (room > 0)
            *len = room;
        conn = GO_ERRNO(accept4(fd, room > 0 ? addr : NULL, room > 0 ? len : NULL,
                                SOCK_NONBLOCK | SOCK_CLOEXEC));
        if (conn >= 0)
            return adopt(conn);
        /* The peer gave up while it was queued: the next one may not have. */
        if (conn == -ECONNABORTED)
            conn = -EINTR;
        r = retry(fd, GO_FD_READ, conn, deadline);
    } while (r == 0);
    return r;
}

/* Wait for the end of a connect under way: 0 or its error. */
static int
connect_finish(int fd, int64_t deadline)
{
    for (;;) {
        struct sockaddr_storage peer;
        socklen_t peer_len = sizeof(peer);
        int err = 0;
        socklen_t err_len = sizeof(err);
        int r = go_fd_wait(fd, GO_FD_WRITE, deadline);

        if (r == 0)
            r = GO_ERRNO(getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &err_len));
        if (r < 0)
            return r;
        if (err != 0)
            return -err;
        /* No error and no peer: the edge was from before the connect began. */
        if (GO_ERRNO(getpeername(fd, (struct sockaddr *)&peer, &peer_len)) != -ENOTCONN)
            return 0;
    }
}

int
go_fd_connect(int fd, const struct sockaddr *addr, socklen_t len, int64_t deadline)
{
    int64_t nap = 100 * GO_MICROSECOND;

    for (;;) {
        int r;

        rt_fd_prepare(fd, GO_FD_WRITE);
        r = GO_ERRNO(connect(fd, addr, len));
        /* An interrupted connect goes on by itself. */
        if (r == -EINPROGRESS || r == -EALREADY || r == -EINTR)
            return connect_finish(fd, deadline);
        /* A Unix socket whose backlog is full. Nothing tells when a place becomes free, so
         * ask again, ever less often. */
        if (r != -EAGAIN || addr->sa_family != AF_UNIX)
            return r;
        if (deadline != GO_NEVER && go_now() + nap > deadline)
            return -ETIMEDOUT;
        go_sleep(nap);
        if (nap < 10 * GO_MILLISECOND)
            nap *= 2;
    }
}

/* A stream socket of addr's family, non-blocking and close-on-exec, or -errno. */
static int
stream_socket(const struct sockaddr *addr)
{
    const int on = 1;
    const int fd =
        GO_ERRNO(socket(addr->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));

    if (fd < 0)
        return fd;
    /* As in Go; accepted connections inherit it from the listener. Best effort. */
    if (addr->sa_family == AF_INET || addr->sa_family == AF_INET6)
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    return adopt(fd);
}

int
go_listen(const struct sockaddr *addr, socklen_t len, int backlog)
{
    const int on = 1;
    const int fd = stream_socket(addr);
    int r;

    if (fd < 0)
        return fd;
    r = GO_ERRNO(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)));
    if (r == 0)
        r = GO_ERRNO(bind(fd, addr, len));
    if (r == 0)
        r = GO_ERRNO(listen(fd, backlog));
    if (r == 0)
        return fd;
    (void)go_fd_close(fd);
    return r;
}

int
go_dial(const struct sockaddr *addr, socklen_t len, int64_t deadline)
{
    const int fd = stream_socket(addr);
    int r;

    if (fd < 0)
        return fd;
    r = go_fd_connect(fd, addr, len, deadline);
    if (r == 0)
        return fd;
    (void)go_fd_close(fd);
    return r;
}
