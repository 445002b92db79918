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

#include "daemon/schedule/tz.h"
#include "daemon/schedule/tz_rule.h"

static const struct tz *
zone(struct tz_set *s, const char *name)
{
    char err[TZ_ERR_MAX];
    const struct tz *z;

    if (tz_set_get(s, name, &z, err) < 0)
        fail_msg("%s", err);
    return z;
}

static int32_t
offset_at(const struct tz *z, int64_t utc)
{
    struct tz_span span;

    tz_span(z, utc, &span);
    assert_true(span.start <= utc && utc < span.end);
    return span.offset;
}

static int
setup(void **state)
{
    *state = tz_set_new(NULL);
    return *state == NULL;
}

static int
teardown(void **state)
{
    tz_set_free(*state);
    return 0;
}

static void
offsets_change_when_the_law_says(void **state)
{
    const struct tz *z = zone(*state, "Europe/Berlin");

    assert_int_equal(offset_at(z, 1774745999), 3600); /* 2026-03-29T00:59:59Z */
    assert_int_equal(offset_at(z, 1774746000), 7200);
    assert_int_equal(offset_at(z, 1792889999), 7200); /* 2026-10-25T00:59:59Z */
    assert_int_equal(offset_at(z, 1792890000), 3600);
    assert_int_equal(offset_at(zone(*state, "Asia/Kathmandu"), 1774746000), 20700);
    assert_int_equal(offset_at(z, -3000000000), 3208); /* local mean time, 1874 */
    assert_string_equal(tz_name(z), "Europe/Berlin");
}

static void
spans_know_the_offset_before_them(void **state)
{
    struct tz_span span;

    tz_span(zone(*state, "Europe/Berlin"), 1774746000, &span);
    assert_int_equal(span.start, 1774746000);
    assert_int_equal(span.end, 1792890000);
    assert_int_equal(span.before, 3600);
    tz_span(zone(*state, "UTC"), 0, &span);
    assert_true(span.start == TZ_PAST && span.end == TZ_FUTURE);
    assert_int_equal(span.before, 0);
}

static void
local_times_fit_once_twice_or_not_at_all(void **state)
{
    const struct tz *z = zone(*state, "Europe/Berlin");
    int64_t utc;

    /* 2026-03-29: 02:00 local is skipped, 03:00 is 01:00Z. */
    assert_int_equal(tz_utc(z, 1774746000 + 3600 - 1, &utc), TZ_ONCE);
    assert_int_equal(utc, 1774745999);
    assert_int_equal(tz_utc(z, 1774746000 + 3600, &utc), TZ_GAP);
    assert_int_equal(utc, 1774746000);
    assert_int_equal(tz_utc(z, 1774746000 + 7199, &utc), TZ_GAP);
    assert_int_equal(utc, 1774746000);
    assert_int_equal(tz_utc(z, 1774746000 + 7200, &utc), TZ_ONCE);
    assert_int_equal(utc, 1774746000);
    /* 2026-10-25: 02:00 to 03:00 local comes at 00:00Z and at 01:00Z. */
    assert_int_equal(tz_utc(z, 1792890000 + 3599, &utc), TZ_ONCE);
    assert_int_equal(tz_utc(z, 1792890000 + 3600, &utc), TZ_TWICE);
    assert_int_equal(utc, 1792890000 - 3600);
    assert_int_equal(tz_utc(z, 1792890000 + 7200, &utc), TZ_ONCE);
    assert_int_equal(utc, 1792890000 + 3600);
    assert_int_equal(tz_utc(zone(*state, "UTC"), 12345, &utc), TZ_ONCE);
    assert_int_equal(utc, 12345);
}

static void
a_zone_is_read_once(void **state)
{
    assert_ptr_equal(zone(*state, "Africa/Casablanca"),
                     zone(*state, "Africa/Casablanca"));
}

static void
names_that_are_no_zones_are_refused(void **state)
{
    static const char *const bad[] = {"../../../etc/passwd", "/etc/localtime", "a//b",
                                      "Europe/", "Europe/Ber lin", "x\n",
                                      /* longer than a name may be */
                                      ("0123456789012345678901234567890123456789"
                                       "012345678901234567890123")};
    char err[TZ_ERR_MAX];
    const struct tz *z;

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(tz_set_get(*state, bad[i], &z, err), -EINVAL);
    assert_int_equal(tz_set_get(*state, "Europe/Atlantis", &z, err), -ENOENT);
    assert_string_equal(err, "there is no time zone \"Europe/Atlantis\"");
    assert_int_equal(tz_set_get(*state, "Europe", &z, err), -ENOENT);
    assert_int_equal(tz_set_get(*state, "zone.tab", &z, err), -EINVAL);
    assert_int_equal(tz_set_get(*state, "leapseconds", &z, err), -EINVAL);
    assert_string_equal(err, "leapseconds is not a time zone file");
}

static void
utc_needs_no_database(void **state)
{
    struct tz_set *s = tz_set_new("/nowhere");
    char err[TZ_ERR_MAX];
    const struct tz *z;

    (void)state;
    assert_int_equal(offset_at(zone(s, "UTC"), 1774746000), 0);
    assert_int_equal(tz_set_get(s, "Europe/Berlin", &z, err), -ENOENT);
    tz_set_free(s);
}

static void
the_system_zone_is_what_TZ_names(void **state)
{
    struct tz_set *s = tz_set_new(NULL);
    const char *was = getenv("TZ");
    char *keep = was != NULL ? strdup(was) : NULL;

    (void)state;
    setenv("TZ", ":Asia/Kathmandu", 1);
    assert_int_equal(offset_at(zone(s, NULL), 1774746000), 20700);
    assert_string_equal(tz_name(zone(s, "")), "Asia/Kathmandu");
    tz_set_free(s);
    /* Not a name: the machine's. */
    s = tz_set_new(NULL);
    setenv("TZ", "../x", 1);
    assert_true(strlen(tz_name(zone(s, NULL))) > 0);
    tz_set_free(s);
    if (keep != NULL)
        setenv("TZ", keep, 1);
    else
        unsetenv("TZ");
    free(keep);
}

static void
rules_are_read(void **state)
{
    struct tz_rule r;
    int64_t start, end;

    (void)state;
#define RULE(s) tz_rule_parse((s), strlen(s), &r)
    assert_int_equal(RULE("<+0545>-5:45"), 0);
    assert_int_equal(r.std, 20700);
    assert_false(r.has_dst);
    assert_int_equal(RULE("EST5EDT,M3.2.0,M11.1.0"), 0);
    tz_rule_year(&r, 2026, &start, &end);
    assert_int_equal(start, 1772953200); /* 2026-03-08T07:00Z */
    assert_int_equal(end, 1793512800);   /* 2026-11-01T06:00Z */
    assert_int_equal(RULE("WWW-1:30YYY-3,J60/0,300/-1:30:15"), 0);
    assert_int_equal(r.dst, 10800);
    tz_rule_year(&r, 2028, &start, &end);
    assert_int_equal(start, 1835481600 - 5400);            /* 1 March, leap year or not */
    assert_int_equal(end, 1856217600 - 5400 - 15 - 10800); /* 300 days after 1 January */
    assert_int_equal(RULE("AB1"), -EINVAL);
    assert_int_equal(RULE("CET"), -EINVAL);
    assert_int_equal(RULE("CET-25"), -EINVAL);
    assert_int_equal(RULE("CET-1CEST"), -EINVAL);
    assert_int_equal(RULE("CET-1CEST,M13.5.0,M10.5.0"), -EINVAL);
    assert_int_equal(RULE("CET-1CEST,M3.6.0,M10.5.0"), -EINVAL);
    assert_int_equal(RULE("CET-1CEST,J0,J5"), -EINVAL);
    assert_int_equal(RULE("CET-1CEST,M3.5.0,M10.5.0 "), -EINVAL);
    assert_int_equal(RULE("CET-1:"), -EINVAL);
    assert_int_equal(RULE("<CET-1"), -EINVAL);
#undef RULE
}

/* A file of version 2 with one offset and a footer. */
static size_t
make_file(uint8_t *buf, const char *footer)
{
    static const uint8_t head[44] = {'T', 'Z', 'i', 'f', '2', [39] = 1, [43] = 4};
    static const uint8_t body[10] = {0, 0, 14, 16, 0, 0, 'A', 'B', 'C', 0};
    size_t n = 0;

    for (int i = 0; i < 2; i++) {
        memcpy(buf + n, head, sizeof(head));
        memcpy(buf + n + 44, body, sizeof(body));
        n += sizeof(head) + sizeof(body);
    }
    return n + (size_t)sprintf((char *)buf + n, "\n%s\n", footer);
}

static void
the_rule_holds_where_a_file_has_no_transitions(void **state)
{
    char err[TZ_ERR_MAX];
    uint8_t buf[256];
    struct tz *z;
    size_t n = make_file(buf, "CET-1CEST,M3.5.0,M10.5.0/3");

    (void)state;
    assert_int_equal(tz_parse("made", buf, n, &z, err), 0);
    assert_int_equal(offset_at(z, 1774745999), 3600);
    assert_int_equal(offset_at(z, 1774746000), 7200);
    assert_int_equal(offset_at(z, 1792890000), 3600);
    tz_free(z);
    /* Daylight saving all year round. */
    n = make_file(buf, "WWW3EDT4,0/0,J365/23");
    assert_int_equal(tz_parse("made", buf, n, &z, err), 0);
    for (int64_t t = 1774745999; t < 1774745999 + 800 * 86400; t += 1800)
        assert_int_equal(offset_at(z, t), -14400);
    tz_free(z);
}

static void
damaged_files_are_refused_at_every_length(void **state)
{
    char err[TZ_ERR_MAX];
    uint8_t buf[256], bad[256];
    struct tz *z;
    size_t n = make_file(buf, "CET-1CEST,M3.5.0,M10.5.0/3");

    (void)state;
    for (size_t len = 0; len < n; len++) {
        uint8_t *part = malloc(len > 0 ? len : 1); /* a step too far is seen */

        if (part == NULL) {
            fail();
            return;
        }
        memcpy(part, buf, len);
        assert_int_equal(tz_parse("made", part, len, &z, err), -EINVAL);
        free(part);
    }
    memcpy(bad, buf, n);
    bad[4] = '\0';
    assert_int_equal(tz_parse("made", bad, n, &z, err), -EINVAL);
    assert_non_null(strstr(err, "version 1"));
    memcpy(bad, buf, n);
    memset(bad + 54 + 20, 255, 24); /* counts */
    assert_int_equal(tz_parse("made", bad, n, &z, err), -EINVAL);
    memcpy(bad, buf, n);
    bad[54 + 44] = 0x80; /* an offset of years */
    assert_int_equal(tz_parse("made", bad, n, &z, err), -EINVAL);
    n = make_file(buf, "CET-1CEST");
    assert_int_equal(tz_parse("made", buf, n, &z, err), -EINVAL);
    assert_string_equal(err, "made: its rule \"CET-1CEST\" is malformed");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(offsets_change_when_the_law_says),
        cmocka_unit_test(spans_know_the_offset_before_them),
        cmocka_unit_test(local_times_fit_once_twice_or_not_at_all),
        cmocka_unit_test(a_zone_is_read_once),
        cmocka_unit_test(names_that_are_no_zones_are_refused),
        cmocka_unit_test(utc_needs_no_database),
        cmocka_unit_test(the_system_zone_is_what_TZ_names),
        cmocka_unit_test(rules_are_read),
        cmocka_unit_test(the_rule_holds_where_a_file_has_no_transitions),
        cmocka_unit_test(damaged_files_are_refused_at_every_length),
    };

    return cmocka_run_group_tests_name("tz", tests, setup, teardown);
}
