/* Many goroutines at once: what each costs in memory, and in time as they become more. */
#include "bench/bench.h"

#include <errno.h>
#include <stdio.h>

#include "runtime/go.h"

/* Goroutines a measurement of time goes through, whatever their number at once. */
#define ENOUGH 1000000

static void
wait_for_gate(struct go_wg *parked, struct go_chan *gate, struct go_wg *gone)
{
    go_wg_done(parked);
    go_chan_recv(gate, NULL);
    go_wg_done(gone);
}

/* Spawn n goroutines that wait for one channel to close. */
static void
park(long n, struct go_chan *gate, struct go_wg *gone)
{
    struct go_wg parked = GO_WG_INIT;

    for (long i = 0; i < n; i++) {
        go_wg_add(&parked, 1);
        go_wg_add(gone, 1);
        if (go(wait_for_gate, &parked, gate, gone) < 0)
            bench_fail("go", ENOMEM);
    }
    go_wg_wait(&parked);
}

static void
row_name(char buf[32], const char *what, long n)
{
    if (n >= 1000000)
        snprintf(buf, 32, "%s_%ldM", what, n / 1000000);
    else
        snprintf(buf, 32, "%s_%ldk", what, n / 1000);
}

static void
parked(long n, int param)
{
    struct go_chan *gate = go_chan_new(0, 0);
    static struct go_wg gone; /* not on the stack: nobody waits for them to end */
    int64_t before = bench_rss();
    char row[32];

    (void)param;
    park(n, gate, &gone);
    row_name(row, "parked", n);
    bench_report(row, (double)(bench_rss() - before) / 1024 / (double)n, "KiB");
}

static void
round_of(long n)
{
    struct go_chan *gate = go_chan_new(0, 0);
    struct go_wg gone = GO_WG_INIT;

    park(n, gate, &gone);
    go_chan_close(gate);
    go_wg_wait(&gone);
    go_chan_unref(gate);
}

/* Spawn, park, wake and end, n at once. The first round, whose memory is new to the
 * process, does not count. */
static void
life(long n, int param)
{
    long rounds = n < ENOUGH ? ENOUGH / n : 1;
    int64_t start;
    char row[32];

    (void)param;
    round_of(n);
    start = bench_now();
    for (long i = 0; i < rounds; i++)
        round_of(n);
    row_name(row, "life", n);
    bench_report_each(row, start, rounds * n);
}

const struct bench bench_memory[] = {
    {.name = "parked", .run = parked},
    {.name = "life", .run = life},
    {.name = NULL},
};
