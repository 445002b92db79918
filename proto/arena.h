/*
 * A heap that is freed at once and has a limit: what a message unpacked from the network or
 * parsed from JSON is made of.
 *
 * A few bytes of protobuf can ask for a structure a hundred times their size, so the limit
 * is what bounds a hostile message, beside its length.
 *
 * Lifecycle  init -> alloc ... -> free; free is safe on a zeroed arena and may be repeated.
 * Context    one thread or goroutine at a time. Never parks.
 */
#ifndef GOJOBD_PROTO_ARENA_H
#define GOJOBD_PROTO_ARENA_H

#include <stddef.h>

struct proto_arena_chunk;

struct proto_arena {
    struct proto_arena_chunk *chunks; /* newest first */
    char *next;                       /* free bytes of the newest */
    size_t left;
    size_t used;  /* bytes asked of malloc */
    size_t limit; /* of used */
};

void proto_arena_init(struct proto_arena *a, size_t limit);
void proto_arena_free(struct proto_arena *a);

/* Aligned for any type, not zeroed. NULL at the limit or out of memory. */
void *proto_arena_alloc(struct proto_arena *a, size_t size);

/* A copy of len bytes and a NUL behind them. */
char *proto_arena_dup(struct proto_arena *a, const char *s, size_t len);

#endif
