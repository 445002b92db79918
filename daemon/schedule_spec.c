#include "daemon/schedule_spec.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/spec.h"
#include "daemon/store/store.h"
#include "proto/wire.h"

/* --- checks ------------------------------------------------------------------------------ */

static int refuse(struct schedule_error *err, PbError__Code code, const char *field,
                  const char *fmt, ...) __attribute__((format(printf, 4, 5)));

static int
refuse(struct schedule_error *err, PbError__Code code, const char *field, const char *fmt,
       ...)
{
    va_list ap;

    err->code = code;
    (void)snprintf(err->field, sizeof(err->field), "%s", field);
    va_start(ap, fmt);
    (void)vsnprintf(err->text, sizeof(err->text), fmt, ap);
    va_end(ap);
    return -EINVAL;
}

int
schedule_check_times(const struct sched_defaults *d, const PbScheduleSpec *s,
                     int64_t now_ms, struct sched_plan *ret, struct schedule_error *err)
{
    struct proto_err why = {.text = ""};
    int r = sched_plan_read(s, d, 0, now_ms, ret, &why);

    err->job = -1;
    if (r == -ENOMEM)
        return refuse(err, PB_ERROR__CODE__INTERNAL, "", "out of memory");
    return r < 0 ? refuse(err, PB_ERROR__CODE__INVALID, why.field, "%s", why.text) : 0;
}

static int
check_name(const char *name, struct schedule_error *err)
{
    if (name == NULL)
        return 0;
    if (name[0] == '\0')
        return refuse(err, PB_ERROR__CODE__INVALID, "name", "name is empty");
    if (strlen(name) > SCHEDULE_NAME_MAX)
        return refuse(err, PB_ERROR__CODE__INVALID, "name",
                      "name is longer than %d bytes", SCHEDULE_NAME_MAX);
    if (strspn(name, "0123456789") == strlen(name))
        return refuse(err, PB_ERROR__CODE__INVALID, "name",
                      "name is a number, as ids are: it could not be told from one");
    return 0;
}

/* What makes sense for one submission, but not for one made again and again. */
static int
check_again(const PbJobSpec *j, struct job_error *err)
{
    if (j->key != NULL)
        return job_error_set(err, PB_ERROR__CODE__INVALID, "key",
                             "key would make each run's job the first run's");
    if (j->at != NULL)
        return job_error_set(err, PB_ERROR__CODE__INVALID, "at",
                             "at is one moment, which the schedule names; after counts "
                             "from each run");
    return 0;
}

static int
check_jobs(struct job_env *env, const PbScheduleSpec *s, struct schedule_error *err)
{
    const struct config *cfg = job_env_config(env);

    if (s->n_jobs == 0)
        return refuse(err, PB_ERROR__CODE__INVALID, "jobs", "a schedule needs jobs");
    if (s->n_jobs > (size_t)cfg->limits.jobs_per_message || s->n_jobs > STORE_MESSAGE_MAX)
        return refuse(err, PB_ERROR__CODE__TOO_LARGE, "jobs",
                      "%zu jobs; limits.jobs_per_message allows %lld", s->n_jobs,
                      (long long)cfg->limits.jobs_per_message);
    for (size_t i = 0; i < s->n_jobs; i++) {
        struct job_error why = {.message = ""};
        char field[192];
        int r = spec_check(env, s->jobs[i], &why);

        if (r == 0)
            r = check_again(s->jobs[i], &why);
        if (r == 0)
            continue;
        err->job = (int64_t)i;
        (void)snprintf(field, sizeof(field), "jobs[%zu]%s%s", i,
                       why.field[0] != '\0' ? "." : "", why.field);
        return refuse(err, (PbError__Code)why.code, field, "%s", why.message);
    }
    return 0;
}

static int
refuse_sibling(struct schedule_error *err, size_t job, size_t k, const char *why)
{
    char field[64];

    err->job = (int64_t)job;
    (void)snprintf(field, sizeof(field), "jobs[%zu].needs.siblings[%zu]", job, k);
    return refuse(err, PB_ERROR__CODE__INVALID, field, "siblings[%zu]: %s", k, why);
}

/* Jobs that need others by place name places there are, and none waits for itself: each
 * round lets those go that wait for none of the rest. */
static int
check_siblings(const PbScheduleSpec *s, struct schedule_error *err)
{
    bool *gone = calloc(s->n_jobs, sizeof(*gone));
    bool more = true;
    size_t waits = 0;

    if (gone == NULL)
        return refuse(err, PB_ERROR__CODE__INTERNAL, "", "out of memory");
    while (more) {
        more = false;
        for (size_t i = 0; i < s->n_jobs; i++) {
            const PbNeeds *n = s->jobs[i]->needs;
            size_t left = n != NULL ? n->n_siblings : 0;

            for (size_t j = 0; !gone[i] && n != NULL && j < n->n_siblings; j++) {
                if (n->siblings[j] >= s->n_jobs) {
                    free(gone);
                    return refuse_sibling(err, i, j, "there is no such job");
                }
                left -= gone[n->siblings[j]];
            }
            if (!gone[i] && left == 0)
                gone[i] = more = true;
        }
    }
    while (waits < s->n_jobs && gone[waits])
        waits++;
    free(gone);
    return waits < s->n_jobs
               ? refuse_sibling(err, waits, 0, "a cycle: the job waits for itself")
               : 0;
}

static int
check_batch(const PbBatchSpec *b, struct schedule_error *err)
{
    if (b == NULL)
        return 0;
    if (pb_duration_ns(b->timeout, 0) < 0)
        return refuse(err, PB_ERROR__CODE__INVALID, "batch.timeout",
                      "timeout is negative");
    if (b->deadline != NULL)
        return refuse(err, PB_ERROR__CODE__INVALID, "batch.deadline",
                      "deadline is one moment for all runs; timeout counts from each");
    return 0;
}

int
schedule_check(struct job_env *env, const struct sched_defaults *d,
               const PbScheduleSpec *s, int64_t now_ms, struct sched_plan *ret,
               struct schedule_error *err)
{
    int r = schedule_check_times(d, s, now_ms, ret, err);

    if (r == 0)
        r = check_name(s->name, err);
    if (r == 0)
        r = check_jobs(env, s, err);
    if (r == 0)
        r = check_siblings(s, err);
    if (r == 0)
        r = check_batch(s->batch, err);
    if (r == 0 && protobuf_c_message_get_packed_size(PB_BASE(s)) > SCHEDULE_SPEC_MAX)
        r = refuse(err, PB_ERROR__CODE__TOO_LARGE, "jobs",
                   "a schedule's jobs have at most %d MiB together",
                   SCHEDULE_SPEC_MAX >> 20);
    return r;
}

/* --- the row ----------------------------------------------------------------------------- */

static bool
same_text(const char *a, const char *b)
{
    return strcmp(a != NULL ? a : "", b != NULL ? b : "") == 0;
}

static bool
same_times(const PbScheduleSpec *a, const PbScheduleSpec *b)
{
    return pb_timestamp_ns(a->at, 0) == pb_timestamp_ns(b->at, 0) &&
           pb_timestamp_ns(a->until, 0) == pb_timestamp_ns(b->until, 0) &&
           pb_duration_ns(a->every, 0) == pb_duration_ns(b->every, 0) &&
           same_text(a->cron, b->cron) && same_text(a->tz, b->tz);
}

/* Whether the stored one has the same times. 1, 0 or -errno. */
static int
times_stand(struct store *st, int64_t id, const PbScheduleSpec *s)
{
    struct proto_err err = {.text = ""};
    struct proto_arena a;
    ProtobufCMessage *m;
    void *data = NULL;
    size_t len = 0;
    int r = store_schedule_spec(st, id, &data, &len);

    if (r < 0)
        return r;
    proto_arena_init(&a, SCHEDULE_SPEC_MAX * 8);
    if (proto_unpack(&pb_schedule_spec__descriptor, data, len, PROTO_TRUST, &a, &m,
                     &err) == 0)
        r = same_times((const PbScheduleSpec *)(const void *)m, s);
    proto_arena_free(&a);
    free(data);
    return r;
}

/* created and next_at: see schedule_put(). row->paused is set. */
static int
place(struct store *st, const PbScheduleSpec *s, const struct sched_plan *plan,
      const struct store_schedule_head *old, int64_t now_ms, struct store_schedule *row)
{
    struct sched_plan p = *plan;
    int64_t next;
    int r = old != NULL ? times_stand(st, old->id, s) : 0;

    if (r < 0)
        return r;
    row->created = now_ms;
    next = sched_plan_first(&p, now_ms);
    if (r > 0) {
        row->created = old->created;
        if (p.kind == SCHED_EVERY && s->at == NULL)
            p.start = old->created + p.every;
        next = old->next_at != 0 ? old->next_at : SCHED_NEVER;
        if (old->paused && !row->paused) /* as if resumed */
            next = sched_plan_next(&p, now_ms);
    } else if (old != NULL && p.kind == SCHED_AT && old->last_at >= p.start) {
        next = SCHED_NEVER; /* that moment has had its run */
    }
    row->next_at = next == SCHED_NEVER ? 0 : next;
    return 0;
}

/* "schedule-7", or what is free. */
static int
make_name(struct store *st, char out[64])
{
    struct store_schedule_head h;
    long long id = (long long)store_schedule_next_id(st);
    int r = 1;

    for (int i = 1; r > 0; i++) {
        (void)snprintf(out, 64, i == 1 ? "schedule-%lld" : "schedule-%lld-%d", id, i);
        r = store_schedule_find(st, out, 0, &h);
    }
    return r;
}

int
schedule_put(struct store *st, const PbScheduleSpec *s, const struct sched_plan *plan,
             bool config, const struct store_schedule_head *old, int64_t *ret_id)
{
    PbScheduleSpec named = *s;
    struct store_schedule row = {
        .paused = PB_GET(s, paused, 0),
        .config = config,
    };
    char name[64];
    int r = s->name == NULL ? make_name(st, name) : 0;

    if (r == 0)
        r = place(st, s, plan, old, store_now(st), &row);
    if (r < 0)
        return r;
    if (named.name == NULL)
        named.name = name;
    row.name = named.name;
    row.spec_len = protobuf_c_message_get_packed_size(PB_BASE(&named));
    row.spec = malloc(row.spec_len + 1);
    if (row.spec == NULL)
        return -ENOMEM;
    (void)protobuf_c_message_pack(PB_BASE(&named), row.spec);
    r = store_schedule_put(st, &row, ret_id);
    free(row.spec);
    return r;
}
