/*
 * The local run queue alone, without a scheduler around it: first against a model in one
 * thread, then with thieves. Every goroutine queued comes out exactly once, and in order
 * where the owner alone takes. The stress build has a ring of four, in which every path is
 * taken all the time.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>

#include "runtime/sched/runq.h"
#include "tests/support/await.h"

#define N       200000
#define THIEVES 3

static struct go_p *
p_make(void)
{
    struct go_p *p = (struct go_p *)aligned_alloc(CACHE_LINE, sizeof(*p));

    assert_non_null(p);
    memset(p, 0, sizeof(*p));
    p->timers.first = GO_NEVER;
    return p;
}

/* The global queue belongs to the program's scheduler, which is not started here. */
static struct go_g *
global_get(struct go_p *p)
{
    return LOAD(&sched.gq_n, RELAXED) > 0 ? gq_get(p, 1) : NULL;
}

static void
an_owner_alone_gets_all_in_order(void **state)
{
    struct go_g *g = (struct go_g *)calloc(GO_RUNQ_SIZE, sizeof(*g));
    struct go_p *p = p_make();

    (void)state;
    sched.maxprocs = 1;
    assert_true(runq_empty(p));
    assert_null(runq_get(p));
    assert_null(runq_get_next(p));
    for (int lap = 0; lap < 3 * GO_RUNQ_SIZE; lap++) { /* from every position */
        uint32_t n = (uint32_t)lap % GO_RUNQ_SIZE + 1;

        for (uint32_t i = 0; i < n; i++)
            runq_put(p, &g[i]);
        assert_int_equal(runq_len(p), n);
        assert_false(runq_empty(p));
        for (uint32_t i = 0; i < n; i++)
            assert_ptr_equal(runq_get(p), &g[i]);
        assert_null(runq_get(p));
    }
    assert_int_equal(sched.gq_n, 0);
    free(g);
    free(p);
}

static void
the_next_slot_displaces_to_the_tail(void **state)
{
    struct go_g g[3];
    struct go_p *p = p_make();

    (void)state;
    for (int i = 0; i < 3; i++)
        runq_put_next(p, &g[i]);
    assert_ptr_equal(runq_get_next(p), &g[2]);
    assert_null(runq_get_next(p));
    assert_ptr_equal(runq_get(p), &g[0]);
    assert_ptr_equal(runq_get(p), &g[1]);
    assert_true(runq_empty(p));
    free(p);
}

static void
a_full_ring_spills_half_in_order(void **state)
{
    struct go_g *g = (struct go_g *)calloc(GO_RUNQ_SIZE + 1, sizeof(*g));
    struct go_p *p = p_make();
    uint32_t half = GO_RUNQ_SIZE / 2;

    (void)state;
    sched.maxprocs = 1;
    for (uint32_t i = 0; i <= GO_RUNQ_SIZE; i++)
        runq_put(p, &g[i]);
    assert_int_equal(runq_len(p), half);
    assert_int_equal(sched.gq_n, half + 1);
    for (uint32_t i = 0; i < half; i++) {
        assert_ptr_equal(global_get(p), &g[i]);
        assert_ptr_equal(runq_get(p), &g[half + i]);
    }
    assert_ptr_equal(global_get(p), &g[GO_RUNQ_SIZE]); /* the last one went with them */
    assert_null(global_get(p));
    free(g);
    free(p);
}

static void
a_thief_takes_the_older_half(void **state)
{
    struct go_g g[4], *got = NULL;
    struct go_p *owner = p_make(), *thief = p_make();

    (void)state;
    for (int i = 0; i < 4; i++)
        runq_put(owner, &g[i]);
    assert_int_equal(runq_steal(thief, owner, false, &got), 2);
    assert_ptr_equal(got, &g[1]); /* one is handed over, the other queued */
    assert_ptr_equal(runq_get(thief), &g[0]);
    assert_ptr_equal(runq_get(owner), &g[2]);
    assert_int_equal(runq_steal(thief, owner, false, &got), 1);
    assert_ptr_equal(got, &g[3]);
    runq_put_next(owner, &g[0]);
    assert_int_equal(runq_steal(thief, owner, false, &got), 0); /* not the next one … */
    assert_int_equal(runq_steal(thief, owner, true, &got), 1);  /* … unless asked */
    assert_ptr_equal(got, &g[0]);
    assert_true(runq_empty(owner) && runq_empty(thief));
    free(owner);
    free(thief);
}

/* --- thieves ----------------------------------------------------------------------------------- */

static struct go_g *all;
static unsigned char *seen; /* atomic */
static uint32_t taken;      /* atomic */
static struct go_p *procs[THIEVES + 1];

static void
take(struct go_g *g)
{
    assert_int_equal(__atomic_exchange_n(&seen[g - all], 1, __ATOMIC_RELAXED), 0);
    __atomic_fetch_add(&taken, 1, __ATOMIC_RELAXED);
}

static void *
steal_until_done(void *arg)
{
    struct go_p *mine = arg;

    while (LOAD(&taken, RELAXED) < (uint32_t)ROUNDS(N)) {
        for (int v = 0; v <= THIEVES; v++) {
            struct go_g *g = NULL;

            if (procs[v] == mine || runq_steal(mine, procs[v], true, &g) == 0)
                continue;
            take(g);
            while ((g = runq_get_next(mine)) != NULL || (g = runq_get(mine)) != NULL)
                take(g);
        }
        sched_yield();
    }
    return NULL;
}

static void
thieves_and_owner_take_each_once(void **state)
{
    uint32_t n = (uint32_t)ROUNDS(N);
    pthread_t t[THIEVES];
    struct go_p *p;

    (void)state;
    all = (struct go_g *)calloc(n, sizeof(*all));
    seen = (unsigned char *)calloc(n, 1);
    taken = 0;
    sched.maxprocs = 1;
    for (int i = 0; i <= THIEVES; i++)
        procs[i] = p_make();
    p = procs[0];
    STORE(&p->status, P_RUNNING, RELAXED);
    for (int i = 0; i < THIEVES; i++)
        assert_int_equal(pthread_create(&t[i], NULL, steal_until_done, procs[i + 1]), 0);
    for (uint32_t i = 0; i < n; i++) {
        struct go_g *g;

        if (i % 3 == 0)
            runq_put_next(p, &all[i]);
        else
            runq_put(p, &all[i]);
        if (i % 2 == 0 && ((g = runq_get_next(p)) != NULL || (g = runq_get(p)) != NULL))
            take(g);
        if (i % 64 == 0)
            while ((g = global_get(p)) != NULL)
                take(g);
    }
    while (LOAD(&taken, RELAXED) < n) { /* what the thieves leave */
        struct go_g *g = global_get(p);

        if (g != NULL || (g = runq_get_next(p)) != NULL || (g = runq_get(p)) != NULL)
            take(g);
    }
    for (int i = 0; i < THIEVES; i++)
        assert_int_equal(pthread_join(t[i], NULL), 0);
    for (int i = 0; i <= THIEVES; i++) {
        assert_true(runq_empty(procs[i]));
        free(procs[i]);
    }
    assert_int_equal(sched.gq_n, 0);
    free(all);
    free(seen);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_owner_alone_gets_all_in_order),
        cmocka_unit_test(the_next_slot_displaces_to_the_tail),
        cmocka_unit_test(a_full_ring_spills_half_in_order),
        cmocka_unit_test(a_thief_takes_the_older_half),
        cmocka_unit_test(thieves_and_owner_take_each_once),
    };

    if (gq_init() < 0)
        return 1;
    return cmocka_run_group_tests_name("runq", tests, NULL, NULL);
}
