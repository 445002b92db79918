#include "proto/arena.h"

#include <stdalign.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum {
    CHUNK_MIN = 384, /* holds a small spec: 100 000 timers wait with one each */
    CHUNK_MAX = 256 * 1024,
    ALIGN = alignof(max_align_t),
};

struct proto_arena_chunk {
    alignas(max_align_t) struct proto_arena_chunk *older;
    alignas(max_align_t) char bytes[];
};

void
proto_arena_init(struct proto_arena *a, size_t limit)
{
    *a = (struct proto_arena){.limit = limit};
}

void
proto_arena_free(struct proto_arena *a)
{
    struct proto_arena_chunk *c = a->chunks;

    while (c != NULL) {
        struct proto_arena_chunk *older = c->older;

        free(c);
        c = older;
    }
    *a = (struct proto_arena){.limit = a->limit};
}

/* Chunks double, so that a small message costs one small malloc and a large one few. */
static int
arena_grow(struct proto_arena *a, size_t size)
{
    struct proto_arena_chunk *c;
    size_t room = a->limit - a->used;
    size_t want = a->used < CHUNK_MIN ? CHUNK_MIN : a->used;

    if (want > CHUNK_MAX)
        want = CHUNK_MAX;
    if (want < size + sizeof(*c))
        want = size + sizeof(*c);
    if (want > room)
        want = room;
    if (want < size + sizeof(*c))
        return -1;

    c = malloc(want);
    if (c == NULL)
        return -1;
    c->older = a->chunks;
    a->chunks = c;
    a->used += want;
    a->next = c->bytes;
    a->left = want - sizeof(*c);
    return 0;
}

void *
proto_arena_alloc(struct proto_arena *a, size_t size)
{
    void *p;

    if (size > SIZE_MAX / 2)
        return NULL;
    size = (size + ALIGN - 1) & ~(size_t)(ALIGN - 1);
    if (size > a->left && arena_grow(a, size) < 0)
        return NULL;
    p = a->next;
    a->next += size;
    a->left -= size;
    return p;
}

char *
proto_arena_dup(struct proto_arena *a, const char *s, size_t len)
{
    char *p = proto_arena_alloc(a, len + 1);

    if (p == NULL)
        return NULL;
    if (len > 0)
        memcpy(p, s, len);
    p[len] = '\0';
    return p;
}
