#include "client/waiter.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "client/conn.h"
#include "client/show.h"

enum { JOBS_PER_REPLY = 5000 };

#define LONG_NS    (600 * GOCTL_SECOND)
#define BAR_NS     (GOCTL_SECOND / 4) /* how fresh the bar is while nothing finishes, */
#define BAR_MAX_NS (2 * GOCTL_SECOND) /* and when nothing has for a while */

void
waiter_init(struct waiter *w, struct cli *cli)
{
    *w = (struct waiter){.cli = cli, .until_ns = GOCTL_FOREVER, .bar_ns = BAR_NS};
    w->w.jobs = true;
    w->w.results = true;
    w->w.limit = JOBS_PER_REPLY;
    progress_init(&w->progress, !cli->a.json);
}

static const char *
subject_of(const struct waiter *w, uint64_t id)
{
    for (size_t i = 0; i < w->n; i++)
        if (w->ids[i] == id)
            return w->subjects[i];
    return NULL;
}

/* A waiting script wants what came of the job; times and places are for `goctl show`. */
static void
make_lean(PbJob *job)
{
    job->submitted = NULL;
    job->run_at = NULL;
    job->started = NULL;
    job->finished = NULL;
    job->deadline = NULL;
    job->queue = NULL;
    job->progress = NULL;
    job->has_priority = 0;
    job->has_retries = 0;
}

static void
print_job(const struct waiter *w, const PbJob *job)
{
    const char *subject = subject_of(w, job->id);
    char label[300], why[1000];

    if (subject == NULL)
        subject = job->name;
    if (subject != NULL)
        (void)snprintf(label, sizeof(label), "job %" PRIu64 " (%.240s)", job->id,
                       subject);
    else
        (void)snprintf(label, sizeof(label), "job %" PRIu64, job->id);
    if (job->state != PB_JOB__STATE__STATE_SUCCEEDED) {
        (void)show_error(job->error, why, sizeof(why));
        out_note("%s %s%s%s", label, show_state(job->state), why[0] != '\0' ? ": " : "",
                 why);
        return;
    }
    if (w->many) {
        const char *name = subject != NULL ? subject : label;

        out_colour(BOLD);
        out_text(name, strlen(name));
        out_colour(PLAIN);
        out_printf(show_answer_is_line(job) ? ": " : ":\n");
    }
    show_answer(job);
}

void
waiter_job(struct waiter *w, PbJob *job)
{
    if (job->state == PB_JOB__STATE__STATE_SUCCEEDED)
        w->succeeded++;
    else
        w->others++;
    if (job->error != NULL && job->state != PB_JOB__STATE__STATE_SUCCEEDED) {
        PbError__Code code = PB_GET(job->error, code, PB_ERROR__CODE__INTERNAL);

        if (opt_given(&w->cli->a, "deadline") &&
            (code == PB_ERROR__CODE__DEADLINE || code == PB_ERROR__CODE__EXPIRED))
            w->late = true;
    }
    if (w->cli->a.json) {
        make_lean(job);
        out_json(PB_BASE(job));
    } else {
        print_job(w, job);
    }
}

static int64_t
round_ns(const struct waiter *w, int64_t ns)
{
    int64_t left = w->until_ns == GOCTL_FOREVER ? ns : w->until_ns - goctl_now();

    return left < ns ? left : ns;
}

static void
take(struct waiter *w, const PbWaitReply *wr)
{
    const PbCounts *counts = wr->batch != NULL ? wr->batch->counts : NULL;

    if (counts != NULL && PB_GET(counts, total, 0) > 1)
        w->many = true;
    if (wr->batch != NULL && wr->batch->error != NULL &&
        PB_GET(wr->batch->error, code, 0) == PB_ERROR__CODE__DEADLINE)
        w->late = true;
    for (size_t i = 0; i < wr->n_jobs; i++)
        waiter_job(w, wr->jobs[i]);
    if (wr->n_jobs > 0)
        w->bar_ns = BAR_NS;
    else if (w->bar_ns < BAR_MAX_NS)
        w->bar_ns *= 2;
    /* With nothing more to come at once, what is here should be seen. */
    if (wr->n_jobs < JOBS_PER_REPLY)
        out_flush();
    w->progress.submitted = w->submitted;
    if (counts != NULL)
        progress_draw(&w->progress, counts);
}

void
waiter_took(struct waiter *w, const PbWaitReply *wr)
{
    w->w.after = PB_GET(wr, next, 0);
    w->w.done = PB_GET(wr, done, false);
    take(w, wr);
}

static void
give_up(struct waiter *w)
{
    w->broken = w->cli->argc > 0
                    ? out_fail(EXIT_DEADLINE, "not finished yet; goctl wait %s goes on",
                               w->cli->argv[0])
                    : out_fail(EXIT_DEADLINE, "not finished yet");
}

void
waiter_run(struct waiter *w)
{
    struct goctl_error err = {0};
    struct goctl_reply *reply;

    while (!w->w.done) {
        int64_t ns = round_ns(w, w->progress.on ? w->bar_ns : LONG_NS);

        if (ns <= 0) {
            progress_clear(&w->progress);
            give_up(w);
            return;
        }
        if (goctl_wait_next(w->cli->conn, &w->w, ns, &reply, &err) < 0) {
            progress_clear(&w->progress);
            w->broken = out_error(&err);
            return;
        }
        take(w, goctl_response(reply)->wait);
        goctl_reply_free(reply);
    }
    progress_clear(&w->progress);
}

void
waiter_one(struct waiter *w, uint64_t job, uint64_t batch)
{
    struct goctl_error err = {0};
    struct goctl_reply *reply;
    bool printed = false;

    w->w = (struct goctl_wait){.job = job, .jobs = true, .results = true, .limit = 1};
    while (!w->w.done && !printed && w->broken == 0) {
        int64_t ns = round_ns(w, LONG_NS);
        const PbWaitReply *wr;

        if (ns <= 0) {
            give_up(w);
            return;
        }
        if (goctl_wait_next(w->cli->conn, &w->w, ns, &reply, &err) < 0) {
            w->broken = out_error(&err);
            return;
        }
        wr = goctl_response(reply)->wait;
        for (size_t i = 0; i < wr->n_jobs && !printed; i++) {
            if (!show_finished(wr->jobs[i]->state))
                continue;
            if (batch == 0 || wr->jobs[i]->batch != batch)
                waiter_job(w, wr->jobs[i]);
            printed = true;
        }
        goctl_reply_free(reply);
        out_flush();
    }
}

int
waiter_code(const struct waiter *w)
{
    if (w->broken != 0)
        return w->broken;
    if (w->late)
        return EXIT_DEADLINE;
    return w->others > 0 ? EXIT_JOB : EXIT_ALL_WELL;
}
