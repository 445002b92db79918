#define _GNU_SOURCE

#include <math.h>

#include "tests/jobs/jobtest.h"

#include "jobs/sum_exact.h"
#include "jobs/sum_text.h"

static uint64_t rng_state = 1;

static uint64_t
rng(void)
{
    rng_state ^= rng_state << 13;
    rng_state ^= rng_state >> 7;
    rng_state ^= rng_state << 17;
    return rng_state;
}

/* --- the accumulator --- */

static double
sum_doubles(const double *v, size_t n)
{
    struct exact x;

    exact_init(&x);
    exact_add_doubles(&x, v, n);
    return exact_double(&x);
}

/* Two-sum gives the exact error of one addition, so the sum of two is right when it is the
 * machine's own. */
static void
sum_of_two_doubles_is_the_machines(void **state)
{
    (void)state;
    for (int i = 0; i < 200000; i++) {
        uint64_t bits[2] = {rng(), rng()};
        double v[2], got, want;

        if (i % 2 == 0) /* of like size, where rounding happens */
            bits[1] =
                (bits[1] & ~(UINT64_C(0x7f) << 52)) | (bits[0] & UINT64_C(0x7f) << 52);
        memcpy(v, bits, sizeof(v));
        if (!isfinite(v[0]) || !isfinite(v[1]))
            continue;
        got = sum_doubles(v, 2);
        want = v[0] + v[1];
        assert_true(got == want);
    }
}

static void
cancelling_doubles_leave_the_small_one(void **state)
{
    static const double v[] = {1e308, 1e308, 3.5, -1e308, 5e-324, -1e308, -3.5};
    static const double tie_even[] = {9007199254740992.0, 1.0};
    static const double tie_up[] = {9007199254740994.0, 1.0};
    static const double above_tie[] = {9007199254740992.0, 1.0, 5e-324};
    static const double over[] = {1.7976931348623157e308, 1.7976931348623157e308};
    static const double tiny[] = {5e-324, 5e-324, 2.2250738585072014e-308};

    (void)state;
    assert_true(sum_doubles(v, 7) == 5e-324);
    assert_true(sum_doubles(tie_even, 2) == 9007199254740992.0);
    assert_true(sum_doubles(tie_up, 2) == 9007199254740996.0);
    assert_true(sum_doubles(above_tie, 3) == 9007199254740994.0);
    assert_true(isinf(sum_doubles(over, 2)));
    assert_true(sum_doubles(tiny, 3) == 5e-324 + 5e-324 + 2.2250738585072014e-308);
    assert_true(sum_doubles(NULL, 0) == 0.0);
}

static void
infinities_and_nan_follow_the_standard(void **state)
{
    static const double inf[] = {1.0, (double)INFINITY, -5.0},
                        both[] = {(double)INFINITY, -(double)INFINITY};
    static const double minus[] = {-(double)INFINITY, 1e308}, nan_[] = {1.0, (double)NAN};

    (void)state;
    assert_true(sum_doubles(inf, 3) == (double)INFINITY);
    assert_true(sum_doubles(minus, 2) == -(double)INFINITY);
    assert_true(isnan(sum_doubles(both, 2)));
    assert_true(isnan(sum_doubles(nan_, 2)));
}

/* The same bag of numbers, in any order and any split, has one sum. */
static void
order_and_split_do_not_matter(void **state)
{
    enum { N = 5000 };
    static double v[N];
    double want = 0;

    (void)state;
    for (int round = 0; round < 20; round++) {
        for (int i = 0; i < N; i++) {
            uint64_t bits = rng();

            memcpy(&v[i], &bits, sizeof(bits));
            if (!isfinite(v[i]))
                v[i] = 1.5;
        }
        for (int k = 0; k < 6; k++) {
            struct exact x;

            exact_init(&x);
            for (int i = N - 1; i > 0; i--) {
                int j = (int)(rng() % (uint64_t)(i + 1));
                double t = v[i];

                v[i] = v[j];
                v[j] = t;
            }
            for (size_t i = 0; i < N;) {
                struct exact part;
                size_t n = 1 + rng() % 2000;

                if (n > N - i)
                    n = N - i;
                exact_init(&part);
                exact_add_doubles(&part, v + i, n);
                exact_merge(&x, &part);
                i += n;
            }
            if (k == 0)
                want = exact_double(&x);
            else
                assert_true(exact_double(&x) == want);
        }
    }
}

static void
integers_may_leave_128_bits_and_come_back(void **state)
{
    const i128 max = (i128)((~(unsigned __int128)0) >> 1);
    struct exact x;
    i128 v;

    (void)state;
    exact_init(&x);
    exact_add_int(&x, max);
    assert_true(exact_int(&x, &v) && v == max);
    exact_add_int(&x, 1);
    assert_false(exact_int(&x, &v));
    exact_add_int(&x, -1);
    assert_true(exact_int(&x, &v) && v == max);
    exact_add_int(&x, -max - 1);
    exact_add_int(&x, -max - 1);
    assert_false(exact_int(&x, &v));
    exact_add_int(&x, 1);
    assert_true(exact_int(&x, &v) && v == -max - 1);
}

static void
integers_and_doubles_add_exactly(void **state)
{
    struct exact x;

    (void)state;
    exact_init(&x);
    exact_add_int(&x, INT64_MAX);
    exact_add_double(&x, 0.5);
    exact_add_double(&x, -9223372036854775808.0);
    assert_true(exact_double(&x) == -0.5);
    exact_init(&x);
    exact_add_int(&x, -((i128)1 << 100));
    exact_add_double(&x, 0x1p100);
    exact_add_double(&x, -0.25);
    assert_true(exact_double(&x) == -0.25);
}

static void
int64_blocks_add_as_single_ones(void **state)
{
    enum { N = 1000 };
    static int64_t v[N];
    struct exact a, b;
    i128 x, y;

    (void)state;
    exact_init(&a);
    exact_init(&b);
    for (int i = 0; i < N; i++) {
        v[i] = (int64_t)rng();
        if (i % 7 == 0)
            v[i] = i % 2 != 0 ? INT64_MIN : INT64_MAX;
        exact_add_int(&a, v[i]);
    }
    exact_add_int64s(&b, v, N);
    assert_true(exact_int(&a, &x) && exact_int(&b, &y) && x == y);
    assert_int_equal(b.count, N);
}

/* --- text --- */

static int
parse(const char *s, struct exact *x)
{
    char text[8192];

    /* What stands behind is not looked at. */
    (void)snprintf(text, sizeof(text), "%s99999999", s);
    exact_init(x);
    return number_add(x, text, strlen(s));
}

static void
decimal_text_is_read_like_strtod(void **state)
{
    static const char *const reals[] = {"1.5",
                                        "-0.1",
                                        ".5",
                                        "5.",
                                        "1e3",
                                        "-1E-3",
                                        "1e400",
                                        "123456789012345.6",
                                        "0.000000000000001",
                                        "4.9e-324",
                                        "inf",
                                        "-Infinity",
                                        "+1.25",
                                        "179769313486231570814527423731704356798070e267",
                                        "9007199254740993.0",
                                        "1234567.1234567",
                                        "12345678.12345678"};
    struct exact x;

    (void)state;
    for (size_t i = 0; i < sizeof(reals) / sizeof(reals[0]); i++) {
        assert_int_equal(parse(reals[i], &x), 0);
        assert_int_equal(x.reals, 1);
        assert_true(exact_double(&x) == strtod(reals[i], NULL));
    }
    assert_int_equal(parse("nan", &x), 0);
    assert_true(isnan(exact_double(&x)));
}

static void
random_decimals_are_read_like_strtod(void **state)
{
    (void)state;
    for (int i = 0; i < 100000; i++) {
        char text[64];
        struct exact x;

        (void)snprintf(text, sizeof(text), "%s%llu.%0*llu", rng() % 2 ? "-" : "",
                       (unsigned long long)(rng() >> (rng() % 64)), (int)(rng() % 12),
                       (unsigned long long)(rng() >> (20 + rng() % 44)));
        assert_int_equal(parse(text, &x), 0);
        assert_true(exact_double(&x) == strtod(text, NULL));
    }
}

static void
integers_of_every_length_are_exact(void **state)
{
    (void)state;
    for (int i = 0; i < 100000; i++) {
        char text[64];
        struct exact x;
        int64_t want = (int64_t)rng() >> (rng() % 64);
        i128 got;

        (void)snprintf(text, sizeof(text), "%lld", (long long)want);
        assert_int_equal(parse(text, &x), 0);
        assert_true(exact_int(&x, &got) && got == want && x.reals == 0);
    }
}

static void
what_is_no_number_is_refused(void **state)
{
    static const char *const bad[] = {"",       "-",   "+",   ".",   "1.2.3",
                                      "0x10",   "1e",  "--1", "1-",  "abc",
                                      "nan(1)", "1,5", "e5",  "12a", "1 2"};
    struct exact x;

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(parse(bad[i], &x), -EINVAL);
    assert_int_equal(parse("170141183460469231731687303715884105727", &x), 0);
    assert_int_equal(parse("170141183460469231731687303715884105728", &x), -ERANGE);
}

/* --- jobs --- */

GO_TEST(sum_spec_that_makes_no_sense_is_refused)
{
    struct job_env *env = env_of("{files: {roots: [/tmp]}, sum: {max_numbers: 3}}");
    struct job_env *none = env_of("{}");
    int no = PB_ERROR__CODE__INVALID;

    refused(env, "{\"sum\":{}}", no, "sum.numbers", "needed");
    refused(env, "{\"sum\":{\"numbers\":[1],\"file\":\"x\"}}", no, "sum.file",
            "not both");
    refused(env, "{\"sum\":{\"numbers\":[1,2,3,4]}}", PB_ERROR__CODE__TOO_LARGE,
            "sum.numbers", "sum.max_numbers");
    refused(env, "{\"sum\":{\"numbers\":[1],\"parts\":0}}", no, "sum.parts", "1 to 1024");
    refused(env, "{\"sum\":{\"numbers\":[1],\"format\":\"int64\"}}", no, "sum.format",
            "file");
    refused(env, "{\"sum\":{\"file\":\"x\",\"format\":\"csv\"}}", no, "sum.column",
            "needed");
    refused(env, "{\"sum\":{\"file\":\"x\",\"column\":\"1\"}}", no, "sum.column",
            "csv only");
    refused(env, "{\"sum\":{\"file\":\"x\",\"delimiter\":\";\"}}", no, "sum.delimiter",
            "only");
    refused(env,
            "{\"sum\":{\"file\":\"x\",\"format\":\"csv\",\"column\":\"1\",\"delimiter\":"
            "\"ab\"}}",
            no, "sum.delimiter", "one ASCII");
    refused(env, "{\"sum\":{\"file\":\"\"}}", no, "sum.file", "empty");
    refused(env, "{\"sum\":{\"results\":\"sum.sum\"}}", no, "sum.results", "needs");
    refused(none, "{\"sum\":{\"file\":\"x\"}}", PB_ERROR__CODE__DENIED, "sum.file",
            "files.roots");
    job_env_unref(none);
    job_env_unref(env);
}

GO_TEST(numbers_in_the_spec_are_summed)
{
    struct job_env *env = env_of("{}");
    struct outcome o;

    run_job(env, NULL, &o, "{\"sum\":{\"numbers\":[1,2,3,4,5,6,7,8,9,10]}}");
    CHECK(strcmp(o.json, "{\"sum\":{\"count\":10,\"sum\":55}}") == 0);
    run_job(env, NULL, &o, "{\"sum\":{\"numbers\":[1,2,3],\"parts\":4}}");
    CHECK(strcmp(o.json, "{\"sum\":{\"count\":3,\"sum\":6,\"parts\":3}}") == 0);
    run_job(env, NULL, &o, "{\"sum\":{\"numbers\":[1e16,1.0,-1e16]}}");
    CHECK(strcmp(o.json, "{\"sum\":{\"count\":3,\"sum\":1.0}}") == 0);
    run_job(env, NULL, &o, "{\"sum\":{\"numbers\":[9223372036854775807,1]}}");
    CHECK_HAS(o.json, "\"sum\":\"9223372036854775808\"");
    run_job(env, NULL, &o, "{\"sum\":{\"numbers\":[]}}");
    CHECK(strcmp(o.json, "{\"sum\":{\"count\":0,\"sum\":0}}") == 0);
    run_job(env, NULL, &o,
            "{\"sum\":{\"numbers\":[\"170141183460469231731687303715884105727\",1]}}");
    CHECK_INT(o.code, PB_ERROR__CODE__OVERFLOW);
    job_env_unref(env);
}

static struct job_env *
env_in(const char *dir)
{
    return env_of("files: {roots: ['%s']}", dir);
}

GO_TEST(text_file_has_one_sum_however_it_is_split)
{
    char *dir = dir_new();
    struct job_env *env = env_in(dir);
    struct proto_buf b = {0};
    struct outcome o;
    int64_t want = 0;
    int n = 60000;

    for (int i = 0; i < n; i++) {
        char text[32];
        int64_t v = (int64_t)(rng() >> (rng() % 60)) % 1000000000000;

        if (rng() % 3 == 0)
            v = -v;
        want += v;
        (void)snprintf(text, sizeof(text), "%lld%s", (long long)v,
                       rng() % 5 ? "\n" : " \t\r\n  ");
        proto_buf_adds(&b, text);
    }
    file_put(dir, "n.txt", b.data, b.len);
    for (int parts = 1; parts <= 1000; parts = parts * 3 + 1) {
        char expect[128];

        run_job(env, NULL, &o, "{\"sum\":{\"file\":\"n.txt\",\"parts\":%d}}", parts);
        (void)snprintf(expect, sizeof(expect),
                       "{\"sum\":{\"count\":%d,\"sum\":%lld,\"parts\":%d}}", n,
                       (long long)want, parts);
        CHECK_INT(o.r, 0);
        CHECK(strcmp(o.json, expect) == 0);
    }
    proto_buf_free(&b);
    job_env_unref(env);
    dir_free(dir);
}

/* More parts than bytes, and every cut there can be. */
GO_TEST(small_text_files_survive_every_cut)
{
    static const struct {
        const char *text, *json;
    } files[] = {
        {"", "{\"sum\":{\"count\":0,\"sum\":0"},
        {" \n", "{\"sum\":{\"count\":0,\"sum\":0"},
        {"7", "{\"sum\":{\"count\":1,\"sum\":7"},
        {" 7 ", "{\"sum\":{\"count\":1,\"sum\":7"},
        {"1 23 456\n-7890 12345678901234567890",
         "{\"sum\":{\"count\":5,\"sum\":\"12345678901234560480\""},
        {"1.5 2\n.25 -1e2", "{\"sum\":{\"count\":4,\"sum\":-96.25"},
        {"1234567812345678 12345678", "{\"sum\":{\"count\":2,\"sum\":1234567824691356"},
    };
    char *dir = dir_new();
    struct job_env *env = env_in(dir);

    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        file_puts(dir, "n.txt", files[i].text);
        for (int parts = 1; parts <= 48; parts++) {
            struct outcome o;

            run_job(env, NULL, &o, "{\"sum\":{\"file\":\"n.txt\",\"parts\":%d}}", parts);
            CHECK_INT(o.r, 0);
            CHECK(strncmp(o.json, files[i].json, strlen(files[i].json)) == 0);
        }
    }
    job_env_unref(env);
    dir_free(dir);
}

GO_TEST(first_wrong_number_is_named_however_it_is_split)
{
    char *dir = dir_new();
    struct job_env *env = env_in(dir);
    struct proto_buf b = {0};

    for (int i = 0; i < 100000; i++)
        proto_buf_adds(&b, i == 40000 ? "oops " : i > 70000 ? "bad " : "12345 ");
    file_put(dir, "n.txt", b.data, b.len);
    for (int parts = 1; parts < 20; parts++) {
        struct outcome o;

        run_job(env, NULL, &o, "{\"sum\":{\"file\":\"n.txt\",\"parts\":%d}}", parts);
        CHECK_INT(o.code, PB_ERROR__CODE__PARSE);
        CHECK_HAS(o.message, "\"oops\", at byte 240000, is no number");
        CHECK(strcmp(o.field, "sum.file") == 0);
    }
    proto_buf_free(&b);
    job_env_unref(env);
    dir_free(dir);
}

GO_TEST(binary_files_are_summed)
{
    enum { N = 70000 };
    static int64_t ints[N];
    static double reals[N];
    char *dir = dir_new(), expect[128];
    struct job_env *env = env_in(dir);
    struct outcome o;
    int64_t want = 0;

    for (int i = 0; i < N; i++) {
        ints[i] = (int64_t)rng() >> 20;
        want += ints[i];
        reals[i] = 0.1;
    }
    file_put(dir, "i", ints, sizeof(ints));
    file_put(dir, "d", reals, sizeof(reals));
    file_put(dir, "odd", reals, 9);
    (void)snprintf(expect, sizeof(expect), "{\"sum\":{\"count\":%d,\"sum\":%lld", N,
                   (long long)want);
    for (int parts = 1; parts < 9; parts++) {
        run_job(env, NULL, &o,
                "{\"sum\":{\"file\":\"i\",\"format\":\"int64\",\"parts\":%d}}", parts);
        CHECK_HAS(o.json, expect);
        run_job(env, NULL, &o,
                "{\"sum\":{\"file\":\"d\",\"format\":\"float64\",\"parts\":%d}}", parts);
        /* Exactly 70000 times the double nearest to 0.1, rounded. */
        CHECK_HAS(o.json, "\"count\":70000,\"sum\":7000.0");
    }
    CHECK_INT(o.done, sizeof(reals));
    run_job(env, NULL, &o, "{\"sum\":{\"file\":\"odd\",\"format\":\"int64\"}}");
    CHECK_INT(o.code, PB_ERROR__CODE__PARSE);
    CHECK_HAS(o.message, "9 bytes");
    job_env_unref(env);
    dir_free(dir);
}

GO_TEST(csv_column_is_summed_however_it_is_split)
{
    static const char text[] = "\xef\xbb\xbfname,\"a \"\"b\"\"\",price\r\n"
                               "x,1,2.5\r\n"
                               "\"line\nbreak, and comma\",2,\"3.5\"\r\n"
                               "\"\"\"\",3,\r\n"
                               "\r\n"
                               "\"\n\n\n\",4,\" 4 \"";
    char *dir = dir_new();
    struct job_env *env = env_in(dir);
    struct outcome o;

    file_puts(dir, "t.csv", text);
    for (int parts = 1; parts <= 100; parts++) {
        run_job(env, NULL, &o,
                "{\"sum\":{\"file\":\"t.csv\",\"format\":\"csv\",\"column\":\"price\","
                "\"parts\":%d}}",
                parts);
        CHECK_HAS(o.json, "{\"count\":3,\"sum\":10.0");
        run_job(env, NULL, &o,
                "{\"sum\":{\"file\":\"t.csv\",\"format\":\"csv\",\"column\":\"a "
                "\\\"b\\\"\",\"parts\":%d}}",
                parts);
        CHECK_HAS(o.json, "{\"count\":4,\"sum\":10");
        run_job(env, NULL, &o,
                "{\"sum\":{\"file\":\"t.csv\",\"format\":\"csv\",\"column\":\"2\","
                "\"parts\":%d}}",
                parts);
        CHECK_HAS(o.json, "{\"count\":4,\"sum\":10");
    }
    job_env_unref(env);
    dir_free(dir);
}

GO_TEST(big_csv_with_quotes_is_the_same_in_parts)
{
    char *dir = dir_new(), expect[128];
    struct job_env *env = env_in(dir);
    struct proto_buf b = {0};
    struct outcome o;
    int64_t want = 0;
    int n = 30000;

    for (int i = 0; i < n; i++) {
        char line[128];
        int64_t v = (int64_t)(rng() % 100000);

        want += v;
        (void)snprintf(line, sizeof(line), "\"%.*s\";%lld\n", (int)(rng() % 20),
                       rng() % 2 ? "\n\n;\n5;6\n7;8\n\n\n\n\n\n" : "12345678901234567890",
                       (long long)v);
        proto_buf_adds(&b, line);
    }
    file_put(dir, "t.csv", b.data, b.len);
    (void)snprintf(expect, sizeof(expect), "{\"count\":%d,\"sum\":%lld", n,
                   (long long)want);
    for (int parts = 1; parts < 200; parts = parts * 2 + 1) {
        run_job(env, NULL, &o,
                "{\"sum\":{\"file\":\"t.csv\",\"format\":\"csv\",\"column\":\"2\","
                "\"delimiter\":\";\",\"parts\":%d}}",
                parts);
        CHECK_HAS(o.json, expect);
    }
    proto_buf_free(&b);
    job_env_unref(env);
    dir_free(dir);
}

GO_TEST(wrong_csv_is_refused_with_the_place)
{
    char *dir = dir_new();
    struct job_env *env = env_in(dir);
    struct outcome o;

#define CSV(column)                                                                      \
    "{\"sum\":{\"file\":\"t.csv\",\"format\":\"csv\",\"column\":\"" column "\"}}"
    file_puts(dir, "t.csv", "a,b\n1,2\n3\n");
    run_job(env, NULL, &o, CSV("c"));
    CHECK_HAS(o.message, "no column \"c\" in its first line");
    CHECK(strcmp(o.field, "sum.column") == 0);
    run_job(env, NULL, &o, CSV("b"));
    CHECK_HAS(o.message, "the record at byte 8, \"3\", has no column 2");
    file_puts(dir, "t.csv", "a,b\n1,x\n");
    run_job(env, NULL, &o, CSV("b"));
    CHECK_HAS(o.message, "\"x\", at byte 4, is no number");
    file_puts(dir, "t.csv", "a,b\n1\"2,3\n");
    run_job(env, NULL, &o, CSV("a"));
    CHECK_HAS(o.message, "wrongly quoted");
    CHECK_INT(o.code, PB_ERROR__CODE__PARSE);
    file_puts(dir, "t.csv", "");
    run_job(env, NULL, &o, CSV("1"));
    CHECK_HAS(o.json, "\"count\":0,\"sum\":0");
#undef CSV
    job_env_unref(env);
    dir_free(dir);
}

/* A sparse file: reading it all would take minutes. */
GO_TEST(sum_over_a_huge_file_can_be_cancelled)
{
    char *dir = dir_new(), path[256];
    struct job_env *env = env_in(dir);
    struct outcome o;
    int fd;

    (void)snprintf(path, sizeof(path), "%s/huge", dir);
    fd = open(path, O_CREAT | O_WRONLY, 0600);
    REQUIRE(fd >= 0 && ftruncate(fd, (off_t)1 << 40) == 0);
    (void)close(fd);
    check_cancel(env, &o, "{\"sum\":{\"file\":\"huge\",\"format\":\"int64\"}}");
    CHECK(o.done > 0 && o.done < o.total);
    check_cancel(env, &o,
                 "{\"sum\":{\"file\":\"huge\",\"format\":\"float64\",\"parts\":1}}");
    job_env_unref(env);
    dir_free(dir);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sum_of_two_doubles_is_the_machines),
        cmocka_unit_test(cancelling_doubles_leave_the_small_one),
        cmocka_unit_test(infinities_and_nan_follow_the_standard),
        cmocka_unit_test(order_and_split_do_not_matter),
        cmocka_unit_test(integers_may_leave_128_bits_and_come_back),
        cmocka_unit_test(integers_and_doubles_add_exactly),
        cmocka_unit_test(int64_blocks_add_as_single_ones),
        cmocka_unit_test(decimal_text_is_read_like_strtod),
        cmocka_unit_test(random_decimals_are_read_like_strtod),
        cmocka_unit_test(integers_of_every_length_are_exact),
        cmocka_unit_test(what_is_no_number_is_refused),
        cmocka_unit_test(sum_spec_that_makes_no_sense_is_refused),
        cmocka_unit_test(numbers_in_the_spec_are_summed),
        cmocka_unit_test(text_file_has_one_sum_however_it_is_split),
        cmocka_unit_test(small_text_files_survive_every_cut),
        cmocka_unit_test(first_wrong_number_is_named_however_it_is_split),
        cmocka_unit_test(binary_files_are_summed),
        cmocka_unit_test(csv_column_is_summed_however_it_is_split),
        cmocka_unit_test(big_csv_with_quotes_is_the_same_in_parts),
        cmocka_unit_test(wrong_csv_is_refused_with_the_place),
        cmocka_unit_test(sum_over_a_huge_file_can_be_cancelled),
    };

    return cmocka_run_group_tests_name("sum", tests, NULL, NULL);
}
