/* Messages to JSON and back; the refusals and their words. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "proto/json.h"
#include "proto/wire.h"
#include "tests/proto/randmsg.h"

#define MIB ((size_t)1 << 20)

/* Parses text and prints it again. */
static void
assert_becomes(const ProtobufCMessageDescriptor *d, const char *text,
               const char *expected)
{
    struct proto_arena a;
    struct proto_buf b = {0};
    struct proto_err err;
    ProtobufCMessage *m;

    proto_arena_init(&a, MIB);
    if (proto_json_parse(d, text, strlen(text), &a, &m, &err) < 0)
        fail_msg("%s: %s", text, err.text);
    assert_int_equal(proto_json_print(m, &b), 0);
    assert_string_equal(b.data, expected);
    proto_buf_free(&b);
    proto_arena_free(&a);
}

static void
assert_same(const char *text)
{
    assert_becomes(&pb_job_spec__descriptor, text, text);
}

static void
assert_refused(const char *text, const char *message)
{
    struct proto_arena a;
    struct proto_err err;
    ProtobufCMessage *m;

    proto_arena_init(&a, MIB);
    assert_int_equal(
        proto_json_parse(&pb_job_spec__descriptor, text, strlen(text), &a, &m, &err),
        -EINVAL);
    assert_string_equal(err.text, message);
    proto_arena_free(&a);
}

static void
finished_job_has_the_documented_shape(void **state)
{
    PbNumber number = PB_NUMBER__INIT;
    PbSumResult sum = PB_SUM_RESULT__INIT;
    PbJob job = PB_JOB__INIT;
    struct proto_buf b = {0};

    (void)state;
    number.kind_case = PB_NUMBER__KIND_INT;
    number.int_ = 55;
    PB_SET(&sum, count, 10);
    sum.sum = &number;
    PB_SET(&job, id, 1);
    PB_SET(&job, batch, 1);
    PB_SET(&job, kind, PB_JOB__KIND__KIND_SUM);
    PB_SET(&job, state, PB_JOB__STATE__STATE_SUCCEEDED);
    PB_SET(&job, attempt, 1);
    job.result_case = PB_JOB__RESULT_SUM;
    job.sum = &sum;
    assert_int_equal(proto_json_print(PB_BASE(&job), &b), 0);
    assert_string_equal(b.data,
                        "{\"id\":1,\"batch\":1,\"kind\":\"sum\",\"state\":\"succeeded\","
                        "\"attempt\":1,\"sum\":{\"count\":10,\"sum\":55}}");
    proto_buf_free(&b);
}

static void
specs_read_and_write_the_same_text(void **state)
{
    (void)state;
    assert_same("{}");
    assert_same("{\"sum\":{\"numbers\":[1,2,3]}}");
    assert_same(
        "{\"name\":\"x\",\"labels\":{\"team\":\"a\"},\"priority\":-3,"
        "\"timeout\":\"1.5s\",\"at\":\"2026-12-01T08:00:00Z\","
        "\"fetch\":{\"url\":\"http://h/\",\"headers\":[{\"name\":\"A\",\"value\":\"b\"}],"
        "\"body\":\"aGVsbG8=\",\"http\":\"http2\"}}");
    assert_same("{\"sql\":{\"db\":\"d\",\"query\":\"select ?\",\"params\":"
                "[null,true,1,1.5,\"t\",{\"base64\":\"AP8=\"}]}}");
    assert_same(
        "{\"needs\":{\"jobs\":[1,2],\"on\":\"finish\"},\"read\":{\"paths\":[\"/a\"]}}");
}

static void
lenient_forms_become_the_canonical_one(void **state)
{
    const ProtobufCMessageDescriptor *d = &pb_job_spec__descriptor;

    (void)state;
    assert_becomes(d, "{\"fetch\":{\"maxBytes\":5}}", "{\"fetch\":{\"max_bytes\":5}}");
    assert_becomes(d, "{\"fetch\":{\"headers\":{\"A\":\"b\"}}}",
                   "{\"fetch\":{\"headers\":[{\"name\":\"A\",\"value\":\"b\"}]}}");
    assert_becomes(d, "{\"timeout\":\"1h30m\"}", "{\"timeout\":\"5400s\"}");
    assert_becomes(d, "{\"priority\":\"7\",\"retries\":3.0}",
                   "{\"priority\":7,\"retries\":3}");
    assert_becomes(d, "{\"name\":null,\"sum\":null}", "{}");
    assert_becomes(d, "{\"sum\":{\"format\":\"CSV\"}}", "{\"sum\":{\"format\":\"csv\"}}");
    assert_becomes(d, "{\"needs\":{\"on\":1}}", "{\"needs\":{\"on\":\"finish\"}}");
    assert_becomes(&pb_job__descriptor, "{\"state\":\"STATE_DEAD\"}",
                   "{\"state\":\"dead\"}");
    assert_becomes(d, "{\"fetch\":{\"body\":\"_-8\"}}",
                   "{\"fetch\":{\"body\":\"/+8=\"}}");
}

static void
numbers_beyond_64_bits_are_strings(void **state)
{
    const ProtobufCMessageDescriptor *d = &pb_sum_result__descriptor;

    (void)state;
    assert_becomes(d, "{\"sum\":9223372036854775807}", "{\"sum\":9223372036854775807}");
    assert_becomes(d, "{\"sum\":\"9223372036854775807\"}",
                   "{\"sum\":9223372036854775807}");
    assert_becomes(d, "{\"sum\":\"9223372036854775808\"}",
                   "{\"sum\":\"9223372036854775808\"}");
    assert_becomes(d, "{\"sum\":\"-170141183460469231731687303715884105728\"}",
                   "{\"sum\":\"-170141183460469231731687303715884105728\"}");
    assert_becomes(d, "{\"sum\":\"+0012\"}", "{\"sum\":12}");
    assert_becomes(d, "{\"sum\":55.0}", "{\"sum\":55.0}");
    assert_becomes(d, "{\"sum\":0.1}", "{\"sum\":0.1}");
    assert_becomes(d, "{\"sum\":1e300}", "{\"sum\":1e+300}");
    assert_becomes(d, "{\"sum\":\"NaN\"}", "{\"sum\":\"NaN\"}");
    assert_becomes(d, "{\"sum\":\"-Infinity\"}", "{\"sum\":\"-Infinity\"}");
    assert_becomes(d, "{\"count\":\"18446744073709551615\"}",
                   "{\"count\":\"18446744073709551615\"}");
    assert_becomes(&pb_sum_spec__descriptor,
                   "{\"numbers\":[1.5,1,\"9223372036854775808\",2]}",
                   "{\"numbers\":[1,2,1.5,\"9223372036854775808\"]}");
}

static void
refusals_name_the_field(void **state)
{
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"[]", "expected object, got array"},
        {"{\"fetsh\":{}}", "fetsh: unknown field, did you mean \"fetch\"?"},
        {"{\"xyzzy\":1}", "xyzzy: unknown field"},
        {"{\"fetch\":{\"max_byte\":1}}",
         "fetch.max_byte: unknown field, did you mean \"max_bytes\"?"},
        {"{\"fetch\":{\"headers\":[{},{},{\"name\":5}]}}",
         "fetch.headers[2].name: expected string, got number"},
        {"{\"fetch\":{\"headers\":\"x\"}}", "fetch.headers: expected array, got string"},
        {"{\"fetch\":{\"headers\":{\"A\":1}}}",
         "fetch.headers.A: expected string, got number"},
        {"{\"fetch\":{},\"sum\":{}}",
         "sum: cannot stand beside \"fetch\": only one of them"},
        {"{\"fetch\":{\"maxBytes\":1,\"max_bytes\":1}}", "fetch.max_bytes: given twice"},
        {"{\"priority\":1.5}", "priority: expected integer, got fraction"},
        {"{\"priority\":1e300}", "priority: number out of range"},
        {"{\"priority\":2147483648}", "priority: number out of range"},
        {"{\"retries\":-1}", "retries: number out of range"},
        {"{\"retries\":\"x\"}", "retries: expected integer, got string"},
        {"{\"retries\":true}", "retries: expected integer, got boolean"},
        {"{\"labels\":[]}", "labels: expected object, got array"},
        {"{\"labels\":{\"a\":{}}}", "labels.a: expected string, got object"},
        {"{\"timeout\":5}", "timeout: a duration needs its unit: \"1.5s\", \"10m\""},
        {"{\"timeout\":\"5 parsecs\"}",
         "timeout: \"5 parsecs\" is not a duration like \"1.5s\" or \"10m\""},
        {"{\"timeout\":\"99999999999h\"}", "timeout: number out of range"},
        {"{\"timeout\":[]}", "timeout: expected duration, got array"},
        {"{\"at\":\"tomorrow\"}",
         "at: \"tomorrow\" is not a time like \"2026-12-01T08:00:00Z\""},
        {"{\"at\":1}", "at: expected time, got number"},
        {"{\"fetch\":{\"body\":\"?\"}}", "fetch.body: not base64"},
        {"{\"fetch\":{\"body\":7}}", "fetch.body: expected base64 string, got number"},
        {"{\"fetch\":{\"follow\":1}}", "fetch.follow: expected boolean, got number"},
        {"{\"fetch\":{\"http\":\"spdy\"}}",
         "fetch.http: unknown value \"spdy\", expected one of auto, http1, http2"},
        {"{\"fetch\":{\"http\":9}}",
         "fetch.http: unknown value \"9\", expected one of auto, http1, http2"},
        {"{\"fetch\":{\"http\":[]}}", "fetch.http: expected string, got array"},
        {"{\"sum\":{\"numbers\":7}}",
         "sum.numbers: expected array of numbers, got number"},
        {"{\"sum\":{\"numbers\":[1,\"x\"]}}",
         "sum.numbers[1]: expected number, got string"},
        {"{\"sql\":{\"params\":[[]]}}",
         "sql.params[0]: expected null, boolean, number, string or {\"base64\": ...}"},
        {"{\"backoff\":{\"factor\":\"x\"}}",
         "backoff.factor: expected number, got string"},
        {"{\"a\":1,\"a\":2}", "duplicate object key near '\"a\"'"},
        {"{\"sum\":{\"numbers\":[18446744073709551616]}}",
         "too big integer near '18446744073709551616': numbers beyond 64 bits are "
         "written as "
         "strings"},
        {"", "unexpected token near end of file"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_refused(cases[i].text, cases[i].message);
}

static void
path_of_the_error_stands_alone_too(void **state)
{
    static const char text[] = "{\"fetch\":{\"headers\":[{\"name\":{}}]}}";
    struct proto_arena a;
    struct proto_err err;
    ProtobufCMessage *m;

    (void)state;
    proto_arena_init(&a, MIB);
    assert_int_equal(
        proto_json_parse(&pb_job_spec__descriptor, text, strlen(text), &a, &m, &err),
        -EINVAL);
    assert_string_equal(err.field, "fetch.headers[0].name");
    proto_arena_free(&a);
}

static void
syntax_error_names_line_and_column(void **state)
{
    static const char text[] = "{\n  \"name\": ]}";
    struct proto_arena a;
    struct proto_err err;
    ProtobufCMessage *m;

    (void)state;
    proto_arena_init(&a, MIB);
    assert_int_equal(
        proto_json_parse(&pb_job_spec__descriptor, text, strlen(text), &a, &m, &err),
        -EINVAL);
    assert_int_equal(err.line, 2);
    assert_int_equal(err.column, 11);
    proto_arena_free(&a);
}

static void
deep_nesting_is_refused_before_it_is_parsed(void **state)
{
    static char text[100001];
    struct proto_arena a;
    struct proto_err err;
    ProtobufCMessage *m;

    (void)state;
    memset(text, '[', sizeof(text) - 1);
    proto_arena_init(&a, MIB);
    assert_int_equal(
        proto_json_parse(&pb_job_spec__descriptor, text, sizeof(text) - 1, &a, &m, &err),
        -EINVAL);
    assert_string_equal(err.text, "nested deeper than 32");
    proto_arena_free(&a);
}

static void
arena_limit_bounds_what_json_may_cost(void **state)
{
    struct proto_buf text = {0};
    struct proto_arena a;
    struct proto_err err;
    ProtobufCMessage *m;

    (void)state;
    proto_buf_adds(&text, "{\"fetch\":{\"headers\":[{}");
    while (text.len < 40000)
        proto_buf_adds(&text, ",{}");
    proto_buf_adds(&text, "]}}");
    proto_arena_init(&a, 100000);
    assert_int_equal(
        proto_json_parse(&pb_job_spec__descriptor, text.data, text.len, &a, &m, &err),
        -ENOBUFS);
    assert_true(a.used <= 100000);
    proto_arena_free(&a);
    proto_buf_free(&text);
}

static void
bytes_that_are_not_utf8_print_as_replacement(void **state)
{
    char name[] = "a\xff\"\xc3";
    PbJob job = PB_JOB__INIT;
    struct proto_buf b = {0};

    (void)state;
    job.name = name;
    PB_SET(&job, state, 99);
    assert_int_equal(proto_json_print(PB_BASE(&job), &b), 0);
    assert_string_equal(b.data,
                        "{\"state\":99,\"name\":\"a\xef\xbf\xbd\\\"\xef\xbf\xbd\"}");
    proto_buf_free(&b);
}

static void
pretty_form_is_indented(void **state)
{
    static const char text[] = "{\"name\":\"x\",\"labels\":{\"a\":\"b\"},"
                               "\"needs\":{\"jobs\":[1,2]}}";
    struct proto_arena a;
    struct proto_buf b = {0};
    struct proto_err err;
    ProtobufCMessage *m;

    (void)state;
    proto_arena_init(&a, MIB);
    assert_int_equal(
        proto_json_parse(&pb_job_spec__descriptor, text, strlen(text), &a, &m, &err), 0);
    assert_int_equal(proto_json_print_pretty(m, &b), 0);
    assert_string_equal(b.data,
                        "{\n  \"name\": \"x\",\n  \"labels\": {\n    \"a\": \"b\"\n  },\n"
                        "  \"needs\": {\n    \"jobs\": [1,2]\n  }\n}\n");
    proto_buf_free(&b);
    proto_arena_free(&a);
}

/* message -> JSON -> message gives the same bytes on the wire, for every type. */
static void
any_message_survives_json(void **state)
{
    static const ProtobufCMessageDescriptor *const types[] = {
        &pb_job_spec__descriptor, &pb_job__descriptor,        &pb_request__descriptor,
        &pb_response__descriptor, &pb_event__descriptor,      &pb_schedule__descriptor,
        &pb_sum_spec__descriptor, &pb_sql_result__descriptor,
    };

    (void)state;
    for (uint64_t seed = 0; seed < 1500; seed++) {
        const ProtobufCMessageDescriptor *d =
            types[seed % (sizeof(types) / sizeof(types[0]))];
        struct proto_arena a;
        struct randmsg r = {.state = seed, .arena = &a};
        struct proto_buf json = {0}, before = {0}, after = {0};
        struct proto_err err;
        ProtobufCMessage *m, *back;

        proto_arena_init(&a, 64 * MIB);
        m = randmsg_new(&r, d);
        assert_int_equal(seed % 2 == 0 ? proto_json_print(m, &json)
                                       : proto_json_print_pretty(m, &json),
                         0);
        if (proto_json_parse(d, json.data, json.len, &a, &back, &err) < 0)
            fail_msg("seed %u: %s in %s", (unsigned)seed, err.text, json.data);
        assert_int_equal(proto_pack(m, &before), 0);
        assert_int_equal(proto_pack(back, &after), 0);
        if (before.len != after.len || memcmp(before.data, after.data, before.len) != 0)
            fail_msg("seed %u: changed by %s", (unsigned)seed, json.data);
        proto_buf_free(&json);
        proto_buf_free(&before);
        proto_buf_free(&after);
        proto_arena_free(&a);
    }
}

static void
enum_text_goes_both_ways(void **state)
{
    const ProtobufCEnumDescriptor *e = &pb_job__state__descriptor;
    struct proto_err err;
    char text[PROTO_ENUM_TEXT_MAX];
    int v;

    (void)state;
    assert_string_equal(proto_enum_text(e, PB_JOB__STATE__STATE_RUNNING, text),
                        "running");
    assert_string_equal(proto_enum_text(e, 1234, text), "1234");
    assert_int_equal(proto_enum_parse(e, "Queued", &v, "state", &err), 0);
    assert_int_equal(v, PB_JOB__STATE__STATE_QUEUED);
    assert_int_equal(proto_enum_parse(e, "gone", &v, NULL, NULL), -EINVAL);
    assert_int_equal(proto_enum_parse(&pb_error__code__descriptor, "x", &v, "code", &err),
                     -EINVAL);
    assert_non_null(strstr(err.text, "..."));
}

static void
only_what_may_be_said_is_offered(void **state)
{
    static const ProtobufCEnumDescriptor *const all[] = {
        &pb_job__state__descriptor, &pb_job__kind__descriptor,
        &pb_schedule__change__descriptor};
    struct proto_err err;
    int v;

    (void)state;
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        assert_int_equal(proto_enum_parse(all[i], "bogus", &v, "x", &err), -EINVAL);
        assert_null(strstr(err.text, "none"));
        assert_null(strstr(err.text, "one of ,"));
        assert_int_equal(proto_enum_parse(all[i], "none", &v, "x", &err), -EINVAL);
        assert_non_null(strstr(err.text, "unknown value \"none\""));
    }
    /* A word that merely is the first of its enum stays one. */
    assert_int_equal(
        proto_enum_parse(&pb_schedule_spec__missed__descriptor, "bogus", &v, "x", &err),
        -EINVAL);
    assert_non_null(strstr(err.text, "one of once, skip, all"));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finished_job_has_the_documented_shape),
        cmocka_unit_test(specs_read_and_write_the_same_text),
        cmocka_unit_test(lenient_forms_become_the_canonical_one),
        cmocka_unit_test(numbers_beyond_64_bits_are_strings),
        cmocka_unit_test(refusals_name_the_field),
        cmocka_unit_test(path_of_the_error_stands_alone_too),
        cmocka_unit_test(syntax_error_names_line_and_column),
        cmocka_unit_test(deep_nesting_is_refused_before_it_is_parsed),
        cmocka_unit_test(arena_limit_bounds_what_json_may_cost),
        cmocka_unit_test(bytes_that_are_not_utf8_print_as_replacement),
        cmocka_unit_test(pretty_form_is_indented),
        cmocka_unit_test(any_message_survives_json),
        cmocka_unit_test(enum_text_goes_both_ways),
        cmocka_unit_test(only_what_may_be_said_is_offered),
    };

    return cmocka_run_group_tests_name("json", tests, NULL, NULL);
}
