#include "daemon/spec.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#include "daemon/store/store.h"
#include "runtime/time/timer.h"

enum {
    NAME_MAX_BYTES = 256,
    KEY_MAX_BYTES = 256,
    QUEUE_MAX_BYTES = 64,
    PRIORITY_MAX = 1000,
    NEEDS_MAX = STORE_MESSAGE_MAX,
};

static int
check_text(struct job_error *err, const char *field, const char *s, size_t max)
{
    if (s == NULL)
        return 0;
    if (s[0] == '\0')
        return job_error_set(err, PB_ERROR__CODE__INVALID, field, "%s is empty", field);
    if (strlen(s) > max)
        return job_error_set(err, PB_ERROR__CODE__INVALID, field,
                             "%s is longer than %zu bytes", field, max);
    return 0;
}

static int
check_times(const struct config *cfg, const PbJobSpec *s, struct job_error *err)
{
    int64_t timeout = pb_duration_ns(s->timeout, 0);

    if (timeout < 0)
        return job_error_set(err, PB_ERROR__CODE__INVALID, "timeout",
                             "timeout is negative");
    if (timeout > cfg->limits.timeout)
        return job_error_set(err, PB_ERROR__CODE__INVALID, "timeout",
                             "timeout is above limits.timeout (%lld s)",
                             (long long)(cfg->limits.timeout / GO_SECOND));
    if (pb_duration_ns(s->after, 0) < 0)
        return job_error_set(err, PB_ERROR__CODE__INVALID, "after", "after is negative");
    if (s->at != NULL && s->after != NULL)
        return job_error_set(err, PB_ERROR__CODE__INVALID, "after",
                             "give either at or after, not both");
    return 0;
}

static int
check_backoff(const PbBackoff *b, struct job_error *err)
{
    if (b == NULL)
        return 0;
    if (pb_duration_ns(b->initial, 0) < 0)
        return job_error_set(err, PB_ERROR__CODE__INVALID, "backoff.initial",
                             "backoff.initial is negative");
    if (pb_duration_ns(b->max, 0) < 0)
        return job_error_set(err, PB_ERROR__CODE__INVALID, "backoff.max",
                             "backoff.max is negative");
    if (b->has_factor && !(b->factor >= 1 && b->factor <= 100))
        return job_error_set(err, PB_ERROR__CODE__INVALID, "backoff.factor",
                             "backoff.factor is not between 1 and 100");
    if (b->has_jitter && !(b->jitter >= 0 && b->jitter <= 1))
        return job_error_set(err, PB_ERROR__CODE__INVALID, "backoff.jitter",
                             "backoff.jitter is not between 0 and 1");
    return 0;
}

size_t
spec_needs_count(const PbNeeds *n)
{
    return n == NULL
               ? 0
               : n->n_jobs + n->n_batches + n->n_batch_names + n->n_keys + n->n_siblings;
}

static int
check_needs(const PbNeeds *n, struct job_error *err)
{
    if (n == NULL)
        return 0;
    if (spec_needs_count(n) == 0)
        return job_error_set(err, PB_ERROR__CODE__INVALID, "needs",
                             "needs names nothing to wait for");
    if (spec_needs_count(n) > NEEDS_MAX)
        return job_error_set(err, PB_ERROR__CODE__INVALID, "needs",
                             "needs names more than %d", NEEDS_MAX);
    return 0;
}

int
spec_check(struct job_env *env, const PbJobSpec *s, struct job_error *err)
{
    const struct config *cfg = job_env_config(env);
    int r = job_validate(env, s, err);

    if (r == 0)
        r = check_text(err, "name", s->name, NAME_MAX_BYTES);
    if (r == 0)
        r = check_text(err, "key", s->key, KEY_MAX_BYTES);
    if (r == 0)
        r = check_text(err, "queue", s->queue, QUEUE_MAX_BYTES);
    if (r == 0 && (s->priority < -PRIORITY_MAX || s->priority > PRIORITY_MAX))
        r = job_error_set(err, PB_ERROR__CODE__INVALID, "priority",
                          "priority is not between %d and %d", -PRIORITY_MAX,
                          PRIORITY_MAX);
    if (r == 0 && s->has_retries && s->retries > cfg->limits.retries)
        r = job_error_set(err, PB_ERROR__CODE__INVALID, "retries",
                          "retries is above limits.retries (%lld)",
                          (long long)cfg->limits.retries);
    if (r == 0)
        r = check_times(cfg, s, err);
    if (r == 0)
        r = check_backoff(s->backoff, err);
    return r == 0 ? check_needs(s->needs, err) : r;
}

struct store_label *
spec_labels(struct proto_arena *a, void *const *entries, size_t n)
{
    struct store_label *v = proto_arena_alloc(a, n * sizeof(*v));

    for (size_t i = 0; v != NULL && i < n; i++) {
        const PbJobSpec__LabelsEntry *e =
            entries[i]; /* all maps of strings look like this */

        v[i] = (struct store_label){e->key != NULL ? e->key : "",
                                    e->value != NULL ? e->value : ""};
    }
    return v;
}

int
spec_settle(const PbJobSpec *spec, const struct store_dep *deps, size_t n_deps,
            struct proto_arena *a, struct store_new_job *j)
{
    PbJobSpec settled = *spec;
    PbNeeds needs = PB_NEEDS__INIT;
    uint64_t *ids = proto_arena_alloc(a, 2 * n_deps * sizeof(*ids));
    uint8_t *packed;

    if (ids == NULL)
        return -ENOBUFS;
    needs.jobs = ids;
    needs.batches = ids + n_deps;
    needs.has_on = spec->needs->has_on;
    needs.on = spec->needs->on;
    for (size_t k = 0; k < n_deps; k++)
        if (deps[k].on_job)
            needs.jobs[needs.n_jobs++] = (uint64_t)deps[k].id;
        else
            needs.batches[needs.n_batches++] = (uint64_t)deps[k].id;
    settled.needs = &needs;
    j->spec_len = protobuf_c_message_get_packed_size(PB_BASE(&settled));
    packed = proto_arena_alloc(a, j->spec_len);
    if (packed == NULL)
        return -ENOBUFS;
    (void)protobuf_c_message_pack(PB_BASE(&settled), packed);
    j->spec = packed;
    return 0;
}

/* Up to the next millisecond: nothing is early. */
static int64_t
ms_up(int64_t ns)
{
    return ns / GO_MILLISECOND + (ns % GO_MILLISECOND > 0);
}

int64_t
spec_time_after(int64_t now_ms, int64_t ns)
{
    int64_t at = now_ms + ms_up(ns), max = INT64_MAX / GO_MILLISECOND;

    return at < max ? at : max;
}

int64_t
spec_deadline(const PbTimestamp *t)
{
    int64_t ns = pb_timestamp_ns(t, 0), ms = ns / GO_MILLISECOND;

    return ns == 0 || ms > 0 ? ms : 1;
}

int
spec_row(const struct config *cfg, const PbJobSpec *s, int64_t now_ms,
         struct proto_arena *a, struct store_new_job *ret)
{
    struct store_new_job j = {
        .lane = STORE_LANE(0, s->kind_case, false),
        .prio = PB_GET(s, priority, (int32_t)cfg->defaults.priority),
        .key = s->key,
        .n_labels = s->n_labels,
        .spec_len = protobuf_c_message_get_packed_size(PB_BASE(s)),
    };
    uint8_t *packed = proto_arena_alloc(a, j.spec_len);

    if (packed == NULL)
        return -ENOBUFS;
    (void)protobuf_c_message_pack(PB_BASE(s), packed);
    j.spec = packed;
    if (s->n_labels > 0) {
        j.labels = spec_labels(a, (void *const *)s->labels, s->n_labels);
        if (j.labels == NULL)
            return -ENOBUFS;
    }
    if (s->at != NULL)
        j.run_at = spec_time_after(0, pb_timestamp_ns(s->at, 0));
    else if (s->after != NULL)
        j.run_at = spec_time_after(now_ms, pb_duration_ns(s->after, 0));
    *ret = j;
    return 0;
}

/* A varint: its length, 0 when it is cut off. */
static size_t
varint(const uint8_t *p, size_t len, uint64_t *ret)
{
    uint64_t v = 0;

    for (size_t i = 0; i < len && i < 10; i++) {
        v |= (uint64_t)(p[i] & 0x7f) << (7 * i);
        if (!(p[i] & 0x80)) {
            *ret = v;
            return i + 1;
        }
    }
    return 0;
}

/* The length of a field's value that begins at p, 0 for what is not one. */
static size_t
value_length(const uint8_t *p, size_t len, unsigned wire)
{
    uint64_t v;
    size_t n;

    switch (wire) {
    case 0:
        return varint(p, len, &v);
    case 1:
        return len >= 8 ? 8 : 0;
    case 2:
        n = varint(p, len, &v);
        return n > 0 && v <= len - n ? n + (size_t)v : 0;
    case 5:
        return len >= 4 ? 4 : 0;
    default:
        return 0;
    }
}

size_t
spec_head(const void *spec, size_t len)
{
    const uint8_t *p = spec;
    size_t at = 0;

    while (at < len) {
        uint64_t tag;
        size_t n = varint(p + at, len - at, &tag), value;

        if (n == 0 || tag >> 3 >= PB_JOB__KIND__KIND_FETCH)
            break;
        value = value_length(p + at + n, len - at - n, (unsigned)tag & 7);
        if (value == 0)
            break;
        at += n + value;
    }
    return at;
}
