/*
 * Jobs as their users see them: a configuration in YAML, a spec in JSON, the result in JSON.
 *
 *     struct job_env *env = env_of("files: {roots: [%s]}", dir);
 *     struct outcome o;
 *     run_job(env, NULL, &o, "{\"sum\": {\"numbers\": [1, 2]}}");
 *     CHECK_HAS(o.json, "\"sum\":3");
 *     job_env_unref(env);
 */
#ifndef GOJOBD_TESTS_JOBS_JOBTEST_H
#define GOJOBD_TESTS_JOBS_JOBTEST_H

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/support/gotest.h"

#include "config/config.h"
#include "jobs/env.h"
#include "jobs/kind.h"
#include "proto/json.h"

#define MS INT64_C(1000000)

/* Beyond this a cancelled job is late: 50 ms is the promise, the rest is for a busy machine
 * under sanitizers. */
#define CANCEL_LIMIT (1500 * MS)

struct outcome {
    int r;    /* of job_run() */
    int code; /* PbError__Code */
    char field[128];
    char message[384];
    char json[16384]; /* of the result; "" without one */
    uint64_t done, total;
};

#define CHECK_HAS(text, part)                                                            \
    do {                                                                                 \
        if (strstr((text), (part)) == NULL) {                                            \
            __atomic_fetch_add(&gotest_failures, 1, __ATOMIC_RELAXED);                   \
            fprintf(stderr, "%s:%d: %s: \"%s\" is not in: %s\n", __FILE__, __LINE__,     \
                    __func__, (part), (text));                                           \
        }                                                                                \
    } while (0)

/* Never fails but by a REQUIRE. */
__attribute__((format(printf, 1, 2))) static inline struct config *
config_of(const char *fmt, ...)
{
    char text[8192];
    struct cfg_err err;
    struct config *cfg = NULL;
    va_list ap;
    int n;

    va_start(ap, fmt);
    n = vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    REQUIRE(n >= 0 && (size_t)n < sizeof(text));
    if (cfg_parse("test.yaml", text, (size_t)n, &cfg, &err) < 0) {
        fprintf(stderr, "%s\n", err.text);
        REQUIRE(false);
    }
    return cfg;
}

static inline struct job_env *
env_with(struct config *cfg)
{
    struct job_env *env = NULL;

    REQUIRE(job_env_new(cfg, &env) == 0);
    return env;
}

#define env_of(...) env_with(config_of(__VA_ARGS__))

static inline PbJobSpec *
spec_of(const char *json, struct proto_arena *a)
{
    struct proto_err err = {0};
    ProtobufCMessage *m = NULL;

    proto_arena_init(a, (size_t)256 << 20);
    if (proto_json_parse(&pb_job_spec__descriptor, json, strlen(json), a, &m, &err) < 0) {
        fprintf(stderr, "%s: %s\n", json, err.text);
        REQUIRE(false);
    }
    return (PbJobSpec *)m;
}

/* PARKS. ctx may be NULL. */
static inline void
run_spec(struct job_env *env, struct go_ctx *ctx, const PbJobSpec *spec,
         struct outcome *o)
{
    struct proto_buf b = {0};
    struct job_run run;

    memset(o, 0, sizeof(*o));
    job_run_init(&run, env, ctx != NULL ? ctx : go_ctx_background(), spec);
    o->r = job_run(&run);
    o->code = run.err.code;
    o->done = run.progress.done;
    o->total = run.progress.total;
    (void)snprintf(o->field, sizeof(o->field), "%s", run.err.field);
    (void)snprintf(o->message, sizeof(o->message), "%s", run.err.message);
    if (run.result != NULL) {
        CHECK(proto_json_print(PB_BASE(run.result), &b) == 0);
        (void)snprintf(o->json, sizeof(o->json), "%s", b.data);
    }
    CHECK((o->r == 0) == (run.err.message[0] == '\0'));
    proto_buf_free(&b);
    job_run_fini(&run);
}

__attribute__((format(printf, 4, 5))) static inline void
run_job(struct job_env *env, struct go_ctx *ctx, struct outcome *o, const char *fmt, ...)
{
    char *json = NULL;
    struct proto_arena a;
    PbJobSpec *spec;
    va_list ap;

    va_start(ap, fmt);
    REQUIRE(vasprintf(&json, fmt, ap) >= 0);
    va_end(ap);
    spec = spec_of(json, &a);
    run_spec(env, ctx, spec, o);
    proto_arena_free(&a);
    free(json);
}

/* The spec is refused with this code and field, in words that have part. */
static inline void
refused(struct job_env *env, const char *json, int code, const char *field,
        const char *part)
{
    struct job_error err = {0};
    struct proto_arena a;
    PbJobSpec *spec = spec_of(json, &a);

    if (job_validate(env, spec, &err) == 0 || err.code != code ||
        strcmp(err.field, field) != 0 || strstr(err.message, part) == NULL) {
        __atomic_fetch_add(&gotest_failures, 1, __ATOMIC_RELAXED);
        fprintf(stderr, "%s\n  gave code %d, field \"%s\": %s\n", json, err.code,
                err.field, err.message);
    }
    proto_arena_free(&a);
}

/* Cancels ctx after ns. */
static inline void
cancel_after(struct go_ctx *ctx, int64_t ns, int64_t *at)
{
    go_sleep(ns);
    *at = go_now();
    go_ctx_cancel(ctx);
    go_ctx_unref(ctx);
}

/* A job that would run for long ends soon after its context is cancelled. */
__attribute__((format(printf, 3, 4))) static inline void
check_cancel(struct job_env *env, struct outcome *o, const char *fmt, ...)
{
    struct go_ctx *ctx = go_ctx_with_cancel(NULL);
    char json[4096];
    int64_t at = 0;
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(json, sizeof(json), fmt, ap);
    va_end(ap);
    REQUIRE(ctx != NULL);
    REQUIRE(go(cancel_after, go_ctx_ref(ctx), 30 * MS, &at) > 0);
    run_job(env, ctx, o, "%s", json);
    CHECK_INT(o->r, -ECANCELED);
    CHECK_INT(o->code, PB_ERROR__CODE__CANCELLED);
    CHECK(at > 0 && go_now() - at < CANCEL_LIMIT);
    go_ctx_unref(ctx);
}

/* A directory of its own, freed with everything in it. */
static inline char *
dir_new(void)
{
    char *dir = strdup("/tmp/gojobd-test-XXXXXX");

    REQUIRE(dir != NULL && mkdtemp(dir) != NULL);
    return dir;
}

static inline void
dir_free(char *dir)
{
    char cmd[256];

    (void)snprintf(cmd, sizeof(cmd), "rm -rf '%s'", dir);
    CHECK(system(cmd) == 0);
    free(dir);
}

static inline void
file_put(const char *dir, const char *name, const void *data, size_t len)
{
    char path[512];
    FILE *f;

    (void)snprintf(path, sizeof(path), "%s/%s", dir, name);
    f = fopen(path, "w");
    REQUIRE(f != NULL);
    REQUIRE(fwrite(data, 1, len, f) == len);
    REQUIRE(fclose(f) == 0);
}

#define file_puts(dir, name, text) file_put((dir), (name), (text), strlen(text))

#endif
