#define _GNU_SOURCE

#include "tests/jobs/jobtest.h"

static void
invalid(struct job_env *env, const char *json, const char *field, const char *part)
{
    refused(env, json, PB_ERROR__CODE__INVALID, field, part);
}

GO_TEST(timer_spec_that_makes_no_sense_is_refused)
{
    struct job_env *env = env_of("{}");

    invalid(env, "{}", "", "one of fetch, read, sum, sql, timer");
    invalid(env, "{\"timer\":{}}", "timer.every", "is needed");
    invalid(env, "{\"timer\":{\"every\":\"0s\"}}", "timer.every", "more than zero");
    invalid(env, "{\"timer\":{\"every\":\"-1s\"}}", "timer.after", "negative");
    invalid(env, "{\"timer\":{\"every\":\"1s\",\"after\":\"-1s\"}}", "timer.after",
            "negative");
    invalid(env, "{\"timer\":{\"every\":\"1s\",\"count\":0}}", "timer.count",
            "at least 1");
    invalid(env, "{\"timer\":{\"after\":\"1s\",\"count\":2}}", "timer.every", "needed");
    invalid(env, "{\"timer\":{\"every\":\"1d\",\"count\":1000000}}", "timer.count",
            "100 years");
    invalid(env, "{\"timer\":{\"every\":\"1d\",\"count\":\"18446744073709551615\"}}",
            "timer.count", "100 years");
    job_env_unref(env);
}

GO_TEST(ticks_are_counted_and_recorded)
{
    struct job_env *env = env_of("timer: {ticks: 2}");
    struct outcome o;
    int64_t start = go_now();

    run_job(env, NULL, &o,
            "{\"timer\":{\"every\":\"20ms\",\"count\":5,\"after\":\"0s\"}}");
    CHECK_INT(o.r, 0);
    CHECK(go_now() - start >= 80 * MS);
    CHECK_HAS(o.json, "\"timer\":{\"count\":5,\"ticks\":[\"");
    CHECK_HAS(o.json, "\"max_late\":\"");
    CHECK_INT(o.done, 5);
    CHECK_INT(o.total, 5);
    /* Two of the five are recorded: four quotes around them, two around ticks. */
    {
        const char *p = strstr(o.json, "\"ticks\":["), *end = p ? strchr(p, ']') : NULL;
        int quotes = 0;

        for (; p != NULL && p < end; p++)
            quotes += *p == '"';
        CHECK_INT(quotes, 6);
    }
    job_env_unref(env);
}

GO_TEST(first_tick_comes_after_every_by_default)
{
    struct job_env *env = env_of("{}");
    struct outcome o;
    int64_t start = go_now();

    run_job(env, NULL, &o, "{\"timer\":{\"every\":\"30ms\"}}");
    CHECK_INT(o.r, 0);
    CHECK(go_now() - start >= 30 * MS);
    CHECK_HAS(o.json, "\"count\":1");
    job_env_unref(env);
}

GO_TEST(span_of_a_timer_is_its_last_tick)
{
    struct proto_arena a;
    PbJobSpec *spec;

    spec = spec_of("{\"timer\":{\"every\":\"2s\",\"count\":4,\"after\":\"1s\"}}", &a);
    CHECK_INT(job_span(spec), 7 * GO_SECOND);
    proto_arena_free(&a);
    spec = spec_of("{\"sum\":{\"numbers\":[1]}}", &a);
    CHECK_INT(job_span(spec), 0);
    proto_arena_free(&a);
}

GO_TEST(cancelled_timer_keeps_its_ticks)
{
    struct job_env *env = env_of("{}");
    struct outcome o;

    check_cancel(env, &o, "{\"timer\":{\"every\":\"1h\",\"count\":3,\"after\":\"0s\"}}");
    CHECK_HAS(o.json, "\"timer\":{\"count\":1,");
    job_env_unref(env);
}

GO_TEST(deadline_ends_a_timer)
{
    struct job_env *env = env_of("{}");
    struct go_ctx *ctx = go_ctx_with_timeout(NULL, 20 * MS);
    struct outcome o;

    run_job(env, ctx, &o, "{\"timer\":{\"every\":\"1h\"}}");
    CHECK_INT(o.r, -ETIMEDOUT);
    CHECK_INT(o.code, PB_ERROR__CODE__TIMEOUT);
    go_ctx_unref(ctx);
    job_env_unref(env);
}

/* A tick every nanosecond is always overdue: the loop does not wait, and still ends. */
GO_TEST(overdue_ticks_come_at_once_and_can_be_cancelled)
{
    struct job_env *env = env_of("{}");
    struct outcome o;

    check_cancel(env, &o, "{\"timer\":{\"every\":\"1ns\",\"count\":1000000000000000}}");
    CHECK(o.done > 0);
    job_env_unref(env);
}

GO_TEST(too_large_a_result_is_an_error)
{
    struct job_env *env = env_of("{limits: {result: 1024}, timer: {ticks: 100000}}");
    struct outcome o;

    run_job(env, NULL, &o, "{\"timer\":{\"every\":\"1ns\",\"count\":1000}}");
    CHECK_INT(o.code, PB_ERROR__CODE__TOO_LARGE);
    CHECK_HAS(o.message, "limits.result");
    CHECK_INT(o.json[0], 0);
    job_env_unref(env);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(timer_spec_that_makes_no_sense_is_refused),
        cmocka_unit_test(ticks_are_counted_and_recorded),
        cmocka_unit_test(first_tick_comes_after_every_by_default),
        cmocka_unit_test(span_of_a_timer_is_its_last_tick),
        cmocka_unit_test(cancelled_timer_keeps_its_ticks),
        cmocka_unit_test(deadline_ends_a_timer),
        cmocka_unit_test(overdue_ticks_come_at_once_and_can_be_cancelled),
        cmocka_unit_test(too_large_a_result_is_an_error),
    };

    return cmocka_run_group_tests_name("timer", tests, NULL, NULL);
}
