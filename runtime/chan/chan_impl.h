/* What chan.c and select.c share. Internal. */
#ifndef GOJOBD_RUNTIME_CHAN_CHAN_IMPL_H
#define GOJOBD_RUNTIME_CHAN_CHAN_IMPL_H

#include <errno.h>
#include <string.h>

#include "runtime/base/atomic.h"
#include "runtime/chan/chan.h"
#include "runtime/sched/bias.h"

#define CHAN_MAGIC 0x6e616863u

struct go_chan {
    uint32_t magic;
    uint32_t refs; /* atomic */

    /* Constant after go_chan_new(). */
    size_t elem_size;
    size_t cap;

    struct go_bias lock; /* rank GO_LCK_CHAN; two channels: lower address first */
    /* Guarded by lock; len and closed are atomic for the looks without it. */
    size_t len;
    size_t head; /* slot of the oldest element */
    bool closed;
    struct go_waitq recvq; /* parked receivers, FIFO: only while len == 0 */
    struct go_waitq sendq; /* parked senders, FIFO: only while len == cap */

    _Alignas(16) unsigned char buf[];
};

static inline void
chan_copy(void *to, const void *from, size_t size)
{
    if (LIKELY(size == 8))
        memcpy(to, from, 8);
    else if (size == 4)
        memcpy(to, from, 4);
    else if (size > 0)
        memcpy(to, from, size);
}

static inline void *
chan_slot(struct go_chan *c, size_t i)
{
    return c->buf + i * c->elem_size;
}

/* The first waiter that is not a select another case of which has won. Under the lock. */
static inline struct go_waiter *
chan_dequeue(struct go_waitq *q)
{
    struct go_waiter *w;

    while ((w = waitq_pop(q)) != NULL)
        if (waiter_claim(w)) {
            w->won = true;
            return w;
        }
    return NULL;
}

/* Under the lock, on an open channel: send elem if that needs no wait. True if sent, and
 * then *wake is whom to rt_ready() after unlocking, or NULL. */
static inline bool
chan_send_locked(struct go_chan *c, const void *elem, struct go_g **wake)
{
    struct go_waiter *w = c->recvq.head != NULL ? chan_dequeue(&c->recvq) : NULL;

    *wake = NULL;
    if (w != NULL) { /* hand it over directly: its stack is stable while it is parked */
        if (w->elem != NULL)
            chan_copy(w->elem, elem, c->elem_size);
        w->ok = true;
        *wake = w->g;
        return true;
    }
    if (c->len < c->cap) {
        size_t tail = c->head + c->len;

        chan_copy(chan_slot(c, tail >= c->cap ? tail - c->cap : tail), elem,
                  c->elem_size);
        STORE(&c->len, c->len + 1, RELAXED);
        return true;
    }
    return false;
}

/* Under the lock: receive if that needs no wait. 1: received; 0: closed and drained;
 * -EAGAIN. *wake as above. */
static inline int
chan_recv_locked(struct go_chan *c, void *elem, struct go_g **wake)
{
    struct go_waiter *w;

    *wake = NULL;
    if (c->len > 0) {
        void *oldest = chan_slot(c, c->head);

        if (elem != NULL)
            chan_copy(elem, oldest, c->elem_size);
        if (++c->head == c->cap)
            c->head = 0;
        w = c->sendq.head != NULL ? chan_dequeue(&c->sendq) : NULL;
        if (w == NULL) {
            STORE(&c->len, c->len - 1, RELAXED);
            return 1;
        }
        /* Full, and somebody waits to send: its element takes the freed slot. */
        chan_copy(oldest, w->elem, c->elem_size);
        w->ok = true;
        *wake = w->g;
        return 1;
    }
    w = c->sendq.head != NULL ? chan_dequeue(&c->sendq) : NULL;
    if (w != NULL) {
        if (elem != NULL)
            chan_copy(elem, w->elem, c->elem_size);
        w->ok = true;
        *wake = w->g;
        return 1;
    }
    if (c->closed) {
        if (elem != NULL)
            memset(elem, 0, c->elem_size);
        return 0;
    }
    return -EAGAIN;
}

static inline void
chan_check(const struct go_chan *c)
{
    if (UNLIKELY(c->magic != CHAN_MAGIC))
        go_panic("not a channel, or one that was freed: %p", (const void *)c);
}

#endif
