/*
 * A sink's transaction: the runs of one fire submitted and its row moved on, at once.
 */
#ifndef GOJOBD_DAEMON_SCHEDULE_RECORD_H
#define GOJOBD_DAEMON_SCHEDULE_RECORD_H

#include <stdint.h>

#include "daemon/schedule/engine.h"

struct store;

struct sched_submit {
    /* Submit one run's batch in the open transaction: 0 and *ret_batch. after is a batch
     * whose end its jobs must wait for (STORE_ON_FINISH), or 0. -EINVAL: this run can never
     * be submitted, it counts as skipped. Another -errno: try again later. */
    int (*fn)(void *arg, struct store *st, int64_t schedule, int64_t nominal,
              int64_t after, int64_t *ret_batch);
    void *arg;
};

/* Carry out f in st's open transaction and set its answer; returns f->result. May be called
 * again after a rollback: what f was asked stays. */
int sched_record(struct store *st, struct sched_fire *f,
                 const struct sched_submit *submit);

#endif
