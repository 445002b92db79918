#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "daemon/call.h"
#include "daemon/dispatch.h"
#include "daemon/jobpb.h"
#include "daemon/names.h"
#include "jobs/kind.h"
#include "runtime/base/atomic.h"
#include "runtime/go.h"

static void say(struct call *c, PbWhyReply *rep, PbWhyReply__Reason why, const char *fmt,
                ...) __attribute__((format(printf, 4, 5)));

static void
say(struct call *c, PbWhyReply *rep, PbWhyReply__Reason why, const char *fmt, ...)
{
    char text[256];
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    PB_SET(rep, reason, why);
    rep->message = call_dup(c, text);
}

static void
why_running(struct call *c, PbWhyReply *rep, const struct store_job *j)
{
    struct dispatch_look look;
    struct go_info info;
    int64_t since;

    if (!dispatch_look(c->d->dispatch, j->id, &look) || look.goroutine == 0 ||
        go_info(look.goroutine, &info) < 0) {
        say(c, rep, PB_WHY_REPLY__REASON__REASON_RUNNING,
            "it is about to start, or to end");
        return;
    }
    since = go_now() - (info.since > 0 ? info.since : look.since);
    rep->park =
        call_dup(c, info.reason != NULL ? info.reason : go_state_name(info.state));
    rep->since = call_duration(c, since);
    if (info.reason != NULL)
        say(c, rep, PB_WHY_REPLY__REASON__REASON_RUNNING, "its goroutine is parked in %s",
            info.reason);
    else
        say(c, rep, PB_WHY_REPLY__REASON__REASON_RUNNING, "its goroutine is %s",
            go_state_name(info.state));
}

/* An open batch is the classic: nobody has closed it. */
static int
why_one(struct call *c, PbWhyReply *rep, const struct store_awaited *a)
{
    struct store_batches b = {.v = NULL};
    int r = a->is_job ? 0 : CALL_READ(c, rd, store_read_batch(rd, a->id, &b));

    say(c, rep, PB_WHY_REPLY__REASON__REASON_NEEDS, "it waits for %s %lld to end%s",
        a->is_job ? "job" : "batch", (long long)a->id,
        r > 0 && !b.v[0].closed ? "; that is still open" : "");
    store_batches_free(&b);
    return r < 0 ? r : 0;
}

static int
why_blocked(struct call *c, PbWhyReply *rep, const struct store_why *w)
{
    PbNeeds *needs = call_new(c, &pb_needs__descriptor);

    if (needs == NULL)
        return -ENOBUFS;
    needs->jobs = call_array(c, w->n_awaited + 1, sizeof(*needs->jobs));
    needs->batches = call_array(c, w->n_awaited + 1, sizeof(*needs->batches));
    if (needs->jobs == NULL || needs->batches == NULL)
        return -ENOBUFS;
    for (size_t i = 0; i < w->n_awaited; i++)
        if (w->awaited[i].is_job)
            needs->jobs[needs->n_jobs++] = (uint64_t)w->awaited[i].id;
        else
            needs->batches[needs->n_batches++] = (uint64_t)w->awaited[i].id;
    rep->needs = needs;
    if (w->n_awaited == 0)
        say(c, rep, PB_WHY_REPLY__REASON__REASON_NEEDS, "what it waited for has ended");
    else if (w->n_awaited_all > 1)
        say(c, rep, PB_WHY_REPLY__REASON__REASON_NEEDS,
            "it waits for %lld jobs and batches to end; the first is %s %lld",
            (long long)w->n_awaited_all, w->awaited[0].is_job ? "job" : "batch",
            (long long)w->awaited[0].id);
    else
        return why_one(c, rep, &w->awaited[0]);
    return 0;
}

static void
why_scheduled(struct call *c, PbWhyReply *rep, const struct store_job *j)
{
    rep->run_at = call_time_ms(c, j->run_at);
    if (j->fails > 0)
        say(c, rep, PB_WHY_REPLY__REASON__REASON_BACKOFF,
            "attempt %lld failed; the next one comes after a pause",
            (long long)j->attempt);
    else
        say(c, rep, PB_WHY_REPLY__REASON__REASON_TIME, "its time has not come");
}

static void
limit(struct call *c, PbWhyReply *rep, const char *name, const char *message)
{
    rep->limit = call_dup(c, name);
    say(c, rep, PB_WHY_REPLY__REASON__REASON_LIMIT, "%s", message);
}

static void
why_queued(struct call *c, PbWhyReply *rep, const struct store_job *j,
           const struct store_why *w)
{
    struct dispatch_counts n;
    int kind = STORE_LANE_KIND(j->lane);
    char name[48];

    dispatch_counts(c->d->dispatch, &n);
    PB_SET(rep, ahead, (uint64_t)w->ahead);
    if (LOAD(&c->d->draining, RELAXED)) {
        say(c, rep, PB_WHY_REPLY__REASON__REASON_DRAINING, "the daemon is stopping");
    } else if (w->queue_paused) {
        say(c, rep, PB_WHY_REPLY__REASON__REASON_PAUSED, "its queue is paused");
    } else if (w->queue_parallel > 0 && w->queue_running >= w->queue_parallel) {
        limit(c, rep, "queue.running", "its queue runs as many jobs as it may");
    } else if (w->batch_parallel > 0 && w->batch_running >= w->batch_parallel) {
        limit(c, rep, "max_parallel", "its batch runs as many jobs as it may");
    } else if (n.kind[kind].running >= n.kind[kind].limit &&
               job_kind_find(kind) != NULL) {
        (void)snprintf(name, sizeof(name), "limits.%s", job_kind_find(kind)->name);
        limit(c, rep, name, "as many jobs of its kind run as may");
    } else if (n.running >= c->cfg->limits.running) {
        limit(c, rep, "limits.running", "as many jobs run as may");
    } else if (w->queue_rate > 0) {
        rep->limit = call_dup(c, "queue.rate");
        say(c, rep, PB_WHY_REPLY__REASON__REASON_RATE,
            "its queue starts %g jobs a second, and %s%lld go before it", w->queue_rate,
            w->ahead_capped ? "more than " : "", (long long)w->ahead);
    } else {
        say(c, rep, PB_WHY_REPLY__REASON__REASON_IN_LINE, "%s%lld jobs go before it",
            w->ahead_capped ? "more than " : "", (long long)w->ahead);
    }
}

static int
why(struct call *c, PbWhyReply *rep, const struct store_job *j)
{
    struct store_why w = {.state = j->state};
    int r;

    PB_SET(rep, job, (uint64_t)j->id);
    PB_SET(rep, state, jobpb_state(j->state));
    rep->queue = names_queue(c, STORE_LANE_QUEUE(j->lane));
    if (store_state_final(j->state)) {
        say(c, rep, PB_WHY_REPLY__REASON__REASON_FINISHED, "it has ended");
        return 0;
    }
    if (j->state == STORE_RUNNING) {
        why_running(c, rep, j);
        return 0;
    }
    r = CALL_READ(c, rd, store_read_why(rd, j->id, &w));
    if (r < 0)
        return r;
    if (j->state == STORE_BLOCKED)
        return why_blocked(c, rep, &w);
    if (j->state == STORE_SCHEDULED)
        why_scheduled(c, rep, j);
    else
        why_queued(c, rep, j, &w);
    return 0;
}

int
call_why(struct call *c)
{
    PbWhyReply *rep = call_new(c, &pb_why_reply__descriptor);
    struct store_jobs jobs = {.v = NULL};
    int64_t id = (int64_t)PB_GET(c->req->why, job, 0);
    PbJob *job = NULL;
    int r = rep == NULL
                ? -ENOBUFS
                : CALL_READ(c, rd, store_read_job(rd, id, jobpb_store_want(0), &jobs));

    if (r == 0)
        r = call_fail(c, PB_ERROR__CODE__NOT_FOUND, "job", "there is no job %lld",
                      (long long)id);
    if (r > 0) {
        r = why(c, rep, &jobs.v[0]);
        job = jobpb_make(c, &jobs.v[0], 0); /* for its last error */
        rep->error = job != NULL ? job->error : NULL;
    }
    store_jobs_free(&jobs);
    if (r < 0)
        return r;
    c->rep->reply_case = PB_RESPONSE__REPLY_WHY;
    c->rep->why = rep;
    return 0;
}
