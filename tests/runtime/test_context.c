#define _GNU_SOURCE
#include <malloc.h>

#include "tests/support/child.h"
#include "tests/support/foreign.h"

#define LONG (3600 * GO_SECOND)

static bool
is_done(struct go_ctx *ctx)
{
    struct go_chan *done = go_ctx_done(ctx);

    return done != NULL && go_chan_try_recv(done, NULL) == 0;
}

static void
check_alive(struct go_ctx *ctx)
{
    CHECK(!is_done(ctx));
    CHECK_INT(go_ctx_err(ctx), 0);
    CHECK_INT(go_ctx_cause(ctx, NULL), 0);
}

static void
check_ended(struct go_ctx *ctx, int err)
{
    CHECK(is_done(ctx));
    CHECK_INT(go_ctx_err(ctx), err);
}

/* --- one context --- */

GO_TEST(the_background_never_ends)
{
    struct go_ctx *bg = go_ctx_background(), *v = go_ctx_with_value(bg, bg, NULL);
    int64_t d;

    CHECK(go_ctx_done(bg) == NULL);
    CHECK_INT(go_ctx_err(bg), 0);
    CHECK(!go_ctx_deadline(bg, &d));
    CHECK(go_ctx_value(bg, bg) == NULL);
    go_ctx_cancel(bg);
    go_ctx_unref(bg);
    CHECK_INT(go_ctx_err(bg), 0);
    CHECK(go_ctx_done(v) == NULL);
    CHECK_INT(go_ctx_err(NULL), 0);
    CHECK(go_ctx_done(NULL) == NULL);
    go_ctx_unref(v);
    go_ctx_unref(NULL);
}

GO_TEST(cancel_ends_a_context_once)
{
    struct go_ctx *ctx = go_ctx_with_cancel(go_ctx_background());
    const char *text = "?";
    int64_t d;

    CHECK(!go_ctx_deadline(ctx, &d));
    check_alive(ctx);
    go_ctx_cancel(ctx);
    check_ended(ctx, -ECANCELED);
    CHECK_INT(go_ctx_cause(ctx, &text), -ECANCELED);
    CHECK(text == NULL);
    go_ctx_cancel_cause(ctx, -EIO, "too late");
    CHECK_INT(go_ctx_cause(ctx, &text), -ECANCELED);
    CHECK(text == NULL);
    go_ctx_unref(ctx);
}

GO_TEST(done_asked_for_after_the_end_is_closed)
{
    struct go_ctx *ctx = go_ctx_with_cancel(NULL);

    go_ctx_cancel(ctx);
    CHECK(is_done(ctx));
    CHECK(go_ctx_done(ctx) == go_ctx_done(ctx));
    go_ctx_unref(ctx);
}

GO_TEST(the_last_unref_cancels)
{
    struct go_ctx *ctx = go_ctx_with_timeout(NULL, LONG);
    struct go_chan *done = go_chan_ref(go_ctx_done(ctx));

    go_ctx_unref(go_ctx_ref(ctx));
    CHECK_INT(go_chan_try_recv(done, NULL), -EAGAIN);
    go_ctx_unref(ctx);
    CHECK_INT(go_chan_try_recv(done, NULL), 0);
    go_chan_unref(done);
}

GO_TEST(a_cause_is_recorded_where_it_began_and_inherited)
{
    struct go_ctx *a = go_ctx_with_cancel(NULL), *b = go_ctx_with_timeout(a, LONG),
                  *c = go_ctx_with_value(b, &a, NULL), *d = go_ctx_with_cancel(c), *late;
    const char *text = NULL;

    go_ctx_cancel_cause(d, -EPIPE, "leaf");
    go_ctx_cancel_cause(a, -EIO, "disk on fire");
    CHECK_INT(go_ctx_err(a), -ECANCELED);
    CHECK_INT(go_ctx_cause(b, &text), -EIO);
    CHECK(strcmp(text, "disk on fire") == 0);
    CHECK_INT(go_ctx_cause(c, NULL), -EIO);
    CHECK_INT(go_ctx_cause(d, &text), -EPIPE);
    CHECK(strcmp(text, "leaf") == 0);
    late = go_ctx_with_timeout(c, LONG);
    check_ended(late, -ECANCELED);
    CHECK_INT(go_ctx_cause(late, NULL), -EIO);
    go_ctx_unref(late);
    go_ctx_unref(d);
    go_ctx_unref(c);
    go_ctx_unref(b);
    go_ctx_unref(a);
}

/* --- deadlines --- */

GO_TEST(a_deadline_ends_a_context_in_time)
{
    int64_t deadline = go_deadline(5 * GO_MILLISECOND), d = 0;
    struct go_ctx *ctx = go_ctx_with_deadline(NULL, deadline);
    struct go_ctx *child = go_ctx_with_cancel(ctx);

    CHECK(go_ctx_deadline(ctx, &d));
    CHECK_INT(d, deadline);
    CHECK(go_ctx_deadline(child, &d));
    CHECK_INT(d, deadline);
    CHECK(!go_chan_recv(go_ctx_done(child), NULL));
    CHECK(go_now() >= deadline);
    check_ended(ctx, -ETIMEDOUT);
    check_ended(child, -ETIMEDOUT);
    CHECK_INT(go_ctx_cause(child, NULL), -ETIMEDOUT);
    go_ctx_unref(child);
    go_ctx_unref(ctx);
}

GO_TEST(a_child_cannot_outlive_its_parents_deadline)
{
    struct go_ctx *a = go_ctx_with_timeout(NULL, 2 * GO_MILLISECOND);
    struct go_ctx *b = go_ctx_with_timeout(a, LONG), *c = go_ctx_with_timeout(b, LONG);
    int64_t da = 0, dc = 1;

    CHECK(go_ctx_deadline(a, &da) && go_ctx_deadline(c, &dc));
    CHECK_INT(da, dc);
    CHECK(!go_chan_recv(go_ctx_done(c), NULL));
    check_ended(c, -ETIMEDOUT);
    go_ctx_unref(c);
    go_ctx_unref(b);
    go_ctx_unref(a);
}

GO_TEST(a_childs_earlier_deadline_leaves_the_parent_alone)
{
    struct go_ctx *a = go_ctx_with_timeout(NULL, LONG);
    struct go_ctx *b = go_ctx_with_timeout(a, GO_MILLISECOND);

    CHECK(!go_chan_recv(go_ctx_done(b), NULL));
    check_ended(b, -ETIMEDOUT);
    check_alive(a);
    go_ctx_unref(b);
    go_ctx_unref(a);
}

GO_TEST(a_deadline_that_has_passed_ends_a_context_at_birth)
{
    struct go_ctx *a = go_ctx_with_deadline(NULL, go_now() - 1);
    struct go_ctx *b = go_ctx_with_timeout(NULL, 0),
                  *c = go_ctx_with_timeout(NULL, INT64_MIN);
    struct go_ctx *d = go_ctx_with_timeout(NULL, INT64_MAX);

    check_ended(a, -ETIMEDOUT);
    check_ended(b, -ETIMEDOUT);
    check_ended(c, -ETIMEDOUT);
    check_alive(d);
    go_ctx_unref(a);
    go_ctx_unref(b);
    go_ctx_unref(c);
    go_ctx_unref(d);
}

GO_TEST(a_cancelled_timeout_does_not_fire)
{
    struct go_ctx *ctx = go_ctx_with_timeout(NULL, 2 * GO_MILLISECOND);

    go_ctx_cancel(ctx);
    go_sleep(4 * GO_MILLISECOND);
    check_ended(ctx, -ECANCELED);
    go_ctx_unref(ctx);
}

/* --- trees --- */

GO_TEST(a_parent_ends_all_below_and_nothing_beside)
{
    struct go_ctx *root = go_ctx_with_cancel(NULL);
    struct go_ctx *a = go_ctx_with_cancel(root), *beside = go_ctx_with_cancel(root);
    struct go_ctx *value = go_ctx_with_value(a, &root, NULL);
    struct go_ctx *b = go_ctx_with_timeout(value, LONG), *c = go_ctx_with_cancel(b);

    check_alive(value);
    check_alive(c);
    go_ctx_cancel(a);
    check_ended(a, -ECANCELED);
    check_ended(value, -ECANCELED);
    check_ended(b, -ECANCELED);
    check_ended(c, -ECANCELED);
    check_alive(root);
    check_alive(beside);
    go_ctx_unref(root); /* held by its children */
    go_ctx_unref(a);
    go_ctx_unref(value);
    go_ctx_unref(b);
    go_ctx_unref(c);
    check_alive(beside);
    go_ctx_unref(beside);
}

GO_TEST(a_child_may_end_first)
{
    struct go_ctx *a = go_ctx_with_cancel(NULL), *b = go_ctx_with_cancel(a);

    go_ctx_cancel(b);
    check_ended(b, -ECANCELED);
    check_alive(a);
    go_ctx_unref(b);
    b = go_ctx_with_cancel(a);
    check_alive(b);
    go_ctx_cancel(a);
    check_ended(b, -ECANCELED);
    go_ctx_unref(a);
    go_ctx_unref(b);
}

GO_TEST(cancelling_a_value_context_does_nothing)
{
    struct go_ctx *a = go_ctx_with_cancel(NULL), *v = go_ctx_with_value(a, &a, a);

    go_ctx_cancel(v);
    check_alive(a);
    go_ctx_unref(v);
    go_ctx_unref(a);
}

GO_TEST(values_are_found_upwards_nearest_first)
{
    static const int k1, k2, k3;
    int v1, v2, v3;
    struct go_ctx *a = go_ctx_with_value(NULL, &k1, &v1), *b = go_ctx_with_cancel(a),
                  *c = go_ctx_with_value(b, &k2, &v2),
                  *d = go_ctx_with_value(c, &k1, &v3);

    CHECK(go_ctx_value(a, &k1) == &v1);
    CHECK(go_ctx_value(a, &k2) == NULL);
    CHECK(go_ctx_value(b, &k1) == &v1);
    CHECK(go_ctx_value(d, &k1) == &v3);
    CHECK(go_ctx_value(d, &k2) == &v2);
    CHECK(go_ctx_value(d, &k3) == NULL);
    CHECK(go_ctx_value(d, NULL) == NULL);
    go_ctx_unref(a);
    go_ctx_unref(b);
    go_ctx_unref(c);
    CHECK(go_ctx_value(d, &k2) == &v2);
    go_ctx_unref(d);
}

GO_TEST(without_cancel_keeps_values_only)
{
    struct go_ctx *a = go_ctx_with_timeout(NULL, LONG), *b = go_ctx_with_value(a, &a, a),
                  *c = go_ctx_without_cancel(b), *d = go_ctx_with_cancel(c);
    int64_t when;

    go_ctx_cancel_cause(a, -EIO, "x");
    check_ended(b, -ECANCELED);
    CHECK(go_ctx_done(c) == NULL);
    CHECK_INT(go_ctx_err(c), 0);
    CHECK_INT(go_ctx_cause(c, NULL), 0);
    CHECK(!go_ctx_deadline(c, &when));
    CHECK(!go_ctx_deadline(d, &when));
    check_alive(d);
    CHECK(go_ctx_value(d, &a) == a);
    go_ctx_cancel(d);
    check_ended(d, -ECANCELED);
    go_ctx_unref(a);
    go_ctx_unref(b);
    go_ctx_unref(c);
    go_ctx_unref(d);
}

/* Random towers of all kinds, as in Go's own test: values stay findable, and one end, by
 * cancellation or by deadline, reaches the top. */
static void
layers(unsigned r, bool by_timeout)
{
    enum { LAYERS = 30 };
    struct go_ctx *ctx[LAYERS + 1] = {go_ctx_ref(go_ctx_background())}, *first = NULL;
    int keys[LAYERS + 1], values = 0;

    for (int i = 1; i <= LAYERS; i++) {
        r = r * 1103515245 + 12345;
        switch ((r >> 16) % 3) {
        case 0:
            ctx[i] = go_ctx_with_value(ctx[i - 1], &keys[i], &keys[i]);
            values++;
            break;
        case 1:
            ctx[i] = go_ctx_with_cancel(ctx[i - 1]);
            break;
        default:
            ctx[i] = go_ctx_with_timeout(
                ctx[i - 1], by_timeout && first == NULL ? GO_MILLISECOND : LONG);
            if (first == NULL)
                first = ctx[i];
        }
        REQUIRE(ctx[i] != NULL);
    }
    for (int i = 1; i <= LAYERS; i++)
        values -= go_ctx_value(ctx[LAYERS], &keys[i]) == &keys[i];
    CHECK_INT(values, 0);
    if (first != NULL) {
        check_alive(by_timeout ? NULL : ctx[LAYERS]);
        if (!by_timeout)
            go_ctx_cancel(first);
        CHECK(!go_chan_recv(go_ctx_done(ctx[LAYERS]), NULL));
        check_ended(ctx[LAYERS], by_timeout ? -ETIMEDOUT : -ECANCELED);
    }
    for (int i = 0; i <= LAYERS; i++)
        go_ctx_unref(ctx[(i * 7) % (LAYERS + 1)]);
}

GO_TEST(random_towers_behave)
{
    for (unsigned i = 0; i < 30; i++) {
        layers(i, false);
        layers(i, true);
    }
}

GO_TEST(a_tower_of_100000_needs_no_deep_stack)
{
    enum { N = 100000 };
    struct go_ctx **ctx = calloc(N, sizeof(*ctx));

    REQUIRE(ctx != NULL);
    for (int i = 0; i < N; i++) {
        ctx[i] = go_ctx_with_cancel(i > 0 ? ctx[i - 1] : NULL);
        REQUIRE(ctx[i] != NULL);
    }
    for (int i = 0; i < N - 1; i++)
        go_ctx_unref(ctx[i]);
    go_ctx_cancel(ctx[0]); /* alive: held through all above it */
    CHECK_INT(go_ctx_err(ctx[N - 1]), -ECANCELED);
    go_ctx_unref(ctx[N - 1]);
    free((void *)ctx);
}

GO_TEST(a_cancelled_child_costs_its_parent_nothing)
{
    struct go_ctx *parent = go_ctx_with_cancel(NULL);
    size_t before;

    for (int round = 0; round < 2; round++) {
        before = mallinfo2().uordblks;
        for (int i = 0; i < 50000; i++) {
            struct go_ctx *c =
                i % 2 ? go_ctx_with_timeout(parent, LONG) : go_ctx_with_cancel(parent);

            (void)go_ctx_done(c);
            if (i % 3)
                go_ctx_cancel(c);
            go_ctx_unref(c);
        }
    }
    CHECK(mallinfo2().uordblks < before + 50000 * 8); /* not 8 bytes a child */
    go_ctx_unref(parent);
}

/* --- several at once --- */

static void
cancel_it(struct go_ctx *ctx)
{
    go_ctx_cancel(ctx);
}

static void
await_done(struct go_ctx *ctx)
{
    CHECK(!go_chan_recv(go_ctx_done(ctx), NULL));
    CHECK(go_ctx_err(ctx) != 0);
}

static void
cancel_everywhere_at_once(int n)
{
    struct go_ctx *ctx[64], *root = go_ctx_with_cancel(NULL);
    struct go_wg wg = GO_WG_INIT;

    for (int i = 0; i < n; i++) { /* a binary tree */
        ctx[i] = go_ctx_with_timeout(i > 0 ? ctx[(i - 1) / 2] : root, LONG);
        REQUIRE(go_wg_go(&wg, await_done, ctx[i]) > 0);
    }
    for (int i = n - 1; i >= 0; i--)
        REQUIRE(go_wg_go(&wg, cancel_it, ctx[i * 13 % n]) > 0);
    go_ctx_cancel(root);
    go_wg_wait(&wg);
    for (int i = 0; i < n; i++)
        go_ctx_unref(ctx[i]);
    go_ctx_unref(root);
}

GO_TEST(a_tree_may_be_cancelled_everywhere_at_once)
{
    int before = go_maxprocs(4);

    for (int i = 0; i < 100; i++)
        cancel_everywhere_at_once(64);
    go_maxprocs(before);
}

/* The child's end makes a goroutine cancel the parent, and the other way round. */
static void
cancel_after(struct go_ctx *first, struct go_ctx *then)
{
    await_done(first);
    go_ctx_cancel(then);
}

GO_TEST(parent_and_child_may_cancel_each_other)
{
    for (int i = 0; i < 300; i++) {
        struct go_ctx *a = go_ctx_with_cancel(NULL), *b = go_ctx_with_cancel(a);
        struct go_wg wg = GO_WG_INIT;

        REQUIRE(go_wg_go(&wg, cancel_after, a, b) > 0);
        REQUIRE(go_wg_go(&wg, cancel_after, b, a) > 0);
        go_ctx_cancel(i % 2 ? a : b);
        go_wg_wait(&wg);
        go_ctx_unref(a);
        go_ctx_unref(b);
    }
}

/* Children come, wait in every way there is, and go, while the parent ends under them
 * and deadlines of about their life's length fire: whatever is freed too early, freed
 * twice or never woken shows here, with a sanitizer or as a hang. */
struct churn {
    struct go_ctx *parent;
    struct go_sem none; /* nothing to be had */
    int loops;
};

static void
live_and_die(struct churn *ch, int i)
{
    struct go_ctx *c = i % 3 == 0 ? go_ctx_with_cancel(ch->parent)
                                  : go_ctx_with_timeout(ch->parent, i % 7 * 3000),
                  *gc = i % 2 ? go_ctx_with_timeout(c, i % 5 * 2000) : go_ctx_ref(c);
    struct go_ctx *v = go_ctx_with_value(gc, ch, ch);
    int r = 0;

    REQUIRE(v != NULL);
    go_ctx_unref(gc);
    if (i % 2 == 0)
        go_ctx_unref(c);
    switch (i % 4) {
    case 0:
        r = go_ctx_sleep(v, 5000);
        break;
    case 1:
        r = go_sem_acquire_ctx(&ch->none, 1, v);
        CHECK(r < 0);
        break;
    case 2:
        (void)go_ctx_done(v);
        break;
    default:
        if (go_ctx_done(v) != NULL)
            (void)go_chan_recv(go_ctx_done(v), NULL);
    }
    CHECK(r == 0 || r == go_ctx_err(v));
    go_ctx_unref(v);
    if (i % 2 != 0)
        go_ctx_unref(c);
}

static void
live_and_die_often(struct churn *ch, int me)
{
    for (int i = 0; i < ch->loops; i++) {
        int kind = me + i;

        /* What ends by its parent only waits for a parent that ends. */
        if (kind % 3 == 0 && (kind % 4 == 1 || kind % 4 == 3) && i + 1 < ch->loops)
            continue;
        live_and_die(ch, kind);
    }
}

static void *
live_foreign(void *arg)
{
    live_and_die_often(arg, 5);
    return NULL;
}

static void *
cancel_foreign(void *arg)
{
    struct churn *ch = arg;

    go_sleep(300 * GO_MICROSECOND);
    go_ctx_cancel(ch->parent);
    return NULL;
}

static void
churn(int rounds, int loops, bool foreign)
{
    for (int round = 0; round < rounds; round++) {
        struct churn ch = {.parent = go_ctx_with_cancel(NULL), .loops = loops};
        struct go_wg wg = GO_WG_INIT;
        pthread_t t[2];

        go_sem_init(&ch.none, 0);
        for (int i = 0; i < 6; i++)
            REQUIRE(go_wg_go(&wg, live_and_die_often, &ch, i) > 0);
        if (foreign) {
            t[0] = foreign_start(live_foreign, &ch);
            t[1] = foreign_start(cancel_foreign, &ch);
        } else {
            go_sleep(round % 10 * 50 * GO_MICROSECOND);
            go_ctx_cancel(ch.parent);
        }
        go_wg_wait(&wg);
        for (int i = 0; foreign && i < 2; i++)
            foreign_join(t[i]);
        go_ctx_unref(ch.parent);
        CHECK(ch.none.q.head == NULL);
    }
}

GO_TEST(contexts_come_and_go_while_their_parent_ends)
{
    int before = go_maxprocs(4);

    churn(30, 100, false);
    churn(30, 100, true);
    go_maxprocs(before);
}

static void
fire_and_unref(int n)
{
    for (int i = 0; i < n; i++) {
        struct go_ctx *c = go_ctx_with_timeout(NULL, i % 16 * 500);

        for (int64_t end = go_now() + i % 13 * 500; go_now() < end;)
            continue;
        if (i % 2)
            go_ctx_cancel(c);
        go_ctx_unref(c);
    }
}

GO_TEST(a_deadline_may_fire_while_its_context_is_freed)
{
    struct go_wg wg = GO_WG_INIT;
    int before = go_maxprocs(4);

    for (int i = 0; i < 4; i++)
        REQUIRE(go_wg_go(&wg, fire_and_unref, 3000) > 0);
    go_wg_wait(&wg);
    go_maxprocs(before);
}

/* --- seeds --- */

static int
seeded(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    cancel_everywhere_at_once(16);
    churn(3, 20, false);
    for (unsigned i = 0; i < 3; i++)
        layers(i, i % 2);
    return 0;
}

static const struct child_case children[] = {{"seeded", seeded, false}};

static void
trees_hold_under_many_seeds(void **state)
{
    (void)state;
    child_seeds("seeded", 200);
}

int
main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_background_never_ends),
        cmocka_unit_test(cancel_ends_a_context_once),
        cmocka_unit_test(done_asked_for_after_the_end_is_closed),
        cmocka_unit_test(the_last_unref_cancels),
        cmocka_unit_test(a_cause_is_recorded_where_it_began_and_inherited),
        cmocka_unit_test(a_deadline_ends_a_context_in_time),
        cmocka_unit_test(a_child_cannot_outlive_its_parents_deadline),
        cmocka_unit_test(a_childs_earlier_deadline_leaves_the_parent_alone),
        cmocka_unit_test(a_deadline_that_has_passed_ends_a_context_at_birth),
        cmocka_unit_test(a_cancelled_timeout_does_not_fire),
        cmocka_unit_test(a_parent_ends_all_below_and_nothing_beside),
        cmocka_unit_test(a_child_may_end_first),
        cmocka_unit_test(cancelling_a_value_context_does_nothing),
        cmocka_unit_test(values_are_found_upwards_nearest_first),
        cmocka_unit_test(without_cancel_keeps_values_only),
        cmocka_unit_test(random_towers_behave),
        cmocka_unit_test(a_tower_of_100000_needs_no_deep_stack),
        cmocka_unit_test(a_cancelled_child_costs_its_parent_nothing),
        cmocka_unit_test(a_tree_may_be_cancelled_everywhere_at_once),
        cmocka_unit_test(parent_and_child_may_cancel_each_other),
        cmocka_unit_test(contexts_come_and_go_while_their_parent_ends),
        cmocka_unit_test(a_deadline_may_fire_while_its_context_is_freed),
        cmocka_unit_test(trees_hold_under_many_seeds),
    };

    CHILD_MAIN(argc, argv, children);
    return cmocka_run_group_tests_name("context", tests, NULL, NULL);
}
