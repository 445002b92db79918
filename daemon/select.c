#include "daemon/select.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/spec.h"
#include "daemon/store/queue.h"
#include "daemon/store/schedule.h"
#include "daemon/store/submit.h"
#include "proto/wire.h"
#include "runtime/go.h"

/* --- names ------------------------------------------------------------------------------- */

struct find_op {
    struct store_op op;
    const char *name;
    bool create;
    int64_t id;
};

static int
find_queue(struct store *st, struct store_op *op)
{
    struct find_op *f = (struct find_op *)op;

    return store_queue_find(st, f->name, f->create, &f->id);
}

int
select_batch(struct call *c, bool has_id, uint64_t id, const char *name, int64_t *ret)
{
    int r;

    *ret = has_id ? (int64_t)id : 0;
    if (has_id || name == NULL)
        return 0;
    r = CALL_READ(c, rd, store_read_batch_named(rd, name, ret));
    if (r == 0)
        (void)call_fail(c, PB_ERROR__CODE__NOT_FOUND, "name",
                        "there is no batch \"%.100s\"", name);
    return r > 0 ? 0 : r == 0 ? -ENOENT : r;
}

int
select_queue(struct call *c, const char *name, bool create, int64_t *ret)
{
    struct find_op f = {
        .op = {.run = find_queue, .nosync = !create}, .name = name, .create = create};
    int r = call_write(c, &f.op);

    *ret = f.id;
    return r;
}

/* The schedule that made the jobs; 0: any. */
static int
select_schedule(struct call *c, const PbSelector *in, int64_t *ret)
{
    struct store_schedules v = {.v = NULL};
    int r;

    *ret = (int64_t)PB_GET(in, schedule, 0);
    if (in->schedule_name == NULL)
        return 0;
    r = CALL_READ(c, rd, store_read_schedule(rd, in->schedule_name, 0, &v));
    if (r == 0) {
        (void)call_fail(c, PB_ERROR__CODE__NOT_FOUND, "schedule_name",
                        "there is no schedule \"%.100s\"", in->schedule_name);
        r = -ENOENT;
    }
    if (r > 0)
        *ret = v.v[0].id;
    store_schedules_free(&v);
    return r < 0 ? r : 0;
}

/* --- the selection ----------------------------------------------------------------------- */

bool
select_empty(const PbSelector *in)
{
    return in == NULL ||
           (in->n_jobs == 0 && !in->has_batch && in->batch_name == NULL &&
            in->n_states == 0 && in->n_kinds == 0 && in->queue == NULL &&
            in->n_labels == 0 && in->name == NULL && in->finished_before == NULL &&
            !in->has_schedule && in->schedule_name == NULL);
}

static unsigned
state_bits(PbJob__State s)
{
    static const unsigned bits[] = {
        [PB_JOB__STATE__STATE_SCHEDULED] = 1u << STORE_SCHEDULED | 1u << STORE_BLOCKED,
        [PB_JOB__STATE__STATE_QUEUED] = 1u << STORE_QUEUED,
        [PB_JOB__STATE__STATE_RUNNING] = 1u << STORE_RUNNING,
        [PB_JOB__STATE__STATE_SUCCEEDED] = 1u << STORE_SUCCEEDED,
        [PB_JOB__STATE__STATE_FAILED] = 1u << STORE_FAILED,
        [PB_JOB__STATE__STATE_CANCELLED] = 1u << STORE_CANCELLED,
        [PB_JOB__STATE__STATE_DEAD] = 1u << STORE_DEAD,
    };

    return (unsigned)s < sizeof(bits) / sizeof(bits[0]) ? bits[s] : 0;
}

/* What is no state or kind, or that of a newer client, must not select as if nothing had been
 * said: it would mean all jobs. */
static int
check_words(struct call *c, const PbSelector *in)
{
    for (size_t i = 0; i < in->n_states; i++)
        if (state_bits(in->states[i]) == 0)
            return call_fail(c, PB_ERROR__CODE__INVALID, "select.states",
                             "%d is not the state of any job", (int)in->states[i]);
    for (size_t i = 0; i < in->n_kinds; i++)
        if (in->kinds[i] == PB_JOB__KIND__KIND_NONE ||
            protobuf_c_enum_descriptor_get_value(&pb_job__kind__descriptor,
                                                 (int)in->kinds[i]) == NULL)
            return call_fail(c, PB_ERROR__CODE__INVALID, "select.kinds",
                             "%d is not the kind of any job", (int)in->kinds[i]);
    return 0;
}

/* NULL: any. */
static const char *
label_value(const PbSelector__LabelsEntry *l)
{
    return l->value != NULL && l->value[0] != '\0' ? l->value : NULL;
}

int
select_init(struct call *c, const PbSelector *in, unsigned want, struct selection *ret)
{
    struct selection s = {.in = in, .f = {.kind = -1, .queue = -1}, .want = want};
    int r;

    if (in == NULL) {
        *ret = s;
        return 0;
    }
    r = check_words(c, in);
    if (r == 0)
        r = select_schedule(c, in, &s.f.schedule);
    if (r < 0)
        return r;
    r = select_batch(c, in->has_batch, in->batch, in->batch_name, &s.f.batch);
    if (r < 0)
        return r;
    if (in->queue != NULL) {
        r = select_queue(c, in->queue, false, &s.f.queue);
        if (r < 0)
            return r;
        s.nothing = r == 0;
    }
    for (size_t i = 0; i < in->n_states; i++)
        s.f.states |= state_bits(in->states[i]);
    if (in->n_kinds == 1)
        s.f.kind = (int)in->kinds[0];
    if (in->n_labels > 0) {
        s.f.label_key = in->labels[0]->key;
        s.f.label_value = label_value(in->labels[0]);
    }
    s.look = in->n_kinds > 1 || in->name != NULL || in->finished_before != NULL ||
             in->n_labels > 1 || in->n_jobs > 0;
    if (in->name != NULL)
        s.want |= STORE_WANT_SPEC;
    *ret = s;
    return 0;
}

int64_t
select_whole_batch(const struct selection *s)
{
    PbSelector rest;

    if (s->in == NULL || s->f.batch == 0)
        return 0;
    rest = *s->in;
    rest.has_batch = 0;
    rest.batch_name = NULL;
    return select_empty(&rest) ? s->f.batch : 0;
}

/* --- what the store does not know -------------------------------------------------------- */

static bool
has_name(const struct store_job *j, const char *name)
{
    struct proto_arena a;
    struct proto_err err = {.text = ""};
    ProtobufCMessage *m;
    const PbJobSpec *spec;
    bool match = false;

    proto_arena_init(&a, 1 << 20);
    if (proto_unpack(&pb_job_spec__descriptor, j->spec, spec_head(j->spec, j->spec_len),
                     PROTO_TRUST, &a, &m, &err) == 0) {
        spec = (const PbJobSpec *)(const void *)m;
        match = spec->name != NULL && strcmp(name, spec->name) == 0;
    }
    proto_arena_free(&a);
    return match;
}

/* All labels but the first `known`, which the store has looked at: 1, 0, or refused. */
static int
has_labels(struct call *c, const PbSelector *in, size_t known, const struct store_job *j)
{
    int r = 1;

    for (size_t i = known; r > 0 && i < in->n_labels; i++)
        r = CALL_READ(c, rd,
                      store_read_has_label(rd, j->id, j->batch, in->labels[i]->key,
                                           label_value(in->labels[i])));
    return r;
}

static bool
in_ids(const PbSelector *in, int64_t id)
{
    for (size_t i = 0; i < in->n_jobs; i++)
        if ((int64_t)in->jobs[i] == id)
            return true;
    return in->n_jobs == 0;
}

static bool
kind_matches(const PbSelector *in, const struct store_job *j)
{
    for (size_t i = 0; i < in->n_kinds; i++)
        if ((int)in->kinds[i] == STORE_LANE_KIND(j->lane))
            return true;
    return in->n_kinds == 0;
}

/* 1, 0, or refused. */
static int
matches(struct call *c, const struct selection *s, const struct store_job *j)
{
    const PbSelector *in = s->in;

    if (in == NULL) /* List of everything */
        return 1;
    if (!kind_matches(in, j) || !in_ids(in, j->id))
        return 0;
    if (in->finished_before != NULL &&
        (j->finished == 0 ||
         j->finished >= pb_timestamp_ns(in->finished_before, 0) / GO_MILLISECOND))
        return 0;
    if (in->name != NULL && !has_name(j, in->name))
        return 0;
    return has_labels(c, in, in->n_jobs > 0 ? 0 : 1, j);
}

int
select_matches(struct call *c, const struct selection *s, const struct store_job *j)
{
    const PbSelector *in = s->in;

    if (!kind_matches(in, j) || !in_ids(in, j->id) ||
        (s->f.queue >= 0 && STORE_LANE_QUEUE(j->lane) != s->f.queue) ||
        (s->f.schedule != 0 && j->schedule != s->f.schedule) ||
        (in->name != NULL && !has_name(j, in->name)))
        return 0;
    return has_labels(c, in, 0, j);
}

/* Drops what does not match. 0, or refused. */
static int
sift(struct call *c, const struct selection *s, struct store_jobs *jobs)
{
    size_t n = 0;
    int r = 0;

    for (size_t i = 0; r >= 0 && i < jobs->n; i++) {
        r = matches(c, s, &jobs->v[i]);
        if (r > 0) {
            struct store_job j = jobs->v[n];

            jobs->v[n++] = jobs->v[i];
            if (n - 1 != i)
                jobs->v[i] = j;
        }
    }
    for (size_t i = n; i < jobs->n; i++) {
        free(jobs->v[i].spec);
        free(jobs->v[i].result);
    }
    jobs->n = n;
    return r < 0 ? r : 0;
}

/* One of the jobs named by id; the cursor counts them. */
static int
next_by_id(struct call *c, struct selection *s, int64_t *cursor, struct store_jobs *ret)
{
    const PbSelector *in = s->in;
    int r =
        CALL_READ(c, rd, store_read_job(rd, (int64_t)in->jobs[*cursor], s->want, ret));
    const struct store_job *j = ret->v;

    *cursor = (size_t)*cursor + 1 < in->n_jobs ? *cursor + 1 : 0;
    if (r > 0 && ((s->f.batch != 0 && j->batch != s->f.batch) ||
                  (s->f.schedule != 0 && j->schedule != s->f.schedule) ||
                  (s->f.states != 0 && !(s->f.states & 1u << j->state)) ||
                  (s->f.queue >= 0 && STORE_LANE_QUEUE(j->lane) != s->f.queue)))
        store_jobs_free(ret);
    return r < 0 ? r : 0;
}

int
select_next(struct call *c, struct selection *s, int64_t *cursor, size_t max,
            struct store_jobs *ret)
{
    int r;

    *ret = (struct store_jobs){.v = NULL};
    if (s->nothing) {
        *cursor = 0;
        return 0;
    }
    if (s->in != NULL && s->in->n_jobs > 0) {
        r = next_by_id(c, s, cursor, ret);
    } else {
        r = CALL_READ(c, rd, store_read_jobs(rd, &s->f, *cursor, max, s->want, ret));
        *cursor = r < 0 ? 0 : ret->next;
    }
    if (r == 0 && s->look && ret->n > 0)
        r = sift(c, s, ret);
    if (r < 0)
        store_jobs_free(ret);
    return r < 0 ? r : 0;
}
