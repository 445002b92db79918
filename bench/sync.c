/* Mutex, context and timers. */
#include "bench/bench.h"

#include <errno.h>
#include <stdlib.h>

#include "runtime/go.h"

#define SLEEPERS 100000
#define LOOPERS  10000
#define NAP      (50 * GO_MICROSECOND)

static struct go_mutex mu; /* not on the stack: the compiler must not know it is ours */

static void
mutex(long n, int param)
{
    int64_t start = bench_now();

    (void)param;
    for (long i = 0; i < n; i++) {
        go_mutex_lock(&mu);
        go_mutex_unlock(&mu);
    }
    bench_report_each("mutex", start, n);
}

static void
context(long n, int param)
{
    int64_t start = bench_now();

    (void)param;
    for (long i = 0; i < n; i++) {
        struct go_ctx *ctx = go_ctx_with_timeout(go_ctx_background(), GO_SECOND);

        if (ctx == NULL)
            bench_fail("context", ENOMEM);
        go_ctx_cancel(ctx);
        go_ctx_unref(ctx);
    }
    bench_report_each("context", start, n);
}

static void
sleeper(struct go_wg *wg, long n)
{
    for (long i = 0; i < n; i++)
        go_sleep(GO_MICROSECOND);
    go_wg_done(wg);
}

static void
sleep_together(int goroutines, long each)
{
    struct go_wg wg = GO_WG_INIT;

    go_wg_add(&wg, goroutines);
    for (int i = 0; i < goroutines; i++)
        if (go(sleeper, &wg, each) < 0)
            bench_fail("go", ENOMEM);
    go_wg_wait(&wg);
}

/* n goroutines that sleep 1 us and end, SLEEPERS of them at once. */
static void
sleep_once(long n, int param)
{
    int64_t start = bench_now();

    (void)param;
    for (long i = 0; i < n; i += SLEEPERS)
        sleep_together(SLEEPERS, 1);
    bench_report_each("sleep", start, n);
}

/* n sleeps of 1 us, shared by LOOPERS goroutines. */
static void
sleep_loop(long n, int param)
{
    int64_t start = bench_now();

    (void)param;
    sleep_together(LOOPERS, n / LOOPERS);
    bench_report_each("sleep_loop", start, n);
}

static int
compare(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return (x > y) - (x < y);
}

/* How late a sleep of 50 us ends while nothing else runs. */
static void
lateness(long n, int param)
{
    int64_t *late = calloc((size_t)n, sizeof(*late)), median, p99;

    (void)param;
    if (late == NULL)
        bench_fail("memory", ENOMEM);
    for (long i = 0; i < n; i++) {
        int64_t start = bench_now();

        go_sleep(NAP);
        late[i] = bench_now() - start - NAP;
    }
    qsort(late, (size_t)n, sizeof(*late), compare);
    median = late[n / 2];
    p99 = late[n * 99 / 100];
    bench_report("late_p50", (double)median / 1e3, "us");
    bench_report("late_p99", (double)p99 / 1e3, "us");
    free(late);
}

const struct bench bench_sync[] = {
    {.name = "mutex", .run = mutex},      {.name = "context", .run = context},
    {.name = "sleep", .run = sleep_once}, {.name = "sleep_loop", .run = sleep_loop},
    {.name = "late", .run = lateness},    {.name = NULL},
};
