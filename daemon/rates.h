/*
 * How many jobs a second: submitted, ended, and started in each queue, over the last five
 * seconds.
 *
 * Context    goroutines.
 */
#ifndef GOJOBD_DAEMON_RATES_H
#define GOJOBD_DAEMON_RATES_H

#include <stddef.h>
#include <stdint.h>

#include "daemon/store/queue.h"
#include "runtime/sync/mutex.h"

enum { RATES_KEPT = 6 };

/* What has been counted since the start, at one moment. */
struct rates_sample {
    int64_t at; /* go_now(); 0: none */
    int64_t submitted, ended;
    int64_t started[STORE_QUEUES_MAX];
};

struct rates {
    struct go_mutex mu;
    /* Guarded by mu. */
    struct rates_sample kept[RATES_KEPT];
    unsigned next; /* where the next one goes: the oldest is there */
};

/* About once a second. A zeroed struct has no samples. */
void rates_add(struct rates *r, const struct rates_sample *s);

/* Jobs a second between the oldest sample and s, taken now. */
struct rates_now {
    double submit, finish;
    double started[STORE_QUEUES_MAX];
};
void rates_now(struct rates *r, const struct rates_sample *s, struct rates_now *ret);

#endif
