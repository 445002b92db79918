/* Pool: see pool.h. Under ASan nothing is recycled, so that it sees every use after
 * free. */
#include "runtime/mem/pool.h"

#include <stdlib.h>
#include <string.h>

#include "runtime/sched/rt.h"

static struct rt_pool_stripe *
stripe_of(struct rt_pool *p, const struct go_m *m)
{
    return &p->stripe[(unsigned)m->id % RT_POOL_STRIPES];
}

void *
rt_pool_get(struct rt_pool *p)
{
    struct rt_pool_stripe *s;
    void *block = NULL;

    if (GO_ASAN)
        return malloc(p->size);
    s = stripe_of(p, rt_enter());
    go_lck_lock(&s->lock, GO_LCK_STACKS);
    if (s->free != NULL) {
        block = s->free;
        memcpy(&s->free, block, sizeof(s->free));
        s->n--;
    }
    go_lck_unlock(&s->lock);
    rt_exit();
    return LIKELY(block != NULL) ? block : malloc(p->size);
}

void
rt_pool_put(struct rt_pool *p, void *block)
{
    struct rt_pool_stripe *s;
    bool keep;

    if (GO_ASAN) {
        free(block);
        return;
    }
    s = stripe_of(p, rt_enter());
    go_lck_lock(&s->lock, GO_LCK_STACKS);
    keep = s->n < p->max;
    if (keep) {
        memcpy(block, &s->free, sizeof(s->free));
        s->free = block;
        s->n++;
    }
    go_lck_unlock(&s->lock);
    rt_exit();
    if (UNLIKELY(!keep))
        free(block);
}
