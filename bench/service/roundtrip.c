/*
 * roundtrip_bench URL COUNT: one durable job after another through libgoctl: submitted, run,
 * and its result read. Prints the median and the 99th percentile.
 *
 * roundtrip_bench URL COUNT ping: the same of pings.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "client/goctl.h"

static double
now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static int
by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* Whether the job's sum came back. */
static bool
one(struct goctl *c, PbJobSpec *spec, struct goctl_error *err)
{
    struct goctl_wait w = {.jobs = true, .results = true};
    struct goctl_reply *reply;
    const PbWaitReply *wr;
    bool right;

    if (goctl_submit_wait(c, &spec, 1, NULL, &w, 10 * GOCTL_SECOND, NULL, &reply, &wr,
                          err) < 0)
        return false;
    right = w.done && wr->n_jobs == 1 && wr->jobs[0]->result_case == PB_JOB__RESULT_SUM &&
            wr->jobs[0]->sum->has_count && wr->jobs[0]->sum->count == 2;
    goctl_reply_free(reply);
    return right;
}

static bool
ping(struct goctl *c, struct goctl_error *err)
{
    PbPing p = PB_PING__INIT;
    PbRequest req = PB_REQUEST__INIT;
    struct goctl_reply *reply;

    req.call_case = PB_REQUEST__CALL_PING;
    req.ping = &p;
    if (goctl_call(c, &req, 10 * GOCTL_SECOND, &reply, err) < 0)
        return false;
    goctl_reply_free(reply);
    return true;
}

int
main(int argc, char **argv)
{
    struct goctl_options options = {.url = argc > 1 ? argv[1] : NULL};
    int64_t numbers[2] = {100000, 200000};
    PbNumberList list = PB_NUMBER_LIST__INIT;
    PbSumSpec sum = PB_SUM_SPEC__INIT;
    PbJobSpec spec = PB_JOB_SPEC__INIT;
    struct goctl_error err = {.text = "another result"};
    size_t count = argc > 2 ? strtoul(argv[2], NULL, 10) : 0;
    bool pings = argc > 3 && strcmp(argv[3], "ping") == 0;
    const char *what = pings ? "ping" : "roundtrip";
    double *took = calloc(count + 1, sizeof(*took));
    struct goctl *c;

    if (count == 0 || took == NULL) {
        fprintf(stderr, "usage: roundtrip_bench URL COUNT [ping]\n");
        free(took);
        return 2;
    }
    if (goctl_connect(&options, &c, &err) < 0) {
        fprintf(stderr, "roundtrip_bench: %s\n", err.text);
        free(took);
        return 1;
    }
    list.ints = numbers;
    list.n_ints = 2;
    sum.numbers = &list;
    spec.kind_case = PB_JOB_SPEC__KIND_SUM;
    spec.sum = &sum;
    for (size_t i = 0; i < count; i++) {
        double start = now();

        if (pings ? !ping(c, &err) : !one(c, &spec, &err)) {
            fprintf(stderr, "roundtrip_bench: %s\n", err.text);
            return 1;
        }
        took[i] = (now() - start) * 1e3;
    }
    goctl_close(c);
    qsort(took, count, sizeof(*took), by_value);
    printf("%s_p50 %.6g ms\n", what, took[count / 2]);
    printf("%s_p99 %.6g ms\n", what, took[count * 99 / 100]);
    free(took);
    return 0;
}
