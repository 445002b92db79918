#include "proto/buf.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

void
proto_buf_free(struct proto_buf *b)
{
    free(b->data);
    *b = (struct proto_buf){0};
}

void
proto_buf_reset(struct proto_buf *b)
{
    b->len = 0;
    b->failed = false;
    if (b->data != NULL)
        b->data[0] = '\0';
}

char *
proto_buf_reserve(struct proto_buf *b, size_t n)
{
    size_t cap = b->cap == 0 ? 256 : b->cap;
    char *data;

    if (b->failed)
        return NULL;
    if (b->cap - b->len > n)
        return b->data + b->len;
    while (cap - b->len <= n) {
        if (cap > SIZE_MAX / 2) {
            b->failed = true;
            return NULL;
        }
        cap *= 2;
    }
    data = realloc(b->data, cap);
    if (data == NULL) {
        b->failed = true;
        return NULL;
    }
    b->data = data;
    b->cap = cap;
    return data + b->len;
}

void
proto_buf_add(struct proto_buf *b, const void *data, size_t n)
{
    char *p = proto_buf_reserve(b, n);

    if (p == NULL)
        return;
    if (n > 0)
        memcpy(p, data, n);
    p[n] = '\0';
    b->len += n;
}

void
proto_buf_adds(struct proto_buf *b, const char *s)
{
    proto_buf_add(b, s, strlen(s));
}

void
proto_buf_addc(struct proto_buf *b, char c)
{
    proto_buf_add(b, &c, 1);
}
