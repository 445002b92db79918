#include "client/top_view.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "client/show.h"
#include "proto/wire.h"

enum { BAR_MIN = 10, BAR_MAX = 30, HEAD_ROWS = 2, LOW = 16 };

/* How many rows of each list fit the screen. */
struct rows {
    size_t queues, batches, jobs;
};

/* --- the head --------------------------------------------------------------------------- */

static void
head_line(const struct top_view *v, struct page *p)
{
    const PbStatsReply *r = v->now;
    char span[SHOW_TEXT_MAX];

    page_line(p);
    page_put(p, BOLD, "gojobd %s", r->version != NULL ? r->version : "");
    page_put(p, PLAIN, ", up %s, ", show_span(pb_duration_ns(r->uptime, 0), span));
    if (v->lost_ns > 0)
        page_put(p, RED, "no answer for %s: looking for the daemon",
                 show_span(v->lost_ns / GOCTL_SECOND * GOCTL_SECOND, span));
    else if (PB_GET(r, state, PB_DAEMON__STATE__STATE_RUNNING) ==
             PB_DAEMON__STATE__STATE_DRAINING)
        page_put(p, YELLOW, "stopping");
    else
        page_put(p, GREEN, "running");
    page_put(p, DIM, "  %s", v->url);
}

static void
jobs_line(const struct top_view *v, struct page *p)
{
    static const PbCounts none = PB_COUNTS__INIT;
    const PbStatsReply *r = v->now;
    const PbCounts *c = r->counts != NULL ? r->counts : &none;
    size_t w = v->columns;

    page_phrase(p, "jobs", w, "%" PRIu64 " running", c->running);
    page_phrase(p, NULL, w, "%" PRIu64 " queued", c->queued);
    page_phrase(p, NULL, w, "%" PRIu64 " scheduled", c->scheduled);
    page_phrase(p, NULL, w, "%" PRIu64 " succeeded", c->succeeded);
    page_phrase(p, NULL, w, "%" PRIu64 " failed", c->failed + c->dead);
    page_phrase(p, NULL, w, "%" PRIu64 " cancelled", c->cancelled);
}

static void
rates_line(const struct top_view *v, struct page *p)
{
    const PbStatsReply *r = v->now;
    size_t w = v->columns;

    page_phrase(p, "rate", w, "%.4g submitted", r->submit_rate);
    page_phrase(p, NULL, w, "%.4g finished a second", r->finish_rate);
    page_phrase(p, NULL, w, "%" PRIu32 " calls", r->clients);
    page_phrase(p, NULL, w, "%" PRIu64 " waiting", r->waiters);
}

static void
kinds_line(const struct top_view *v, struct page *p)
{
    const char *heading = "kinds";

    for (size_t i = 0; i < v->now->n_kinds; i++) {
        const PbKindStats *k = v->now->kinds[i];

        if (k->running == 0)
            continue;
        page_phrase(p, heading, v->columns, "%s %" PRIu64 " of %" PRIu32,
                    show_kind(k->kind), k->running, k->limit);
        heading = NULL;
    }
}

static void
memory_lines(const struct top_view *v, struct page *p)
{
    const PbStoreStats *s = v->now->store;
    char text[SHOW_TEXT_MAX], max[SHOW_TEXT_MAX];
    size_t w = v->columns;

    page_phrase(p, "memory", w, "%s", show_size(v->now->rss_bytes, text));
    if (s == NULL)
        return;
    page_phrase(p, NULL, w, "store %s", show_size(s->file_bytes, text));
    page_phrase(p, NULL, w, "log %s", show_size(s->wal_bytes, text));
    page_phrase(p, NULL, w, "disk %s free", show_size(s->free_bytes, text));
    page_phrase(p, NULL, w, "%" PRIu64 " commits of %.3g writes", s->commits,
                s->commits > 0 ? (double)s->writes / (double)s->commits : 0.0);
    page_phrase(p, NULL, w, "%s each (at most %s)",
                show_span(pb_duration_ns(s->commit_avg, 0), text),
                show_span(pb_duration_ns(s->commit_max, 0), max));
}

/* "12 steals", and a second, when that is known. */
static void
counter(const struct top_view *v, struct page *p, uint64_t now, uint64_t before,
        const char *name)
{
    if (v->before == NULL || v->span_ns <= 0 || now < before)
        page_phrase(p, NULL, v->columns, "%" PRIu64 " %s", now, name);
    else
        page_phrase(p, NULL, v->columns, "%.4g %s/s",
                    (double)(now - before) * 1e9 / (double)v->span_ns, name);
}

static void
scheduler_lines(const struct top_view *v, struct page *p)
{
    const PbSchedulerStats *s = v->now->scheduler, *b;

    if (s == NULL)
        return;
    b = v->before != NULL && v->before->scheduler != NULL ? v->before->scheduler : s;
    page_phrase(p, "scheduler", v->columns, "%" PRIu32 " Ps", s->procs);
    page_phrase(p, NULL, v->columns, "%" PRIu32 " threads", s->threads);
    page_phrase(p, NULL, v->columns, "%" PRIu64 " goroutines", s->goroutines);
    page_phrase(p, NULL, v->columns, "%" PRIu64 " runnable", s->runnable);
    counter(v, p, s->switches, b->switches, "switches");
    counter(v, p, s->steals, b->steals, "steals");
    counter(v, p, s->handoffs, b->handoffs, "hand-offs");
    counter(v, p, s->preemptions, b->preemptions, "preemptions");
}

/* --- lists ------------------------------------------------------------------------------ */

/* The heading of a list of n, of which `shown` are, from `first` on. */
static void
list_head(struct page *p, const char *text, size_t first, size_t shown, size_t n)
{
    page_line(p);
    page_line(p);
    page_put(p, BOLD, "%s", text);
    if (shown < n)
        page_put(p, DIM, "  (%zu-%zu of %zu)", first + 1, first + shown, n);
}

static void
queue_list(const struct top_view *v, struct page *p, size_t shown)
{
    const PbStatsReply *r = v->now;

    if (shown == 0)
        return;
    list_head(p, "RUNNING  LIMIT   QUEUED   LATER  STARTS/S  QUEUE", 0, shown,
              r->n_queues);
    for (size_t i = 0; i < shown; i++) {
        const PbQueue *q = r->queues[i];
        char limit[24] = "-";
        bool paused = q->limits != NULL && PB_GET(q->limits, paused, false);

        if (q->limits != NULL && PB_GET(q->limits, running, 0) > 0)
            (void)snprintf(limit, sizeof(limit), "%" PRIu32, q->limits->running);
        page_line(p);
        page_put(p, PLAIN, "%7" PRIu64 " %6s %8" PRIu64 " %7" PRIu64 " %9.4g  ",
                 q->running, limit, q->queued, q->scheduled, q->started_rate);
        page_put(p, PLAIN, "%s", q->name != NULL ? q->name : "");
        if (paused)
            page_put(p, YELLOW, " paused");
    }
}

static size_t
bar_columns(const struct top_view *v)
{
    size_t n = v->columns / 4;

    return n < BAR_MIN ? BAR_MIN : n > BAR_MAX ? BAR_MAX : n;
}

static void
batch_list(const struct top_view *v, struct page *p, size_t shown)
{
    static const PbCounts none = PB_COUNTS__INIT;
    const PbStatsReply *r = v->now;

    if (shown == 0)
        return;
    list_head(p, "  BATCH  DONE", 0, shown, r->n_batches);
    for (size_t i = 0; i < shown; i++) {
        const PbBatch *b = r->batches[i];
        const PbCounts *c = b->counts != NULL ? b->counts : &none;
        uint64_t bad = c->failed + c->dead;
        uint64_t done = c->succeeded + bad + c->cancelled;
        double part = c->total > 0 ? (double)done / (double)c->total : 0;

        page_line(p);
        page_put(p, PLAIN, "%7" PRIu64 "  ", b->id);
        page_bar(p, GREEN, bar_columns(v), part);
        page_put(p, PLAIN, " %3.0f%%  %" PRIu64 "/%" PRIu64, part * 100, done, c->total);
        if (bad > 0)
            page_put(p, RED, ", %" PRIu64 " failed", bad);
        page_put(p, PLAIN, ", %" PRIu64 " running", c->running);
        if (b->name != NULL)
            page_put(p, PLAIN, "  %s", b->name);
        if (PB_GET(b, state, PB_BATCH__STATE__STATE_CLOSED) ==
            PB_BATCH__STATE__STATE_OPEN)
            page_put(p, DIM, "  open");
    }
}

static const PbJob *
find_job(const PbStatsReply *r, const PbJob *j)
{
    for (size_t i = 0; r != NULL && i < r->n_running; i++)
        if (r->running[i]->id == j->id && r->running[i]->attempt == j->attempt)
            return r->running[i];
    return NULL;
}

/* "; 34 MiB/s" */
static void
job_speed(const struct top_view *v, const PbJob *j, char *out, size_t size)
{
    const PbJob *b = find_job(v->before, j);
    char text[SHOW_TEXT_MAX];
    double speed;

    out[0] = '\0';
    if (b == NULL || b->progress == NULL || v->span_ns <= 0 ||
        j->progress->done <= b->progress->done)
        return;
    speed = (double)(j->progress->done - b->progress->done) * 1e9 / (double)v->span_ns;
    if (PB_GET(j->progress, unit, PB_PROGRESS__UNIT__BYTES) == PB_PROGRESS__UNIT__BYTES)
        (void)snprintf(out, size, ", %s/s", show_size((uint64_t)speed, text));
    else
        (void)snprintf(out, size, ", %.3g/s", speed);
}

static void
job_progress(const struct top_view *v, struct page *p, const PbJob *j)
{
    const PbProgress *g = j->progress;
    char far[160], speed[SHOW_TEXT_MAX + 8];

    if (g == NULL)
        return;
    if (g->has_total && g->total > 0) {
        page_bar(p, BLUE, BAR_MIN + 2, (double)g->done / (double)g->total);
        page_put(p, PLAIN, " ");
    }
    job_speed(v, j, speed, sizeof(speed));
    page_put(p, PLAIN, "%s%s", show_progress(g, far, sizeof(far)), speed);
}

static void
job_list(const struct top_view *v, struct page *p, size_t shown)
{
    const PbStatsReply *r = v->now;
    size_t first = v->skip < r->n_running ? v->skip : 0;
    uint64_t n = r->counts != NULL ? r->counts->running : r->n_running;
    int64_t now = show_wall_ns();

    if (shown == 0)
        return;
    if (shown > r->n_running - first)
        shown = r->n_running - first;
    list_head(p, "    JOB  BATCH  KIND      AGE  PROGRESS", first, shown,
              n > r->n_running ? (size_t)n : r->n_running);
    for (size_t i = first; i < first + shown; i++) {
        const PbJob *j = r->running[i];
        int64_t age = now - pb_timestamp_ns(j->started, now);
        char span[SHOW_TEXT_MAX];

        page_line(p);
        page_put(p, PLAIN, "%7" PRIu64 " %6" PRIu64 "  %-5s %7s  ", j->id, j->batch,
                 show_kind(j->kind), show_span(age > 0 ? age : 0, span));
        if (j->name != NULL)
            page_put(p, BOLD, "%s ", j->name);
        job_progress(v, p, j);
    }
}

/* --- the whole -------------------------------------------------------------------------- */

static size_t
least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Rows for a list of n out of *left: the list's own, without its blank line and heading.
 * At most `most` rows in all. */
static size_t
give(size_t *left, size_t n, size_t most)
{
    size_t rows = least(n + HEAD_ROWS, least(*left, most));

    if (n == 0 || rows <= HEAD_ROWS)
        return 0;
    *left -= rows;
    return rows - HEAD_ROWS;
}

/* Running jobs matter most, then batches; a short list leaves its rows to the others. */
static struct rows
share(const struct top_view *v, size_t used)
{
    const PbStatsReply *r = v->now;
    struct rows n = {r->n_queues, r->n_batches, r->n_running};
    size_t left, all;

    if (v->rows == 0)
        return n;
    all = left = v->rows > used ? v->rows - used : 0;
    /* What the others leave, and at least half. */
    n.jobs = give(&left, n.jobs,
                  all - least(all / 2, (n.batches > 0) * (n.batches + HEAD_ROWS) +
                                           (n.queues > 0) * (n.queues + HEAD_ROWS)));
    n.batches = give(&left, n.batches,
                     left - least(left / 3, (n.queues > 0) * (n.queues + HEAD_ROWS)));
    n.queues = give(&left, n.queues, left);
    return n;
}

void
top_view(const struct top_view *v, struct page *p)
{
    bool low = v->rows > 0 && v->rows < LOW; /* the lists are worth more */
    struct rows n;

    page_clear(p);
    head_line(v, p);
    jobs_line(v, p);
    if (!low) {
        rates_line(v, p);
        kinds_line(v, p);
        memory_lines(v, p);
    }
    scheduler_lines(v, p);
    n = share(v, p->n);
    queue_list(v, p, n.queues);
    batch_list(v, p, n.batches);
    job_list(v, p, n.jobs);
}
