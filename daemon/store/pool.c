#include "daemon/store/pool.h"

#include <errno.h>
#include <stdlib.h>

#include "runtime/base/check.h"
#include "runtime/sync/mutex.h"
#include "runtime/sync/sem.h"

#define POOL_MAX 64

struct store_pool {
    struct go_sem free; /* counts idle[] */
    struct go_mutex mu;
    int n;
    int n_idle;                          /* guarded by mu */
    struct store_reader *idle[POOL_MAX]; /* guarded by mu */
};

int
store_pool_open(const char *path, int n, struct store_pool **ret, char *err,
                size_t err_size)
{
    struct store_pool *p = calloc(1, sizeof(*p));
    int r;

    ENSURE(n >= 1 && n <= POOL_MAX);
    if (p == NULL)
        return -ENOMEM;
    for (; p->n < n; p->n++) {
        r = store_reader_open(path, NULL, &p->idle[p->n], err, err_size);
        if (r < 0) {
            p->n_idle = p->n;
            store_pool_close(p);
            return r;
        }
    }
    p->n_idle = n;
    go_sem_init(&p->free, n);
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
    free(p);
}

struct store_reader *
store_pool_get(struct store_pool *p)
{
    struct store_reader *rd;

    go_sem_acquire(&p->free, 1);
    go_mutex_lock(&p->mu);
    rd = p->idle[--p->n_idle];
    go_mutex_unlock(&p->mu);
    return rd;
}

void
store_pool_put(struct store_pool *p, struct store_reader *rd)
{
    go_mutex_lock(&p->mu);
    p->idle[p->n_idle++] = rd;
    go_mutex_unlock(&p->mu);
    go_sem_release(&p->free, 1);
}
