/*
 * schedule_year DIR SEED: what the service does with cron lines in the time it is given, for
 * year_oracle.py to check. Each line of stdin is "ZONE|FROM|TO|CRON"; FROM and TO are those of
 * the first for all. A schedule of each is made at FROM, in a store in DIR, with what runs
 * were missed made up for. The engine then lives through virtual time up to TO (GOSEED), in
 * which it is stopped, now and then is away for up to three days, and starts anew from the
 * store. The nominal times of a line's runs, in the order they were submitted, go to one line
 * of stdout; it ends with the number of batches that the store has of them.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/config.h"
#include "daemon/schedule/clock.h"
#include "daemon/schedule/engine.h"
#include "daemon/schedule/record.h"
#include "daemon/schedule/tz.h"
#include "daemon/schedule_run.h"
#include "daemon/schedule_spec.h"
#include "daemon/store/read.h"
#include "daemon/store/store.h"
#include "proto/wire.h"
#include "runtime/base/check.h"
#include "runtime/go.h"

#define HOUR (3600 * GO_SECOND)

enum { LINES_MAX = 32, TIMES_MAX = 20000 };

struct line {
    int64_t id;
    int64_t times[TIMES_MAX]; /* in seconds */
    size_t n;
};

struct year {
    struct store_opts where;
    struct store *st;
    struct config *cfg;
    struct sched_clock *clock;
    struct sched_defaults defaults;
    uint64_t rnd;
    int64_t until; /* ms since 1970 */
    struct line *lines;
    size_t n;
};

static uint64_t
draw(struct year *y, uint64_t below)
{
    y->rnd = y->rnd * 6364136223846793005u + 1442695040888963407u;
    return (y->rnd >> 33) % below;
}

static void
open_store(struct year *y)
{
    char err[256] = "";

    if (GO_BLOCKING(store_open(&y->where, sched_clock_now(y->clock), &y->st, err,
                               sizeof(err))) < 0)
        (void)fprintf(stderr, "%s\n", err);
    ENSURE(y->st != NULL);
}

/* --- the sink ---------------------------------------------------------------------------- */

static int
load(void *arg, struct sched_engine *e)
{
    struct year *y = arg;
    struct store_schedules v = {.v = NULL};
    struct store_reader *rd = NULL;
    struct proto_err why;
    struct proto_arena a;
    ProtobufCMessage *m;
    char err[256];

    ENSURE(store_reader_open(y->where.path, NULL, &rd, err, sizeof(err)) == 0);
    ENSURE(store_read_schedules(rd, 0, LINES_MAX, &v) == 0 && v.n == y->n);
    for (size_t i = 0; i < v.n; i++) {
        struct store_schedule *s = &v.v[i];

        proto_arena_init(&a, 1 << 20);
        ENSURE(proto_unpack(&pb_schedule_spec__descriptor, s->spec, s->spec_len,
                            PROTO_TRUST, &a, &m, &why) == 0);
        ENSURE(sched_engine_put(
                   e,
                   &(struct sched_row){.id = s->id,
                                       .spec = (const PbScheduleSpec *)(void *)m,
                                       .created = s->created,
                                       .next = s->next_at,
                                       .last = s->last_at},
                   &why) == 0);
        proto_arena_free(&a);
    }
    store_schedules_free(&v);
    store_reader_close(rd);
    return 0;
}

static int
submit_run(void *arg, struct store *st, int64_t schedule, int64_t nominal, int64_t after,
           int64_t *ret_batch)
{
    (void)nominal;
    return schedule_run_submit(arg, st, schedule, after, ret_batch);
}

static void
note(struct year *y, const struct sched_fire *f)
{
    for (size_t i = 0; i < y->n; i++) {
        struct line *l = &y->lines[i];

        for (size_t k = 0; l->id == f->id && k < f->done; k++) {
            ENSURE(l->n < TIMES_MAX && f->runs[k].at % 1000 == 0);
            l->times[l->n++] = f->runs[k].at / 1000;
        }
    }
}

static void
fire_one(struct year *y, struct sched_fire *f)
{
    struct schedule_run run = {.cfg = y->cfg};
    struct sched_submit submit = {.fn = submit_run, .arg = &run};
    bool lost = draw(y, 20) == 0; /* the power fails before the commit */

    ENSURE(store_begin(y->st, sched_clock_now(y->clock), STORE_NOSYNC) == 0);
    (void)sched_record(y->st, f, &submit);
    ENSURE(f->result == 0 && run.why[0] == '\0');
    if (lost) {
        store_rollback(y->st);
        f->result = -EIO;
        f->done = 0;
        return;
    }
    ENSURE(store_commit(y->st) == 0);
    note(y, f);
}

static void
fire(void *arg, struct sched_fire *fires, size_t n)
{
    for (size_t i = 0; i < n; i++)
        fire_one(arg, &fires[i]);
}

/* --- the year ---------------------------------------------------------------------------- */

static void
make(struct year *y, const char *zone, const char *cron)
{
    PbScheduleSpec spec = PB_SCHEDULE_SPEC__INIT;
    PbJobSpec job = PB_JOB_SPEC__INIT, *jobs[] = {&job};
    PbSumSpec sum = PB_SUM_SPEC__INIT;
    PbNumberList numbers = PB_NUMBER_LIST__INIT;
    int64_t one = 1, now = sched_clock_now(y->clock);
    struct schedule_error err = {.text = ""};
    struct sched_plan plan;
    struct job_env *env;
    char *zone_copy = strdup(zone), *cron_copy = strdup(cron);

    ENSURE(zone_copy != NULL && cron_copy != NULL && y->n < LINES_MAX);
    ENSURE(job_env_to_check(y->cfg, &env) == 0);
    numbers.ints = &one;
    numbers.n_ints = 1;
    sum.numbers = &numbers;
    job.kind_case = PB_JOB_SPEC__KIND_SUM;
    job.sum = &sum;
    spec.jobs = jobs;
    spec.n_jobs = 1;
    spec.cron = cron_copy;
    spec.tz = zone_copy;
    PB_SET(&spec, missed, PB_SCHEDULE_SPEC__MISSED__MISSED_ALL);
    PB_SET(&spec, overlap, PB_SCHEDULE_SPEC__OVERLAP__OVERLAP_ALLOW);
    if (schedule_check(env, &y->defaults, &spec, now, &plan, &err) < 0)
        (void)fprintf(stderr, "%s: %s\n", cron, err.text);
    ENSURE(err.text[0] == '\0');
    ENSURE(store_begin(y->st, now, STORE_NOSYNC) == 0);
    ENSURE(schedule_put(y->st, &spec, &plan, false, NULL, &y->lines[y->n].id) == 0);
    ENSURE(store_commit(y->st) == 0);
    y->n++;
    job_env_unref(env);
    free(zone_copy);
    free(cron_copy);
}

static void
engine_main(struct sched_engine *e, struct go_ctx *ctx)
{
    ENSURE(sched_engine_run(e, ctx) == 0);
}

/* One life of the engine. */
static void
live(struct year *y, int64_t ns)
{
    static const struct sched_sink sink = {.load = load, .fire = fire};
    struct sched_engine *e;
    struct go_ctx *ctx = go_ctx_with_cancel(NULL);
    struct go_wg wg = GO_WG_INIT;

    ENSURE(sched_engine_new(&sink, y, y->clock, &y->defaults, &e) == 0);
    ENSURE(go_wg_go(&wg, engine_main, e, ctx) > 0);
    go_sleep(ns);
    go_ctx_cancel(ctx);
    go_wg_wait(&wg);
    go_ctx_unref(ctx);
    sched_engine_free(e);
}

static void
live_through(struct year *y)
{
    int64_t left;

    while ((left = (y->until - sched_clock_now(y->clock)) * GO_MILLISECOND) > 0) {
        int64_t life = (int64_t)draw(y, 20 * 24) * HOUR + 1;

        live(y, life < left ? life : left);
        GO_BLOCKING((store_close(y->st), 0));
        if (draw(y, 2) == 0 && life < left)
            go_sleep((int64_t)draw(y, 3 * 24 * 60) * HOUR / 60);
        open_store(y);
    }
    live(y, HOUR / 60); /* what the last absence left to be made up for */
}

static void
print(struct year *y)
{
    struct store_reader *rd = NULL;
    char err[256];

    ENSURE(store_reader_open(y->where.path, NULL, &rd, err, sizeof(err)) == 0);
    for (size_t i = 0; i < y->n; i++) {
        struct store_schedules v = {.v = NULL};
        int64_t batches = 0, before = 0;
        size_t n;

        do {
            struct store_batches b = {.v = NULL};

            ENSURE(store_read_batches(rd, before, 1000, &b) == 0);
            n = b.n;
            for (size_t k = 0; k < b.n; k++) {
                batches += b.v[k].schedule == y->lines[i].id;
                before = b.v[k].id;
            }
            store_batches_free(&b);
        } while (n == 1000);
        for (size_t k = 0; k < y->lines[i].n; k++)
            printf("%" PRId64 " ", y->lines[i].times[k]);
        ENSURE(store_read_schedule(rd, NULL, y->lines[i].id, &v) == 1);
        ENSURE(v.v[0].runs == batches);
        store_schedules_free(&v);
        printf("%" PRId64 "\n", batches);
    }
    store_reader_close(rd);
}

static int
run(int argc, char **argv)
{
    struct year y = {.rnd = argc > 2 ? strtoull(argv[2], NULL, 10) : 1};
    struct cfg_err cfg_err;
    char path[256], text[1024];

    ENSURE(argc == 3 && cfg_parse("defaults", "", 0, &y.cfg, &cfg_err) == 0);
    (void)snprintf(path, sizeof(path), "%s/year.db", argv[1]);
    y.where.path = path;
    y.lines = calloc(LINES_MAX, sizeof(*y.lines));
    y.defaults = (struct sched_defaults){.zones = tz_set_new(NULL), .max_missed = 10000};
    ENSURE(y.lines != NULL && y.defaults.zones != NULL);
    while (fgets(text, sizeof(text), stdin) != NULL) {
        char *zone = strtok(text, "|"), *from = strtok(NULL, "|"),
             *to = strtok(NULL, "|");
        char *cron = strtok(NULL, "\n");

        ENSURE(cron != NULL);
        if (y.clock == NULL) {
            ENSURE(sched_clock_new_virtual(strtoll(from, NULL, 10) * 1000, &y.clock) ==
                   0);
            y.until = strtoll(to, NULL, 10) * 1000;
            open_store(&y);
        }
        make(&y, zone, cron);
    }
    live_through(&y);
    print(&y);
    GO_BLOCKING((store_close(y.st), 0));
    sched_clock_free(y.clock);
    tz_set_free(y.defaults.zones);
    cfg_free(y.cfg);
    free(y.lines);
    return 0;
}

int
main(int argc, char **argv)
{
    return go_main(run, argc, argv);
}
