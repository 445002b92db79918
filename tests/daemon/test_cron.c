/* cmocka needs these four before it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "daemon/schedule/cron.h"
#include "daemon/schedule/tz.h"
#include "proto/units.h"

/* What is written, what is refused and how, and the runs around clock changes. The rest of
 * the calendar is cron_oracle.py's. */

static struct tz_set *zones;

static int
setup(void **state)
{
    (void)state;
    zones = tz_set_new(NULL);
    return zones == NULL;
}

static int
teardown(void **state)
{
    (void)state;
    tz_set_free(zones);
    return 0;
}

static struct cron
parse(const char *text)
{
    char err[CRON_ERR_MAX];
    struct cron c;

    if (cron_parse(text, strlen(text), &c, err) < 0)
        fail_msg("%s: %s", text, err);
    return c;
}

static void
same(const char *a, const char *b)
{
    struct cron x = parse(a), y = parse(b);

    if (x.minute != y.minute || x.hour != y.hour || x.day != y.day ||
        x.month != y.month || x.weekday != y.weekday || x.any_day != y.any_day ||
        x.any_weekday != y.any_weekday)
        fail_msg("\"%s\" is not the same as \"%s\"", a, b);
}

static void
refused(const char *text, const char *why)
{
    char err[CRON_ERR_MAX] = "";
    struct cron c;

    if (cron_parse(text, strlen(text), &c, err) == 0)
        fail_msg("\"%s\" was accepted", text);
    if (strcmp(err, why) != 0)
        fail_msg("\"%s\": \"%s\", want \"%s\"", text, err, why);
}

/* The runs after the first time are the others, up to NULL. All in UTC. */
static void
check_runs(const char *text, const char *zone, const char *const *times)
{
    struct cron c = parse(text);
    char err[TZ_ERR_MAX], got[UNITS_TEXT_MAX];
    const struct tz *z;
    int64_t at;

    if (tz_set_get(zones, zone, &z, err) < 0)
        fail_msg("%s", err);
    assert_int_equal(units_parse_time(*times, strlen(*times), &at), 0);
    at /= 1000000000;
    while (*++times != NULL) {
        at = cron_next(&c, z, at);
        assert_true(at != CRON_NEVER);
        units_format_time(at * 1000000000, got);
        if (strcmp(got, *times) != 0)
            fail_msg("\"%s\" in %s runs at %s, want %s", text, zone, got, *times);
    }
}

#define runs(text, zone, ...)                                                            \
    check_runs((text), (zone), (const char *const[]){__VA_ARGS__})

static void
values_ranges_steps_lists_and_names_are_read(void **state)
{
    (void)state;
    same("*/15 * * * *", "0,15,30,45 * * * *\t");
    same("5/20 9-17/4 * * *", "5,25,45 9,13,17 * * *");
    same("0 0 1 jan,Mar-MAY *", "0 0 1 1,3,4,5 *");
    same("0 0 * * mon-fri", " 0  0 * * 1-5");
    same("0 0 * * 7", "0 0 * * sun");
    same("0 0 * * fri-sun", "0 0 * * 0,5,6");
    same("0 0 * * 5-7", "0 0 * * 0,5,6");
    same("1,1,1-1/60 0 * * *", "1 0 * * *");
    assert_int_equal(parse("59 23 31 12 6").minute, UINT64_C(1) << 59);
    assert_int_equal(parse("* * * * *").weekday, 127);
    assert_true(cron_every_hour(&(struct cron){.hour = 0xffffff}));
}

static void
macros_stand_for_lines(void **state)
{
    (void)state;
    same("@yearly", "0 0 1 1 *");
    same("@annually", "0 0 1 1 *");
    same("@monthly", "0 0 1 * *");
    same("@weekly", "0 0 * * 0");
    same(" @Daily ", "0 0 * * *");
    same("@midnight", "0 0 * * *");
    same("@hourly", "0 * * * *");
}

static void
refusals_name_the_field_and_the_reason(void **state)
{
    (void)state;
    refused("60 * * * *", "minute: 60 is not in 0-59");
    refused("* 24 * * *", "hour: 24 is not in 0-23");
    refused("* * 0 * *", "day of month: 0 is not in 1-31");
    refused("* * * 13 *", "month: 13 is not in 1-12");
    refused("* * * * 8", "day of week: 8 is not in 0-7");
    refused("99999999999999999999 * * * *",
            "minute: 99999999999999999999 is not in 0-59");
    refused("a * * * *", "minute: \"a\" is not a number");
    refused("* * * janu *", "month: \"janu\" is not one of jan to dec");
    refused("* * * * xyz", "day of week: \"xyz\" is not one of sun to sat");
    refused("*/0 * * * *", "minute: a step of 0 goes nowhere");
    refused("*/90 * * * *", "minute: a step of 90 is more than the 60 values there are; "
                            "for longer periods use every");
    refused("* 22-2 * * *", "hour: 22-2 goes backwards; write 22-23,0-2");
    refused("1,,2 * * * *", "minute: \"1,,2\" is not a number, a range or a list");
    refused("1, * * * *", "minute: \"1,\" is not a number, a range or a list");
    refused("1-2-3 * * * *", "minute: \"1-2-3\" is not understood from \"-3\" on");
    refused("* * ? * *", "day of month: \"?\" is not a number, a range or a list");
    refused("* * L * *", "day of month: \"L\" is not a number");
    refused("\001\377 * * * *", "minute: \"??\" is not a number, a range or a list");
    refused("0 0 30 2 *", "day of month: none of its months has such a day");
    refused("0 0 31 2,4,6,9,11 *", "day of month: none of its months has such a day");
}

static void
a_refusal_has_the_column_of_the_item_at_fault(void **state)
{
    static const struct {
        const char *line;
        size_t column;
    } cases[] = {
        {"60 * * * *", 1},
        {"*   24 * * *", 5},
        {"0 0 1,2,32 * *", 9},
        {" 0 0 * * mon,x", 14},
        {"1-2-3 * * * *", 1},
        {"0 0 30 2 *", 0},
        {"0 0 * *", 0},
        {"@reboot", 0},
        {"0 0 * * *", 0},
        {"1,,2 * * * *", 3},
        {"0 0 * jan-dec/99 *", 7},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_int_equal(cron_column(cases[i].line, strlen(cases[i].line)),
                         cases[i].column);
}

static void
what_other_crons_know_is_refused_with_its_reason(void **state)
{
    (void)state;
    refused("@reboot", "@reboot: a schedule has times; jobs submitted before the daemon "
                       "starts run once it has started");
    refused("@every 5m", "@every: periods are not cron's; use every");
    refused("@daily 5", "nothing may follow \"@daily\"");
    refused("@noon", "\"@noon\" is none of @yearly, @annually, @monthly, @weekly, "
                     "@daily, @midnight and @hourly");
    refused("0 0 0 * * *", "there are 6 fields; five are known (minute, hour, day of "
                           "month, month, day of week), and none for seconds or years");
    refused("0 0 *", "there are 3 fields, but five are needed: minute, hour, day of "
                     "month, month, day of week");
    refused("5", "there is 1 field, but five are needed: minute, hour, day of month, "
                 "month, day of week");
    refused("", "there are 0 fields, but five are needed: minute, hour, day of month, "
                "month, day of week");
}

static void
a_zone_may_stand_before_the_fields(void **state)
{
    const char *text = " TZ=Europe/Berlin 0 8 * * *", *zone;
    size_t n, from;

    (void)state;
    from = cron_zone(text, strlen(text), &zone, &n);
    assert_int_equal(n, 13);
    assert_memory_equal(zone, "Europe/Berlin", n);
    same(text + from, "0 8 * * *");
    text = "CRON_TZ=UTC @daily";
    from = cron_zone(text, strlen(text), &zone, &n);
    assert_int_equal(n, 3);
    same(text + from, "@daily");
    text = "0 8 * * *";
    assert_int_equal(cron_zone(text, strlen(text), &zone, &n), 0);
    assert_int_equal(n, 0);
}

static void
either_day_field_is_enough_unless_one_begins_with_a_star(void **state)
{
    (void)state;
    /* The 13th, and Fridays. */
    runs("0 0 13 * fri", "UTC", "2026-11-09T00:00:00Z", "2026-11-13T00:00:00Z",
         "2026-11-20T00:00:00Z", "2026-11-27T00:00:00Z", "2026-12-04T00:00:00Z",
         "2026-12-11T00:00:00Z", "2026-12-13T00:00:00Z", NULL);
    /* Odd days that are Mondays. */
    runs("0 0 */2 * mon", "UTC", "2026-11-01T00:00:00Z", "2026-11-09T00:00:00Z",
         "2026-11-23T00:00:00Z", "2026-12-07T00:00:00Z", NULL);
    /* An impossible date, but every Monday. */
    runs("0 0 30 2 mon", "UTC", "2026-02-20T00:00:00Z", "2026-02-23T00:00:00Z",
         "2027-02-01T00:00:00Z", NULL);
}

static void
leap_days_are_waited_for(void **state)
{
    (void)state;
    runs("0 12 29 2 *", "UTC", "2026-01-01T00:00:00Z", "2028-02-29T12:00:00Z",
         "2032-02-29T12:00:00Z", NULL);
    runs("0 12 29 2 *", "UTC", "2096-03-01T00:00:00Z", "2104-02-29T12:00:00Z", NULL);
    /* 29 February on a Sunday (the second field begins with a star). */
    runs("0 0 29 2 */7", "UTC", "2032-03-01T00:00:00Z", "2060-02-29T00:00:00Z",
         "2088-02-29T00:00:00Z", "2128-02-29T00:00:00Z", NULL);
}

static void
next_is_strictly_later(void **state)
{
    (void)state;
    runs("* * * * *", "UTC", "2026-11-09T00:00:00Z", "2026-11-09T00:01:00Z",
         "2026-11-09T00:02:00Z", NULL);
    runs("* * * * *", "UTC", "2026-11-09T00:00:59Z", "2026-11-09T00:01:00Z", NULL);
    runs("0 0 1 1 *", "UTC", "2026-12-31T23:59:59Z", "2027-01-01T00:00:00Z",
         "2028-01-01T00:00:00Z", NULL);
    runs("0 0 * * *", "UTC", "1969-12-30T23:59:59Z", "1969-12-31T00:00:00Z",
         "1970-01-01T00:00:00Z", NULL);
}

static void
nothing_runs_after_the_end_of_time(void **state)
{
    struct cron c = parse("* * * * *");
    char err[TZ_ERR_MAX];
    const struct tz *z;

    (void)state;
    assert_int_equal(tz_set_get(zones, "Europe/Berlin", &z, err), 0);
    assert_true(cron_next(&c, z, INT64_C(9223372036)) > 0);
    assert_true(cron_next(&c, z, INT64_C(9300000000)) == CRON_NEVER);
}

static void
a_skipped_hour_runs_once_right_after_it(void **state)
{
    (void)state;
    /* Berlin: 02:00 to 03:00 on 29 March 2026, at 01:00 UTC. */
    runs("30 2 * * *", "Europe/Berlin", "2026-03-27T12:00:00Z", "2026-03-28T01:30:00Z",
         "2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z", NULL);
    /* Four runs are skipped: one is made up. */
    runs("*/15 2 * * *", "Europe/Berlin", "2026-03-28T02:00:00Z", "2026-03-29T01:00:00Z",
         "2026-03-30T00:00:00Z", NULL);
    /* 03:00 is a run anyhow. */
    runs("30 2,3 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", "2026-03-29T01:00:00Z",
         "2026-03-29T01:30:00Z", "2026-03-30T00:30:00Z", NULL);
    runs("0 * * * *", "Europe/Berlin", "2026-03-28T23:30:00Z", "2026-03-29T00:00:00Z",
         "2026-03-29T01:00:00Z", "2026-03-29T02:00:00Z", NULL);
    /* Half an hour: 02:00 to 02:30 on 4 October 2026, at 15:30 UTC the day before. */
    runs("15 2 * * *", "Australia/Lord_Howe", "2026-10-03T12:00:00Z",
         "2026-10-03T15:30:00Z", "2026-10-04T15:15:00Z", NULL);
    /* A whole day: 30 December 2011. */
    runs("0 12 * * *", "Pacific/Apia", "2011-12-29T12:00:00Z", "2011-12-29T22:00:00Z",
         "2011-12-30T10:00:00Z", "2011-12-30T22:00:00Z", NULL);
}

static void
a_repeated_hour_runs_once(void **state)
{
    (void)state;
    /* Berlin: 03:00 back to 02:00 on 25 October 2026, at 01:00 UTC. */
    runs("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", "2026-10-25T00:30:00Z",
         "2026-10-26T01:30:00Z", NULL);
    runs("0,30 2-3 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z",
         "2026-10-25T00:00:00Z", "2026-10-25T00:30:00Z", "2026-10-25T02:00:00Z",
         "2026-10-25T02:30:00Z", NULL);
    /* Asked in the middle of the repetition. */
    runs("30 2 * * *", "Europe/Berlin", "2026-10-25T01:10:00Z", "2026-10-26T01:30:00Z",
         NULL);
    /* Half an hour: 02:00 back to 01:30 on 5 April 2026, at 15:00 UTC the day before. */
    runs("45 1 * * *", "Australia/Lord_Howe", "2026-04-04T12:00:00Z",
         "2026-04-04T14:45:00Z", "2026-04-05T15:15:00Z", NULL);
}

static void
a_line_without_hours_keeps_its_pace_through_a_repeated_hour(void **state)
{
    (void)state;
    runs("0 * * * *", "Europe/Berlin", "2026-10-24T23:30:00Z", "2026-10-25T00:00:00Z",
         "2026-10-25T01:00:00Z", "2026-10-25T02:00:00Z", NULL);
    runs("*/30 * * * *", "America/New_York", "2026-11-01T05:10:00Z",
         "2026-11-01T05:30:00Z", "2026-11-01T06:00:00Z", "2026-11-01T06:30:00Z",
         "2026-11-01T07:00:00Z", NULL);
}

/* Not a benchmark: far above what it takes (some 100 ns), far below a linear search. */
static void
a_year_of_minutes_is_previewed_at_once(void **state)
{
    struct cron c = parse("* * * * *");
    char err[TZ_ERR_MAX];
    const struct tz *z;
    int64_t at = 1800000000, end = at + 365 * 86400, n = 0;
    clock_t start = clock();

    (void)state;
    assert_int_equal(tz_set_get(zones, "Europe/Berlin", &z, err), 0);
    while ((at = cron_next(&c, z, at)) <= end)
        n++;
    assert_int_equal(n, 365 * 1440);
    assert_true(clock() - start < 10 * n * (CLOCKS_PER_SEC / 1000000));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_ranges_steps_lists_and_names_are_read),
        cmocka_unit_test(macros_stand_for_lines),
        cmocka_unit_test(refusals_name_the_field_and_the_reason),
        cmocka_unit_test(a_refusal_has_the_column_of_the_item_at_fault),
        cmocka_unit_test(what_other_crons_know_is_refused_with_its_reason),
        cmocka_unit_test(a_zone_may_stand_before_the_fields),
        cmocka_unit_test(either_day_field_is_enough_unless_one_begins_with_a_star),
        cmocka_unit_test(leap_days_are_waited_for),
        cmocka_unit_test(next_is_strictly_later),
        cmocka_unit_test(nothing_runs_after_the_end_of_time),
        cmocka_unit_test(a_skipped_hour_runs_once_right_after_it),
        cmocka_unit_test(a_repeated_hour_runs_once),
        cmocka_unit_test(a_line_without_hours_keeps_its_pace_through_a_repeated_hour),
        cmocka_unit_test(a_year_of_minutes_is_previewed_at_once),
    };

    return cmocka_run_group_tests_name("cron", tests, setup, teardown);
}
