#define _GNU_SOURCE
#include "tests/support/child.h"
#include "tests/support/foreign.h"

static int
ok(struct go_ctx *ctx, void *arg)
{
    (void)ctx;
    __atomic_add_fetch((int32_t *)arg, 1, __ATOMIC_RELAXED);
    return 0;
}

static int
fail_with(struct go_ctx *ctx, void *arg)
{
    (void)ctx;
    return *(int *)arg;
}

/* Ends only with the group's context. */
static int
until_cancelled(struct go_ctx *ctx, void *arg)
{
    (void)go_chan_recv(go_ctx_done(ctx), NULL);
    __atomic_add_fetch((int32_t *)arg, 1, __ATOMIC_RELAXED);
    return go_ctx_err(ctx);
}

GO_TEST(wait_waits_for_all_and_returns_0_when_all_succeed)
{
    struct go_group g;
    int32_t ran = 0;

    REQUIRE(go_group_init(&g, NULL, 0) == 0);
    for (int i = 0; i < 100; i++)
        CHECK_INT(go_group_go(&g, ok, &ran), 0);
    CHECK_INT(go_group_wait(&g), 0);
    CHECK_INT(ran, 100);
}

GO_TEST(the_first_error_cancels_the_rest_and_is_what_wait_returns)
{
    struct go_group g;
    struct go_ctx *ctx;
    int32_t ended = 0;
    int err = -EIO;

    REQUIRE(go_group_init(&g, NULL, 0) == 0);
    ctx = go_ctx_ref(g.ctx);
    for (int i = 0; i < 10; i++)
        CHECK_INT(go_group_go(&g, until_cancelled, &ended), 0);
    CHECK_INT(go_group_go(&g, fail_with, &err), 0);
    CHECK_INT(go_group_wait(&g), -EIO);
    CHECK_INT(ended, 10);
    CHECK_INT(go_ctx_err(ctx), -ECANCELED);
    CHECK_INT(go_ctx_cause(ctx, NULL), -EIO);
    go_ctx_unref(ctx);
}

GO_TEST(the_parents_end_ends_the_group)
{
    struct go_ctx *parent = go_ctx_with_cancel(NULL);
    struct go_group g;
    int32_t ended = 0;

    REQUIRE(go_group_init(&g, parent, 0) == 0);
    for (int i = 0; i < 10; i++)
        CHECK_INT(go_group_go(&g, until_cancelled, &ended), 0);
    go_ctx_cancel(parent);
    CHECK_INT(go_group_wait(&g), -ECANCELED);
    CHECK_INT(ended, 10);
    go_ctx_unref(parent);
}

GO_TEST(wait_cancels_the_groups_context)
{
    struct go_group g;
    struct go_ctx *ctx;

    REQUIRE(go_group_init(&g, NULL, 2) == 0);
    ctx = go_ctx_ref(g.ctx);
    CHECK_INT(go_group_wait(&g), 0);
    CHECK_INT(go_ctx_err(ctx), -ECANCELED);
    go_ctx_unref(ctx);
}

static int32_t running, most; /* atomic */

static int
count_running(struct go_ctx *ctx, void *arg)
{
    int32_t n = __atomic_add_fetch(&running, 1, __ATOMIC_RELAXED);

    (void)ctx;
    (void)arg;
    if (n > __atomic_load_n(&most, __ATOMIC_RELAXED))
        __atomic_store_n(&most, n, __ATOMIC_RELAXED);
    go_yield();
    __atomic_add_fetch(&running, -1, __ATOMIC_RELAXED);
    return 0;
}

GO_TEST(no_more_than_limit_run_at_once)
{
    struct go_group g;

    REQUIRE(go_group_init(&g, NULL, 3) == 0);
    for (int i = 0; i < 500; i++)
        CHECK_INT(go_group_go(&g, count_running, NULL), 0);
    CHECK_INT(go_group_wait(&g), 0);
    CHECK_INT(running, 0);
    CHECK(most >= 1 && most <= 3);
}

GO_TEST(trygo_does_not_park_at_the_limit)
{
    struct go_ctx *parent = go_ctx_with_cancel(NULL);
    struct go_group g;
    int32_t ended = 0;

    REQUIRE(go_group_init(&g, parent, 2) == 0);
    CHECK_INT(go_group_trygo(&g, until_cancelled, &ended), 0);
    CHECK_INT(go_group_trygo(&g, until_cancelled, &ended), 0);
    CHECK_INT(go_group_trygo(&g, until_cancelled, &ended), -EAGAIN);
    go_ctx_cancel(parent);
    CHECK_INT(go_group_wait(&g), -ECANCELED);
    CHECK_INT(ended, 2);
    go_ctx_unref(parent);
}

static void *
group_foreign(void *arg)
{
    struct go_group g;

    REQUIRE(go_group_init(&g, NULL, 4) == 0);
    for (int i = 0; i < 200; i++)
        CHECK_INT(go_group_go(&g, ok, arg), 0);
    CHECK_INT(go_group_wait(&g), 0);
    return NULL;
}

GO_TEST(a_foreign_thread_runs_a_group_on_its_stack)
{
    int32_t ran = 0;
    pthread_t t[2];

    for (int i = 0; i < 2; i++)
        t[i] = foreign_start(group_foreign, &ran);
    for (int i = 0; i < 2; i++)
        foreign_join(t[i]);
    CHECK_INT(ran, 400);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wait_waits_for_all_and_returns_0_when_all_succeed),
        cmocka_unit_test(the_first_error_cancels_the_rest_and_is_what_wait_returns),
        cmocka_unit_test(the_parents_end_ends_the_group),
        cmocka_unit_test(wait_cancels_the_groups_context),
        cmocka_unit_test(no_more_than_limit_run_at_once),
        cmocka_unit_test(trygo_does_not_park_at_the_limit),
        cmocka_unit_test(a_foreign_thread_runs_a_group_on_its_stack),
    };

    return cmocka_run_group_tests_name("group", tests, NULL, NULL);
}
