#include "daemon/store/events.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define EVENT_MAX (1 + 5 * 10) /* bytes of the longest event */

static unsigned char *
put_uint(unsigned char *p, uint64_t v)
{
    while (v >= 0x80) {
        *p++ = (unsigned char)(v | 0x80);
        v >>= 7;
    }
    *p++ = (unsigned char)v;
    return p;
}

static int
get_uint(struct event_cursor *c, uint64_t *ret)
{
    uint64_t v = 0;

    for (unsigned shift = 0; shift < 64 && c->p < c->end; shift += 7) {
        unsigned char b = *c->p++;

        v |= (uint64_t)(b & 0x7f) << shift;
        if (b < 0x80) {
            *ret = v;
            return 0;
        }
    }
    return -EUCLEAN;
}

static uint64_t
zigzag(int64_t d)
{
    return ((uint64_t)d << 1) ^ (uint64_t)(d >> 63);
}

static int64_t
unzigzag(uint64_t z)
{
    return (int64_t)(z >> 1) ^ -(int64_t)(z & 1);
}

int
event_put(struct event_buf *b, const struct store_event *ev)
{
    unsigned char *p;

    if (b->cap - b->len < EVENT_MAX) {
        size_t cap = b->cap < 4096 ? 4096 : b->cap * 2;
        unsigned char *data = realloc(b->data, cap);

        if (data == NULL)
            return -ENOMEM;
        b->data = data;
        b->cap = cap;
    }
    p = b->data + b->len;
    *p++ = (unsigned char)ev->type;
    p = put_uint(p, zigzag(ev->job - b->last_job));
    p = put_uint(p, zigzag(ev->batch - b->last_batch));
    p = put_uint(p, (uint64_t)ev->attempt);
    p = put_uint(p, (uint64_t)ev->state);
    p = put_uint(p, (uint64_t)ev->count);
    b->len = (size_t)(p - b->data);
    b->last_job = ev->job;
    b->last_batch = ev->batch;
    b->count++;
    return 0;
}

/* One huge transaction must not keep its buffer for ever. */
void
event_clear(struct event_buf *b)
{
    if (b->cap > 1024 * 1024)
        event_fini(b);
    b->len = 0;
    b->count = 0;
    b->last_job = 0;
    b->last_batch = 0;
}

void
event_fini(struct event_buf *b)
{
    free(b->data);
    memset(b, 0, sizeof(*b));
}

void
event_cursor_init(struct event_cursor *c, const void *data, size_t len, int64_t first,
                  int64_t at_ms)
{
    c->p = data;
    c->end = len == 0 ? c->p : c->p + len;
    c->seq = first;
    c->at_ms = at_ms;
    c->last_job = 0;
    c->last_batch = 0;
}

int
event_next(struct event_cursor *c, struct store_event *ret)
{
    uint64_t v[5];

    if (c->p == c->end)
        return 0;
    ret->type = (enum event_type) * c->p++;
    if (ret->type < EVENT_ADDED || ret->type > EVENT_QUEUE)
        return -EUCLEAN;
    for (int i = 0; i < 5; i++)
        if (get_uint(c, &v[i]) < 0)
            return -EUCLEAN;
    if (v[3] >= STORE_STATE_END)
        return -EUCLEAN;
    /* Unsigned, so that a damaged text cannot overflow. */
    c->last_job = (int64_t)((uint64_t)c->last_job + (uint64_t)unzigzag(v[0]));
    c->last_batch = (int64_t)((uint64_t)c->last_batch + (uint64_t)unzigzag(v[1]));
    ret->job = c->last_job;
    ret->batch = c->last_batch;
    ret->attempt = (int64_t)v[2];
    ret->state = (enum store_state)v[3];
    ret->count = (int64_t)v[4];
    ret->seq = c->seq++;
    ret->at_ms = c->at_ms;
    return 1;
}
