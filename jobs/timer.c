/*
 * Timed tasks: ticks on a goroutine, a timer's channel and select.
 *
 * Tick k is due at start + after + k * every, whenever the ones before it came: lateness
 * does not add up, and a tick that is overdue comes at once.
 */
#include <errno.h>
#include <stdlib.h>

#include "config/config.h"
#include "jobs/env.h"
#include "jobs/kind.h"
#include "runtime/base/atomic.h"
#include "runtime/go.h"

#define SPAN_MAX (INT64_C(100) * 365 * 24 * 3600 * GO_SECOND)

/* What a spec means once its defaults are filled in. */
struct plan {
    int64_t after, every;
    uint64_t count;
};

/* The times of the first ticks. */
struct ticks {
    int64_t *at;
    size_t n, cap, max;
};

static struct plan
plan_of(const PbTimerSpec *t)
{
    struct plan p = {
        .every = pb_duration_ns(t->every, 0),
        .count = PB_GET(t, count, 1),
    };

    p.after = pb_duration_ns(t->after, p.every);
    return p;
}

/* False when it is longer than SPAN_MAX. */
static bool
plan_span(const struct plan *p, int64_t *ret)
{
    int64_t span;

    if (p->count - 1 > (uint64_t)INT64_MAX ||
        __builtin_mul_overflow(p->every, (int64_t)(p->count - 1), &span) ||
        __builtin_add_overflow(span, p->after, &span) || span > SPAN_MAX)
        return false;
    *ret = span;
    return true;
}

static int
timer_validate(struct job_env *env, const PbJobSpec *spec, struct job_error *err)
{
    const PbTimerSpec *t = spec->timer;
    struct plan p = plan_of(t);
    int64_t span;

    (void)env;
    if (t->every == NULL && t->after == NULL)
        return job_error_set(err, PB_ERROR__CODE__INVALID, "timer.every",
                             "timer.every or timer.after is needed");
    if (p.count == 0)
        return job_error_set(err, PB_ERROR__CODE__INVALID, "timer.count",
                             "timer.count must be at least 1");
    if (p.after < 0)
        return job_error_set(err, PB_ERROR__CODE__INVALID, "timer.after",
                             "timer.after must not be negative");
    if (p.every < 0 || (t->every != NULL && p.every == 0))
        return job_error_set(err, PB_ERROR__CODE__INVALID, "timer.every",
                             "timer.every must be more than zero");
    if (p.count > 1 && p.every == 0)
        return job_error_set(err, PB_ERROR__CODE__INVALID, "timer.every",
                             "timer.every is needed when timer.count is more than 1");
    if (!plan_span(&p, &span))
        return job_error_set(err, PB_ERROR__CODE__INVALID, "timer.count",
                             "the last tick would be more than 100 years away");
    return 0;
}

int64_t
job_span(const PbJobSpec *spec)
{
    struct plan p;
    int64_t span = 0;

    if (spec->kind_case != PB_JOB_SPEC__KIND_TIMER)
        return 0;
    p = plan_of(spec->timer);
    if (p.count == 0 || p.every < 0 || p.after < 0 || !plan_span(&p, &span))
        return 0;
    return span;
}

static int
ticks_add(struct ticks *t, int64_t at)
{
    if (t->n == t->max)
        return 0;
    if (t->n == t->cap) {
        size_t cap = t->cap == 0 ? 4 : t->cap * 2;
        int64_t *more;

        if (cap > t->max)
            cap = t->max;
        more = realloc(t->at, cap * sizeof(*more));
        if (more == NULL)
            return -ENOMEM;
        t->at = more;
        t->cap = cap;
    }
    t->at[t->n++] = at;
    return 0;
}

/* PARKS until due, or the end of the context: its error. */
static int
wait_until(struct go_timer *timer, int64_t due, struct go_ctx *ctx)
{
    int64_t now = go_now(), fired;
    struct go_case cases[] = {
        GO_CASE_RECV(go_timer_chan(timer), &fired),
        GO_CASE_RECV(go_ctx_done(ctx), NULL),
    };

    if (due <= now)
        return go_ctx_err(ctx);
    (void)go_timer_reset(timer, due - now);
    return go_select(cases, 2) == 0 ? 0 : go_ctx_err(ctx);
}

static int
tick(struct job_run *run, struct go_timer *timer, const struct plan *p,
     struct ticks *ticks, int64_t *ret_late)
{
    int64_t start = go_now();
    int64_t due = go_deadline(p->after);

    if (due < start)
        due = start;
    for (uint64_t k = 0; k < p->count; k++) {
        int64_t late, at;
        int r = wait_until(timer, due, run->ctx);

        if (r < 0)
            return job_run_ended(run, r);
        late = go_now() - due;
        if (late > *ret_late)
            *ret_late = late;
        at = job_realtime();
        if (ticks_add(ticks, at) < 0)
            return job_run_too_large(run);
        STORE(&run->progress.tick, at, RELAXED);
        STORE(&run->progress.done, k + 1, RELAXED);
        go_checkpoint(); /* overdue ticks do not wait */
        if (k + 1 < p->count)
            due += p->every;
    }
    return 0;
}

static int
report(struct job_run *run, const struct ticks *ticks, int64_t late)
{
    PbJobResult *res = job_new(run, &pb_job_result__descriptor);
    PbTimerResult *t = job_new(run, &pb_timer_result__descriptor);

    if (res == NULL || t == NULL)
        return job_run_too_large(run);
    t->max_late = job_duration(run, late);
    t->ticks = proto_arena_alloc(&run->mem, ticks->n * sizeof(PbTimestamp *));
    if (t->max_late == NULL || t->ticks == NULL)
        return job_run_too_large(run);
    for (size_t i = 0; i < ticks->n; i++) {
        PbTimestamp *at = job_new(run, &pb_timestamp__descriptor);

        if (at == NULL)
            return job_run_too_large(run);
        PB_SET(at, ns, ticks->at[i]);
        t->ticks[t->n_ticks++] = at;
    }
    PB_SET(t, count, LOAD(&run->progress.done, RELAXED));
    res->result_case = PB_JOB_RESULT__RESULT_TIMER;
    res->timer = t;
    run->result = res;
    return 0;
}

static int
timer_run(struct job_run *run)
{
    struct plan p = plan_of(run->spec->timer);
    struct ticks ticks = {.max = (size_t)job_env_config(run->env)->timer.ticks};
    struct go_timer *timer = go_timer_new(GO_NEVER);
    int64_t late = 0;
    int r;

    if (timer == NULL)
        return job_run_too_large(run);
    STORE(&run->progress.total, p.count, RELAXED);
    r = tick(run, timer, &p, &ticks, &late);
    if (report(run, &ticks, late) < 0 && r == 0)
        r = -ENOBUFS;
    go_timer_free(timer);
    free(ticks.at);
    return r;
}

const struct job_kind job_timer = {
    .name = "timer",
    .kind = PB_JOB__KIND__KIND_TIMER,
    .unit = PB_PROGRESS__UNIT__TICKS,
    .validate = timer_validate,
    .run = timer_run,
};
