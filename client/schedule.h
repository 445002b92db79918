/*
 * Schedules made on the command line, by `schedule add` and by `submit` with --every or
 * --cron.
 *
 * What the options mean then: --at and --after are the first run of --every, and no run of
 * --cron comes before them; --name is the schedule's; --deadline, --fail-fast and
 * --max-parallel hold for each run's batch; all else is the jobs'.
 */
#ifndef GOJOBD_CLIENT_SCHEDULE_H
#define GOJOBD_CLIENT_SCHEDULE_H

#include "client/cli.h"
#include "client/spec.h"

/* The options that say when and how. */
#define SCHEDULE_OPTIONS "every cron tz missed overlap jitter until paused replace "

/* A submit's jobs are to run again and again. timer: what it submits is a timer, whose own
 * --every is its tick unless --tick is given. */
bool schedule_wanted(const struct cli *cli, bool timer);

/* Options of schedules that stand without a schedule: false after a complaint. */
bool schedule_unasked(const struct cli *cli, bool timer);

/* Where in a file the jobs stand, for complaints. */
struct schedule_source {
    const char *name; /* NULL: in none */
    uint64_t *lines;
};

/* The times, as the options say them. They are taken out of cli, so that the jobs do not
 * get them, too; but --every is left to a timer of submit's that has no --tick. False after a
 * complaint. */
bool schedule_times(struct cli *cli, bool timer, PbScheduleSpec *spec);

/* spec, which has its times, with jobs l: added. The exit code. */
int schedule_add(struct cli *cli, PbScheduleSpec *spec, struct spec_list *l,
                 const struct schedule_source *source);

/* --from's jobs, one a line: added. */
int schedule_add_file(struct cli *cli);

#endif
