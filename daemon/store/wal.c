#include "daemon/store/inner.h"

/*
 * The log's length.
 *
 * A write that lengthens a file makes its next sync write the inode as well, which nearly
 * doubles what a commit waits for. So the log is kept longer than it is full, by zeros,
 * which are no frame to whoever reads it. They are written after a commit has been
 * answered, through SQLite's own handle, by the only one who writes the log; and behind its
 * end only, so that no moment of a power cut differs from one without them.
 */

#define HEADER 32
#define FRAME  (24 + 4096)
#define SMALL                                                                            \
    40 /* frames: beyond that a commit's jobs are so many that they share its sync */

static sqlite3_file *
log_file(struct store *st)
{
    sqlite3_file *f = NULL;

    if (sqlite3_file_control(st->db, "main", SQLITE_FCNTL_JOURNAL_POINTER, (void *)&f) !=
        SQLITE_OK)
        return NULL;
    return f != NULL && f->pMethods != NULL ? f : NULL;
}

/* Best effort: on a full disk the log ends where it ends. */
static void
lengthen(struct store *st, int64_t want)
{
    static const char zeros[16384];
    sqlite3_file *f = log_file(st);
    int64_t size = 0;

    if (f == NULL || f->pMethods->xFileSize(f, (sqlite3_int64 *)&size) != SQLITE_OK)
        return;
    while (size < want) {
        int n = want - size < (int64_t)sizeof(zeros) ? (int)(want - size)
                                                     : (int)sizeof(zeros);

        if (f->pMethods->xWrite(f, zeros, n, size) != SQLITE_OK)
            break;
        size += n;
    }
    st->wal_bytes = size > want ? size : want; /* no second try before that is used */
}

void
store_wal_ahead(struct store *st)
{
    int64_t used = HEADER + st->wal_frames * FRAME;
    int64_t grown = st->wal_frames - st->wal_seen;

    st->wal_seen = st->wal_frames;
    if (st->wal_bytes < used)
        st->wal_bytes = used; /* SQLite has lengthened it */
    if (!st->failed && grown < SMALL && st->wal_bytes - used < st->wal_ahead / 4)
        lengthen(st, used + st->wal_ahead);
}

int
store_wal_tidy(struct store *st)
{
    int64_t keep = 4 * st->wal_ahead;
    int frames = 0, moved = 0;
    int rc = sqlite3_wal_checkpoint_v2(st->db, NULL, SQLITE_CHECKPOINT_PASSIVE, &frames,
                                       &moved);

    if (rc == SQLITE_OK && (st->wal_bytes > keep || moved != frames)) {
        rc = sqlite3_wal_checkpoint_v2(st->db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL,
                                       NULL);
        st->wal_bytes = 0;
    }
    if (rc != SQLITE_OK && (rc & 0xff) != SQLITE_BUSY)
        return store_sqlite_err(st, rc, "truncating the log");
    st->wal_frames = 0;
    st->wal_next = st->wal_pages;
    lengthen(st, keep);
    return 0;
}
