/*
 * What dispatch.c and dispatch_look.c share: the table of tasks and its lock.
 */
#ifndef GOJOBD_DAEMON_DISPATCH_INNER_H
#define GOJOBD_DAEMON_DISPATCH_INNER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/dispatch.h"
#include "daemon/plan.h"
#include "daemon/task.h"
#include "runtime/sync/cond.h"
#include "runtime/sync/mutex.h"

#define DISPATCH_HASH_N 65536 /* a power of two */

struct early {
    int64_t job, batch; /* one of them is 0 */
    enum stop_why why;
    char *reason;
};

struct dispatch {
    struct daemon *d;
    struct plan plan; /* of whoever set claiming */

    struct go_mutex mu;
    struct go_cond more; /* with mu: for the claiming goroutine */
    struct go_cond idle; /* with mu: for dispatch_drain() */

    /* All guarded by mu. */
    struct task **hash;
    struct task *first; /* all tasks, newest first */
    struct task *last;
    int64_t n_tasks; /* registered, until their finish is recorded */
    bool queued, held;
    bool stuck;    /* queued jobs wait for others of their batch to end */
    bool claiming; /* a claim is under way, from its plan to the start of its tasks */
    bool riding;   /* it goes with the writer's transaction that is under way */
    bool landed;   /* it did, and has been answered: its tasks are to be started */
    struct task *instant[PLAN_FEW]; /* those it ran within the transaction */
    size_t n_instant;
    bool ended; /* the claiming goroutine has */
    bool stop;  /* start no more */
    bool hurry;
    int64_t again_at;
    int64_t limit, lane_max;
    struct dispatch_counts counts;
    struct line {
        struct task *first, **last;
        int64_t ahead;               /* how many may stand in line */
        int64_t ended, ended_before; /* since the start; when ahead was last set */
    } lines[STORE_KIND_MAX + 1];
    uint64_t ends, ends_planned; /* tasks ended; at the last plan */
    int64_t ahead_at;            /* go_now() when ahead was last set */
    int64_t suspects;
    struct plan_queue queues[STORE_QUEUES_MAX];
    int64_t started[STORE_QUEUES_MAX]; /* jobs registered so far */
    struct early *early;
    size_t n_early;
};

static inline struct task **
dispatch_slot(struct dispatch *dp, int64_t id)
{
    return &dp->hash[(uint64_t)id & (DISPATCH_HASH_N - 1)];
}

/* mu is held. */
static inline struct task *
dispatch_find_locked(struct dispatch *dp, int64_t id)
{
    struct task *t = *dispatch_slot(dp, id);

    while (t != NULL && t->claim.id != id)
        t = t->hash_next;
    return t;
}

/* t has been claimed. mu is held. */
void dispatch_register_locked(struct dispatch *dp, struct task *t);

#endif
