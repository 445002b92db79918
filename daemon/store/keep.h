/*
 * Housekeeping: what keeps the file small and answers fast, in steps that are small
 * enough to stand between two commits.
 */
#ifndef GOJOBD_DAEMON_STORE_KEEP_H
#define GOJOBD_DAEMON_STORE_KEEP_H

#include <stdint.h>

#include "daemon/store/state.h"

struct store;

struct store_keep {
    int64_t age_ms; /* finished jobs older than this go; 0: no limit */
    int64_t count;  /* of all finished jobs as many stay, the newest; < 0: no limit */
    int64_t event_age_ms;   /* events; 0: no limit */
    int64_t event_count;    /* 0: no limit */
    int64_t request_age_ms; /* remembered requests; 0: no limit */
    int step;               /* rows at once, for the writer; 0: a default */
};

/* Delete up to max rows of what k lets go, in the open transaction. The number of rows
 * looked at or deleted; 0 when a whole pass found nothing. */
int store_keep_step(struct store *st, const struct store_keep *k, int max);

/* Delete a finished job whatever its age. For "purge". -ENOENT; -EBUSY: it is not (any more)
 * in this final state, or jobs that wait may still ask how it ended. */
int store_purge_job(struct store *st, int64_t id, enum store_state state);

/* Outside a transaction: give up to max_pages free pages back to the file system and move
 * the log into the database; truncate it when nobody reads. For idle moments. */
int store_tidy(struct store *st, int max_pages);

#endif
