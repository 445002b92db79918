/* Spawn, yield, waking another thread, and skynet. */
#include "bench/bench.h"

#include <errno.h>

#include "runtime/go.h"

#define SPAWN_BATCH 1000

static void
finish(struct go_wg *wg)
{
    go_wg_done(wg);
}

/* Spawn + run + exit, in batches, so that it is not the memory of n goroutines that is
 * measured. */
static void
spawn(long n, int param)
{
    struct go_wg wg = GO_WG_INIT;
    int64_t start = bench_now();

    (void)param;
    for (long i = 0; i < n; i += SPAWN_BATCH) {
        for (int k = 0; k < SPAWN_BATCH; k++) {
            go_wg_add(&wg, 1);
            if (go(finish, &wg) < 0)
                bench_fail("go", ENOMEM);
        }
        go_wg_wait(&wg);
    }
    bench_report_each("spawn", start, n);
}

static void
yielder(struct go_wg *wg, long n)
{
    for (long i = 0; i < n; i++)
        go_yield();
    go_wg_done(wg);
}

/* Two goroutines that yield to each other on one P. */
static void
yield(long n, int param)
{
    struct go_wg wg = GO_WG_INIT;
    int64_t start;

    (void)param;
    go_maxprocs(1);
    go_wg_add(&wg, 2);
    start = bench_now();
    go(yielder, &wg, n / 2);
    go(yielder, &wg, n / 2);
    go_wg_wait(&wg);
    bench_report_each("yield", start, n);
}

static void
locked_echo(struct go_chan *in, struct go_chan *out)
{
    int v;

    go_lock_os_thread();
    while (go_chan_recv(in, &v))
        go_chan_send(out, &v);
    go_unlock_os_thread();
}

/* Two goroutines, each tied to a thread of its own: one way of a round trip is one wake-up
 * of a sleeping thread. */
static void
wake(long n, int param)
{
    struct go_chan *in = go_chan_new(sizeof(int), 0), *out = go_chan_new(sizeof(int), 0);
    int64_t start;
    int v = 0;

    (void)param;
    go_lock_os_thread();
    go(locked_echo, in, out);
    start = bench_now();
    for (long i = 0; i < n; i++) {
        go_chan_send(in, &v);
        go_chan_recv(out, &v);
    }
    bench_report("wake", (double)(bench_now() - start) / 2e3 / (double)n, "us");
    go_chan_close(in);
    go_unlock_os_thread();
}

/* The tree of https://github.com/atemerev/skynet: each node spawns ten, down to n leaves
 * that send their number up. */
static void
skynet_node(struct go_chan *up, long num, long size)
{
    struct go_chan *down;
    long sum = 0, part;

    if (size == 1) {
        go_chan_send(up, &num);
        return;
    }
    down = go_chan_new(sizeof(long), 0);
    if (down == NULL)
        bench_fail("channel", ENOMEM);
    for (long i = 0; i < 10; i++)
        if (go(skynet_node, down, num + i * (size / 10), size / 10) < 0)
            bench_fail("go", ENOMEM);
    for (int i = 0; i < 10; i++) {
        go_chan_recv(down, &part);
        sum += part;
    }
    go_chan_unref(down);
    go_chan_send(up, &sum);
}

static void
skynet(long n, int param)
{
    struct go_chan *result = go_chan_new(sizeof(long), 0);
    int64_t start = bench_now();
    long sum;

    (void)param;
    go(skynet_node, result, 0L, n);
    go_chan_recv(result, &sum);
    bench_report("skynet", (double)(bench_now() - start) / 1e6, "ms");
    if (sum != n * (n - 1) / 2)
        bench_fail("skynet: wrong sum", EINVAL);
    go_chan_unref(result);
}

const struct bench bench_sched[] = {
    {.name = "spawn", .run = spawn},
    {.name = "yield", .run = yield},
    {.name = "wake", .run = wake},
    {.name = "skynet", .run = skynet},
    {.name = NULL},
};
