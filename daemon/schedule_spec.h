/*
 * What a schedule's spec may say, and the row it is stored as.
 */
#ifndef GOJOBD_DAEMON_SCHEDULE_SPEC_H
#define GOJOBD_DAEMON_SCHEDULE_SPEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/schedule/plan.h"
#include "daemon/store/schedule.h"
#include "jobs/env.h"
#include "proto/pb.h"

enum {
    SCHEDULE_NAME_MAX = 256,
    SCHEDULE_SPEC_MAX = 4 << 20, /* bytes, packed: they are read at each run */
};

struct schedule_error {
    PbError__Code code;
    char field[192]; /* of the spec, "jobs[0].fetch.url" */
    char text[400];
    int64_t job; /* the job at fault, or -1 */
};

/* Its times, understood as those of a schedule made at now_ms. 0, or -EINVAL with err. */
int schedule_check_times(const struct sched_defaults *d, const PbScheduleSpec *s,
                         int64_t now_ms, struct sched_plan *ret,
                         struct schedule_error *err);

/* All of it. */
int schedule_check(struct job_env *env, const struct sched_defaults *d,
                   const PbScheduleSpec *s, int64_t now_ms, struct sched_plan *ret,
                   struct schedule_error *err);

/* Put a checked spec as row into the open transaction, in place of `old` where that is not
 * NULL: *ret_id. plan is what the check returned. A spec without a name gets one. Its times
 * go on where it replaces one of the same times. */
int schedule_put(struct store *st, const PbScheduleSpec *s, const struct sched_plan *plan,
                 bool config, const struct store_schedule_head *old, int64_t *ret_id);

#endif
