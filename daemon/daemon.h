/*
 * The daemon's parts, as one struct that service.c builds up and takes down.
 *
 *   rpc       takes calls from the network and answers them
 *   calls_*   carry them out: on the writer what changes, on a reader what only looks
 *   dispatch  claims queued jobs from the store and runs each in a goroutine
 *   hub       told of every commit, wakes those who wait for what it changed
 *   pub       publishes the same to subscribers
 *   schedules knows when each schedule is due and submits its runs
 *   pulse     looks how far running jobs are, while anybody watches
 */
#ifndef GOJOBD_DAEMON_DAEMON_H
#define GOJOBD_DAEMON_DAEMON_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/rates.h"
#include "jobs/env.h"
#include "runtime/sync/mutex.h"

struct dispatch;
struct go_ctx;
struct hub;
struct pub;
struct pulse;
struct rpc;
struct schedules;
struct store_pool;
struct store_writer;
struct store;
struct watch;

struct daemon {
    /* Constant while calls are served. */
    const char *config_path; /* NULL: all defaults */
    struct store *store; /* the writer's; others may ask for its path and epoch only */
    struct store_writer *writer;
    struct store_pool *readers;
    struct hub *hub;
    struct dispatch *dispatch;
    struct watch *watch;
    struct pulse *pulse;
    struct pub *pub;             /* atomic: the writer asks while it is set up */
    struct schedules *schedules; /* atomic: likewise */
    struct rpc *rpc;
    int64_t started; /* go_now() */
    uint64_t epoch;

    struct go_mutex env_mu;
    struct job_env *env; /* guarded by env_mu: replaced by a reload */

    struct rates rates;

    bool draining;      /* atomic: no new jobs, and none starts */
    bool low_disk;      /* atomic: below limits.disk_free */
    int64_t free_bytes; /* atomic: of the disk */
};

/* A reference to the environment of now. */
struct job_env *daemon_env(struct daemon *d);

/* Milliseconds since 1970: the store's clock. */
int64_t daemon_now_ms(void);

#define DAEMON_VERSION GOJOBD_VERSION

#endif
