#include "daemon/eventpb.h"

#include "daemon/jobpb.h"
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

PbEvent *
eventpb_make(struct proto_arena *a, const struct store_event *ev)
{
    PbEvent *out = proto_new(a, &pb_event__descriptor);
    int r = 0;

    if (out == NULL)
        return NULL;
    PB_SET(out, seq, (uint64_t)ev->seq);
    out->time = proto_new(a, &pb_timestamp__descriptor);
    if (out->time == NULL)
        return NULL;
    PB_SET(out->time, ns, ev->at_ms * GO_MILLISECOND);
    switch (ev->type) {
    case EVENT_STATE:
        r = set_job(a, ev, out);
        break;
    case EVENT_ADDED: /* one job as itself, several as a batch that grew */
        r = ev->count == 1 ? set_job(a, ev, out) : set_batch(a, ev, out);
        break;
    case EVENT_BATCH_END:
    case EVENT_BATCH_STOP:
        r = set_batch(a, ev, out);
        break;
    case EVENT_SCHEDULE:
        r = set_schedule(a, ev, out);
        break;
    }
    return r == 0 ? out : NULL;
}
