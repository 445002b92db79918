/* Lines of the sources from addresses: runtime/debug/line.c. */
#include "tests/support/gotest.h"

static int line_of_call;

/* Where it was called from. */
__attribute__((noinline)) static uintptr_t
here(void)
{
    __asm__ volatile(""); /* each call counts */
    return (uintptr_t)__builtin_return_address(0) - 1;
}

static bool
ends_with(const char *s, const char *end)
{
    size_t n = strlen(s), m = strlen(end);

    return n >= m && strcmp(s + n - m, end) == 0;
}

/* A build without debug information has no lines to check. */
static bool
has_lines(void)
{
    struct go_line v = {.pc = here()};

    go_lines(&v, 1);
    return v.line > 0;
}

GO_TEST(a_call_is_found_at_its_line)
{
    struct go_line v[3] = {{.pc = 0}};

    if (!has_lines())
        SKIP("this build has no debug information");
    /* clang-format off */
    v[0].pc = here(); line_of_call = __LINE__;
    /* clang-format on */
    v[1].pc = (uintptr_t)go_ctx_background; /* another file */
    v[2].pc = (uintptr_t)strlen;            /* no program of ours */
    go_lines(v, 3);
    for (int i = 0, seen = 0; i < 3; i++) {
        if (v[i].line == line_of_call && ends_with(v[i].file, "test_line.c"))
            seen++;
        CHECK(i == 0 || v[i - 1].pc <= v[i].pc);
        if (i == 2)
            CHECK_INT(seen, 1);
    }
}

GO_TEST(files_are_named_from_the_top_of_the_tree)
{
    struct go_line v = {.pc = (uintptr_t)go_yield + 1};

    if (!has_lines())
        SKIP("this build has no debug information");
    go_lines(&v, 1);
    CHECK(strncmp(v.file, "runtime/sched/", 14) == 0);
    CHECK(v.line > 0);
}

GO_TEST(what_is_no_code_has_no_line)
{
    static char data;
    struct go_line v[] = {{.pc = 0, .line = 7, .file = "x"},
                          {.pc = (uintptr_t)&data, .line = 7, .file = "x"},
                          {.pc = UINTPTR_MAX, .line = 7, .file = "x"}};

    go_lines(NULL, 0);
    go_lines(v, 3);
    for (int i = 0; i < 3; i++) {
        CHECK_INT(v[i].line, 0);
        CHECK(v[i].file[0] == '\0');
    }
}

GO_TEST(thousands_are_found_in_one_pass)
{
    enum { N = 5000 };
    struct go_line *v = calloc(N, sizeof(*v));
    uintptr_t from = (uintptr_t)go_yield;

    REQUIRE(v != NULL);
    for (size_t i = 0; i < N; i++)
        v[i].pc = from + (i * 7919) % N;
    go_lines(v, N);
    for (int i = 1; i < N; i++)
        CHECK(v[i - 1].pc <= v[i].pc);
    CHECK(!has_lines() || v[1].line > 0);
    free(v);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_call_is_found_at_its_line),
        cmocka_unit_test(files_are_named_from_the_top_of_the_tree),
        cmocka_unit_test(what_is_no_code_has_no_line),
        cmocka_unit_test(thousands_are_found_in_one_pass),
    };

    return cmocka_run_group_tests_name("line", tests, NULL, NULL);
}
