#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "daemon/store/inner.h"

/*
 * One daemon a database: an flock on "<path>.lock", which holds the owner's pid for the
 * message of whoever comes second. The kernel drops the lock with the process, so a stale
 * file means nothing; it is never deleted, because a second daemon could hold the deleted
 * file's lock while a third one makes a new file.
 */

static void
read_pid(int fd, char *buf, size_t size)
{
    ssize_t n = pread(fd, buf, size - 1, 0);

    buf[n > 0 ? n : 0] = '\0';
    buf[strcspn(buf, "\n")] = '\0';
    if (buf[0] == '\0' || strspn(buf, "0123456789") != strlen(buf))
        snprintf(buf, size, "unknown");
}

int
store_lock(const char *path, int *ret_fd, char *err, size_t err_size)
{
    char *name = NULL;
    char pid[32];
    int fd, r;

    if (asprintf(&name, "%s.lock", path) < 0) {
        snprintf(err, err_size, "out of memory");
        return -ENOMEM;
    }
    fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0640);
    if (fd < 0) {
        r = -errno;
        snprintf(err, err_size, "cannot open the lock file %s: %s", name, strerror(-r));
        free(name);
        return r;
    }
    free(name);
    if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        r = errno == EWOULDBLOCK ? -EBUSY : -errno;
        if (r == -EBUSY) {
            read_pid(fd, pid, sizeof(pid));
            snprintf(err, err_size, "%s is in use by another gojobd (pid %s)", path, pid);
        } else {
            snprintf(err, err_size, "cannot lock %s: %s", path, strerror(-r));
        }
        close(fd);
        return r;
    }
    /* The pid is a courtesy: on a full disk the lock holds without it. */
    r = snprintf(pid, sizeof(pid), "%ld\n", (long)getpid());
    if (ftruncate(fd, 0) == 0)
        (void)!pwrite(fd, pid, (size_t)r, 0);
    *ret_fd = fd;
    return 0;
}

void
store_unlock(int fd)
{
    if (fd >= 0)
        close(fd);
}
