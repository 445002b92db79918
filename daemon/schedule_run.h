/*
 * One run of a schedule: its spec's jobs as a batch, in the writer's open transaction.
 */
#ifndef GOJOBD_DAEMON_SCHEDULE_RUN_H
#define GOJOBD_DAEMON_SCHEDULE_RUN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "config/config.h"

struct store;

struct schedule_run {
    /* In. */
    const struct config *cfg;
    bool refuse;         /* the disk is too full for new jobs */
    const void *request; /* the client's request id; NULL: the engine's run */
    size_t request_len;

    /* Out. */
    bool repeated; /* the request had been carried out before */
    bool deadline; /* a batch with one was made */
    char why[200]; /* with -EINVAL: why there cannot be such a run */
};

/* after: a batch that must have ended before, or 0. 0 and *ret_batch; -ENOENT: no such
 * schedule; -EAGAIN: no room for its jobs now; -EINVAL: it can never be submitted; -errno. On
 * the writer: never parks. */
int schedule_run_submit(struct schedule_run *x, struct store *st, int64_t schedule,
                        int64_t after, int64_t *ret_batch);

#endif
