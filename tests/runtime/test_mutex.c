#define _GNU_SOURCE
#include "runtime/base/fence.h"
#include "tests/support/await.h"
#include "tests/support/child.h"
#include "tests/support/foreign.h"

#define LOOPS 2000

struct shared {
    struct go_mutex mu;
    bool inside;
    long n; /* guarded by mu */
};

/* Unlocked, nobody waits, and nothing is left of those who did. A thread may own it. */
static bool
free_of_marks(const struct go_mutex *mu)
{
    return (mu->state & ~GO_MUTEX_BIASED_) == 0 && mu->q.head == NULL;
}

static void
enter_and_leave(struct shared *s, int i)
{
    CHECK(!s->inside);
    s->inside = true;
    s->n++;
    if (i % 16 == 0)
        go_yield(); /* so that others run into the lock even on one P */
    CHECK(s->inside);
    s->inside = false;
}

static void
hammer(struct shared *s, int loops)
{
    for (int i = 0; i < loops; i++) {
        if (i % 3 == 0) {
            while (!go_mutex_trylock(&s->mu))
                go_yield();
        } else {
            go_mutex_lock(&s->mu);
        }
        enter_and_leave(s, i);
        go_mutex_unlock(&s->mu);
    }
}

static void *
hammer_foreign(void *arg)
{
    hammer(arg, LOOPS);
    return NULL;
}

GO_TEST(only_one_goroutine_is_inside_with_any_number_of_procs)
{
    static const int procs[] = {1, 2, 8};
    int before = go_maxprocs(0);

    for (size_t p = 0; p < sizeof(procs) / sizeof(procs[0]); p++) {
        struct shared s = {0};
        struct go_wg wg = GO_WG_INIT;

        go_maxprocs(procs[p]);
        for (int i = 0; i < 10; i++)
            REQUIRE(go_wg_go(&wg, hammer, &s, LOOPS) > 0);
        go_wg_wait(&wg);
        CHECK_INT(s.n, 10 * LOOPS);
        CHECK(free_of_marks(&s.mu));
    }
    go_maxprocs(before);
}

GO_TEST(foreign_threads_and_goroutines_exclude_each_other)
{
    struct shared s = {0};
    struct go_wg wg = GO_WG_INIT;
    pthread_t t[3];

    for (int i = 0; i < 3; i++)
        t[i] = foreign_start(hammer_foreign, &s);
    for (int i = 0; i < 5; i++)
        REQUIRE(go_wg_go(&wg, hammer, &s, LOOPS) > 0);
    go_wg_wait(&wg);
    for (int i = 0; i < 3; i++)
        foreign_join(t[i]);
    CHECK_INT(s.n, 8 * LOOPS);
    CHECK(free_of_marks(&s.mu));
}

/* --- a mutex that a thread owns ------------------------------------------------------------- */

static bool
owned(const struct go_mutex *mu)
{
    return (__atomic_load_n(&mu->state, __ATOMIC_RELAXED) & GO_MUTEX_BIASED_) != 0;
}

/* Lock and unlock mu until this thread owns it, if the kernel lets any: fences of earlier
 * tests may have forbidden that for a while. */
static void
come_to_own(struct go_mutex *mu)
{
    while (fence_threads_works() && !owned(mu)) {
        go_mutex_lock(mu);
        go_mutex_unlock(mu);
    }
}

GO_TEST(a_mutex_that_one_thread_uses_becomes_its_own_and_stays_a_mutex)
{
    struct go_mutex mu = GO_MUTEX_INIT;

    go_lock_os_thread();
    come_to_own(&mu);
    for (int i = 0; i < LOOPS; i++) {
        go_mutex_lock(&mu);
        CHECK(!go_mutex_trylock(&mu));
        go_mutex_unlock(&mu);
        CHECK(go_mutex_trylock(&mu));
        go_mutex_unlock(&mu);
    }
    CHECK(owned(&mu) == fence_threads_works());
    CHECK(free_of_marks(&mu));
    go_unlock_os_thread();
}

static void
add_one(struct shared *s, struct go_wg *wg)
{
    go_mutex_lock(&s->mu);
    enter_and_leave(s, 1);
    go_mutex_unlock(&s->mu);
    go_wg_done(wg);
}

GO_TEST(who_waits_for_an_owned_mutex_gets_it)
{
    int before = go_maxprocs(4);

    go_lock_os_thread();
    for (int round = 0; round < 20; round++) {
        struct shared s = {0};
        struct go_wg wg = GO_WG_INIT;

        come_to_own(&s.mu);
        go_mutex_lock(&s.mu);
        go_wg_add(&wg, 8);
        for (int i = 0; i < 8; i++)
            REQUIRE(go(add_one, &s, &wg) > 0);
        if (round % 2 == 0) /* they take it while it is held, or while it is free */
            AWAIT(!owned(&s.mu) || !fence_threads_works());
        go_mutex_unlock(&s.mu);
        go_wg_wait(&wg);
        CHECK_INT(s.n, 8);
        CHECK(free_of_marks(&s.mu));
    }
    go_unlock_os_thread();
    go_maxprocs(before);
}

static void
own_in_turn(struct shared *s, int loops)
{
    go_lock_os_thread();
    for (int i = 0; i < loops; i++) {
        int run = i % 4 == 0 ? 2 * GO_MUTEX_NEED_ : 3;

        for (int k = 0; k < run; k++) {
            go_mutex_lock(&s->mu);
            s->n++;
            go_mutex_unlock(&s->mu);
        }
        go_yield();
    }
    go_unlock_os_thread();
}

GO_TEST(threads_that_own_a_mutex_in_turn_exclude_each_other)
{
    enum { LAPS = 400 };
    struct shared s = {0};
    struct go_wg wg = GO_WG_INIT;
    int before = go_maxprocs(4);

    for (int i = 0; i < 4; i++)
        REQUIRE(go_wg_go(&wg, own_in_turn, &s, LAPS) > 0);
    go_wg_wait(&wg);
    CHECK_INT(s.n, 4L * (LAPS / 4 * 2 * GO_MUTEX_NEED_ + LAPS * 3 / 4 * 3));
    CHECK(free_of_marks(&s.mu));
    go_maxprocs(before);
}

GO_TEST(a_foreign_thread_takes_an_owned_mutex)
{
    struct shared s = {0};
    pthread_t t;

    go_lock_os_thread();
    come_to_own(&s.mu);
    t = foreign_start(hammer_foreign, &s);
    foreign_join(t);
    CHECK_INT(s.n, LOOPS);
    CHECK(!owned(&s.mu));
    go_unlock_os_thread();
}

GO_TEST(trylock_takes_a_free_lock_only)
{
    struct go_mutex mu = GO_MUTEX_INIT;

    CHECK(go_mutex_trylock(&mu));
    CHECK(!go_mutex_trylock(&mu));
    go_mutex_unlock(&mu);
    go_mutex_lock(&mu);
    CHECK(!go_mutex_trylock(&mu));
    go_mutex_unlock(&mu);
    CHECK(go_mutex_trylock(&mu));
}

static void
unlock_it(struct go_mutex *mu)
{
    go_mutex_unlock(mu);
}

GO_TEST(a_goroutine_may_unlock_what_another_locked)
{
    struct go_mutex mu = GO_MUTEX_INIT;

    go_mutex_lock(&mu);
    REQUIRE(go(unlock_it, &mu) > 0);
    go_mutex_lock(&mu);
    go_mutex_unlock(&mu);
    CHECK(free_of_marks(&mu));
}

struct line {
    struct go_mutex mu;
    int order[8];
    int n;
};

static void
stand_in_line(struct line *l, int me)
{
    go_mutex_lock(&l->mu);
    l->order[l->n++] = me;
    go_mutex_unlock(&l->mu);
}

GO_TEST(waiters_get_the_lock_in_the_order_they_came)
{
    struct line l = {0};
    struct go_wg wg = GO_WG_INIT;

    go_mutex_lock(&l.mu);
    for (int i = 0; i < 8; i++) {
        REQUIRE(go_wg_go(&wg, stand_in_line, &l, i) > 0);
        wait_parked("mutex lock", i + 1);
    }
    go_mutex_unlock(&l.mu);
    go_wg_wait(&wg);
    for (int i = 0; i < 8; i++)
        CHECK_INT(l.order[i], i);
}

#define STARVING 4 /* as in mutex.c */

struct hog {
    struct go_mutex mu;
    uint32_t stop;   /* atomic */
    int turns;       /* guarded by mu: times the hog has had the lock */
    int starving_at; /* guarded by mu: the turn that ended with somebody starving */
};

/* Holds the lock all the time but for a few nanoseconds: longer than a waiter may starve,
 * so that one who is woken, and finds the lock taken again, asks for a hand-over. */
static void
be_a_hog(struct hog *h)
{
    while (!__atomic_load_n(&h->stop, __ATOMIC_RELAXED)) {
        go_mutex_lock(&h->mu);
        h->turns++;
        for (int64_t end = go_now() + 2 * GO_MILLISECOND; go_now() < end;)
            continue;
        if (__atomic_load_n(&h->mu.state, __ATOMIC_RELAXED) & STARVING)
            h->starving_at = h->turns;
        go_mutex_unlock(&h->mu);
    }
}

GO_TEST(a_starving_waiter_is_handed_the_lock_by_its_next_unlock)
{
    int before = go_maxprocs(2), handed_over = 0;
    struct go_wg wg = GO_WG_INIT;
    struct hog h = {0};

    REQUIRE(go_wg_go(&wg, be_a_hog, &h) > 0);
    while (handed_over < 3) {
        go_mutex_lock(&h.mu);
        if (h.starving_at != 0) {
            CHECK_INT(h.turns, h.starving_at); /* the hog had no turn in between */
            h.starving_at = 0;
            handed_over++;
        }
        go_mutex_unlock(&h.mu);
    }
    __atomic_store_n(&h.stop, 1, __ATOMIC_RELAXED);
    go_wg_wait(&wg);
    CHECK(free_of_marks(&h.mu));
    go_maxprocs(before);
}

/* Freed by whoever finds itself the last: nobody may touch it after that one could lock. */
struct counted {
    struct go_mutex mu;
    int refs;
    char rest[64];
};

static void
drop(struct counted *c)
{
    bool last;

    go_mutex_lock(&c->mu);
    last = --c->refs == 0;
    go_mutex_unlock(&c->mu);
    if (last) {
        memset(c, 0xee, sizeof(*c));
        free(c);
    }
}

static void *
drop_foreign(void *arg)
{
    struct counted **c = arg;

    for (int i = 0; i < 500; i++)
        drop(c[i]);
    return NULL;
}

static void
drop_all(struct counted **c)
{
    (void)drop_foreign(c);
}

GO_TEST(the_last_holder_may_free_the_mutex)
{
    static struct counted *c[500];
    struct go_wg wg = GO_WG_INIT;
    pthread_t t;

    for (int i = 0; i < 500; i++) {
        c[i] = calloc(1, sizeof(*c[i]));
        REQUIRE(c[i] != NULL);
        c[i]->refs = 6;
    }
    t = foreign_start(drop_foreign, c);
    for (int i = 0; i < 5; i++)
        REQUIRE(go_wg_go(&wg, drop_all, c) > 0);
    go_wg_wait(&wg);
    foreign_join(t);
}

static int
unlock_unlocked(int argc, char **argv)
{
    struct go_mutex mu = GO_MUTEX_INIT;

    (void)argc;
    (void)argv;
    go_mutex_unlock(&mu);
    return 0;
}

static int
unlock_twice(int argc, char **argv)
{
    struct go_mutex mu = GO_MUTEX_INIT;

    (void)argc;
    (void)argv;
    go_mutex_lock(&mu);
    go_mutex_unlock(&mu);
    go_mutex_unlock(&mu);
    return 0;
}

static int
lock_twice(int argc, char **argv)
{
    struct go_mutex mu = GO_MUTEX_INIT;

    (void)argc;
    (void)argv;
    go_mutex_lock(&mu);
    go_mutex_lock(&mu);
    return 0;
}

static int
seeded_hammer(int argc, char **argv)
{
    struct shared s = {0};
    struct go_wg wg = GO_WG_INIT;

    (void)argc;
    (void)argv;
    for (int i = 0; i < 8; i++)
        REQUIRE(go_wg_go(&wg, hammer, &s, 100) > 0);
    go_wg_wait(&wg);
    CHECK_INT(s.n, 800);
    CHECK(free_of_marks(&s.mu));
    return 0;
}

static const struct child_case children[] = {
    {"unlock_unlocked", unlock_unlocked, false},
    {"unlock_twice", unlock_twice, false},
    {"lock_twice", lock_twice, false},
    {"seeded_hammer", seeded_hammer, false},
};

static void
unlock_of_an_unlocked_mutex_is_fatal(void **state)
{
    (void)state;
    child_expect("unlock_unlocked", 2, "fatal error: sync: unlock of unlocked mutex");
    child_expect("unlock_twice", 2, "fatal error: sync: unlock of unlocked mutex");
}

static void
locking_twice_deadlocks_and_says_where(void **state)
{
    (void)state;
    child_expect("lock_twice", 2, "all goroutines are asleep - deadlock!");
    child_expect("lock_twice", 2, "[mutex lock");
}

static void
exclusion_holds_under_many_seeds(void **state)
{
    (void)state;
    child_seeds("seeded_hammer", 200);
}

int
main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_one_goroutine_is_inside_with_any_number_of_procs),
        cmocka_unit_test(foreign_threads_and_goroutines_exclude_each_other),
        cmocka_unit_test(a_mutex_that_one_thread_uses_becomes_its_own_and_stays_a_mutex),
        cmocka_unit_test(who_waits_for_an_owned_mutex_gets_it),
        cmocka_unit_test(threads_that_own_a_mutex_in_turn_exclude_each_other),
        cmocka_unit_test(a_foreign_thread_takes_an_owned_mutex),
        cmocka_unit_test(trylock_takes_a_free_lock_only),
        cmocka_unit_test(a_goroutine_may_unlock_what_another_locked),
        cmocka_unit_test(waiters_get_the_lock_in_the_order_they_came),
        cmocka_unit_test(a_starving_waiter_is_handed_the_lock_by_its_next_unlock),
        cmocka_unit_test(the_last_holder_may_free_the_mutex),
        cmocka_unit_test(unlock_of_an_unlocked_mutex_is_fatal),
        cmocka_unit_test(locking_twice_deadlocks_and_says_where),
        cmocka_unit_test(exclusion_holds_under_many_seeds),
    };

    CHILD_MAIN(argc, argv, children);
    return cmocka_run_group_tests_name("mutex", tests, NULL, NULL);
}
