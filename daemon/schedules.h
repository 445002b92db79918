/*
 * Schedules in the service: the engine that knows when each is due, fed from the store.
 *
 * The store's rows are the truth. Calls change rows and nothing else; each commit tells the
 * ids it touched (schedules_tell), and the engine's goroutine reads those rows again. So
 * whatever order changes come in, the engine ends with what is stored, and a run that was
 * decided by what was stored before is refused in its transaction (engine.h, -ESTALE).
 *
 * Runs       on the writer, a store_op each, committed in groups (schedule_run.h).
 * Clock      set: the engine works all out anew, and the writer and the watch on deadlines
 *            look again at what they wait for.
 * Lifecycle  new -> start -> stop, which ends all firing -> free, after the writer.
 */
#ifndef GOJOBD_DAEMON_SCHEDULES_H
#define GOJOBD_DAEMON_SCHEDULES_H

#include "daemon/daemon.h"
#include "daemon/schedule/plan.h"
#include "daemon/store/events.h"

struct schedules;

/* What the configuration of now gives those that do not say, and the zones of now. */
struct schedule_view {
    struct sched_defaults defaults;
    char *tz; /* defaults.tz */
    int refs; /* atomic */
};

/* 0 or -errno. */
int schedules_new(struct daemon *d, const struct config *cfg, struct schedules **ret);

/* PARKS until every stored schedule is known. 0 or -errno. */
int schedules_start(struct schedules *s);

/* PARKS until no run is being submitted; none will be. NULL is fine, as for the next. */
void schedules_stop(struct schedules *s);
void schedules_free(struct schedules *s);

/* What a commit changed. The writer's goroutine. NULL is fine. */
void schedules_tell(struct schedules *s, struct event_cursor events);

/* The configuration was read again: its defaults hold for all schedules from now on, and
 * zones are read again from the system. 0 or -ENOMEM: nothing changed. */
int schedules_reload(struct schedules *s, const struct config *cfg);

size_t schedules_count(struct schedules *s);

/* A reference to the view of now. Any goroutine. */
struct schedule_view *schedules_view(struct schedules *s);
int schedule_view_new(const struct config *cfg, struct schedule_view **ret);
void schedule_view_unref(struct schedule_view *v); /* NULL is fine */

#endif
