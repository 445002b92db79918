/*
 * Threads that the runtime did not start, for tests, and waiting for goroutines to park.
 */
#ifndef GOJOBD_TESTS_SUPPORT_FOREIGN_H
#define GOJOBD_TESTS_SUPPORT_FOREIGN_H

#include <pthread.h>

#include "tests/support/gotest.h"

static inline pthread_t
foreign_start(void *(*fn)(void *), void *arg)
{
    pthread_t t;

    REQUIRE(pthread_create(&t, NULL, fn, arg) == 0);
    return t;
}

/* Join without holding the P. */
static inline void
foreign_join(pthread_t t)
{
    REQUIRE(GO_BLOCKING(pthread_join(t, NULL)) == 0);
}

struct parked_count {
    const char *reason;
    int n;
};

static inline void
parked_count_one(const struct go_info *g, void *arg)
{
    struct parked_count *pc = (struct parked_count *)arg;

    if (g->state == GO_WAITING && g->reason != NULL && strcmp(g->reason, pc->reason) == 0)
        pc->n++;
}

/* Are n goroutines, or more, parked for reason? */
static inline bool
parked(const char *reason, int n)
{
    struct parked_count pc = {.reason = reason};

    go_each(parked_count_one, &pc);
    return pc.n >= n;
}

/* Let others run until they are. */
static inline void
wait_parked(const char *reason, int n)
{
    while (!parked(reason, n))
        go_yield();
}

#endif
