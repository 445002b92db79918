#include "daemon/dispatch.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/log.h"
#include "daemon/plan.h"
#include "daemon/task.h"
#include "runtime/base/atomic.h"
#include "runtime/base/check.h"
#include "runtime/go.h"

/*
 * The claiming goroutine sleeps while `queued` is false: nothing is known to be claimable.
 * It becomes true with an event that queues a job, with room for a job that a limit held
 * back (`held`), and with time for a rate.
 *
 * A stop that finds no such task may have come between a claim's commit and the task's
 * registration. Such stops are kept in `early` while a claim is under way, and looked at as
 * its tasks are registered.
 */

#define HASH_N      65536 /* a power of two */
#define EARLY_MAX   4096
#define STOP_PATIENCE (5 * GO_SECOND)

struct early {
    int64_t job, batch; /* one of them is 0 */
    enum stop_why why;
};

struct dispatch {
    struct daemon *d;
    struct plan plan; /* the claiming goroutine's */

    struct go_mutex mu;
    struct go_cond more; /* with mu: for the claiming goroutine */
    struct go_cond idle; /* with mu: for dispatch_drain() */

    /* All guarded by mu. */
    struct task **hash;
    struct task *first;   /* all tasks, newest first */
    int64_t n_tasks;      /* registered, until their finish is recorded */
    bool queued, held;
    bool stuck; /* queued jobs wait for others of their batch to end */
    bool claiming, ended; /* a claim is under way; the claiming goroutine has ended */
    bool stop;            /* start no more */
    bool hurry;
    int64_t again_at;
    int64_t limit, lane_max;
    struct dispatch_counts counts;
    int64_t suspects;
    struct plan_queue queues[STORE_QUEUES_MAX];
    struct early *early;
    size_t n_early;
};

struct daemon *
dispatch_daemon(struct dispatch *dp)
{
    return dp->d;
}

static struct task **
slot(struct dispatch *dp, int64_t id)
{
    return &dp->hash[(uint64_t)id & (HASH_N - 1)];
}

/* mu is held. */
static struct task *
find_locked(struct dispatch *dp, int64_t id)
{
    struct task *t = *slot(dp, id);

    while (t != NULL && t->claim.id != id)
        t = t->hash_next;
    return t;
}

static void
limits_locked(struct dispatch *dp, const struct config *cfg)
{
    dp->limit = cfg->limits.running;
    dp->lane_max = cfg->limits.window;
    for (int k = 0; k <= STORE_KIND_MAX; k++)
        dp->counts.kind[k].limit = INT64_MAX / 2;
    dp->counts.kind[PB_JOB__KIND__KIND_FETCH].limit = cfg->limits.fetch;
    dp->counts.kind[PB_JOB__KIND__KIND_READ].limit = cfg->limits.read;
    dp->counts.kind[PB_JOB__KIND__KIND_SUM].limit = cfg->limits.sum;
    dp->counts.kind[PB_JOB__KIND__KIND_SQL].limit = cfg->limits.sql;
    dp->counts.kind[PB_JOB__KIND__KIND_TIMER].limit = cfg->limits.timer;
}

int
dispatch_new(struct daemon *d, struct dispatch **ret)
{
    struct dispatch *dp = calloc(1, sizeof(*dp));

    if (dp == NULL)
        return -ENOMEM;
    dp->d = d;
    dp->hash = calloc(HASH_N, sizeof(struct task *));
    dp->early = calloc(EARLY_MAX, sizeof(struct early));
    dp->ended = true;
    dp->queued = true; /* what the last epoch left */
    dp->again_at = GO_NEVER;
    go_cond_init(&dp->more, &dp->mu);
    go_cond_init(&dp->idle, &dp->mu);
    if (dp->hash == NULL || dp->early == NULL) {
        dispatch_free(dp);
        return -ENOMEM;
    }
    limits_locked(dp, job_env_config(d->env));
    *ret = dp;
    return 0;
}

void
dispatch_free(struct dispatch *dp)
{
    if (dp == NULL)
        return;
    plan_fini(&dp->plan);
    free(dp->hash);
    free(dp->early);
    free(dp);
}

static void
poke_locked(struct dispatch *dp)
{
    if (dp->queued)
        return;
    dp->queued = true;
    go_cond_signal(&dp->more);
}

void
dispatch_poke(struct dispatch *dp)
{
    go_mutex_lock(&dp->mu);
    poke_locked(dp);
    go_mutex_unlock(&dp->mu);
}

void
dispatch_reload(struct dispatch *dp)
{
    struct job_env *env = daemon_env(dp->d);

    go_mutex_lock(&dp->mu);
    limits_locked(dp, job_env_config(env));
    poke_locked(dp);
    go_mutex_unlock(&dp->mu);
    job_env_unref(env);
}

static void
stop_batch(struct dispatch *dp, int64_t batch)
{
    dispatch_stop_batch(dp, batch, STOP_BATCH);
}

void
dispatch_tell(struct dispatch *dp, struct event_cursor events)
{
    struct store_event ev;
    bool queued = false, ended = false;

    while (event_next(&events, &ev) > 0) {
        queued = queued || (ev.state == STORE_QUEUED &&
                            (ev.type == EVENT_ADDED || ev.type == EVENT_STATE));
        ended = ended || (ev.type == EVENT_STATE && ev.state > STORE_RUNNING);
        if (ev.type == EVENT_BATCH_STOP && go(stop_batch, dp, ev.batch) < 0)
            stop_batch(dp, ev.batch);
    }
    if (!queued && !ended)
        return;
    go_mutex_lock(&dp->mu);
    if (queued || dp->stuck)
        poke_locked(dp);
    go_mutex_unlock(&dp->mu);
}

/* --- claiming ---------------------------------------------------------------------------- */

/* mu is held. */
static void
plan_fill_locked(struct dispatch *dp)
{
    struct plan *p = &dp->plan;

    p->room = dp->limit - dp->counts.running;
    p->lane_max = dp->lane_max;
    for (int k = 0; k <= STORE_KIND_MAX; k++)
        p->kind_room[k] = dp->counts.kind[k].limit - dp->counts.kind[k].running;
    p->suspect_runs = dp->suspects > 0;
    memcpy(p->queues, dp->queues, sizeof(p->queues));
}

/* mu is held. A stop that came while t was being claimed. */
static void
early_locked(struct dispatch *dp, struct task *t)
{
    for (size_t i = 0; i < dp->n_early; i++)
        if (dp->early[i].job == t->claim.id || dp->early[i].batch == t->claim.batch)
            task_stop(t, dp->early[i].why);
}

/* mu is held. */
static void
register_locked(struct dispatch *dp, struct task *t)
{
    struct task **head = slot(dp, t->claim.id);

    t->hash_next = *head;
    *head = t;
    t->next = dp->first;
    if (dp->first != NULL)
        dp->first->prev = t;
    dp->first = t;
    dp->n_tasks++;
    dp->counts.running++;
    dp->counts.kind[STORE_LANE_KIND(t->claim.lane)].running++;
    dp->queues[STORE_LANE_QUEUE(t->claim.lane)].running++;
    dp->suspects += STORE_LANE_SUSPECT(t->claim.lane);
    early_locked(dp, t);
}

/* Count the starts against the rate of their queue. mu is held. */
static void
spend_locked(struct dispatch *dp, int64_t queue, int64_t n)
{
    struct plan_queue *q = &dp->queues[queue];
    struct plan_queue *was = &dp->plan.queues[queue];
    struct store_queue_conf c = dp->plan.conf[queue];
    double tokens = c.rate > 0 ? plan_tokens(was, &c, dp->plan.now) : 0;

    q->tokens = tokens - (double)n;
    q->filled_at = c.rate > 0 ? dp->plan.now : 0;
}

static void
start_tasks(struct dispatch *dp, struct task **v, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (task_start(v[i]) < 0)
            task_give_up(v[i], STORE_END_INTERRUPTED, PB_ERROR__CODE__INTERRUPTED,
                         "no memory for its goroutine");
    (void)dp;
}

/* The claimed jobs of one lane become tasks. */
static void
launch(struct dispatch *dp, struct job_env *env, const struct store_claims *c)
{
    struct task *v[256];
    size_t n = 0;

    for (size_t i = 0; i < c->n;) {
        for (n = 0; n < 256 && i < c->n; i++) {
            v[n] = task_new(dp, env, &c->v[i]);
            while (v[n] == NULL) { /* it is recorded as running: it must not be dropped */
                go_sleep(10 * GO_MILLISECOND);
                v[n] = task_new(dp, env, &c->v[i]);
            }
            n++;
        }
        go_mutex_lock(&dp->mu);
        for (size_t k = 0; k < n; k++)
            register_locked(dp, v[k]);
        go_mutex_unlock(&dp->mu);
        start_tasks(dp, v, n);
    }
}

/* One round: claim what there is room for, and start it. */
static void
claim(struct dispatch *dp)
{
    struct plan *p = &dp->plan;
    struct job_env *env = daemon_env(dp->d);
    bool more = false;
    int r;

    plan_prepare(p);
    r = store_writer_do(dp->d->writer, &p->op);
    if (r < 0) {
        log_error("claiming jobs failed: %s", p->op.err);
        go_sleep(GO_SECOND);
        more = true;
    } else {
        for (int i = 0; i < p->n_lanes; i++)
            launch(dp, env, &p->claims[i]);
    }
    job_env_unref(env);
    go_mutex_lock(&dp->mu);
    dp->claiming = false;
    dp->n_early = 0;
    if (r >= 0) {
        for (int i = 0; i < p->n_lanes; i++)
            spend_locked(dp, STORE_LANE_QUEUE(p->claims[i].v[0].lane), (int64_t)p->claims[i].n);
        dp->held = p->held;
        dp->stuck = p->stuck;
        dp->again_at = p->again_at;
        more = p->more;
    }
    if (more)
        dp->queued = true;
    go_mutex_unlock(&dp->mu);
}

static void
dispatch_main(struct dispatch *dp)
{
    go_mutex_lock(&dp->mu);
    while (!dp->stop) {
        if (dp->again_at <= go_now()) {
            dp->again_at = GO_NEVER;
            dp->queued = true;
        }
        if (!dp->queued || dp->counts.running >= dp->limit) {
            dp->held = dp->held || dp->queued;
            dp->queued = false;
            (void)go_cond_wait_until(&dp->more, dp->again_at);
            continue;
        }
        dp->queued = false;
        dp->claiming = true;
        plan_fill_locked(dp);
        go_mutex_unlock(&dp->mu);
        claim(dp);
        go_mutex_lock(&dp->mu);
    }
    dp->ended = true;
    go_cond_broadcast(&dp->idle);
    go_mutex_unlock(&dp->mu);
}

void
dispatch_start(struct dispatch *dp)
{
    dp->ended = false;
    ENSURE(go_opt((&(const struct go_opts){.name = "dispatch"}), dispatch_main, dp) > 0);
}

/* --- tasks ------------------------------------------------------------------------------- */

void
dispatch_began(struct dispatch *dp, struct task *t, struct go_ctx *ctx, struct job_run *run)
{
    go_mutex_lock(&dp->mu);
    t->ctx = ctx;
    t->run = run;
    t->goroutine = go_id();
    t->since = go_now();
    if (LOAD(&t->stop, ACQUIRE) != STOP_NOT)
        go_ctx_cancel(ctx);
    go_mutex_unlock(&dp->mu);
}

void
dispatch_left(struct dispatch *dp, struct task *t)
{
    go_mutex_lock(&dp->mu);
    t->ctx = NULL;
    t->run = NULL;
    t->goroutine = 0;
    go_mutex_unlock(&dp->mu);
}

void
dispatch_ended(struct dispatch *dp, struct task *t, bool succeeded)
{
    int kind = STORE_LANE_KIND(t->claim.lane);

    go_mutex_lock(&dp->mu);
    dp->counts.running--;
    dp->counts.kind[kind].running--;
    if (succeeded)
        dp->counts.kind[kind].succeeded++;
    else
        dp->counts.kind[kind].failed++;
    dp->queues[STORE_LANE_QUEUE(t->claim.lane)].running--;
    dp->suspects -= STORE_LANE_SUSPECT(t->claim.lane);
    if (dp->held)
        poke_locked(dp);
    go_mutex_unlock(&dp->mu);
}

void
dispatch_finished(struct dispatch *dp, struct task *t)
{
    struct task **link = slot(dp, t->claim.id);

    if (t->op.result < 0)
        log_error("the end of job %lld could not be recorded: %s", (long long)t->claim.id,
                  t->op.err);
    go_mutex_lock(&dp->mu);
    while (*link != t)
        link = &(*link)->hash_next;
    *link = t->hash_next;
    if (t->prev != NULL)
        t->prev->next = t->next;
    else
        dp->first = t->next;
    if (t->next != NULL)
        t->next->prev = t->prev;
    if (--dp->n_tasks == 0)
        go_cond_broadcast(&dp->idle);
    go_mutex_unlock(&dp->mu);
    task_free(t);
}

/* mu is held. */
static void
remember_locked(struct dispatch *dp, struct early e)
{
    if (dp->claiming && dp->n_early < EARLY_MAX)
        dp->early[dp->n_early++] = e;
}

void
dispatch_stop_job(struct dispatch *dp, int64_t id, enum stop_why why)
{
    struct task *t;

    go_mutex_lock(&dp->mu);
    t = find_locked(dp, id);
    if (t != NULL)
        task_stop(t, why);
    else
        remember_locked(dp, (struct early){.job = id, .why = why});
    go_mutex_unlock(&dp->mu);
}

void
dispatch_stop_batch(struct dispatch *dp, int64_t batch, enum stop_why why)
{
    go_mutex_lock(&dp->mu);
    for (struct task *t = dp->first; t != NULL; t = t->next)
        if (t->claim.batch == batch)
            task_stop(t, why);
    remember_locked(dp, (struct early){.batch = batch, .why = why});
    go_mutex_unlock(&dp->mu);
}

/* mu is held. Wait until all tasks have ended or deadline: true if they have. */
static bool
wait_idle_locked(struct dispatch *dp, int64_t deadline, bool stopping)
{
    while (!dp->ended || dp->n_tasks > 0) {
        if (dp->hurry && !stopping)
            return false;
        if (go_cond_wait_until(&dp->idle, deadline) < 0)
            return dp->ended && dp->n_tasks == 0;
    }
    return true;
}

bool
dispatch_drain(struct dispatch *dp, int64_t deadline)
{
    bool all;

    go_mutex_lock(&dp->mu);
    dp->stop = true;
    go_cond_signal(&dp->more);
    all = wait_idle_locked(dp, deadline, false);
    if (!all) {
        for (struct task *t = dp->first; t != NULL; t = t->next)
            task_stop(t, STOP_DRAIN);
        all = wait_idle_locked(dp, go_deadline(STOP_PATIENCE), true);
    }
    go_mutex_unlock(&dp->mu);
    return all;
}

void
dispatch_hurry(struct dispatch *dp)
{
    go_mutex_lock(&dp->mu);
    dp->hurry = true;
    go_cond_broadcast(&dp->idle);
    go_mutex_unlock(&dp->mu);
}

/* --- seen from outside ------------------------------------------------------------------- */

/* mu is held. */
static struct dispatch_look
look_locked(const struct task *t)
{
    struct dispatch_look l = {
        .job = t->claim.id,
        .batch = t->claim.batch,
        .lane = t->claim.lane,
        .attempt = t->claim.attempt,
        .goroutine = t->goroutine,
        .since = t->since,
    };

    if (t->run != NULL) {
        l.done = LOAD(&t->run->progress.done, RELAXED);
        l.total = LOAD(&t->run->progress.total, RELAXED);
        l.unit = LOAD(&t->run->progress.unit, RELAXED);
    }
    return l;
}

bool
dispatch_look(struct dispatch *dp, int64_t id, struct dispatch_look *ret)
{
    struct task *t;

    go_mutex_lock(&dp->mu);
    t = find_locked(dp, id);
    if (t != NULL)
        *ret = look_locked(t);
    go_mutex_unlock(&dp->mu);
    return t != NULL;
}

size_t
dispatch_list(struct dispatch *dp, int64_t after, size_t max, struct dispatch_look *ret)
{
    size_t n = 0;

    go_mutex_lock(&dp->mu);
    for (struct task *t = dp->first; t != NULL; t = t->next) {
        size_t i = n;

        if (t->claim.id <= after || t->goroutine == 0 ||
            (n == max && (max == 0 || ret[n - 1].job < t->claim.id)))
            continue;
        if (n < max)
            n++;
        else
            i--;
        for (; i > 0 && ret[i - 1].job > t->claim.id; i--)
            ret[i] = ret[i - 1];
        ret[i] = look_locked(t);
    }
    go_mutex_unlock(&dp->mu);
    return n;
}

void
dispatch_counts(struct dispatch *dp, struct dispatch_counts *ret)
{
    go_mutex_lock(&dp->mu);
    *ret = dp->counts;
    go_mutex_unlock(&dp->mu);
}

int64_t
dispatch_queue_running(struct dispatch *dp, int64_t queue)
{
    int64_t n;

    go_mutex_lock(&dp->mu);
    n = dp->queues[queue].running;
    go_mutex_unlock(&dp->mu);
    return n;
}
