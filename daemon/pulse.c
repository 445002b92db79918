#include "daemon/pulse.h"

#include <errno.h>
#include <stdlib.h>

#include "daemon/hub.h"
#include "daemon/pub.h"
#include "runtime/base/atomic.h"
#include "runtime/go.h"

#define EVERY (500 * GO_MILLISECOND)

enum {
    ROUND_MAX = 1000, /* beats in one round */
    KEPT = 4096,      /* beats; a power of two */
};

struct pulse {
    struct daemon *d;
    struct go_ctx *ctx;
    struct go_wg wg;

    struct go_mutex mu;
    struct go_cond wanted; /* with mu */
    /* Guarded by mu. */
    int watchers;
    bool stop;
    uint64_t n;                   /* beats so far: the number of the newest */
    struct pulse_beat kept[KEPT]; /* number i stands at i % KEPT */

    /* The goroutine's. */
    size_t place; /* of dispatch_moved(): the round goes on where the last one stopped */
    struct dispatch_look v[ROUND_MAX];
};

/* What came further, from all jobs if it fits a round. */
static size_t
look(struct pulse *p)
{
    size_t start = p->place, n = 0;
    bool wrapped = false;

    do {
        n += dispatch_moved(p->d->dispatch, &p->place, ROUND_MAX - n, p->v + n);
        wrapped = wrapped || p->place == 0;
    } while (n < ROUND_MAX && !(wrapped && p->place >= start));
    return n;
}

static void
keep(struct pulse *p, const struct pulse_beat *beat)
{
    go_mutex_lock(&p->mu);
    p->kept[++p->n % KEPT] = *beat;
    go_mutex_unlock(&p->mu);
}

static void
tell(struct pulse *p, size_t n)
{
    struct pub *pub = LOAD(&p->d->pub, ACQUIRE);
    int64_t at = daemon_now_ms();

    for (size_t i = 0; i < n; i++) {
        struct pulse_beat beat = {at, p->v[i]};

        keep(p, &beat);
        if (i + 1 == n || p->v[i].batch != p->v[i + 1].batch)
            hub_moved(p->d->hub, p->v[i].batch);
        pub_progress(pub, &beat);
    }
}

static void
pulse_main(struct pulse *p)
{
    bool stop;

    do {
        go_mutex_lock(&p->mu);
        while (p->watchers == 0 && !p->stop)
            go_cond_wait(&p->wanted);
        stop = p->stop;
        go_mutex_unlock(&p->mu);
        if (stop)
            break;
        pub_greet(LOAD(&p->d->pub, ACQUIRE));
        tell(p, look(p));
    } while (go_ctx_sleep(p->ctx, EVERY) == 0);
}

int
pulse_start(struct daemon *d, struct pulse **ret)
{
    struct pulse *p = calloc(1, sizeof(*p));

    if (p == NULL)
        return -ENOMEM;
    p->d = d;
    go_cond_init(&p->wanted, &p->mu);
    p->ctx = go_ctx_with_cancel(NULL);
    if (p->ctx == NULL || go_wg_go(&p->wg, pulse_main, p) < 0) {
        pulse_free(p);
        return -ENOMEM;
    }
    *ret = p;
    return 0;
}

void
pulse_stop(struct pulse *p)
{
    if (p == NULL)
        return;
    go_mutex_lock(&p->mu);
    p->stop = true;
    go_cond_signal(&p->wanted);
    go_mutex_unlock(&p->mu);
    if (p->ctx != NULL)
        go_ctx_cancel(p->ctx);
    go_wg_wait(&p->wg);
}

void
pulse_free(struct pulse *p)
{
    if (p == NULL)
        return;
    go_ctx_unref(p->ctx);
    free(p);
}

void
pulse_watch(struct pulse *p, int more)
{
    go_mutex_lock(&p->mu);
    p->watchers += more;
    if (p->watchers > 0)
        go_cond_signal(&p->wanted);
    go_mutex_unlock(&p->mu);
}

size_t
pulse_read(struct pulse *p, uint64_t *after, size_t max, struct pulse_beat *ret)
{
    size_t n = 0;

    go_mutex_lock(&p->mu);
    if (*after == 0 || *after > p->n + 1)
        *after = p->n + 1; /* numbers given out are one more, so that 0 is none */
    if (p->n + 1 - *after > KEPT)
        *after = p->n + 1 - KEPT;
    for (; n < max && *after <= p->n; ++*after)
        ret[n++] = p->kept[*after % KEPT];
    go_mutex_unlock(&p->mu);
    return n;
}
