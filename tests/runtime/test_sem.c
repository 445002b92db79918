#define _GNU_SOURCE
#include "tests/support/child.h"
#include "tests/support/foreign.h"

struct shared {
    struct go_sem sem;
    int64_t max, used; /* used: atomic */
};

static void
use(struct shared *s, int64_t n)
{
    CHECK(__atomic_add_fetch(&s->used, n, __ATOMIC_RELAXED) <= s->max);
    go_yield();
    __atomic_add_fetch(&s->used, -n, __ATOMIC_RELAXED);
    go_sem_release(&s->sem, n);
}

static void
hammer(struct shared *s, int seed, int loops)
{
    unsigned r = (unsigned)seed * 2654435761u;

    for (int i = 0; i < loops; i++) {
        int64_t n = 1 + (int64_t)((r = r * 1103515245 + 12345) >> 16) % s->max;

        switch (i % 4) {
        case 0:
            if (!go_sem_tryacquire(&s->sem, n))
                continue;
            break;
        case 1:
            if (go_sem_acquire_until(&s->sem, n, go_deadline(20 * GO_MICROSECOND)) != 0)
                continue;
            break;
        default:
            go_sem_acquire(&s->sem, n);
        }
        use(s, n);
    }
}

static void *
hammer_foreign(void *arg)
{
    hammer(arg, 99, 500);
    return NULL;
}

static void
storm(int goroutines, int loops, bool foreign)
{
    struct shared s = {.max = 10};
    struct go_wg wg = GO_WG_INIT;
    pthread_t t[2];

    go_sem_init(&s.sem, s.max);
    for (int i = 0; foreign && i < 2; i++)
        t[i] = foreign_start(hammer_foreign, &s);
    for (int i = 0; i < goroutines; i++)
        REQUIRE(go_wg_go(&wg, hammer, &s, i, loops) > 0);
    go_wg_wait(&wg);
    for (int i = 0; foreign && i < 2; i++)
        foreign_join(t[i]);
    CHECK_INT(s.sem.free, s.max);
    CHECK(s.sem.q.head == NULL);
}

GO_TEST(never_more_units_are_out_than_there_are)
{
    storm(8, 1000, true);
}

struct line {
    struct go_sem sem;
    int order[8];
    int n; /* atomic */
};

static void
stand_in_line(struct line *l, int me, int64_t units)
{
    go_sem_acquire(&l->sem, units);
    l->order[__atomic_fetch_add(&l->n, 1, __ATOMIC_RELAXED)] = me;
}

GO_TEST(requests_are_served_in_the_order_they_came)
{
    struct line l = {0};
    struct go_wg wg = GO_WG_INIT;

    for (int i = 0; i < 8; i++) {
        REQUIRE(go_wg_go(&wg, stand_in_line, &l, i, 1) > 0);
        wait_parked("sem acquire", i + 1);
    }
    for (int i = 0; i < 8; i++) {
        go_sem_release(&l.sem, 1);
        while (__atomic_load_n(&l.n, __ATOMIC_RELAXED) < i + 1)
            go_yield();
    }
    go_wg_wait(&wg);
    for (int i = 0; i < 8; i++)
        CHECK_INT(l.order[i], i);
}

GO_TEST(a_large_request_holds_back_small_ones_behind_it)
{
    struct line l = {0};
    struct go_wg wg = GO_WG_INIT;

    go_sem_init(&l.sem, 2);
    REQUIRE(go_wg_go(&wg, stand_in_line, &l, 0, 5) > 0);
    wait_parked("sem acquire", 1);
    CHECK(!go_sem_tryacquire(&l.sem, 1));
    REQUIRE(go_wg_go(&wg, stand_in_line, &l, 1, 1) > 0);
    wait_parked("sem acquire", 2);
    go_sem_release(&l.sem, 2);
    for (int i = 0; i < 10; i++)
        go_yield();
    CHECK_INT(__atomic_load_n(&l.n, __ATOMIC_RELAXED), 0);
    go_sem_release(&l.sem, 2); /* 6: the large one and the small one */
    go_wg_wait(&wg);
    CHECK_INT(l.sem.free, 0);
}

GO_TEST(one_release_serves_several)
{
    struct line l = {0};
    struct go_wg wg = GO_WG_INIT;

    for (int i = 0; i < 8; i++)
        REQUIRE(go_wg_go(&wg, stand_in_line, &l, i, i % 3) > 0);
    wait_parked("sem acquire", 5); /* those for 0 units may have gone ahead */
    go_sem_release(&l.sem, 7);
    go_wg_wait(&wg);
    CHECK_INT(l.sem.free, 0);
}

GO_TEST(acquire_until_gives_up_at_its_deadline_and_takes_nothing)
{
    struct go_sem sem;
    int64_t deadline = go_deadline(2 * GO_MILLISECOND);

    go_sem_init(&sem, 3);
    CHECK_INT(go_sem_acquire_until(&sem, 4, deadline), -ETIMEDOUT);
    CHECK(go_now() >= deadline);
    CHECK_INT(go_sem_acquire_until(&sem, 4, 0), -ETIMEDOUT);
    CHECK_INT(go_sem_acquire_until(&sem, 3, 0), 0);
    CHECK_INT(sem.free, 0);
    CHECK(sem.q.head == NULL);
}

static void
give_up(struct go_sem *sem, int64_t deadline, int *ret)
{
    __atomic_store_n(ret, go_sem_acquire_until(sem, 5, deadline), __ATOMIC_RELEASE);
}

GO_TEST(a_large_request_that_gives_up_lets_those_behind_it_pass)
{
    struct line l = {0};
    struct go_wg wg = GO_WG_INIT;
    int r = 0;

    go_sem_init(&l.sem, 1);
    REQUIRE(go_wg_go(&wg, give_up, &l.sem, go_deadline(10 * GO_MILLISECOND), &r) > 0);
    while (!parked("sem acquire", 1) && __atomic_load_n(&r, __ATOMIC_ACQUIRE) == 0)
        go_yield();
    go_sem_acquire(&l.sem, 1);
    go_wg_wait(&wg);
    CHECK_INT(r, -ETIMEDOUT);
}

static void
acquire_ctx(struct go_sem *sem, int64_t n, struct go_ctx *ctx, int *ret)
{
    *ret = go_sem_acquire_ctx(sem, n, ctx);
}

GO_TEST(acquire_ctx_ends_with_the_context_and_takes_nothing)
{
    struct go_ctx *ctx = go_ctx_with_cancel(NULL), *late;
    struct go_wg wg = GO_WG_INIT;
    struct go_sem sem;
    int r1 = 0, r2 = 1;

    go_sem_init(&sem, 1);
    REQUIRE(go_wg_go(&wg, acquire_ctx, &sem, 2, ctx, &r1) > 0);
    wait_parked("sem acquire", 1);
    REQUIRE(go_wg_go(&wg, acquire_ctx, &sem, 1, go_ctx_background(), &r2) > 0);
    wait_parked("sem acquire", 2);
    go_ctx_cancel(ctx); /* the small one behind it may pass */
    go_wg_wait(&wg);
    CHECK_INT(r1, -ECANCELED);
    CHECK_INT(r2, 0);
    CHECK_INT(sem.free, 0);
    CHECK_INT(go_sem_acquire_ctx(&sem, 0, ctx), -ECANCELED);

    late = go_ctx_with_timeout(NULL, GO_MILLISECOND);
    CHECK_INT(go_sem_acquire_ctx(&sem, 1, late), -ETIMEDOUT);
    go_ctx_unref(late);
    go_ctx_unref(ctx);
    CHECK(sem.q.head == NULL);
}

GO_TEST(acquire_ctx_that_is_served_leaves_the_context_alone)
{
    struct go_ctx *ctx = go_ctx_with_cancel(NULL);
    struct go_wg wg = GO_WG_INIT;
    struct go_sem sem;
    int r = 1;

    go_sem_init(&sem, 1);
    CHECK_INT(go_sem_acquire_ctx(&sem, 1, ctx), 0);
    REQUIRE(go_wg_go(&wg, acquire_ctx, &sem, 1, ctx, &r) > 0);
    wait_parked("sem acquire", 1);
    go_sem_release(&sem, 1);
    go_wg_wait(&wg);
    CHECK_INT(r, 0);
    go_ctx_cancel(ctx);
    go_ctx_unref(ctx);
    CHECK_INT(sem.free, 0);
}

static void
release_one(struct go_sem *sem)
{
    go_sem_release(sem, 1);
}

/* The unit is either ours or still there, whoever was faster. */
static void
race_release_with_cancel(int rounds)
{
    for (int i = 0; i < rounds; i++) {
        struct go_ctx *ctx = go_ctx_with_cancel(NULL);
        struct go_wg wg = GO_WG_INIT;
        struct go_sem sem;
        int r = 1;

        go_sem_init(&sem, 0);
        REQUIRE(go_wg_go(&wg, acquire_ctx, &sem, 1, ctx, &r) > 0);
        REQUIRE(go_wg_go(&wg, release_one, &sem) > 0);
        if (i % 2)
            go_yield();
        go_ctx_cancel(ctx);
        go_wg_wait(&wg);
        CHECK(r == 0 || r == -ECANCELED);
        CHECK_INT(sem.free, r == 0 ? 0 : 1);
        go_ctx_unref(ctx);
    }
}

GO_TEST(release_racing_with_cancel_loses_no_unit)
{
    race_release_with_cancel(2000);
}

static int
negative(int argc, char **argv)
{
    struct go_sem sem = {0};

    (void)argc;
    (void)argv;
    go_sem_release(&sem, -1);
    return 0;
}

static int
negative_acquire(int argc, char **argv)
{
    struct go_sem sem = {0};

    (void)argc;
    (void)argv;
    go_sem_acquire(&sem, -1);
    return 0;
}

static int
overflow(int argc, char **argv)
{
    struct go_sem sem;

    (void)argc;
    (void)argv;
    go_sem_init(&sem, INT64_MAX);
    go_sem_release(&sem, 1);
    return 0;
}

static int
seeded_storm(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    storm(6, 60, false);
    race_release_with_cancel(20);
    return 0;
}

static const struct child_case children[] = {
    {"negative", negative, false},
    {"negative_acquire", negative_acquire, false},
    {"overflow", overflow, false},
    {"seeded_storm", seeded_storm, false},
};

static void
impossible_counts_panic(void **state)
{
    (void)state;
    child_expect("negative", 2, "panic: sync: negative semaphore release");
    child_expect("negative_acquire", 2, "panic: sync: negative semaphore acquire");
    child_expect("overflow", 2, "panic: sync: semaphore overflow");
}

static void
units_are_conserved_under_many_seeds(void **state)
{
    (void)state;
    child_seeds("seeded_storm", 200);
}

int
main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(never_more_units_are_out_than_there_are),
        cmocka_unit_test(requests_are_served_in_the_order_they_came),
        cmocka_unit_test(a_large_request_holds_back_small_ones_behind_it),
        cmocka_unit_test(one_release_serves_several),
        cmocka_unit_test(acquire_until_gives_up_at_its_deadline_and_takes_nothing),
        cmocka_unit_test(a_large_request_that_gives_up_lets_those_behind_it_pass),
        cmocka_unit_test(acquire_ctx_ends_with_the_context_and_takes_nothing),
        cmocka_unit_test(acquire_ctx_that_is_served_leaves_the_context_alone),
        cmocka_unit_test(release_racing_with_cancel_loses_no_unit),
        cmocka_unit_test(impossible_counts_panic),
        cmocka_unit_test(units_are_conserved_under_many_seeds),
    };

    CHILD_MAIN(argc, argv, children);
    return cmocka_run_group_tests_name("sem", tests, NULL, NULL);
}
