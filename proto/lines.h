/*
 * The lines of a file or pipe, one at a time, in memory bounded by the longest line.
 *
 * Lifecycle  init -> next ... -> fini; the descriptor stays the caller's.
 * Context    one thread; next blocks in read(2).
 */
#ifndef GOJOBD_PROTO_LINES_H
#define GOJOBD_PROTO_LINES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct proto_lines {
    int fd;
    bool eof;
    size_t max; /* longest line that is taken */
    char *buf;
    size_t cap;
    size_t start; /* of what has not been returned */
    size_t end;
    uint64_t number; /* of the line last returned, from 1 */
};

void proto_lines_init(struct proto_lines *l, int fd, size_t max);
void proto_lines_fini(struct proto_lines *l);

/* 1: a line without its "\n" or "\r\n", NUL-terminated, valid until the next call; the last
 * line needs no newline. 0: the end. -E2BIG: longer than max (number says which); -ENOMEM;
 * or the errno of read, negative. */
int proto_lines_next(struct proto_lines *l, char **ret, size_t *ret_len);

#endif
