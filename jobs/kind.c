#include "jobs/kind.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "config/config.h"
#include "jobs/env.h"
#include "proto/units.h"
#include "proto/utf8.h"
#include "proto/wire.h"
#include "runtime/base/atomic.h"
#include "runtime/go.h"

/* A result in memory is larger than on the wire, by pointers and headers. */
#define RESULT_FACTOR 8
#define RESULT_SPARE  65536

static const struct job_kind *const kinds[] = {
    &job_fetch, &job_read, &job_sum, &job_sql, &job_timer,
};

int
job_error_set(struct job_error *e, int code, const char *field, const char *fmt, ...)
{
    va_list ap;

    if (e->message[0] != '\0')
        return -EINVAL;
    e->code = code;
    (void)snprintf(e->field, sizeof(e->field), "%s", field != NULL ? field : "");
    va_start(ap, fmt);
    (void)vsnprintf(e->message, sizeof(e->message), fmt, ap);
    va_end(ap);
    utf8_clean(e->field, strlen(e->field));
    utf8_clean(e->message, strlen(e->message));
    return -EINVAL;
}

const struct job_kind *
job_kind_find(int kind)
{
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
        if (kinds[i]->kind == kind)
            return kinds[i];
    return NULL;
}

int
job_validate(struct job_env *env, const PbJobSpec *spec, struct job_error *err)
{
    const struct job_kind *kind = job_kind_find((int)spec->kind_case);

    if (kind == NULL)
        return job_error_set(err, PB_ERROR__CODE__INVALID, NULL,
                             "the job says nothing to do: one of fetch, read, sum, sql, "
                             "timer is needed");
    return kind->validate(env, spec, err);
}

void
job_run_init(struct job_run *run, struct job_env *env, struct go_ctx *ctx,
             const PbJobSpec *spec)
{
    size_t limit = (size_t)job_env_config(env)->limits.result;

    *run = (struct job_run){
        .env = job_env_ref(env),
        .ctx = go_ctx_ref(ctx),
        .spec = spec,
        .kind = job_kind_find((int)spec->kind_case),
    };
    proto_arena_init(&run->mem, limit * RESULT_FACTOR + RESULT_SPARE);
    if (run->kind != NULL)
        run->progress.unit = run->kind->unit;
}

/* The packed size is what the configuration bounds. */
static int
check_size(struct job_run *run)
{
    size_t limit = (size_t)job_env_config(run->env)->limits.result;
    size_t size;

    if (run->result == NULL)
        return 0;
    size = protobuf_c_message_get_packed_size(PB_BASE(run->result));
    if (size <= limit)
        return 0;
    run->result = NULL;
    (void)job_error_set(&run->err, PB_ERROR__CODE__TOO_LARGE, NULL,
                        "the result has %zu bytes, more than limits.result allows (%zu)",
                        size, limit);
    return -EFBIG;
}

int
job_run(struct job_run *run)
{
    int r = job_run_check(run);

    if (r < 0)
        return r;
    r = job_validate(run->env, run->spec, &run->err);
    if (r < 0)
        return r;
    r = run->kind->run(run);
    if (r >= 0)
        r = check_size(run);
    else if (check_size(run) < 0)
        run->result = NULL;
    return r;
}

void
job_run_fini(struct job_run *run)
{
    proto_arena_free(&run->mem);
    run->result = NULL;
    go_ctx_unref(run->ctx);
    job_env_unref(run->env);
    run->ctx = NULL;
    run->env = NULL;
}

int
job_run_check(struct job_run *run)
{
    int r = go_ctx_err(run->ctx);

    return r == 0 ? 0 : job_run_ended(run, r);
}

int
job_run_ended(struct job_run *run, int r)
{
    char limit[UNITS_TEXT_MAX];

    if (r == -ETIMEDOUT && run->spec->timeout != NULL) {
        units_format_duration(pb_duration_ns(run->spec->timeout, 0), limit);
        (void)job_error_set(&run->err, PB_ERROR__CODE__TIMEOUT, NULL,
                            "not done within its timeout of %s", limit);
    } else if (r == -ETIMEDOUT)
        (void)job_error_set(&run->err, PB_ERROR__CODE__TIMEOUT, NULL,
                            "not done within the time that defaults.timeout gives");
    else
        (void)job_error_set(&run->err, PB_ERROR__CODE__CANCELLED, NULL, "cancelled");
    return r;
}

int
job_run_too_large(struct job_run *run)
{
    (void)job_error_set(&run->err, PB_ERROR__CODE__TOO_LARGE, NULL,
                        "the result is larger than limits.result allows (%lld bytes)",
                        (long long)job_env_config(run->env)->limits.result);
    return -ENOBUFS;
}

void *
job_new(struct job_run *run, const ProtobufCMessageDescriptor *desc)
{
    return proto_new(&run->mem, desc);
}

int64_t
job_realtime(void)
{
    struct timespec ts;

    (void)clock_gettime(CLOCK_REALTIME, &ts);
    return (int64_t)ts.tv_sec * GO_SECOND + ts.tv_nsec;
}

PbDuration *
job_duration(struct job_run *run, int64_t ns)
{
    PbDuration *d = job_new(run, &pb_duration__descriptor);

    if (d != NULL)
        PB_SET(d, ns, ns);
    return d;
}
