#include "proto/lines.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FIRST_CAP = 64 * 1024 };

void
proto_lines_init(struct proto_lines *l, int fd, size_t max)
{
    *l = (struct proto_lines){.fd = fd, .max = max};
}

void
proto_lines_fini(struct proto_lines *l)
{
    free(l->buf);
    *l = (struct proto_lines){.fd = -1, .eof = true};
}

/* Moves the rest to the front, or doubles the buffer when it is full of one line. */
static int
make_room(struct proto_lines *l)
{
    size_t cap = l->cap == 0 ? FIRST_CAP : l->cap * 2;
    char *buf;

    if (l->start > 0) {
        memmove(l->buf, l->buf + l->start, l->end - l->start);
        l->end -= l->start;
        l->start = 0;
    }
    if (l->end + 1 < l->cap)
        return 0;
    buf = realloc(l->buf, cap);
    if (buf == NULL)
        return -ENOMEM;
    l->buf = buf;
    l->cap = cap;
    return 0;
}

static int
fill(struct proto_lines *l)
{
    ssize_t n;
    int r = make_room(l);

    if (r < 0)
        return r;
    do {
        n = read(l->fd, l->buf + l->end, l->cap - l->end - 1);
    } while (n < 0 && errno == EINTR);
    if (n < 0)
        return -errno;
    if (n == 0)
        l->eof = true;
    l->end += (size_t)n;
    return 0;
}

static int
take(struct proto_lines *l, size_t len, size_t skip, char **ret, size_t *ret_len)
{
    char *line = l->buf + l->start;

    l->number++;
    l->start += len + skip;
    if (len > 0 && line[len - 1] == '\r')
        len--;
    if (len > l->max)
        return -E2BIG;
    line[len] = '\0';
    *ret = line;
    *ret_len = len;
    return 1;
}

int
proto_lines_next(struct proto_lines *l, char **ret, size_t *ret_len)
{
    size_t seen = 0; /* bytes of the line already searched */

    for (;;) {
        size_t have = l->end - l->start;
        char *nl = NULL;

        if (have > seen)
            nl = memchr(l->buf + l->start + seen, '\n', have - seen);
        if (nl != NULL)
            return take(l, (size_t)(nl - (l->buf + l->start)), 1, ret, ret_len);
        if (l->eof)
            return have == 0 ? 0 : take(l, have, 0, ret, ret_len);
        if (have > l->max + 1) {
            l->number++;
            return -E2BIG;
        }
        seen = have;

        int r = fill(l);

        if (r < 0)
            return r;
    }
}
