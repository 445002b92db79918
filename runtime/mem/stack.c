/* See stack.h. Per class: chunks of 64 MiB, slots in them, a central pool. */
#define _GNU_SOURCE
#include "runtime/mem/stack.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "runtime/mem/guard.h"
#include "runtime/sched/sched.h"
#include "runtime/sched/switch.h"

#if __has_include(<valgrind/valgrind.h>)
#include <valgrind/valgrind.h>
#else
#define VALGRIND_STACK_REGISTER(lo, hi) 0
#endif
#if GO_ASAN
#include <sanitizer/asan_interface.h>
#endif

#define CHUNK_BYTES ((size_t)64 << 20)
#define CHUNKS_MAX  65536
#define CACHE_MAX   64 /* stacks a P keeps */
#define REFILL      16 /* moved between a P and the centre at once */

/* Slots are numbered in the order of their chunks. Each is in exactly one place: bound, in
 * a P's cache, in free[], in cold[], or not used yet (number >= made). */
struct pool {
    struct go_lck lock;
    char **chunk;           /* table of CHUNKS_MAX, filled in order */
    uint32_t nchunk;        /* guarded by lock */
    uint32_t slots, made;   /* reserved; ever used. Guarded by lock */
    struct go_stack **free; /* [first, last): pages resident, most recently freed last */
    uint32_t first, last;   /* guarded by lock */
    uint32_t low;           /* least of last - first since the last scavenge */
    uint32_t *cold, ncold;  /* slots whose pages went back to the system */
    uint32_t room;          /* entries free[] and cold[] can hold: >= slots */
    uint32_t bare_from;     /* atomic: slots from here on may be without guard */
};

static struct pool pools[STACK_CLASSES];
static uint32_t default_class = STACK_CLASS_DEF;
static int64_t released_bytes; /* atomic */

static size_t
class_size(uint32_t size_class)
{
    return STACK_MIN << size_class;
}

/* What a slot takes. A page more than the size, its guard: else the top pages of all stacks,
 * which are the ones in use, would be a power of two apart and compete for a few entries of
 * the TLB. Classes of which few fit into a chunk do without. */
static size_t
slot_size(uint32_t size_class)
{
    size_t size = class_size(size_class);

    return size > CHUNK_BYTES / 64 ? size : size + GUARD_SIZE;
}

uint32_t
stack_class(size_t size)
{
    uint32_t c = 0;

    if (size == 0)
        return default_class;
    while (c < STACK_CLASSES - 1 && class_size(c) < size)
        c++;
    return c;
}

void
stack_init(void)
{
    const char *size = getenv("GOSTACK");

    guard_init();
    for (uint32_t c = 0; c < STACK_CLASSES; c++)
        pools[c].bare_from = guard_method() == GUARD_NONE ? 0 : UINT32_MAX;
    if (size != NULL && *size != '\0') {
        char *end;
        long kib = strtol(size, &end, 10);

        if (*end == '\0' && kib >= 64 && kib <= 65536)
            default_class = stack_class((size_t)kib << 10);
        else
            fprintf(
                stderr,
                "goroutine: GOSTACK=%s ignored: not a number of KiB from 64 to 65536\n",
                size);
    }
}

/* --- slots -------------------------------------------------------------------------------------- */

/* Room in free[] and cold[] for n slots. Under the lock. */
static int
pool_room(struct pool *pool, uint32_t n)
{
    uint32_t room = pool->room;
    void *v;

    if (n <= room)
        return 0;
    while (room < n)
        room = room > 0 ? room * 2 : 256;
    v = realloc(pool->free, room * sizeof(*pool->free));
    if (v == NULL)
        return -ENOMEM;
    pool->free = v;
    v = realloc(pool->cold, room * sizeof(*pool->cold));
    if (v == NULL)
        return -ENOMEM;
    pool->cold = v;
    pool->room = room;
    return 0;
}

/* One more chunk. Under the lock. */
static int
pool_grow(uint32_t size_class)
{
    struct pool *pool = &pools[size_class];
    uint32_t n = (uint32_t)(CHUNK_BYTES / slot_size(size_class));
    char *chunk;

    if (pool->chunk == NULL) {
        void *table = mmap(NULL, CHUNKS_MAX * sizeof(char *), PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

        if (table == MAP_FAILED)
            return -ENOMEM;
        pool->chunk = table;
    }
    if (pool->nchunk == CHUNKS_MAX || pool_room(pool, pool->slots + n) < 0)
        return -ENOMEM;
    chunk = mmap(NULL, CHUNK_BYTES, PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
    if (chunk == MAP_FAILED)
        return -ENOMEM;
    /* A huge page would make the first touch of a stack cost 2 MiB. */
    (void)madvise(chunk, CHUNK_BYTES, MADV_NOHUGEPAGE);
    pool->chunk[pool->nchunk++] = chunk;
    pool->slots += n;
    return 0;
}

int
stack_reserve(uint32_t n)
{
    struct pool *pool = &pools[default_class];
    int r = 0;

    go_lck_lock(&pool->lock, GO_LCK_STACKS);
    for (uint32_t want = pool->slots + n; r == 0 && pool->slots < want;)
        r = pool_grow(default_class);
    go_lck_unlock(&pool->lock);
    return r;
}

static uint32_t
per_chunk(uint32_t size_class)
{
    return (uint32_t)(CHUNK_BYTES / slot_size(size_class));
}

static char *
slot_at(const struct pool *pool, uint32_t size_class, uint32_t slot)
{
    uint32_t n = per_chunk(size_class);

    return pool->chunk[slot / n] + (slot % n) * slot_size(size_class);
}

/* Write the descriptor of a slot whose pages are not resident. */
static struct go_stack *
describe(char *base, uint32_t size_class, uint32_t slot)
{
    uintptr_t hi = (uintptr_t)base + slot_size(size_class);
    struct go_stack *s = (struct go_stack *)(hi - sizeof(*s));

    /* Atomic: dumps look at the bounds, overran() at all of it. */
    STORE(&s->lo, (uintptr_t)base + GUARD_SIZE, RELAXED);
    STORE(&s->hi, hi, RELAXED);
    STORE(&s->canary, STACK_CANARY, RELAXED);
    s->size_class = size_class;
    s->slot = slot;
    s->bare = slot >= LOAD(&pools[size_class].bare_from, RELAXED) &&
              slot % per_chunk(size_class) != 0;
    return s;
}

/* Whoever runs down from s, where no guard stops it, comes first upon the descriptor of the
 * slot below: is that as it should be? Zeroes: never used, or given back. A chunk's first
 * slot has none below, and is guarded rather than others. */
static bool
overran(const struct go_stack *s)
{
    uintptr_t base = LOAD(&s->lo, RELAXED) - GUARD_SIZE, lo, hi;
    const struct go_stack *below = (const struct go_stack *)base - 1;
    uint32_t canary;

    lo = LOAD(&below->lo, RELAXED);
    hi = LOAD(&below->hi, RELAXED);
    canary = LOAD(&below->canary, RELAXED);
    return (lo != 0 && lo != base - slot_size(s->size_class) + GUARD_SIZE) ||
           (hi != 0 && hi != base) || (canary != 0 && canary != STACK_CANARY);
}

void
stack_check(const struct go_g *g, const struct go_stack *s)
{
    if (UNLIKELY(s->bare) && overran(s))
        rt_fatal("stack overflow: goroutine %lld (%s) has exceeded its %zu-byte stack, "
                 "which has no guard page; memory of others is overwritten",
                 (long long)g->id, g->name, class_size(s->size_class));
}

/* A stack whose top page is touched here: one that was released, or a new slot. */
static int
take_cold(uint32_t size_class, struct go_stack **ret)
{
    struct pool *pool = &pools[size_class];
    uint32_t slot;
    bool fresh = false;
    char *base;
    int r = 0;

    go_lck_lock(&pool->lock, GO_LCK_STACKS);
    if (pool->ncold > 0) {
        slot = pool->cold[--pool->ncold];
    } else {
        if (pool->made == pool->slots)
            r = pool_grow(size_class);
        if (r < 0) {
            go_lck_unlock(&pool->lock);
            return r;
        }
        slot = pool->made++;
        fresh = true;
    }
    base = slot_at(pool, size_class, slot);
    go_lck_unlock(&pool->lock);
    if (fresh) {
        r = guard_install(base, slot % per_chunk(size_class) == 0);
        go_lck_lock(&pool->lock, GO_LCK_STACKS);
        if (r < 0 && slot == pool->made - 1)
            pool->made--; /* else the slot is lost: without a guard it is no use */
        else if (r == 0 && slot < pool->bare_from)
            STORE(&pool->bare_from, slot, RELAXED);
        go_lck_unlock(&pool->lock);
        if (r < 0)
            return -ENOMEM;
    }
    *ret = describe(base, size_class, slot);
    if (fresh)
        (*ret)->valgrind = VALGRIND_STACK_REGISTER(base + GUARD_SIZE, (*ret)->hi);
    return 0;
}

/* Up to n resident stacks from the centre, as a list. */
static uint32_t
take_free(uint32_t size_class, uint32_t n, struct go_stack **list)
{
    struct pool *pool = &pools[size_class];
    uint32_t got = 0;

    go_lck_lock(&pool->lock, GO_LCK_STACKS);
    while (got < n && pool->last > pool->first) {
        struct go_stack *s = pool->free[--pool->last];

        s->next = *list;
        *list = s;
        got++;
    }
    if (pool->last - pool->first < pool->low)
        pool->low = pool->last - pool->first;
    go_lck_unlock(&pool->lock);
    return got;
}

static void
give_free(struct go_stack *list)
{
    while (list != NULL) {
        struct pool *pool = &pools[list->size_class];
        struct go_stack *s = list;

        list = s->next;
        go_lck_lock(&pool->lock, GO_LCK_STACKS);
        if (pool->last == pool->room) { /* what was released at the front left room */
            memmove(pool->free, pool->free + pool->first,
                    (pool->last - pool->first) * sizeof(*pool->free));
            pool->last -= pool->first;
            pool->first = 0;
        }
        pool->free[pool->last++] = s;
        go_lck_unlock(&pool->lock);
    }
}

/* --- binding ------------------------------------------------------------------------------------ */

/* Make g start in rt_start_ when switched to. */
static void
bind(struct go_g *g, struct go_stack *s)
{
    /* Tops at the same place of their pages compete for the same few lines of the L1
     * cache; starting at one of eight offsets spreads them. */
    uintptr_t top = ((uintptr_t)s - (s->slot & 7) * 2 * CACHE_LINE) & ~(uintptr_t)15;
    uintptr_t *sp = (uintptr_t *)top;

    *--sp = 0; /* keeps what rt_start_ finds as its stack pointer aligned */
    *--sp = 0;
    sp -= CTX_WORDS;
    sp[CTX_PC] = (uintptr_t)rt_start_;
    sp[CTX_FP] = 0;
    STORE(&g->sp, sp, RELAXED);   /* atomic for dumps */
    STORE(&g->stack, s, RELEASE); /* pairs with rt_stack_bounds, from dumps */
    s->trimmed = 0;
#if GO_TSAN
    s->fiber = __tsan_create_fiber(0);
#endif
}

bool
stack_bind_cached(struct go_p *p, struct go_g *g)
{
    struct go_stack *s = p->stacks;

    if (UNLIKELY(s == NULL || g->size_class != default_class))
        return false;
    p->stacks = s->next;
    BUMP(&p->stacks_n, -1u);
    bind(g, s);
    return true;
}

int
stack_bind(struct go_p *p, struct go_g *g)
{
    struct go_stack *s = NULL;
    int r;

    if (p != NULL && g->size_class == default_class) {
        if (p->stacks == NULL)
            STORE(&p->stacks_n, take_free(default_class, REFILL, &p->stacks), RELAXED);
        if (stack_bind_cached(p, g))
            return 0;
    } else if (take_free(g->size_class, 1, &s) == 1) {
        bind(g, s);
        return 0;
    }
    r = take_cold(g->size_class, &s);
    if (r < 0)
        return r;
    bind(g, s);
    return 0;
}

/* Keep the n hottest of p's stacks, the others go to the centre. */
static void
trim_cache(struct go_p *p, uint32_t n)
{
    struct go_stack **link = &p->stacks;
    uint32_t kept = 0;

    while (*link != NULL && kept < n) {
        link = &(*link)->next;
        kept++;
    }
    give_free(*link);
    *link = NULL;
    STORE(&p->stacks_n, kept, RELAXED);
}

void
stack_unbind(struct go_p *p, struct go_g *g)
{
    struct go_stack *s = g->stack;

    STORE(&g->stack, NULL, RELAXED);
    if (s == NULL)
        return;
    stack_check(g, s);
#if GO_ASAN
    __asan_unpoison_memory_region((void *)s->lo, (uintptr_t)s - s->lo);
#endif
#if GO_TSAN
    __tsan_destroy_fiber(s->fiber);
    s->fiber = NULL;
#endif
    if (p != NULL && s->size_class == default_class) {
        s->next = p->stacks;
        p->stacks = s;
        BUMP(&p->stacks_n, 1);
        if (UNLIKELY(p->stacks_n > CACHE_MAX))
            trim_cache(p, CACHE_MAX / 2);
        return;
    }
    s->next = NULL;
    give_free(s);
}

void
stack_pass_on(struct go_g *from, struct go_g *to)
{
    STORE(&to->stack, from->stack, RELEASE);
    STORE(&from->stack, NULL, RELAXED);
}

void
stack_flush(struct go_p *p)
{
    if (p->stacks_n > REFILL)
        trim_cache(p, REFILL);
}

/* --- giving back -------------------------------------------------------------------------------- */

uint32_t
stack_release_free(uint32_t max)
{
    struct go_stack *batch[64];
    uint32_t total = 0;

    for (uint32_t c = 0; c < STACK_CLASSES; c++) {
        struct pool *pool = &pools[c];
        uint32_t n;

        do {
            go_lck_lock(&pool->lock, GO_LCK_STACKS);
            for (n = 0; n < 64 && total + n < max && pool->low > 0; n++) {
                batch[n] = pool->free[pool->first++];
                pool->low--;
            }
            go_lck_unlock(&pool->lock);
            for (uint32_t i = 0; i < n; i++) {
                struct go_stack *s = batch[i];
                uint32_t slot = s->slot;

                ADD(&released_bytes, (int64_t)(s->hi - s->lo), RELAXED);
                (void)madvise((void *)s->lo, s->hi - s->lo,
                              MADV_DONTNEED); /* s is gone */
                go_lck_lock(&pool->lock, GO_LCK_STACKS);
                pool->cold[pool->ncold++] = slot;
                go_lck_unlock(&pool->lock);
            }
            total += n;
        } while (n == 64 && total < max);
        if (total < max) {
            go_lck_lock(&pool->lock, GO_LCK_STACKS);
            pool->low = pool->last - pool->first;
            go_lck_unlock(&pool->lock);
        }
    }
    return total;
}

void
stack_count_released(size_t bytes)
{
    ADD(&released_bytes, (int64_t)bytes, RELAXED);
}

/* Dumps ask about goroutines that run meanwhile, and check afterwards whether one moved. */
bool
rt_stack_bounds(const struct go_g *g, uintptr_t *lo, uintptr_t *hi)
{
    const struct go_stack *s = LOAD(&g->stack, ACQUIRE);

    if (s == NULL)
        return false;
    *lo = LOAD(&s->lo, RELAXED);
    *hi = (uintptr_t)s;
    return true;
}

void
stack_stats(struct stack_stats *ret)
{
    int64_t made = 0, free_bytes = 0;

    *ret = (struct stack_stats){.released = LOAD(&released_bytes, RELAXED)};
    for (uint32_t c = 0; c < STACK_CLASSES; c++) {
        struct pool *pool = &pools[c];
        int64_t size = (int64_t)class_size(c);

        go_lck_lock(&pool->lock, GO_LCK_STACKS);
        ret->reserved += size * pool->slots;
        made += size * (pool->made - pool->ncold);
        free_bytes += size * (pool->last - pool->first);
        go_lck_unlock(&pool->lock);
    }
    for (uint32_t i = 0; i < LOAD(&sched.nallp, ACQUIRE); i++)
        free_bytes +=
            (int64_t)class_size(default_class) * LOAD(&sched.allp[i]->stacks_n, RELAXED);
    ret->cached = free_bytes;
    ret->inuse = made - free_bytes;
}
