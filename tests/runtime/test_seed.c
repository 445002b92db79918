/* GOSEED: the same seed replays the same interleaving, other seeds find others. */
#define _GNU_SOURCE
#include "tests/support/await.h"
#include "tests/support/child.h"

/* --- an event log that depends on the schedule ------------------------------------------------ */

struct journal {
    uint64_t hash; /* FNV-1a over the events in order */
    uint32_t n;
    struct go_chan *c;
    struct go_wg wg;
};

static void
note(struct journal *j, uint64_t event)
{
    for (int i = 0; i < 8; i++) {
        j->hash ^= event >> (8 * i) & 0xff;
        j->hash *= 0x100000001b3;
    }
    j->n++;
}

static void
actor(struct journal *j, int me)
{
    for (int i = 0; i < 20; i++) {
        int v = me * 100 + i;
        struct go_case cases[] = {GO_CASE_SEND(j->c, &v), GO_CASE_RECV(j->c, &v)};
        int chosen = go_select_until(cases, 2, go_now() + me * GO_MICROSECOND);

        note(j, (uint64_t)(me * 1000 + i) << 32 | (uint32_t)(v * 4 + chosen));
        if (i % 4 == me % 4)
            go_yield();
        if (i % 7 == 0)
            go_sleep(me * GO_MILLISECOND);
        go_checkpoint();
        note(j, (uint64_t)go_now());
    }
    go_wg_done(&j->wg);
}

static int
print_journal(int argc, char **argv)
{
    struct journal j = {.hash = 0xcbf29ce484222325, .wg = GO_WG_INIT};

    (void)argc;
    (void)argv;
    j.c = go_chan_new(sizeof(int), 1);
    go_wg_add(&j.wg, 8);
    for (int i = 0; i < 8; i++)
        CHECK(go(actor, &j, i) > 0);
    go_wg_wait(&j.wg);
    go_chan_unref(j.c);
    fprintf(stderr, "%u events, hash %016llx\n", j.n, (unsigned long long)j.hash);
    return 0;
}

static void
run_seeded(const char *name, const char *value, struct child_result *r)
{
    char var[64];
    char *env[] = {var, NULL};

    (void)snprintf(var, sizeof(var), "GOSEED=%s", value);
    child_run(name, env, r);
}

static void
a_seed_replays_its_interleaving(void **state)
{
    static struct child_result first, again, before;
    int different = 0, n = ROUNDS(100);

    (void)state;
    for (int seed = 0; seed < n; seed++) {
        char value[16];

        (void)snprintf(value, sizeof(value), "%d", seed);
        run_seeded("print_journal", value, &first);
        run_seeded("print_journal", value, &again);
        assert_int_equal(first.status, 0);
        assert_non_null(strstr(first.err, "hash"));
        assert_string_equal(first.err, again.err);
        different += seed > 0 && strcmp(first.err, before.err) != 0;
        before = first;
    }
    assert_int_equal(different, n - 1);
}

static void
a_seed_is_a_number_in_any_base(void **state)
{
    static struct child_result a, b;

    (void)state;
    run_seeded("print_journal", "255", &a);
    run_seeded("print_journal", "0xff", &b);
    assert_int_equal(a.status, 0);
    assert_string_equal(a.err, b.err);
    run_seeded("print_journal", "18446744073709551615", &a);
    assert_int_equal(a.status, 0);
}

/* --- preemption --------------------------------------------------------------------------------- */

/* A data race that only a preemption between load and store shows: a seed must find it, and
 * none may find it where the loop never enters the runtime. */
static uint32_t balance;

static void
lose_updates(struct go_wg *wg)
{
    for (int i = 0; i < 10; i++) {
        uint32_t seen = balance;

        go_checkpoint();
        balance = seen + 1;
    }
    go_wg_done(wg);
}

static int
print_balance(int argc, char **argv)
{
    struct go_wg wg = GO_WG_INIT;

    (void)argc;
    (void)argv;
    balance = 0;
    go_wg_add(&wg, 2);
    CHECK(go(lose_updates, &wg) > 0);
    CHECK(go(lose_updates, &wg) > 0);
    go_wg_wait(&wg);
    fprintf(stderr, "balance %u\n", balance);
    return 0;
}

static void
seeds_preempt_at_checkpoints(void **state)
{
    static struct child_result r;
    int lost = 0;

    (void)state;
    for (int seed = 1; seed <= 20; seed++) {
        char value[16];

        (void)snprintf(value, sizeof(value), "%d", seed);
        run_seeded("print_balance", value, &r);
        assert_int_equal(r.status, 0);
        lost += strstr(r.err, "balance 20") == NULL;
    }
    assert_true(lost > 0);
}

/* --- the order of runnable goroutines -------------------------------------------------------------- */

static void
append(char *order, uint32_t *n, int me, struct go_wg *wg)
{
    order[(*n)++] = (char)('a' + me);
    go_wg_done(wg);
}

static int
print_order(int argc, char **argv)
{
    char order[4] = {0};
    struct go_wg wg = GO_WG_INIT;
    uint32_t n = 0;

    (void)argc;
    (void)argv;
    go_wg_add(&wg, 3);
    for (int i = 0; i < 3; i++)
        CHECK(go(append, order, &n, i, &wg) > 0);
    go_wg_wait(&wg);
    fprintf(stderr, "%s", order);
    return 0;
}

static void
every_order_is_reached_by_some_seed(void **state)
{
    static const char *const orders[] = {"abc", "acb", "bac", "bca", "cab", "cba"};
    static struct child_result r;
    unsigned seen = 0;

    (void)state;
    for (int seed = 1; seed <= 200 && seen != 63; seed++) {
        char value[16];

        (void)snprintf(value, sizeof(value), "%d", seed);
        run_seeded("print_order", value, &r);
        for (unsigned i = 0; i < 6; i++)
            if (strcmp(r.err, orders[i]) == 0)
                seen |= 1u << i;
    }
    assert_int_equal(seen, 63);
}

/* --- the rest of the mode ----------------------------------------------------------------------------- */

static int
one_p_only(int argc, char **argv)
{
    int64_t start = go_now();

    (void)argc;
    (void)argv;
    CHECK_INT(go_maxprocs(0), 1);
    CHECK_INT(go_maxprocs(8), 1);
    CHECK_INT(go_maxprocs(0), 1);
    CHECK(start >= GO_SECOND && start < 2 * GO_SECOND); /* virtual time starts there */
    CHECK_INT(GO_BLOCKING(7), 7);
    return 0;
}

static int
seeded_deadlock(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    go_sleep(3600 * GO_SECOND);
    (void)go_chan_recv(NULL, NULL);
    return 0;
}

static void
seeded_programs_have_one_p_and_find_deadlocks(void **state)
{
    static struct child_result r;

    (void)state;
    run_seeded("one_p_only", "3", &r);
    if (r.status != 0)
        fprintf(stderr, "%s", r.err);
    assert_int_equal(r.status, 0);
    run_seeded("seeded_deadlock", "3", &r);
    assert_int_equal(r.status, 2);
    assert_non_null(strstr(r.err, "fatal error: all goroutines are asleep - deadlock!"));
}

static void
a_malformed_seed_is_refused(void **state)
{
    static const char *const bad[] = {
        "x", "12y", "-1", " -1", " ", "1.5", "18446744073709551616"};
    static struct child_result r;

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        run_seeded("one_p_only", bad[i], &r);
        assert_int_equal(r.status, 2);
        assert_non_null(strstr(r.err, "fatal error: GOSEED="));
        assert_non_null(strstr(r.err, bad[i]));
    }
}

int
main(int argc, char **argv)
{
    static const struct child_case children[] = {
        {"print_journal", print_journal, false},
        {"print_balance", print_balance, false},
        {"print_order", print_order, false},
        {"one_p_only", one_p_only, false},
        {"seeded_deadlock", seeded_deadlock, false},
    };
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_seed_replays_its_interleaving),
        cmocka_unit_test(a_seed_is_a_number_in_any_base),
        cmocka_unit_test(seeds_preempt_at_checkpoints),
        cmocka_unit_test(every_order_is_reached_by_some_seed),
        cmocka_unit_test(seeded_programs_have_one_p_and_find_deadlocks),
        cmocka_unit_test(a_malformed_seed_is_refused),
    };

    CHILD_MAIN(argc, argv, children);
    return cmocka_run_group_tests_name("seed", tests, NULL, NULL);
}
