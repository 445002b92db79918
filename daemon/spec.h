/*
 * What a client may ask of a job whatever its kind, and the job's row in the store.
 */
#ifndef GOJOBD_DAEMON_SPEC_H
#define GOJOBD_DAEMON_SPEC_H

#include "daemon/store/submit.h"
#include "jobs/env.h"
#include "jobs/kind.h"

/* 0, or -EINVAL with err set: its field is a path inside the spec. */
int spec_check(struct job_env *env, const PbJobSpec *spec, struct job_error *err);

/* How many jobs and batches are named. NULL is none. */
size_t spec_needs_count(const PbNeeds *needs);

/* The row of a checked spec, but for its queue and what it needs. Stands in a and in spec.
 * 0 or -ENOBUFS. */
int spec_row(const struct config *cfg, const PbJobSpec *spec, int64_t now_ms,
             struct proto_arena *a, struct store_new_job *ret);

/* The millisecond that is ns after now_ms, rounded up, but none later than a timestamp can say. */
int64_t spec_time_after(int64_t now_ms, int64_t ns);

/* A batch's deadline in milliseconds, 0 for none: one before 1970 has just passed, too. */
int64_t spec_deadline(const PbTimestamp *t);

/* Put the spec into j with deps, all of them ids, for what it needs; stands in a. 0 or
 * -ENOBUFS. */
int spec_settle(const PbJobSpec *spec, const struct store_dep *deps, size_t n_deps,
                struct proto_arena *a, struct store_new_job *j);

/* Labels as the store takes them; NULL with *n > 0: no memory. */
struct store_label *spec_labels(struct proto_arena *a, void *const *entries, size_t n);

/* The part of a packed spec before its kind's own fields: enough to know its name, labels,
 * key and times, however large the rest. */
size_t spec_head(const void *spec, size_t len);

#endif
