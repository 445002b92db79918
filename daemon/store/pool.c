#include "daemon/store/pool.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/base/check.h"
#include "runtime/sched/blocking.h"
#include "runtime/sync/cond.h"
#include "runtime/sync/mutex.h"

#define POOL_MAX 64

/*
 * Readers are opened when more are wanted than there are: each costs a parsed schema and a
 * page cache. The one used last is used next, for its cache is warm. If one cannot be
 * opened (for want of descriptors, say) those there are must do.
 */
struct store_pool {
    char *path;
    struct go_mutex mu;
    struct go_cond free; /* with mu */
    /* Guarded by mu. */
    int max;
    int n; /* open, or being opened */
    int n_idle;
    struct store_reader *idle[POOL_MAX];
};

int
store_pool_open(const char *path, int n, struct store_pool **ret, char *err,
                size_t err_size)
{
    struct store_pool *p = calloc(1, sizeof(*p));
    int r;

    ENSURE(n >= 1 && n <= POOL_MAX);
    if (p != NULL)
        p->path = strdup(path);
    if (p == NULL || p->path == NULL) {
        free(p);
        return -ENOMEM;
    }
    p->max = n;
    go_cond_init(&p->free, &p->mu);
    r = store_reader_open(path, NULL, &p->idle[0], err, err_size);
    if (r < 0) {
        store_pool_close(p);
        return r;
    }
    p->n = p->n_idle = 1;
    *ret = p;
    return 0;
}

void
store_pool_close(struct store_pool *p)
{
    if (p == NULL)
        return;
    ENSURE(p->n_idle == p->n);
    for (int i = 0; i < p->n_idle; i++)
        store_reader_close(p->idle[i]);
    free(p->path);
    free(p);
}

/* mu is held, and given up meanwhile. One more reader, or NULL. */
static struct store_reader *
open_one(struct store_pool *p)
{
    struct store_reader *rd = NULL;
    char err[256];
    int r;

    p->n++;
    go_mutex_unlock(&p->mu);
    r = GO_BLOCKING(store_reader_open(p->path, NULL, &rd, err, sizeof(err)));
    go_mutex_lock(&p->mu);
    if (r < 0)
        p->max = --p->n;
    return rd;
}

struct store_reader *
store_pool_get(struct store_pool *p)
{
    struct store_reader *rd = NULL;

    go_mutex_lock(&p->mu);
    while (rd == NULL) {
        if (p->n_idle > 0)
            rd = p->idle[--p->n_idle];
        else if (p->n < p->max)
            rd = open_one(p);
        else
            go_cond_wait(&p->free);
    }
    go_mutex_unlock(&p->mu);
    return rd;
}

void
store_pool_put(struct store_pool *p, struct store_reader *rd)
{
    go_mutex_lock(&p->mu);
    p->idle[p->n_idle++] = rd;
    go_cond_signal(&p->free);
    go_mutex_unlock(&p->mu);
}
