/*
 * mutex_counter: many goroutines change one variable; a Mutex lets one at a time in.
 *
 * Without the lock two goroutines could read the same old value and one of the two
 * increments would be lost.
 */
#include <stdio.h>

#include "runtime/go.h"

#define GOROUTINES 1000
#define INCREMENTS 100

/* The mutex stands beside what it guards. */
struct counter {
    struct go_mutex mu;
    long value; /* guarded by mu */
};

static void
increment(struct counter *c)
{
    for (int i = 0; i < INCREMENTS; i++) {
        go_mutex_lock(&c->mu);
        c->value++;
        go_mutex_unlock(&c->mu);
    }
}

static int
main_(int argc, char **argv)
{
    struct counter c = {.mu = GO_MUTEX_INIT};
    struct go_wg wg = GO_WG_INIT;

    (void)argc;
    (void)argv;
    for (int i = 0; i < GOROUTINES; i++)
        if (go_wg_go(&wg, increment, &c) < 0)
            return 1;
    go_wg_wait(&wg);
    printf("%d goroutines, %d increments each: %ld\n", GOROUTINES, INCREMENTS, c.value);
    return 0;
}

int
main(int argc, char **argv)
{
    return go_main(main_, argc, argv);
}
