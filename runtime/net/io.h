/*
 * Blocking-style I/O on non-blocking descriptors: each call tries at once and parks on the
 * netpoller while the kernel says EAGAIN. All PARK; all return a count or 0 on success,
 * else -errno: what the system call said, or what go_fd_wait() did (-ETIMEDOUT past
 * deadline, -ECANCELED when fd was closed meanwhile). EINTR is retried.
 */
#ifndef GOJOBD_RUNTIME_NET_IO_H
#define GOJOBD_RUNTIME_NET_IO_H

#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>

/* Make fd non-blocking: for descriptors made elsewhere. 0 or -errno. */
int go_fd_nonblock(int fd);

/* As read(2): 0 is the end of the stream. */
ssize_t go_fd_read(int fd, void *buf, size_t len, int64_t deadline);

/* Exactly len bytes: len, or less at the end of the stream. */
ssize_t go_fd_read_full(int fd, void *buf, size_t len, int64_t deadline);

/* All of len bytes, or an error (how much was written is then unknown). No SIGPIPE for
 * sockets: -EPIPE. */
ssize_t go_fd_write(int fd, const void *buf, size_t len, int64_t deadline);

/* A connected, non-blocking, close-on-exec descriptor, or -errno. addr may be NULL. A
 * connection that its peer aborted while it was queued is skipped, as in Go. */
int go_fd_accept(int fd, struct sockaddr *addr, socklen_t *len, int64_t deadline);

/* Connect a non-blocking socket. A Unix socket whose listener's backlog is full is tried
 * again until deadline. */
int go_fd_connect(int fd, const struct sockaddr *addr, socklen_t len, int64_t deadline);

/* A listening stream socket on addr (sockaddr_in, _in6 or _un), non-blocking, SO_REUSEADDR.
 * TCP connections accepted from it have TCP_NODELAY, as in Go. */
int go_listen(const struct sockaddr *addr, socklen_t len, int backlog);

/* Connect a new stream socket (TCP_NODELAY) to addr: its descriptor or -errno. Close it
 * with go_fd_close(). */
int go_dial(const struct sockaddr *addr, socklen_t len, int64_t deadline);

#endif
