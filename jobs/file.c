#define _GNU_SOURCE

#include "jobs/file.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "config/config.h"
#include "jobs/file_root.h"
#include "runtime/go.h"

static int
open_beneath(int dir, const char *path, int flags)
{
    struct open_how how = {
        .flags = (uint64_t)(flags | O_CLOEXEC),
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS,
    };
    long fd;

    do {
        fd = syscall(SYS_openat2, dir, path, &how, sizeof(how));
    } while (fd < 0 && (go_errno_() == EINTR || go_errno_() == EAGAIN));
    return fd < 0 ? -go_errno_() : (int)fd;
}

/* What of path lies below root: a pointer into path; NULL if it begins elsewhere. */
static const char *
below(const char *root, const char *path)
{
    size_t n = strlen(root);

    while (n > 1 && root[n - 1] == '/')
        n--;
    if (strncmp(root, path, n) != 0)
        return NULL;
    if (n == 1 && root[0] == '/')
        n = 0;
    if (path[n] != '\0' && path[n] != '/')
        return NULL;
    path += n;
    while (*path == '/')
        path++;
    return *path != '\0' ? path : ".";
}

/* The same when the path names the root by its links resolved. */
static const char *
below_real(const char *root, const char *path)
{
    char *real = realpath(root, NULL);
    const char *rest = real != NULL ? below(real, path) : NULL;

    free(real);
    return rest;
}

static const char *
rest_of(const char *root, const char *path)
{
    const char *rest;

    if (path[0] != '/')
        return path;
    rest = below(root, path);
    return rest != NULL ? rest : below_real(root, path);
}

static int
open_in_root(const char *root, const char *path, int flags)
{
    int dir, fd;

    dir = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0)
        return -go_errno_();
    fd = open_beneath(dir, path, flags);
    (void)close(dir);
    return fd;
}

int
job_root_open(const struct config *cfg, const char *path, int flags)
{
    int r = -EACCES; /* below no root */

    go_enter_blocking();
    for (size_t i = 0; i < cfg->files.roots.n; i++) {
        const char *root = cfg->files.roots.items[i];
        const char *rest = rest_of(root, path);
        int fd;

        if (rest == NULL)
            continue;
        fd = open_in_root(root, rest, flags);
        if (fd >= 0) {
            r = fd;
            break;
        }
        if (r == -EACCES || r == -ENOENT)
            r = fd;
        if (fd == -EACCES)
            r = -EPERM; /* the file system's refusal, not ours */
    }
    go_exit_blocking();
    return r;
}

int
job_root_error(const char *path, const char *field, int r, struct job_error *err)
{
    switch (-r) {
    case EACCES:
        (void)job_error_set(err, PB_ERROR__CODE__DENIED, field,
                            "%s is below none of the directories that files.roots lists",
                            path);
        break;
    case EXDEV:
    case ELOOP:
        (void)job_error_set(
            err, PB_ERROR__CODE__DENIED, field,
            "%s leads out of its directory in files.roots, by a link or ..", path);
        break;
    case ENOENT:
    case ENOTDIR:
        (void)job_error_set(err, PB_ERROR__CODE__NOT_FOUND, field, "%s does not exist",
                            path);
        break;
    case EPERM:
        (void)job_error_set(err, PB_ERROR__CODE__IO, field,
                            "%s: the file's permissions keep the daemon from reading it",
                            path);
        break;
    default:
        (void)job_error_set(err, PB_ERROR__CODE__IO, field, "%s: %s", path,
                            strerrordesc_np(-r));
    }
    return r;
}

int
job_path_check(const struct config *cfg, const char *path, const char *field,
               struct job_error *err)
{
    if (path[0] == '\0')
        return job_error_set(err, PB_ERROR__CODE__INVALID, field, "%s is empty", field);
    if (strlen(path) >= PATH_MAX_LEN)
        return job_error_set(err, PB_ERROR__CODE__INVALID, field, "%s is too long",
                             field);
    if (cfg->files.roots.n == 0)
        return job_error_set(err, PB_ERROR__CODE__DENIED, field,
                             "files.roots lists no directory, so no file may be read");
    return 0;
}

static const char *
type_name(mode_t mode)
{
    switch (mode & S_IFMT) {
    case S_IFDIR:
        return "a directory";
    case S_IFIFO:
        return "a named pipe";
    case S_IFSOCK:
        return "a socket";
    case S_IFCHR:
    case S_IFBLK:
        return "a device";
    default:
        return "no regular file";
    }
}

int
job_file_open(const struct config *cfg, const char *path, const char *field,
              struct job_file *ret, struct job_error *err)
{
    struct stat st;
    int fd, r;

    /* Without O_NONBLOCK the open of a pipe nobody writes to would not return. */
    fd = job_root_open(cfg, path, O_RDONLY | O_NONBLOCK | O_NOCTTY);
    if (fd == -ENXIO || fd == -ENODEV) {
        (void)job_error_set(err, PB_ERROR__CODE__DENIED, field,
                            "%s is a socket or a device; only regular files are read",
                            path);
        return fd;
    }
    if (fd < 0)
        return job_root_error(path, field, fd, err);
    r = GO_BLOCKING(GO_ERRNO(fstat(fd, &st)));
    if (r == 0 && !S_ISREG(st.st_mode)) {
        (void)job_error_set(err, PB_ERROR__CODE__DENIED, field,
                            "%s is %s; only regular files are read", path,
                            type_name(st.st_mode));
        (void)close(fd);
        return -EISDIR;
    }
    if (r < 0) {
        (void)close(fd);
        return job_root_error(path, field, r, err);
    }
    (void)posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
    *ret = (struct job_file){.fd = fd, .size = (uint64_t)st.st_size};
    return 0;
}

void
job_file_close(struct job_file *f)
{
    if (f->fd >= 0)
        (void)close(f->fd);
    f->fd = -1;
}

static ssize_t
read_filled(int fd, char *buf, size_t len, uint64_t offset)
{
    size_t have = 0;

    while (have < len) {
        ssize_t n = pread(fd, buf + have, len - have, (off_t)(offset + have));
        int e = n < 0 ? go_errno_() : 0;

        if (n == 0)
            break;
        if (n > 0)
            have += (size_t)n;
        else if (e != EINTR)
            return -e;
    }
    return (ssize_t)have;
}

ssize_t
job_file_read(const struct job_file *f, void *buf, size_t len, uint64_t offset)
{
    return GO_BLOCKING(read_filled(f->fd, buf, len, offset));
}
