/*
 * A task: one attempt of one job, from its claim to its finish.
 *
 *     claimed -> task_start -> goroutine: unpack, run, pack -> finish posted -> recorded
 *
 * Lifecycle  new -> start -> dispatch_ended() -> the writer answers -> free.
 * Memory     the task, with a copy of the spec, lives until the finish is recorded; what the
 *            run needs (stack, arena, context) is gone before.
 */
#ifndef GOJOBD_DAEMON_TASK_H
#define GOJOBD_DAEMON_TASK_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/dispatch.h"
#include "daemon/store/claim.h"
#include "daemon/store/finish.h"
#include "daemon/store/writer.h"
#include "jobs/kind.h"

struct task {
    /* Constant after new. */
    struct dispatch *dp;
    struct job_env *env;        /* a reference */
    struct store_claimed claim; /* claim.spec points to spec below */

    /* Guarded by dispatch. */
    struct task *hash_next, *prev, *next;
    struct task *line_next; /* claimed, waits for room among its kind */
    int64_t goroutine;
    struct go_ctx *ctx;  /* NULL before it began and after it ended */
    struct job_run *run; /* on the goroutine's stack while it runs, for its progress */
    int64_t since;
    uint64_t told; /* run->progress.done as dispatch_moved() last returned it */

    int stop;     /* atomic: enum stop_why, written once */
    char *reason; /* of the stop, or NULL: written before it */

    /* The goroutine's, then the writer's. */
    struct store_op op;
    struct store_finish fin;
    struct proto_buf packed;
    char *error;
    bool held_up; /* by a full disk */
    bool void_;   /* the writer's: its start has not been committed and never will be */

    uint8_t spec[];
};

/* A copy of c. NULL: no memory. */
struct task *task_new(struct dispatch *dp, struct job_env *env,
                      const struct store_claimed *c);
void task_free(struct task *t);

/* Start its goroutine: its id, or -ENOMEM (then nothing was started). */
int64_t task_start(struct task *t);

/* Whether t's spec, which is read into mem, makes an instant job (job_kind.instant). The
 * caller frees mem in any case. */
bool task_is_instant(struct task *t, struct proto_arena *mem, const PbJobSpec **ret);

/* Run an instant job here and now. Its end is t->op, which is for the caller to have carried
 * out in the transaction that starts the job. */
void task_run_now(struct task *t, const PbJobSpec *spec);

/* Record the end of an attempt that never ran. */
void task_give_up(struct task *t, enum store_outcome outcome, int code,
                  const char *message);

/* Dispatch's lock is held or t has not started: tell it to stop. */
void task_stop(struct task *t, enum stop_why why, const char *reason);

/* The same of enum store_stop. */
enum stop_why task_stop_of(int64_t why);

/* From its goroutine: registers what others may look at; then takes it back. */
void dispatch_began(struct dispatch *dp, struct task *t, struct go_ctx *ctx,
                    struct job_run *run);
void dispatch_left(struct dispatch *dp, struct task *t);

#endif
