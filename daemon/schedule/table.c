#include "daemon/schedule/table.h"

#include <errno.h>
#include <stdlib.h>

static size_t
bucket_of(const struct sched_table *t, int64_t id)
{
    return (size_t)(((uint64_t)id * 0x9e3779b97f4a7c15u) >> 32) & (t->n_buckets - 1);
}

void
sched_table_fini(struct sched_table *t)
{
    for (size_t i = 0; i < t->n_buckets; i++)
        for (struct sched_entry *e = t->bucket[i], *next; e != NULL; e = next) {
            next = e->chain_;
            free(e);
        }
    free(t->bucket);
    free(t->heap);
    *t = (struct sched_table){.n = 0};
}

struct sched_entry *
sched_table_find(const struct sched_table *t, int64_t id)
{
    struct sched_entry *e;

    if (t->n_buckets == 0)
        return NULL;
    for (e = t->bucket[bucket_of(t, id)]; e != NULL && e->plan.id != id; e = e->chain_)
        ;
    return e;
}

static void
chain(struct sched_table *t, struct sched_entry *e)
{
    struct sched_entry **b = &t->bucket[bucket_of(t, e->plan.id)];

    e->chain_ = *b;
    *b = e;
}

static int
grow(struct sched_table *t)
{
    size_t n_old = t->n_buckets, n = n_old > 0 ? n_old * 2 : 64;
    struct sched_place *heap = realloc(t->heap, n * sizeof(*heap));
    struct sched_entry **old = t->bucket, **bucket;

    if (heap == NULL)
        return -ENOMEM;
    t->heap = heap;
    bucket = calloc(n, sizeof(struct sched_entry *));
    if (bucket == NULL)
        return -ENOMEM;
    t->bucket = bucket;
    t->n_buckets = n;
    for (size_t i = 0; i < n_old; i++)
        for (struct sched_entry *e = old[i], *next; e != NULL; e = next) {
            next = e->chain_;
            chain(t, e);
        }
    free(old);
    return 0;
}

int
sched_table_add(struct sched_table *t, struct sched_entry *entry)
{
    int r = t->n == t->n_buckets ? grow(t) : 0;

    if (r < 0)
        return r;
    entry->place_ = 0;
    chain(t, entry);
    t->n++;
    return 0;
}

void
sched_table_remove(struct sched_table *t, struct sched_entry *entry)
{
    struct sched_entry **link = &t->bucket[bucket_of(t, entry->plan.id)];

    sched_table_unorder(t, entry);
    while (*link != entry)
        link = &(*link)->chain_;
    *link = entry->chain_;
    t->n--;
}

static void
place(struct sched_table *t, size_t i, struct sched_place p)
{
    t->heap[i] = p;
    p.entry->place_ = i + 1;
}

/* Put p at i or where the order wants it, from there. */
static void
sift(struct sched_table *t, size_t i, struct sched_place p)
{
    while (i > 0 && t->heap[(i - 1) / 2].due > p.due) {
        place(t, i, t->heap[(i - 1) / 2]);
        i = (i - 1) / 2;
    }
    for (;;) {
        size_t child = 2 * i + 1;

        if (child >= t->n_heap)
            break;
        if (child + 1 < t->n_heap && t->heap[child + 1].due < t->heap[child].due)
            child++;
        if (t->heap[child].due >= p.due)
            break;
        place(t, i, t->heap[child]);
        i = child;
    }
    place(t, i, p);
}

void
sched_table_order(struct sched_table *t, struct sched_entry *entry, int64_t due)
{
    struct sched_place p = {due, entry};

    sift(t, entry->place_ > 0 ? entry->place_ - 1 : t->n_heap++, p);
}

void
sched_table_unorder(struct sched_table *t, struct sched_entry *entry)
{
    size_t i = entry->place_;

    if (i == 0)
        return;
    entry->place_ = 0;
    t->n_heap--;
    if (i - 1 < t->n_heap)
        sift(t, i - 1, t->heap[t->n_heap]);
}

struct sched_entry *
sched_table_first(const struct sched_table *t, int64_t *ret_due)
{
    if (t->n_heap == 0)
        return NULL;
    *ret_due = t->heap[0].due;
    return t->heap[0].entry;
}

void
sched_table_each(struct sched_table *t,
                 void (*fn)(struct sched_table *t, struct sched_entry *e, void *arg),
                 void *arg)
{
    for (size_t i = 0; i < t->n_buckets; i++)
        for (struct sched_entry *e = t->bucket[i]; e != NULL; e = e->chain_)
            fn(t, e, arg);
}
