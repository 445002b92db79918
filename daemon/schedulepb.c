#include "daemon/schedulepb.h"

#include <errno.h>
#include <string.h>

#include "daemon/schedules.h"
#include "proto/wire.h"

static PbScheduleSpec *
spec_of(struct call *c, const struct store_schedule *row)
{
    struct proto_err err = {.text = ""};
    ProtobufCMessage *m;
    int r = proto_unpack(&pb_schedule_spec__descriptor, row->spec, row->spec_len,
                         PROTO_TRUST, &c->mem, &m, &err);

    if (r == 0)
        return (PbScheduleSpec *)(void *)m;
    (void)call_fail(
        c, r == -ENOBUFS ? PB_ERROR__CODE__TOO_LARGE : PB_ERROR__CODE__STORAGE, NULL,
        r == -ENOBUFS ? "the reply is too large" : "a stored schedule cannot be read");
    return NULL;
}

int
schedulepb_plan(struct call *c, const struct sched_defaults *d,
                const struct store_schedule *row, struct sched_plan *ret)
{
    struct proto_err err = {.text = ""};
    const PbScheduleSpec *spec = spec_of(c, row);

    if (spec == NULL)
        return -EINVAL;
    if (sched_plan_read(spec, d, row->id, row->created, ret, &err) < 0)
        return call_fail(c, PB_ERROR__CODE__CONFLICT, NULL,
                         "the schedule \"%.100s\" does not run: %s", row->name, err.text);
    return 0;
}

int
schedulepb_after(struct call *c, const struct store_schedule *row, int64_t after,
                 int64_t *ret)
{
    struct schedule_view *view = schedules_view(c->d->schedules);
    struct sched_plan plan;
    int64_t next;
    int r = schedulepb_plan(c, &view->defaults, row, &plan);

    if (r == 0) {
        next = sched_plan_next(&plan, after);
        *ret = next == SCHED_NEVER ? 0 : next;
    }
    schedule_view_unref(view);
    return r;
}

/* When it is due next, worked out as the engine does; SCHED_NEVER: not at all. */
static int64_t
due_next(struct call *c, const struct store_schedule *row, const PbScheduleSpec *spec)
{
    struct schedule_view *view = schedules_view(c->d->schedules);
    struct proto_err err = {.text = ""};
    struct sched_plan plan;
    int64_t due = SCHED_NEVER;

    if (sched_plan_read(spec, &view->defaults, row->id, row->created, &plan, &err) == 0)
        due = sched_plan_due(
            &plan, sched_plan_resume(&plan, row->last_at, row->next_at, daemon_now_ms()));
    schedule_view_unref(view);
    return due;
}

PbSchedule *
schedulepb_make(struct call *c, const struct store_schedule *row)
{
    PbSchedule *out = call_new(c, &pb_schedule__descriptor);
    int64_t due;

    if (out == NULL)
        return NULL;
    out->spec = spec_of(c, row);
    if (out->spec == NULL)
        return NULL;
    PB_SET(out, id, (uint64_t)row->id);
    out->name = call_dup(c, row->name);
    PB_SET(out, paused, row->paused);
    out->spec->has_paused = 0; /* what it was at first */
    if (!row->paused && row->next_at != 0) {
        due = due_next(c, row, out->spec);
        if (due != SCHED_NEVER)
            out->next = call_time_ms(c, due);
    }
    if (row->last_at != 0)
        out->last = call_time_ms(c, row->last_at);
    if (row->batch != 0)
        PB_SET(out, last_batch, (uint64_t)row->batch);
    PB_SET(out, runs, (uint64_t)row->runs);
    PB_SET(out, missed, (uint64_t)row->missed_runs);
    PB_SET(out, skipped, (uint64_t)row->skipped_runs);
    if (row->config)
        PB_SET(out, config, 1);
    return c->rep->reply_case == PB_RESPONSE__REPLY_ERROR ? NULL : out;
}

PbSchedule *
schedulepb_draft(struct call *c, const PbScheduleSpec *spec,
                 const struct sched_plan *plan)
{
    PbSchedule *out = call_new(c, &pb_schedule__descriptor);
    int64_t next = sched_plan_first(plan, daemon_now_ms());

    if (out == NULL)
        return NULL;
    out->name = spec->name;
    PB_SET(out, paused, PB_GET(spec, paused, 0));
    if (!out->paused && next != SCHED_NEVER)
        out->next = call_time_ms(c, sched_plan_due(plan, next));
    return c->rep->reply_case == PB_RESPONSE__REPLY_ERROR ? NULL : out;
}
