/* The scheduler: spawning, states, fairness, stealing, and GOMAXPROCS. */
#define _GNU_SOURCE
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <unistd.h>

#include "tests/support/await.h"
#include "tests/support/child.h"

/* --- spawning ------------------------------------------------------------------------------- */

struct record {
    struct go_wg wg;
    uint64_t a[6];
    int64_t id, parent;
    uint32_t n; /* atomic */
};

static void
take_none(void)
{
}

static void
take_six(struct record *r, int8_t b, uint16_t c, int32_t d, int64_t e, const char *f)
{
    r->a[1] = (uint64_t)(int64_t)b;
    r->a[2] = c;
    r->a[3] = (uint64_t)(int64_t)d;
    r->a[4] = (uint64_t)e;
    r->a[5] = (uint64_t)strlen(f);
    r->id = go_id();
    go_wg_done(&r->wg);
}

static int
give_result(struct record *r)
{
    go_wg_done(&r->wg);
    return 17; /* dropped */
}

GO_TEST(arguments_arrive_as_in_a_call)
{
    struct record r = {.wg = GO_WG_INIT};
    int64_t id;
    const char hello[] = "hello";

    go_wg_add(&r.wg, 2);
    id = go(take_six, &r, -7, 65535, INT32_MIN, INT64_MIN, hello);
    CHECK(id > 0);
    CHECK(go(give_result, &r) > 0);
    CHECK(go(take_none) > 0);
    go_wg_wait(&r.wg);
    CHECK_INT(r.a[1], -7);
    CHECK_INT(r.a[2], 65535);
    CHECK_INT(r.a[3], INT32_MIN);
    CHECK_INT(r.a[4], INT64_MIN);
    CHECK_INT(r.a[5], 5);
    CHECK_INT(r.id, id);
}

static void
note_id(struct record *r)
{
    r->id = go_id();
}

GO_TEST(a_wait_group_in_the_options_counts_the_goroutine)
{
    struct record r = {.wg = GO_WG_INIT};
    const struct go_opts opts = {.wg = &r.wg, .name = "counted"};

    for (int i = 0; i < 100; i++) {
        int64_t id =
            i % 2 == 0 ? go_opt(&opts, note_id, &r) : go_wg_go(&r.wg, note_id, &r);

        go_wg_wait(&r.wg);
        CHECK_INT(r.id, id);
    }
}

static void
count_id(unsigned char *seen, int64_t first, struct go_wg *wg)
{
    int64_t i = go_id() - first;

    REQUIRE(i > 0 && i < 1000000);
    CHECK_INT(__atomic_exchange_n(&seen[i], 1, __ATOMIC_RELAXED), 0);
    go_wg_done(wg);
}

GO_TEST(ids_are_never_given_twice)
{
    unsigned char *seen = (unsigned char *)calloc(1000000, 1);
    struct go_wg wg = GO_WG_INIT;
    int old = go_maxprocs(4);

    CHECK(go_id() > 0);
    for (int i = 0; i < 20000; i++) {
        go_wg_add(&wg, 1);
        CHECK(go(count_id, seen, 0, &wg) > 0);
        if (i % 1000 == 999)
            go_wg_wait(&wg);
    }
    go_wg_wait(&wg);
    go_maxprocs(old);
    free(seen);
}

static void
spawn_tree(struct record *r, int depth)
{
    __atomic_fetch_add(&r->n, 1, __ATOMIC_RELAXED);
    if (depth > 0) {
        go_wg_add(&r->wg, 2);
        CHECK(go(spawn_tree, r, depth - 1) > 0);
        CHECK(go(spawn_tree, r, depth - 1) > 0);
    }
    go_wg_done(&r->wg);
}

GO_TEST(goroutines_spawn_goroutines)
{
    struct record r = {.wg = GO_WG_INIT};
    int64_t before = go_num_goroutine();
    int depth = GO_TSAN ? 9 : 14;

    go_wg_add(&r.wg, 1);
    CHECK(go(spawn_tree, &r, depth) > 0);
    go_wg_wait(&r.wg);
    CHECK_INT(r.n, (2 << depth) - 1);
    AWAIT(go_num_goroutine() <= before); /* earlier ones may end, too */
}

/* --- states ----------------------------------------------------------------------------------- */

struct stages {
    struct go_chan *c;
    uint32_t run, stop; /* atomic */
    int fd[2];
};

static void
pass_stages(struct stages *s)
{
    char byte;

    __atomic_store_n(&s->run, 1, __ATOMIC_RELEASE);
    while (!__atomic_load_n(&s->stop, __ATOMIC_ACQUIRE))
        ;
    CHECK_INT(GO_BLOCKING(read(s->fd[0], &byte, 1)), 1);
    (void)go_chan_recv(s->c, NULL);
}

/* Queued here, it is new until we give way; unless we lose our CPU, and with it our P, or a
 * thread whose P is too many has not noticed that yet and steals it. */
static void
look_for_new(void)
{
    struct go_info info = {.state = GO_DEAD};

    while (info.state != GO_NEW) {
        int64_t id = go(take_none);

        if (go_info(id, &info) < 0)
            info.state = GO_DEAD;
    }
    CHECK_INT(info.creator, go_id());
    CHECK(strcmp(info.name, "take_none") == 0);
    CHECK(strcmp(info.created_in, "look_for_new") == 0);
    CHECK(strstr(info.created_file, "test_sched.c") != NULL);
}

GO_TEST(every_state_of_a_life_is_visible)
{
    struct stages s = {.c = go_chan_new(0, 0)};
    struct go_info info;
    int old = go_maxprocs(1);
    int64_t id;

    CHECK_INT(pipe(s.fd), 0);
    look_for_new();
    go_maxprocs(4);
    id = go(pass_stages, &s);
    AWAIT(__atomic_load_n(&s.run, __ATOMIC_ACQUIRE) == 1);
    CHECK_INT(await_state_of(id), GO_RUNNING);
    CHECK_INT(go_info(go_id(), &info), 0);
    CHECK_INT(info.state, GO_RUNNING);
    __atomic_store_n(&s.stop, 1, __ATOMIC_RELEASE);
    AWAIT(await_state_of(id) == GO_SYSCALL);
    CHECK_INT(write(s.fd[1], "x", 1), 1);
    AWAIT(await_parked(id, "chan receive"));
    CHECK_INT(go_info(id, &info), 0);
    CHECK(info.npc > 0);
    go_chan_close(s.c);
    AWAIT(go_info(id, &info) == -ESRCH);
    CHECK_INT(go_info(0, &info), -ESRCH);
    CHECK_INT(go_info(INT64_MAX, &info), -ESRCH);
    close(s.fd[0]);
    close(s.fd[1]);
    go_chan_unref(s.c);
    go_maxprocs(old);
}

/* --- fairness ----------------------------------------------------------------------------------- */

struct lap {
    struct go_wg wg;
    uint32_t turn, laps, runners; /* turn: atomic */
    uint32_t stop;                /* atomic */
    uint32_t progress;            /* atomic */
};

static void
take_turns(struct lap *l, uint32_t me)
{
    for (uint32_t i = 0; i < l->laps; i++) {
        while (__atomic_load_n(&l->turn, __ATOMIC_ACQUIRE) % l->runners != me)
            go_yield(); /* only the others can make it our turn */
        __atomic_fetch_add(&l->turn, 1, __ATOMIC_RELEASE);
    }
    go_wg_done(&l->wg);
}

/* With more Ps than CPUs each turn may cost a time slice of the kernel's: few laps then. */
static void
yields_let_everybody_pass(int procs, uint32_t laps)
{
    struct lap l = {.wg = GO_WG_INIT, .laps = laps, .runners = 20};
    int old = go_maxprocs(procs);

    go_wg_add(&l.wg, (int)l.runners);
    for (uint32_t i = 0; i < l.runners; i++)
        CHECK(go(take_turns, &l, i) > 0);
    go_wg_wait(&l.wg);
    CHECK_INT(l.turn, l.laps * l.runners);
    go_maxprocs(old);
}

GO_TEST(yield_lets_all_others_run)
{
    yields_let_everybody_pass(1, 200);
    yields_let_everybody_pass(2, 5);
    yields_let_everybody_pass(7, 2);
}

static void
play(struct go_chan *in, struct go_chan *out, struct lap *l)
{
    while (go_chan_recv(in, NULL) && !__atomic_load_n(&l->stop, __ATOMIC_ACQUIRE))
        go_chan_send(out, NULL);
    go_chan_close(out);
    go_wg_done(&l->wg);
}

static void
count_and_yield(struct lap *l)
{
    while (!__atomic_load_n(&l->stop, __ATOMIC_ACQUIRE)) {
        __atomic_fetch_add(&l->progress, 1, __ATOMIC_RELAXED);
        go_yield();
    }
    go_wg_done(&l->wg);
}

/* Go's TestPingPongHog: two that hand each other the slice must not keep it. */
GO_TEST(a_ping_pong_pair_starves_nobody)
{
    struct lap l = {.wg = GO_WG_INIT};
    struct go_chan *a = go_chan_new(0, 1), *b = go_chan_new(0, 1);
    int old = go_maxprocs(1);

    go_wg_add(&l.wg, 3);
    CHECK(go(play, a, b, &l) > 0);
    CHECK(go(play, b, a, &l) > 0);
    CHECK(go(count_and_yield, &l) > 0);
    go_chan_send(a, NULL);
    AWAIT(__atomic_load_n(&l.progress, __ATOMIC_RELAXED) >= 20);
    __atomic_store_n(&l.stop, 1, __ATOMIC_RELEASE);
    go_wg_wait(&l.wg);
    go_chan_unref(a);
    go_chan_unref(b);
    go_maxprocs(old);
}

struct gate {
    uint32_t inside; /* atomic */
    uint32_t want;
    struct go_wg wg;
};

static void
meet_all(struct gate *g)
{
    __atomic_fetch_add(&g->inside, 1, __ATOMIC_ACQ_REL);
    while (__atomic_load_n(&g->inside, __ATOMIC_ACQUIRE) < g->want)
        ; /* no runtime call: all must run at once, each on its own thread */
    go_wg_done(&g->wg);
}

/* Go's TestParallelism. */
GO_TEST(as_many_goroutines_as_ps_run_at_once)
{
    int old = go_maxprocs(4);

    for (int i = 0; i < 20; i++) {
        struct gate g = {.want = 4, .wg = GO_WG_INIT};

        go_wg_add(&g.wg, 4);
        for (int k = 0; k < 4; k++)
            CHECK(go(meet_all, &g) > 0);
        go_wg_wait(&g.wg);
    }
    go_maxprocs(old);
}

/* The queue of one P, several times as long as its ring, is run by all Ps, each once. */
static void
mark(unsigned char *seen, int i, struct go_wg *wg)
{
    CHECK_INT(__atomic_exchange_n(&seen[i], 1, __ATOMIC_RELAXED), 0);
    go_wg_done(wg);
}

GO_TEST(a_long_queue_overflows_and_is_stolen_from)
{
    enum { N = 5000 };
    unsigned char *seen = (unsigned char *)calloc(N, 1);
    int old = go_maxprocs(4);
    struct go_wg wg = GO_WG_INIT;

    for (int round = 0; round < ROUNDS(20); round++) {
        memset(seen, 0, N);
        go_wg_add(&wg, N);
        for (int i = 0; i < N; i++)
            CHECK(go(mark, seen, i, &wg) > 0);
        go_wg_wait(&wg);
        for (int i = 0; i < N; i++)
            CHECK_INT(seen[i], 1);
    }
    go_maxprocs(old);
    free(seen);
}

static void
keep_busy(struct lap *l)
{
    while (!__atomic_load_n(&l->stop, __ATOMIC_ACQUIRE))
        go_yield();
    go_wg_done(&l->wg);
}

static void
from_outside(struct lap *l)
{
    __atomic_fetch_add(&l->progress, 1, __ATOMIC_RELAXED);
}

static void *
spawn_outside(void *arg)
{
    CHECK(go(from_outside, (struct lap *)arg) > 0);
    return NULL;
}

GO_TEST(the_global_queue_is_served_while_a_p_is_busy)
{
    struct lap l = {.wg = GO_WG_INIT};
    int old = go_maxprocs(1);
    pthread_t t;

    go_wg_add(&l.wg, 2);
    CHECK(go(keep_busy, &l) > 0);
    CHECK(go(keep_busy, &l) > 0);
    CHECK_INT(pthread_create(&t, NULL, spawn_outside, &l), 0);
    AWAIT(__atomic_load_n(&l.progress, __ATOMIC_RELAXED) == 1);
    __atomic_store_n(&l.stop, 1, __ATOMIC_RELEASE);
    go_wg_wait(&l.wg);
    CHECK_INT(GO_BLOCKING(pthread_join(t, NULL)), 0);
    go_maxprocs(old);
}

GO_TEST(the_work_of_a_spinning_spawner_is_stolen)
{
    struct go_stats before, now;
    struct gate g = {.want = 2, .wg = GO_WG_INIT};
    int old = go_maxprocs(2);

    go_stats(&before);
    for (int i = 0; i < 10; i++) {
        g.inside = 0;
        go_wg_add(&g.wg, 1);
        CHECK(go(meet_all, &g) > 0); /* in our runnext; we do not give way */
        __atomic_fetch_add(&g.inside, 1, __ATOMIC_ACQ_REL);
        while (__atomic_load_n(&g.inside, __ATOMIC_ACQUIRE) < 2)
            ;
        go_wg_wait(&g.wg);
    }
    go_stats(&now);
    CHECK(now.spawned >= before.spawned + 10);
    CHECK(now.steals + now.handoffs > before.steals + before.handoffs);
    go_maxprocs(old);
}

/* --- GOMAXPROCS --------------------------------------------------------------------------------- */

GO_TEST(go_maxprocs_answers_the_former_value_and_clamps)
{
    int old = go_maxprocs(3);

    CHECK_INT(go_maxprocs(0), 3);
    CHECK_INT(go_maxprocs(-5), 3);
    CHECK_INT(go_maxprocs(INT_MAX), 3);
    CHECK_INT(go_maxprocs(2), GO_MAXPROCS_MAX);
    CHECK_INT(go_maxprocs(1), 2);
    CHECK_INT(go_maxprocs(old), 1);
    CHECK(go_numcpu() >= 1);
}

static void
work_a_while(struct lap *l, struct go_chan *c)
{
    while (!__atomic_load_n(&l->stop, __ATOMIC_ACQUIRE)) {
        go_chan_send(c, NULL);
        (void)go_chan_recv(c, NULL);
        go_sleep(GO_MICROSECOND);
        __atomic_fetch_add(&l->progress, 1, __ATOMIC_RELAXED);
    }
    go_wg_done(&l->wg);
}

GO_TEST(go_maxprocs_changes_under_load)
{
    static const int steps[] = {1, 8, 2, 16, 1, 3, 64, 1, 5};
    struct lap l = {.wg = GO_WG_INIT};
    struct go_chan *c = go_chan_new(0, 32);
    int old = go_maxprocs(2);

    go_wg_add(&l.wg, 32);
    for (int i = 0; i < 32; i++)
        CHECK(go(work_a_while, &l, c) > 0);
    for (int round = 0; round < ROUNDS(40); round++) {
        uint32_t seen = __atomic_load_n(&l.progress, __ATOMIC_RELAXED);

        go_maxprocs(steps[round % 9]);
        AWAIT(__atomic_load_n(&l.progress, __ATOMIC_RELAXED) > seen + 200);
    }
    __atomic_store_n(&l.stop, 1, __ATOMIC_RELEASE);
    go_wg_wait(&l.wg);
    go_chan_unref(c);
    go_maxprocs(old);
}

/* Changes alone, as fast as they go, from two sides: no P may get lost. */
static void
change_procs(int seed, int n, struct go_wg *wg)
{
    for (int i = 0; i < n; i++) {
        go_maxprocs((i * 7 + seed) % 6 + 1);
        go_yield();
    }
    go_wg_done(wg);
}

GO_TEST(no_p_is_lost_by_many_changes)
{
    struct gate g = {.want = 4, .wg = GO_WG_INIT};
    struct go_wg wg = GO_WG_INIT;
    int old = go_maxprocs(2);

    go_wg_add(&wg, 2);
    CHECK(go(change_procs, 1, ROUNDS(20000), &wg) > 0);
    CHECK(go(change_procs, 4, ROUNDS(20000), &wg) > 0);
    go_wg_wait(&wg);
    go_maxprocs(4);
    go_wg_add(&g.wg, 4);
    for (int k = 0; k < 4; k++)
        CHECK(go(meet_all, &g) > 0);
    go_wg_wait(&g.wg);
    go_maxprocs(old);
}

static int
print_procs(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    fprintf(stderr, "procs=%d cpus=%d\n", go_maxprocs(0), go_numcpu());
    return 0;
}

static void
expect_procs(const char *value, int procs, bool complains)
{
    static struct child_result r;
    char var[64], want[32];
    char *env[] = {var, NULL};

    (void)snprintf(var, sizeof(var), "GOMAXPROCS=%s", value);
    (void)snprintf(want, sizeof(want), "procs=%d ", procs);
    child_run("print_procs", env, &r);
    if (r.status != 0 || strstr(r.err, want) == NULL ||
        (strstr(r.err, "ignored") != NULL) != complains)
        fprintf(stderr, "GOMAXPROCS=%s: want %s, status %d: %s\n", value, want, r.status,
                r.err);
    assert_int_equal(r.status, 0);
    assert_non_null(strstr(r.err, want));
    assert_int_equal(strstr(r.err, "ignored") != NULL, complains);
}

static void
gomaxprocs_is_read_or_refused_in_words(void **state)
{
    static struct child_result r;
    char empty[] = "GOMAXPROCS=";
    char *env[] = {empty, NULL};
    const char *at;
    int procs;

    (void)state;
    child_run("print_procs", env, &r);
    at = strstr(r.err, "procs=");
    assert_non_null(at);
    procs = (int)strtol(at + 6, NULL, 10);
    assert_true(procs >= 1);
    expect_procs("1", 1, false);
    expect_procs("7", 7, false);
    expect_procs("1024", 1024, false);
    expect_procs("0", procs, true);
    expect_procs("-2", procs, true);
    expect_procs("1025", procs, true);
    expect_procs("99999999999999999999999", procs, true);
    expect_procs("4x", procs, true);
    expect_procs("many", procs, true);
}

static int
print_procs_on_one_cpu(int argc, char **argv)
{
    cpu_set_t one;
    int cpu = sched_getcpu();

    CPU_ZERO(&one);
    CPU_SET((size_t)cpu, &one);
    if (sched_setaffinity(0, sizeof(one), &one) != 0)
        return 1;
    return go_main(print_procs, argc, argv);
}

static void
affinity_sets_the_default(void **state)
{
    static struct child_result r;
    char empty[] = "GOMAXPROCS=";
    char *env[] = {empty, NULL};

    (void)state;
    child_run("print_procs_on_one_cpu", env, &r);
    assert_int_equal(r.status, 0);
    assert_non_null(strstr(r.err, "procs=1 cpus=1"));
}

int
main(int argc, char **argv)
{
    static const struct child_case children[] = {
        {"print_procs", print_procs, false},
        {"print_procs_on_one_cpu", print_procs_on_one_cpu, true},
    };
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(arguments_arrive_as_in_a_call),
        cmocka_unit_test(a_wait_group_in_the_options_counts_the_goroutine),
        cmocka_unit_test(ids_are_never_given_twice),
        cmocka_unit_test(goroutines_spawn_goroutines),
        cmocka_unit_test(every_state_of_a_life_is_visible),
        cmocka_unit_test(yield_lets_all_others_run),
        cmocka_unit_test(a_ping_pong_pair_starves_nobody),
        cmocka_unit_test(as_many_goroutines_as_ps_run_at_once),
        cmocka_unit_test(a_long_queue_overflows_and_is_stolen_from),
        cmocka_unit_test(the_global_queue_is_served_while_a_p_is_busy),
        cmocka_unit_test(the_work_of_a_spinning_spawner_is_stolen),
        cmocka_unit_test(go_maxprocs_answers_the_former_value_and_clamps),
        cmocka_unit_test(go_maxprocs_changes_under_load),
        cmocka_unit_test(no_p_is_lost_by_many_changes),
        cmocka_unit_test(gomaxprocs_is_read_or_refused_in_words),
        cmocka_unit_test(affinity_sets_the_default),
    };

    CHILD_MAIN(argc, argv, children);
    return cmocka_run_group_tests_name("sched", tests, NULL, NULL);
}
