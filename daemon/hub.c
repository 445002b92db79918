#include "daemon/hub.h"

#include <errno.h>
#include <stdlib.h>

#include "runtime/base/atomic.h"
#include "runtime/go.h"

#define BUCKETS 1024 /* a power of two */

struct hub {
    struct go_mutex mu;
    struct hub_waiter *buckets[BUCKETS]; /* guarded by mu: by batch; 0 stands for all */
    bool closed;                         /* atomic */
    int64_t n;                           /* atomic, written under mu */
    struct hub_totals totals;            /* atomic, the writer's goroutine writes */
};

int
hub_new(struct hub **ret)
{
    struct hub *hub = calloc(1, sizeof(*hub));

    if (hub == NULL)
        return -ENOMEM;
    *ret = hub;
    return 0;
}

void
hub_free(struct hub *hub)
{
    free(hub);
}

static struct hub_waiter **
bucket(struct hub *hub, int64_t batch)
{
    return &hub->buckets[((uint64_t)batch * 0x9e3779b97f4a7c15u) >> 54 & (BUCKETS - 1)];
}

void
hub_enter(struct hub *hub, struct hub_waiter *w, int64_t batch, unsigned what)
{
    struct hub_waiter **head = bucket(hub, batch);

    *w = (struct hub_waiter){.batch_ = batch, .what_ = what};
    go_sem_init(&w->sem_, 0);
    go_mutex_lock(&hub->mu);
    w->next_ = *head;
    w->link_ = head;
    if (*head != NULL)
        (*head)->link_ = &w->next_;
    *head = w;
    STORE(&hub->n, hub->n + 1, RELAXED);
    go_mutex_unlock(&hub->mu);
}

void
hub_leave(struct hub *hub, struct hub_waiter *w)
{
    go_mutex_lock(&hub->mu);
    *w->link_ = w->next_;
    if (w->next_ != NULL)
        w->next_->link_ = w->link_;
    STORE(&hub->n, hub->n - 1, RELAXED);
    go_mutex_unlock(&hub->mu);
}

/* mu is held. */
static void
wake_locked(struct hub_waiter *w)
{
    if (!SWAP(&w->woken_, true, ACQ_REL))
        go_sem_release(&w->sem_, 1);
}

/* Takes no lock: whoever wakes us still holds it. A waker that finds woken_ not yet reset
 * need not wake: we look after the reset, and so see what it tells of. */
int
hub_wait(struct hub *hub, struct hub_waiter *w, int64_t deadline, struct go_ctx *ctx)
{
    struct go_ctx *until;
    int r;

    if (LOAD(&hub->closed, ACQUIRE))
        return -ESHUTDOWN;
    until = go_ctx_with_deadline(ctx, deadline);
    if (until == NULL)
        return -ENOMEM;
    r = go_sem_acquire_ctx(&w->sem_, 1, until);
    go_ctx_unref(until);
    if (r == 0)
        (void)SWAP(&w->woken_, false, ACQ_REL);
    return LOAD(&hub->closed, ACQUIRE) ? -ESHUTDOWN : r;
}

static void
wake_batch_locked(struct hub *hub, int64_t batch, unsigned what)
{
    for (struct hub_waiter *w = *bucket(hub, batch); w != NULL; w = w->next_)
        if (w->batch_ == batch && (w->what_ & what))
            wake_locked(w);
}

static unsigned
what_of(const struct store_event *ev, struct hub_totals *add)
{
    if (ev->type == EVENT_ADDED)
        add->submitted += ev->count;
    if (ev->type == EVENT_STATE && store_state_final(ev->state)) {
        add->ended++;
        return HUB_ANY | HUB_FINISHES;
    }
    if (ev->type == EVENT_BATCH_END || ev->type == EVENT_BATCH_STOP)
        return HUB_ANY | HUB_ENDS;
    return HUB_ANY;
}

void
hub_tell(struct hub *hub, struct event_cursor events)
{
    struct hub_totals add = {0};
    struct store_event ev;
    int64_t batch = 0;
    unsigned what = 0;
    bool any = false;

    /* The events of one batch mostly stand together: one look-up for each run of them. */
    go_mutex_lock(&hub->mu);
    while (event_next(&events, &ev) > 0) {
        any = true;
        if (ev.batch != batch) {
            if (batch != 0)
                wake_batch_locked(hub, batch, what);
            batch = ev.batch;
            what = 0;
        }
        what |= what_of(&ev, &add);
    }
    if (batch != 0)
        wake_batch_locked(hub, batch, what);
    if (any)
        wake_batch_locked(hub, 0, HUB_ANY);
    go_mutex_unlock(&hub->mu);
    BUMP(&hub->totals.submitted, add.submitted);
    BUMP(&hub->totals.ended, add.ended);
}

void
hub_moved(struct hub *hub, int64_t batch)
{
    go_mutex_lock(&hub->mu);
    wake_batch_locked(hub, batch, HUB_PROGRESS);
    wake_batch_locked(hub, 0, HUB_PROGRESS);
    go_mutex_unlock(&hub->mu);
}

void
hub_close(struct hub *hub)
{
    go_mutex_lock(&hub->mu);
    STORE(&hub->closed, true, RELEASE);
    for (size_t i = 0; i < BUCKETS; i++)
        for (struct hub_waiter *w = hub->buckets[i]; w != NULL; w = w->next_)
            wake_locked(w);
    go_mutex_unlock(&hub->mu);
}

int64_t
hub_waiters(const struct hub *hub)
{
    return LOAD(&hub->n, RELAXED);
}

struct hub_totals
hub_totals(const struct hub *hub)
{
    return (struct hub_totals){
        .submitted = LOAD(&hub->totals.submitted, RELAXED),
        .ended = LOAD(&hub->totals.ended, RELAXED),
    };
}
