/*
 * cond_queue: wait for a condition under a mutex: a Cond.
 *
 * A bounded queue by hand, to show the idiom (a channel does the same in one line): whoever
 * finds the queue full or empty waits; whoever changes that signals. The condition is tested
 * in a loop, because it may have changed again before the waiter holds the lock.
 */
#include <stdio.h>

#include "runtime/go.h"

#define ROOM  4
#define ITEMS 12

struct queue {
    struct go_mutex mu;
    struct go_cond not_full, not_empty; /* both on mu */
    int item[ROOM];                     /* guarded by mu: a ring */
    int first, len;                     /* guarded by mu */
};

static void
queue_put(struct queue *q, int item)
{
    go_mutex_lock(&q->mu);
    while (q->len == ROOM)
        go_cond_wait(&q->not_full);
    q->item[(q->first + q->len++) % ROOM] = item;
    go_mutex_unlock(&q->mu);
    go_cond_signal(&q->not_empty);
}

static int
queue_take(struct queue *q)
{
    int item;

    go_mutex_lock(&q->mu);
    while (q->len == 0)
        go_cond_wait(&q->not_empty);
    item = q->item[q->first];
    q->first = (q->first + 1) % ROOM;
    q->len--;
    go_mutex_unlock(&q->mu);
    go_cond_signal(&q->not_full);
    return item;
}

static void
producer(struct queue *q)
{
    for (int i = 1; i <= ITEMS; i++)
        queue_put(q, i * i);
}

static int
main_(int argc, char **argv)
{
    struct queue q = {.mu = GO_MUTEX_INIT};

    (void)argc;
    (void)argv;
    go_cond_init(&q.not_full, &q.mu);
    go_cond_init(&q.not_empty, &q.mu);
    if (go(producer, &q) < 0)
        return 1;
    for (int i = 0; i < ITEMS; i++)
        printf("took %d\n", queue_take(&q));
    return 0;
}

int
main(int argc, char **argv)
{
    return go_main(main_, argc, argv);
}
