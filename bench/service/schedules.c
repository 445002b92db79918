/*
 * schedules_bench URL COUNT: adds COUNT schedules through libgoctl, each a daily cron line of
 * one job, at all minutes of the day but those of the next two hours. Prints adds a second.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "client/goctl.h"

enum { AHEAD = 256 };

static double
now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* In UTC, and none soon: nothing is to run while it is measured. */
static void
line_of(size_t i, char out[32])
{
    int minute = (int)(time(NULL) / 60 % 1440) + 120 + (int)(i % 1200);

    (void)snprintf(out, 32, "%d %d * * *", minute % 60, minute / 60 % 24);
}

static bool
start(struct goctl *c, size_t i, PbJobSpec *job, struct goctl_call **ret,
      struct goctl_error *err)
{
    static char utc[] = "UTC";
    PbScheduleSpec spec = PB_SCHEDULE_SPEC__INIT;
    PbScheduleAdd add = PB_SCHEDULE_ADD__INIT;
    PbRequest req = PB_REQUEST__INIT;
    char line[32], name[32];

    line_of(i, line);
    (void)snprintf(name, sizeof(name), "bench-%zu", i);
    spec.name = name;
    spec.cron = line;
    spec.tz = utc;
    spec.jobs = &job;
    spec.n_jobs = 1;
    add.spec = &spec;
    req.call_case = PB_REQUEST__CALL_SCHEDULE_ADD;
    req.schedule_add = &add;
    return goctl_start(c, &req, GOCTL_FOREVER, ret, err) == 0;
}

static bool
finish(struct goctl_call *call, struct goctl_error *err)
{
    struct goctl_reply *reply;

    if (goctl_finish(call, &reply, err) < 0)
        return false;
    goctl_reply_free(reply);
    return true;
}

static bool
add_all(struct goctl *c, size_t count, PbJobSpec *job, struct goctl_error *err)
{
    struct goctl_call *calls[AHEAD] = {NULL};

    for (size_t i = 0; i < count + AHEAD; i++) {
        struct goctl_call **place = &calls[i % AHEAD];

        if (*place != NULL && !finish(*place, err))
            return false;
        *place = NULL;
        if (i < count && !start(c, i, job, place, err))
            return false;
    }
    return true;
}

int
main(int argc, char **argv)
{
    struct goctl_options options = {.url = argc > 1 ? argv[1] : NULL, .in_flight = AHEAD};
    int64_t numbers[2] = {1, 2};
    PbNumberList list = PB_NUMBER_LIST__INIT;
    PbSumSpec sum = PB_SUM_SPEC__INIT;
    PbJobSpec job = PB_JOB_SPEC__INIT;
    struct goctl_error err = {.text = ""};
    size_t count = argc > 2 ? strtoul(argv[2], NULL, 10) : 0;
    struct goctl *c;
    double begun = now();

    if (count == 0) {
        fprintf(stderr, "usage: schedules_bench URL COUNT\n");
        return 2;
    }
    list.ints = numbers;
    list.n_ints = 2;
    sum.numbers = &list;
    job.kind_case = PB_JOB_SPEC__KIND_SUM;
    job.sum = &sum;
    if (goctl_connect(&options, &c, &err) < 0 || !add_all(c, count, &job, &err)) {
        fprintf(stderr, "schedules_bench: %s\n", err.text);
        return 1;
    }
    goctl_close(c);
    printf("sched_add %.6g 1/s\n", (double)count / (now() - begun));
    return 0;
}
