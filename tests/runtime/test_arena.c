#define _GNU_SOURCE
#include "runtime/base/san.h"
#include "tests/support/child.h"
#include "tests/support/foreign.h"

static bool
is_zero(const unsigned char *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (p[i] != 0)
            return false;
    return true;
}

/* A block as promised, then soiled and marked with its own address. */
static unsigned char *
take(struct go_arena *a, size_t size)
{
    unsigned char *p = a != NULL ? go_arena_alloc(a, size) : go_alloc(size);

    REQUIRE(p != NULL);
    CHECK((uintptr_t)p % 16 == 0);
    CHECK(is_zero(p, size));
    memset(p, (int)((uintptr_t)p >> 4 & 0xff) | 1, size);
    return p;
}

static void
check_mark(const unsigned char *p, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (p[i] != (unsigned char)(((uintptr_t)p >> 4 & 0xff) | 1)) {
            CHECK(!"block intact");
            return;
        }
}

/* Sizes around every boundary: zero, alignment, the first chunk, the classes, and blocks
 * with a chunk of their own. */
static void
fill(struct go_arena *a)
{
    static const size_t sizes[] = {0,    1,     15,    16,    17,    100,   960,    1024,
                                   1025, 16000, 16383, 16384, 16385, 65536, 100000, 3};
    enum { N = sizeof(sizes) / sizeof(sizes[0]), ROUNDS = 20 };
    unsigned char *p[ROUNDS][N];

    for (int r = 0; r < ROUNDS; r++)
        for (size_t i = 0; i < N; i++)
            p[r][i] = take(a, sizes[(i + (size_t)r) % N]);
    for (int r = 0; r < ROUNDS; r++)
        for (size_t i = 0; i < N; i++)
            check_mark(p[r][i], sizes[(i + (size_t)r) % N]);
}

GO_TEST(blocks_are_zeroed_aligned_and_apart)
{
    for (int i = 0; i < 20; i++) { /* later rounds meet recycled, dirty chunks */
        struct go_arena *a = go_arena_new();

        REQUIRE(a != NULL);
        fill(a);
        go_arena_free(a);
    }
    go_arena_free(NULL);
}

GO_TEST(blocks_of_no_size_have_addresses_of_their_own)
{
    CHECK(go_alloc(0) != NULL);
    CHECK(go_alloc(0) != go_alloc(0));
}

GO_TEST(sizes_that_cannot_be_had_are_refused)
{
    CHECK(go_alloc(SIZE_MAX) == NULL);
    CHECK(go_alloc(PTRDIFF_MAX) == NULL);
    CHECK(go_alloc(SIZE_MAX - 15) == NULL);
    CHECK(go_alloc(1) != NULL);
}

static void
fill_own(int n)
{
    for (int i = 0; i < n; i++) {
        fill(NULL);
        go_yield();
    }
}

GO_TEST(each_goroutine_has_its_own_on_any_thread)
{
    struct go_wg wg = GO_WG_INIT;

    for (int round = 0; round < 5; round++) {
        for (int i = 0; i < 8; i++)
            REQUIRE(go_wg_go(&wg, fill_own, 3) > 0);
        go_wg_wait(&wg);
    }
}

GO_TEST(strings_are_copied_and_formatted_in_the_arena)
{
    char word[] = "word";
    char *copy = go_strdup(word), *s;

    memset(word, 'x', sizeof(word) - 1);
    REQUIRE(copy != NULL);
    CHECK(strcmp(copy, "word") == 0);
    s = go_sprintf("%s %d %5.2f|%*d", copy, -7, 2.5, 6, 42);
    REQUIRE(s != NULL);
    CHECK(strcmp(s, "word -7  2.50|    42") == 0);
    CHECK(strcmp(go_sprintf("%s", ""), "") == 0);
    s = go_sprintf("%0*d", 50000, 1);
    REQUIRE(s != NULL);
    CHECK_INT(strlen(s), 50000);
}

/* --- defer --- */

struct log {
    int order[16];
    int n;
};

struct entry {
    struct log *log;
    int value;
};

static void
note(void *arg)
{
    const struct entry *e = arg; /* in the arena, which must still be there */

    go_yield(); /* may park */
    e->log->order[e->log->n++] = e->value;
}

static void
note_and_defer_more(void *arg)
{
    struct entry *e = arg, *more = go_alloc(sizeof(*more));

    note(e);
    *more = (struct entry){e->log, 100};
    CHECK_INT(go_defer(note, more), 0);
}

static void
defer_some(struct log *log)
{
    for (int i = 0; i < 4; i++) {
        struct entry *e = go_alloc(sizeof(*e));

        *e = (struct entry){log, i};
        CHECK_INT(go_defer(i == 2 ? note_and_defer_more : note, e), 0);
    }
    CHECK_INT(log->n, 0);
}

GO_TEST(deferred_calls_run_last_first_before_the_arena_goes)
{
    static const int want[] = {3, 2, 100, 1, 0};
    struct go_wg wg = GO_WG_INIT;
    struct log log = {0};

    REQUIRE(go_wg_go(&wg, defer_some, &log) > 0);
    go_wg_wait(&wg);
    CHECK_INT(log.n, 5);
    for (int i = 0; i < 5; i++)
        CHECK_INT(log.order[i], want[i]);
}

static void *
foreign(void *arg)
{
    struct go_arena *a = go_arena_new();

    (void)arg;
    CHECK(go_alloc(1) == NULL);
    CHECK(go_strdup("x") == NULL);
    CHECK(go_sprintf("x") == NULL);
    CHECK_INT(go_defer(note, NULL), -EPERM);
    REQUIRE(a != NULL);
    fill(a);
    go_arena_free(a);
    return NULL;
}

GO_TEST(foreign_threads_have_free_standing_arenas_only)
{
    pthread_t t[2];

    for (int i = 0; i < 2; i++)
        t[i] = foreign_start(foreign, NULL);
    for (int i = 0; i < 2; i++)
        foreign_join(t[i]);
}

static int
overrun(int argc, char **argv)
{
    volatile char *p = go_alloc(10);

    (void)argc;
    (void)argv;
    p[10] = 1;
    return 0;
}

static const struct child_case children[] = {{"overrun", overrun, false}};

#if GO_ASAN
static void
asan_sees_an_overrun_within_a_chunk(void **state)
{
    (void)state;
    child_expect("overrun", 1, "use-after-poison");
}
#endif

int
main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_are_zeroed_aligned_and_apart),
        cmocka_unit_test(blocks_of_no_size_have_addresses_of_their_own),
        cmocka_unit_test(sizes_that_cannot_be_had_are_refused),
        cmocka_unit_test(each_goroutine_has_its_own_on_any_thread),
        cmocka_unit_test(strings_are_copied_and_formatted_in_the_arena),
        cmocka_unit_test(deferred_calls_run_last_first_before_the_arena_goes),
        cmocka_unit_test(foreign_threads_have_free_standing_arenas_only),
#if GO_ASAN
        cmocka_unit_test(asan_sees_an_overrun_within_a_chunk),
#endif
    };

    CHILD_MAIN(argc, argv, children);
    return cmocka_run_group_tests_name("arena", tests, NULL, NULL);
}
