/*
 * Running jobs seen from outside: by id, the oldest ones, those that came further, counts.
 */
#include <string.h>

#include "daemon/dispatch_inner.h"
#include "runtime/base/atomic.h"
#include "runtime/go.h"

#define MOVED_STEP                                                                       \
    4096 /* places of the table that dispatch_moved() looks at, at a time */

/* mu is held. */
static struct dispatch_look
look_locked(const struct task *t)
{
    struct dispatch_look l = {
        .job = t->claim.id,
        .batch = t->claim.batch,
        .lane = t->claim.lane,
        .attempt = t->claim.attempt,
        .goroutine = t->goroutine,
        .since = t->since,
    };

    if (t->run != NULL) {
        l.done = LOAD(&t->run->progress.done, RELAXED);
        l.total = LOAD(&t->run->progress.total, RELAXED);
        l.unit = LOAD(&t->run->progress.unit, RELAXED);
        l.tick = LOAD(&t->run->progress.tick, RELAXED);
    }
    return l;
}

bool
dispatch_look(struct dispatch *dp, int64_t id, struct dispatch_look *ret)
{
    struct task *t;

    go_mutex_lock(&dp->mu);
    t = dispatch_find_locked(dp, id);
    if (t != NULL)
        *ret = look_locked(t);
    go_mutex_unlock(&dp->mu);
    return t != NULL;
}

size_t
dispatch_list(struct dispatch *dp, size_t max, struct dispatch_look *ret)
{
    size_t n = 0;

    go_mutex_lock(&dp->mu);
    for (struct task *t = dp->last; t != NULL && n < max; t = t->prev)
        if (t->goroutine != 0)
            ret[n++] = look_locked(t);
    go_mutex_unlock(&dp->mu);
    return n;
}

size_t
dispatch_moved(struct dispatch *dp, size_t *place, size_t max, struct dispatch_look *ret)
{
    size_t i = *place,
           end = i + MOVED_STEP < DISPATCH_HASH_N ? i + MOVED_STEP : DISPATCH_HASH_N,
           n = 0;

    go_mutex_lock(&dp->mu);
    for (; i < end && n < max; i++)
        for (struct task *t = dp->hash[i]; t != NULL && n < max; t = t->hash_next) {
            uint64_t done = t->told;

            if (t->run != NULL)
                done = LOAD(&t->run->progress.done, RELAXED);
            if (done == t->told)
                continue;
            t->told = done;
            ret[n++] = look_locked(t);
        }
    go_mutex_unlock(&dp->mu);
    *place = i < DISPATCH_HASH_N ? i : 0;
    return n;
}

void
dispatch_counts(struct dispatch *dp, struct dispatch_counts *ret)
{
    go_mutex_lock(&dp->mu);
    *ret = dp->counts;
    go_mutex_unlock(&dp->mu);
}

void
dispatch_started(struct dispatch *dp, int64_t *ret, size_t n)
{
    go_mutex_lock(&dp->mu);
    memcpy(ret, dp->started, n * sizeof(*ret));
    go_mutex_unlock(&dp->mu);
}
