/*
 * Named queues: their settings and counters. They are few, are all held in memory, and are
 * never deleted. What the settings mean (limits, rates, pauses) is dispatch's business.
 */
#ifndef GOJOBD_DAEMON_STORE_QUEUE_H
#define GOJOBD_DAEMON_STORE_QUEUE_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/store/state.h"

struct store;

struct store_queue_conf {
    bool paused;
    int64_t parallel; /* running at once; 0: no limit */
    double rate;      /* starts a second; 0: no limit */
    int64_t burst;
};

struct store_queue {
    int64_t id;
    const char *name; /* the store's, valid until the transaction ends */
    struct store_queue_conf conf;
    int64_t n[STORE_STATE_N]; /* jobs by state - STORE_BLOCKED, since ever */
    int64_t pruned;           /* of the ended ones, taken by retention */
};

enum {
    STORE_QUEUES_MAX = 1000,
};

/* The queue of that name, made if create: 1 and *ret, 0 = there is none. -ENOSPC: as many
 * as may be. Queue 0, "default", always exists. Inside a transaction. */
int store_queue_find(struct store *st, const char *name, bool create, int64_t *ret);

/* -ENOENT if there is no such queue. Inside a transaction. */
int store_queue_set(struct store *st, int64_t id, const struct store_queue_conf *conf);

/* The same for a queue's entry in the configuration file, which counts when it is new or
 * has changed since it was last applied; what was set by hand since then stays. */
int store_queue_apply(struct store *st, int64_t id, const struct store_queue_conf *conf);

/* What the writer knows of queue id: 0, or -ENOENT past the last one. Not from another
 * thread than the writer's; others ask a reader. */
int store_queue_get(const struct store *st, int64_t id, struct store_queue *ret);

/* Jobs that wait or run, over all queues: what back-pressure looks at. */
int64_t store_backlog(const struct store *st);

/* Of all queues: how many jobs are queued. */
int64_t store_queued(const struct store *st);

/* Bytes of the database and its log. */
int64_t store_disk_bytes(struct store *st);

#endif
