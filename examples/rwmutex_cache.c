/*
 * rwmutex_cache: a cache that many read at once and few write: an RWMutex.
 *
 * Any number of readers hold the lock together; a writer holds it alone. Between the reader's
 * lock and the writer's another goroutine may have filled the entry, so it is looked up again.
 */
#include <stdbool.h>
#include <stdio.h>

#include "runtime/go.h"

#define KEYS    20
#define READERS 50

struct cache {
    struct go_rwmutex rw;
    bool known[KEYS]; /* guarded by rw */
    long value[KEYS]; /* guarded by rw */
    int computed;     /* guarded by rw: how often the slow way was taken */
};

/* The slow way, which the cache is there to avoid. */
static long
fibonacci(int n)
{
    return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2);
}

static long
cache_get(struct cache *c, int key)
{
    long value = 0;
    bool known;

    go_rwmutex_rlock(&c->rw);
    known = c->known[key];
    if (known)
        value = c->value[key];
    go_rwmutex_runlock(&c->rw);
    if (known)
        return value;

    go_rwmutex_lock(&c->rw);
    if (!c->known[key]) {
        c->value[key] = fibonacci(key);
        c->known[key] = true;
        c->computed++;
    }
    value = c->value[key];
    go_rwmutex_unlock(&c->rw);
    return value;
}

static void
reader(struct cache *c, int first)
{
    for (int i = 0; i < KEYS; i++)
        (void)cache_get(c, (first + i) % KEYS);
}

static int
main_(int argc, char **argv)
{
    struct cache c = {.rw = GO_RWMUTEX_INIT};
    struct go_wg wg = GO_WG_INIT;

    (void)argc;
    (void)argv;
    for (int i = 0; i < READERS; i++)
        if (go_wg_go(&wg, reader, &c, i) < 0)
            return 1;
    go_wg_wait(&wg);
    printf("fibonacci(%d) = %ld\n", KEYS - 1, cache_get(&c, KEYS - 1));
    printf("%d lookups, %d computed\n", READERS * KEYS, c.computed);
    return 0;
}

int
main(int argc, char **argv)
{
    return go_main(main_, argc, argv);
}
