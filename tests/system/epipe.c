/*
 * For LD_PRELOAD: the next message sent while the file $EPIPE_ONCE exists fails with EPIPE,
 * and the file goes. So a test meets the moment in which the other side has just ended.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

ssize_t
sendmsg(int fd, const struct msghdr *message, int flags)
{
    const char *file = getenv("EPIPE_ONCE");

    if (file != NULL && unlink(file) == 0) {
        errno = EPIPE;
        return -1;
    }
    return syscall(SYS_sendmsg, fd, message, flags);
}
