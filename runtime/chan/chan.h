/*
 * Channels: bounded queues of fixed-size elements between goroutines, with exactly the
 * semantics of the Go specification ("Channel types", "Send statements", "Receive
 * operator", "Close").
 *
 *     struct go_chan *c = go_chan_new(sizeof(int), 0);
 *     go(producer, c);
 *     int v;
 *     while (go_chan_recv(c, &v))          // for v := range c
 *         printf("%d\n", v);
 *     go_chan_unref(c);
 *
 * Lifecycle  new -> send/recv -> close (optional) -> unref; the last unref frees, and
 *            elements still buffered are dropped. A parked send or recv does not touch the
 *            channel once woken, so whoever closes it may drop the last reference at once.
 * Ownership  send copies elem_size bytes before it returns; the channel owns no pointers.
 * Nil        a NULL channel is Go's nil channel: send and recv park for ever, close panics,
 *            len and cap are 0, a select case on it is never ready.
 * Order      first in, first out; parked receivers and senders are served in order.
 * Context    any thread. try_send, try_recv, close, len, cap, ref and unref never park.
 */
#ifndef GOJOBD_RUNTIME_CHAN_CHAN_H
#define GOJOBD_RUNTIME_CHAN_CHAN_H

#include <stdbool.h>
#include <stddef.h>

struct go_chan;

/* A channel of elem_size-byte elements (0 is allowed: only the event counts) that buffers
 * cap of them (0: unbuffered), with one reference. NULL when memory is short or the size
 * overflows. */
struct go_chan *go_chan_new(size_t elem_size, size_t cap);

/* Both accept NULL. ref returns c. */
struct go_chan *go_chan_ref(struct go_chan *c);
void go_chan_unref(struct go_chan *c);

/* PARKS until a receiver or a buffer slot has taken elem. Panics if c is or becomes closed.
 * elem may be NULL where elem_size is 0. */
void go_chan_send(struct go_chan *c, const void *elem);

/* PARKS until an element came (true) or c is closed and drained (false: elem is zeroed, as
 * Go's zero value). elem may be NULL: the element is dropped. */
bool go_chan_recv(struct go_chan *c, void *elem);

/* 1 = sent; -EAGAIN = would park (always for NULL). Panics if c is closed. */
int go_chan_try_send(struct go_chan *c, const void *elem);

/* 1 = received; 0 = closed and drained (elem zeroed); -EAGAIN = would park. */
int go_chan_try_recv(struct go_chan *c, void *elem);

/* No more sends: parked receivers get zero values, parked senders panic. Closing NULL or
 * a closed channel panics. */
void go_chan_close(struct go_chan *c);

/* Elements buffered now, and the buffer's size. 0 for NULL. */
size_t go_chan_len(const struct go_chan *c);
size_t go_chan_cap(const struct go_chan *c);
size_t go_chan_elem_size(const struct go_chan *c);

/* Typed shorthand. The size of the value must be the channel's element size (checked: a
 * panic otherwise).
 *     go_send(c, 42);      int v = go_recv(c, int); */
#define go_send(c, value)                                                                \
    __extension__({                                                                      \
        struct go_chan *go_c__ = (c);                                                    \
        __auto_type go_v__ = (value);                                                    \
        go_chan_check_size_(go_c__, sizeof(go_v__));                                     \
        go_chan_send(go_c__, &go_v__);                                                   \
    })

#define go_recv(c, type)                                                                 \
    __extension__({                                                                      \
        struct go_chan *go_c__ = (c);                                                    \
        type go_v__;                                                                     \
        go_chan_check_size_(go_c__, sizeof(go_v__));                                     \
        (void)go_chan_recv(go_c__, &go_v__);                                             \
        go_v__;                                                                          \
    })

void go_chan_check_size_(const struct go_chan *c, size_t size);

#endif
