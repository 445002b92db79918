/*
 * The biased lock of channels (sched/bias.h): who comes to own it, how it is taken from an
 * owner that is busy, asleep or inside, and that it excludes whoever it should throughout.
 * And Ps that leave because of crowding (sched/crowd.c).
 */
#define _GNU_SOURCE
#include <pthread.h>

#include "runtime/base/fence.h"
#include "runtime/sched/bias.h"
#include "runtime/sched/sched.h"
#include "tests/support/gotest.h"

#define MANY 50000

static void
use(struct go_bias *l, int times)
{
    for (int i = 0; i < times; i++) {
        struct go_m *m = rt_enter();

        bias_lock(l, m, GO_LCK_CHAN);
        bias_unlock(l, m);
        rt_exit();
    }
}

/* Use l until this thread owns it. Fences of earlier tests may have forbidden that for a
 * while. False: it cannot be, on this kernel. */
static bool
own(struct go_bias *l)
{
    struct go_m *m = rt_m();

    if (!fence_threads_works())
        return false;
    while (LOAD(&l->owner, RELAXED) != m)
        use(l, 1);
    return true;
}

GO_TEST(a_thread_that_uses_a_lock_often_comes_to_own_it)
{
    struct go_bias l = {0};
    struct go_m *m;

    go_lock_os_thread();
    m = rt_m();
    use(&l, BIAS_NEED);
    CHECK(LOAD(&l.owner, RELAXED) == NULL);
    use(&l, 1);
    CHECK(LOAD(&l.owner, RELAXED) == (fence_threads_works() ? m : NULL));
    use(&l, MANY);
    CHECK_INT(m->ninside, 0);
    CHECK_INT(l.plain.word, 0);
    go_unlock_os_thread();
}

GO_TEST(an_owner_is_inside_by_note_alone)
{
    struct go_bias l = {0};
    struct go_m *m;

    go_lock_os_thread();
    if (own(&l)) {
        m = rt_enter();
        bias_lock(&l, m, GO_LCK_CHAN);
        CHECK_INT(m->ninside, 1);
        CHECK(m->inside[0] == &l);
        CHECK_INT(l.plain.word, 0);
        bias_unlock(&l, m);
        CHECK(m->inside[0] == NULL);
        rt_exit();
    }
    go_unlock_os_thread();
}

GO_TEST(an_owner_that_parks_hands_over_to_who_waits)
{
    struct go_bias l = {0};
    struct go_m *m;

    go_lock_os_thread();
    if (own(&l)) {
        m = rt_enter();
        bias_lock(&l, m, GO_LCK_CHAN);
        bias_unlock_parking(&l, m);
        CHECK(LOAD(&l.owner, RELAXED) == m); /* nobody waits */
        bias_lock(&l, m, GO_LCK_CHAN);
        STORE(&l.waited, 1, RELAXED);
        bias_unlock_parking(&l, m);
        CHECK(LOAD(&l.owner, RELAXED) == NULL);
        CHECK(m->inside[0] == NULL);
        CHECK_INT(m->ninside, 0);
        rt_exit();
    }
    go_unlock_os_thread();
}

GO_TEST(a_thread_may_hold_more_locks_than_it_has_notes)
{
    enum { N = RT_INSIDE_MAX + 3 };
    struct go_bias l[N] = {0};
    struct go_m *m;

    go_lock_os_thread();
    for (int i = 0; i < N; i++)
        (void)own(&l[i]);
    m = rt_enter();
    for (int i = 0; i < N; i++)
        bias_lock(&l[i], m, GO_LCK_CHAN);
    for (int i = N; i-- > 0;)
        bias_unlock(&l[i], m);
    CHECK_INT(m->ninside, 0);
    for (int i = 0; i < N; i++)
        CHECK_INT(l[i].plain.word, 0);
    rt_exit();
    go_unlock_os_thread();
}

/* --- several threads --------------------------------------------------------------------- */

struct shared {
    struct go_bias a, b;
    long in_a, in_b; /* not atomic: guarded by a and b */
    struct go_wg done;
};

/* Now long runs, so as to own the locks, now single uses; each way of taking and leaving. */
static void
count(struct shared *s, long seed)
{
    go_lock_os_thread();
    for (long i = 0; i < MANY; i++) {
        struct go_m *m = rt_enter();

        bias_lock(&s->a, m, GO_LCK_CHAN);
        s->in_a++;
        if ((i + seed) % 7 == 0) {
            bias_lock(&s->b, m, GO_LCK_CHAN);
            s->in_b++;
            bias_unlock(&s->b, m);
        }
        if (i % 3 == 0)
            bias_unlock_parking(&s->a, m);
        else
            bias_unlock(&s->a, m);
        rt_exit();
        if ((i >> 8) % 2 == 0 && i % 5 == 0)
            go_yield();
    }
    go_unlock_os_thread();
    go_wg_done(&s->done);
}

GO_TEST(threads_that_take_turns_at_owning_exclude_each_other)
{
    static struct shared s;
    long want_b = 0;
    int old = go_maxprocs(4);

    go_wg_add(&s.done, 4);
    for (long k = 0; k < 4; k++) {
        go(count, &s, k);
        for (long i = 0; i < MANY; i++)
            want_b += (i + k) % 7 == 0;
    }
    go_wg_wait(&s.done);
    CHECK_INT(s.in_a, 4L * MANY);
    CHECK_INT(s.in_b, want_b);
    CHECK_INT(s.a.plain.word, 0);
    CHECK_INT(s.b.plain.word, 0);
    go_maxprocs(old);
}

static void
own_and_sleep(struct go_bias *l, struct go_wg *owned, struct go_chan *gate)
{
    go_lock_os_thread();
    (void)own(l);
    go_wg_done(owned);
    (void)go_chan_recv(gate, NULL);
    use(l, BIAS_NEED * 2); /* it can come back */
    go_unlock_os_thread();
    go_wg_done(owned);
}

GO_TEST(an_owner_that_sleeps_loses_the_lock)
{
    static struct go_bias l;
    struct go_wg owned = GO_WG_INIT;
    struct go_chan *gate = go_chan_new(0, 0);
    struct go_m *sleeper;

    go_lock_os_thread();
    go_wg_add(&owned, 1);
    go(own_and_sleep, &l, &owned, gate);
    go_wg_wait(&owned);
    sleeper = LOAD(&l.owner, RELAXED);
    CHECK((sleeper != NULL) == fence_threads_works());
    use(&l, 1);
    CHECK(LOAD(&l.owner, RELAXED) == NULL);
    (void)own(&l);
    go_wg_add(&owned, 1);
    go_chan_close(gate);
    go_wg_wait(&owned);
    go_unlock_os_thread();
    go_chan_unref(gate);
}

static void *
foreign_use(void *l)
{
    use((struct go_bias *)l, MANY);
    return NULL;
}

GO_TEST(a_foreign_thread_takes_the_lock_but_never_owns_it)
{
    static struct go_bias l;
    pthread_t thread;

    go_lock_os_thread();
    (void)own(&l);
    REQUIRE(pthread_create(&thread, NULL, foreign_use, &l) == 0);
    go_enter_blocking();
    REQUIRE(pthread_join(thread, NULL) == 0);
    go_exit_blocking();
    CHECK(LOAD(&l.owner, RELAXED) == NULL);
    go_unlock_os_thread();
}

/* --- crowding ---------------------------------------------------------------------------- */

static bool stop; /* atomic */

static void
keep_a_p_busy(struct go_wg *wg)
{
    while (!LOAD(&stop, RELAXED))
        go_yield();
    go_wg_done(wg);
}

static void
leave_often(struct go_wg *wg)
{
    for (int i = 0; i < 200; i++) {
        struct go_m *m = rt_enter();

        if (m->p != NULL)
            sched_crowded(m->p, rt_clock_raw());
        rt_exit();
        go_yield();
    }
    go_wg_done(wg);
}

GO_TEST(work_of_a_p_that_leaves_is_done_by_the_others)
{
    struct go_wg busy = GO_WG_INIT, leaving = GO_WG_INIT;
    int old = go_maxprocs(4);

    STORE(&stop, false, RELAXED);
    go_wg_add(&busy, 4);
    for (int i = 0; i < 4; i++)
        go(keep_a_p_busy, &busy);
    while (LOAD(&sched.crowded_at, RELAXED) == 0) { /* until it happened at least once */
        go_wg_add(&leaving, 16);
        for (int i = 0; i < 16; i++)
            go(leave_often, &leaving);
        go_wg_wait(&leaving);
    }
    STORE(&stop, true, RELAXED);
    go_wg_wait(&busy);
    go_maxprocs(old);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_thread_that_uses_a_lock_often_comes_to_own_it),
        cmocka_unit_test(an_owner_is_inside_by_note_alone),
        cmocka_unit_test(an_owner_that_parks_hands_over_to_who_waits),
        cmocka_unit_test(a_thread_may_hold_more_locks_than_it_has_notes),
        cmocka_unit_test(threads_that_take_turns_at_owning_exclude_each_other),
        cmocka_unit_test(an_owner_that_sleeps_loses_the_lock),
        cmocka_unit_test(a_foreign_thread_takes_the_lock_but_never_owns_it),
        cmocka_unit_test(work_of_a_p_that_leaves_is_done_by_the_others),
    };

    return cmocka_run_group_tests_name("bias", tests, NULL, NULL);
}
