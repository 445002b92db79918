/*
 * What the jobs of one submission mean by each other: which ids they will have, and the
 * dependencies given by key or by place in the message as ids.
 */
#ifndef GOJOBD_DAEMON_STORE_RESOLVE_H
#define GOJOBD_DAEMON_STORE_RESOLVE_H

#include <stdbool.h>

#include "daemon/store/submit.h"

/* Zero is empty: no job of the message names another by key or place. */
struct store_resolved {
    struct store_dep **deps; /* of each job; NULL: those it came with */
    struct store_dep *all;
    int64_t *ids;
    bool *fresh; /* it will be inserted: its key is not known yet */
};

/* Nothing is written. -ENOENT: no job has that key. -EINVAL: no such place. -ELOOP: jobs of
 * the message wait for themselves. -ENOMEM. */
int store_resolve(struct store *st, const struct store_submit *sub,
                  struct store_resolved *ret);
void store_resolved_fini(struct store_resolved *r);

/* The dependencies of job i. */
static inline const struct store_dep *
store_resolved_deps(const struct store_resolved *r, const struct store_submit *sub,
                    size_t i)
{
    return r->deps != NULL && r->deps[i] != NULL ? r->deps[i] : sub->jobs[i].deps;
}

#endif
