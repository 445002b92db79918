#include "daemon/eventpb.h"

#include <errno.h>
#include <string.h>

#include "daemon/jobpb.h"
#include "daemon/pulse.h"
#include "daemon/store/schedule.h"
#include "proto/wire.h"
#include "runtime/time/timer.h"

static PbBatch__State
batch_state(const struct store_event *ev)
{
    if (ev->type == EVENT_BATCH_STOP || ev->state == STORE_CANCELLED)
        return PB_BATCH__STATE__STATE_CANCELLED;
    return PB_BATCH__STATE__STATE_DONE;
}

static int
set_job(struct proto_arena *a, const struct store_event *ev, PbEvent *out)
{
    PbJob *j = proto_new(a, &pb_job__descriptor);

    if (j == NULL)
        return -1;
    PB_SET(j, id, (uint64_t)ev->job);
    PB_SET(j, batch, (uint64_t)ev->batch);
    PB_SET(j, state, jobpb_state(ev->state));
    PB_SET(j, attempt, (uint32_t)ev->attempt);
    out->what_case = PB_EVENT__WHAT_JOB;
    out->job = j;
    return 0;
}

static int
set_batch(struct proto_arena *a, const struct store_event *ev, PbEvent *out)
{
    PbBatch *b = proto_new(a, &pb_batch__descriptor);

    if (b == NULL)
        return -1;
    PB_SET(b, id, (uint64_t)ev->batch);
    if (ev->type == EVENT_ADDED) {
        b->counts = proto_new(a, &pb_counts__descriptor);
        if (b->counts == NULL)
            return -1;
        PB_SET(b->counts, total, (uint64_t)ev->count);
    } else {
        PB_SET(b, state, batch_state(ev));
    }
    out->what_case = PB_EVENT__WHAT_BATCH;
    out->batch = b;
    return 0;
}

static PbSchedule__Change
schedule_change(const struct store_event *ev)
{
    switch ((enum store_schedule_change)ev->attempt) {
    case SCHEDULE_RAN:
        return ev->batch != 0 ? PB_SCHEDULE__CHANGE__CHANGE_FIRED
                              : PB_SCHEDULE__CHANGE__CHANGE_SKIPPED;
    case SCHEDULE_CHANGED:
        return PB_SCHEDULE__CHANGE__CHANGE_CHANGED;
    case SCHEDULE_PAUSED:
        return PB_SCHEDULE__CHANGE__CHANGE_PAUSED;
    case SCHEDULE_RESUMED:
        return PB_SCHEDULE__CHANGE__CHANGE_RESUMED;
    case SCHEDULE_REMOVED:
        return PB_SCHEDULE__CHANGE__CHANGE_REMOVED;
    case SCHEDULE_ADDED:
        return PB_SCHEDULE__CHANGE__CHANGE_ADDED;
    }
    return PB_SCHEDULE__CHANGE__CHANGE_NONE;
}

static int
set_schedule(struct proto_arena *a, const struct store_event *ev, PbEvent *out)
{
    PbSchedule *s = proto_new(a, &pb_schedule__descriptor);

    if (s == NULL)
        return -1;
    PB_SET(s, id, (uint64_t)ev->job);
    PB_SET(s, change, schedule_change(ev));
    if (ev->batch != 0)
        PB_SET(s, last_batch, (uint64_t)ev->batch);
    if (s->change == PB_SCHEDULE__CHANGE__CHANGE_PAUSED ||
        s->change == PB_SCHEDULE__CHANGE__CHANGE_RESUMED)
        PB_SET(s, paused, s->change == PB_SCHEDULE__CHANGE__CHANGE_PAUSED);
    out->what_case = PB_EVENT__WHAT_SCHEDULE;
    out->schedule = s;
    return 0;
}

static PbTimestamp *
timestamp(struct proto_arena *a, int64_t ns)
{
    PbTimestamp *t = proto_new(a, &pb_timestamp__descriptor);

    if (t != NULL)
        PB_SET(t, ns, ns);
    return t;
}

bool
eventpb_of_job(const struct store_event *ev)
{
    return ev->type == EVENT_STATE || (ev->type == EVENT_ADDED && ev->count == 1);
}

PbEvent *
eventpb_make(struct proto_arena *a, const struct store_event *ev)
{
    PbEvent *out = proto_new(a, &pb_event__descriptor);
    int r = 0;

    if (out == NULL)
        return NULL;
    PB_SET(out, seq, (uint64_t)ev->seq);
    out->time = timestamp(a, ev->at_ms * GO_MILLISECOND);
    if (out->time == NULL)
        return NULL;
    switch (ev->type) {
    case EVENT_STATE:
    case EVENT_ADDED: /* one job as itself, several as a batch that grew */
        r = eventpb_of_job(ev) ? set_job(a, ev, out) : set_batch(a, ev, out);
        break;
    case EVENT_BATCH_END:
    case EVENT_BATCH_STOP:
        r = set_batch(a, ev, out);
        break;
    case EVENT_SCHEDULE:
        r = set_schedule(a, ev, out);
        break;
    case EVENT_QUEUE:
        out->what_case = PB_EVENT__WHAT_QUEUE;
        out->queue = proto_new(a, &pb_queue__descriptor);
        r = out->queue != NULL ? 0 : -1;
        break;
    }
    return r == 0 ? out : NULL;
}

int
eventpb_queue(struct proto_arena *a, PbEvent *out, const char *name,
              const struct store_queue_conf *conf)
{
    PbQueueLimits *l = proto_new(a, &pb_queue_limits__descriptor);

    out->queue->name = proto_arena_dup(a, name, strlen(name));
    if (l == NULL || out->queue->name == NULL)
        return -ENOMEM;
    PB_SET(l, running, (uint32_t)conf->parallel);
    PB_SET(l, rate, conf->rate);
    PB_SET(l, burst, (uint32_t)conf->burst);
    PB_SET(l, paused, conf->paused);
    out->queue->limits = l;
    return 0;
}

PbEvent *
eventpb_progress(struct proto_arena *a, const struct pulse_beat *beat, int64_t seq)
{
    const struct dispatch_look *l = &beat->look;
    PbEvent *out = proto_new(a, &pb_event__descriptor);
    PbJobProgress *job = proto_new(a, &pb_job_progress__descriptor);
    PbProgress *progress = proto_new(a, &pb_progress__descriptor);

    if (out == NULL || job == NULL || progress == NULL)
        return NULL;
    PB_SET(progress, done, l->done);
    if (l->total > 0)
        PB_SET(progress, total, l->total);
    PB_SET(progress, unit, (PbProgress__Unit)l->unit);
    PB_SET(job, job, (uint64_t)l->job);
    PB_SET(job, batch, (uint64_t)l->batch);
    job->progress = progress;
    if (l->tick != 0) {
        job->tick = timestamp(a, l->tick);
        if (job->tick == NULL)
            return NULL;
    }
    PB_SET(out, seq, (uint64_t)seq);
    out->time = timestamp(a, beat->at_ms * GO_MILLISECOND);
    out->what_case = PB_EVENT__WHAT_PROGRESS;
    out->progress = job;
    return out->time != NULL ? out : NULL;
}

int
eventpb_fill(struct call *c, const struct store_event *ev, const struct store_job *j,
             PbEvent *out)
{
    PbJob *was = out->job, *job = jobpb_make(c, j, JOBPB_RESULT);

    if (job == NULL)
        return -ENOBUFS;
    /* The row may be ahead of the event: what it says of a later time is not told. */
    if (j->state != ev->state || j->attempt != ev->attempt) {
        job->result_case = PB_JOB__RESULT__NOT_SET;
        job->error = NULL;
        job->started = job->finished = job->run_at = NULL;
        job->has_retries = 0;
    }
    if (ev->state == STORE_RUNNING) /* the error is that of the attempt before */
        job->error = NULL;
    job->progress = NULL;
    job->state = was->state;
    job->attempt = was->attempt;
    out->job = job;
    return 0;
}
