/* What follows a context's end: after_func, and sleep under a context. */
#define _GNU_SOURCE
#include <errno.h>

#include "tests/support/foreign.h"

#define LONG (3600 * GO_SECOND)

static void
send_token(void *arg)
{
    go_chan_send(arg, NULL);
}

GO_TEST(after_func_is_called_by_a_deadline)
{
    struct go_ctx *ctx = go_ctx_with_timeout(NULL, GO_MILLISECOND);
    struct go_chan *c = go_chan_new(0, 4);
    struct go_ctx_after *a = go_ctx_after_func(ctx, send_token, c);

    go_chan_recv(c, NULL);
    CHECK(!go_ctx_after_stop(a));
    go_ctx_unref(ctx);
    go_chan_unref(c);
}

GO_TEST(after_func_is_called_once_by_the_end)
{
    struct go_ctx *ctx = go_ctx_with_cancel(NULL);
    struct go_chan *c = go_chan_new(0, 4);
    struct go_ctx_after *a = go_ctx_after_func(ctx, send_token, c);
    struct go_ctx_after *b = go_ctx_after_func(ctx, send_token, c), *late;

    CHECK_INT(go_chan_try_recv(c, NULL), -EAGAIN);
    go_ctx_cancel(ctx);
    go_chan_recv(c, NULL);
    go_chan_recv(c, NULL);
    CHECK(!go_ctx_after_stop(a));
    CHECK(!go_ctx_after_stop(b));
    late = go_ctx_after_func(ctx, send_token, c); /* ended already: at once */
    go_chan_recv(c, NULL);
    CHECK(!go_ctx_after_stop(late));
    go_ctx_unref(ctx);
    CHECK_INT(go_chan_len(c), 0);
    go_chan_unref(c);
}

GO_TEST(a_stopped_after_func_is_not_called)
{
    struct go_ctx *ctx = go_ctx_with_cancel(NULL);
    struct go_chan *c = go_chan_new(0, 4);
    struct go_ctx_after *a = go_ctx_after_func(ctx, send_token, c);
    struct go_ctx_after *b = go_ctx_after_func(ctx, send_token, c);
    struct go_ctx_after *never = go_ctx_after_func(NULL, send_token, c);

    CHECK(go_ctx_after_stop(a));
    CHECK(go_ctx_after_stop(never));
    go_ctx_cancel(ctx);
    go_chan_recv(c, NULL);
    CHECK(!go_ctx_after_stop(b));
    CHECK_INT(go_chan_len(c), 0);
    go_ctx_unref(ctx);
    go_chan_unref(c);
}

static void
sleep_in(struct go_ctx *ctx, int *ret)
{
    *ret = go_ctx_sleep(ctx, LONG);
}

GO_TEST(sleep_ends_with_its_time_or_its_context)
{
    struct go_ctx *ctx = go_ctx_with_cancel(NULL);
    struct go_wg wg = GO_WG_INIT;
    int64_t before = go_now();
    int r = 1;

    CHECK_INT(go_ctx_sleep(ctx, GO_MILLISECOND), 0);
    CHECK(go_now() >= before + GO_MILLISECOND);
    CHECK_INT(go_ctx_sleep(ctx, 0), 0);
    CHECK_INT(go_ctx_sleep(NULL, 1000), 0);
    REQUIRE(go_wg_go(&wg, sleep_in, ctx, &r) > 0);
    wait_parked("sleep", 1);
    go_ctx_cancel(ctx);
    go_wg_wait(&wg);
    CHECK_INT(r, -ECANCELED);
    CHECK_INT(go_ctx_sleep(ctx, 0), -ECANCELED);
    CHECK_INT(go_ctx_sleep(ctx, LONG), -ECANCELED);
    go_ctx_unref(ctx);
    ctx = go_ctx_with_timeout(NULL, GO_MILLISECOND);
    CHECK_INT(go_ctx_sleep(ctx, LONG), -ETIMEDOUT);
    go_ctx_unref(ctx);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(after_func_is_called_by_a_deadline),
        cmocka_unit_test(after_func_is_called_once_by_the_end),
        cmocka_unit_test(a_stopped_after_func_is_not_called),
        cmocka_unit_test(sleep_ends_with_its_time_or_its_context),
    };

    return cmocka_run_group_tests_name("context_after", tests, NULL, NULL);
}
