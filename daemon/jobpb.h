/*
 * Jobs and batches as clients see them, made from what the store has.
 */
#ifndef GOJOBD_DAEMON_JOBPB_H
#define GOJOBD_DAEMON_JOBPB_H

#include "daemon/call.h"
#include "daemon/store/read.h"

enum jobpb_want {
    JOBPB_SPEC = 1,    /* the whole spec */
    JOBPB_RESULT = 2,  /* and j must have been read with it */
    JOBPB_HISTORY = 4, /* every kept attempt */
};

/* The store's part of wanting that. */
unsigned jobpb_store_want(unsigned want);

/* j must have been read with jobpb_store_want(). NULL: the call is refused. PARKS. */
PbJob *jobpb_make(struct call *c, const struct store_job *j, unsigned want);

PbBatch *jobpb_batch(struct call *c, const struct store_batch_info *b);

PbJob__State jobpb_state(enum store_state s);

#endif
