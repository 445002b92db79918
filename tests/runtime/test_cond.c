#define _GNU_SOURCE
#include "tests/support/child.h"
#include "tests/support/foreign.h"

struct shared {
    struct go_mutex mu;
    struct go_cond cond;
    int waiting, awake, order[16];
    bool go_on;
};

static void
init(struct shared *s)
{
    memset(s, 0, sizeof(*s));
    go_cond_init(&s->cond, &s->mu);
}

static void
wait_once(struct shared *s, int me)
{
    go_mutex_lock(&s->mu);
    s->waiting++;
    go_cond_wait(&s->cond);
    s->order[s->awake++] = me;
    go_mutex_unlock(&s->mu);
}

static int
awake(struct shared *s)
{
    int n;

    go_mutex_lock(&s->mu);
    n = s->awake;
    go_mutex_unlock(&s->mu);
    return n;
}

static void
start_waiters(struct shared *s, struct go_wg *wg, int n)
{
    for (int i = 0; i < n; i++) {
        REQUIRE(go_wg_go(wg, wait_once, s, i) > 0);
        wait_parked("cond wait", i + 1);
    }
}

GO_TEST(signal_wakes_one_at_a_time_in_the_order_they_came)
{
    struct go_wg wg = GO_WG_INIT;
    struct shared s;

    init(&s);
    start_waiters(&s, &wg, 10);
    for (int i = 0; i < 10; i++) {
        go_cond_signal(&s.cond);
        while (awake(&s) < i + 1)
            go_yield();
        for (int j = 0; j < 5; j++)
            go_yield();
        CHECK_INT(awake(&s), i + 1);
    }
    go_cond_signal(&s.cond); /* nobody waits: forgotten */
    go_wg_wait(&wg);
    for (int i = 0; i < 10; i++)
        CHECK_INT(s.order[i], i);
}

GO_TEST(broadcast_wakes_all_that_wait_now)
{
    struct go_wg wg = GO_WG_INIT;
    struct shared s;

    init(&s);
    go_cond_broadcast(&s.cond);
    start_waiters(&s, &wg, 16);
    CHECK_INT(awake(&s), 0);
    go_cond_broadcast(&s.cond);
    go_wg_wait(&wg);
    CHECK_INT(s.awake, 16);
}

/* One who begins to wait after a signal must not take it from one who waited before. */
static void
steal(struct shared *s, int me)
{
    go_mutex_lock(&s->mu);
    while (!s->go_on)
        go_cond_wait(&s->cond);
    s->order[s->awake++] = me;
    go_mutex_unlock(&s->mu);
}

GO_TEST(a_signal_is_not_stolen_by_a_later_waiter)
{
    for (int round = 0; round < 200; round++) {
        struct go_wg wg = GO_WG_INIT;
        struct shared s;

        init(&s);
        start_waiters(&s, &wg, 1);
        go_mutex_lock(&s.mu);
        go_cond_signal(&s.cond); /* for waiter 0, who needs mu to go on */
        REQUIRE(go_wg_go(&wg, steal, &s, 1) > 0);
        go_mutex_unlock(&s.mu);
        while (awake(&s) < 1)
            go_yield();
        go_mutex_lock(&s.mu);
        CHECK_INT(s.order[0], 0);
        s.go_on = true;
        go_cond_broadcast(&s.cond);
        go_mutex_unlock(&s.mu);
        go_wg_wait(&wg);
    }
}

/* A bounded buffer of one: every hand-over needs a wake-up that is not lost. */
struct slot {
    struct go_mutex mu;
    struct go_cond full, empty;
    bool has;
    int value;
    long sum;
    int left;
};

static void
put(struct slot *s, int n)
{
    for (int i = 1; i <= n; i++) {
        go_mutex_lock(&s->mu);
        while (s->has)
            go_cond_wait(&s->empty);
        s->has = true;
        s->value = i;
        go_cond_signal(&s->full);
        go_mutex_unlock(&s->mu);
    }
}

static void
take(struct slot *s)
{
    for (;;) {
        go_mutex_lock(&s->mu);
        while (!s->has && s->left > 0)
            go_cond_wait(&s->full);
        if (s->left == 0) {
            go_mutex_unlock(&s->mu);
            return;
        }
        s->has = false;
        s->sum += s->value;
        if (--s->left == 0)
            go_cond_broadcast(&s->full);
        go_cond_signal(&s->empty);
        go_mutex_unlock(&s->mu);
    }
}

static void *
put_foreign(void *arg)
{
    put(arg, 1000);
    return NULL;
}

static void *
take_foreign(void *arg)
{
    take(arg);
    return NULL;
}

static void
hand_over(int goroutines, int items, bool foreign)
{
    struct slot s = {.left = (goroutines + foreign) * items};
    struct go_wg wg = GO_WG_INIT;
    pthread_t p = 0, t = 0;

    go_cond_init(&s.full, &s.mu);
    go_cond_init(&s.empty, &s.mu);
    if (foreign) {
        p = foreign_start(put_foreign, &s);
        t = foreign_start(take_foreign, &s);
    }
    for (int i = 0; i < goroutines; i++) {
        REQUIRE(go_wg_go(&wg, put, &s, items) > 0);
        REQUIRE(go_wg_go(&wg, take, &s) > 0);
    }
    go_wg_wait(&wg);
    if (foreign) {
        foreign_join(p);
        foreign_join(t);
    }
    CHECK_INT(s.sum, (long)(goroutines + foreign) * items * (items + 1) / 2);
}

GO_TEST(no_wake_up_is_lost_between_goroutines_and_foreign_threads)
{
    hand_over(4, 1000, true);
}

GO_TEST(wait_until_gives_up_at_its_deadline_and_holds_the_mutex_again)
{
    struct shared s;
    int64_t deadline;

    init(&s);
    go_mutex_lock(&s.mu);
    deadline = go_deadline(2 * GO_MILLISECOND);
    CHECK_INT(go_cond_wait_until(&s.cond, deadline), -ETIMEDOUT);
    CHECK(go_now() >= deadline);
    CHECK(!go_mutex_trylock(&s.mu));
    CHECK_INT(go_cond_wait_until(&s.cond, 0), -ETIMEDOUT);
    CHECK(!go_mutex_trylock(&s.mu));
    go_mutex_unlock(&s.mu);
    CHECK(s.cond.q.head == NULL);
}

static void
wait_long(struct shared *s, int64_t deadline)
{
    go_mutex_lock(&s->mu);
    CHECK_INT(go_cond_wait_until(&s->cond, deadline), 0);
    s->awake++;
    go_mutex_unlock(&s->mu);
}

GO_TEST(wait_until_returns_0_when_signalled_in_time)
{
    struct go_wg wg = GO_WG_INIT;
    struct shared s;

    init(&s);
    REQUIRE(go_wg_go(&wg, wait_long, &s, GO_NEVER) > 0);
    REQUIRE(go_wg_go(&wg, wait_long, &s, go_deadline(3600 * GO_SECOND)) > 0);
    wait_parked("cond wait", 2);
    go_cond_signal(&s.cond);
    go_cond_signal(&s.cond);
    go_wg_wait(&wg);
    CHECK_INT(s.awake, 2);
}

/* Deadline and signal at once: either outcome, but each signal counts for one waiter. */
static void
race_the_clock(struct shared *s, int64_t deadline, int32_t *signalled)
{
    go_mutex_lock(&s->mu);
    if (go_cond_wait_until(&s->cond, deadline) == 0)
        ++*signalled;
    go_mutex_unlock(&s->mu);
}

GO_TEST(a_signal_racing_with_the_deadline_wakes_one_waiter_once)
{
    for (int round = 0; round < 300; round++) {
        struct go_wg wg = GO_WG_INIT;
        int64_t deadline = go_deadline(100 * GO_MICROSECOND);
        int32_t signalled = 0;
        struct shared s;

        init(&s);
        for (int i = 0; i < 4; i++)
            REQUIRE(go_wg_go(&wg, race_the_clock, &s, deadline, &signalled) > 0);
        go_sleep_until(deadline);
        go_cond_signal(&s.cond);
        go_wg_wait(&wg);
        CHECK(signalled <= 1);
        CHECK(s.cond.q.head == NULL);
    }
}

static int
wait_unlocked(int argc, char **argv)
{
    struct shared s;

    (void)argc;
    (void)argv;
    init(&s);
    go_cond_wait(&s.cond);
    return 0;
}

static int
seeded_hand_over(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    hand_over(3, 50, false);
    return 0;
}

static const struct child_case children[] = {
    {"wait_unlocked", wait_unlocked, false},
    {"seeded_hand_over", seeded_hand_over, false},
};

static void
waiting_without_the_mutex_is_fatal(void **state)
{
    (void)state;
    child_expect("wait_unlocked", 2, "fatal error: sync: unlock of unlocked mutex");
}

static void
no_wake_up_is_lost_under_many_seeds(void **state)
{
    (void)state;
    child_seeds("seeded_hand_over", 200);
}

int
main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(signal_wakes_one_at_a_time_in_the_order_they_came),
        cmocka_unit_test(broadcast_wakes_all_that_wait_now),
        cmocka_unit_test(a_signal_is_not_stolen_by_a_later_waiter),
        cmocka_unit_test(no_wake_up_is_lost_between_goroutines_and_foreign_threads),
        cmocka_unit_test(wait_until_gives_up_at_its_deadline_and_holds_the_mutex_again),
        cmocka_unit_test(wait_until_returns_0_when_signalled_in_time),
        cmocka_unit_test(a_signal_racing_with_the_deadline_wakes_one_waiter_once),
        cmocka_unit_test(waiting_without_the_mutex_is_fatal),
        cmocka_unit_test(no_wake_up_is_lost_under_many_seeds),
    };

    CHILD_MAIN(argc, argv, children);
    return cmocka_run_group_tests_name("cond", tests, NULL, NULL);
}
