/*
 * The engine's schedules: found by id, and ordered by when each is due. The engine's lock
 * guards it all.
 */
#ifndef GOJOBD_DAEMON_SCHEDULE_TABLE_H
#define GOJOBD_DAEMON_SCHEDULE_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/schedule/plan.h"

struct sched_entry {
    struct sched_plan plan; /* plan.id is the key */
    int64_t next;           /* nominal; SCHED_NEVER: no more runs */
    int64_t stored;         /* what the row has for next */
    int64_t last;           /* nominal time decided last; 0: none */
    int64_t runs, missed, skipped;
    int32_t waiting; /* runs queued behind one another, as last told */
    uint32_t gen;    /* grows when somebody else changes the entry */
    bool paused;
    bool busy; /* being fired: not in the order, and freed by who fires it */
    bool gone; /* removed while busy */

    struct sched_entry *chain_; /* the table's */
    size_t place_;              /* in the order, from 1; 0: not in it */
};

struct sched_place {
    int64_t due;
    struct sched_entry *entry;
};

struct sched_table {
    struct sched_entry **bucket;
    size_t n_buckets; /* a power of two, or 0 */
    size_t n;

    struct sched_place *heap; /* heap[0] is due first; room for n_buckets */
    size_t n_heap;
};

/* Zero is an empty table. fini frees the entries, too. */
void sched_table_fini(struct sched_table *t);

struct sched_entry *sched_table_find(const struct sched_table *t, int64_t id);

/* Takes entry, whose id must be new. 0 or -ENOMEM: then nothing was taken. */
int sched_table_add(struct sched_table *t, struct sched_entry *entry);

/* Take it out of the table; the caller's again. */
void sched_table_remove(struct sched_table *t, struct sched_entry *entry);

/* Enter it into the order, or move it there. Cannot fail. */
void sched_table_order(struct sched_table *t, struct sched_entry *entry, int64_t due);
void sched_table_unorder(struct sched_table *t, struct sched_entry *entry);

/* The entry due first, and when; NULL: none is in the order. */
struct sched_entry *sched_table_first(const struct sched_table *t, int64_t *ret_due);

/* Call fn for every entry; it may change the entry's order, not the table. */
void sched_table_each(struct sched_table *t,
                      void (*fn)(struct sched_table *t, struct sched_entry *e, void *arg),
                      void *arg);

#endif
