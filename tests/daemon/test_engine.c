#define _GNU_SOURCE
#include "daemon/schedule/engine.h"

#include <errno.h>
#include <sys/timex.h>

#include "daemon/schedule/clock.h"
#include "daemon/schedule/tz.h"
#include "proto/json.h"
#include "proto/units.h"
#include "tests/support/await.h"
#include "tests/support/child.h"

/*
 * The engine with a sink that keeps its rows in memory. Where a year passes, it passes in
 * virtual time: those tests run in a child of their own, under GOSEED.
 */

#define T0   INT64_C(1795000000000) /* 2026-11-18T11:06:40Z */
#define MIN  INT64_C(60000)
#define HOUR (60 * MIN)
#define DAY  (24 * HOUR)

enum { ROWS_MAX = 16 };

struct row {
    const char *json;
    bool deleted;
    int64_t next; /* as the store has it */
    int64_t last;
    int64_t runs, skips;
    int64_t prev, sum; /* the nominal time before; all of them, added up */
};

struct world {
    struct tz_set *zones;
    struct sched_clock *clock;
    struct sched_engine *engine;
    struct sched_defaults defaults;
    struct row rows[ROWS_MAX]; /* id - 1 */
    int64_t n_rows;
    int fail;      /* fires to refuse */
    bool loaded;   /* atomic */
    int64_t fired; /* atomic: fires answered */
    int64_t late_max;
    struct go_ctx *ctx;
    struct go_wg wg;
    struct proto_arena arena;
};

static PbScheduleSpec *
spec_of(struct world *w, const char *json)
{
    ProtobufCMessage *m = NULL;
    struct proto_err err;

    if (proto_json_parse(&pb_schedule_spec__descriptor, json, strlen(json), &w->arena, &m,
                         &err) < 0)
        fprintf(stderr, "%s: %s\n", json, err.text);
    REQUIRE(m != NULL);
    return (PbScheduleSpec *)m;
}

static int
put(struct world *w, int64_t id, bool paused)
{
    struct row *row = &w->rows[id - 1];
    struct proto_err err;

    return sched_engine_put(w->engine,
                            &(struct sched_row){.id = id,
                                                .spec = spec_of(w, row->json),
                                                .paused = paused,
                                                .created = T0,
                                                .next = row->next,
                                                .last = row->last},
                            &err);
}

/* What the store's put does: the first run of a new schedule. */
static int64_t
create(struct world *w, const char *json)
{
    struct row *row = &w->rows[w->n_rows++];
    struct sched_plan p;
    struct proto_err err;

    REQUIRE(sched_plan_read(spec_of(w, json), &w->defaults, w->n_rows, T0, &p, &err) ==
            0);
    *row = (struct row){.json = json,
                        .next = sched_plan_first(&p, sched_clock_now(w->clock))};
    return w->n_rows;
}

static int
load(void *arg, struct sched_engine *e)
{
    struct world *w = arg;

    (void)e;
    for (int64_t id = 1; id <= w->n_rows; id++)
        if (!w->rows[id - 1].deleted && put(w, id, false) < 0)
            return -EINVAL;
    __atomic_store_n(&w->loaded, true, __ATOMIC_RELEASE);
    return 0;
}

static void
fire_one(struct world *w, struct sched_fire *f)
{
    struct row *row = &w->rows[f->id - 1];
    int64_t now = sched_clock_now(w->clock);

    f->result = 0;
    f->done = 0;
    if (row->deleted) {
        f->result = -ENOENT;
        return;
    }
    if (row->next != f->from) {
        f->result = -ESTALE;
        f->row_next = row->next;
        return;
    }
    if (w->fail > 0) {
        w->fail--;
        f->result = -ENOSPC;
        return;
    }
    for (; f->done < f->n; f->done++) {
        int64_t at = f->runs[f->done].at;

        CHECK(at <= now);
        CHECK(at > row->prev);
        if (now - at > w->late_max)
            w->late_max = now - at;
        row->prev = at;
        row->sum += at / 1000;
        row->runs++;
    }
    row->next = f->next;
    row->last = f->last;
}

static void
fire(void *arg, struct sched_fire *fires, size_t n)
{
    struct world *w = arg;

    for (size_t i = 0; i < n; i++)
        fire_one(w, &fires[i]);
    go_yield();
    __atomic_fetch_add(&w->fired, (int64_t)n, __ATOMIC_RELEASE);
}

static void
world_init(struct world *w, int64_t start) /* 0: the system's clock */
{
    memset(w, 0, sizeof(*w));
    proto_arena_init(&w->arena, 64 << 20);
    w->zones = tz_set_new(NULL);
    w->defaults =
        (struct sched_defaults){.zones = w->zones, .tz = "UTC", .max_missed = 1000};
    REQUIRE((start == 0 ? sched_clock_new(&w->clock)
                        : sched_clock_new_virtual(start, &w->clock)) == 0);
}

static void
run(struct world *w)
{
    CHECK_INT(sched_engine_run(w->engine, w->ctx), 0);
}

static void
start(struct world *w)
{
    static const struct sched_sink sink = {.load = load, .fire = fire};

    REQUIRE(sched_engine_new(&sink, w, w->clock, &w->defaults, &w->engine) == 0);
    w->ctx = go_ctx_with_cancel(NULL);
    REQUIRE(go_wg_go(&w->wg, run, w) > 0);
}

static void
stop(struct world *w)
{
    go_ctx_cancel(w->ctx);
    go_wg_wait(&w->wg);
    go_ctx_unref(w->ctx);
    sched_engine_free(w->engine);
    w->engine = NULL;
}

static void
world_fini(struct world *w)
{
    stop(w);
    sched_clock_free(w->clock);
    tz_set_free(w->zones);
    proto_arena_free(&w->arena);
}

/* Sleep until the wall clock shows `until`, and a little for the engine to act. */
static void
pass(struct world *w, int64_t until)
{
    go_sleep((until - sched_clock_now(w->clock)) * GO_MILLISECOND + 500 * GO_MICROSECOND);
    go_sleep(100 * GO_MICROSECOND);
}

/* The row has run at each of its spec's times in (from, to], and at none else. */
static void
check_all(struct world *w, int64_t id, int64_t from, int64_t to)
{
    const struct row *row = &w->rows[id - 1];
    int64_t n = 0, sum = 0, last = 0;
    struct sched_plan p;
    struct proto_err err;

    REQUIRE(sched_plan_read(spec_of(w, row->json), &w->defaults, id, T0, &p, &err) == 0);
    for (int64_t t = sched_plan_next(&p, from); t <= to; t = sched_plan_next(&p, t)) {
        n++;
        sum += t / 1000;
        last = t;
    }
    CHECK_INT(row->runs, n);
    CHECK_INT(row->sum, sum);
    CHECK_INT(row->prev, last);
}

static const char *const year[] = {
    "{\"cron\": \"*/5 * * * *\", \"tz\": \"Europe/Berlin\", \"missed\": \"all\"}",
    "{\"cron\": \"30 2 * * *\", \"tz\": \"Europe/Berlin\", \"missed\": \"all\"}",
    "{\"cron\": \"*/10 1-3 * * *\", \"tz\": \"America/New_York\", \"missed\": \"all\"}",
    "{\"cron\": \"15 * * * *\", \"tz\": \"Australia/Lord_Howe\", \"missed\": \"all\"}",
    "{\"cron\": \"45 1,2 * * sun\", \"tz\": \"Africa/Casablanca\", \"missed\": \"all\"}",
    "{\"cron\": \"@monthly\", \"tz\": \"Asia/Kathmandu\", \"missed\": \"all\"}",
    "{\"every\": \"7m\", \"missed\": \"all\"}",
    "{\"at\": \"2027-02-28T12:00:00.5Z\"}",
};
enum { YEAR_N = sizeof(year) / sizeof(year[0]) };

static int
a_year(int argc, char **argv)
{
    struct world w;

    (void)argc;
    (void)argv;
    world_init(&w, T0);
    for (int i = 0; i < YEAR_N; i++)
        create(&w, year[i]);
    start(&w);
    pass(&w, T0 + 366 * DAY);
    for (int i = 0; i < YEAR_N; i++)
        check_all(&w, i + 1, T0, T0 + 366 * DAY);
    CHECK(w.late_max <= 1);
    CHECK_INT(w.rows[YEAR_N - 1].runs, 1);
    world_fini(&w);
    return 0;
}

/* Restarts at any moment, with the daemon away for a while, and the clock set forward. */
static int
a_quarter_with_restarts(int argc, char **argv)
{
    int64_t now = T0, end = T0 + 92 * DAY;
    struct world w;
    unsigned seed = (unsigned)strtoul(getenv("GOSEED"), NULL, 0);

    (void)argc;
    (void)argv;
    world_init(&w, T0);
    for (int i = 0; i < YEAR_N; i++)
        create(&w, year[i]);
    while (now < end) {
        start(&w);
        now += rand_r(&seed) % (2 * DAY);
        pass(&w, now);
        if (rand_r(&seed) % 2 == 0) {
            sched_clock_step(w.clock, rand_r(&seed) % (3 * HOUR));
            now = sched_clock_now(w.clock);
            if (rand_r(&seed) % 2 == 0)
                pass(&w, now);
        }
        stop(&w);
        now = sched_clock_now(w.clock) + rand_r(&seed) % (12 * HOUR);
        pass(&w, now);
    }
    start(&w);
    pass(&w, now + MIN);
    now = sched_clock_now(w.clock);
    for (int i = 0; i < YEAR_N; i++)
        check_all(&w, i + 1, T0, now);
    world_fini(&w);
    return 0;
}

/* An hour that the clock shows twice, as at the end of daylight saving. */
static int
clock_set_back(int argc, char **argv)
{
    struct world w;
    int64_t daily, pace;

    (void)argc;
    (void)argv;
    world_init(&w, T0);
    daily = create(&w, "{\"cron\": \"30 12 * * *\"}");
    pace = create(&w, "{\"cron\": \"*/10 * * * *\"}");
    start(&w);
    pass(&w, T0 + 100 * MIN); /* 12:46 */
    CHECK_INT(w.rows[daily - 1].runs, 1);
    CHECK_INT(w.rows[pace - 1].runs, 10);
    w.rows[pace - 1].prev = 0;
    sched_clock_step(w.clock, -HOUR);
    pass(&w, T0 + 100 * MIN);
    CHECK_INT(w.rows[daily - 1].runs, 1);
    CHECK_INT(w.rows[pace - 1].runs, 16);
    world_fini(&w);
    return 0;
}

static int
clock_set_forward(int argc, char **argv)
{
    struct world w;
    struct sched_look look;
    int64_t once, skip;

    (void)argc;
    (void)argv;
    world_init(&w, T0);
    once = create(&w, "{\"every\": \"10m\"}");
    skip = create(&w, "{\"every\": \"10m\", \"missed\": \"skip\"}");
    start(&w);
    pass(&w, T0 + 5 * MIN);
    sched_clock_step(w.clock, 60 * MIN);
    pass(&w, sched_clock_now(w.clock));
    CHECK_INT(w.rows[once - 1].runs, 1);
    CHECK_INT(w.rows[once - 1].prev, T0 + 60 * MIN);
    CHECK_INT(w.rows[skip - 1].runs, 0);
    CHECK_INT(w.rows[skip - 1].next, T0 + 70 * MIN);
    CHECK(sched_engine_look(w.engine, skip, &look) == 0 && look.missed == 6);
    pass(&w, T0 + 70 * MIN);
    CHECK_INT(w.rows[skip - 1].runs, 1);
    world_fini(&w);
    return 0;
}

static int
failing_sink(int argc, char **argv)
{
    struct world w;

    (void)argc;
    (void)argv;
    world_init(&w, T0);
    create(&w, "{\"every\": \"10m\"}");
    w.fail = 4;
    start(&w);
    pass(&w, T0 + 10 * MIN);
    CHECK_INT(w.rows[0].runs, 0);
    pass(&w, T0 + 10 * MIN + 5000);
    CHECK_INT(w.rows[0].runs, 1);
    CHECK_INT(w.rows[0].prev, T0 + 10 * MIN);
    world_fini(&w);
    return 0;
}

/* Rows changed behind the engine's back, and told. */
static int
changes(int argc, char **argv)
{
    struct world w;
    struct sched_look look;
    int64_t t[3];

    (void)argc;
    (void)argv;
    world_init(&w, T0);
    create(&w, "{\"every\": \"10m\"}");
    create(&w, "{\"every\": \"1d\"}");
    start(&w);
    pass(&w, T0 + MIN);
    CHECK_INT(sched_engine_count(w.engine), 2);
    CHECK(sched_engine_look(w.engine, 1, &look) == 0 && look.next == T0 + 10 * MIN);
    CHECK(sched_engine_preview(w.engine, 2, T0, 3, t) == 3 && t[2] == T0 + 3 * DAY);
    CHECK_INT(sched_engine_look(w.engine, 9, &look), -ENOENT);
    CHECK_INT(sched_engine_preview(w.engine, 9, T0, 3, t), -ENOENT);

    CHECK_INT(put(&w, 1, true), 0); /* paused */
    pass(&w, T0 + 15 * MIN);
    CHECK_INT(w.rows[0].runs, 0);
    w.rows[0].next = T0 + 20 * MIN;
    CHECK_INT(put(&w, 1, false), 0);
    pass(&w, T0 + 20 * MIN);
    CHECK_INT(w.rows[0].runs, 1);

    w.rows[0].next = T0 + 50 * MIN; /* not told: the fire at 30 min finds it stale */
    pass(&w, T0 + 35 * MIN);
    CHECK_INT(w.rows[0].runs, 1);
    pass(&w, T0 + 45 * MIN);
    CHECK_INT(w.rows[0].runs, 2);

    w.rows[1].json = "{\"every\": \"1m\"}"; /* replaced: due earlier than anything */
    w.rows[1].next = T0 + 46 * MIN;
    CHECK_INT(put(&w, 2, false), 0);
    pass(&w, T0 + 48 * MIN);
    CHECK_INT(w.rows[1].runs, 3);
    w.rows[1].json = "{\"every\": \"1m\", \"tz\": \"Mars/Olympus\"}";
    CHECK_INT(put(&w, 2, false), -ENOENT);
    pass(&w, T0 + 49 * MIN);
    CHECK_INT(w.rows[1].runs, 3);

    CHECK(sched_engine_remove(w.engine, 1));
    CHECK(!sched_engine_remove(w.engine, 1));
    pass(&w, T0 + 90 * MIN);
    CHECK_INT(w.rows[0].runs, 2);
    CHECK_INT(sched_engine_count(w.engine), 0);
    world_fini(&w);
    return 0;
}

static void
a_year_runs_exactly_its_times(void **state)
{
    (void)state;
    child_seeds("a_year", 1);
}

static void
restarts_and_absences_lose_and_repeat_nothing(void **state)
{
    (void)state;
    child_seeds("a_quarter_with_restarts", 10);
}

static void
a_clock_set_back_repeats_only_paces(void **state)
{
    (void)state;
    child_seeds("clock_set_back", 10);
}

static void
a_clock_set_forward_leaves_runs_missed(void **state)
{
    (void)state;
    child_seeds("clock_set_forward", 10);
}

static void
a_sink_that_fails_is_asked_again(void **state)
{
    (void)state;
    child_seeds("failing_sink", 10);
}

static void
changed_paused_and_deleted_schedules_are_followed(void **state)
{
    (void)state;
    child_seeds("changes", 20);
}

/* --- the system's clock --------------------------------------------------------------- */

GO_TEST(schedules_fire_by_the_system_clock_as_soon_as_they_are_told)
{
    static char json[ROWS_MAX][80];
    struct world w;

    world_init(&w, 0);
    create(&w, "{\"cron\": \"0 0 1 1 *\"}");
    start(&w);
    AWAIT(__atomic_load_n(&w.loaded, __ATOMIC_ACQUIRE));
    for (int i = 0; i < ROWS_MAX - 1; i++) {
        char text[UNITS_TEXT_MAX];
        int64_t at = sched_clock_now(w.clock) + 50 - 3 * i; /* each before the others */

        units_format_time(at * GO_MILLISECOND, text);
        (void)snprintf(json[i], sizeof(json[i]), "{\"at\": \"%s\"}", text);
        w.rows[w.n_rows++] = (struct row){.json = json[i], .next = at};
        CHECK_INT(put(&w, i + 2, false), 0);
    }
    AWAIT(__atomic_load_n(&w.fired, __ATOMIC_ACQUIRE) >= ROWS_MAX - 1);
    world_fini(&w);
    CHECK_INT(w.rows[0].runs, 0);
    for (int i = 1; i < ROWS_MAX; i++)
        CHECK_INT(w.rows[i].runs, 1);
}

static int
nudge_clock(void)
{
    struct timex tx = {.modes = ADJ_SETOFFSET | ADJ_NANO, .time = {0, 1}};

    return adjtimex(&tx) < 0 ? -1 : 0;
}

static void
wait_set(struct sched_clock *c, int *ret)
{
    int r;

    do
        r = sched_clock_wait(c, SCHED_NEVER, NULL);
    while (r == 0);
    __atomic_store_n(ret, r, __ATOMIC_RELEASE);
}

GO_TEST(a_set_clock_ends_the_wait)
{
    struct sched_clock *c;
    int told = 0;

    REQUIRE(sched_clock_new(&c) == 0);
    REQUIRE(go(wait_set, c, &told) > 0);
    /* Set while it waits, or just before: either way it is told. */
    REQUIRE(nudge_clock() == 0);
    AWAIT(__atomic_load_n(&told, __ATOMIC_ACQUIRE) != 0);
    CHECK_INT(told, SCHED_CLOCK_SET);
    sched_clock_free(c);
}

/* By one nanosecond; only root may. */
static void
a_set_clock_is_noticed(void **state)
{
    if (nudge_clock() < 0)
        skip();
    a_set_clock_ends_the_wait(state);
}

GO_TEST(a_hundred_thousand_schedules_are_few_to_the_engine)
{
    static const struct sched_sink sink = {.load = load, .fire = fire};
    const int64_t n = ROUNDS(100000);
    PbScheduleSpec *spec;
    struct sched_look look;
    struct proto_err err;
    struct world w;

    world_init(&w, T0);
    spec = spec_of(&w, "{\"cron\": \"30 2 * * *\", \"jitter\": \"30m\"}");
    REQUIRE(sched_engine_new(&sink, &w, w.clock, &w.defaults, &w.engine) == 0);
    for (int64_t id = 1; id <= n; id++)
        REQUIRE(sched_engine_put(
                    w.engine, &(struct sched_row){.id = id, .spec = spec, .created = T0},
                    &err) == 0);
    CHECK_INT(sched_engine_count(w.engine), n);
    for (int64_t id = 1; id <= n; id += 2)
        REQUIRE(sched_engine_remove(w.engine, id));
    CHECK_INT(sched_engine_count(w.engine), n / 2);
    for (int64_t id = 1; id <= n; id++)
        REQUIRE(sched_engine_look(w.engine, id, &look) == (id % 2 == 0 ? 0 : -ENOENT));
    sched_engine_free(w.engine);
    sched_clock_free(w.clock);
    tz_set_free(w.zones);
    proto_arena_free(&w.arena);
}

int
main(int argc, char **argv)
{
    static const struct child_case children[] = {
        {"a_year", a_year, false},
        {"a_quarter_with_restarts", a_quarter_with_restarts, false},
        {"clock_set_back", clock_set_back, false},
        {"clock_set_forward", clock_set_forward, false},
        {"failing_sink", failing_sink, false},
        {"changes", changes, false},
    };
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_year_runs_exactly_its_times),
        cmocka_unit_test(restarts_and_absences_lose_and_repeat_nothing),
        cmocka_unit_test(a_clock_set_back_repeats_only_paces),
        cmocka_unit_test(a_clock_set_forward_leaves_runs_missed),
        cmocka_unit_test(a_sink_that_fails_is_asked_again),
        cmocka_unit_test(changed_paused_and_deleted_schedules_are_followed),
        cmocka_unit_test(schedules_fire_by_the_system_clock_as_soon_as_they_are_told),
        cmocka_unit_test(a_set_clock_is_noticed),
        cmocka_unit_test(a_hundred_thousand_schedules_are_few_to_the_engine),
    };

    CHILD_MAIN(argc, argv, children);
    return cmocka_run_group_tests_name("engine", tests, NULL, NULL);
}
