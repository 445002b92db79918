/* select against the Go specification, "Select statements". */
#define _GNU_SOURCE
#include "tests/runtime/transfer.h"
#include "tests/support/await.h"
#include "tests/support/child.h"

/* --- what is ready -------------------------------------------------------------------------- */

GO_TEST(default_is_taken_when_no_case_is_ready)
{
    struct go_chan *full = go_chan_new(sizeof(int), 1),
                   *empty = go_chan_new(sizeof(int), 1);
    int in = 1, out = -1;
    struct go_case cases[] = {
        GO_CASE_SEND(full, &in),
        GO_CASE_RECV(empty, &out),
        GO_CASE_SEND(NULL, &in),
        GO_CASE_RECV(NULL, &out),
    };

    go_send(full, 5);
    CHECK_INT(go_select_default(cases, 4), -EAGAIN);
    CHECK_INT(go_select_default(cases, 0), -EAGAIN);
    for (int i = 0; i < 4; i++)
        CHECK_INT(go_select_default(&cases[i], 1), -EAGAIN);
    CHECK_INT(go_select_until(cases, 4, go_now() + 1000), -ETIMEDOUT);
    CHECK_INT(go_select_until(cases, 0, go_now() + 1000), -ETIMEDOUT);
    CHECK_INT(out, -1);
    CHECK_INT(go_chan_len(full), 1);
    go_chan_unref(full);
    go_chan_unref(empty);
}

GO_TEST(the_one_ready_case_is_chosen)
{
    struct go_chan *a = go_chan_new(sizeof(int), 1), *b = go_chan_new(sizeof(int), 1);
    int in = 3, out = -1;
    struct go_case cases[] = {GO_CASE_RECV(a, &out), GO_CASE_SEND(b, &in)};

    CHECK_INT(go_select(cases, 2), 1); /* b has room */
    CHECK_INT(go_recv(b, int), 3);
    go_send(a, 8);
    go_send(b, 0);
    CHECK_INT(go_select(cases, 2), 0);
    CHECK(cases[0].ok);
    CHECK_INT(out, 8);
    CHECK_INT(go_select_default(&cases[0], 1), -EAGAIN);
    go_send(a, 9);
    CHECK_INT(go_select_default(&cases[0], 1), 0);
    CHECK(cases[0].ok);
    CHECK_INT(out, 9);
    go_chan_unref(a);
    go_chan_unref(b);
}

GO_TEST(a_closed_channel_is_always_ready_to_receive)
{
    struct go_chan *c = go_chan_new(sizeof(int), 1), *never = go_chan_new(0, 0);
    int v = 7;
    struct go_case cases[] = {GO_CASE_RECV(never, NULL), GO_CASE_RECV(c, &v)};

    go_chan_close(c);
    CHECK_INT(go_select(cases, 2), 1);
    CHECK(!cases[1].ok);
    CHECK_INT(v, 0);
    v = 7;
    CHECK_INT(go_select_default(&cases[1], 1), 0);
    CHECK(!cases[1].ok);
    CHECK_INT(v, 0);
    go_chan_unref(c);
    go_chan_unref(never);
}

/* --- parking --------------------------------------------------------------------------------- */

struct waiter {
    struct go_chan *a, *b, *done;
    int sent, got, chosen;
    bool ok;
};

static void
select_recv_a_send_b(struct waiter *w)
{
    struct go_case cases[] = {
        GO_CASE_RECV(w->a, &w->got),
        GO_CASE_SEND(w->b, &w->sent),
    };

    w->chosen = go_select(cases, 2);
    w->ok = cases[0].ok;
    go_chan_send(w->done, NULL);
}

static void
waiter_init(struct waiter *w)
{
    int64_t id;

    *w = (struct waiter){.a = go_chan_new(sizeof(int), 0),
                         .b = go_chan_new(sizeof(int), 0),
                         .done = go_chan_new(0, 1),
                         .sent = 21,
                         .got = 77,
                         .chosen = -1};
    id = go(select_recv_a_send_b, w);
    AWAIT(await_parked(id, "select"));
}

static void
waiter_fini(struct waiter *w)
{
    go_chan_unref(w->a);
    go_chan_unref(w->b);
    go_chan_unref(w->done);
}

GO_TEST(a_parked_select_is_woken_by_any_of_its_cases)
{
    struct waiter w;

    waiter_init(&w);
    go_send(w.a, 5);
    CHECK(go_chan_recv(w.done, NULL));
    CHECK_INT(w.chosen, 0);
    CHECK_INT(w.got, 5);
    CHECK(w.ok);
    CHECK_INT(go_chan_try_recv(w.b, NULL), -EAGAIN); /* the loser stands there no more */
    waiter_fini(&w);

    waiter_init(&w);
    CHECK_INT(go_recv(w.b, int), 21);
    CHECK(go_chan_recv(w.done, NULL));
    CHECK_INT(w.chosen, 1);
    CHECK_INT(w.got, 77);
    CHECK_INT(go_chan_try_send(w.a, &w.sent), -EAGAIN);
    waiter_fini(&w);

    waiter_init(&w);
    go_chan_close(w.a);
    CHECK(go_chan_recv(w.done, NULL));
    CHECK_INT(w.chosen, 0);
    CHECK_INT(w.got, 0);
    CHECK(!w.ok);
    waiter_fini(&w);
}

static void
select_nothing(void)
{
    (void)go_select(NULL, 0);
}

GO_TEST(a_select_without_cases_parks_for_ever)
{
    int64_t id = go(select_nothing);

    AWAIT(await_parked(id, "select (no cases)"));
}

GO_TEST(a_deadline_ends_the_wait_but_not_before)
{
    struct go_chan *c = go_chan_new(sizeof(int), 0);
    struct go_case cases[] = {GO_CASE_RECV(c, NULL), GO_CASE_RECV(c, NULL)};

    for (int i = 0; i < 50; i++) {
        int64_t deadline = go_now() + i * 20 * GO_MICROSECOND;

        CHECK_INT(go_select_until(cases, 2, deadline), -ETIMEDOUT);
        CHECK(go_now() >= deadline);
    }
    CHECK_INT(go_chan_try_send(c, &(int){0}), -EAGAIN);
    go_chan_unref(c);
}

/* Two selects that send and receive on the same channel must not talk to themselves. */
static void
exchange(struct go_chan *c, struct go_chan *done, int rounds)
{
    for (int i = 0; i < rounds; i++) {
        int in = 0, out = 1;
        struct go_case cases[] = {GO_CASE_SEND(c, &out), GO_CASE_RECV(c, &in)};

        go_select(cases, 2);
    }
    go_chan_send(done, NULL);
}

GO_TEST(a_select_never_meets_itself)
{
    struct go_chan *c = go_chan_new(sizeof(int), 0), *done = go_chan_new(0, 4);
    int64_t id = go(exchange, c, done, 1);

    AWAIT(await_parked(id, "select"));
    CHECK_INT(go_chan_len(done), 0);
    go_send(c, 1);
    CHECK(go_chan_recv(done, NULL));
    /* Two that only have each other: each operation takes one of each. */
    go(exchange, c, done, ROUNDS(20000));
    go(exchange, c, done, ROUNDS(20000));
    for (int i = 0; i < 2; i++)
        CHECK(go_chan_recv(done, NULL));
    go_chan_unref(c);
    go_chan_unref(done);
}

/* --- fairness --------------------------------------------------------------------------------- */

/* Uniform over k: 5 standard deviations either way, wrong once in a million runs. */
static bool
is_even(const int *count, int k, int n)
{
    double mean = (double)n / k, var = mean * (1 - 1.0 / k);

    for (int i = 0; i < k; i++)
        if ((count[i] - mean) * (count[i] - mean) > 25 * var) {
            fprintf(stderr, "case %d of %d chosen %d times of %d\n", i, k, count[i], n);
            return false;
        }
    return true;
}

GO_TEST(among_ready_cases_the_choice_is_even)
{
    enum { MAX = 9, N = 20000 };
    struct go_chan *c[MAX];

    for (int k = 2; k <= MAX; k++) { /* both ways to sort the locks: up to 4, and more */
        struct go_case cases[MAX];
        int count[MAX] = {0};

        for (int i = 0; i < k; i++) {
            c[i] = go_chan_new(0, 1);
            if (i % 2 == 0)
                go_chan_send(c[i], NULL);
            cases[i] = (struct go_case){.chan = c[i],
                                        .op = i % 2 == 0 ? GO_OP_RECV : GO_OP_SEND};
        }
        for (int n = 0; n < N; n++) {
            int i = n % 2 == 0 ? go_select(cases, (size_t)k)
                               : go_select_default(cases, (size_t)k);

            REQUIRE(i >= 0 && i < k);
            count[i]++;
            if (cases[i].op == GO_OP_RECV) /* make it ready again */
                go_chan_send(c[i], NULL);
            else
                CHECK(go_chan_recv(c[i], NULL));
        }
        CHECK(is_even(count, k, N));
        for (int i = 0; i < k; i++)
            go_chan_unref(c[i]);
    }
}

GO_TEST(the_same_channel_twice_has_two_chances)
{
    enum { N = 30000 };
    struct go_chan *a = go_chan_new(0, 1), *b = go_chan_new(0, 1);
    struct go_case cases[] = {GO_CASE_RECV(a, NULL), GO_CASE_RECV(b, NULL),
                              GO_CASE_RECV(a, NULL)};
    int count[3] = {0};

    go_chan_send(a, NULL);
    go_chan_send(b, NULL);
    for (int n = 0; n < N; n++) {
        int i = go_select(cases, 3);

        count[i]++;
        go_chan_send(cases[i].chan, NULL);
    }
    CHECK(is_even(count, 3, N));
    go_chan_unref(a);
    go_chan_unref(b);
}

GO_TEST(many_cases_work_as_few)
{
    enum { MANY = 1000 };
    struct go_case *cases = (struct go_case *)calloc(MANY, sizeof(*cases));
    bool seen[MANY] = {false};

    for (int i = 0; i < MANY; i++) {
        cases[i] =
            (struct go_case){.chan = go_chan_new(sizeof(int), 1), .op = GO_OP_RECV};
        cases[i].elem = malloc(sizeof(int));
    }
    CHECK_INT(go_select_default(cases, MANY), -EAGAIN);
    for (int i = 0; i < MANY; i++)
        go_send(cases[i].chan, i);
    for (int n = 0; n < MANY; n++) {
        int i = go_select(cases, MANY);

        CHECK_INT(*(int *)cases[i].elem, i);
        CHECK(!seen[i]);
        seen[i] = true;
    }
    for (int i = 0; i < MANY; i++) {
        go_chan_unref(cases[i].chan);
        free(cases[i].elem);
    }
    free(cases);
}

/* --- races ------------------------------------------------------------------------------------ */

/* Several selects wait on two channels while both are closed: all see an end, none hangs. */
static void
drain_two(struct go_chan *a, struct go_chan *b, int64_t *sum, struct go_wg *wg)
{
    struct go_chan *open[2] = {a, b};

    while (open[0] != NULL || open[1] != NULL) {
        int v[2] = {0, 0}, i;
        struct go_case cases[] = {GO_CASE_RECV(open[0], &v[0]),
                                  GO_CASE_RECV(open[1], &v[1])};

        i = go_select(cases, 2);
        if (cases[i].ok)
            __atomic_fetch_add(sum, v[i], __ATOMIC_RELAXED);
        else
            open[i] = NULL; /* the idiom: a nil channel drops out */
    }
    go_wg_done(wg);
}

static void
send_and_close(struct go_chan *c, int n)
{
    for (int i = 1; i <= n; i++)
        go_send(c, i);
    go_chan_close(c);
}

static void
close_under_selects(int rounds)
{
    for (int r = 0; r < rounds; r++) {
        struct go_chan *a = go_chan_new(sizeof(int), r % 3),
                       *b = go_chan_new(sizeof(int), 0);
        struct go_wg wg = GO_WG_INIT;
        int64_t sum = 0;

        go_wg_add(&wg, 4);
        for (int i = 0; i < 4; i++)
            CHECK(go(drain_two, a, b, &sum, &wg) > 0);
        CHECK(go(send_and_close, a, r % 7) > 0);
        send_and_close(b, r % 5);
        go_wg_wait(&wg);
        CHECK_INT(sum, (r % 7) * (r % 7 + 1) / 2 + (r % 5) * (r % 5 + 1) / 2);
        go_chan_unref(a);
        go_chan_unref(b);
    }
}

GO_TEST(closing_under_waiting_selects_ends_them_all)
{
    int old = go_maxprocs(4);

    close_under_selects(ROUNDS(5000));
    go_maxprocs(old);
}

static const size_t sizes[] = {0, 1, 8, 4096};
static const int crowds[][2] = {{1, 1}, {8, 8}, {64, 16}};

GO_TEST(nothing_is_lost_whoever_selects_tries_or_waits)
{
    int old = go_maxprocs(4);

    for (int way = TRANSFER_SELECT; way <= TRANSFER_MIXED; way++) {
        /* Whoever only tries, spins: with more Ps than CPUs that is slow. */
        go_maxprocs(way == TRANSFER_SELECT ? 4 : 2);
        for (size_t s = 0; s < sizeof(sizes) / sizeof(*sizes); s++)
            for (size_t cap = 0; cap < 3; cap += 2)
                for (size_t n = 0; n < sizeof(crowds) / sizeof(*crowds); n++) {
                    struct transfer t = {.size = sizes[s],
                                         .senders = crowds[n][0],
                                         .receivers = crowds[n][1],
                                         .way = (enum transfer_way)way};

                    t.each = (uint32_t)ROUNDS(way == TRANSFER_SELECT ? 4000 : 640) /
                             (uint32_t)t.senders;
                    transfer_run(&t, cap);
                }
    }
    go_maxprocs(old);
}

/* A deadline racing with a send: each value is received once, whoever was first. */
static void
race_deadlines(int rounds)
{
    struct go_chan *c = go_chan_new(sizeof(int), 0);
    int64_t taken = 0;

    CHECK(go(send_and_close, c, rounds) > 0);
    for (;;) {
        int v;
        struct go_case recv = GO_CASE_RECV(c, &v);
        int i =
            go_select_until(&recv, 1, go_now() + (int64_t)(taken % 4) * GO_MICROSECOND);

        if (i == -ETIMEDOUT)
            continue;
        if (!recv.ok)
            break;
        CHECK_INT(v, taken + 1);
        taken++;
    }
    CHECK_INT(taken, rounds);
    go_chan_unref(c);
}

GO_TEST(a_deadline_loses_nothing)
{
    race_deadlines(ROUNDS(20000));
}

static int
seeded_select(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    for (size_t s = 0; s < sizeof(sizes) / sizeof(*sizes); s++) {
        struct transfer t = {.size = sizes[s],
                             .senders = 3,
                             .receivers = 3,
                             .each = 12,
                             .way = s % 2 == 0 ? TRANSFER_MIXED : TRANSFER_SELECT};

        transfer_run(&t, s % 3);
    }
    close_under_selects(12);
    race_deadlines(20);
    return 0;
}

static void
selects_hold_under_any_seed(void **state)
{
    (void)state;
    child_seeds("seeded_select", ROUNDS(600));
}

static int
select_send_on_closed(int argc, char **argv)
{
    struct go_chan *c = go_chan_new(0, 0);
    struct go_case cases[] = {GO_CASE_SEND(c, NULL), GO_CASE_RECV(NULL, NULL)};

    (void)argc;
    (void)argv;
    go_chan_close(c);
    (void)go_select(cases, 2);
    return 0;
}

static int
close_under_selected_send(int argc, char **argv)
{
    struct waiter w;

    (void)argc;
    (void)argv;
    waiter_init(&w);
    go_chan_close(w.b);
    (void)go_chan_recv(w.done, NULL);
    return 0;
}

static int
too_many_cases(int argc, char **argv)
{
    size_t n = 65536;
    struct go_case *cases = (struct go_case *)calloc(n, sizeof(*cases));

    (void)argc;
    (void)argv;
    (void)go_select_default(cases, n);
    return 0;
}

static void
misuse_panics_in_words(void **state)
{
    (void)state;
    child_expect("select_send_on_closed", 2, "panic: send on closed channel");
    child_expect("close_under_selected_send", 2, "panic: send on closed channel");
    child_expect("too_many_cases", 2, "panic: select of 65536 cases: at most 65535");
}

int
main(int argc, char **argv)
{
    static const struct child_case children[] = {
        {"select_send_on_closed", select_send_on_closed, false},
        {"close_under_selected_send", close_under_selected_send, false},
        {"too_many_cases", too_many_cases, false},
        {"seeded_select", seeded_select, false},
    };
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(default_is_taken_when_no_case_is_ready),
        cmocka_unit_test(the_one_ready_case_is_chosen),
        cmocka_unit_test(a_closed_channel_is_always_ready_to_receive),
        cmocka_unit_test(a_parked_select_is_woken_by_any_of_its_cases),
        cmocka_unit_test(a_select_without_cases_parks_for_ever),
        cmocka_unit_test(a_deadline_ends_the_wait_but_not_before),
        cmocka_unit_test(a_select_never_meets_itself),
        cmocka_unit_test(among_ready_cases_the_choice_is_even),
        cmocka_unit_test(the_same_channel_twice_has_two_chances),
        cmocka_unit_test(many_cases_work_as_few),
        cmocka_unit_test(closing_under_waiting_selects_ends_them_all),
        cmocka_unit_test(nothing_is_lost_whoever_selects_tries_or_waits),
        cmocka_unit_test(a_deadline_loses_nothing),
        cmocka_unit_test(selects_hold_under_any_seed),
        cmocka_unit_test(misuse_panics_in_words),
    };

    CHILD_MAIN(argc, argv, children);
    return cmocka_run_group_tests_name("select", tests, NULL, NULL);
}
