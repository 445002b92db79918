/*
 * goctl watch: what happens, as it happens. With top.c the commands that follow the daemon.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "client/cli.h"
#include "client/show.h"
#include "client/top.h"

#define LONG_NS (600 * GOCTL_SECOND)

static void
text(const char *s)
{
    out_text(s, strlen(s));
}

static void
print_state(const PbJob *j)
{
    out_colour(show_state_colour(j->state));
    out_printf("%s", show_state(j->state));
    out_colour(PLAIN);
}

static void
print_job(const PbJob *j)
{
    char why[400];

    out_printf("job %" PRIu64 " (batch %" PRIu64, j->id, j->batch);
    if (j->has_kind)
        out_printf(", %s", show_kind(j->kind));
    if (j->name != NULL) {
        out_printf(" ");
        text(j->name);
    }
    out_printf(") ");
    print_state(j);
    if (PB_GET(j, attempt, 0) > 1)
        out_printf(", attempt %" PRIu32, j->attempt);
    if (j->error != NULL) {
        out_printf(": ");
        text(show_error(j->error, why, sizeof(why)));
    }
    if (j->result_case != PB_JOB__RESULT__NOT_SET && show_answer_is_line(j)) {
        out_printf(": ");
        show_answer(j); /* ends the line */
        return;
    }
    out_add("\n", 1);
}

static void
print_batch(const PbBatch *b)
{
    out_printf("batch %" PRIu64, b->id);
    if (b->counts != NULL)
        out_printf(" +%" PRIu64 " jobs", PB_GET(b->counts, total, 0));
    if (b->has_state)
        out_printf(" %s", show_batch_state(b->state));
    out_add("\n", 1);
}

static void
print_progress(const PbJobProgress *p)
{
    char far[120];

    out_printf("job %" PRIu64 " (batch %" PRIu64 ") ", p->job, p->batch);
    if (p->progress != NULL)
        out_printf("%s", show_progress(p->progress, far, sizeof(far)));
    out_add("\n", 1);
}

static void
print_schedule(const PbSchedule *s)
{
    static const char *const what[] = {
        [PB_SCHEDULE__CHANGE__CHANGE_NONE] = "changed",
        [PB_SCHEDULE__CHANGE__CHANGE_FIRED] = "started batch",
        [PB_SCHEDULE__CHANGE__CHANGE_SKIPPED] = "skipped a run",
        [PB_SCHEDULE__CHANGE__CHANGE_ADDED] = "added",
        [PB_SCHEDULE__CHANGE__CHANGE_CHANGED] = "changed",
        [PB_SCHEDULE__CHANGE__CHANGE_PAUSED] = "paused",
        [PB_SCHEDULE__CHANGE__CHANGE_RESUMED] = "resumed",
        [PB_SCHEDULE__CHANGE__CHANGE_REMOVED] = "removed",
    };
    size_t i = (size_t)PB_GET(s, change, PB_SCHEDULE__CHANGE__CHANGE_NONE);

    out_printf("schedule %" PRIu64 " %s", s->id,
               what[i < sizeof(what) / sizeof(what[0]) ? i : 0]);
    if (i == PB_SCHEDULE__CHANGE__CHANGE_FIRED)
        out_printf(" %" PRIu64, s->last_batch);
    out_add("\n", 1);
}

static void
print_queue(const PbQueue *q)
{
    const PbQueueLimits *l = q->limits;

    out_printf("queue ");
    text(q->name != NULL ? q->name : "");
    if (l != NULL && PB_GET(l, paused, false))
        out_printf(" is paused");
    else
        out_printf(" runs");
    if (l != NULL && PB_GET(l, running, 0) > 0)
        out_printf(", %" PRIu32 " at once", l->running);
    if (l != NULL && PB_GET(l, rate, 0) > 0)
        out_printf(", %.4g starts a second", l->rate);
    out_add("\n", 1);
}

static void
print_event(const PbEvent *e)
{
    char time[SHOW_TEXT_MAX];

    if (e->what_case == PB_EVENT__WHAT__NOT_SET)
        return; /* of a later version */
    out_printf("%s ", show_time(e->time, time));
    switch (e->what_case) {
    case PB_EVENT__WHAT_JOB:
        print_job(e->job);
        break;
    case PB_EVENT__WHAT_BATCH:
        print_batch(e->batch);
        break;
    case PB_EVENT__WHAT_PROGRESS:
        print_progress(e->progress);
        break;
    case PB_EVENT__WHAT_SCHEDULE:
        print_schedule(e->schedule);
        break;
    case PB_EVENT__WHAT_QUEUE:
        print_queue(e->queue);
        break;
    case PB_EVENT__WHAT_DAEMON:
    case PB_EVENT__WHAT__NOT_SET:
    default:
        out_json(PB_BASE(e));
        break;
    }
}

/* A name means the newest batch of that name: another may be that later. */
static int
name_to_number(struct cli *cli, PbSelector *select)
{
    PbBatchRef ref = PB_BATCH_REF__INIT;
    PbRequest req = PB_REQUEST__INIT;
    struct goctl_reply *reply;
    int code = 0;

    ref.name = select->batch_name;
    req.call_case = PB_REQUEST__CALL_BATCH_GET;
    req.batch_get = &ref;
    reply = cli_call(cli, &req, PB_RESPONSE__REPLY_BATCH, &code);
    if (reply == NULL)
        return code;
    PB_SET(select, batch, goctl_response(reply)->batch->id);
    select->batch_name = NULL;
    goctl_reply_free(reply);
    return 0;
}

static void
print_events(struct cli *cli, const PbEventsReply *r)
{
    if (PB_GET(r, lost, false))
        out_note("some events are no longer kept");
    for (size_t i = 0; i < r->n_events; i++)
        if (cli->a.json)
            out_json(PB_BASE(r->events[i]));
        else
            print_event(r->events[i]);
    out_flush();
}

static int
run_watch(struct cli *cli)
{
    struct goctl_events ev = {.after = GOCTL_NOW, .progress = !cli->a.no_progress};
    struct goctl_error err = {0};
    struct goctl_reply *reply;
    int code;

    if (!cli_selector(cli, &ev.select))
        return EXIT_USAGE;
    if (ev.select != NULL && ev.select->batch_name != NULL) {
        code = name_to_number(cli, ev.select);
        if (code != 0)
            return code;
    }
    if (opt_given(&cli->a, "since"))
        ev.after = cli->a.since;
    while (goctl_events_next(cli->conn, &ev, LONG_NS, &reply, &err) == 0) {
        print_events(cli, goctl_response(reply)->events);
        goctl_reply_free(reply);
    }
    return out_error(&err);
}

const struct command live_commands[] = {
    {"watch", "", "Print what happens as it happens",
     "batch state kind label name queue since no-progress",
     "Every event of jobs, batches and schedules, and how far running jobs are. With\n"
     "--batch alone all events of that batch; any other condition leaves the events of "
     "the\n"
     "jobs it selects. Goes on where it was when the daemon is back after a restart. "
     "Each\n"
     "event has a number (seq, with --json), from which --since resumes; --since 0 "
     "begins\n"
     "with the oldest that is kept.",
     "watch --batch 7 --json", 0, 0, false, run_watch},
    {"top", "", "The daemon at work, on a screen that follows it", "once every",
     "Queues, batches, running jobs with their age and progress, and the scheduler. The\n"
     "arrow keys, Page Up and Page Down move through the running jobs, q or Ctrl-C "
     "leaves.\n"
     "In a pipe, or with --once, one snapshot as plain text; with --json as an object.",
     "top --once", 0, 0, false, top_run},
    {0},
};
