/* Small parsers and writers: units, exact numbers, base64, UTF-8, near names, lines. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "proto/base64.h"
#include "proto/lines.h"
#include "proto/nearest.h"
#include "proto/number.h"
#include "proto/path.h"
#include "proto/units.h"
#include "proto/utf8.h"

static int
duration(const char *s, int64_t *ret)
{
    return units_parse_duration(s, strlen(s), ret);
}

static void
durations_in_every_unit(void **state)
{
    static const struct {
        const char *text;
        int64_t ns;
        const char *seconds, *human;
    } cases[] = {
        {"0", 0, "0s", "0s"},
        {"1.5s", 1500000000, "1.5s", "1.5s"},
        {"250ms", 250000000, "0.25s", "250ms"},
        {"10us", 10000, "0.00001s", "10us"},
        {"10\302\265s", 10000, "0.00001s", "10us"},
        {"7ns", 7, "0.000000007s", "7ns"},
        {"1h30m", 5400000000000, "5400s", "1h30m"},
        {"1h30min", 5400000000000, "5400s", "1h30m"},
        {"1d2h3m4.5s", 93784500000000, "93784.5s", "1d2h3m4.5s"},
        {"2w", 1209600000000000, "1209600s", "14d"},
        {"-3s", -3000000000, "-3s", "-3s"},
        {"-0.5s", -500000000, "-0.5s", "-500ms"},
        {"+.5s", 500000000, "0.5s", "500ms"},
        {"0.1h", 360000000000, "360s", "6m"},
        {"9223372036854775807ns", INT64_MAX, "9223372036.854775807s",
         "106751d23h47m16.854775807s"},
        {"-9223372036854775808ns", INT64_MIN, "-9223372036.854775808s",
         "-106751d23h47m16.854775808s"},
    };
    char text[UNITS_TEXT_MAX];
    int64_t ns;

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(duration(cases[i].text, &ns), 0);
        assert_int_equal(ns, cases[i].ns);
        units_format_seconds(ns, text);
        assert_string_equal(text, cases[i].seconds);
        assert_int_equal(duration(text, &ns), 0);
        assert_int_equal(ns, cases[i].ns);
        units_format_duration(ns, text);
        assert_string_equal(text, cases[i].human);
        assert_int_equal(duration(text, &ns), 0);
        assert_int_equal(ns, cases[i].ns);
    }
}

static void
malformed_durations_are_refused(void **state)
{
    static const char *const bad[] = {"",    "5",   "s",  "-",  "1.5",
                                      "1 s", "1s ", "5x", ".s", "1h-3s"};
    int64_t ns;

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(duration(bad[i], &ns), -EINVAL);
    assert_int_equal(duration("9223372036854775808ns", &ns), -ERANGE);
    assert_int_equal(duration("99999999999999999999s", &ns), -ERANGE);
    assert_int_equal(duration("20000w", &ns), -ERANGE);
}

static void
sizes_in_every_unit(void **state)
{
    static const struct {
        const char *text;
        uint64_t bytes;
        const char *back;
    } cases[] = {
        {"0", 0, "0"},
        {"512", 512, "512"},
        {"512B", 512, "512"},
        {"64MiB", 64 << 20, "64MiB"},
        {"64M", 64 << 20, "64MiB"},
        {"64 MiB", 64 << 20, "64MiB"},
        {"1.5GiB", UINT64_C(1536) << 20, "1536MiB"},
        {"10kB", 10000, "10000"},
        {"1TB", 1000000000000, "976562500KiB"},
        {"18446744073709551615", UINT64_MAX, "18446744073709551615"},
    };
    static const char *const bad[] = {"", "MiB", "-1", "1.5B", "1.5", "1QiB", "1MiB2"};
    char text[UNITS_TEXT_MAX];
    uint64_t v;

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(units_parse_size(cases[i].text, strlen(cases[i].text), &v), 0);
        assert_true(v == cases[i].bytes);
        units_format_size(v, text);
        assert_string_equal(text, cases[i].back);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(units_parse_size(bad[i], strlen(bad[i]), &v), -EINVAL);
    assert_int_equal(units_parse_size("16384PiB", 8, &v), -ERANGE);
}

static void
times_are_rfc3339(void **state)
{
    static const struct {
        const char *text;
        int64_t ns;
        const char *back;
    } cases[] = {
        {"1970-01-01T00:00:00Z", 0, "1970-01-01T00:00:00Z"},
        {"2026-12-01T08:00:00Z", 1796112000000000000, "2026-12-01T08:00:00Z"},
        {"2026-12-01 09:00:00.25+01:00", 1796112000250000000, "2026-12-01T08:00:00.25Z"},
        {"2026-12-01t02:30:00-05:30", 1796112000000000000, "2026-12-01T08:00:00Z"},
        {"1969-12-31T23:59:59.5Z", -500000000, "1969-12-31T23:59:59.5Z"},
        {"2024-02-29T00:00:00Z", 1709164800000000000, "2024-02-29T00:00:00Z"},
        {"2016-12-31T23:59:60Z", 1483228800000000000, "2017-01-01T00:00:00Z"},
        {"2262-04-11T23:47:16.854775807Z", INT64_MAX, "2262-04-11T23:47:16.854775807Z"},
        {"1677-09-21T00:12:43.145224192Z", INT64_MIN, "1677-09-21T00:12:43.145224192Z"},
    };
    static const char *const bad[] = {
        "",
        "2026-12-01",
        "2026-12-01T08:00:00",
        "2026-12-01T08:00Z",
        "2026-13-01T08:00:00Z",
        "2026-02-29T08:00:00Z",
        "2026-12-01T24:00:00Z",
        "2026-12-01T08:00:00.Z",
        "2026-12-01T08:00:00+1:00",
        "2026-12-01T08:00:00+24:00",
        "2026-12-01T08:00:00Zx",
        "9999-12-31T23:59:59Z",
    };
    char text[UNITS_TEXT_MAX];
    int64_t ns;

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(units_parse_time(cases[i].text, strlen(cases[i].text), &ns), 0);
        assert_int_equal(ns, cases[i].ns);
        units_format_time(ns, text);
        assert_string_equal(text, cases[i].back);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_true(units_parse_time(bad[i], strlen(bad[i]), &ns) < 0);
}

/* Against the C library's calendar, all of 400 years and some before 1970. */
static void
calendar_agrees_with_libc(void **state)
{
    (void)state;
    for (int64_t days = -100000; days < 150000; days += 17) {
        time_t t = (time_t)(days * 86400);
        struct tm tm;
        int64_t y;
        int m, d;

        assert_non_null(gmtime_r(&t, &tm));
        units_date_from_days(days, &y, &m, &d);
        assert_int_equal(y, tm.tm_year + 1900);
        assert_int_equal(m, tm.tm_mon + 1);
        assert_int_equal(d, tm.tm_mday);
        assert_int_equal(units_days_from_date(y, m, d), days);
    }
}

static void
integers_of_128_bits_are_exact(void **state)
{
    static const char *const same[] = {
        "0",
        "-1",
        "9223372036854775808",
        "170141183460469231731687303715884105727",
        "-170141183460469231731687303715884105728",
    };
    char text[I128_TEXT_MAX];
    i128 v;

    (void)state;
    for (size_t i = 0; i < sizeof(same) / sizeof(same[0]); i++) {
        assert_int_equal(i128_parse(same[i], strlen(same[i]), &v), 0);
        assert_int_equal(i128_format(v, text), strlen(same[i]));
        assert_string_equal(text, same[i]);
    }
    assert_int_equal(i128_parse("170141183460469231731687303715884105728", 39, &v),
                     -ERANGE);
    assert_int_equal(i128_parse("-170141183460469231731687303715884105729", 40, &v),
                     -ERANGE);
    assert_int_equal(i128_parse("", 0, &v), -EINVAL);
    assert_int_equal(i128_parse("-", 1, &v), -EINVAL);
    assert_int_equal(i128_parse("1x", 2, &v), -EINVAL);
    assert_true(i128_fits_int64(INT64_MIN));
    assert_false(i128_fits_int64((i128)INT64_MIN - 1));
}

static void
base64_vectors_of_the_rfc(void **state)
{
    static const char *const plain[] = {"", "f", "fo", "foo", "foob", "fooba", "foobar"};
    static const char *const coded[] = {"",         "Zg==",     "Zm8=",    "Zm9v",
                                        "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy"};
    static const char *const bad[] = {
        "Z", "Zg=", "Z===", "Zg==Zg==", "Z g=", "Zm9v=", "!!!!"};
    uint8_t out[32];
    char text[32];
    size_t n;

    (void)state;
    for (size_t i = 0; i < 7; i++) {
        base64_encode((const uint8_t *)plain[i], i, text);
        assert_int_equal(BASE64_ENCODED(i), strlen(coded[i]));
        assert_memory_equal(text, coded[i], strlen(coded[i]));
        assert_int_equal(base64_decode(coded[i], strlen(coded[i]), out, &n), 0);
        assert_int_equal(n, i);
        assert_memory_equal(out, plain[i], i);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(base64_decode(bad[i], strlen(bad[i]), out, &n), -EINVAL);
}

static void
utf8_is_strict(void **state)
{
    static const char *const bad[] = {
        "\x80",         "\xc0\x80",         "\xc3", "\xe0\x80\x80",
        "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xff",
    };
    char name[] = "a\xff\xc3\xa9\xc3";

    (void)state;
    assert_true(utf8_valid("\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", 9));
    assert_true(utf8_valid("", 0));
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_false(utf8_valid(bad[i], strlen(bad[i])));
    utf8_clean(name, strlen(name));
    assert_string_equal(name, "a?\xc3\xa9?");
}

static void
nearest_name_is_found_and_far_ones_are_not(void **state)
{
    struct nearest n = {.word = "limts"}, far = {.word = "zebra"};

    (void)state;
    assert_int_equal(nearest_distance("kitten", "sitting"), 3);
    assert_int_equal(nearest_distance("teh", "the"), 1);
    assert_int_equal(nearest_distance("", "abc"), 3);
    assert_int_equal(nearest_distance("ABC", "abc"), 0);
    nearest_offer(&n, "listen");
    nearest_offer(&n, "limits");
    nearest_offer(&n, "lint");
    assert_string_equal(n.best, "limits");
    nearest_offer(&far, "limits");
    nearest_offer(&far, "log");
    assert_null(far.best);
}

static void
path_grows_shrinks_and_is_cut(void **state)
{
    struct proto_path p = {.len = 0};
    size_t outer, before;

    (void)state;
    assert_int_equal(proto_path_name(&p, "jobs"), 0);
    outer = proto_path_index(&p, 1203);
    (void)proto_path_name(&p, "fetch");
    assert_string_equal(p.text, "jobs[1203].fetch");
    proto_path_pop(&p, outer);
    (void)proto_path_index(&p, 0);
    assert_string_equal(p.text, "jobs[0]");
    before = p.len;
    for (int i = 0; i < 100; i++)
        (void)proto_path_name(&p, "long");
    assert_int_equal(p.len, sizeof(p.text) - 1);
    assert_int_equal(strlen(p.text), p.len);
    proto_path_pop(&p, before);
    assert_string_equal(p.text, "jobs[0]");
}

/* Starts reading from a pipe that holds text. */
static int
pipe_with(const char *text, size_t len)
{
    int fds[2];

    assert_int_equal(pipe(fds), 0);
    assert_int_equal(write(fds[1], text, len), len);
    close(fds[1]);
    return fds[0];
}

static void
lines_end_with_newline_crlf_or_the_file(void **state)
{
    static const char text[] = "one\ntwo\r\n\nlast";
    static const char *const expected[] = {"one", "two", "", "last"};
    struct proto_lines l;
    char *line;
    size_t len;
    int fd = pipe_with(text, sizeof(text) - 1);

    (void)state;
    proto_lines_init(&l, fd, 100);
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(proto_lines_next(&l, &line, &len), 1);
        assert_string_equal(line, expected[i]);
        assert_int_equal(len, strlen(expected[i]));
        assert_int_equal(l.number, i + 1);
    }
    assert_int_equal(proto_lines_next(&l, &line, &len), 0);
    proto_lines_fini(&l);
    close(fd);
}

static void
million_lines_take_constant_memory(void **state)
{
    FILE *f = tmpfile();
    struct proto_lines l;
    size_t len, n = 0;
    char *line;
    int r;

    (void)state;
    assert_non_null(f);
    for (int i = 0; i < 1000000; i++)
        assert_true(fprintf(f, "{\"sum\":{\"numbers\":[%d]}}\n", i) > 0);
    assert_int_equal(fflush(f), 0);
    assert_int_equal(lseek(fileno(f), 0, SEEK_SET), 0);
    proto_lines_init(&l, fileno(f), 1 << 20);
    while ((r = proto_lines_next(&l, &line, &len)) > 0)
        n++;
    assert_int_equal(r, 0);
    assert_int_equal(n, 1000000);
    assert_int_equal(l.number, 1000000);
    assert_true(l.cap <= 65536);
    proto_lines_fini(&l);
    fclose(f);
}

static void
overlong_line_is_an_error_with_its_number(void **state)
{
    static char text[30000];
    struct proto_lines l;
    size_t len;
    char *line;
    int fd;

    (void)state;
    memset(text, 'x', sizeof(text));
    text[2] = '\n';
    fd = pipe_with(text, sizeof(text));
    proto_lines_init(&l, fd, 1000);
    assert_int_equal(proto_lines_next(&l, &line, &len), 1);
    assert_int_equal(proto_lines_next(&l, &line, &len), -E2BIG);
    assert_int_equal(l.number, 2);
    proto_lines_fini(&l);
    close(fd);

    proto_lines_init(&l, -1, 10);
    assert_int_equal(proto_lines_next(&l, &line, &len), -EBADF);
    proto_lines_fini(&l);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(durations_in_every_unit),
        cmocka_unit_test(malformed_durations_are_refused),
        cmocka_unit_test(sizes_in_every_unit),
        cmocka_unit_test(times_are_rfc3339),
        cmocka_unit_test(calendar_agrees_with_libc),
        cmocka_unit_test(integers_of_128_bits_are_exact),
        cmocka_unit_test(base64_vectors_of_the_rfc),
        cmocka_unit_test(utf8_is_strict),
        cmocka_unit_test(nearest_name_is_found_and_far_ones_are_not),
        cmocka_unit_test(path_grows_shrinks_and_is_cut),
        cmocka_unit_test(lines_end_with_newline_crlf_or_the_file),
        cmocka_unit_test(million_lines_take_constant_memory),
        cmocka_unit_test(overlong_line_is_an_error_with_its_number),
    };

    return cmocka_run_group_tests_name("text", tests, NULL, NULL);
}
