/*
 * select: wait for the first of several channel operations ("Select statements" in the Go
 * specification). Among those ready at once the choice is uniformly random.
 *
 *     struct go_case cases[] = {
 *         GO_CASE_RECV(results, &r),
 *         GO_CASE_RECV(go_ctx_done(ctx), NULL),
 *         GO_CASE_SEND(out, &x),
 *     };
 *     switch (go_select(cases, 3)) {
 *     case 0: … cases[0].ok … break;
 *     case 1: return -ETIMEDOUT;
 *     case 2: break;
 *     }
 *
 * Allocates nothing: the array is the caller's and holds the bookkeeping of the wait. It
 * may be used again for the next select. The same channel may appear in several cases; a
 * NULL channel is never ready.
 */
#ifndef GOJOBD_RUNTIME_CHAN_SELECT_H
#define GOJOBD_RUNTIME_CHAN_SELECT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct go_chan;

enum go_case_op { GO_OP_RECV, GO_OP_SEND };

struct go_case {
    struct go_chan *chan;
    void *elem; /* receive into, or send from; never written through for a send */
    enum go_case_op op;
    bool ok; /* out, for the chosen receive: false = the channel is closed and drained */

    /* select's own, while it runs */
    uint16_t poll_order_, lock_order_;
    void *waiter_[8];
};

#define GO_CASE_RECV(c, e)                                                               \
    {                                                                                    \
        .chan = (c), .elem = (e), .op = GO_OP_RECV                                       \
    }
#define GO_CASE_SEND(c, e)                                                               \
    {                                                                                    \
        .chan = (c), .elem = (void *)(uintptr_t)(e), .op = GO_OP_SEND                    \
    }

/* PARKS until one case can go on, performs it and returns its index. n == 0 or only NULL
 * channels parks for ever. A send on a closed channel panics. n is at most 65535. */
int go_select(struct go_case *cases, size_t n);

/* As go_select, but returns -EAGAIN at once when no case is ready: select with default. */
int go_select_default(struct go_case *cases, size_t n);

/* As go_select, but returns -ETIMEDOUT when none was ready by deadline (go_now() clock). */
int go_select_until(struct go_case *cases, size_t n, int64_t deadline);

#endif
