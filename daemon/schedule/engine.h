/*
 * The engine: one goroutine that knows when every schedule is due, sleeps until the first
 * is, and hands what is due to a sink.
 *
 * A schedule costs its entry in memory, some 200 bytes, and no timer of its own: they share
 * one, armed for the first that is due. What is durable is the sink's: the engine fires,
 * the sink submits the runs and moves the row in one transaction, and only then the engine
 * goes on from there. So a run happens exactly once, whenever the power fails.
 *
 * Order    Store first, tell the engine then. Between the two it may fire by what it knew;
 *          the row no longer agrees, the sink answers -ESTALE, and nothing has happened.
 * Clock    set forward, back, or stopped by a suspended machine: all is worked out anew
 *          (sched_plan_resume).
 * Context  any goroutine, but for what says otherwise.
 */
#ifndef GOJOBD_DAEMON_SCHEDULE_ENGINE_H
#define GOJOBD_DAEMON_SCHEDULE_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "daemon/schedule/plan.h"

struct go_ctx;
struct sched_clock;
struct sched_engine;

enum { SCHED_FIRES_MAX = 64 }; /* handed to the sink at once */

/* One run. The engine fills the upper part, the sink the lower. */
struct sched_run {
    int64_t at;   /* nominal time */
    int64_t next; /* nominal time of the run after it, as the row has it: 0 = never */

    enum sched_verdict verdict; /* as sched_overlap() said */
    int64_t batch;              /* submitted; 0: skipped */
};

/* One schedule's runs that are due, and where its row stands before and after. */
struct sched_fire {
    int64_t id;
    int overlap;
    int64_t from;   /* the row's next_at. If it is another: -ESTALE */
    int64_t next;   /* what it becomes; 0: never again */
    int64_t last;   /* the nominal time decided last: what the row's last_at becomes */
    int64_t missed; /* runs given up: they were due while the daemon did not run */
    size_t n;       /* 0: all that was due is given up as missed; the row moves on */
    struct sched_run runs[SCHED_RUNS_MAX];

    int32_t waiting; /* runs queued behind one another, as last answered */

    /* The answer: see sink.fire. */
    int result;
    size_t done; /* runs decided; the others are tried again */
    int32_t waiting_now;
    int64_t row_next; /* with -ESTALE: what the row has */
};

struct sched_sink {
    /* Tell the engine every stored schedule, with sched_engine_put(). At the start, from
     * the engine's goroutine. 0 or -errno. */
    int (*load)(void *arg, struct sched_engine *e);

    /* Submit the runs of fires, move each row on, and set each answer:
     *     0          `done` of the runs and the row that goes with them are durable. Fewer
     *                than n: the others are tried again in a second
     *     -ESTALE    the row's next_at is not `from`, or it is paused: nothing done, row_next
     *                is its next_at
     *     -ENOENT    there is no such schedule
     *     -errno     nothing done: to be tried again in a second
     * sched_record() does it, inside a transaction. From the engine's goroutine; may park. */
    void (*fire)(void *arg, struct sched_fire *fires, size_t n);

    /* After sched_engine_poke(): tell it what has changed. NULL: nobody pokes. From the
     * engine's goroutine; may park. */
    void (*sync)(void *arg, struct sched_engine *e);

    /* The wall clock was set. May be NULL. As above. */
    void (*clock_set)(void *arg);
};

/* A schedule as stored. */
struct sched_row {
    int64_t id;
    const PbScheduleSpec *spec; /* read, not kept */
    bool paused;
    int64_t created, next, last; /* ms since 1970; next 0: never, last 0: none */
};

/* clock and d->zones must outlive the engine. 0 or -ENOMEM. */
int sched_engine_new(const struct sched_sink *sink, void *arg, struct sched_clock *clock,
                     const struct sched_defaults *d, struct sched_engine **ret);
void sched_engine_free(struct sched_engine *e); /* not running; NULL is fine */

/* PARKS until ctx ends: 0; or what load returned. The engine's goroutine. */
int sched_engine_run(struct sched_engine *e, struct go_ctx *ctx);

/* A schedule was stored: added, replaced, paused or resumed. 0; -ENOMEM; or what
 * sched_plan_read() has against it, with err set: then it never fires. */
int sched_engine_put(struct sched_engine *e, const struct sched_row *row,
                     struct proto_err *err);

/* Have the sink's sync called soon, and again if it is called just now. Never parks. */
void sched_engine_poke(struct sched_engine *e);

/* For what is put from now on. From the engine's goroutine, while nobody else puts. */
void sched_engine_set_defaults(struct sched_engine *e, const struct sched_defaults *d);

/* It was deleted. True if it was known. */
bool sched_engine_remove(struct sched_engine *e, int64_t id);

struct sched_look {
    bool paused;
    int64_t next; /* when it is due, jitter included; SCHED_NEVER: no more */
    int64_t last; /* nominal time decided last; 0: none */
    int64_t runs, missed, skipped; /* since the engine started */
};

/* 0 or -ENOENT. */
int sched_engine_look(struct sched_engine *e, int64_t id, struct sched_look *ret);

/* When its next n runs are due, after from: their number, or -ENOENT. */
ssize_t sched_engine_preview(struct sched_engine *e, int64_t id, int64_t from, size_t n,
                             int64_t *ret);

/* How many schedules it knows. */
size_t sched_engine_count(struct sched_engine *e);

#endif
