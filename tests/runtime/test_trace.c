/* Starting and stopping the event trace. What is in the file: trace_check.py, which runs
 * this program's "work" as a child with $GOTRACE. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/support/child.h"
#include "tests/support/gotest.h"

/* --- something to trace ------------------------------------------------------------------------ */

static void
pong(struct go_chan *in, struct go_chan *out, struct go_wg *wg)
{
    int v;

    while (go_chan_recv(in, &v))
        go_chan_send(out, &v);
    go_wg_done(wg);
}

static void
ping_pong(int rounds, struct go_wg *wg)
{
    struct go_chan *a = go_chan_new(sizeof(int), 0), *b = go_chan_new(sizeof(int), 0);
    struct go_wg ponging = GO_WG_INIT;
    int v = 0;

    go_wg_add(&ponging, 1);
    (void)go(pong, a, b, &ponging);
    for (int i = 0; i < rounds; i++) {
        go_chan_send(a, &v);
        (void)go_chan_recv(b, &v);
    }
    go_chan_close(a);
    go_wg_wait(&ponging);
    go_chan_unref(a);
    go_chan_unref(b);
    go_wg_done(wg);
}

static void
block(struct go_wg *wg)
{
    go_enter_blocking();
    (void)usleep(3000); /* long enough for the processor to be taken */
    go_exit_blocking();
    go_yield();
    go_wg_done(wg);
}

static uint32_t away, overtaken; /* atomic */

/* Neither parks nor checks until another has run: on one processor, until that was taken
 * away by the signal. */
static void
run_away(struct go_wg *wg)
{
    int64_t limit = go_now() + 30 * GO_SECOND;

    __atomic_store_n(&away, 1, __ATOMIC_RELAXED);
    while (!__atomic_load_n(&overtaken, __ATOMIC_RELAXED))
        REQUIRE(go_now() < limit);
    go_wg_done(wg);
}

static void
overtake(struct go_wg *wg)
{
    while (!__atomic_load_n(&away, __ATOMIC_RELAXED))
        go_yield();
    __atomic_store_n(&overtaken, 1, __ATOMIC_RELAXED);
    go_wg_done(wg);
}

static int
work(int argc, char **argv)
{
    static const struct go_opts odd = {.name = "odd \"name\" \\ \xff \xc3\xa4 \n"};
    struct go_wg wg = GO_WG_INIT;

    (void)argc;
    (void)argv;
    away = overtaken = 0;
    go_wg_add(&wg, 9);
    for (int i = 0; i < 4; i++)
        (void)go(ping_pong, 200, &wg);
    for (int i = 0; i < 2; i++)
        (void)go(block, &wg);
    (void)go_opt(&odd, ping_pong, 10, &wg);
    (void)go(overtake, &wg);
    (void)go(run_away, &wg);
    go_wg_wait(&wg);
    go_sleep(GO_MILLISECOND);
    return 0;
}

static void
doze(int n, struct go_wg *wg)
{
    struct go_chan *never = go_chan_new(0, 0);

    for (int i = 0; i < n; i++) {
        struct go_case c[] = {GO_CASE_RECV(never, NULL)};

        go_sleep((n - i) * GO_MILLISECOND);
        (void)go_select_until(c, 1, go_now() + i * GO_MICROSECOND);
    }
    go_chan_unref(never);
    go_wg_done(wg);
}

/* What a seed decides wholly: nothing in it asks the real time. */
static int
seeded_work(int argc, char **argv)
{
    struct go_wg wg = GO_WG_INIT;

    (void)argc;
    (void)argv;
    go_wg_add(&wg, 7);
    for (int i = 0; i < 3; i++)
        (void)go(ping_pong, 20, &wg);
    for (int i = 0; i < 3; i++)
        (void)go(doze, 5 + i, &wg);
    (void)go(block, &wg);
    go_wg_wait(&wg);
    return 0;
}

static void
burn(void)
{
    int64_t end = go_now() + 200 * GO_MICROSECOND;

    while (go_now() < end)
        ;
}

/* One spawns more than its processor can do, until another has helped. */
static int
be_stolen_from(int argc, char **argv)
{
    struct go_stats s;

    (void)argc;
    (void)argv;
    for (int round = 0; round < 1000; round++) {
        struct go_wg wg = GO_WG_INIT;

        for (int i = 0; i < 64; i++)
            REQUIRE(go_wg_go(&wg, burn) > 0);
        go_wg_wait(&wg);
        go_stats(&s);
        if (s.steals > 0)
            return 0;
    }
    return 1;
}

/* --- tests ----------------------------------------------------------------------------------------- */

static char text[8 << 20];

/* Stop the trace into memory; its length. */
static size_t
stop_to_text(void)
{
    int fd = memfd_create("trace", MFD_CLOEXEC);
    ssize_t n;

    REQUIRE(fd >= 0);
    CHECK_INT(go_trace_stop(fd), 0);
    n = pread(fd, text, sizeof(text) - 1, 0);
    REQUIRE(n > 0);
    text[n] = '\0';
    (void)close(fd);
    return (size_t)n;
}

GO_TEST(only_one_trace_at_a_time)
{
    CHECK_INT(go_trace_stop(2), -EINVAL);
    CHECK_INT(go_trace_start(0), 0);
    CHECK_INT(go_trace_start(0), -EBUSY);
    (void)stop_to_text();
    CHECK_INT(go_trace_stop(2), -EINVAL);
    CHECK(strstr(text, "{\"displayTimeUnit\":\"ns\",\"traceEvents\":[") == text);
    CHECK(strstr(text, "\"dropped_events\":0}}\n") != NULL);
}

GO_TEST(trace_holds_only_what_happened_while_it_was_on)
{
    int64_t before = go_num_goroutine();
    char *none[] = {NULL};

    (void)work(0, none);
    while (go_num_goroutine() > before) /* its last ones have not returned yet */
        go_sleep(GO_MILLISECOND);
    CHECK_INT(go_trace_start(0), 0);
    for (int i = 0; i < 10; i++)
        go_yield();
    (void)stop_to_text();
    CHECK(strstr(text, "pong") == NULL);
    CHECK_INT(go_trace_start(0), 0);
    (void)work(0, none);
    (void)stop_to_text();
    CHECK(strstr(text, "\"name\":\"pong #") != NULL);
}

GO_TEST(events_beyond_the_limit_are_counted)
{
    const char *dropped;
    char *none[] = {NULL};

    CHECK_INT(go_trace_start(16), 0);
    (void)work(0, none);
    (void)stop_to_text();
    dropped = strstr(text, "\"otherData\":{\"dropped_events\":");
    REQUIRE(dropped != NULL);
    CHECK(strtol(dropped + strlen("\"otherData\":{\"dropped_events\":"), NULL, 10) > 100);
}

GO_TEST(failed_write_is_reported_and_ends_the_trace)
{
    int fd = open("/dev/full", O_WRONLY | O_CLOEXEC);

    REQUIRE(fd >= 0);
    CHECK_INT(go_trace_start(0), 0);
    go_yield();
    CHECK_INT(go_trace_stop(fd), -ENOSPC);
    CHECK_INT(go_trace_stop(fd), -EINVAL);
    (void)close(fd);
}

GO_TEST(impossible_size_is_refused)
{
    CHECK_INT(go_trace_start(SIZE_MAX), -ENOMEM);
    CHECK_INT(go_trace_stop(2), -EINVAL);
}

static uint32_t restarts_end; /* atomic */

static void *
restart_often(void *arg)
{
    int fd = open("/dev/null", O_WRONLY | O_CLOEXEC);

    (void)arg;
    for (int i = 0; i < 200; i++) {
        CHECK_INT(go_trace_start(1000), 0);
        (void)sched_yield();
        CHECK_INT(go_trace_stop(fd), 0);
    }
    (void)close(fd);
    __atomic_store_n(&restarts_end, 1, __ATOMIC_RELEASE);
    return NULL;
}

static void
nothing(void)
{
}

/* Buffers come and go under threads that write into them. */
GO_TEST(tracing_starts_and_stops_while_all_run)
{
    pthread_t t;

    restarts_end = 0;
    REQUIRE(pthread_create(&t, NULL, restart_often, NULL) == 0);
    while (__atomic_load_n(&restarts_end, __ATOMIC_ACQUIRE) == 0) {
        REQUIRE(go(nothing) > 0);
        go_yield();
    }
    go_enter_blocking();
    (void)pthread_join(t, NULL);
    go_exit_blocking();
}

static void *
spawn_one(void *arg)
{
    (void)arg;
    (void)go(nothing);
    return NULL;
}

/* Each foreign thread records into a buffer; the records are used again. */
GO_TEST(threads_that_end_leave_their_events)
{
    int spawned = 0;

    CHECK_INT(go_trace_start(0), 0);
    for (int i = 0; i < 50; i++) {
        pthread_t t;

        REQUIRE(pthread_create(&t, NULL, spawn_one, NULL) == 0);
        go_enter_blocking();
        (void)pthread_join(t, NULL);
        go_exit_blocking();
    }
    (void)stop_to_text();
    for (const char *p = text; (p = strstr(p, "\"name\":\"spawn\"")) != NULL; p++)
        spawned++;
    CHECK_INT(spawned, 50);
}

static void
unwritable_file_is_reported_and_the_program_runs(void **state)
{
    static struct child_result r;
    char file[] = "GOTRACE=/nonexistent/trace.json", *env[] = {file, NULL};

    (void)state;
    child_run("work", env, &r);
    assert_int_equal(r.status, 0);
    assert_non_null(strstr(r.err, "GOTRACE=/nonexistent/trace.json ignored: "));
}

int
main(int argc, char **argv)
{
    static const struct child_case children[] = {
        {"work", work, false},
        {"seeded_work", seeded_work, false},
        {"be_stolen_from", be_stolen_from, false},
    };
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_one_trace_at_a_time),
        cmocka_unit_test(trace_holds_only_what_happened_while_it_was_on),
        cmocka_unit_test(events_beyond_the_limit_are_counted),
        cmocka_unit_test(failed_write_is_reported_and_ends_the_trace),
        cmocka_unit_test(impossible_size_is_refused),
        cmocka_unit_test(tracing_starts_and_stops_while_all_run),
        cmocka_unit_test(threads_that_end_leave_their_events),
        cmocka_unit_test(unwritable_file_is_reported_and_the_program_runs),
    };

    CHILD_MAIN(argc, argv, children);
    return cmocka_run_group_tests_name("trace", tests, NULL, NULL);
}
