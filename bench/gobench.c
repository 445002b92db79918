/*
 * usage: gobench WORKLOAD N
 *
 * Runs one workload and prints its results as lines "row value unit". bench/run drives it.
 */
#include "bench/bench.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "runtime/go.h"

static const struct bench *const tables[] = {bench_sched,  bench_chan,  bench_sync,
                                             bench_memory, bench_kinds, bench_floors};
#define TABLES (sizeof(tables) / sizeof(tables[0]))

int64_t
bench_now(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

void
bench_report(const char *row, double value, const char *unit)
{
    printf("%s %.6g %s\n", row, value, unit);
}

void
bench_report_each(const char *row, int64_t start, long n)
{
    bench_report(row, (double)(bench_now() - start) / (double)n, "ns");
}

int64_t
bench_rss(void)
{
    FILE *f = fopen("/proc/self/statm", "re");
    long size, resident;

    if (f == NULL || fscanf(f, "%ld %ld", &size, &resident) != 2) // NOLINT(cert-err34-c)
        bench_fail("/proc/self/statm", EIO);
    fclose(f);
    return (int64_t)resident * sysconf(_SC_PAGESIZE);
}

/* The sum of the named lines of /proc/meminfo. */
static int64_t
meminfo(const char *const names[], size_t n)
{
    FILE *f = fopen("/proc/meminfo", "re");
    char line[128];
    size_t found = 0;
    int64_t kib = 0;

    if (f == NULL)
        bench_fail("/proc/meminfo", errno);
    while (fgets(line, sizeof(line), f) != NULL)
        for (size_t i = 0; i < n; i++)
            if (strncmp(line, names[i], strlen(names[i])) == 0) {
                kib += strtol(line + strlen(names[i]), NULL, 10);
                found++;
            }
    fclose(f);
    if (found != n)
        bench_fail("/proc/meminfo", EIO);
    return kib * 1024;
}

int64_t
bench_available(void)
{
    static const char *const names[] = {"MemAvailable:"};

    return meminfo(names, 1);
}

int64_t
bench_in_use(void)
{
    static const char *const names[] = {
        "AnonPages:", "SUnreclaim:", "KernelStack:", "PageTables:"};

    return meminfo(names, 4);
}

_Noreturn void
bench_fail(const char *what, int err)
{
    fprintf(stderr, "gobench: %s: %s\n", what, strerror(err < 0 ? -err : err));
    exit(1);
}

static const struct bench *
find(const char *name)
{
    for (size_t t = 0; t < TABLES; t++)
        for (const struct bench *b = tables[t]; b->name != NULL; b++)
            if (strcmp(b->name, name) == 0)
                return b;
    return NULL;
}

static int
usage(void)
{
    fprintf(stderr, "usage: gobench WORKLOAD N\nworkloads:");
    for (size_t t = 0; t < TABLES; t++)
        for (const struct bench *b = tables[t]; b->name != NULL; b++)
            fprintf(stderr, " %s", b->name);
    fprintf(stderr, "\n");
    return 2;
}

static int
run(int argc, char **argv)
{
    const struct bench *b = argc == 3 ? find(argv[1]) : NULL;
    long n = b != NULL ? strtol(argv[2], NULL, 10) : 0;

    if (n <= 0)
        return usage();
    b->run(n, b->param);
    return 0;
}

int
main(int argc, char **argv)
{
    const struct bench *b = argc == 3 ? find(argv[1]) : NULL;

    if (b != NULL && b->plain)
        return run(argc, argv);
    return go_main(run, argc, argv);
}
