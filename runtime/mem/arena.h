/*
 * Arena: memory freed all at once, when its goroutine exits. It stands where Go would have
 * its garbage collector: what lives as long as the goroutine is taken from here and never
 * freed by hand. Nothing else is collected: malloc()ed memory, channels and contexts are
 * released by their owners; stacks and goroutine records are recycled by the scheduler.
 */
#ifndef GOJOBD_RUNTIME_MEM_ARENA_H
#define GOJOBD_RUNTIME_MEM_ARENA_H

#include <stddef.h>

/* size bytes, zeroed, aligned to 16, from the calling goroutine's arena: valid until it
 * returns. NULL: no memory. Goroutines only (NULL on a foreign thread); never parks. */
void *go_alloc(size_t size);

/* Copies in the arena. */
char *go_strdup(const char *s);
char *go_sprintf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Call fn(arg) when the goroutine exits, last deferred first, before its arena is freed:
 * for what an arena cannot free. 0, -ENOMEM, or -EPERM on a foreign thread. fn may park. */
int go_defer(void (*fn)(void *), void *arg);

/* A free-standing arena, for memory that outlives one goroutine or is shared by several
 * (then with a lock of their own). NULL: no memory. */
struct go_arena;
struct go_arena *go_arena_new(void);
void *go_arena_alloc(struct go_arena *a, size_t size);
void go_arena_free(struct go_arena *a); /* NULL is fine */

#endif
