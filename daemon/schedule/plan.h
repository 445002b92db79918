/*
 * What a schedule's spec means in time: when it runs, and which of its runs are due now.
 * Pure functions of their arguments; whoever calls them keeps the state.
 *
 * A run is known by its nominal time: the one that the spec gives. It is due at that time
 * plus its jitter. Times are milliseconds since 1970.
 *
 *   state   next   nominal time of the first run not yet decided
 *           last   nominal time of the last one decided; 0: none
 */
#ifndef GOJOBD_DAEMON_SCHEDULE_PLAN_H
#define GOJOBD_DAEMON_SCHEDULE_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/schedule/cron.h"
#include "proto/err.h"
#include "proto/pb.h"

struct tz;
struct tz_set;

#define SCHED_NEVER INT64_MAX

enum {
    SCHED_GRACE_MS = 10000, /* a run that late was not missed */
    SCHED_EVERY_MIN_MS = 1000,
    SCHED_MISSED_MAX = 10000, /* most runs ever made up for */
    SCHED_COUNT_MAX =
        1000, /* missed runs are counted so far, where they need not be made up */
    SCHED_RUNS_MAX = 32,     /* of one decision; the rest is due at once, too */
    SCHED_WAITING_MAX = 100, /* runs that may queue behind one another */
};

enum sched_kind { SCHED_AT = 1, SCHED_EVERY, SCHED_CRON };

struct sched_plan {
    int64_t id; /* decides the jitter */
    enum sched_kind kind;
    int missed;         /* PbScheduleSpec__Missed */
    int overlap;        /* PbScheduleSpec__Overlap */
    int32_t max_missed; /* for MISSED_ALL */
    int64_t start;      /* no run before; of SCHED_EVERY and SCHED_AT the first */
    int64_t every;
    int64_t until;
    int64_t jitter;
    struct cron cron;
    const struct tz *zone; /* its set's */
};

/* What a spec gets that does not say. */
struct sched_defaults {
    struct tz_set *zones;
    const char *tz; /* NULL or "": the system's */
    int missed, overlap;
    int64_t max_missed;
};

/* Understand a spec's times: 0, or -EINVAL, -ENOENT (a zone) … with its field and a
 * sentence. created: when the schedule came to be, from where an `every` without `at`
 * counts. Neither reads jobs nor keeps the spec. */
int sched_plan_read(const PbScheduleSpec *s, const struct sched_defaults *d, int64_t id,
                    int64_t created, struct sched_plan *ret, struct proto_err *err);

/* The first nominal time after `after`, or SCHED_NEVER. */
int64_t sched_plan_next(const struct sched_plan *p, int64_t after);

/* The last nominal time at or before `at` and not before `from`, itself one; or `from`. */
int64_t sched_plan_last(const struct sched_plan *p, int64_t from, int64_t at);

/* When the run of that nominal time is due. Never after the next nominal time, nor after
 * until; the same for the same schedule and run on every machine. */
int64_t sched_plan_due(const struct sched_plan *p, int64_t nominal);

/* `next` of a schedule made (or made anew) at now. A time `at` that has passed stands: it
 * was missed. */
int64_t sched_plan_first(const struct sched_plan *p, int64_t now);

/* `next` where time did not just pass: at the start of the daemon, when the clock was set,
 * when zones changed. A clock set forward leaves runs missed. One set back repeats no run,
 * as in a repeated hour, unless it goes back so far (3 h) that it must have been wrong
 * before; what has a pace and no hours goes on with its pace. */
int64_t sched_plan_resume(const struct sched_plan *p, int64_t last, int64_t next,
                          int64_t now);

struct sched_decision {
    size_t n;
    int64_t runs[SCHED_RUNS_MAX]; /* nominal times, ascending */
    int64_t missed;               /* runs due by now that will not happen */
    int64_t next;                 /* nominal; due by now if there are more than fit */
    int64_t last;                 /* the last nominal time decided here; 0: none */
};

/* Which runs happen now, by the policy for missed ones. ret->last == 0: none is due yet. */
void sched_plan_decide(const struct sched_plan *p, int64_t next, int64_t now,
                       struct sched_decision *ret);

enum sched_verdict {
    SCHED_RUN,  /* now */
    SCHED_WAIT, /* after the run before it has ended */
    SCHED_SKIP,
};

/* What becomes of a run, given whether the last one is unfinished and how many already
 * wait behind it. */
enum sched_verdict sched_overlap(int overlap, bool busy, int waiting);

/* Up to n due times of the runs after `from`: their number. */
size_t sched_plan_preview(const struct sched_plan *p, int64_t from, size_t n,
                          int64_t *ret);

#endif
