#define _GNU_SOURCE
#include "jobs/turn.h"

#include <sys/uio.h>

#include "jobs/file.h"
#include "runtime/go.h"

static struct go_sem turns;
static struct go_once made = GO_ONCE_INIT;

static void
make(void *arg)
{
    (void)arg;
    go_sem_init(&turns, go_maxprocs(0));
}

static void
turn_begin(void)
{
    go_once(&made, make, NULL);
    go_sem_acquire(&turns, 1);
}

void
turn_end(void)
{
    go_sem_release(&turns, 1);
}

/* What can be had at once. */
static size_t
read_cached(const struct job_file *f, void *buf, size_t len, uint64_t offset)
{
    struct iovec v = {buf, len};
    ssize_t n = preadv2(f->fd, &v, 1, (off_t)offset, RWF_NOWAIT);

    return n > 0 ? (size_t)n : 0;
}

ssize_t
turn_read(const struct job_file *f, void *buf, size_t len, uint64_t offset)
{
    size_t have;
    ssize_t n;

    turn_begin();
    have = read_cached(f, buf, len, offset);
    if (have == len)
        return (ssize_t)have;
    turn_end();
    n = job_file_read(f, (char *)buf + have, len - have, offset + have);
    if (n < 0)
        return n;
    turn_begin();
    return (ssize_t)have + n;
}
