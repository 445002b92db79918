/*
 * Selectors: which jobs a call means. What the store can look for it does; the rest is
 * looked at in each job it finds.
 */
#ifndef GOJOBD_DAEMON_SELECT_H
#define GOJOBD_DAEMON_SELECT_H

#include <stdbool.h>

#include "daemon/call.h"

struct selection {
    const PbSelector *in; /* NULL: every job */
    struct store_filter f;
    unsigned want;  /* what the store is to read of each job */
    bool look;      /* conditions remain that the store does not know */
    bool nothing;   /* no job can match */
    size_t next_id; /* of in->jobs */
};

/* 0, or refused. PARKS: names are looked up. */
int select_init(struct call *c, const PbSelector *in, unsigned want,
                struct selection *ret);

/* Whether no condition was given. */
bool select_empty(const PbSelector *in);

/* If the selector means one whole batch and nothing else: its id, else 0. */
int64_t select_whole_batch(const struct selection *s);

/* Whether the selector's conditions but for batch and states hold for j, which was read with
 * its spec: 1 or 0, or refused. PARKS. */
int select_matches(struct call *c, const struct selection *s, const struct store_job *j);

/* The next jobs after the cursor, at most max; *cursor moves on, and is 0 at the end. The
 * caller frees ret. 0, or refused. PARKS. */
int select_next(struct call *c, struct selection *s, int64_t *cursor, size_t max,
                struct store_jobs *ret);

/* The batch meant by an id, or else the newest of that name; 0 in *ret: neither is given.
 * -ENOENT when there is no such name: then the call is refused. */
int select_batch(struct call *c, bool has_id, uint64_t id, const char *name,
                 int64_t *ret);

/* The queue of that name: 1 and *ret, 0: there is none. */
int select_queue(struct call *c, const char *name, bool create, int64_t *ret);

#endif
