/* cmocka needs these four before it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "proto/json.h"
#include "proto/numpath.h"

static struct proto_arena mem;

static const ProtobufCMessage *
result(const char *json)
{
    struct proto_err err = {.text = ""};
    ProtobufCMessage *m = NULL;

    proto_arena_free(&mem);
    proto_arena_init(&mem, 1 << 20);
    if (proto_json_parse(&pb_job_result__descriptor, json, strlen(json), &mem, &m, &err) <
        0)
        fail_msg("%s", err.text);
    return m;
}

static int
check(const char *path, struct proto_err *err)
{
    *err = (struct proto_err){.text = ""};
    return numpath_check(&pb_job_result__descriptor, path, err);
}

static int64_t
whole(const char *json, const char *path)
{
    char big[NUMPATH_BIG_MAX];
    struct proto_err err;
    PbNumber n;

    assert_int_equal(check(path, &err), 0);
    assert_int_equal(numpath_get(result(json), path, big, &n), 1);
    assert_int_equal(n.kind_case, PB_NUMBER__KIND_INT);
    return n.int_;
}

static double
real(const char *json, const char *path)
{
    char big[NUMPATH_BIG_MAX];
    struct proto_err err;
    PbNumber n;

    assert_int_equal(check(path, &err), 0);
    assert_int_equal(numpath_get(result(json), path, big, &n), 1);
    assert_int_equal(n.kind_case, PB_NUMBER__KIND_REAL);
    return n.real;
}

static void
integers_of_every_width_and_flags_are_whole_numbers(void **state)
{
    (void)state;
    assert_int_equal(whole("{\"sum\":{\"sum\":-5}}", "sum.sum"), -5);
    assert_int_equal(whole("{\"sum\":{\"count\":7}}", "sum.count"), 7);
    assert_int_equal(whole("{\"fetch\":{\"status\":204}}", "fetch.status"), 204);
    assert_int_equal(whole("{\"sql\":{\"truncated\":true}}", "sql.truncated"), 1);
}

static void
reals_durations_and_times_are_reals(void **state)
{
    (void)state;
    assert_float_equal(real("{\"sum\":{\"sum\":0.5}}", "sum.sum"), 0.5, 0);
    assert_float_equal(
        real("{\"fetch\":{\"timings\":{\"total\":\"250ms\"}}}", "fetch.timings.total"),
        0.25, 0);
    assert_float_equal(
        real("{\"timer\":{\"ticks\":[\"1970-01-01T00:00:02Z\"]}}", "timer.ticks.0"), 2,
        0);
}

static void
rows_and_lists_are_entered_by_place(void **state)
{
    static const char rows[] = "{\"sql\":{\"rows\":[[1,\"x\"],[true,2.5]]}}";
    char big[NUMPATH_BIG_MAX];
    PbNumber n;

    (void)state;
    assert_int_equal(whole(rows, "sql.rows.0.0"), 1);
    assert_int_equal(whole(rows, "sql.rows.1.0"), 1);
    assert_float_equal(real(rows, "sql.rows.1.1"), 2.5, 0);
    assert_int_equal(
        whole("{\"read\":{\"files\":[{\"size\":1},{\"size\":9}]}}", "read.files.1.size"),
        9);
    assert_int_equal(numpath_get(result(rows), "sql.rows.0.1", big, &n), 0);
    assert_int_equal(numpath_get(result(rows), "sql.rows.0.2", big, &n), 0);
    assert_int_equal(numpath_get(result(rows), "sql.rows.2.0", big, &n), 0);
}

static void
numbers_beyond_int64_stay_exact(void **state)
{
    char big[NUMPATH_BIG_MAX];
    PbNumber n;

    (void)state;
    assert_int_equal(numpath_get(result("{\"read\":{\"size\":\"18446744073709551615\"}}"),
                                 "read.size", big, &n),
                     1);
    assert_int_equal(n.kind_case, PB_NUMBER__KIND_BIG);
    assert_string_equal(n.big, "18446744073709551615");
    assert_int_equal(
        numpath_get(result("{\"sum\":{\"sum\":\"170141183460469231731687303715"
                           "884105727\"}}"),
                    "sum.sum", big, &n),
        1);
    assert_string_equal(n.big, "170141183460469231731687303715884105727");
}

static void
what_is_not_set_is_no_number(void **state)
{
    char big[NUMPATH_BIG_MAX];
    PbNumber n;

    (void)state;
    assert_int_equal(numpath_get(result("{}"), "sum.sum", big, &n), 0);
    assert_int_equal(numpath_get(result("{\"sum\":{\"count\":1}}"), "sum.sum", big, &n),
                     0);
    assert_int_equal(numpath_get(result("{\"read\":{}}"), "sum.sum", big, &n), 0);
    assert_int_equal(numpath_get(result("{\"read\":{}}"), "read.size", big, &n), 0);
}

static void
paths_that_lead_to_no_number_are_refused_with_a_reason(void **state)
{
    static const struct {
        const char *path, *why;
    } wrong[] = {
        {"", "not the path"},         {"sum", "not the path"},
        {"sum.", "not the path"},     {".sum", "not the path"},
        {"sum..sum", "not the path"}, {"sum.smu", "did you mean \"sum\""},
        {"fetch.sha256", "not the"},  {"sum.sum.int", "not the path"},
        {"sql.rows", "not the path"}, {"sql.rows.0", "not the path"},
        {"sql.rows.x.0", "place"},    {"sql.columns.0.name", "not the path"},
        {"zzz", "there is no"},       {"fetch.bytes.0", "not the path"},
    };
    struct proto_err err;

    (void)state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        if (check(wrong[i].path, &err) == 0 || strstr(err.text, wrong[i].why) == NULL)
            fail_msg("\"%s\": %s", wrong[i].path, err.text);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(integers_of_every_width_and_flags_are_whole_numbers),
        cmocka_unit_test(reals_durations_and_times_are_reals),
        cmocka_unit_test(rows_and_lists_are_entered_by_place),
        cmocka_unit_test(numbers_beyond_int64_stay_exact),
        cmocka_unit_test(what_is_not_set_is_no_number),
        cmocka_unit_test(paths_that_lead_to_no_number_are_refused_with_a_reason),
    };
    int r = cmocka_run_group_tests(tests, NULL, NULL);

    proto_arena_free(&mem);
    return r;
}
