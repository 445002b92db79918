#define _GNU_SOURCE
#include "tests/support/child.h"
#include "tests/support/foreign.h"

struct shared {
    struct go_rwmutex rw;
    int32_t activity; /* atomic: 1 per reader, 10000 per writer */
    int rounds;
};

static void
reader(struct shared *s)
{
    for (int i = 0; i < s->rounds; i++) {
        int32_t n;

        go_rwmutex_rlock(&s->rw);
        n = __atomic_add_fetch(&s->activity, 1, __ATOMIC_RELAXED);
        CHECK(n >= 1 && n < 10000);
        if (i % 4 == 0)
            go_yield();
        __atomic_add_fetch(&s->activity, -1, __ATOMIC_RELAXED);
        go_rwmutex_runlock(&s->rw);
    }
}

static void
writer(struct shared *s)
{
    for (int i = 0; i < s->rounds; i++) {
        go_rwmutex_lock(&s->rw);
        CHECK_INT(__atomic_add_fetch(&s->activity, 10000, __ATOMIC_RELAXED), 10000);
        if (i % 4 == 0)
            go_yield();
        __atomic_add_fetch(&s->activity, -10000, __ATOMIC_RELAXED);
        go_rwmutex_unlock(&s->rw);
    }
}

static void
mix(int procs, int readers, int rounds)
{
    struct shared s = {.rounds = rounds};
    struct go_wg wg = GO_WG_INIT;
    int started = 0;

    go_maxprocs(procs);
    REQUIRE(go_wg_go(&wg, writer, &s) > 0);
    for (; started < readers / 2; started++)
        REQUIRE(go_wg_go(&wg, reader, &s) > 0);
    REQUIRE(go_wg_go(&wg, writer, &s) > 0);
    for (; started < readers; started++)
        REQUIRE(go_wg_go(&wg, reader, &s) > 0);
    go_wg_wait(&wg);
    CHECK_INT(s.activity, 0);
    CHECK_INT(s.rw.readers, 0);
    CHECK_INT(s.rw.leaving, 0);
    CHECK_INT(s.rw.read_sem.free, 0);
    CHECK_INT(s.rw.write_sem.free, 0);
}

GO_TEST(readers_share_and_writers_exclude_in_ten_mixes)
{
    static const int procs_readers[][2] = {{1, 1},  {1, 3},  {1, 10}, {4, 1},   {4, 3},
                                           {4, 10}, {10, 1}, {10, 3}, {10, 10}, {10, 5}};
    int before = go_maxprocs(0);

    for (size_t i = 0; i < sizeof(procs_readers) / sizeof(procs_readers[0]); i++)
        mix(procs_readers[i][0], procs_readers[i][1], 1000);
    go_maxprocs(before);
}

static void *
foreign_reader(void *arg)
{
    reader(arg);
    return NULL;
}

static void *
foreign_writer(void *arg)
{
    writer(arg);
    return NULL;
}

GO_TEST(foreign_threads_take_part_as_readers_and_writers)
{
    struct shared s = {.rounds = 1000};
    struct go_wg wg = GO_WG_INIT;
    pthread_t r = foreign_start(foreign_reader, &s),
              w = foreign_start(foreign_writer, &s);

    REQUIRE(go_wg_go(&wg, writer, &s) > 0);
    for (int i = 0; i < 4; i++)
        REQUIRE(go_wg_go(&wg, reader, &s) > 0);
    go_wg_wait(&wg);
    foreign_join(r);
    foreign_join(w);
    CHECK_INT(s.activity, 0);
    CHECK_INT(s.rw.readers, 0);
}

/* Holds a read lock until all n hold one: they must be inside together. */
static void
meet_inside(struct go_rwmutex *rw, struct go_wg *inside)
{
    go_rwmutex_rlock(rw);
    go_wg_done(inside);
    go_wg_wait(inside);
    go_rwmutex_runlock(rw);
}

GO_TEST(readers_are_inside_together)
{
    struct go_rwmutex rw = GO_RWMUTEX_INIT;
    struct go_wg wg = GO_WG_INIT, inside = GO_WG_INIT;

    go_wg_add(&inside, 4);
    for (int i = 0; i < 4; i++)
        REQUIRE(go_wg_go(&wg, meet_inside, &rw, &inside) > 0);
    go_wg_wait(&wg);
}

struct order {
    struct go_rwmutex rw;
    struct go_mutex mu;
    char log[8];
    int n;
};

static void
note(struct order *o, char c)
{
    go_mutex_lock(&o->mu);
    o->log[o->n++] = c;
    go_mutex_unlock(&o->mu);
}

static void
late_reader(struct order *o)
{
    go_rwmutex_rlock(&o->rw);
    note(o, 'r');
    go_rwmutex_runlock(&o->rw);
}

static void
late_writer(struct order *o)
{
    go_rwmutex_lock(&o->rw);
    note(o, 'w');
    go_rwmutex_unlock(&o->rw);
}

GO_TEST(a_waiting_writer_holds_back_new_readers)
{
    struct order o = {0};
    struct go_wg wg = GO_WG_INIT;

    go_rwmutex_rlock(&o.rw);
    REQUIRE(go_wg_go(&wg, late_writer, &o) > 0);
    wait_parked("rwmutex lock", 1);
    CHECK(!go_rwmutex_tryrlock(&o.rw));
    REQUIRE(go_wg_go(&wg, late_reader, &o) > 0);
    wait_parked("rwmutex rlock", 1);
    go_rwmutex_runlock(&o.rw);
    go_wg_wait(&wg);
    CHECK(strcmp(o.log, "wr") == 0);
}

GO_TEST(readers_that_waited_go_before_the_next_writer)
{
    struct order o = {0};
    struct go_wg wg = GO_WG_INIT;

    go_rwmutex_lock(&o.rw);
    REQUIRE(go_wg_go(&wg, late_writer, &o) > 0);
    wait_parked("mutex lock", 1);
    REQUIRE(go_wg_go(&wg, late_reader, &o) > 0);
    REQUIRE(go_wg_go(&wg, late_reader, &o) > 0);
    wait_parked("rwmutex rlock", 2);
    go_rwmutex_unlock(&o.rw);
    go_wg_wait(&wg);
    CHECK(strcmp(o.log, "rrw") == 0);
}

GO_TEST(trylocks_take_what_is_free_only)
{
    struct go_rwmutex rw = GO_RWMUTEX_INIT;

    CHECK(go_rwmutex_trylock(&rw));
    CHECK(!go_rwmutex_trylock(&rw));
    CHECK(!go_rwmutex_tryrlock(&rw));
    go_rwmutex_unlock(&rw);
    CHECK(go_rwmutex_tryrlock(&rw));
    CHECK(go_rwmutex_tryrlock(&rw));
    CHECK(!go_rwmutex_trylock(&rw));
    go_rwmutex_runlock(&rw);
    go_rwmutex_runlock(&rw);
    CHECK(go_rwmutex_trylock(&rw));
}

static int
seeded_mix(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    mix(1, 5, 30);
    return 0;
}

#define MISUSE(name, ...)                                                                \
    static int name(int argc, char **argv)                                               \
    {                                                                                    \
        struct go_rwmutex rw = GO_RWMUTEX_INIT;                                          \
                                                                                         \
        (void)argc;                                                                      \
        (void)argv;                                                                      \
        __VA_ARGS__;                                                                     \
        return 0;                                                                        \
    }

MISUSE(unlock_unlocked, go_rwmutex_unlock(&rw))
MISUSE(unlock_read_locked, go_rwmutex_rlock(&rw), go_rwmutex_unlock(&rw))
MISUSE(runlock_unlocked, go_rwmutex_runlock(&rw))
MISUSE(runlock_write_locked, go_rwmutex_lock(&rw), go_rwmutex_runlock(&rw))

static const struct child_case children[] = {
    {"seeded_mix", seeded_mix, false},
    {"unlock_unlocked", unlock_unlocked, false},
    {"unlock_read_locked", unlock_read_locked, false},
    {"runlock_unlocked", runlock_unlocked, false},
    {"runlock_write_locked", runlock_write_locked, false},
};

static void
unlocks_without_a_lock_are_fatal(void **state)
{
    (void)state;
    child_expect("unlock_unlocked", 2, "fatal error: sync: Unlock of unlocked RWMutex");
    child_expect("unlock_read_locked", 2,
                 "fatal error: sync: Unlock of unlocked RWMutex");
    child_expect("runlock_unlocked", 2, "fatal error: sync: RUnlock of unlocked RWMutex");
    child_expect("runlock_write_locked", 2,
                 "fatal error: sync: RUnlock of unlocked RWMutex");
}

static void
exclusion_holds_under_many_seeds(void **state)
{
    (void)state;
    child_seeds("seeded_mix", 200);
}

int
main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(readers_share_and_writers_exclude_in_ten_mixes),
        cmocka_unit_test(foreign_threads_take_part_as_readers_and_writers),
        cmocka_unit_test(readers_are_inside_together),
        cmocka_unit_test(a_waiting_writer_holds_back_new_readers),
        cmocka_unit_test(readers_that_waited_go_before_the_next_writer),
        cmocka_unit_test(trylocks_take_what_is_free_only),
        cmocka_unit_test(unlocks_without_a_lock_are_fatal),
        cmocka_unit_test(exclusion_holds_under_many_seeds),
    };

    CHILD_MAIN(argc, argv, children);
    return cmocka_run_group_tests_name("rwmutex", tests, NULL, NULL);
}
