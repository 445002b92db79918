/*
 * A growing byte buffer for what is printed or packed.
 *
 * Lifecycle  {0} or init -> append ... -> reset (keeps the memory) -> free.
 * Errors     running out of memory sets failed and drops what follows: check once at the end.
 */
#ifndef GOJOBD_PROTO_BUF_H
#define GOJOBD_PROTO_BUF_H

#include <stdbool.h>
#include <stddef.h>

struct proto_buf {
    char *data; /* NUL-terminated after every append */
    size_t len;
    size_t cap;
    bool failed;
};

void proto_buf_free(struct proto_buf *b);
void proto_buf_reset(struct proto_buf *b);
/* Room for n more bytes and a NUL; NULL and failed when there is no memory. */
char *proto_buf_reserve(struct proto_buf *b, size_t n);
void proto_buf_add(struct proto_buf *b, const void *data, size_t n);
void proto_buf_adds(struct proto_buf *b, const char *s);
void proto_buf_addc(struct proto_buf *b, char c);

#endif
