/*
 * Netpoller: goroutines wait for file descriptors, threads do not. One epoll instance; an fd
 * is registered at its first wait and stays registered.
 *
 * Rules      An fd that was waited on must be closed with go_fd_close(), or released with
 *            go_fd_forget() before other code closes it: only that ends waits under way.
 *            One goroutine may wait to read and one to write at a time (a second gets
 *            -EBUSY).
 * Our fds    from go_fd_accept(), go_dial() and go_listen(): waiting for them costs no system
 *            call, but they are edge-triggered (a wait is for news: read or write until
 *            -EAGAIN first), and a plain close() might leave a later, foreign fd of the same
 *            number without its wake-up.
 * Foreign fds  any other that can be polled. A wait returns while they are ready, read to
 *            the end or not. So a library's socket can be waited for, or many of them,
 *            gathered in an epoll fd (examples/http_fetch.c does so for libcurl).
 */
#ifndef GOJOBD_RUNTIME_NET_POLL_H
#define GOJOBD_RUNTIME_NET_POLL_H

#include <stdint.h>

enum go_fd_event { GO_FD_READ = 1, GO_FD_WRITE = 2 };

/* PARKS until fd is ready for what was asked, hung up or in error (then the next read or
 * write says so): 0. Otherwise: -ETIMEDOUT at deadline (GO_NEVER: none); -ECANCELED if
 * go_fd_close() or go_fd_forget() came meanwhile; -EBADF for no open fd; -EBUSY see above;
 * -EPERM where the kernel cannot poll it (regular files: use a blocking region). Try the
 * operation first, wait on -EAGAIN. */
int go_fd_wait(int fd, enum go_fd_event event, int64_t deadline);

/* As go_fd_wait() without a deadline, but gives up when ctx ends, with its error; one that
 * has ended already is not waited for. NULL: no context. */
struct go_ctx;
int go_fd_wait_ctx(int fd, enum go_fd_event event, struct go_ctx *ctx);

/* Wake those who wait on fd with -ECANCELED, unregister and close it. 0 or -errno. */
int go_fd_close(int fd);

/* The same without closing: fd is the caller's again. */
int go_fd_forget(int fd);

#endif
