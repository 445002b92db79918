/* cmocka needs these four before it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/schedule/plan.h"
#include "daemon/schedule/tz.h"
#include "proto/json.h"
#include "proto/units.h"

/* Specs are written as clients write them. */

#define T0 INT64_C(1795000000000) /* 2026-11-18T11:06:40Z */
#define S  INT64_C(1000)
#define M  (60 * S)
#define H  (60 * M)
#define D  (24 * H)

static struct sched_defaults defaults = {.tz = "UTC", .max_missed = 1000};

static int
setup(void **state)
{
    (void)state;
    defaults.zones = tz_set_new(NULL);
    return defaults.zones == NULL;
}

static int
teardown(void **state)
{
    (void)state;
    tz_set_free(defaults.zones);
    return 0;
}

static int64_t
when(const char *text)
{
    int64_t ns;

    assert_int_equal(units_parse_time(text, strlen(text), &ns), 0);
    return ns / 1000000;
}

static int
try_read(const char *json, struct sched_plan *ret, struct proto_err *err)
{
    struct proto_arena a;
    ProtobufCMessage *m = NULL;
    int r;

    memset(err, 0, sizeof(*err));
    proto_arena_init(&a, 1 << 20);
    if (proto_json_parse(&pb_schedule_spec__descriptor, json, strlen(json), &a, &m, err) <
        0)
        fail_msg("%s: %s", json, err->text);
    r = sched_plan_read((PbScheduleSpec *)m, &defaults, 7, T0, ret, err);
    proto_arena_free(&a);
    return r;
}

static struct sched_plan
plan(const char *json)
{
    struct sched_plan p;
    struct proto_err err;

    if (try_read(json, &p, &err) < 0)
        fail_msg("%s: %s: %s", json, err.field, err.text);
    return p;
}

static void
refused(const char *json, const char *field, const char *why)
{
    struct sched_plan p;
    struct proto_err err;

    if (try_read(json, &p, &err) == 0)
        fail_msg("%s was accepted", json);
    assert_string_equal(err.field, field);
    assert_string_equal(err.text, why);
}

static void
specs_that_make_no_sense_are_refused(void **state)
{
    (void)state;
    refused("{}", "", "needs one of at, every and cron");
    refused("{\"every\": \"1h\", \"cron\": \"@daily\"}", "cron",
            "cron: cannot stand beside every");
    refused("{\"every\": \"10ms\"}", "every",
            "every: must be at least one second; a timer job ticks faster");
    refused("{\"every\": \"-1h\"}", "every",
            "every: must be at least one second; a timer job ticks faster");
    refused("{\"every\": \"1.0000001s\"}", "every",
            "every: must be a whole number of milliseconds");
    refused("{\"cron\": \"0 25 * * *\"}", "cron",
            "cron: hour: 25 is not in 0-23 (column 3)");
    refused("{\"cron\": \"TZ=UTC 0 8 * * mon,foo\"}", "cron",
            "cron: day of week: \"foo\" is not one of sun to sat (column 20)");
    refused("{\"cron\": \"@daily\", \"tz\": \"Mars/Olympus\"}", "tz",
            "tz: there is no time zone \"Mars/Olympus\"");
    refused("{\"cron\": \"TZ=Mars/Olympus @daily\"}", "cron",
            "cron: there is no time zone \"Mars/Olympus\"");
    refused("{\"cron\": \"TZ=UTC @daily\", \"tz\": \"UTC\"}", "cron",
            "cron: names a time zone, and so does tz");
    refused("{\"every\": \"1h\", \"jitter\": \"-1s\"}", "jitter",
            "jitter: cannot be negative");
    refused("{\"at\": \"2027-01-01T00:00:00Z\", \"until\": \"2026-12-31T00:00:00Z\"}",
            "until", "until: there is no run between at and until");
    refused("{\"cron\": \"0 0 1 1 *\", \"until\": \"2026-12-31T00:00:00Z\"}", "until",
            "until: there is no run between now and until");
}

static void
at_runs_once(void **state)
{
    struct sched_plan p = plan("{\"at\": \"2026-12-01T08:00:00.0005Z\"}");
    struct sched_decision d;
    int64_t at = when("2026-12-01T08:00:00Z") + 1; /* rounded up: never early */

    (void)state;
    assert_int_equal(sched_plan_first(&p, T0), at);
    sched_plan_decide(&p, at, at - 1, &d);
    assert_int_equal(d.last, 0);
    sched_plan_decide(&p, at, at, &d);
    assert_int_equal(d.n, 1);
    assert_int_equal(d.runs[0], at);
    assert_true(d.next == SCHED_NEVER);
    /* A time that has passed is made up for. */
    assert_int_equal(sched_plan_first(&p, at + D), at);
    sched_plan_decide(&p, at, at + D, &d);
    assert_int_equal(d.n, 1);
    assert_true(sched_plan_resume(&p, at, SCHED_NEVER, T0) == SCHED_NEVER);
}

static void
every_counts_from_creation_or_from_at(void **state)
{
    struct sched_plan p = plan("{\"every\": \"90m\"}");

    (void)state;
    assert_int_equal(sched_plan_first(&p, T0), T0 + 90 * M);
    assert_int_equal(sched_plan_next(&p, T0 + 90 * M), T0 + 180 * M);
    assert_int_equal(sched_plan_next(&p, T0 + 181 * M), T0 + 270 * M);
    p = plan("{\"every\": \"90m\", \"at\": \"2026-12-01T08:00:00Z\"}");
    assert_int_equal(sched_plan_first(&p, T0), when("2026-12-01T08:00:00Z"));
    assert_int_equal(sched_plan_next(&p, when("2026-12-01T08:00:00Z")),
                     when("2026-12-01T09:30:00Z"));
    /* From a start in the past, the grid only. */
    p = plan("{\"every\": \"1d\", \"at\": \"2020-01-01T08:00:00Z\"}");
    assert_int_equal(sched_plan_first(&p, T0), when("2026-11-19T08:00:00Z"));
}

static void
cron_runs_in_its_zone_between_at_and_until(void **state)
{
    struct sched_plan p =
        plan("{\"cron\": \"30 8 * * *\", \"tz\": \"Europe/Berlin\","
             " \"at\": \"2026-12-01T07:30:00Z\", \"until\": \"2026-12-02T07:30:00Z\"}");
    int64_t first = when("2026-12-01T07:30:00Z");

    (void)state;
    assert_int_equal(sched_plan_first(&p, T0), first);
    assert_int_equal(sched_plan_next(&p, first), first + D);
    assert_true(sched_plan_next(&p, first + D) == SCHED_NEVER);
    p = plan("{\"cron\": \"TZ=Asia/Kathmandu 0 6 * * *\"}");
    assert_int_equal(sched_plan_first(&p, T0), when("2026-11-19T00:15:00Z"));
    p = plan("{\"cron\": \"0 6 * * *\"}");
    assert_int_equal(sched_plan_first(&p, T0), when("2026-11-19T06:00:00Z"));
}

static void
a_run_that_is_a_little_late_was_not_missed(void **state)
{
    struct sched_plan p = plan("{\"cron\": \"0 * * * *\", \"missed\": \"skip\"}");
    int64_t at = when("2026-11-18T16:00:00Z");
    struct sched_decision d;

    (void)state;
    sched_plan_decide(&p, at, at + SCHED_GRACE_MS, &d);
    assert_int_equal(d.n, 1);
    assert_int_equal(d.missed, 0);
    assert_int_equal(d.next, at + H);
    sched_plan_decide(&p, at, at + SCHED_GRACE_MS + 1, &d);
    assert_int_equal(d.n, 0);
    assert_int_equal(d.missed, 1);
    assert_int_equal(d.last, at);
    assert_int_equal(d.next, at + H);
}

static void
missed_runs_are_skipped_made_up_once_or_all(void **state)
{
    int64_t at = when("2026-11-18T16:00:00Z"), now = at + 5 * H + 30 * M;
    struct sched_decision d;
    struct sched_plan p;

    (void)state;
    p = plan("{\"cron\": \"0 * * * *\", \"missed\": \"skip\"}");
    sched_plan_decide(&p, at, now, &d);
    assert_int_equal(d.n, 0);
    assert_int_equal(d.missed, 6);
    assert_int_equal(d.next, at + 6 * H);
    sched_plan_decide(&p, at, at + 5 * H, &d); /* the last one is on time */
    assert_int_equal(d.n, 1);
    assert_int_equal(d.runs[0], at + 5 * H);
    assert_int_equal(d.missed, 5);

    p = plan("{\"cron\": \"0 * * * *\", \"missed\": \"once\"}");
    sched_plan_decide(&p, at, now, &d);
    assert_int_equal(d.n, 1);
    assert_int_equal(d.runs[0], at + 5 * H);
    assert_int_equal(d.missed, 5);
    assert_int_equal(d.next, at + 6 * H);

    p = plan("{\"cron\": \"0 * * * *\", \"missed\": \"all\"}");
    sched_plan_decide(&p, at, now, &d);
    assert_int_equal(d.n, 6);
    for (int i = 0; i < 6; i++)
        assert_int_equal(d.runs[i], at + i * H);
    assert_int_equal(d.missed, 0);
    assert_int_equal(d.next, at + 6 * H);
}

static void
making_up_for_all_is_bounded_and_comes_in_portions(void **state)
{
    static const char *const specs[] = {
        "{\"every\": \"1m\", \"missed\": \"all\"}",
        "{\"cron\": \"* * * * *\", \"missed\": \"all\"}",
    };
    struct sched_decision d;

    (void)state;
    for (int i = 0; i < 2; i++) {
        struct sched_plan p = plan(specs[i]);
        int64_t next = sched_plan_first(&p, T0), now = T0 + 2000 * M, n = 0, missed = 0;
        int64_t last = 0;

        for (; next <= now; next = d.next) {
            sched_plan_decide(&p, next, now, &d);
            assert_true(d.n > 0);
            for (size_t k = 0; k < d.n; k++) {
                assert_true(n == 0 || d.runs[k] == last + M);
                last = d.runs[k];
                n++;
            }
            missed += d.missed;
        }
        assert_int_equal(n, 1000);
        assert_int_equal(missed, 1000);
        assert_int_equal(next, last + M);
    }
}

/* The latest run is found without walking: a walk over ten years of seconds would not end. */
static void
a_long_absence_costs_nothing(void **state)
{
    struct sched_plan p = plan("{\"every\": \"1s\"}");
    struct sched_decision d;

    (void)state;
    sched_plan_decide(&p, T0 + S, T0 + 3650 * D + 1, &d);
    assert_int_equal(d.n, 1);
    assert_int_equal(d.runs[0], T0 + 3650 * D);
    assert_int_equal(d.missed, 3650 * 86400 - 1);
    p = plan("{\"cron\": \"* 2 * 2 *\"}");
    sched_plan_decide(&p, sched_plan_first(&p, T0), T0 + 3650 * D, &d);
    assert_int_equal(d.n, 1);
    assert_int_equal(d.runs[0], when("2036-02-29T02:59:00Z"));
    assert_int_equal(d.missed, SCHED_COUNT_MAX - 1);
}

static void
the_latest_run_is_what_a_walk_would_find(void **state)
{
    static const char *const lines[] = {"* * * * *", "*/7 3-9 * * *", "0 0 1 * *",
                                        "30 2 * * sun", "15 1,2 29 2 *"};
    char json[128];

    (void)state;
    srand(1);
    for (size_t i = 0; i < 5; i++) {
        struct sched_plan p;
        int64_t first, now, walk;

        (void)snprintf(json, sizeof(json), "{\"cron\": \"%s\", \"tz\": \"%s\"}", lines[i],
                       "Europe/Berlin");
        p = plan(json);
        first = sched_plan_first(&p, T0);
        for (int k = 0; k < 50; k++) {
            int64_t next;

            now = first + (int64_t)(rand() % 2000000) * (i == 0 ? 100 : 30000);
            for (walk = first; (next = sched_plan_next(&p, walk)) <= now; walk = next)
                ;
            assert_int_equal(sched_plan_last(&p, first, now), walk);
        }
    }
}

static void
jitter_is_the_same_everywhere_and_keeps_the_order(void **state)
{
    struct sched_plan p = plan("{\"every\": \"1m\", \"jitter\": \"1h\"}"), q;
    int64_t at = sched_plan_first(&p, T0), before = 0, sum = 0;

    (void)state;
    q = p;
    q.id = 8;
    for (int i = 0; i < 1000; i++, at += M) {
        int64_t due = sched_plan_due(&p, at);

        assert_true(due >= at && due < at + M && due > before);
        assert_int_equal(due, sched_plan_due(&p, at));
        before = due;
        sum += due - at;
        q.start += sched_plan_due(&q, at) != due;
    }
    assert_true(sum > 1000 * 25 * S && sum < 1000 * 35 * S);
    assert_true(q.start - p.start > 990); /* another schedule, other jitter */
    p = plan("{\"cron\": \"0 0 * * *\", \"jitter\": \"5m\"}");
    for (at = sched_plan_first(&p, T0), before = 0; before < 100; before++) {
        assert_in_range(sched_plan_due(&p, at) - at, 0, 5 * M);
        at = sched_plan_next(&p, at);
    }
    p = plan("{\"at\": \"2026-12-01T08:00:00Z\", \"jitter\": \"1h\","
             " \"until\": \"2026-12-01T08:00:01Z\"}");
    assert_in_range(sched_plan_due(&p, p.start) - p.start, 0, S);
}

static void
a_run_whose_jitter_is_not_over_is_not_due(void **state)
{
    struct sched_plan p = plan("{\"every\": \"1h\", \"jitter\": \"30m\"}");
    int64_t first = sched_plan_first(&p, T0), due = sched_plan_due(&p, first + 3 * H);
    struct sched_decision d;

    (void)state;
    assert_true(due > first + 3 * H);
    sched_plan_decide(&p, first + 3 * H, due - 1, &d);
    assert_int_equal(d.last, 0);
    assert_int_equal(d.next, first + 3 * H);
    sched_plan_decide(&p, first, due - 1, &d);
    assert_int_equal(d.last, first + 2 * H);
    assert_int_equal(d.next, first + 3 * H);
    sched_plan_decide(&p, first, due, &d);
    assert_int_equal(d.last, first + 3 * H);
    assert_int_equal(sched_plan_resume(&p, first + 2 * H, first + 3 * H, due - 1),
                     first + 3 * H);
}

static void
a_clock_set_back_repeats_no_named_hour(void **state)
{
    struct sched_plan p = plan("{\"cron\": \"0 4 * * *\"}");
    int64_t ran = when("2026-11-19T04:00:00Z");

    (void)state;
    assert_int_equal(sched_plan_resume(&p, ran, ran + D, ran - 2 * H), ran + D);
    assert_int_equal(sched_plan_resume(&p, ran, ran + D, ran + H), ran + D);
    /* Set right after having been wrong. */
    assert_int_equal(sched_plan_resume(&p, ran, ran + D, ran - 4 * H), ran);
    assert_int_equal(sched_plan_resume(&p, ran + 36500 * D, SCHED_NEVER, ran - H), ran);
}

static void
a_clock_set_back_does_not_stop_a_pace(void **state)
{
    struct sched_plan p = plan("{\"cron\": \"*/5 * * * *\"}");
    int64_t ran = when("2026-11-19T04:00:00Z");

    (void)state;
    assert_int_equal(sched_plan_resume(&p, ran, ran + 5 * M, ran - 2 * H), ran - 115 * M);
    /* A correction by a moment is no reason to run twice. */
    assert_int_equal(sched_plan_resume(&p, ran, ran + 5 * M, ran - 40), ran + 5 * M);
    p = plan("{\"every\": \"1h\"}");
    assert_int_equal(sched_plan_resume(&p, T0 + 9 * H, T0 + 10 * H, T0 + 7 * H),
                     T0 + 8 * H);
}

static void
a_clock_set_forward_leaves_runs_missed(void **state)
{
    struct sched_plan p = plan("{\"cron\": \"0 * * * *\"}");
    int64_t next = when("2026-11-19T04:00:00Z");

    (void)state;
    assert_int_equal(sched_plan_resume(&p, next - H, next, next + 5 * H), next);
}

static void
overlapping_runs_are_skipped_queued_or_allowed(void **state)
{
    const int skip = PB_SCHEDULE_SPEC__OVERLAP__OVERLAP_SKIP;
    const int queue = PB_SCHEDULE_SPEC__OVERLAP__OVERLAP_QUEUE;
    const int allow = PB_SCHEDULE_SPEC__OVERLAP__OVERLAP_ALLOW;

    (void)state;
    assert_int_equal(sched_overlap(skip, false, 0), SCHED_RUN);
    assert_int_equal(sched_overlap(queue, false, 0), SCHED_RUN);
    assert_int_equal(sched_overlap(skip, true, 0), SCHED_SKIP);
    assert_int_equal(sched_overlap(queue, true, 0), SCHED_WAIT);
    assert_int_equal(sched_overlap(queue, true, SCHED_WAITING_MAX), SCHED_SKIP);
    assert_int_equal(sched_overlap(allow, true, 1000), SCHED_RUN);
}

static void
a_preview_shows_when_runs_are_due(void **state)
{
    struct sched_plan p = plan("{\"cron\": \"30 2 * * *\", \"tz\": \"Europe/Berlin\"}");
    int64_t t[400];

    (void)state;
    assert_int_equal(sched_plan_preview(&p, when("2027-03-26T12:00:00Z"), 3, t), 3);
    assert_int_equal(t[0], when("2027-03-27T01:30:00Z"));
    assert_int_equal(t[1], when("2027-03-28T01:00:00Z"));
    assert_int_equal(t[2], when("2027-03-29T00:30:00Z"));
    assert_int_equal(sched_plan_preview(&p, T0, 400, t), 400);
    p = plan("{\"at\": \"2026-12-01T08:00:00Z\"}");
    assert_int_equal(sched_plan_preview(&p, T0, 3, t), 1);
    assert_int_equal(sched_plan_preview(&p, t[0], 3, t), 0);
    p = plan("{\"every\": \"1h\", \"jitter\": \"59m\"}");
    assert_int_equal(sched_plan_preview(&p, T0 + 5 * H, 400, t), 400);
    for (int i = 0; i < 400; i++)
        assert_true(t[i] > (i > 0 ? t[i - 1] : T0 + 5 * H));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(specs_that_make_no_sense_are_refused),
        cmocka_unit_test(at_runs_once),
        cmocka_unit_test(every_counts_from_creation_or_from_at),
        cmocka_unit_test(cron_runs_in_its_zone_between_at_and_until),
        cmocka_unit_test(a_run_that_is_a_little_late_was_not_missed),
        cmocka_unit_test(missed_runs_are_skipped_made_up_once_or_all),
        cmocka_unit_test(making_up_for_all_is_bounded_and_comes_in_portions),
        cmocka_unit_test(a_long_absence_costs_nothing),
        cmocka_unit_test(the_latest_run_is_what_a_walk_would_find),
        cmocka_unit_test(jitter_is_the_same_everywhere_and_keeps_the_order),
        cmocka_unit_test(a_run_whose_jitter_is_not_over_is_not_due),
        cmocka_unit_test(a_clock_set_back_repeats_no_named_hour),
        cmocka_unit_test(a_clock_set_back_does_not_stop_a_pace),
        cmocka_unit_test(a_clock_set_forward_leaves_runs_missed),
        cmocka_unit_test(overlapping_runs_are_skipped_queued_or_allowed),
        cmocka_unit_test(a_preview_shows_when_runs_are_due),
    };

    return cmocka_run_group_tests_name("plan", tests, setup, teardown);
}
