/*
 * file_read: read many files at once, a few goroutines at a time: a Group, and blocking
 * regions.
 *
 * The kernel cannot tell when a regular file is ready, so reading one blocks the thread.
 * GO_BLOCKING() says so: if the disk is slow, the processor goes to other goroutines
 * meanwhile. A Group is a WaitGroup with a limit and an error: the first one cancels the
 * rest.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "runtime/go.h"

#define AT_ONCE 8
#define BUFFER  65536

struct file {
    const char *path;
    long bytes, lines;
    int err;
};

static int
count(struct go_ctx *ctx, struct file *f)
{
    /* From the goroutine's arena: freed when it returns. */
    char *buf = go_alloc(BUFFER);
    ssize_t n = 0;
    int fd;

    if (buf == NULL)
        return -ENOMEM;
    fd = GO_BLOCKING(GO_ERRNO(open(f->path, O_RDONLY | O_CLOEXEC)));
    if (fd < 0)
        return fd;
    while (go_ctx_err(ctx) == 0) {
        n = GO_BLOCKING(GO_ERRNO(read(fd, buf, BUFFER)));
        if (n <= 0)
            break;
        f->bytes += n;
        for (ssize_t i = 0; i < n; i++)
            f->lines += buf[i] == '\n';
    }
    close(fd);
    return n < 0 ? (int)n : 0;
}

/* One group member: 0, or a negative errno, which ends the group. */
static int
read_file(struct go_ctx *ctx, void *arg)
{
    struct file *f = arg;

    f->err = count(ctx, f);
    return f->err;
}

static int
main_(int argc, char **argv)
{
    struct file *files;
    struct go_group group;
    int r;

    if (argc < 2 || strcmp(argv[1], "--help") == 0) {
        printf("usage: file_read FILE...\n\nCount the lines and bytes of each FILE.\n");
        return argc < 2 ? 2 : 0;
    }
    files = calloc((size_t)argc, sizeof(*files));
    if (files == NULL || go_group_init(&group, NULL, AT_ONCE) < 0) {
        free(files);
        return 1;
    }
    for (int i = 1; i < argc; i++) {
        files[i].path = argv[i];
        go_group_go(&group, read_file, &files[i]);
    }
    r = go_group_wait(&group);
    for (int i = 1; i < argc; i++) {
        if (r == 0)
            printf("%6ld lines %8ld bytes  %s\n", files[i].lines, files[i].bytes,
                   files[i].path);
        else if (files[i].err < 0)
            fprintf(stderr, "file_read: %s: %s\n", files[i].path,
                    strerror(-files[i].err));
    }
    free(files);
    return r < 0;
}

int
main(int argc, char **argv)
{
    return go_main(main_, argc, argv);
}
