/*
 * Dependencies: jobs that start when a batch or a job has ended.
 */
#ifndef GOJOBD_DAEMON_STORE_DEPEND_H
#define GOJOBD_DAEMON_STORE_DEPEND_H

#include <stdbool.h>

#include "daemon/store/state.h"
#include "daemon/store/submit.h"

/* May a job of this batch (0: a new one) depend on these? 0, -ENOENT, -EINVAL or -ELOOP.
 * Those of the same message are marked as siblings, and have their future ids. */
int store_deps_check(struct store *st, int64_t batch, const struct store_dep *deps,
                     size_t n);

/* Whether one of them has ended in a way that rules its dependents out. 0 or -errno. */
int store_deps_bad(struct store *st, const struct store_dep *deps, size_t n, bool *ret);

/* Enter the dependencies of a job that is new, or retried. *state becomes BLOCKED while one has not ended, or
 * CANCELLED if one ended in a way that rules this job out; else it stays. */
int store_deps_put(struct store *st, int64_t batch, int64_t job,
                   const struct store_dep *deps, size_t n, enum store_state *state);

/* Release up to max jobs whose dependencies have ended, in the open transaction: the
 * number released or cancelled; 0 when nothing is left to do. */
int store_deps_step(struct store *st, int max);

/* Whether store_deps_step() would find something to release. */
bool store_deps_due(struct store *st);

#endif
