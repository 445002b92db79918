/* Looking at goroutines from inside: go_dump, go_info, go_each. Panics: test_panic.c. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#include "runtime/base/san.h"
#include "tests/support/ages.h"
#include "tests/support/await.h"
#include "tests/support/child.h"
#include "tests/support/gotest.h"

/* --- help ---------------------------------------------------------------------------------- */

/* Until goroutine id is in state s. */
static struct go_info
await_state(int64_t id, enum go_state s)
{
    struct go_info i;

    for (;;) {
        REQUIRE(go_info(id, &i) == 0);
        if (i.state == s)
            return i;
        go_yield();
    }
}

/* What write(fd) writes, but for ages, as a string that lasts until the next call. */
static const char *
text_of(void (*write_to)(int fd, void *arg), void *arg)
{
    static char text[1 << 20];
    int fd = memfd_create("dump", MFD_CLOEXEC);
    ssize_t n;

    REQUIRE(fd >= 0);
    write_to(fd, arg);
    n = pread(fd, text, sizeof(text) - 1, 0);
    REQUIRE(n >= 0);
    text[n] = '\0';
    (void)close(fd);
    without_ages(text);
    return text;
}

static void
dump_to(int fd, void *arg)
{
    (void)arg;
    go_dump(fd);
}

static void
dump_one_to(int fd, void *arg)
{
    CHECK_INT(go_dump_one(fd, *(int64_t *)arg), 0);
}

static void
dump_grouped_to(int fd, void *arg)
{
    (void)arg;
    CHECK_INT(go_dump_grouped(fd), 0);
}

static int
count(const char *text, const char *part)
{
    int n = 0;

    for (; (text = strstr(text, part)) != NULL; text++)
        n++;
    return n;
}

/* Whether one of the backtrace's functions is called name. */
static bool
has_frame(const struct go_info *i, const char *name)
{
    char buf[128];

    for (int k = 0; k < i->npc; k++) {
        (void)go_symbol((char *)i->pc[k] - 1, buf, sizeof(buf));
        if (strncmp(buf, name, strlen(name)) == 0 && buf[strlen(name)] == '+')
            return true;
    }
    return false;
}

/* Parked until told to end. Has a reference to stop of its own. The empty asm, elsewhere,
 * keeps calls from becoming jumps. */
__attribute__((noinline)) static void
wait_here(struct go_chan *stop)
{
    int v;

    (void)go_chan_recv(stop, &v);
    go_chan_unref(stop);
}

static void
outer(struct go_chan *stop)
{
    wait_here(stop);
    __asm__ volatile("");
}

/* --- tests ------------------------------------------------------------------------------------ */

GO_TEST(parked_goroutine_is_shown_with_reason_frames_and_creator)
{
    struct go_chan *stop = go_chan_new(sizeof(int), 0);
    int64_t id = go(outer, go_chan_ref(stop));
    struct go_info i = await_state(id, GO_WAITING);
    const char *text;
    char want[128];

    CHECK_INT(i.id, id);
    CHECK(strcmp(i.reason, "chan receive") == 0);
    CHECK(strcmp(i.name, "outer") == 0);
    CHECK(strstr(i.created_in, "frames_and_creator") != NULL);
    CHECK(strstr(i.created_file, "test_dump.c") != NULL);
    CHECK_INT(i.creator, go_id());
    CHECK(has_frame(&i, "wait_here"));
    CHECK(has_frame(&i, "outer"));
    CHECK(i.since > 0 && i.since <= go_now());

    text = text_of(dump_one_to, &id);
    (void)snprintf(want, sizeof(want), "goroutine %lld [chan receive]:\ngo_chan_recv(+0x",
                   (long long)id);
    CHECK(strncmp(text, want, strlen(want)) == 0);
    CHECK(strstr(text, "\nwait_here(+0x") < strstr(text, "\nouter(+0x"));
    CHECK(strstr(text, " in test_dump+0x") != NULL);
    CHECK(strstr(text, "rt_") == NULL); /* the runtime's inside is hidden */
    (void)snprintf(want, sizeof(want), " in goroutine %lld at ", (long long)go_id());
    CHECK(strstr(text, want) != NULL);
    CHECK(strstr(text, "tests/runtime/test_dump.c:") != NULL);

    go_chan_close(stop);
    while (go_info(id, &i) == 0)
        go_yield();
    go_chan_unref(stop);
}

GO_TEST(dump_shows_everyone_once)
{
    enum { N = 300 };
    struct go_chan *stop = go_chan_new(sizeof(int), 0);
    int64_t id[N];
    const char *text;
    char want[64];

    for (int k = 0; k < N; k++)
        id[k] = go(wait_here, go_chan_ref(stop));
    for (int k = 0; k < N; k++)
        (void)await_state(id[k], GO_WAITING);
    text = text_of(dump_to, NULL);
    for (int k = 0; k < N; k++) {
        (void)snprintf(want, sizeof(want), "goroutine %lld [chan receive]:\n",
                       (long long)id[k]);
        CHECK_INT(count(text, want), 1);
    }
    CHECK_INT(count(text, "\nwait_here(+0x"), N);
    (void)snprintf(want, sizeof(want), "goroutine %lld [running]:\n", (long long)go_id());
    CHECK_INT(count(text, want), 1);
    CHECK(strstr(text, "dump_shows_everyone_once_body(+0x") != NULL);
    go_chan_close(stop);
    for (int k = 0; k < N; k++) {
        struct go_info i;

        while (go_info(id[k], &i) == 0)
            go_yield();
    }
    go_chan_unref(stop);
}

GO_TEST(grouped_dump_counts_equal_backtraces_together)
{
    enum { N = 20 };
    struct go_chan *stop = go_chan_new(sizeof(int), 0);
    int64_t id[N + 1];
    const char *text;

    for (int k = 0; k < N; k++)
        id[k] = go(wait_here, go_chan_ref(stop));
    id[N] = go(outer, go_chan_ref(stop));
    for (int k = 0; k <= N; k++)
        (void)await_state(id[k], GO_WAITING);
    text = text_of(dump_grouped_to, NULL);
    CHECK(strncmp(text, "goroutine profile: total ", 25) == 0);
    CHECK(strtol(text + 25, NULL, 10) >= N + 2);
    CHECK_INT(count(text, "\n20 @ 0x"), 1);
    CHECK(strstr(text, "# state: chan receive; ") != NULL);
    CHECK_INT(count(text, "\twait_here+0x"), 2);
    CHECK_INT(count(text, "\touter+0x"), 1);
    go_chan_close(stop);
    for (int k = 0; k <= N; k++) {
        struct go_info i;

        while (go_info(id[k], &i) == 0)
            go_yield();
    }
    go_chan_unref(stop);
}

GO_TEST(given_name_is_shown_beside_the_state)
{
    struct go_chan *stop = go_chan_new(sizeof(int), 0);
    struct go_opts opts = {.name = "connection 12"};
    int64_t id = go_opt(&opts, wait_here, go_chan_ref(stop));
    struct go_info i = await_state(id, GO_WAITING);

    CHECK(strcmp(i.name, "connection 12") == 0);
    CHECK(strstr(text_of(dump_one_to, &id), "[chan receive, \"connection 12\"]:\n") !=
          NULL);
    go_chan_close(stop);
    while (go_info(id, &i) == 0)
        go_yield();
    go_chan_unref(stop);
}

GO_TEST(unknown_and_ended_goroutines_are_not_found)
{
    struct go_chan *stop = go_chan_new(sizeof(int), 0);
    int64_t id = go(wait_here, go_chan_ref(stop));
    struct go_info i;

    CHECK_INT(go_info(0, &i), -ESRCH);
    CHECK_INT(go_info(-1, &i), -ESRCH);
    CHECK_INT(go_info(INT64_MAX, &i), -ESRCH);
    CHECK_INT(go_dump_one(2, INT64_MAX), -ESRCH);
    CHECK_INT(go_info(id, &i), 0);
    go_chan_close(stop);
    while (go_info(id, &i) == 0)
        go_yield();
    CHECK_INT(go_dump_one(2, id), -ESRCH);
    go_chan_unref(stop);
}

GO_TEST(caller_sees_itself_running)
{
    struct go_info i;

    REQUIRE(go_info(go_id(), &i) == 0);
    CHECK_INT(i.state, GO_RUNNING);
    CHECK(i.reason == NULL);
    CHECK(strcmp(i.name, "main") == 0);
    CHECK(i.npc > 0 && has_frame(&i, "caller_sees_itself_running_body"));
}

GO_TEST(goroutine_that_has_not_run_is_new)
{
    struct go_chan *stop = go_chan_new(sizeof(int), 0);
    int procs = go_maxprocs(1);
    struct go_info i;
    int64_t id;

    /* Alone at last: the other processors retire at their next scheduling point. */
    for (int k = 0; k < 1000; k++)
        go_yield();
    id = go(wait_here, go_chan_ref(stop));
    REQUIRE(go_info(id, &i) == 0);
    if (i.state == GO_NEW) {
        const char *text = text_of(dump_one_to, &id);

        CHECK_INT(i.npc, 0);
        REQUIRE(go_info(id, &i) ==
                0); /* our P may have been taken, and it run, meanwhile */
        CHECK(strstr(text, "[new]:\nwait_here(+0x0)\n") != NULL || i.state != GO_NEW);
    }
    go_chan_close(stop);
    while (go_info(id, &i) == 0)
        go_yield();
    (void)go_maxprocs(procs);
    go_chan_unref(stop);
}

/* ThreadSanitizer holds signals back until the thread calls something it intercepts. */
#define SIGNALS_ARRIVE (!GO_TSAN)

#if SIGNALS_ARRIVE
static uint32_t spin_end; /* atomic */

static void
spin_here(void)
{
    while (__atomic_load_n(&spin_end, __ATOMIC_RELAXED) == 0)
        ;
    __asm__ volatile("");
}

GO_TEST(running_goroutine_is_interrupted_for_its_backtrace)
{
    int procs = go_maxprocs(2);
    int64_t id;
    struct go_info i;

    __atomic_store_n(&spin_end, 0, __ATOMIC_RELAXED);
    id = go(spin_here);
    i = await_state(id, GO_RUNNING);
    /* It may have been between the switch and its function. */
    while (!has_frame(&i, "spin_here"))
        REQUIRE(go_info(id, &i) == 0);
    CHECK_INT(i.state, GO_RUNNING);
    /* Its thread answers within 100 ms, or not if it has no CPU for so long. */
    AWAIT(strstr(text_of(dump_one_to, &id), " [running]:\nspin_here(+0x") != NULL);
    __atomic_store_n(&spin_end, 1, __ATOMIC_RELAXED);
    while (go_info(id, &i) == 0)
        go_yield();
    (void)go_maxprocs(procs);
}

struct neighbours {
    int64_t id;   /* of the one that is looked at */
    uint32_t end; /* atomic */
    bool mistaken;
};

__attribute__((noinline)) static void
run_shortly(void)
{
    for (volatile int i = 0; i < 100; i++)
        ;
}

static void
be_looked_at_between(struct neighbours *n)
{
    while (!__atomic_load_n(&n->end, __ATOMIC_RELAXED)) {
        run_shortly();
        go_yield();
    }
}

__attribute__((noinline)) static void
run_for_long(void)
{
    for (volatile int i = 0; i < 20000; i++)
        ;
}

static void
be_there_instead(struct neighbours *n)
{
    while (!__atomic_load_n(&n->end, __ATOMIC_RELAXED)) {
        run_for_long();
        go_yield();
    }
}

/* From a thread of its own: the only P is theirs. */
static void *
look_at_the_short_one(void *arg)
{
    struct neighbours *n = arg;
    int64_t end = go_now() + 300 * GO_MILLISECOND;

    while (go_now() < end) {
        struct go_info i;

        REQUIRE(go_info(n->id, &i) == 0);
        n->mistaken |= has_frame(&i, "run_for_long") || has_frame(&i, "be_there_instead");
    }
    __atomic_store_n(&n->end, 1, __ATOMIC_RELAXED);
    return NULL;
}

/* Seen to run, it has most likely stopped by the time its thread is interrupted. */
GO_TEST(a_backtrace_is_not_that_of_the_next_one_on_the_thread)
{
    int procs = go_maxprocs(1);
    struct neighbours n = {.end = 0};
    struct go_wg wg = GO_WG_INIT;
    pthread_t looker;

    n.id = go_wg_go(&wg, be_looked_at_between, &n);
    CHECK(go_wg_go(&wg, be_there_instead, &n) > 0);
    REQUIRE(pthread_create(&looker, NULL, look_at_the_short_one, &n) == 0);
    go_wg_wait(&wg);
    CHECK_INT(GO_BLOCKING(pthread_join(looker, NULL)), 0);
    CHECK(!n.mistaken);
    (void)go_maxprocs(procs);
}

static int blocking_pipe[2];

static void
block_here(void)
{
    char c;

    go_enter_blocking();
    (void)!read(blocking_pipe[0], &c, 1);
    go_exit_blocking();
}

GO_TEST(goroutine_in_a_blocking_call_shows_the_call_and_its_caller)
{
    struct go_info i;
    int64_t id;

    REQUIRE(pipe2(blocking_pipe, O_CLOEXEC) == 0);
    id = go(block_here);
    i = await_state(id, GO_SYSCALL);
    while (!has_frame(&i, "read") || !has_frame(&i, "block_here")) {
        go_yield();
        REQUIRE(go_info(id, &i) == 0);
    }
    CHECK_INT(i.state, GO_SYSCALL);
    CHECK(strstr(text_of(dump_one_to, &id), " [syscall]:\n") != NULL);
    REQUIRE(write(blocking_pipe[1], "x", 1) == 1);
    while (go_info(id, &i) == 0)
        go_yield();
    (void)close(blocking_pipe[0]);
    (void)close(blocking_pipe[1]);
}

#endif

struct tally {
    int waiting, self;
    int64_t sum; /* of the ids of those that wait */
};

static void
tally(const struct go_info *g, void *arg)
{
    struct tally *t = arg;

    if (g->state == GO_WAITING && strcmp(g->name, "wait_here") == 0) {
        t->waiting++;
        t->sum += g->id;
    }
    t->self += g->id == go_id();
}

GO_TEST(each_visits_every_live_goroutine_once)
{
    enum { N = 100 };
    struct go_chan *stop = go_chan_new(sizeof(int), 0);
    struct tally before = {0}, during = {0};
    int64_t id[N], sum = 0;

    go_each(tally, &before);
    for (int k = 0; k < N; k++) {
        id[k] = go(wait_here, go_chan_ref(stop));
        sum += id[k];
    }
    for (int k = 0; k < N; k++)
        (void)await_state(id[k], GO_WAITING);
    go_each(tally, &during);
    CHECK_INT(during.waiting - before.waiting, N);
    CHECK_INT(during.sum - before.sum, sum);
    CHECK_INT(during.self, 1);
    go_chan_close(stop);
    for (int k = 0; k < N; k++) {
        struct go_info i;

        while (go_info(id[k], &i) == 0)
            go_yield();
    }
    go_chan_unref(stop);
}

static void
bounce(struct go_chan *in, struct go_chan *out)
{
    int v;

    while (go_chan_recv(in, &v))
        go_chan_send(out, &v);
    go_chan_unref(in);
    go_chan_unref(out);
}

static void
short_life(struct go_chan *done)
{
    int v = 0;

    go_yield();
    go_chan_send(done, &v);
    go_chan_unref(done);
}

static void *
dump_often(void *arg)
{
    int fd = open("/dev/null", O_WRONLY | O_CLOEXEC);

    (void)arg;
    for (int k = 0; k < 50; k++) {
        go_dump(fd);
        (void)go_dump_grouped(fd);
    }
    (void)close(fd);
    return NULL;
}

/* What is looked at moves, ends and is born anew meanwhile; two look at the same time. */
GO_TEST(dumps_while_everything_moves_disturb_nobody)
{
    struct go_chan *a = go_chan_new(sizeof(int), 0), *b = go_chan_new(sizeof(int), 0);
    struct go_chan *done = go_chan_new(sizeof(int), 4);
    int64_t id = go(bounce, go_chan_ref(a), go_chan_ref(b));
    pthread_t t[2];
    struct go_info i;
    int v;

    for (int k = 0; k < 2; k++)
        REQUIRE(pthread_create(&t[k], NULL, dump_often, NULL) == 0);
    for (int k = 0; k < 20000; k++) {
        v = k;
        go_chan_send(a, &v);
        REQUIRE(go_chan_recv(b, &v));
        CHECK_INT(v, k);
        REQUIRE(go(short_life, go_chan_ref(done)) > 0);
        REQUIRE(go_chan_recv(done, &v));
    }
    for (int k = 0; k < 2; k++) {
        go_enter_blocking();
        (void)pthread_join(t[k], NULL);
        go_exit_blocking();
    }
    go_chan_close(a);
    while (go_info(id, &i) == 0)
        go_yield();
    go_chan_unref(a);
    go_chan_unref(b);
    go_chan_unref(done);
}

static void
state_names_are_those_of_the_field(void **state)
{
    (void)state;
    assert_string_equal(go_state_name(GO_DEAD), "dead");
    assert_string_equal(go_state_name(GO_NEW), "new");
    assert_string_equal(go_state_name(GO_RUNNABLE), "runnable");
    assert_string_equal(go_state_name(GO_RUNNING), "running");
    assert_string_equal(go_state_name(GO_WAITING), "waiting");
    assert_string_equal(go_state_name(GO_SYSCALL), "syscall");
    assert_string_equal(go_state_name((enum go_state)99), "unknown");
}

/* --- ages, in virtual time ------------------------------------------------------------------------ */

static int
wait_three_minutes(int argc, char **argv)
{
    struct go_chan *stop = go_chan_new(sizeof(int), 0);

    (void)argc;
    (void)argv;
    (void)go(wait_here, go_chan_ref(stop));
    go_yield();
    go_sleep(3200 * GO_MILLISECOND);
    go_dump(2);
    go_sleep(180 * GO_SECOND);
    go_dump(2);
    go_chan_close(stop);
    go_sleep(GO_SECOND);
    go_chan_unref(stop);
    return 0;
}

static void
age_is_in_seconds_then_in_minutes(void **state)
{
    static struct child_result r;
    char seed[] = "GOSEED=1", *env[] = {seed, NULL};

    (void)state;
    child_run("wait_three_minutes", env, &r);
    assert_int_equal(r.status, 0);
    assert_non_null(strstr(r.err, "[chan receive, 3.2 s]:\ngo_chan_recv"));
    assert_non_null(strstr(r.err, "[chan receive, 3 minutes]:\ngo_chan_recv"));
}

/* For gdb_check.py: stops at a breakpoint, or leaves a core. */
__attribute__((noinline)) static void
look_at_me(void)
{
    __asm__ volatile("");
    if (getenv("GOTRACEBACK") != NULL)
        go_panic("for a core");
}

__attribute__((noinline)) static void
wait_with_a_local(struct go_chan *stop)
{
    volatile int answer = 4711;
    int v;

    (void)go_chan_recv(stop, &v);
    go_chan_unref(stop);
    (void)answer;
}

static int
be_looked_at(int argc, char **argv)
{
    struct go_chan *stop = go_chan_new(sizeof(int), 0);
    int64_t id = go(wait_with_a_local, go_chan_ref(stop));
    struct go_opts opts = {.name = "second"};

    (void)argc;
    (void)argv;
    (void)go_opt(&opts, outer, go_chan_ref(stop));
    (void)await_state(id, GO_WAITING);
    (void)await_state(id + 1, GO_WAITING);
    look_at_me();
    return 0;
}

int
main(int argc, char **argv)
{
    static const struct child_case children[] = {
        {"be_looked_at", be_looked_at, false},
        {"wait_three_minutes", wait_three_minutes, false},
    };
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parked_goroutine_is_shown_with_reason_frames_and_creator),
        cmocka_unit_test(dump_shows_everyone_once),
        cmocka_unit_test(grouped_dump_counts_equal_backtraces_together),
        cmocka_unit_test(given_name_is_shown_beside_the_state),
        cmocka_unit_test(unknown_and_ended_goroutines_are_not_found),
        cmocka_unit_test(caller_sees_itself_running),
        cmocka_unit_test(goroutine_that_has_not_run_is_new),
#if SIGNALS_ARRIVE
        cmocka_unit_test(running_goroutine_is_interrupted_for_its_backtrace),
        cmocka_unit_test(a_backtrace_is_not_that_of_the_next_one_on_the_thread),
        cmocka_unit_test(goroutine_in_a_blocking_call_shows_the_call_and_its_caller),
#endif
        cmocka_unit_test(each_visits_every_live_goroutine_once),
        cmocka_unit_test(dumps_while_everything_moves_disturb_nobody),
        cmocka_unit_test(state_names_are_those_of_the_field),
        cmocka_unit_test(age_is_in_seconds_then_in_minutes),
    };

    CHILD_MAIN(argc, argv, children);
    return cmocka_run_group_tests_name("dump", tests, NULL, NULL);
}
