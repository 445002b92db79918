/*
 * Once: run a function exactly once (Go's sync.Once). When go_once() returns, fn has
 * returned, whoever called it. Zero is "not yet". fn calling go_once() on the same once
 * deadlocks, as in Go.
 */
#ifndef GOJOBD_RUNTIME_SYNC_ONCE_H
#define GOJOBD_RUNTIME_SYNC_ONCE_H

#include <stdint.h>

#include "runtime/sync/mutex.h"

struct go_once {
    uint32_t done; /* atomic; release-stored after fn returned */
    uint32_t spare_;
    struct go_mutex mu;
};

#define GO_ONCE_INIT                                                                     \
    {                                                                                    \
        .done = 0                                                                        \
    }

void go_once_slow_(struct go_once *o, void (*fn)(void *), void *arg);

/* PARKS while another goroutine runs fn. */
static inline void
go_once(struct go_once *o, void (*fn)(void *), void *arg)
{
    if (__builtin_expect(!__atomic_load_n(&o->done, __ATOMIC_ACQUIRE), 0))
        go_once_slow_(o, fn, arg);
}

#endif
