/* Packed messages: what comes back, what is refused, and the rules of job.proto. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proto/field.h"
#include "proto/json.h"
#include "proto/wire.h"
#include "tests/proto/randmsg.h"

#define MIB ((size_t)1 << 20)

static void
any_request_survives_the_wire(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 1000; seed++) {
        struct proto_arena a;
        struct randmsg r = {.state = seed, .arena = &a};
        struct proto_buf before = {0}, after = {0};
        struct proto_err err;
        ProtobufCMessage *back;

        proto_arena_init(&a, 64 * MIB);
        assert_int_equal(proto_pack(randmsg_new(&r, &pb_request__descriptor), &before),
                         0);
        if (proto_unpack(&pb_request__descriptor, before.data, before.len, PROTO_CHECK,
                         &a, &back, &err) < 0)
            fail_msg("seed %u: %s", (unsigned)seed, err.text);
        assert_int_equal(proto_pack(back, &after), 0);
        assert_int_equal(before.len, after.len);
        assert_memory_equal(before.data, after.data, before.len);
        proto_buf_free(&before);
        proto_buf_free(&after);
        proto_arena_free(&a);
    }
}

/* Flips and cuts: whatever comes out can be printed and packed. */
static void
damaged_requests_are_refused_or_whole(void **state)
{
    unsigned refused = 0;

    (void)state;
    for (uint64_t seed = 0; seed < 3000; seed++) {
        struct proto_arena a;
        struct randmsg r = {.state = seed, .arena = &a};
        struct proto_buf b = {0}, json = {0};
        struct proto_err err;
        ProtobufCMessage *back;

        proto_arena_init(&a, 64 * MIB);
        assert_int_equal(proto_pack(randmsg_new(&r, &pb_request__descriptor), &b), 0);
        for (unsigned i = 0; b.len > 0 && i < 1 + seed % 3; i++)
            b.data[randmsg_below(&r, b.len)] = (char)randmsg_next(&r);
        if (seed % 5 == 0)
            b.len = randmsg_below(&r, b.len + 1);
        if (proto_unpack(&pb_request__descriptor, b.data, b.len, PROTO_TRUST, &a, &back,
                         &err) < 0) {
            assert_string_not_equal(err.text, "");
            refused++;
        } else {
            assert_int_equal(proto_json_print(back, &json), 0);
            (void)proto_check(back, &err);
        }
        proto_buf_free(&b);
        proto_buf_free(&json);
        proto_arena_free(&a);
    }
    assert_true(refused > 100);
}

static void
garbage_is_named_as_such(void **state)
{
    struct proto_arena a;
    struct proto_err err;
    ProtobufCMessage *m;

    (void)state;
    proto_arena_init(&a, MIB);
    assert_int_equal(proto_unpack(&pb_request__descriptor, "GET / HTTP/1.1", 14,
                                  PROTO_CHECK, &a, &m, &err),
                     -EBADMSG);
    assert_string_equal(err.text, "not a gojobd.v1.Request");
    proto_arena_free(&a);
}

/* Two bytes a job ask for some 200 bytes of memory each. */
static void
small_bytes_cannot_ask_for_much_memory(void **state)
{
    static uint8_t bomb[200000];
    struct proto_arena a;
    struct proto_err err;
    ProtobufCMessage *m;

    (void)state;
    for (size_t i = 0; i < sizeof(bomb); i += 2)
        bomb[i] = 0x0a; /* Submit.jobs, empty */
    proto_arena_init(&a, 4 * MIB);
    assert_int_equal(proto_unpack(&pb_submit__descriptor, bomb, sizeof(bomb), PROTO_CHECK,
                                  &a, &m, &err),
                     -ENOBUFS);
    assert_string_equal(err.text, "the message needs more than 4194304 bytes");
    assert_true(a.used <= 4 * MIB);
    proto_arena_free(&a);
}

static int
check_spec(PbJobSpec *spec, struct proto_err *err)
{
    PbSubmit submit = PB_SUBMIT__INIT;
    PbJobSpec *jobs[] = {spec};

    submit.n_jobs = 1;
    submit.jobs = jobs;
    return proto_check(PB_BASE(&submit), err);
}

static void
check_names_what_a_client_got_wrong(void **state)
{
    char latin1[] = "caf\xe9", name[] = "team", small[] = "12", *bigs[] = {small};
    PbJobSpec spec = PB_JOB_SPEC__INIT;
    PbFetchSpec fetch = PB_FETCH_SPEC__INIT;
    PbSumSpec sum = PB_SUM_SPEC__INIT;
    PbNumberList numbers = PB_NUMBER_LIST__INIT;
    PbJobSpec__LabelsEntry label = PB_JOB_SPEC__LABELS_ENTRY__INIT,
                           *labels[] = {&label, &label};
    struct proto_err err;

    (void)state;
    assert_int_equal(check_spec(&spec, &err), 0);
    spec.kind_case = PB_JOB_SPEC__KIND_FETCH;
    spec.fetch = &fetch;
    fetch.url = latin1;
    assert_int_equal(check_spec(&spec, &err), -EBADMSG);
    assert_string_equal(err.text, "jobs[0].fetch.url: not valid UTF-8");
    fetch.url = NULL;
    PB_SET(&fetch, http, 77);
    assert_int_equal(check_spec(&spec, &err), -EBADMSG);
    assert_string_equal(err.text, "jobs[0].fetch.http: unknown value 77");
    PB_SET(&fetch, http, PB_FETCH_SPEC__HTTP__HTTP2);
    spec.n_labels = 1;
    spec.labels = labels;
    assert_int_equal(check_spec(&spec, &err), -EBADMSG);
    assert_string_equal(err.text, "jobs[0].labels[0]: key or value missing");
    label.key = label.value = name;
    assert_int_equal(check_spec(&spec, &err), 0);
    spec.n_labels = 2;
    assert_int_equal(check_spec(&spec, &err), -EBADMSG);
    assert_string_equal(err.text, "jobs[0].labels[1]: \"team\" is given twice");
    spec.n_labels = 0;
    spec.kind_case = PB_JOB_SPEC__KIND_SUM;
    spec.sum = &sum;
    sum.numbers = &numbers;
    numbers.n_bigs = 1;
    numbers.bigs = bigs;
    assert_int_equal(check_spec(&spec, &err), -EBADMSG);
    assert_string_equal(err.text, "jobs[0].sum.numbers: not an integer beyond 64 bits");
}

static void
number_must_be_one(void **state)
{
    PbNumber number = PB_NUMBER__INIT;
    PbSumResult sum = PB_SUM_RESULT__INIT;
    struct proto_err err;

    (void)state;
    sum.sum = &number;
    assert_int_equal(proto_check(PB_BASE(&sum), &err), -EBADMSG);
    assert_string_equal(err.text, "sum: no number");
    number.kind_case = PB_NUMBER__KIND_REAL;
    assert_int_equal(proto_check(PB_BASE(&sum), &err), 0);
}

/* --- the rules that job.proto states for its own evolution ----------------------------- */

enum { DEPTH_LIMIT = 12, SEEN_MAX = 256 };

static const ProtobufCMessageDescriptor *seen[SEEN_MAX];
static size_t n_seen;

static void
walk(const ProtobufCMessageDescriptor *d, int depth)
{
    /* A message inside itself would never come to an end here. */
    if (depth > DEPTH_LIMIT)
        fail_msg("%s: nested deeper than %d", d->name, DEPTH_LIMIT);
    for (unsigned i = 0; i < d->n_fields; i++) {
        const ProtobufCFieldDescriptor *f = &d->fields[i];

        if (f->label == PROTOBUF_C_LABEL_REQUIRED)
            fail_msg("%s.%s is required", d->name, f->name);
        if (f->type == PROTOBUF_C_TYPE_MESSAGE)
            walk(f->descriptor, depth + 1);
    }
    for (size_t i = 0; i < n_seen; i++)
        if (seen[i] == d)
            return;
    assert_true(n_seen < SEEN_MAX);
    seen[n_seen++] = d;
}

static void
no_message_contains_itself_and_nothing_is_required(void **state)
{
    (void)state;
    n_seen = 0;
    walk(&pb_request__descriptor, 0);
    walk(&pb_response__descriptor, 0);
    walk(&pb_event__descriptor, 0);
    walk(&pb_job_result__descriptor, 0);
    assert_true(n_seen > 60);
}

/* JobSpec's members, Job's results and Job.Kind share their numbers. */
static void
kinds_have_one_number_everywhere(void **state)
{
    unsigned kinds = 0;

    (void)state;
    for (unsigned i = 0; i < pb_job_spec__descriptor.n_fields; i++) {
        const ProtobufCFieldDescriptor *f = &pb_job_spec__descriptor.fields[i], *g;
        char text[PROTO_ENUM_TEXT_MAX];

        if (!field_is_oneof(f))
            continue;
        g = protobuf_c_message_descriptor_get_field_by_name(&pb_job__descriptor, f->name);
        assert_non_null(g);
        assert_int_equal(f->id, g->id);
        assert_string_equal(proto_enum_text(&pb_job__kind__descriptor, (int)f->id, text),
                            f->name);
        kinds++;
    }
    assert_int_equal(kinds + 1, pb_job__kind__descriptor.n_values);
}

static void
arena_stays_within_its_limit_and_is_reusable(void **state)
{
    struct proto_arena a;
    char *s;

    (void)state;
    proto_arena_init(&a, 5000);
    s = proto_arena_dup(&a, "hello", 5);
    assert_string_equal(s, "hello");
    assert_null(proto_arena_alloc(&a, 5000));
    assert_null(proto_arena_alloc(&a, SIZE_MAX));
    assert_non_null(proto_arena_alloc(&a, 2000));
    assert_string_equal(s, "hello");
    proto_arena_free(&a);
    assert_non_null(proto_arena_alloc(&a, 4000));
    proto_arena_free(&a);
    proto_arena_free(&a);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_request_survives_the_wire),
        cmocka_unit_test(damaged_requests_are_refused_or_whole),
        cmocka_unit_test(garbage_is_named_as_such),
        cmocka_unit_test(small_bytes_cannot_ask_for_much_memory),
        cmocka_unit_test(check_names_what_a_client_got_wrong),
        cmocka_unit_test(number_must_be_one),
        cmocka_unit_test(no_message_contains_itself_and_nothing_is_required),
        cmocka_unit_test(kinds_have_one_number_everywhere),
        cmocka_unit_test(arena_stays_within_its_limit_and_is_reusable),
    };

    return cmocka_run_group_tests_name("wire", tests, NULL, NULL);
}
