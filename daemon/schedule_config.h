/*
 * Schedules of the configuration file: checked with it, and entered into the store beside
 * those of clients, by their names.
 *
 *   new            added; if a client's schedule has the name, it takes that one's place
 *   as it was      not touched: a pause that somebody gave it lasts
 *   other          replaced; its history stays, its pause is what the file says
 *   no more there  removed
 */
#ifndef GOJOBD_DAEMON_SCHEDULE_CONFIG_H
#define GOJOBD_DAEMON_SCHEDULE_CONFIG_H

#include "config/config.h"
#include "daemon/schedules.h"

/* What reading a configuration cannot know of its schedules (cron lines, zones, what jobs
 * say): 0, or -EINVAL with err; -ENOMEM. path: the file, NULL: none. A goroutine. */
int schedule_config_check(struct config *cfg, const char *path, struct cfg_err *err);

/* Make the store's like those of env's configuration, which is checked. 0, or -errno after
 * it was logged. PARKS. */
int schedule_config_enter(struct daemon *d, struct job_env *env);

#endif
