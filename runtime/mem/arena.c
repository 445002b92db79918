/*
 * Arena: memory is cut off the front of a chunk; chunks are kept in a list until the end.
 *
 * The first chunk is small, for most goroutines need little, and each later one twice
 * the size of the one before. Their sizes are the pools' classes, so that a goroutine's
 * arena costs no malloc in steady state. A large block gets a chunk of its own, behind
 * the one in use. Recycled chunks are dirty: each block is cleared as it is handed out.
 *
 * Under ASan what is not handed out is poisoned, with a gap behind each block.
 */
#include "runtime/mem/arena.h"

#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/mem/pool.h"
#include "runtime/sched/rt.h"

#if GO_ASAN
#include <sanitizer/asan_interface.h>
#define GAP 16
#else
#define ASAN_POISON_MEMORY_REGION(p, n)   ((void)(p), (void)(n))
#define ASAN_UNPOISON_MEMORY_REGION(p, n) ((void)(p), (void)(n))
#define GAP                               0
#endif

#define ALIGN     16
#define CLASSES   7 /* 1 KiB … 64 KiB */
#define CLASS_MIN 1024
#define BIG       16384 /* from here on a block gets its own chunk */
#define NO_CLASS  CLASSES

struct chunk {
    struct chunk *next;
    size_t size;    /* with this header */
    unsigned class; /* NO_CLASS: malloc()ed for one block */
} __attribute__((aligned(ALIGN)));

/* Stands at the front of its own first chunk. */
struct go_arena {
    struct chunk *chunks; /* the head is the one in use */
    char *free, *end;     /* what is left of it */
    unsigned next_class;
} __attribute__((aligned(ALIGN)));

#define POOL(i, keep)                                                                    \
    {                                                                                    \
        .size = (size_t)CLASS_MIN << (i), .max = (keep)                                  \
    }

static struct rt_pool pools[CLASSES] = {POOL(0, 64), POOL(1, 32), POOL(2, 16), POOL(3, 8),
                                        POOL(4, 4),  POOL(5, 2),  POOL(6, 2)};

static void
chunk_free(struct chunk *c)
{
    ASAN_UNPOISON_MEMORY_REGION(c, c->size);
    if (c->class == NO_CLASS)
        free(c);
    else
        rt_pool_put(&pools[c->class], c);
}

static struct chunk *
chunk_new(unsigned class, size_t size)
{
    struct chunk *c = class == NO_CLASS ? malloc(size) : rt_pool_get(&pools[class]);

    if (c == NULL)
        return NULL;
    *c = (struct chunk){.size = size, .class = class};
    ASAN_POISON_MEMORY_REGION(c + 1, size - sizeof(*c));
    return c;
}

struct go_arena *
go_arena_new(void)
{
    struct chunk *c = chunk_new(0, CLASS_MIN);
    struct go_arena *a;

    if (c == NULL)
        return NULL;
    a = (struct go_arena *)(c + 1);
    ASAN_UNPOISON_MEMORY_REGION(a, sizeof(*a));
    *a = (struct go_arena){
        .chunks = c,
        .free = (char *)(a + 1),
        .end = (char *)c + c->size,
        .next_class = 1,
    };
    return a;
}

void
go_arena_free(struct go_arena *a)
{
    struct chunk *c = a != NULL ? a->chunks : NULL;

    while (c != NULL) { /* a itself goes with one of them */
        struct chunk *next = c->next;

        chunk_free(c);
        c = next;
    }
}

/* A chunk with room for need bytes as the one in use. */
static bool
arena_grow(struct go_arena *a, size_t need)
{
    unsigned class = a->next_class;
    struct chunk *c;

    while (((size_t)CLASS_MIN << class) - sizeof(*c) < need)
        class ++;
    c = chunk_new(class, (size_t)CLASS_MIN << class);
    if (c == NULL)
        return false;
    c->next = a->chunks;
    a->chunks = c;
    a->free = (char *)(c + 1);
    a->end = (char *)c + c->size;
    a->next_class = class + 1 < CLASSES ? class + 1 : class;
    return true;
}

static void *
alloc_big(struct go_arena *a, size_t size)
{
    struct chunk *c = chunk_new(NO_CLASS, size + sizeof(*c) + GAP);

    if (c == NULL)
        return NULL;
    c->next = a->chunks->next;
    a->chunks->next = c;
    ASAN_UNPOISON_MEMORY_REGION(c + 1, size);
    return memset(c + 1, 0, size);
}

void *
go_arena_alloc(struct go_arena *a, size_t size)
{
    size_t need = ((size + ALIGN - 1) & ~(size_t)(ALIGN - 1)) + GAP;
    void *p;

    if (UNLIKELY(size > PTRDIFF_MAX - BIG))
        return NULL;
    if (need == GAP)
        need += ALIGN; /* blocks of no size have addresses of their own, too */
    if (UNLIKELY(need > (size_t)(a->end - a->free))) {
        if (need >= BIG)
            return alloc_big(a, size);
        if (!arena_grow(a, need))
            return NULL;
    }
    p = a->free;
    a->free += need;
    ASAN_UNPOISON_MEMORY_REGION(p, size);
    return memset(p, 0, size);
}

/* --- the goroutine's own --- */

/* The calling goroutine, NULL on a foreign thread. */
static struct go_g *
self(void)
{
    struct go_m *m = rt_m();

    return m == NULL || m->g == NULL || m->g->foreign ? NULL : m->g;
}

void *
go_alloc(size_t size)
{
    struct go_g *g = self();

    if (UNLIKELY(g == NULL))
        return NULL;
    if (UNLIKELY(g->arena == NULL)) {
        g->arena = go_arena_new();
        if (g->arena == NULL)
            return NULL;
    }
    return go_arena_alloc(g->arena, size);
}

char *
go_strdup(const char *s)
{
    size_t n = strlen(s) + 1;
    char *p = go_alloc(n);

    return p != NULL ? memcpy(p, s, n) : NULL;
}

char *
go_sprintf(const char *fmt, ...)
{
    va_list ap;
    char *p;
    int n;

    va_start(ap, fmt);
    n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    if (n < 0)
        return NULL;
    p = go_alloc((size_t)n + 1);
    if (p == NULL)
        return NULL;
    va_start(ap, fmt);
    (void)vsnprintf(p, (size_t)n + 1, fmt, ap);
    va_end(ap);
    return p;
}

struct go_defer_rec {
    struct go_defer_rec *next;
    void (*fn)(void *);
    void *arg;
};

int
go_defer(void (*fn)(void *), void *arg)
{
    struct go_g *g = self();
    struct go_defer_rec *d;

    if (g == NULL)
        return -EPERM;
    d = go_alloc(sizeof(*d));
    if (d == NULL)
        return -ENOMEM;
    *d = (struct go_defer_rec){.next = g->defers, .fn = fn, .arg = arg};
    g->defers = d;
    return 0;
}

/* A deferred function may defer more. */
void
rt_run_defers(struct go_g *g)
{
    while (g->defers != NULL) {
        struct go_defer_rec *d = g->defers;

        g->defers = d->next;
        d->fn(d->arg);
    }
}

void
rt_free_arena(struct go_g *g)
{
    go_arena_free(g->arena);
    g->arena = NULL;
}
