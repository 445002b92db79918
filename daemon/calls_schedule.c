#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/call.h"
#include "daemon/jobpb.h"
#include "daemon/schedule_run.h"
#include "daemon/schedule_spec.h"
#include "daemon/schedulepb.h"
#include "daemon/schedules.h"
#include "daemon/store/schedule.h"
#include "daemon/store/submit.h"
#include "daemon/watch.h"
#include "proto/wire.h"
#include "runtime/base/atomic.h"
#include "runtime/base/check.h"
#include "runtime/go.h"

/*
 * Changes go to the store alone; its commit tells the engine (schedules.h). What a client
 * sees of a schedule is worked out from its row.
 */

enum {
    LIST_DFLT = 100,
    LIST_MAX = 1000,
    LIST_PAGE = 16,       /* rows read at once: their specs may be large */
    LIST_BYTES = 8 << 20, /* of specs in one reply, about */
    NEXT_DFLT = 10,
    NEXT_MAX = 10000,
};

/* --- one schedule ------------------------------------------------------------------------ */

static int
not_found(struct call *c, const PbScheduleRef *ref)
{
    if (ref->name != NULL)
        (void)call_fail(c, PB_ERROR__CODE__NOT_FOUND, "name",
                        "there is no schedule \"%.100s\"", ref->name);
    else
        (void)call_fail(c, PB_ERROR__CODE__NOT_FOUND, "schedule",
                        "there is no schedule %llu", (unsigned long long)ref->schedule);
    return -ENOENT;
}

/* The row that a reference means, which the caller frees. 0, or refused. */
static int
look_up(struct call *c, const PbScheduleRef *ref, struct store_schedules *ret)
{
    int r;

    if (ref == NULL || (ref->name == NULL) == !ref->has_schedule) {
        (void)call_fail(c, PB_ERROR__CODE__INVALID, "schedule",
                        "give a schedule's id or its name");
        return -EINVAL;
    }
    r = CALL_READ(c, rd, store_read_schedule(rd, ref->name, (int64_t)ref->schedule, ret));
    if (r <= 0)
        return r < 0 ? r : not_found(c, ref);
    ENSURE(ret->v != NULL);
    return 0;
}

/* Replies with the row of that id. */
static int
reply_row(struct call *c, int64_t id)
{
    struct store_schedules v = {.v = NULL};
    PbScheduleRef ref = PB_SCHEDULE_REF__INIT;
    int r;

    PB_SET(&ref, schedule, (uint64_t)id);
    r = look_up(c, &ref, &v);
    if (r == 0) {
        c->rep->schedule = schedulepb_make(c, &v.v[0]);
        r = c->rep->schedule != NULL ? 0 : -ENOBUFS;
    }
    if (r == 0)
        c->rep->reply_case = PB_RESPONSE__REPLY_SCHEDULE;
    store_schedules_free(&v);
    return r;
}

int
call_schedule_get(struct call *c)
{
    struct store_schedules v = {.v = NULL};
    int r = look_up(c, c->req->schedule_get, &v);

    if (r == 0)
        r = reply_row(c, v.v[0].id);
    store_schedules_free(&v);
    return r;
}

/* --- requests that may come twice -------------------------------------------------------- */

/* 1 and the id that the request was answered with before, or 0. In a transaction. */
static int
request_known(struct call *c, struct store *st, int64_t *ret)
{
    void *data = NULL;
    size_t len = 0;
    int r;

    if (!c->req->has_request_id || c->req->request_id.len == 0)
        return 0;
    r = store_request_get(st, c->req->request_id.data, c->req->request_id.len, &data,
                          &len);
    if (r > 0 && len == sizeof(*ret))
        memcpy(ret, data, len);
    else if (r > 0)
        r = -EPROTO; /* another call's */
    free(data);
    return r;
}

static int
request_remember(struct call *c, struct store *st, int64_t id)
{
    if (!c->req->has_request_id || c->req->request_id.len == 0)
        return 0;
    return store_request_put(st, c->req->request_id.data, c->req->request_id.len, &id,
                             sizeof(id));
}

static int
refuse_change(struct call *c, int r, const char *why)
{
    if (r == -EPROTO)
        return call_fail(c, PB_ERROR__CODE__INVALID, "request_id",
                         "the request id was used for another request");
    return call_store_failed(c, r, why);
}

/* --- add --------------------------------------------------------------------------------- */

struct add_op {
    struct store_op op;
    struct call *c;
    const PbScheduleSpec *spec;
    const struct sched_plan *plan;
    bool replace;
    bool taken, in_config; /* the name was */
    int64_t id;
};

static int
add_run(struct store *st, struct store_op *op)
{
    struct add_op *a = (struct add_op *)op;
    struct store_schedule_head old;
    int r = request_known(a->c, st, &a->id), found = 0;

    a->taken = a->in_config = false;
    if (r != 0)
        return r < 0 ? r : 0;
    if (a->spec->name != NULL)
        found = store_schedule_find(st, a->spec->name, 0, &old);
    if (found < 0)
        return found;
    a->in_config = found > 0 && old.config;
    a->taken = found > 0 && !a->replace;
    if (a->in_config || a->taken)
        return -EEXIST;
    r = schedule_put(st, a->spec, a->plan, false, found > 0 ? &old : NULL, &a->id);
    return r < 0 ? r : request_remember(a->c, st, a->id);
}

static int
refuse_name(struct call *c, const char *name, bool in_config)
{
    if (in_config)
        (void)call_fail(
            c, PB_ERROR__CODE__CONFLICT, "spec.name",
            "the schedule \"%.100s\" stands in the configuration file: change "
            "it there",
            name);
    else
        (void)call_fail(c, PB_ERROR__CODE__CONFLICT, "spec.name",
                        "there is a schedule \"%.100s\"; ask to replace it (--replace), "
                        "or take another name",
                        name);
    return -EEXIST;
}

/* Nothing was stored: what it would be. */
static int
reply_dry(struct call *c, const struct add_op *a)
{
    struct store_schedules v = {.v = NULL};
    int r = 0;

    if (a->spec->name != NULL)
        r = CALL_READ(c, rd, store_read_schedule(rd, a->spec->name, 0, &v));
    if (r > 0 && (v.v[0].config || !a->replace))
        r = refuse_name(c, a->spec->name, v.v[0].config);
    store_schedules_free(&v);
    if (r < 0)
        return r;
    c->rep->schedule = schedulepb_draft(c, a->spec, a->plan);
    if (c->rep->schedule == NULL)
        return -ENOBUFS;
    c->rep->reply_case = PB_RESPONSE__REPLY_SCHEDULE;
    return 0;
}

static int
refuse_spec(struct call *c, const struct schedule_error *err)
{
    char field[224];

    (void)snprintf(field, sizeof(field), "spec%s%s", err->field[0] != '\0' ? "." : "",
                   err->field);
    (void)call_fail(c, err->code, field, "%s", err->text);
    if (err->job >= 0)
        PB_SET(c->rep->error, index, (uint32_t)err->job);
    return -EINVAL;
}

static int
add(struct call *c, struct add_op *a, bool dry)
{
    int r;

    if (LOAD(&c->d->draining, RELAXED))
        return call_fail(c, PB_ERROR__CODE__UNAVAILABLE, NULL,
                         "the daemon is shutting down");
    if (dry)
        return reply_dry(c, a);
    r = store_writer_do(c->d->writer, &a->op);
    if (r == -EEXIST && (a->in_config || a->taken))
        return refuse_name(c, a->spec->name, a->in_config);
    return r < 0 ? refuse_change(c, r, a->op.err) : reply_row(c, a->id);
}

int
call_schedule_add(struct call *c)
{
    static const PbScheduleSpec none = PB_SCHEDULE_SPEC__INIT;
    const PbScheduleAdd *in = c->req->schedule_add;
    struct sched_plan plan;
    struct add_op a = {.op = {.run = add_run},
                       .c = c,
                       .spec = in->spec != NULL ? in->spec : &none,
                       .plan = &plan,
                       .replace = PB_GET(in, replace, 0)};
    struct schedule_view *view = schedules_view(c->d->schedules);
    struct schedule_error err;
    int r = schedule_check(c->env, &view->defaults, a.spec, daemon_now_ms(), &plan, &err);

    r = r < 0 ? refuse_spec(c, &err) : add(c, &a, PB_GET(in, dry_run, 0));
    schedule_view_unref(view);
    return r;
}

/* --- pause, resume, remove --------------------------------------------------------------- */

struct change_op {
    struct store_op op;
    struct call *c;
    int64_t id;
    bool paused;
    int64_t next_at; /* of resume; -1: as it is */
};

static int
pause_run(struct store *st, struct store_op *op)
{
    struct change_op *o = (struct change_op *)op;
    struct store_schedule_head h;
    int r = store_schedule_find(st, NULL, o->id, &h);

    if (r > 0 && h.paused == o->paused)
        return 0;
    return r < 0 ? r
                 : store_schedule_pause(st, o->id, o->paused,
                                        o->next_at >= 0 ? o->next_at : h.next_at);
}

static int
set_paused(struct call *c, const PbScheduleRef *ref, bool paused)
{
    struct store_schedules v = {.v = NULL};
    struct change_op o = {
        .op = {.run = pause_run}, .c = c, .paused = paused, .next_at = -1};
    int r = look_up(c, ref, &v);

    if (r < 0)
        return r;
    o.id = v.v[0].id;
    if (!paused) /* what it passed over was not missed */
        r = schedulepb_after(c, &v.v[0], daemon_now_ms(), &o.next_at);
    if (r == 0)
        r = call_write(c, &o.op);
    store_schedules_free(&v);
    return r < 0 ? r : reply_row(c, o.id);
}

int
call_schedule_pause(struct call *c)
{
    return set_paused(c, c->req->schedule_pause, true);
}

int
call_schedule_resume(struct call *c)
{
    return set_paused(c, c->req->schedule_resume, false);
}

static int
remove_run(struct store *st, struct store_op *op)
{
    struct change_op *o = (struct change_op *)op;
    int64_t before;
    int r = request_known(o->c, st, &before);

    if (r != 0)
        return r < 0 ? r : 0;
    r = store_schedule_delete(st, o->id);
    return r < 0 ? r : request_remember(o->c, st, o->id);
}

/* Whether the request has removed its schedule before. */
static int
known_run(struct store *st, struct store_op *op)
{
    struct change_op *o = (struct change_op *)op;

    return request_known(o->c, st, &o->id);
}

int
call_schedule_remove(struct call *c)
{
    struct store_schedules v = {.v = NULL};
    struct change_op o = {.op = {.run = known_run, .nosync = true}, .c = c};
    int r = store_writer_do(c->d->writer, &o.op);

    if (r < 0)
        return refuse_change(c, r, o.op.err);
    if (r == 0)
        r = look_up(c, c->req->schedule_remove, &v);
    if (r == 0 && v.n > 0 && v.v[0].config)
        r = call_fail(
            c, PB_ERROR__CODE__CONFLICT, "schedule",
            "the schedule \"%.100s\" stands in the configuration file: remove it "
            "there, or pause it",
            v.v[0].name);
    if (r == 0 && v.n > 0) {
        o.id = v.v[0].id;
        o.op = (struct store_op){.run = remove_run};
        r = call_write(c, &o.op);
    }
    store_schedules_free(&v);
    if (r < 0)
        return r;
    c->rep->done = call_new(c, &pb_done__descriptor);
    if (c->rep->done == NULL)
        return -ENOBUFS;
    c->rep->reply_case = PB_RESPONSE__REPLY_DONE;
    return 0;
}

/* --- run now ----------------------------------------------------------------------------- */

struct now_op {
    struct store_op op;
    int64_t id, batch;
    struct schedule_run run;
};

static int
now_run(struct store *st, struct store_op *op)
{
    struct now_op *o = (struct now_op *)op;
    int r;

    o->run.why[0] = '\0';
    r = schedule_run_submit(&o->run, st, o->id, 0, &o->batch);
    if (r < 0 || o->run.repeated)
        return r;
    return store_schedule_ran_now(st, o->id, o->batch);
}

static int
reply_run(struct call *c, int64_t batch)
{
    struct store_batches v = {.v = NULL};
    int r = CALL_READ(c, rd, store_read_batch(rd, batch, &v));

    if (r == 0)
        r = call_fail(c, PB_ERROR__CODE__NOT_FOUND, NULL,
                      "the run's batch %lld is gone already", (long long)batch);
    if (r > 0) {
        c->rep->run = jobpb_batch(c, &v.v[0]);
        r = c->rep->run != NULL ? 0 : -ENOBUFS;
    }
    if (r == 0)
        c->rep->reply_case = PB_RESPONSE__REPLY_RUN;
    store_batches_free(&v);
    return r;
}

int
call_schedule_run(struct call *c)
{
    struct store_schedules v = {.v = NULL};
    struct now_op o = {
        .op = {.run = now_run},
        .run = {.cfg = c->cfg, .refuse = LOAD(&c->d->low_disk, RELAXED)},
    };
    int r = look_up(c, c->req->schedule_run, &v);

    if (r == 0)
        o.id = v.v[0].id;
    store_schedules_free(&v);
    if (r == 0 && LOAD(&c->d->draining, RELAXED))
        r = call_fail(c, PB_ERROR__CODE__UNAVAILABLE, NULL,
                      "the daemon is shutting down");
    if (r < 0)
        return r;
    if (c->req->has_request_id && c->req->request_id.len > 0) {
        o.run.request = c->req->request_id.data;
        o.run.request_len = c->req->request_id.len;
    }
    r = store_writer_do(c->d->writer, &o.op);
    if (r == -EAGAIN) {
        (void)call_fail(c, PB_ERROR__CODE__BUSY, NULL,
                        "there is no room for its jobs now");
        c->rep->error->retry_after = call_duration(c, GO_SECOND);
        return r;
    }
    if (r < 0)
        return call_store_failed(c, r, o.run.why[0] != '\0' ? o.run.why : o.op.err);
    if (o.run.deadline)
        watch_deadlines(c->d->watch);
    return reply_run(c, o.batch);
}

/* --- list and next ----------------------------------------------------------------------- */

static int
list_page(struct call *c, int64_t *after, size_t max, size_t *bytes,
          PbScheduleListReply *rep)
{
    struct store_schedules v = {.v = NULL};
    int r = CALL_READ(c, rd, store_read_schedules(rd, *after, max, &v));
    size_t n = v.n;

    for (size_t i = 0; r == 0 && i < n; i++) {
        PbSchedule *s = schedulepb_make(c, &v.v[i]);

        r = s != NULL ? 0 : -ENOBUFS;
        if (r == 0)
            rep->schedules[rep->n_schedules++] = s;
        *after = v.v[i].id;
        *bytes += v.v[i].spec_len;
    }
    store_schedules_free(&v);
    return r < 0 ? r : (int)n;
}

int
call_schedule_list(struct call *c)
{
    const PbScheduleList *in = c->req->schedule_list;
    size_t limit = PB_GET(in, limit, 0) > 0 ? in->limit : LIST_DFLT, bytes = 0, max;
    PbScheduleListReply *rep = call_new(c, &pb_schedule_list_reply__descriptor);
    int64_t after = (int64_t)PB_GET(in, after, 0);
    int r = 0;

    if (rep == NULL)
        return -ENOBUFS;
    limit = limit < LIST_MAX ? limit : LIST_MAX;
    rep->schedules = call_array(c, limit + 1, sizeof(*rep->schedules));
    if (rep->schedules == NULL)
        return -ENOBUFS;
    do {
        max = limit - rep->n_schedules < LIST_PAGE ? limit - rep->n_schedules : LIST_PAGE;
        r = list_page(c, &after, max, &bytes, rep);
        if (r < 0)
            return r;
    } while ((size_t)r == max && rep->n_schedules < limit && bytes < LIST_BYTES);
    if ((size_t)r == max)
        PB_SET(rep, next, (uint64_t)after);
    c->rep->reply_case = PB_RESPONSE__REPLY_SCHEDULE_LIST;
    c->rep->schedule_list = rep;
    return 0;
}

static int
reply_times(struct call *c, const struct sched_plan *plan, size_t n, int64_t from)
{
    PbScheduleNextReply *rep = call_new(c, &pb_schedule_next_reply__descriptor);
    int64_t *times = call_array(c, n + 1, sizeof(*times));

    if (rep == NULL || times == NULL)
        return -ENOBUFS;
    n = sched_plan_preview(plan, from, n, times);
    rep->times = call_array(c, n + 1, sizeof(*rep->times));
    if (rep->times == NULL)
        return -ENOBUFS;
    for (; rep->n_times < n; rep->n_times++) {
        rep->times[rep->n_times] = call_time_ms(c, times[rep->n_times]);
        if (rep->times[rep->n_times] == NULL)
            return -ENOBUFS;
    }
    c->rep->reply_case = PB_RESPONSE__REPLY_SCHEDULE_NEXT;
    c->rep->schedule_next = rep;
    return 0;
}

/* The times of what is asked about. 0, or refused. */
static int
plan_of(struct call *c, const struct sched_defaults *d, const PbScheduleNext *in,
        int64_t now, struct sched_plan *ret)
{
    struct schedule_error err;
    struct store_schedules v = {.v = NULL};
    int r;

    if (in->spec != NULL && in->ref != NULL)
        return call_fail(c, PB_ERROR__CODE__INVALID, "spec",
                         "give either ref or spec, not both");
    if (in->spec != NULL) {
        r = schedule_check_times(d, in->spec, now, ret, &err);
        return r < 0 ? refuse_spec(c, &err) : 0;
    }
    r = look_up(c, in->ref, &v);
    if (r == 0)
        r = schedulepb_plan(c, d, &v.v[0], ret);
    store_schedules_free(&v);
    return r;
}

int
call_schedule_next(struct call *c)
{
    const PbScheduleNext *in = c->req->schedule_next;
    size_t n = PB_GET(in, count, 0) > 0 ? in->count : NEXT_DFLT;
    int64_t now = daemon_now_ms();
    int64_t from = in->from != NULL ? pb_timestamp_ns(in->from, 0) / GO_MILLISECOND : now;
    struct schedule_view *view = schedules_view(c->d->schedules);
    struct sched_plan plan;
    int r = plan_of(c, &view->defaults, in, now, &plan);

    if (r == 0)
        r = reply_times(c, &plan, n < NEXT_MAX ? n : NEXT_MAX, from);
    schedule_view_unref(view);
    return r;
}
