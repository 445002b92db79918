/*
 * Floors: the least that the machine and the kernel ask for the work of a row, done by
 * threads and without the runtime. A row cannot come below its floor; how near it comes is
 * what there is to win.
 */
#define _GNU_SOURCE
#include "bench/bench.h"

#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define CAP 128
#define NAP 50000 /* ns */

/* One per cache line. */
static struct {
    _Alignas(64) uint32_t value;
} word[2];

static pthread_t
start_thread(void *(*fn)(void *), void *arg)
{
    pthread_t t;
    int r = pthread_create(&t, NULL, fn, arg);

    if (r != 0)
        bench_fail("pthread_create", r);
    return t;
}

/* mutex: two atomic instructions on a line this CPU owns. */
static void
atomics(long n, int param)
{
    int64_t start = bench_now();

    (void)param;
    for (long i = 0; i < n; i++) {
        uint32_t open = 0, held = 1;

        __atomic_compare_exchange_n(&word[0].value, &open, 1, 0, __ATOMIC_ACQUIRE,
                                    __ATOMIC_RELAXED);
        __atomic_compare_exchange_n(&word[0].value, &held, 0, 0, __ATOMIC_RELEASE,
                                    __ATOMIC_RELAXED);
    }
    bench_report_each("floor_mutex", start, n);
}

/* context: read the clock for the deadline, get memory and give it back. */
static void
clock_and_memory(long n, int param)
{
    int64_t start = bench_now();

    (void)param;
    for (long i = 0; i < n; i++) {
        int64_t *p = malloc(128);

        if (p == NULL)
            bench_fail("memory", ENOMEM);
        *(volatile int64_t *)p = bench_now();
        free(p);
    }
    bench_report_each("floor_context", start, n);
}

static void
wait_while(uint32_t *w, uint32_t value)
{
    while (__atomic_load_n(w, __ATOMIC_ACQUIRE) == value)
        syscall(SYS_futex, w, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
}

static void
set_and_wake(uint32_t *w, uint32_t value)
{
    __atomic_store_n(w, value, __ATOMIC_RELEASE);
    syscall(SYS_futex, w, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

static void *
futex_echo(void *arg)
{
    long n = *(long *)arg;

    for (uint32_t i = 0; i < n; i++) {
        wait_while(&word[0].value, i);
        set_and_wake(&word[1].value, i + 1);
    }
    return NULL;
}

/* wake: a futex between two sleeping threads. */
static void
futex_wake(long n, int param)
{
    pthread_t t = start_thread(futex_echo, &n);
    int64_t start = bench_now();

    (void)param;
    for (uint32_t i = 0; i < n; i++) {
        set_and_wake(&word[0].value, i + 1);
        wait_while(&word[1].value, i);
    }
    bench_report("floor_wake", (double)(bench_now() - start) / 2e3 / (double)n, "us");
    pthread_join(t, NULL);
}

static void *
ring_consumer(void *arg)
{
    uint32_t n = (uint32_t) * (long *)arg;

    for (uint32_t got = 0; got < n;) {
        uint32_t there = __atomic_load_n(&word[0].value, __ATOMIC_ACQUIRE);

        if (there != got) {
            got = there; /* all that is there, in one look */
            __atomic_store_n(&word[1].value, got, __ATOMIC_RELEASE);
        }
    }
    return NULL;
}

/* buffered: two counters that chase each other, never more than CAP apart, between two
 * threads that do nothing else. */
static void
ring(long n, int param)
{
    pthread_t t = start_thread(ring_consumer, &n);
    int64_t start = bench_now();

    (void)param;
    for (uint32_t sent = 0; sent < n; sent++) {
        while (sent - __atomic_load_n(&word[1].value, __ATOMIC_ACQUIRE) == CAP)
            ;
        __atomic_store_n(&word[0].value, sent + 1, __ATOMIC_RELEASE);
    }
    pthread_join(t, NULL);
    bench_report_each("floor_buffered", start, n);
}

static int
compare(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return (x > y) - (x < y);
}

/* late: the kernel's own sleep, in a thread without timer slack. */
static void
nanosleep_lateness(long n, int param)
{
    int64_t *late = calloc((size_t)n, sizeof(*late)), median, p99;
    struct timespec nap = {.tv_nsec = NAP};

    (void)param;
    if (late == NULL)
        bench_fail("memory", ENOMEM);
    prctl(PR_SET_TIMERSLACK, 1);
    for (long i = 0; i < n; i++) {
        int64_t start = bench_now();

        clock_nanosleep(CLOCK_MONOTONIC, 0, &nap, NULL);
        late[i] = bench_now() - start - NAP;
    }
    qsort(late, (size_t)n, sizeof(*late), compare);
    median = late[n / 2];
    p99 = late[n * 99 / 100];
    bench_report("floor_late_p50", (double)median / 1e3, "us");
    bench_report("floor_late_p99", (double)p99 / 1e3, "us");
    free(late);
}

const struct bench bench_floors[] = {
    {.name = "floor-mutex", .run = atomics, .plain = true},
    {.name = "floor-context", .run = clock_and_memory, .plain = true},
    {.name = "floor-wake", .run = futex_wake, .plain = true},
    {.name = "floor-buffered", .run = ring, .plain = true},
    {.name = "floor-late", .run = nanosleep_lateness, .plain = true},
    {.name = NULL},
};
