#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/call.h"
#include "daemon/dispatch.h"
#include "daemon/hub.h"
#include "daemon/jobpb.h"
#include "daemon/queuepb.h"
#include "daemon/schedules.h"
#include "daemon/watch.h"
#include "jobs/kind.h"
#include "runtime/base/atomic.h"
#include "runtime/go.h"

enum { RUNNING_DFLT = 50, RUNNING_MAX = 1000, BATCHES_MAX = 100 };

static uint64_t
file_size(const char *path, const char *suffix)
{
    char name[4200];
    struct stat st;

    (void)snprintf(name, sizeof(name), "%s%s", path, suffix);
    return stat(name, &st) == 0 ? (uint64_t)st.st_size : 0;
}

static uint64_t
rss_bytes(void)
{
    char line[128] = "", *end;
    unsigned long pages;
    FILE *f = fopen("/proc/self/statm", "re");

    if (f == NULL)
        return 0;
    if (fgets(line, sizeof(line), f) == NULL)
        line[0] = '\0';
    (void)fclose(f);
    (void)strtoul(line, &end, 10); /* size; what follows is the resident part */
    pages = strtoul(end, NULL, 10);
    return (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static int
fill_kinds(struct call *c, PbStatsReply *rep)
{
    struct dispatch_counts n;

    dispatch_counts(c->d->dispatch, &n);
    rep->kinds = call_array(c, STORE_KIND_MAX + 1, sizeof(*rep->kinds));
    if (rep->kinds == NULL)
        return -ENOBUFS;
    for (int k = 0; k <= STORE_KIND_MAX; k++) {
        PbKindStats *s;

        if (job_kind_find(k) == NULL)
            continue;
        s = call_new(c, &pb_kind_stats__descriptor);
        if (s == NULL)
            return -ENOBUFS;
        PB_SET(s, kind, (PbJob__Kind)k);
        PB_SET(s, running, (uint64_t)n.kind[k].running);
        PB_SET(s, succeeded, (uint64_t)n.kind[k].succeeded);
        PB_SET(s, failed, (uint64_t)n.kind[k].failed);
        PB_SET(s, limit, (uint32_t)n.kind[k].limit);
        rep->kinds[rep->n_kinds++] = s;
    }
    return 0;
}

static int
fill_scheduler(struct call *c, PbStatsReply *rep)
{
    PbSchedulerStats *out = call_new(c, &pb_scheduler_stats__descriptor);
    struct go_stats s;

    if (out == NULL)
        return -ENOBUFS;
    go_stats(&s);
    PB_SET(out, procs, (uint32_t)s.maxprocs);
    PB_SET(out, threads, (uint32_t)s.threads);
    PB_SET(out, goroutines, (uint64_t)s.live);
    PB_SET(out, spawned, (uint64_t)s.spawned);
    PB_SET(out, runnable, (uint64_t)s.runnable);
    PB_SET(out, parked, (uint64_t)s.parked);
    PB_SET(out, steals, (uint64_t)s.steals);
    PB_SET(out, handoffs, (uint64_t)s.handoffs);
    PB_SET(out, switches, (uint64_t)s.switches);
    PB_SET(out, stack_bytes, (uint64_t)s.stack_inuse);
    PB_SET(out, preemptions, (uint64_t)s.preempted);
    rep->scheduler = out;
    return 0;
}

static int
fill_store(struct call *c, PbStatsReply *rep)
{
    const char *path = store_path(c->d->store);
    PbStoreStats *out = call_new(c, &pb_store_stats__descriptor);
    struct store_writer_stats w = store_writer_stats(c->d->writer);

    if (out == NULL)
        return -ENOBUFS;
    PB_SET(out, file_bytes, GO_BLOCKING(file_size(path, "")));
    PB_SET(out, wal_bytes, GO_BLOCKING(file_size(path, "-wal")));
    PB_SET(out, free_bytes, (uint64_t)LOAD(&c->d->free_bytes, RELAXED));
    PB_SET(out, commits, (uint64_t)w.commits);
    PB_SET(out, writes, (uint64_t)w.writes);
    out->commit_avg = call_duration(c, w.commits > 0 ? w.commit_ns / w.commits : 0);
    out->commit_max = call_duration(c, w.commit_max_ns);
    PB_SET(out, schema, (uint64_t)store_schema());
    rep->store = out;
    return out->commit_avg == NULL || out->commit_max == NULL ? -ENOBUFS : 0;
}

static int
add_running(struct call *c, PbStatsReply *rep, int64_t id)
{
    struct store_jobs jobs = {.v = NULL};
    int r = CALL_READ(c, rd, store_read_job(rd, id, jobpb_store_want(0), &jobs));

    if (r > 0 && jobs.v[0].state == STORE_RUNNING) {
        rep->running[rep->n_running] = jobpb_make(c, &jobs.v[0], 0);
        if (rep->running[rep->n_running++] == NULL)
            r = -ENOBUFS;
    }
    store_jobs_free(&jobs);
    return r < 0 ? r : 0;
}

static int
add_batch(struct call *c, PbStatsReply *rep, const struct store_batch_info *b)
{
    rep->batches[rep->n_batches] = jobpb_batch(c, b);
    return rep->batches[rep->n_batches++] == NULL ? -ENOBUFS : 0;
}

/* The batch of a running job may be too old to be found among the newest. */
static int
add_batch_of(struct call *c, PbStatsReply *rep, int64_t id)
{
    struct store_batches v = {.v = NULL};
    int r;

    for (size_t i = 0; i < rep->n_batches; i++)
        if ((int64_t)rep->batches[i]->id == id)
            return 0;
    if (rep->n_batches == BATCHES_MAX)
        return 0;
    r = CALL_READ(c, rd, store_read_batch(rd, id, &v));
    if (r > 0 && v.v[0].finished == 0)
        r = add_batch(c, rep, &v.v[0]);
    store_batches_free(&v);
    return r < 0 ? r : 0;
}

/* The running jobs that were claimed first. */
static int
fill_running(struct call *c, PbStatsReply *rep)
{
    const PbStats *in = c->req->stats;
    size_t max = PB_GET(in, running_limit, RUNNING_DFLT), n;
    struct dispatch_look *v;
    int r = 0;

    max = max < RUNNING_MAX ? max : RUNNING_MAX;
    v = call_array(c, max + 1, sizeof(*v));
    rep->running = call_array(c, max + 1, sizeof(*rep->running));
    if (v == NULL || rep->running == NULL)
        return -ENOBUFS;
    n = dispatch_list(c->d->dispatch, max, v);
    for (size_t i = 0; r == 0 && i < n; i++) {
        r = add_running(c, rep, v[i].job);
        if (r == 0)
            r = add_batch_of(c, rep, v[i].batch);
    }
    return r;
}

/* The newest unfinished batches. */
static int
fill_batches(struct call *c, PbStatsReply *rep)
{
    struct store_batches v = {.v = NULL};
    int r = CALL_READ(c, rd, store_read_unfinished(rd, BATCHES_MAX, &v));

    rep->batches = call_array(c, BATCHES_MAX, sizeof(*rep->batches));
    if (r == 0 && rep->batches == NULL)
        r = -ENOBUFS;
    for (size_t i = 0; r == 0 && i < v.n; i++)
        r = add_batch(c, rep, &v.v[i]);
    store_batches_free(&v);
    return r;
}

static int
fill_rates(struct call *c, PbStatsReply *rep)
{
    struct rates_sample *s = call_array(c, 1, sizeof(*s));
    struct rates_now *now = call_array(c, 1, sizeof(*now));

    if (s == NULL || now == NULL)
        return -ENOBUFS;
    watch_sample(c->d, s);
    rates_now(&c->d->rates, s, now);
    PB_SET(rep, submit_rate, now->submit);
    PB_SET(rep, finish_rate, now->finish);
    for (size_t i = 0; i < rep->n_queues; i++) /* by id */
        PB_SET(rep->queues[i], started_rate, now->started[i]);
    return 0;
}

int
call_stats(struct call *c)
{
    const PbStats *in = c->req->stats;
    PbStatsReply *rep = call_new(c, &pb_stats_reply__descriptor);
    PbQueue **queues;
    size_t n_queues;
    int r;

    if (rep == NULL)
        return -ENOBUFS;
    rep->version = call_dup(c, DAEMON_VERSION);
    PB_SET(rep, epoch, c->d->epoch);
    rep->uptime = call_duration(c, go_now() - c->d->started);
    PB_SET(rep, state,
           LOAD(&c->d->draining, RELAXED) ? PB_DAEMON__STATE__STATE_DRAINING
                                          : PB_DAEMON__STATE__STATE_RUNNING);
    PB_SET(rep, rss_bytes, GO_BLOCKING(rss_bytes()));
    PB_SET(rep, clients, (uint32_t)call_count());
    PB_SET(rep, waiters, (uint64_t)hub_waiters(c->d->hub));
    PB_SET(rep, schedules, (uint64_t)schedules_count(c->d->schedules));
    rep->counts = call_new(c, &pb_counts__descriptor);
    if (rep->counts == NULL)
        return -ENOBUFS;
    r = queuepb_all(c, &queues, &n_queues, rep->counts);
    if (r == 0 && PB_GET(in, queues, 0)) {
        rep->queues = queues;
        rep->n_queues = n_queues;
    }
    if (r == 0)
        r = fill_kinds(c, rep);
    if (r == 0)
        r = fill_scheduler(c, rep);
    if (r == 0)
        r = fill_store(c, rep);
    if (r == 0)
        r = fill_rates(c, rep);
    if (r == 0)
        r = fill_batches(c, rep);
    if (r == 0 && PB_GET(in, running, 0))
        r = fill_running(c, rep);
    if (r < 0)
        return r;
    c->rep->reply_case = PB_RESPONSE__REPLY_STATS;
    c->rep->stats = rep;
    return 0;
}
