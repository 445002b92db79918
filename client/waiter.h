/*
 * Waiting for a batch: prints each job as it finishes, and keeps the score.
 *
 * Lifecycle  init -> run, or job for jobs that came another way -> code.
 * Context    one thread at a time.
 */
#ifndef GOJOBD_CLIENT_WAITER_H
#define GOJOBD_CLIENT_WAITER_H

#include "client/cli.h"
#include "client/progress.h"

struct waiter {
    struct cli *cli;
    struct goctl_wait w;
    struct progress progress;
    _Atomic uint64_t submitted; /* by another thread, for the bar; relaxed */
    int64_t until_ns;           /* monotonic; GOCTL_FOREVER */
    int64_t bar_ns;             /* how soon the bar is to be drawn again */
    bool many;                  /* answers need to say whose they are */

    /* What the user called each job; for ids[i], subjects[i]. */
    const uint64_t *ids;
    char *const *subjects;
    size_t n;

    uint64_t succeeded, others;
    bool late;  /* a deadline ended it */
    int broken; /* exit code when waiting itself failed */
};

void waiter_init(struct waiter *w, struct cli *cli);
/* Until the batch is done; sets broken when that cannot be seen. */
void waiter_run(struct waiter *w);
/* What another call has waited for already. */
void waiter_took(struct waiter *w, const PbWaitReply *wr);
/* Prints a finished job and counts it. */
void waiter_job(struct waiter *w, PbJob *job);
/* Waits for one job, as long as until_ns says; batch: skip it when it belongs to this one
 * (0: none). */
void waiter_one(struct waiter *w, uint64_t job, uint64_t batch);
int waiter_code(const struct waiter *w);

#endif
