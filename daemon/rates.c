#include "daemon/rates.h"

#include "runtime/go.h"

void
rates_add(struct rates *r, const struct rates_sample *s)
{
    go_mutex_lock(&r->mu);
    r->kept[r->next] = *s;
    r->next = (r->next + 1) % RATES_KEPT;
    go_mutex_unlock(&r->mu);
}

static double
rate(int64_t now, int64_t then, int64_t span)
{
    return span <= 0 ? 0 : (double)(now - then) * (double)GO_SECOND / (double)span;
}

void
rates_now(struct rates *r, const struct rates_sample *s, struct rates_now *ret)
{
    const struct rates_sample *old;
    int64_t span;

    go_mutex_lock(&r->mu);
    old = &r->kept[r->next];
    if (old->at == 0) /* not yet full: the first one */
        old = &r->kept[0];
    span = old->at == 0 ? 0 : s->at - old->at;
    ret->submit = rate(s->submitted, old->submitted, span);
    ret->finish = rate(s->ended, old->ended, span);
    for (size_t i = 0; i < STORE_QUEUES_MAX; i++)
        ret->started[i] = rate(s->started[i], old->started[i], span);
    go_mutex_unlock(&r->mu);
}
