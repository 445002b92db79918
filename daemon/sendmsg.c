/*
 * sendmsg() as the rest of the process shall see it: nng finds this one before libc's.
 *
 * A client that connects and leaves at once makes the first write to it fail with EPIPE. nng
 * 1.5.2 calls that NNG_ECLOSED, and its listener, which hears NNG_ECLOSED also when it has
 * been closed itself, then accepts nobody else, for ever (nng, src/core/listener.c,
 * listener_accept_cb). With ECONNRESET, which says the same of a stream, it goes on.
 */
#include <errno.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

ssize_t
sendmsg(int fd, const struct msghdr *message, int flags)
{
    ssize_t n = syscall(SYS_sendmsg, fd, message, flags);

    if (n < 0 && errno == EPIPE)
        errno = ECONNRESET;
    return n;
}
