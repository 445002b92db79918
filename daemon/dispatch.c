#include "daemon/dispatch_inner.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/log.h"
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

#define EARLY_MAX     4096
#define STOP_PATIENCE (5 * GO_SECOND)
#define AHEAD_TIME    0.02 /* s: as many jobs are claimed ahead as end in this time */

struct daemon *
dispatch_daemon(struct dispatch *dp)
{
    return dp->d;
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
    dp->hash = calloc(DISPATCH_HASH_N, sizeof(struct task *));
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
    for (int k = 0; k <= STORE_KIND_MAX; k++)
        dp->lines[k].last = &dp->lines[k].first;
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
stop_batch(struct dispatch *dp, int64_t batch, int64_t why)
{
    dispatch_stop_batch(dp, batch, task_stop_of(why));
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
        if (ev.type == EVENT_BATCH_STOP && go(stop_batch, dp, ev.batch, ev.count) < 0)
            stop_batch(dp, ev.batch, ev.count);
    }
    if (!queued && !ended)
        return;
    go_mutex_lock(&dp->mu);
    /* A claim that was the last in this very transaction has seen all of it. */
    if ((queued || dp->stuck) && !dp->riding)
        poke_locked(dp);
    go_mutex_unlock(&dp->mu);
}

/* --- claiming ---------------------------------------------------------------------------- */

/* How many jobs of each kind to claim ahead, from how fast they ended lately. mu is held. */
static void
ahead_locked(struct dispatch *dp)
{
    int64_t now = go_now(), span = now - dp->ahead_at;

    if (span < 2 * GO_MILLISECOND)
        return;
    dp->ahead_at = now;
    for (int k = 0; k <= STORE_KIND_MAX; k++) {
        struct line *l = &dp->lines[k];
        double rate =
            (double)(l->ended - l->ended_before) / (double)span * (double)GO_SECOND;
        int64_t want = (int64_t)(rate * AHEAD_TIME);

        l->ended_before = l->ended;
        l->ahead = (l->ahead + (want < dp->lane_max ? want : dp->lane_max)) / 2;
    }
}

/* mu is held. */
static void
plan_fill_locked(struct dispatch *dp)
{
    struct plan *p = &dp->plan;

    ahead_locked(dp);
    dp->ends_planned = dp->ends;
    p->room = dp->limit - dp->counts.running;
    p->lane_max = dp->lane_max;
    for (int k = 0; k <= STORE_KIND_MAX; k++) {
        p->kind_room[k] = dp->counts.kind[k].limit - dp->counts.kind[k].running -
                          dp->counts.kind[k].in_line + dp->lines[k].ahead;
        if (p->kind_room[k] < 0)
            p->kind_room[k] = 0;
    }
    p->suspect_runs = dp->suspects > 0;
    memcpy(p->queues, dp->queues, sizeof(p->queues));
}

/* mu is held. A stop that came while t was being claimed. */
static void
early_locked(struct dispatch *dp, struct task *t)
{
    for (size_t i = 0; i < dp->n_early; i++)
        if (dp->early[i].job == t->claim.id || dp->early[i].batch == t->claim.batch)
            task_stop(t, dp->early[i].why, dp->early[i].reason);
}

/* mu is held. */
static void
forget_early_locked(struct dispatch *dp)
{
    while (dp->n_early > 0)
        free(dp->early[--dp->n_early].reason);
}

void
dispatch_register_locked(struct dispatch *dp, struct task *t)
{
    struct task **head = dispatch_slot(dp, t->claim.id);

    t->hash_next = *head;
    *head = t;
    t->next = dp->first;
    if (dp->first != NULL)
        dp->first->prev = t;
    else
        dp->last = t;
    dp->first = t;
    dp->n_tasks++;
    dp->counts.running++;
    dp->queues[STORE_LANE_QUEUE(t->claim.lane)].running++;
    dp->started[STORE_LANE_QUEUE(t->claim.lane)]++;
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
    int64_t now = c.rate > 0 ? dp->plan.now : 0;

    if (now == 0 || q->filled_at != now) /* not yet for another lane of it */
        q->tokens = now > 0 ? plan_tokens(was, &c, now) : 0;
    q->tokens -= (double)n;
    q->filled_at = now;
}

/* mu is held. True: t may start; else it stands in line. */
static bool
room_or_line_locked(struct dispatch *dp, struct task *t)
{
    int kind = STORE_LANE_KIND(t->claim.lane);
    struct line *l = &dp->lines[kind];

    if (dp->counts.kind[kind].running < dp->counts.kind[kind].limit) {
        dp->counts.kind[kind].running++;
        return true;
    }
    t->line_next = NULL;
    *l->last = t;
    l->last = &t->line_next;
    dp->counts.kind[kind].in_line++;
    return false;
}

/* mu is held. The first in line, if there is room: it may start. */
static struct task *
next_in_line_locked(struct dispatch *dp, int kind)
{
    struct line *l = &dp->lines[kind];
    struct task *t = l->first;

    if (t == NULL || dp->counts.kind[kind].running >= dp->counts.kind[kind].limit)
        return NULL;
    l->first = t->line_next;
    if (l->first == NULL)
        l->last = &l->first;
    dp->counts.kind[kind].in_line--;
    dp->counts.kind[kind].running++;
    return t;
}

static void
start_task(struct task *t)
{
    if (task_start(t) < 0)
        task_give_up(t, STORE_END_INTERRUPTED, PB_ERROR__CODE__INTERRUPTED,
                     "no memory for its goroutine");
}

/* Tasks of the claimed jobs from c->v[from] on: how many could be made, at most max. */
static size_t
make_tasks(struct dispatch *dp, struct job_env *env, const struct store_claims *c,
           size_t from, struct task **v, size_t max)
{
    size_t n = 0;

    while (n < max && from + n < c->n) {
        v[n] = task_new(dp, env, &c->v[from + n]);
        if (v[n] == NULL)
            break;
        n++;
    }
    return n;
}

static void
start_tasks(struct dispatch *dp, struct task **v, size_t n)
{
    go_mutex_lock(&dp->mu);
    for (size_t i = 0; i < n; i++) {
        dispatch_register_locked(dp, v[i]);
        if (!room_or_line_locked(dp, v[i]))
            v[i] = NULL;
    }
    go_mutex_unlock(&dp->mu);
    for (size_t i = 0; i < n; i++)
        if (v[i] != NULL)
            start_task(v[i]);
}

/* The claimed jobs of one lane become tasks, and start. */
static void
launch(struct dispatch *dp, struct job_env *env, const struct store_claims *c)
{
    struct task *v[256];
    size_t n;

    for (size_t i = 0; i < c->n; i += n) {
        n = make_tasks(dp, env, c, i, v, 256);
        if (n > 0)
            start_tasks(dp, v, n);
        else /* they are recorded as running: they must not be dropped */
            go_sleep(10 * GO_MILLISECOND);
    }
}

/* Start what was claimed, if it is little and there is memory: without parking. */
static bool
launch_few(struct dispatch *dp)
{
    const struct plan *p = &dp->plan;
    struct job_env *env = daemon_env(dp->d);
    struct task *v[PLAN_FEW];
    size_t n = 0, want = 0;

    for (int i = 0; i < p->n_lanes && want <= PLAN_FEW; i++)
        want += p->claims[i].n;
    for (int i = 0; i < p->n_lanes && want <= PLAN_FEW; i++)
        n += make_tasks(dp, env, &p->claims[i], 0, v + n, PLAN_FEW - n);
    job_env_unref(env);
    if (n == want) {
        start_tasks(dp, v, n);
        return true;
    }
    while (n > 0)
        task_free(v[--n]);
    return false;
}

/* mu is held. What a claim found decides when the next one is due: true, now. */
static bool
settle_locked(struct dispatch *dp)
{
    struct plan *p = &dp->plan;

    for (int i = 0; i < p->n_lanes; i++)
        spend_locked(dp, STORE_LANE_QUEUE(p->claims[i].v[0].lane),
                     (int64_t)p->claims[i].n);
    dp->held = p->held;
    dp->stuck = p->stuck;
    dp->again_at = p->again_at;
    /* Room that came while the claim was under way poked nobody. */
    return p->more || (p->held && dp->ends != dp->ends_planned);
}

/* mu is held. The claim is over. */
static void
claim_over_locked(struct dispatch *dp, bool more)
{
    dp->claiming = false;
    forget_early_locked(dp);
    dp->queued = dp->queued || more;
}

/* The plan has been carried out: its jobs start. */
static void
claimed(struct dispatch *dp)
{
    struct plan *p = &dp->plan;
    struct job_env *env;
    bool failed = p->op.result < 0;

    if (failed) {
        log_error("claiming jobs failed: %s", p->op.err);
        go_sleep(GO_SECOND);
    } else {
        env = daemon_env(dp->d);
        for (int i = 0; i < p->n_lanes; i++)
            launch(dp, env, &p->claims[i]);
        job_env_unref(env);
    }
    go_mutex_lock(&dp->mu);
    claim_over_locked(dp, failed || settle_locked(dp));
    go_mutex_unlock(&dp->mu);
}

/* A claim that went with a transaction is answered. On the writer's goroutine. A few jobs
 * start here and now; more are left to the claiming goroutine, so that the next commit
 * need not wait for them. */
static void
rode(struct store_op *op)
{
    struct dispatch *dp =
        (struct dispatch *)((char *)op - offsetof(struct dispatch, plan.op));
    bool over =
        op->result >= 0 && (dp->plan.n_lanes == 0 || dp->n_instant > 0 || launch_few(dp));
    bool wake;

    while (dp->n_instant > 0)
        dp->instant[--dp->n_instant]->void_ = op->result < 0;
    go_mutex_lock(&dp->mu);
    dp->riding = false;
    dp->landed = !over;
    if (over)
        claim_over_locked(dp, settle_locked(dp));
    wake = dp->landed || dp->queued || dp->stop || dp->again_at != GO_NEVER;
    go_mutex_unlock(&dp->mu);
    if (wake) /* not under the lock, which it would run into */
        go_cond_signal(&dp->more);
}

struct store_op *
dispatch_ride(struct dispatch *dp)
{
    struct store_op *op = NULL;

    go_mutex_lock(&dp->mu);
    if (!dp->claiming && !dp->held && !dp->stop && !dp->ended &&
        dp->counts.running < dp->limit) {
        dp->queued = false;
        dp->claiming = dp->riding = true;
        plan_fill_locked(dp);
        plan_prepare(&dp->plan);
        op = &dp->plan.op;
        op->done = rode;
    }
    go_mutex_unlock(&dp->mu);
    return op;
}

/* mu is held. */
static void
wait_locked(struct dispatch *dp)
{
    dp->held = dp->held || dp->queued;
    dp->queued = false;
    (void)go_cond_wait_until(&dp->more, dp->again_at);
}

/* mu is held, and dropped meanwhile. One round: claim what there is room for, start it. */
static void
claim_locked(struct dispatch *dp)
{
    dp->queued = false;
    dp->claiming = true;
    plan_fill_locked(dp);
    go_mutex_unlock(&dp->mu);
    plan_prepare(&dp->plan);
    (void)store_writer_do(dp->d->writer, &dp->plan.op);
    claimed(dp);
    go_mutex_lock(&dp->mu);
}

static void
dispatch_main(struct dispatch *dp)
{
    go_mutex_lock(&dp->mu);
    while (!dp->stop || dp->claiming) {
        if (dp->landed) {
            dp->landed = false;
            go_mutex_unlock(&dp->mu);
            claimed(dp);
            go_mutex_lock(&dp->mu);
            continue;
        }
        if (dp->claiming) { /* it rides: rode() signals */
            go_cond_wait(&dp->more);
            continue;
        }
        if (dp->again_at <= go_now()) {
            dp->again_at = GO_NEVER;
            dp->queued = true;
        }
        if (dp->queued && dp->counts.running < dp->limit)
            claim_locked(dp);
        else
            wait_locked(dp);
    }
    dp->ended = true;
    go_cond_broadcast(&dp->idle);
    go_mutex_unlock(&dp->mu);
}

void
dispatch_start(struct dispatch *dp)
{
    go_mutex_lock(&dp->mu); /* the writer is at work already */
    dp->ended = false;
    go_mutex_unlock(&dp->mu);
    ENSURE(go_opt((&(const struct go_opts){.name = "dispatch"}), dispatch_main, dp) > 0);
}

/* --- tasks ------------------------------------------------------------------------------- */

void
dispatch_began(struct dispatch *dp, struct task *t, struct go_ctx *ctx,
               struct job_run *run)
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
    struct task *next;

    go_mutex_lock(&dp->mu);
    dp->lines[kind].ended++;
    dp->ends++;
    dp->counts.running--;
    dp->counts.kind[kind].running--;
    if (succeeded)
        dp->counts.kind[kind].succeeded++;
    else
        dp->counts.kind[kind].failed++;
    dp->queues[STORE_LANE_QUEUE(t->claim.lane)].running--;
    dp->suspects -= STORE_LANE_SUSPECT(t->claim.lane);
    next = next_in_line_locked(dp, kind);
    if (dp->held && dp->counts.kind[kind].in_line <= dp->lines[kind].ahead / 2)
        poke_locked(dp);
    go_mutex_unlock(&dp->mu);
    if (next != NULL)
        start_task(next);
}

void
dispatch_finished(struct dispatch *dp, struct task *t)
{
    struct task **link = dispatch_slot(dp, t->claim.id);

    if (t->op.result < 0 && !t->void_)
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
    else
        dp->last = t->prev;
    if (--dp->n_tasks == 0)
        go_cond_broadcast(&dp->idle);
    go_mutex_unlock(&dp->mu);
    task_free(t);
}

/* mu is held. */
static void
remember_locked(struct dispatch *dp, struct early e, const char *reason)
{
    if (!dp->claiming || dp->n_early == EARLY_MAX)
        return;
    e.reason = reason != NULL ? strdup(reason) : NULL;
    dp->early[dp->n_early++] = e;
}

void
dispatch_stop_job(struct dispatch *dp, int64_t id, enum stop_why why, const char *reason)
{
    struct task *t;

    go_mutex_lock(&dp->mu);
    t = dispatch_find_locked(dp, id);
    if (t != NULL)
        task_stop(t, why, reason);
    else
        remember_locked(dp, (struct early){.job = id, .why = why}, reason);
    go_mutex_unlock(&dp->mu);
}

void
dispatch_stop_batch(struct dispatch *dp, int64_t batch, enum stop_why why)
{
    go_mutex_lock(&dp->mu);
    for (struct task *t = dp->first; t != NULL; t = t->next)
        if (t->claim.batch == batch)
            task_stop(t, why, NULL);
    remember_locked(dp, (struct early){.batch = batch, .why = why}, NULL);
    go_mutex_unlock(&dp->mu);
}

/* mu is held. Wait until all tasks have ended or deadline: true if they have. */
static bool
wait_idle_locked(struct dispatch *dp, int64_t deadline, bool stopping)
{
    while (dp->n_tasks > 0) {
        if (dp->hurry && !stopping)
            return false;
        if (go_cond_wait_until(&dp->idle, deadline) < 0)
            return dp->n_tasks == 0;
    }
    return true;
}

/* Those in line have not begun: they are queued again. mu is held, and dropped meanwhile. */
static void
send_back_locked(struct dispatch *dp)
{
    for (int k = 0; k <= STORE_KIND_MAX; k++)
        while (dp->lines[k].first != NULL) {
            struct task *t = dp->lines[k].first;

            dp->lines[k].first = t->line_next;
            if (t->line_next == NULL)
                dp->lines[k].last = &dp->lines[k].first;
            dp->counts.kind[k].in_line--;
            dp->counts.kind[k].running++;
            go_mutex_unlock(&dp->mu);
            task_give_up(t, STORE_END_INTERRUPTED, PB_ERROR__CODE__INTERRUPTED,
                         "the daemon stopped");
            go_mutex_lock(&dp->mu);
        }
}

bool
dispatch_drain(struct dispatch *dp, int64_t deadline)
{
    bool all;

    go_mutex_lock(&dp->mu);
    dp->stop = true;
    go_cond_signal(&dp->more);
    while (!dp->ended)
        go_cond_wait(&dp->idle);
    send_back_locked(dp);
    all = wait_idle_locked(dp, deadline, false);
    if (!all) {
        for (struct task *t = dp->first; t != NULL; t = t->next)
            task_stop(t, STOP_DRAIN, NULL);
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
