/* Channels: see chan.h for what they promise, chan_impl.h for the two operations. */
#define _GNU_SOURCE
#include "runtime/chan/chan.h"

#include <stdint.h>
#include <stdlib.h>

#include "runtime/chan/chan_impl.h"

struct go_chan *
go_chan_new(size_t elem_size, size_t cap)
{
    struct go_chan *c;
    size_t bytes;

    if (__builtin_mul_overflow(elem_size, cap, &bytes) ||
        __builtin_add_overflow(bytes, sizeof(*c), &bytes) || bytes > PTRDIFF_MAX)
        return NULL;
    c = malloc(bytes);
    if (c == NULL)
        return NULL;
    memset(c, 0, sizeof(*c));
    c->magic = CHAN_MAGIC;
    c->refs = 1;
    c->elem_size = elem_size;
    c->cap = cap;
    return c;
}

struct go_chan *
go_chan_ref(struct go_chan *c)
{
    if (c != NULL) {
        chan_check(c);
        ADD(&c->refs, 1, RELAXED);
    }
    return c;
}

void
go_chan_unref(struct go_chan *c)
{
    if (c == NULL)
        return;
    chan_check(c);
    /* Acquire-release: whoever frees has seen everything the others did. */
    if (ADD(&c->refs, (uint32_t)-1, ACQ_REL) > 0)
        return;
    if (c->recvq.head != NULL || c->sendq.head != NULL)
        go_panic("last reference to a channel dropped while goroutines wait on it");
    c->magic = 0;
    free(c);
}

_Noreturn static void
park_for_ever(const char *reason)
{
    (void)rt_enter();
    for (;;)
        rt_park(NULL, reason);
}

void
go_chan_send(struct go_chan *c, const void *elem)
{
    struct go_waiter w;
    struct go_g *wake;
    struct go_m *m;

    if (UNLIKELY(c == NULL))
        park_for_ever("chan send (nil chan)");
    m = rt_enter();
    chan_check(c);
    bias_lock(&c->lock, m, GO_LCK_CHAN);
    if (UNLIKELY(c->closed)) {
        bias_unlock(&c->lock, m);
        go_panic("send on closed channel");
    }
    if (chan_send_locked(c, elem, &wake)) {
        bias_unlock(&c->lock, m);
        if (wake != NULL)
            rt_ready(wake);
        rt_exit();
        return;
    }
    w.g = m->g;
    w.elem = (void *)(uintptr_t)elem;
    w.select = false;
    w.ok = false;
    waitq_push(&c->sendq, &w);
    rt_park_prepare("chan send");
    bias_unlock_parking(&c->lock, m);
    rt_park_commit();
    if (UNLIKELY(!w.ok))
        go_panic("send on closed channel");
    rt_exit();
}

bool
go_chan_recv(struct go_chan *c, void *elem)
{
    struct go_waiter w;
    struct go_g *wake;
    struct go_m *m;
    int r;

    if (UNLIKELY(c == NULL))
        park_for_ever("chan receive (nil chan)");
    m = rt_enter();
    chan_check(c);
    bias_lock(&c->lock, m, GO_LCK_CHAN);
    r = chan_recv_locked(c, elem, &wake);
    if (r >= 0) {
        bias_unlock(&c->lock, m);
        if (wake != NULL)
            rt_ready(wake);
        rt_exit();
        return r == 1;
    }
    w.g = m->g;
    w.elem = elem;
    w.select = false;
    w.ok = false;
    waitq_push(&c->recvq, &w);
    rt_park_prepare("chan receive");
    bias_unlock_parking(&c->lock, m);
    rt_park_commit(); /* c may be gone: whoever woke us filled elem */
    rt_exit();
    return w.ok;
}

int
go_chan_try_send(struct go_chan *c, const void *elem)
{
    struct go_g *wake;
    struct go_m *m;
    bool sent;

    /* Full and nobody waits, seen without the lock: that was true at some moment during
     * this call, which is all a try can say (Go's chansend does the same). */
    if (c == NULL)
        return -EAGAIN;
    chan_check(c);
    if (!LOAD(&c->closed, RELAXED) && (c->cap == 0 ? LOAD(&c->recvq.head, RELAXED) == NULL
                                                   : LOAD(&c->len, RELAXED) == c->cap))
        return -EAGAIN;
    m = rt_enter();
    bias_lock(&c->lock, m, GO_LCK_CHAN);
    if (c->closed) {
        bias_unlock(&c->lock, m);
        go_panic("send on closed channel");
    }
    sent = chan_send_locked(c, elem, &wake);
    bias_unlock(&c->lock, m);
    if (wake != NULL)
        rt_ready(wake);
    rt_exit();
    return sent ? 1 : -EAGAIN;
}

int
go_chan_try_recv(struct go_chan *c, void *elem)
{
    struct go_g *wake;
    struct go_m *m;
    int r;

    if (c == NULL)
        return -EAGAIN;
    chan_check(c);
    /* Empty and open, seen without the lock. closed is looked at last: a channel that was
     * still open then had been empty before (Go's chanrecv). */
    if (LOAD(&c->len, ACQUIRE) == 0 && LOAD(&c->sendq.head, ACQUIRE) == NULL &&
        !LOAD(&c->closed, ACQUIRE))
        return -EAGAIN;
    m = rt_enter();
    bias_lock(&c->lock, m, GO_LCK_CHAN);
    r = chan_recv_locked(c, elem, &wake);
    bias_unlock(&c->lock, m);
    if (wake != NULL)
        rt_ready(wake);
    rt_exit();
    return r;
}

#define CLOSE_BATCH 64

/* Take up to n waiters of q out, for a close: receivers get the zero value. How many; theirs
 * goroutines in v. Under the lock. */
static uint32_t
release(struct go_chan *c, struct go_waitq *q, struct go_g **v, uint32_t n)
{
    struct go_waiter *w;
    uint32_t got = 0;

    while (got < n && (w = chan_dequeue(q)) != NULL) {
        PREFETCH(q->head); /* each lies on a stack of its own, which has not run lately */
        w->ok = false;
        if (q == &c->recvq && w->elem != NULL)
            memset(w->elem, 0, c->elem_size);
        v[got] = w->g;
        PREFETCH(v[got++]);
    }
    return got;
}

/* Wake all that wait on a channel just closed, so that nobody new can wait there; some at a
 * time, so that a waiter is touched once only and the lock not held for long. */
static void
wake_all(struct go_chan *c)
{
    struct go_g *v[CLOSE_BATCH];
    struct go_m *m = rt_m();
    uint32_t n;

    do {
        bias_lock(&c->lock, m, GO_LCK_CHAN);
        n = release(c, &c->recvq, v, CLOSE_BATCH);
        n += release(c, &c->sendq, v + n, CLOSE_BATCH - n);
        bias_unlock(&c->lock, m);
        rt_ready_all(v, n);
    } while (n == CLOSE_BATCH);
}

void
go_chan_close(struct go_chan *c)
{
    struct go_m *m;
    bool waiters;

    if (c == NULL)
        go_panic("close of nil channel");
    m = rt_enter();
    chan_check(c);
    bias_lock(&c->lock, m, GO_LCK_CHAN);
    if (c->closed) {
        bias_unlock(&c->lock, m);
        go_panic("close of closed channel");
    }
    STORE(&c->closed, true, RELEASE);
    waiters = c->recvq.head != NULL || c->sendq.head != NULL;
    if (waiters)
        go_chan_ref(c); /* those woken may drop theirs, and ours need not be one */
    bias_unlock(&c->lock, m);
    if (waiters) {
        wake_all(c);
        go_chan_unref(c);
    }
    rt_exit();
}

size_t
go_chan_len(const struct go_chan *c)
{
    return c == NULL ? 0 : LOAD(&c->len, RELAXED);
}

size_t
go_chan_cap(const struct go_chan *c)
{
    return c == NULL ? 0 : c->cap;
}

size_t
go_chan_elem_size(const struct go_chan *c)
{
    return c == NULL ? 0 : c->elem_size;
}

void
go_chan_check_size_(const struct go_chan *c, size_t size)
{
    if (c != NULL && c->elem_size != size)
        go_panic("a value of %zu bytes for a channel of %zu-byte elements", size,
                 c->elem_size);
}
