#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "daemon/store/finish.h"
#include "daemon/store/inner.h"

/*
 * A new boot epoch. Whatever is recorded as running belonged to a daemon that is dead (the
 * lock says so), so it is decided here, before anything else runs:
 *
 *   asked to cancel             -> cancelled
 *   running in its third crash  -> dead: it may well be what kills the daemon (as many as
 *                                  limits.crashes says)
 *   else                        -> queued at its old place, without spending a retry;
 *                                  after the second crash in the lane of suspects
 *
 * A crash accuses all that ran at that moment. So that the innocent are not sentenced with
 * the guilty, suspects run one at a time: a third accusation then hits the culprit, or a
 * single unlucky one, not a thousand neighbours.
 *
 * Jobs are found through the leases: runs of ids that together hold every running job.
 */

#define CHUNK 256

static int
crashed(struct store *st, struct job_row *row)
{
    char error[80];
    int r;

    row->crashes++;
    snprintf(error, sizeof(error), "the daemon died while it was running (%lld of %lld)",
             (long long)row->crashes, (long long)st->crashes);
    r = store_history(st, row->id, row->attempt, row->started, STORE_END_CRASHED, error);
    row->flags |= STORE_F_HISTORY;
    row->finished = row->created;
    if (row->flags & STORE_F_CANCEL) {
        row->state = STORE_CANCELLED;
        st->recovered.cancelled++;
    } else if (row->crashes >= st->crashes) {
        row->state = STORE_DEAD;
        st->recovered.poisoned++;
    } else {
        row->state = STORE_QUEUED;
        if (row->run_at > st->now) /* the clock was set back */
            row->run_at = st->now;
        if (row->crashes >= st->crashes - 1)
            row->lane |= 32;
        st->recovered.requeued++;
    }
    if (store_state_final(row->state))
        row->finished = st->now;
    row->flags &= ~(int64_t)STORE_F_CANCEL;
    return r < 0 ? r : store_job_change(st, row, STORE_RUNNING, EVENT_STATE);
}

/* Decide the running jobs of ids [first, last], a chunk of rows at a time. */
static int
recover_range(struct store *st, int64_t first, int64_t last)
{
    struct job_row *rows = malloc(CHUNK * sizeof(*rows));
    int n, r = 1;

    if (rows == NULL)
        return store_refuse(st, -ENOMEM, "out of memory");
    while (r > 0 && first <= last) {
        sqlite3_stmt *q = store_stmt(st, SQL_JOB_RANGE);

        if (q != NULL) {
            sqlite3_bind_int64(q, 1, first);
            sqlite3_bind_int64(q, 2, last);
        }
        for (n = 0; n < CHUNK && (r = store_row(st, q)) > 0; n++)
            store_job_columns(q, &rows[n]);
        if (r > 0)
            sqlite3_reset(q);
        if (r < 0)
            break;
        for (int i = 0; i < n; i++) {
            first = rows[i].id + 1;
            if (rows[i].state != STORE_RUNNING)
                continue;
            r = crashed(st, &rows[i]);
            if (r < 0)
                break;
            r = 1;
        }
        if (n < CHUNK)
            break;
    }
    free(rows);
    return r < 0 ? r : 0;
}

int
store_recover(struct store *st)
{
    int64_t lease = 0;
    int r;

    st->epoch++;
    for (;;) {
        sqlite3_stmt *q = store_stmt(st, SQL_LEASE_NEXT);
        int64_t first, last;

        if (q != NULL)
            sqlite3_bind_int64(q, 1, lease);
        r = store_row(st, q);
        if (r <= 0)
            break;
        lease = sqlite3_column_int64(q, 0);
        first = sqlite3_column_int64(q, 1);
        last = sqlite3_column_int64(q, 2);
        sqlite3_reset(q);
        r = recover_range(st, first, last);
        if (r < 0)
            return r;
    }
    return r < 0 ? r : store_exec(st, SQL_LEASE_CLEAR, 0, NULL);
}
