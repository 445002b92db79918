/*
 * store_bench [jobs]: what the store costs by itself, without goroutines or RPC: inserts,
 * claims and finishes at 1, 100 and 1000 operations a commit, and with a backlog.
 *
 * Prints one line a row: what, operations a commit, operations a second, us of CPU each.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "daemon/store/claim.h"
#include "daemon/store/finish.h"
#include "daemon/store/keep.h"
#include "daemon/store/store.h"
#include "daemon/store/submit.h"

#define LANE STORE_LANE(0, 3, 0)
#define NOW  INT64_C(1795000000000)

static struct store *st;
static char dir[] = "/tmp/store_bench.XXXXXX";

static void
must(int r, const char *what)
{
    if (r < 0) {
        fprintf(stderr, "%s: %d %s\n", what, r, st != NULL ? store_error(st) : "");
        exit(1);
    }
}

static double
clock_s(clockid_t id)
{
    struct timespec t;

    clock_gettime(id, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static double t0, c0;

static void
start(void)
{
    t0 = clock_s(CLOCK_MONOTONIC);
    c0 = clock_s(CLOCK_PROCESS_CPUTIME_ID);
}

static double
report(const char *what, int per, int64_t n)
{
    double t = clock_s(CLOCK_MONOTONIC) - t0, c = clock_s(CLOCK_PROCESS_CPUTIME_ID) - c0;

    printf("%-26s %6d a commit %10.0f /s %7.2f us CPU\n", what, per, (double)n / t,
           c / (double)n * 1e6);
    fflush(stdout);
    return (double)n / t;
}

static void
insert(int64_t n, int per, int64_t *batch)
{
    static struct store_new_job jobs[STORE_MESSAGE_MAX];
    static char spec[60];
    struct store_submitted done;

    for (int i = 0; i < per; i++)
        jobs[i] =
            (struct store_new_job){.lane = LANE, .spec = spec, .spec_len = sizeof(spec)};
    for (int64_t i = 0; i < n; i += per) {
        struct store_submit sub = {.batch = *batch, .jobs = jobs, .n_jobs = (size_t)per};

        must(store_begin(st, NOW + i, STORE_SYNC), "begin");
        must(store_submit(st, &sub, NULL, &done), "submit");
        must(store_commit(st), "commit");
        must(store_checkpoint_due(st), "checkpoint");
        *batch = done.batch;
    }
}

static void
finish(const struct store_claims *c)
{
    static const char result[30];
    static struct store_finish f[STORE_MESSAGE_MAX];
    static const struct store_finish *v[STORE_MESSAGE_MAX];

    for (size_t i = 0; i < c->n; i++) {
        f[i] = (struct store_finish){.id = c->v[i].id,
                                     .attempt = c->v[i].attempt,
                                     .lane = c->v[i].lane,
                                     .batch = c->v[i].batch,
                                     .outcome = STORE_END_SUCCEEDED,
                                     .result = result,
                                     .result_len = sizeof(result)};
        v[i] = &f[i];
    }
    must(store_finish_all(st, v, c->n), "finish");
}

/* Claim n jobs, per a commit, and finish them, per a commit. */
static void
drain(int64_t n, int per)
{
    static const struct store_keep keep = {.count = -1};
    struct store_claims c = {.v = NULL};

    for (int64_t i = 0; i < n; i += per) {
        must(store_begin(st, NOW + i, STORE_NOSYNC), "begin");
        must(store_claim(st, LANE, (size_t)per, 0, &c), "claim");
        must(store_commit(st), "commit");
        if (c.n != (size_t)per)
            must(-1, "claim found too few");
        must(store_begin(st, NOW + i, STORE_SYNC), "begin");
        finish(&c);
        must(store_keep_step(st, &keep, 100), "keep");
        must(store_commit(st), "commit");
        must(store_checkpoint_due(st), "checkpoint");
    }
    store_claims_fini(&c);
}

static long
rss_kib(void)
{
    char line[128], *end;
    long pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");

    if (f == NULL)
        return 0;
    if (fgets(line, sizeof(line), f) != NULL) {
        (void)strtol(line, &end, 10); /* size; what follows is the resident part */
        pages = strtol(end, NULL, 10);
    }
    fclose(f);
    return pages * 4;
}

/* The database, and what SQLite and the store keep beside it. */
static int
remove_files(const char *path)
{
    static const char *const suffix[] = {"", "-wal", "-shm", "-journal", ".lock"};

    for (size_t i = 0; i < sizeof(suffix) / sizeof(suffix[0]); i++) {
        char name[96];

        snprintf(name, sizeof(name), "%s%s", path, suffix[i]);
        (void)unlink(name);
    }
    return rmdir(dir);
}

int
main(int argc, char **argv)
{
    static const int pers[] = {1, 100, 1000};
    int64_t backlog = argc > 1 ? strtoll(argv[1], NULL, 10) : 1000000, batch = 0;
    char path[64], err[256];
    struct store_opts o = {.path = path};

    if (mkdtemp(dir) == NULL)
        return 1;
    snprintf(path, sizeof(path), "%s/jobs.db", dir);
    if (store_open(&o, NOW, &st, err, sizeof(err)) < 0) {
        fprintf(stderr, "%s\n", err);
        return 1;
    }
    for (int i = 0; i < 3; i++) {
        int64_t n = pers[i] * (pers[i] == 1 ? 2000 : pers[i] == 100 ? 500 : 100);

        start();
        insert(n, pers[i], &batch);
        report("insert", pers[i], n);
        start();
        drain(n, pers[i]);
        report("claim + finish", pers[i], n);
    }
    long before = rss_kib();

    start();
    insert(backlog, 10000, &batch);
    report("insert the backlog", 10000, backlog);
    start();
    drain(backlog / 20 / 1000 * 1000, 1000);
    report("its first 5 %", 1000, backlog / 20 / 1000 * 1000);
    drain(backlog / 20 / 1000 * 18 * 1000, 1000);
    start();
    drain(backlog / 20 / 1000 * 1000, 1000);
    report("its last 5 %", 1000, backlog / 20 / 1000 * 1000);
    printf("RSS: %ld KiB before the backlog, %ld after\n", before, rss_kib());
    store_close(st);
    return remove_files(path) != 0;
}
