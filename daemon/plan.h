/*
 * What to claim next: the lanes that have queued jobs, the room the limits leave, and the
 * claims themselves, as one operation of the writer.
 */
#ifndef GOJOBD_DAEMON_PLAN_H
#define GOJOBD_DAEMON_PLAN_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/store/claim.h"
#include "daemon/store/queue.h"
#include "daemon/store/writer.h"

enum {
    PLAN_LANES = 256,
    PLAN_FEW = 16, /* jobs that the writer's goroutine starts, or runs, by itself */
};

struct plan_queue {
    int64_t running;
    double tokens;     /* starts that the rate allows now */
    int64_t filled_at; /* go_now() when tokens were last counted; 0: never */
};

struct plan {
    struct store_op op; /* its result is 1 if dispatch_instant() may be worth a call */

    /* In: filled before each claim. */
    int64_t room;                          /* of limits.running */
    int64_t kind_room[STORE_KIND_MAX + 1]; /* of each kind's limit */
    int64_t lane_max;                      /* jobs of one lane in one claim */
    bool suspect_runs;
    int64_t now; /* go_now() */
    struct plan_queue queues[STORE_QUEUES_MAX];
    unsigned turn; /* lanes of equal priority begin with another one each time */
    int64_t
        from; /* the lane behind which the next plan looks first; -1: all are looked at */

    /* Out. */
    struct store_claims claims[PLAN_LANES];
    int n_lanes;
    struct store_queue_conf conf[STORE_QUEUES_MAX]; /* of the queues claimed from */
    bool more;        /* a rate or the size of one claim left jobs: plan again at once */
    bool held;        /* a limit other than a rate or a pause held jobs back */
    bool stuck;       /* so did a batch's max_parallel, or the claim's size */
    int64_t again_at; /* go_now() at which a rate lets a job start; GO_NEVER: none */
};

/* Makes op ready to be handed to the writer. */
void plan_prepare(struct plan *p);
void plan_fini(struct plan *p);

/* Starts that the rate of a queue allows at now. */
double plan_tokens(const struct plan_queue *q, const struct store_queue_conf *c,
                   int64_t now);

#endif
