/*
 * library URL: for the system tests. A program on libgoctl: threads that submit and wait,
 * each with calls of another shape, and then the events.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/goctl.h"

enum { THREADS = 4, ROUNDS = 25, JOBS = 7, TOO_MANY = 1001 };

static struct goctl *client;

/* The jobs of batch i sum up i and one more. */
struct shape {
    size_t n;
    uint32_t limit;     /* of a page */
    int64_t timeout_ns; /* of the first wait */
    const char *every;  /* instead of a sum: a timer that ticks once */
};

static const struct shape shapes[THREADS] = {
    {.n = 1, .timeout_ns = GOCTL_FOREVER},
    {.n = JOBS, .limit = 3, .timeout_ns = GOCTL_FOREVER}, /* the pages go on */
    {.n = JOBS, .timeout_ns = 0, .every = "timer"},       /* the wait goes on */
    {.n = TOO_MANY, .timeout_ns = GOCTL_FOREVER},         /* two calls */
};

struct batch {
    const struct shape *shape;
    uint64_t ids[TOO_MANY];
    bool seen[TOO_MANY];
    size_t ended;
};

static bool
fail(const char *what)
{
    printf("# %s\n", what);
    return false;
}

/* A page of ended jobs: each one of the batch, once, and right. */
static bool
take(struct batch *b, const PbWaitReply *wr, int64_t sum)
{
    for (size_t k = 0; k < wr->n_jobs; k++) {
        const PbJob *job = wr->jobs[k];
        size_t i = 0;

        while (i < b->shape->n && b->ids[i] != job->id)
            i++;
        if (i == b->shape->n || b->seen[i])
            return fail("a job of another batch, or twice");
        b->seen[i] = true;
        b->ended++;
        if (job->state != PB_JOB__STATE__STATE_SUCCEEDED)
            return fail("a job did not succeed");
        if (b->shape->every == NULL &&
            (job->result_case != PB_JOB__RESULT_SUM || job->sum->sum->int_ != sum))
            return fail("a wrong sum");
    }
    return true;
}

static bool
one_batch(struct batch *b, int64_t number)
{
    struct goctl_wait w = {.jobs = true, .results = true, .limit = b->shape->limit};
    struct goctl_error err = {.text = ""};
    int64_t numbers[] = {number, 1};
    PbNumberList list = PB_NUMBER_LIST__INIT;
    PbSumSpec sum = PB_SUM_SPEC__INIT;
    PbDuration tick = PB_DURATION__INIT;
    PbTimerSpec timer = PB_TIMER_SPEC__INIT;
    PbJobSpec spec = PB_JOB_SPEC__INIT, *specs[TOO_MANY];
    struct goctl_reply *reply;
    const PbWaitReply *wr;
    bool good;

    list.ints = numbers;
    list.n_ints = 2;
    sum.numbers = &list;
    PB_SET(&tick, ns, GOCTL_SECOND / 50);
    timer.every = &tick;
    spec.kind_case =
        b->shape->every != NULL ? PB_JOB_SPEC__KIND_TIMER : PB_JOB_SPEC__KIND_SUM;
    if (b->shape->every != NULL)
        spec.timer = &timer;
    else
        spec.sum = &sum;
    for (size_t i = 0; i < b->shape->n; i++)
        specs[i] = &spec;
    memset(b->seen, 0, sizeof(b->seen));
    b->ended = 0;
    if (goctl_submit_wait(client, specs, b->shape->n, NULL, &w, b->shape->timeout_ns,
                          b->ids, &reply, &wr, &err) < 0)
        return fail(err.text);
    good = take(b, wr, number + 1);
    goctl_reply_free(reply);
    while (good && !w.done) {
        if (goctl_wait_next(client, &w, GOCTL_FOREVER, &reply, &err) < 0)
            return fail(err.text);
        good = take(b, goctl_response(reply)->wait, number + 1);
        goctl_reply_free(reply);
    }
    return good && (b->ended == b->shape->n || fail("a job is missing"));
}

/* NULL if all went well. */
static void *
batches(void *arg)
{
    const struct shape *shape = arg;
    struct batch *b = calloc(1, sizeof(*b));
    bool good = b != NULL;

    if (good)
        b->shape = shape;
    for (int64_t i = 0; good && i < (shape->n > JOBS ? 1 : ROUNDS); i++)
        good = one_batch(b, i);
    free(b);
    return good ? NULL : arg;
}

static bool
threads_submit_and_wait(void)
{
    pthread_t threads[THREADS];
    void *bad, *args[THREADS];
    bool good = true;

    for (int i = 0; i < THREADS; i++) {
        const struct shape *shape = &shapes[i];

        memcpy(&args[i], &shape, sizeof(shape)); /* read only there, too */
        if (pthread_create(&threads[i], NULL, batches, args[i]) != 0)
            abort();
    }
    for (int i = 0; i < THREADS; i++) {
        (void)pthread_join(threads[i], &bad);
        good = good && bad == NULL;
    }
    return good;
}

static bool
the_events_tell_the_same(void)
{
    struct goctl_events ev = {.after = 0};
    struct goctl_error err = {.text = ""};
    size_t ends = 0, want = 1 + 2 * JOBS;

    want = want * ROUNDS + TOO_MANY;
    while (ends < want) {
        struct goctl_reply *reply;
        const PbEventsReply *er;

        if (goctl_events_next(client, &ev, 10 * GOCTL_SECOND, &reply, &err) < 0)
            return fail(err.text);
        er = goctl_response(reply)->events;
        for (size_t i = 0; i < er->n_events; i++)
            ends += er->events[i]->what_case == PB_EVENT__WHAT_JOB &&
                    er->events[i]->job->state == PB_JOB__STATE__STATE_SUCCEEDED;
        if (er->n_events == 0) {
            goctl_reply_free(reply);
            return fail("events are missing");
        }
        goctl_reply_free(reply);
    }
    return ends == want || fail("an end was told twice");
}

int
main(int argc, char **argv)
{
    struct goctl_options options = {.url = argc > 1 ? argv[1] : NULL};
    struct goctl_error err = {.text = ""};
    bool good;

    if (goctl_connect(&options, &client, &err) < 0) {
        (void)fprintf(stderr, "library: %s\n", err.text);
        return 1;
    }
    good = threads_submit_and_wait() && the_events_tell_the_same();
    goctl_close(client);
    puts(good ? "all is well" : "something is wrong");
    return good ? 0 : 1;
}
