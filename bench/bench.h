/*
 * Benchmarks: what their files share.
 *
 * Each workload is a function of n, the number of operations or of goroutines; bench/run
 * chooses n and gives the same to the Go program, which does the same work.
 */
#ifndef GOJOBD_BENCH_BENCH_H
#define GOJOBD_BENCH_BENCH_H

#include <stdbool.h>
#include <stdint.h>

struct bench {
    const char *name;
    void (*run)(long n, int param);
    int param;
    bool plain; /* runs on the main thread, without the runtime */
};

/* One table a file; each ends in an entry without a name. */
extern const struct bench bench_sched[];  /* spawn, yield, wake-ups, skynet */
extern const struct bench bench_chan[];   /* channels and select */
extern const struct bench bench_sync[];   /* mutex, context, timers */
extern const struct bench bench_memory[]; /* many goroutines at once */
extern const struct bench bench_kinds[];  /* process, thread and goroutine side by side */
extern const struct bench bench_floors[]; /* what machine and kernel ask at least */

/* CLOCK_MONOTONIC in ns, whatever the runtime thinks of time. */
int64_t bench_now(void);

/* Print "row value unit". */
void bench_report(const char *row, double value, const char *unit);

/* Print the time since start, divided by n, in ns. */
void bench_report_each(const char *row, int64_t start, long n);

/* Resident bytes of this process. */
int64_t bench_rss(void);

/* Bytes the whole machine could still give to programs. */
int64_t bench_available(void);

/* Bytes in use on the whole machine by what programs allocate and by what the kernel keeps
 * for them: tasks, stacks, page tables. File caches, which come and go, are left out. */
int64_t bench_in_use(void);

/* What cannot go on is no measurement. */
_Noreturn void bench_fail(const char *what, int err);

#endif
