/*
 * Jobs: what each kind can do, and one run of one of them.
 *
 *     struct job_run run;
 *     job_run_init(&run, env, ctx, spec);
 *     r = job_run(&run);                    // in a goroutine
 *     ... pack run.result, read run.err ...
 *     job_run_fini(&run);
 *
 * A failed job is a result: run.err says why, and run.result holds what is known all the
 * same (the status of a fetch, the files that could be read), or is NULL.
 *
 * Lifecycle  init -> run, once -> fini. fini frees the result.
 * Ownership  the spec is borrowed until fini; result and err belong to the run.
 * Context    job_run() belongs to a goroutine with job_kind.stack_size of stack; it PARKS,
 *            and returns within some milliseconds of ctx's end. Others may read progress
 *            meanwhile, and nothing else.
 */
#ifndef GOJOBD_JOBS_KIND_H
#define GOJOBD_JOBS_KIND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/arena.h"
#include "proto/pb.h"

struct go_ctx;
struct job_env;

/* Why a spec was refused or a run failed. The first error wins. */
struct job_error {
    int code;        /* PbError__Code; meaningful where message is not empty */
    char field[128]; /* of the spec, "fetch.url"; "" when none is meant */
    char message[384];
};

/* Records an error unless one is there, and returns -EINVAL. field may be NULL. What is not
 * UTF-8 in the text becomes '?'. */
int job_error_set(struct job_error *e, int code, const char *field, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* Written by the run with relaxed stores, readable by anyone while it runs. */
struct job_progress {
    uint64_t done;  /* atomic */
    uint64_t total; /* atomic; 0: unknown */
    int unit;       /* atomic; PbProgress__Unit */
    int64_t tick;   /* atomic; of a timer: job_realtime() of the last one; else 0 */
};

struct job_run {
    /* Constant after init. */
    struct job_env *env; /* a reference */
    struct go_ctx *ctx;  /* a reference */
    const PbJobSpec *spec;
    const struct job_kind *kind;

    /* Of job_run(), and of the caller once it returned. */
    struct proto_arena mem; /* result stands in it */
    PbJobResult *result;
    struct job_error err;

    struct job_progress progress;
};

struct job_kind {
    const char *name;  /* as in the JSON of a spec */
    int kind;          /* PbJob__Kind, and PbJobSpec__KindCase */
    int unit;          /* PbProgress__Unit */
    size_t stack_size; /* for go_opts; 0: the default */

    /* 0, or -EINVAL with err set. Never parks, opens nothing: what the spec says on its own
     * and against the configuration. The spec's member is the kind's. */
    int (*validate)(struct job_env *env, const PbJobSpec *spec, struct job_error *err);

    /* 0, or a negative errno with run->err set. */
    int (*run)(struct job_run *run);

    /* Whether running this spec, which is short, takes microseconds, waits for nothing and
     * leaves no trace but its result. NULL: never. */
    bool (*instant)(const PbJobSpec *spec);
};

extern const struct job_kind job_fetch, job_read, job_sum, job_sql, job_timer;

/* By PbJob__Kind; NULL when there is none. */
const struct job_kind *job_kind_find(int kind);

/* What a client may submit: the kind's own part of the spec. 0, or -EINVAL with err set. */
int job_validate(struct job_env *env, const PbJobSpec *spec, struct job_error *err);

/* How long the spec itself asks to take (a timer's ticks), in nanoseconds; 0: unknown. */
int64_t job_span(const PbJobSpec *spec);

/* Takes references to env and ctx. */
void job_run_init(struct job_run *run, struct job_env *env, struct go_ctx *ctx,
                  const PbJobSpec *spec);

/* PARKS. Runs the job, validating it again: the configuration may have changed since it was
 * submitted. 0: it succeeded. -ETIMEDOUT, -ECANCELED: its context ended (err.code is TIMEOUT
 * or CANCELLED; the caller may know better, from go_ctx_cause). Else -errno, err says why. */
int job_run(struct job_run *run);

/* Frees the result. Safe on a zeroed run. */
void job_run_fini(struct job_run *run);

/* --- for the kinds --- */

/* 0 while the run may go on, else its context's error, recorded. */
int job_run_check(struct job_run *run);

/* Records the end of the run's context, whose error is r. Returns r. */
int job_run_ended(struct job_run *run, int r);

/* Records that memory, or the configured size of a result, is exhausted. Returns -ENOBUFS. */
int job_run_too_large(struct job_run *run);

/* A new message in the result, NULL at the limit. */
void *job_new(struct job_run *run, const ProtobufCMessageDescriptor *desc);

/* CLOCK_REALTIME in nanoseconds. */
int64_t job_realtime(void);

PbDuration *job_duration(struct job_run *run, int64_t ns);

#endif
