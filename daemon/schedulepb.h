/*
 * Schedules as clients see them, made from their rows.
 */
#ifndef GOJOBD_DAEMON_SCHEDULEPB_H
#define GOJOBD_DAEMON_SCHEDULEPB_H

#include "daemon/call.h"
#include "daemon/schedule/plan.h"
#include "daemon/store/schedule.h"

/* NULL: the call is refused. PARKS. */
PbSchedule *schedulepb_make(struct call *c, const struct store_schedule *row);

/* One that is not stored. spec must live as long as the call. */
PbSchedule *schedulepb_draft(struct call *c, const PbScheduleSpec *spec,
                             const struct sched_plan *plan);

/* A stored one's times. 0, or refused. PARKS. */
int schedulepb_plan(struct call *c, const struct sched_defaults *d,
                    const struct store_schedule *row, struct sched_plan *ret);

/* The nominal time of its first run after `after`; 0: none. 0, or refused. PARKS. */
int schedulepb_after(struct call *c, const struct store_schedule *row, int64_t after,
                     int64_t *ret);

#endif
