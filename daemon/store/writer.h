/*
 * The writer: one goroutine that owns the store and commits in groups.
 *
 * Operations are structs with a function. Whatever has gathered while the last commit was
 * on its way to the disk becomes one transaction, is committed once, and only then is
 * anybody answered: the more come at once, the less each costs. A group of claims alone
 * needs no sync.
 *
 * An operation that meets an error which spoils the transaction does not harm the others:
 * the group is rolled back and done again with a savepoint around each. If the commit
 * fails, all of the group get its error, and what store.h says under G6 holds.
 *
 * Between operations the writer does the store's own work: releasing dependents, carrying
 * out cancellations, queueing what was scheduled when its time comes, retention,
 * checkpoints.
 */
#ifndef GOJOBD_DAEMON_STORE_WRITER_H
#define GOJOBD_DAEMON_STORE_WRITER_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/store/events.h"
#include "daemon/store/keep.h"
#include "daemon/store/store.h"
#include "runtime/sync/sem.h"

struct store_writer;

enum { STORE_OPS_MAX = 256 };

/* One operation. The caller fills the upper part, embeds the struct in its own, and keeps
 * it until it is answered. */
struct store_op {
    /* Carry it out in the open transaction: 0 or more, or -errno. May be called twice (see
     * above): it must not depend on what a first call left in memory. Runs on the writer's
     * goroutine in a blocking region: must not park. */
    int (*run)(struct store *st, struct store_op *op);

    /* Optional: carry out n operations (2 … STORE_OPS_MAX), which follow each other and have
     * this same function, in less time than run for each. It sets their results; an error
     * spoils the transaction, and run is called for each instead. */
    int (*run_all)(struct store *st, struct store_op **ops, size_t n);

    /* Called on the writer's goroutine once the fate is known; must not park nor wait for
     * the writer. NULL for store_writer_do(). */
    void (*done)(struct store_op *op);

    bool nosync; /* a claim: the group may be committed without a sync */

    /* The answer. */
    int result;    /* of run, or why it was not committed */
    char err[160]; /* one sentence if result < 0 */

    struct store_op *next_; /* the writer's */
    struct go_sem sem_;     /* the writer's */
};

struct store_writer_opts {
    struct store_keep keep;
    int64_t group;           /* operations a transaction, at most; 0: 4096 */
    int64_t (*now_ms)(void); /* NULL: CLOCK_REALTIME */

    /* One more operation for the transaction that is about to begin, or NULL: carried out
     * last, after the store's own work, and answered first. Called on the writer's
     * goroutine, parks for a mutex at most; may be NULL. */
    struct store_op *(*rider)(void *arg);

    /* After a rider with a result above 0, if the transaction will be synced: further
     * operations, linked by next_, that go with it; or NULL. They are answered last. Those
     * for which there is no room on the disk are carried out once more in the transaction
     * after. Called on the writer's goroutine with the transaction open: it may park, but
     * everyone else waits. May be NULL. */
    struct store_op *(*late)(void *arg);

    /* What a commit changed, in order, before its operations are answered; may be NULL.
     * Called on the writer's goroutine: must not park. */
    void (*on_events)(void *arg, struct event_cursor *events, int64_t count);
    void (*on_failed)(void *arg, const char *why); /* the store has failed (G6), once */
    void *arg;
};

/* Start the writer's goroutine on st, which it owns until store_writer_stop() has returned.
 * 0 or -ENOMEM. */
int store_writer_start(struct store *st, const struct store_writer_opts *o,
                       struct store_writer **ret);

/* PARKS until all that was posted before is answered and the goroutine has ended. The
 * store stays open; posting after this call is the caller's bug. */
void store_writer_stop(struct store_writer *w);

/* PARKS until op is committed, or has failed: its result. */
int store_writer_do(struct store_writer *w, struct store_op *op);

/* Hand op over and return; op->done is called later. Parks only for the queue's mutex. */
void store_writer_post(struct store_writer *w, struct store_op *op);

/* Since the start. Any thread. */
struct store_writer_stats {
    int64_t commits, writes; /* transactions, and the operations they carried */
    int64_t commit_ns, commit_max_ns;
};
struct store_writer_stats store_writer_stats(const struct store_writer *w);

/* The wall clock was set, or the policy changed: look again at what is due. */
void store_writer_kick(struct store_writer *w);
void store_writer_set_keep(struct store_writer *w, const struct store_keep *keep);

#endif
