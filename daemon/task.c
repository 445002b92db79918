#include "daemon/task.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/backoff.h"
#include "daemon/errtext.h"
#include "daemon/gather.h"
#include "daemon/log.h"
#include "proto/wire.h"
#include "runtime/base/atomic.h"
#include "runtime/go.h"

#define ERROR_MAX 640

/* A spec in memory is larger than packed: pointers, headers, unpacked numbers. */
#define SPEC_FACTOR 16
#define SPEC_SPARE  (64 * 1024)

struct task *
task_new(struct dispatch *dp, struct job_env *env, const struct store_claimed *c)
{
    struct task *t = malloc(sizeof(*t) + c->spec_len);

    if (t == NULL)
        return NULL;
    memset(t, 0, sizeof(*t));
    t->dp = dp;
    t->env = job_env_ref(env);
    t->claim = *c;
    memcpy(t->spec, c->spec, c->spec_len);
    t->claim.spec = t->spec;
    return t;
}

void
task_free(struct task *t)
{
    proto_buf_free(&t->packed);
    free(t->error);
    free(t->reason);
    job_env_unref(t->env);
    free(t);
}

void
task_stop(struct task *t, enum stop_why why, const char *reason)
{
    int not = STOP_NOT;

    if (reason != NULL && t->reason == NULL && LOAD(&t->stop, RELAXED) == STOP_NOT)
        t->reason = strdup(reason);
    /* The first reason counts; a drain gives way to whatever someone asked for. */
    if (!__atomic_compare_exchange_n(&t->stop, &not, why, false, __ATOMIC_RELEASE,
                                     __ATOMIC_RELAXED) &&
        not == STOP_DRAIN && why != STOP_DRAIN)
        STORE(&t->stop, why, RELEASE);
    if (t->ctx != NULL)
        go_ctx_cancel(t->ctx);
}

enum stop_why
task_stop_of(int64_t why)
{
    return why == STORE_STOP_DEADLINE    ? STOP_DEADLINE
           : why == STORE_STOP_FAIL_FAST ? STOP_FAIL_FAST
                                         : STOP_BATCH;
}

/* --- the end ----------------------------------------------------------------------------- */

#define FINISH_AGAIN GO_SECOND

static int64_t held_up; /* atomic: tasks whose end waits for room on the disk */

static struct task *
task_of(struct store_op *op)
{
    return (struct task *)((char *)op - offsetof(struct task, op));
}

static int
finish_run(struct store *st, struct store_op *op)
{
    int r = store_finish(st, &task_of(op)->fin, NULL);

    return r == -ESTALE ? 0 : r; /* ended in another way meanwhile: that stands */
}

static int
finish_run_all(struct store *st, struct store_op **ops, size_t n)
{
    const struct store_finish *v[STORE_OPS_MAX];

    for (size_t i = 0; i < n; i++) {
        v[i] = &task_of(ops[i])->fin;
        ops[i]->result = 0;
    }
    return store_finish_all(st, v, n);
}

static void
finish_again(struct task *t)
{
    go_sleep(FINISH_AGAIN);
    store_writer_post(dispatch_daemon(t->dp)->writer, &t->op);
}

/* On the writer. A full disk holds up the end of a job until there is room, or until the
 * daemon ends: then the job runs once more. */
static void
finish_done(struct store_op *op)
{
    struct task *t = task_of(op);
    bool full = op->result == -ENOSPC && !t->void_ &&
                !LOAD(&dispatch_daemon(t->dp)->draining, RELAXED);

    if (full && !t->held_up) {
        t->held_up = true;
        if (ADD(&held_up, 1, RELAXED) == 1)
            log_error("%s: the ends of jobs are recorded when there is room", op->err);
    }
    if (full && go(finish_again, t) > 0)
        return;
    if (t->held_up && ADD(&held_up, -1, RELAXED) == 0)
        log_notice("no end of a job is held up any more");
    dispatch_finished(t->dp, t);
}

/* The attempt is over: t->op is ready to be handed to the writer. */
static void
end(struct task *t, enum store_outcome outcome)
{
    t->fin.id = t->claim.id;
    t->fin.attempt = t->claim.attempt;
    t->fin.lane = t->claim.lane;
    t->fin.batch = t->claim.batch;
    t->fin.outcome = outcome;
    t->fin.result = t->packed.len > 0 ? t->packed.data : NULL;
    t->fin.result_len = t->packed.len;
    t->fin.error = t->error;
    t->op.run = finish_run;
    t->op.run_all = finish_run_all;
    t->op.done = finish_done;
    dispatch_ended(t->dp, t, outcome == STORE_END_SUCCEEDED);
}

static void
post(struct task *t, enum store_outcome outcome)
{
    go_park_soon(1);
    end(t, outcome);
    store_writer_post(dispatch_daemon(t->dp)->writer, &t->op);
}

/* What a job needs before or after its run must not stand on its stack meanwhile: a hundred
 * thousand timers that wait are a hundred thousand stacks. */
#define APART __attribute__((noinline))

APART static void
set_error(struct task *t, int code, const char *field, const char *message)
{
    char text[ERROR_MAX];

    errtext_print(text, sizeof(text), code, field, message);
    free(t->error);
    t->error = strdup(text);
}

void
task_give_up(struct task *t, enum store_outcome outcome, int code, const char *message)
{
    set_error(t, code, NULL, message);
    post(t, outcome);
}

/* Failures that no further attempt can mend. */
static bool
hopeless(int code)
{
    return code == PB_ERROR__CODE__INVALID || code == PB_ERROR__CODE__DENIED ||
           code == PB_ERROR__CODE__UNSUPPORTED || code == PB_ERROR__CODE__MALFORMED;
}

/* A failed attempt: once more, or the end of the job? */
static enum store_outcome
after_failure(struct task *t, const PbJobSpec *spec, int code, bool past_deadline)
{
    const struct config *cfg = job_env_config(t->env);
    int64_t retries = PB_GET(spec, retries, (uint32_t)cfg->defaults.retries);
    int64_t deadline = pb_timestamp_ns(spec->deadline, 0) / GO_MILLISECOND;

    if (past_deadline || hopeless(code) || retries == 0)
        return STORE_END_FAILED;
    if (t->claim.fails >= retries)
        return STORE_END_DEAD;
    t->fin.run_at =
        daemon_now_ms() + backoff_ns(cfg, spec->backoff, t->claim.fails) / GO_MILLISECOND;
    return deadline > 0 && t->fin.run_at >= deadline ? STORE_END_FAILED : STORE_END_RETRY;
}

static enum store_outcome
after_stop(struct task *t, enum stop_why why)
{
    switch (why) {
    case STOP_DRAIN:
        set_error(t, PB_ERROR__CODE__INTERRUPTED, NULL, "the daemon stopped");
        return STORE_END_INTERRUPTED;
    case STOP_BATCH:
        set_error(t, PB_ERROR__CODE__CANCELLED, NULL, "its batch was cancelled");
        return STORE_END_CANCELLED;
    case STOP_FAIL_FAST:
        set_error(t, PB_ERROR__CODE__CANCELLED, NULL, "another job of its batch failed");
        return STORE_END_CANCELLED;
    case STOP_DEADLINE:
        set_error(t, PB_ERROR__CODE__DEADLINE, NULL, "the deadline of its batch passed");
        return STORE_END_CANCELLED;
    case STOP_NOT:
    case STOP_CLIENT:
        break;
    }
    set_error(t, PB_ERROR__CODE__CANCELLED, NULL,
              t->reason != NULL ? t->reason : "cancelled");
    return STORE_END_CANCELLED;
}

/* --- the run ----------------------------------------------------------------------------- */

/* When the attempt must be over, on go_now()'s clock; *ret_job: that is the job's deadline,
 * not the attempt's timeout. */
static int64_t
attempt_deadline(const struct config *cfg, const PbJobSpec *spec, bool *ret_job)
{
    int64_t timeout = pb_duration_ns(spec->timeout, -1), at, job;

    if (timeout < 0) {
        timeout = cfg->defaults.timeout;
        if (timeout > 0)
            timeout += job_span(spec);
    }
    at = timeout > 0 ? go_deadline(timeout) : GO_NEVER;
    *ret_job = false;
    if (spec->deadline == NULL)
        return at;
    job = go_deadline(pb_timestamp_ns(spec->deadline, 0) -
                      daemon_now_ms() * GO_MILLISECOND);
    *ret_job = job < at;
    return job < at ? job : at;
}

static enum store_outcome
outcome_of(struct task *t, const PbJobSpec *spec, struct job_run *run, int r,
           bool job_deadline)
{
    enum stop_why why = (enum stop_why)LOAD(&t->stop, ACQUIRE);
    int code = run->err.code;

    if (run->result != NULL && (r == 0 || why != STOP_DRAIN))
        if (proto_pack(PB_BASE(run->result), &t->packed) < 0) {
            proto_buf_free(&t->packed);
            set_error(t, PB_ERROR__CODE__INTERNAL, NULL, "no memory for the result");
            return after_failure(t, spec, PB_ERROR__CODE__INTERNAL, false);
        }
    if (r == 0)
        return STORE_END_SUCCEEDED;
    if (r == -ECANCELED && why != STOP_NOT)
        return after_stop(t, why);
    if (r == -ETIMEDOUT && code == PB_ERROR__CODE__TIMEOUT && job_deadline) {
        set_error(t, PB_ERROR__CODE__DEADLINE, NULL, "its deadline passed");
        return STORE_END_FAILED;
    }
    set_error(t, code, run->err.field, run->err.message);
    return after_failure(t, spec, code, false);
}

/* Run it by spec instead of its own, which it has again afterwards. */
static int
run_instead(struct job_run *run, const PbJobSpec *spec)
{
    const PbJobSpec *own = run->spec;
    int r;

    run->spec = spec;
    r = job_run(run);
    run->spec = own;
    return r;
}

/* A sum over the results of what it waited for: runs over their numbers. */
APART static int
sum_results(struct task *t, struct job_run *run)
{
    struct gather g = {
        .d = dispatch_daemon(t->dp), .cfg = job_env_config(t->env), .ctx = run->ctx};
    PbJobSpec spec = *run->spec;
    PbSumSpec sum = *spec.sum;
    int r = gather(&g, run->spec, &run->err);

    if (r == 0) {
        sum.numbers = &g.numbers;
        spec.sum = &sum;
        r = run_instead(run, &spec);
    } else if (r == go_ctx_err(run->ctx)) {
        r = job_run_ended(run, r);
    }
    gather_fini(&g);
    return r;
}

static enum store_outcome
run_spec(struct task *t, const PbJobSpec *spec)
{
    enum store_outcome outcome;
    struct job_run run;
    struct go_ctx *ctx;
    bool job_deadline;
    int64_t deadline = attempt_deadline(job_env_config(t->env), spec, &job_deadline);
    int r;

    if (job_deadline && deadline <= go_now()) {
        set_error(t, PB_ERROR__CODE__EXPIRED, NULL,
                  "its deadline passed before it started");
        return STORE_END_FAILED;
    }
    ctx = go_ctx_with_deadline(NULL, deadline);
    if (ctx == NULL) {
        set_error(t, PB_ERROR__CODE__INTERNAL, NULL, "no memory");
        return STORE_END_INTERRUPTED;
    }
    job_run_init(&run, t->env, ctx, spec);
    dispatch_began(t->dp, t, ctx, &run);
    r = spec->kind_case == PB_JOB_SPEC__KIND_SUM && spec->sum->results != NULL
            ? sum_results(t, &run)
            : job_run(&run);
    dispatch_left(t->dp, t);
    outcome = outcome_of(t, spec, &run, r, job_deadline);
    job_run_fini(&run);
    go_ctx_unref(ctx);
    return outcome;
}

/* The spec, in mem; NULL after set_error(). */
APART static const PbJobSpec *
read_spec(struct task *t, struct proto_arena *mem)
{
    struct proto_err err = {.text = ""};
    ProtobufCMessage *m;

    proto_arena_init(mem, (size_t)t->claim.spec_len * SPEC_FACTOR + SPEC_SPARE);
    if (proto_unpack(&pb_job_spec__descriptor, t->claim.spec, t->claim.spec_len,
                     PROTO_TRUST, mem, &m, &err) == 0)
        return (const PbJobSpec *)(const void *)m;
    set_error(t, PB_ERROR__CODE__INTERNAL, NULL, "its stored spec cannot be read");
    return NULL;
}

static void
task_main(struct task *t)
{
    struct proto_arena mem;
    const PbJobSpec *spec = read_spec(t, &mem);
    enum store_outcome outcome = STORE_END_FAILED;

    if (spec != NULL)
        outcome = run_spec(t, spec);
    proto_arena_free(&mem);
    post(t, outcome);
}

bool
task_is_instant(struct task *t, struct proto_arena *mem, const PbJobSpec **ret)
{
    const struct job_kind *kind = job_kind_find(STORE_LANE_KIND(t->claim.lane));

    *ret = read_spec(t, mem);
    return *ret != NULL && kind != NULL && kind->instant != NULL && kind->instant(*ret);
}

void
task_run_now(struct task *t, const PbJobSpec *spec)
{
    end(t, run_spec(t, spec));
}

int64_t
task_start(struct task *t)
{
    const struct job_kind *kind = job_kind_find(STORE_LANE_KIND(t->claim.lane));
    struct go_opts opts = {
        .name = kind != NULL ? kind->name : "job",
        .stack_size = kind != NULL ? kind->stack_size : 0,
    };

    if (opts.stack_size == 0)
        opts.stack_size = (size_t)job_env_config(t->env)->runtime.stack_size;
    return go_opt(&opts, task_main, t);
}
