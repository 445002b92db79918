/* Stacks: they grow by page fault, end in a guard page, and give their memory back. */
#define _GNU_SOURCE
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "tests/support/await.h"
#include "tests/support/child.h"

#define KIB ((size_t)1024)

/* --- growth --------------------------------------------------------------------------------- */

/* Use about bytes of stack, every page of it; the result proves that it held. */
static __attribute__((noinline)) uint64_t
dig(size_t bytes)
{
    volatile unsigned char page[2048];
    uint64_t below;

    memset((void *)(uintptr_t)page, (int)(bytes / 2048 & 0xff), sizeof(page));
    below = bytes > 4096 ? dig(bytes - 2048) : 0;
    __asm__ volatile("" ::"r"(page)
                     : "memory"); /* the page is alive: no loop, no tail call */
    return below + page[1000];
}

struct depth {
    struct go_wg wg;
    uint64_t result;
};

static void
dig_here(struct depth *d, size_t bytes)
{
    d->result = dig(bytes);
}

/* Frames are larger under a sanitizer. */
#define DEPTH(bytes) (GO_ASAN || GO_TSAN ? (bytes) / 2 : (bytes))

GO_TEST(a_stack_grows_deep_into_its_reservation)
{
    static const size_t sizes[] = {64 * KIB, 256 * KIB, 1024 * KIB, 65536 * KIB};
    struct depth d = {.wg = GO_WG_INIT};
    uint64_t want;

    CHECK(go_wg_go(&d.wg, dig_here, &d, DEPTH(200 * KIB)) > 0);
    go_wg_wait(&d.wg);
    CHECK(d.result > 0);
    for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
        const struct go_opts opts = {.stack_size = sizes[i], .wg = &d.wg};

        CHECK(go_opt(&opts, dig_here, &d, DEPTH(sizes[i] * 3 / 4)) > 0);
        go_wg_wait(&d.wg);
        want = d.result;
        CHECK(go_opt(&opts, dig_here, &d, DEPTH(sizes[i] * 3 / 4)) > 0); /* a used one */
        go_wg_wait(&d.wg);
        CHECK(d.result == want && want > 0);
    }
}

/* --- overflow ------------------------------------------------------------------------------- */

static void
overrun(struct depth *d)
{
    fprintf(stderr, "id %lld ", (long long)go_id());
    d->result = dig(1024 * KIB);
}

static int
overflow(int argc, char **argv)
{
    struct depth d = {.wg = GO_WG_INIT};

    (void)argc;
    (void)argv;
    CHECK(go_wg_go(&d.wg, overrun, &d) > 0);
    go_wg_wait(&d.wg);
    return 0;
}

static void
expect_overflow(const char *debug)
{
    static struct child_result r;
    char var[64], want[64];
    char *env[] = {var, NULL};

    (void)snprintf(var, sizeof(var), "GODEBUG=%s", debug);
    child_run("overflow", env, &r);
    (void)snprintf(want, sizeof(want), "goroutine %ld (overrun) exceeded its 262144-byte",
                   strtol(r.err + 3, NULL, 10));
    if (r.status != 2 || strstr(r.err, want) == NULL)
        fprintf(stderr, "status %d, want 2 and \"%s\": %s\n", r.status, want, r.err);
    assert_int_equal(r.status, 2);
    assert_non_null(strstr(r.err, want));
    assert_non_null(strstr(r.err, "fatal error: stack overflow"));
}

static void
an_overflow_is_reported_by_id_and_function(void **state)
{
    (void)state;
    if (GO_ASAN) { /* it looks at the frames itself, and dies of another error */
        SKIP("AddressSanitizer reports overflows in its own way");
    }
    expect_overflow("");
    expect_overflow("guard=madvise");
    expect_overflow("guard=mprotect");
}

/* Locked memory takes no madvise() guards: the others have to do. */
static int
overflow_locked(int argc, char **argv)
{
    if (mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) != 0)
        return 77;
    return overflow(argc, argv);
}

static void
in_locked_memory_stacks_have_guards_too(void **state)
{
    static struct child_result r;

    (void)state;
    if (GO_ASAN || GO_TSAN)
        SKIP("a sanitizer's shadow memory cannot be locked");
    child_run("overflow_locked", NULL, &r);
    if (r.status == 77)
        SKIP("this user may not lock memory");
    assert_int_equal(r.status, 2);
    assert_non_null(strstr(r.err, " (overrun) exceeded its 262144-byte"));
}

/* Some kilobytes past the end, and back. Nobody hears of it. */
static void
overrun_a_little(void)
{
    (void)dig(256 * KIB + 8 * KIB);
}

/* The one whose stack lies below is parked for good, so that nothing but the check ends the
 * process. */
static int
overflow_unseen(int argc, char **argv)
{
    int64_t below = go(go_chan_recv, NULL, NULL);

    (void)argc;
    (void)argv;
    AWAIT(await_parked(below, "chan receive (nil chan)"));
    CHECK(go(overrun_a_little) > 0);
    go_sleep(100 * GO_SECOND);
    return 0;
}

static void
without_guard_an_overflow_is_found_when_its_goroutine_ends(void **state)
{
    static struct child_result r;
    char var[] = "GODEBUG=http2=0,guard=none";
    char *env[] = {var, NULL};

    (void)state;
    if (GO_ASAN)
        SKIP("AddressSanitizer reports overflows in its own way");
    child_run("overflow_unseen", env, &r);
    assert_int_equal(r.status, 2);
    assert_non_null(strstr(r.err, "fatal error: stack overflow: goroutine "));
    assert_non_null(strstr(r.err, " (overrun_a_little) has exceeded its 262144-byte"));
}

static void
a_guard_method_that_is_none_is_refused_in_words(void **state)
{
    static const char *const bad[] = {"mprotectx", "MADVISE", ""};
    static struct child_result r;

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        char var[64], want[64];
        char *env[] = {var, NULL};

        (void)snprintf(var, sizeof(var), "GODEBUG=guard=%s,x=1", bad[i]);
        child_run("return_at_once", env, &r);
        (void)snprintf(want, sizeof(want), "GODEBUG=guard=%s ignored", bad[i]);
        assert_int_equal(r.status, 0);
        assert_non_null(strstr(r.err, want));
    }
    {
        char var[] = "GODEBUG=noguard=7,guards=8"; /* not for us */
        char *env[] = {var, NULL};

        child_run("return_at_once", env, &r);
        assert_int_equal(r.status, 0);
        assert_string_equal(r.err, "");
    }
}

/* --- giving back ------------------------------------------------------------------------------ */

/* Bytes of /proc/self/statm: of address space (0), resident (1). */
static size_t
statm(int field)
{
    FILE *f = fopen("/proc/self/statm", "re");
    char line[128], *at = line;
    size_t pages = 0;

    REQUIRE(f != NULL && fgets(line, sizeof(line), f) != NULL);
    (void)fclose(f);
    for (int i = 0; i <= field; i++)
        pages = strtoul(at, &at, 10);
    REQUIRE(pages > 0);
    return pages * 4096;
}

static size_t
rss(void)
{
    return statm(1);
}

static void
dig_and_wait(struct go_chan *ready, struct go_chan *stop, size_t bytes)
{
    if (bytes > 0)
        (void)dig(bytes);
    go_chan_send(ready, NULL);
    (void)go_chan_recv(stop, NULL);
}

struct burst {
    struct go_chan *ready, *stop;
    struct go_wg wg;
    int n;
};

static void
burst_start(struct burst *b, int n, size_t bytes)
{
    *b = (struct burst){.ready = go_chan_new(0, 64), .stop = go_chan_new(0, 0), .n = n};
    for (int i = 0; i < n; i++)
        REQUIRE(go_wg_go(&b->wg, dig_and_wait, b->ready, b->stop, bytes) > 0);
    for (int i = 0; i < n; i++)
        CHECK(go_chan_recv(b->ready, NULL));
}

static void
burst_end(struct burst *b)
{
    go_chan_close(b->stop);
    go_wg_wait(&b->wg);
    go_chan_unref(b->ready);
    go_chan_unref(b->stop);
}

/* Sanitizers keep memory of their own for each page, which grows instead. */
#define NEEDS_PLAIN_MEMORY()                                                             \
    do {                                                                                 \
        if (GO_ASAN || GO_TSAN) {                                                        \
            fprintf(stderr, "# %s: not with a sanitizer's shadow memory\n", __func__);   \
            return;                                                                      \
        }                                                                                \
    } while (0)

/* What a burst used is resident at its height, whoever used those pages before. */
GO_TEST(memory_falls_after_a_burst_of_goroutines)
{
    size_t full, used = 2000 * 32 * KIB;
    struct burst b;

    NEEDS_PLAIN_MEMORY();
    burst_start(&b, 2000, 32 * KIB);
    full = rss();
    CHECK(full > used);
    burst_end(&b);
    AWAIT(rss() + used / 2 < full);
}

GO_TEST(memory_falls_while_deep_goroutines_idle)
{
    size_t full, used = 500 * 128 * KIB;
    struct go_stats stats;
    struct burst b;

    NEEDS_PLAIN_MEMORY();
    burst_start(&b, 500, 128 * KIB);
    full = rss();
    CHECK(full > used);
    AWAIT(rss() + used / 2 < full);
    burst_end(&b); /* and all of them still run */
    go_stats(&stats);
    CHECK(stats.stack_reserved >= stats.stack_inuse + stats.stack_cached);
}

/* --- how many ---------------------------------------------------------------------------------- */

static void
park(struct go_chan *stop, struct go_wg *parked, struct go_wg *ended)
{
    go_wg_done(parked);
    (void)go_chan_recv(stop, NULL);
    go_wg_done(ended);
}

/* More than vm.max_map_count by far: a mapping or two for each would not do. */
GO_TEST(goroutines_park_by_the_hundred_thousand)
{
    const char *wish = getenv("GOTEST_PARKED");
    int n = wish != NULL ? (int)strtol(wish, NULL, 10)
            : GO_TSAN    ? 2000
            : GO_ASAN    ? 20000
                         : 200000;
    struct go_chan *stop = go_chan_new(0, 0);
    struct go_wg parked = GO_WG_INIT, ended = GO_WG_INIT;
    size_t before = rss();

    go_wg_add(&parked, n);
    go_wg_add(&ended, n);
    for (int i = 0; i < n; i++)
        REQUIRE(go(park, stop, &parked, &ended) > 0);
    go_wg_wait(&parked);
    CHECK(go_num_goroutine() > n);
    if (!(GO_ASAN || GO_TSAN))
        CHECK(rss() - before < (size_t)n * 4900); /* a page, a record, a little */
    go_chan_close(stop);
    go_wg_wait(&ended);
    go_chan_unref(stop);
}

/* As on kernels whose guards cost two mappings each: past a budget stacks go without, and
 * mappings are left for the rest of the program. */
static int
park_more_than_guards(int argc, char **argv)
{
    struct go_chan *stop = go_chan_new(0, 0);
    struct go_wg parked = GO_WG_INIT, ended = GO_WG_INIT;
    int n = GO_TSAN ? 2000 : GO_ASAN ? 20000 : 70000;

    (void)argc;
    (void)argv;
    go_wg_add(&parked, n);
    go_wg_add(&ended, n);
    for (int i = 0; i < n; i++)
        REQUIRE(go(park, stop, &parked, &ended) > 0);
    go_wg_wait(&parked);
    for (int i = 0; i < 1000; i++) /* each splits one in three */
        CHECK(mmap(NULL, 4096, i % 2 ? PROT_READ : PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS,
                   -1, 0) != MAP_FAILED);
    go_chan_close(stop);
    go_wg_wait(&ended);
    go_chan_unref(stop);
    return 0;
}

static void
with_few_mappings_some_stacks_go_without_guard(void **state)
{
    static struct child_result r;
    char var[] = "GODEBUG=guard=mprotect";
    char *env[] = {var, NULL};

    (void)state;
    child_run("park_more_than_guards", env, &r);
    if (r.status != 0)
        fprintf(stderr, "%s", r.err);
    assert_int_equal(r.status, 0);
}

static int
return_at_once(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    return 0;
}

static int
out_of_address_space(int argc, char **argv)
{
    struct rlimit limit;
    struct go_chan *stop = go_chan_new(0, 0);
    struct go_wg wg = GO_WG_INIT;
    int64_t started = 0, r;

    (void)argc;
    (void)argv;
    limit.rlim_cur = limit.rlim_max = (rlim_t)statm(0) + (512ul << 20);
    REQUIRE(setrlimit(RLIMIT_AS, &limit) == 0);
    for (;;) {
        r = go_wg_go(&wg, go_chan_recv, stop, NULL);
        if (r < 0)
            break;
        started++;
        if (started % 64 == 0)
            go_yield();
    }
    CHECK_INT(r, -ENOMEM);
    CHECK(started > 100);
    CHECK_INT(go_wg_count(&wg), started); /* the one that failed is not counted */
    go_chan_close(stop);
    go_wg_wait(&wg); /* the others go on, and so does the program */
    CHECK(go_wg_go(&wg, go_yield) > 0);
    go_wg_wait(&wg);
    return 0;
}

static void
without_memory_spawning_fails_and_the_program_goes_on(void **state)
{
    (void)state;
    if (GO_ASAN || GO_TSAN) {
        SKIP("a sanitizer reserves more address space than can be limited");
    }
    child_expect("out_of_address_space", 0, NULL);
}

static int
print_reserved(int argc, char **argv)
{
    struct depth d = {.wg = GO_WG_INIT};

    (void)argc;
    (void)argv;
    CHECK(go_wg_go(&d.wg, dig_here, &d, DEPTH(1500 * KIB)) > 0);
    go_wg_wait(&d.wg);
    return d.result > 0 ? 7 : 1;
}

static void
gostack_sets_the_default_size(void **state)
{
    static struct child_result r;
    static const char *const bad[] = {"12k",
                                      "63",
                                      "65537",
                                      "0",
                                      "-256",
                                      "x",
                                      "99999999999999999999",
                                      "-18446744073709551360" /* 256 less 2^64 */};
    char big[] = "GOSTACK=2048";
    char *env[] = {big, NULL};

    (void)state;
    child_run("print_reserved", env, &r);
    assert_int_equal(r.status, 7);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        char var[64], want[96];
        char *bad_env[] = {var, NULL};

        (void)snprintf(var, sizeof(var), "GOSTACK=%s", bad[i]);
        (void)snprintf(want, sizeof(want), "GOSTACK=%s ignored: not a number", bad[i]);
        child_run("return_at_once", bad_env, &r);
        assert_int_equal(r.status, 0);
        assert_non_null(strstr(r.err, want));
    }
}

/* Whatever size is asked for, one between the limits is given. */
GO_TEST(stack_sizes_beyond_the_limits_are_the_limits)
{
    static const size_t sizes[] = {1, 64 * KIB, 64 * KIB + 1, 64 * 1024 * KIB, SIZE_MAX};
    struct go_wg wg = GO_WG_INIT;

    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        const struct go_opts opts = {.stack_size = sizes[i], .wg = &wg};

        CHECK(go_opt(&opts, dig, DEPTH(16 * KIB)) > 0);
        CHECK(sizes[i] < 64 * 1024 * KIB ||
              go_opt(&opts, dig, DEPTH(30 * 1024 * KIB)) > 0);
        go_wg_wait(&wg);
    }
}

int
main(int argc, char **argv)
{
    static const struct child_case children[] = {
        {"overflow", overflow, false},
        {"overflow_locked", overflow_locked, false},
        {"overflow_unseen", overflow_unseen, false},
        {"park_more_than_guards", park_more_than_guards, false},
        {"return_at_once", return_at_once, false},
        {"out_of_address_space", out_of_address_space, false},
        {"print_reserved", print_reserved, false},
    };
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_stack_grows_deep_into_its_reservation),
        cmocka_unit_test(an_overflow_is_reported_by_id_and_function),
        cmocka_unit_test(in_locked_memory_stacks_have_guards_too),
        cmocka_unit_test(without_guard_an_overflow_is_found_when_its_goroutine_ends),
        cmocka_unit_test(a_guard_method_that_is_none_is_refused_in_words),
        cmocka_unit_test(memory_falls_after_a_burst_of_goroutines),
        cmocka_unit_test(memory_falls_while_deep_goroutines_idle),
        cmocka_unit_test(without_memory_spawning_fails_and_the_program_goes_on),
        cmocka_unit_test(gostack_sets_the_default_size),
        cmocka_unit_test(stack_sizes_beyond_the_limits_are_the_limits),
        cmocka_unit_test(with_few_mappings_some_stacks_go_without_guard),
        cmocka_unit_test(goroutines_park_by_the_hundred_thousand),
    };

    CHILD_MAIN(argc, argv, children);
    return cmocka_run_group_tests_name("stack", tests, NULL, NULL);
}
