/*
 * Housekeeping: what keeps the file small and answers fast, in steps that are small
 * enough to stand between two commits.
 */
#ifndef GOJOBD_DAEMON_STORE_KEEP_H
#define GOJOBD_DAEMON_STORE_KEEP_H

#include <stdint.h>

struct store;

struct store_keep {
    int64_t age_ms; /* finished jobs older than this go; 0: no limit */
    int64_t count;  /* of all finished jobs as many stay, the newest; < 0: no limit */
    int64_t event_age_ms;   /* events; 0: no limit */
    int64_t event_count;    /* 0: no limit */
    int64_t request_age_ms; /* remembered requests; 0: no limit */
};

/* Delete up to max rows of what k lets go, in the open transaction. The number of rows
 * looked at or deleted; 0 when a whole pass found nothing. */
int store_keep_step(struct store *st, const struct store_keep *k, int max);

/* Delete finished jobs whatever their age, of one batch (0: all) and state (0: any final):
 * up to max looked at, from *cursor on (0 at first; 0 again when done). For "purge". The
 * number deleted. */
int store_purge_step(struct store *st, int64_t batch, int state, int64_t *cursor,
                     int max);

/* Outside a transaction: give up to max_pages free pages back to the file system and move
 * the log into the database; truncate it when nobody reads. For idle moments. */
int store_tidy(struct store *st, int max_pages);

#endif
