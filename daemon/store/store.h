/*
 * The durable store: jobs, batches, results, schedules and events in one SQLite file.
 *
 * This is the synchronous core. It knows no goroutines: one caller at a time, which opens
 * an explicit transaction, carries out operations (submit.h, claim.h, finish.h, cancel.h,
 * schedule.h, queue.h, keep.h) and commits. writer.h puts a goroutine and group commit on
 * top; read.h reads beside it on connections of its own.
 *
 *     store_begin(st, now_ms, STORE_SYNC);
 *     store_submit(st, &sub, &done);
 *     r = store_commit(st);             // r == 0: acknowledge; else store_error(st)
 *
 * Guarantees (README.md has the argument for each)
 *   G1  What a commit with STORE_SYNC acknowledged survives a crash and a power cut.
 *   G2  A commit with STORE_NOSYNC survives a crash of the daemon; a power cut may undo it,
 *       never part of it, and only together with all that came after it.
 *   G3  A job is run at least once, unless cancelled, and its result is recorded exactly
 *       once: a finish counts only while the job is running in that very attempt.
 *   G4  A job whose finish was acknowledged never runs again, save by request.
 *   G5  The counters of batches and queues equal what is in the tables after any crash.
 *   G6  A failed commit acknowledges nothing. If the disk is full the store goes on and
 *       may succeed later; after any other failure of a commit it refuses all writes
 *       until it is opened again, because what reached the disk is then unknown.
 *
 * Errors: 0 or -errno; store_error() has one sentence. A failed operation inside a
 * transaction may have written: only -EINVAL, -ESTALE, -ENOENT, -EEXIST, -ECANCELED,
 * -EBUSY and -ELOOP promise that nothing was changed, and after any other the transaction
 * must be rolled back (store_commit() then refuses).
 */
#ifndef GOJOBD_DAEMON_STORE_STORE_H
#define GOJOBD_DAEMON_STORE_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/store/events.h"
#include "daemon/store/state.h"

struct store;

/* A lane is what a claim draws from: a queue, a kind of job (0..31), and apart from both
 * the suspects, jobs that were running in two crashes and so run one at a time. */
#define STORE_LANE(queue, kind, suspect)                                                 \
    ((int64_t)(queue) << 6 | ((suspect) ? 32 : 0) | (kind))
#define STORE_LANE_QUEUE(lane)   ((lane) >> 6)
#define STORE_LANE_KIND(lane)    ((int)((lane)&31))
#define STORE_LANE_SUSPECT(lane) (((lane)&32) != 0)

enum {
    STORE_KIND_MAX = 31,
    STORE_MESSAGE_MAX = 10000, /* jobs one submission may bring */
    STORE_CRASHES_MAX = 3,     /* running in as many crashes: dead, unless set */
    STORE_ATTEMPTS_KEPT = 20,  /* of each job's attempt history, unless set */
    STORE_SPEC_INLINE = 512,   /* bytes of a spec that stand in the job's row */
};

/* The job's flags. Bit 6 is always set, so that every value is one byte on disk. */
enum store_flag {
    STORE_F_KEY = 1,      /* has an idempotency key */
    STORE_F_DEPS = 2,     /* was submitted with dependencies */
    STORE_F_LABELS = 4,   /* has labels */
    STORE_F_BIGSPEC = 8,  /* its spec is in table spec */
    STORE_F_CANCEL = 16,  /* running, and to be cancelled */
    STORE_F_HISTORY = 32, /* has rows in table attempt */
    STORE_F_BASE = 64,
};

struct store_opts {
    const char *path;  /* the database file; its directory must exist */
    const char *vfs;   /* SQLite VFS; NULL: the system's */
    int64_t cache_kib; /* page cache of the writer; 0: 16 MiB */
    int64_t wal_pages; /* checkpoint when the WAL is longer; 0: 4096 (16 MiB) */
    int64_t history;   /* attempts kept of a job; 0: STORE_ATTEMPTS_KEPT */
    int64_t crashes;   /* running in as many: dead; 0: STORE_CRASHES_MAX */
    bool no_lock;      /* for tests that model the disk: no lock file */
};

/* Open or create the database at o->path, take the lock, migrate, start a boot epoch and
 * requeue what was running in the one before (see recover.c). On failure *err (of err_size
 * bytes) has a sentence, and the code is one of
 *   -EBUSY   another daemon has it; the sentence names its pid
 *   -EILSEQ  not a database of ours (another application's file, or not SQLite at all)
 *   -EPROTO  written by a newer version
 *   -EUCLEAN a damaged database
 *   -EROFS, -EACCES, -ENOSPC, -ENOENT, -EIO, -ENOMEM as usual. */
int store_open(const struct store_opts *o, int64_t now_ms, struct store **ret, char *err,
               size_t err_size);

/* Checkpoints, closes, unlocks, frees. Accepts NULL. All readers must be closed before.
 * An open transaction is rolled back. */
void store_close(struct store *st);

enum store_sync {
    STORE_SYNC,   /* the commit is on the disk when it returns */
    STORE_NOSYNC, /* the commit is with the kernel. Only for what nobody is told of: claims,
                     and the steps that follow from what is already durable */
};

/* now_ms is the time of everything in this transaction. */
int store_begin(struct store *st, int64_t now_ms, enum store_sync sync);
int store_commit(struct store *st);
int64_t store_now(const struct store *st); /* of the open one */
void store_rollback(struct store *st);

/* The events of the last commit, to be told to those who listen: their number. Good until
 * the next store_begin(); read with event_next(). */
int64_t store_committed(const struct store *st, struct event_cursor *ret);

/* Outside a transaction, after each commit: once the log is long, move it into the
 * database. Failing does not undo what was acknowledged. */
int store_checkpoint_due(struct store *st);

/* A transaction inside the open one: everything since the mark can be undone alone. */
int store_mark(struct store *st);
int store_mark_keep(struct store *st);
int store_mark_undo(struct store *st);

/* Why the last call failed: one sentence, valid until the next call. */
const char *store_error(const struct store *st);

/* True once a commit failed for a reason other than a full disk (G6). */
bool store_failed(const struct store *st);

/* True while the open transaction has met an error that only a rollback mends. */
bool store_broken(const struct store *st);

/* The same two as in store_opts, for what comes from now on. */
void store_set_limits(struct store *st, int64_t history, int64_t crashes);

uint64_t store_epoch(const struct store *st);
int64_t store_schema(void); /* the version of every open store */
const char *store_path(const struct store *st);

/* What the start of this epoch found. */
struct store_recovery {
    int64_t requeued;  /* running jobs of the dead epoch, queued again */
    int64_t poisoned;  /* of the same, declared dead */
    int64_t cancelled; /* of the same, had been asked to cancel */
};
struct store_recovery store_recovered(const struct store *st);

#endif
