/*
 * context_timeout: give up on what takes too long: a context with a timeout, and select.
 *
 * select waits for whichever comes first: the answer, or the end of the context. The
 * goroutine that works looks at the same context, so it stops too instead of working on for
 * nobody.
 */
#include <errno.h>
#include <stdio.h>

#include "runtime/go.h"

/* Work for the given time, then answer; or stop when ctx ends. The channel has room for the
 * answer, so that nobody has to be there to take it. */
static void
work(struct go_ctx *ctx, struct go_chan *answer, int64_t ns)
{
    if (go_ctx_sleep(ctx, ns) == 0)
        go_send(answer, 42);
    go_chan_unref(answer);
    go_ctx_unref(ctx);
}

static void
ask(const char *name, int64_t takes, int64_t patience)
{
    struct go_ctx *ctx = go_ctx_with_timeout(go_ctx_background(), patience);
    struct go_chan *answer = go_chan_new(sizeof(int), 1);
    struct go_wg wg = GO_WG_INIT;
    int n;
    struct go_case cases[] = {
        GO_CASE_RECV(answer, &n),
        GO_CASE_RECV(go_ctx_done(ctx), NULL),
    };

    if (go_wg_go(&wg, work, go_ctx_ref(ctx), go_chan_ref(answer), takes) < 0)
        return;
    switch (go_select(cases, 2)) {
    case 0: /* Go: case n := <-answer: */
        printf("%s: the answer is %d\n", name, n);
        break;
    case 1: /* Go: case <-ctx.Done(): */
        printf("%s: gave up, %s\n", name,
               go_ctx_err(ctx) == -ETIMEDOUT ? "the time is over" : "cancelled");
        break;
    }
    go_ctx_cancel(ctx);
    go_wg_wait(&wg); /* a program that ends would cut it off in its cleaning up */
    go_ctx_unref(ctx);
    go_chan_unref(answer);
}

static int
main_(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    ask("quick", GO_MILLISECOND, 60 * GO_SECOND);
    ask("slow", 60 * GO_SECOND, 20 * GO_MILLISECOND);
    return 0;
}

int
main(int argc, char **argv)
{
    return go_main(main_, argc, argv);
}
