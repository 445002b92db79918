/*
 * fetch_bench URL [COUNT [AT_ONCE]]: fetch jobs, as the daemon runs them but without its
 * store and its RPC. Prints fetches a second and processor time a fetch.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "config/config.h"
#include "jobs/env.h"
#include "jobs/kind.h"
#include "runtime/base/atomic.h"
#include "runtime/go.h"

struct load {
    struct job_env *env;
    PbJobSpec *spec;
    int64_t left;   /* atomic */
    int64_t failed; /* atomic */
};

static void
worker(struct load *l)
{
    while (ADD(&l->left, -1, RELAXED) >= 0) {
        struct job_run run;

        job_run_init(&run, l->env, go_ctx_background(), l->spec);
        if (job_run(&run) < 0 && ADD(&l->failed, 1, RELAXED) == 1)
            fprintf(stderr, "%s\n", run.err.message);
        job_run_fini(&run);
    }
}

static double
cpu_seconds(void)
{
    struct rusage u;

    (void)getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static void
measure(struct load *l, int64_t count, int64_t at_once)
{
    struct go_wg wg = GO_WG_INIT;
    double cpu = cpu_seconds(), wall;
    int64_t start = go_now();

    l->left = count;
    for (int64_t i = 0; i < at_once; i++)
        (void)go_wg_go(&wg, worker, l);
    go_wg_wait(&wg);
    wall = (double)(go_now() - start) / 1e9;
    cpu = cpu_seconds() - cpu;
    printf("%.0f fetches/s, %.1f us CPU each, %lld failed\n", (double)count / wall,
           cpu * 1e6 / (double)count, (long long)l->failed);
}

static int
bench(int argc, char **argv)
{
    static const char yaml[] = "fetch: {allow: [127.0.0.0/8], per_host: 4096}";
    PbFetchSpec fetch = PB_FETCH_SPEC__INIT;
    PbJobSpec spec = PB_JOB_SPEC__INIT;
    struct load l = {.spec = &spec};
    struct config *cfg;
    struct cfg_err err;

    if (argc < 2) {
        fprintf(stderr, "usage: fetch_bench URL [COUNT [AT_ONCE]]\n");
        return 2;
    }
    if (cfg_parse("bench", yaml, strlen(yaml), &cfg, &err) < 0 ||
        job_env_new(cfg, &l.env) < 0) {
        fprintf(stderr, "fetch_bench: no environment\n");
        return 1;
    }
    fetch.url = argv[1];
    spec.kind_case = PB_JOB_SPEC__KIND_FETCH;
    spec.fetch = &fetch;
    measure(&l, argc > 2 ? strtoll(argv[2], NULL, 10) : 50000,
            argc > 3 ? strtoll(argv[3], NULL, 10) : 64);
    job_env_unref(l.env);
    return l.failed > 0;
}

int
main(int argc, char **argv)
{
    return go_main(bench, argc, argv);
}
