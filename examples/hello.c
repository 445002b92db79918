/*
 * hello: a goroutine is a function call that goes on by itself.
 *
 * go_wg_go() starts one that a WaitGroup counts; go_wg_wait() sleeps until all it counts have
 * returned. Without the wait, the program would end while they still run, as in Go.
 */
#include <stdio.h>

#include "runtime/go.h"

static void
hello(const char *whom)
{
    printf("Hello, %s!\n", whom);
}

static int
main_(int argc, char **argv)
{
    struct go_wg wg = GO_WG_INIT;

    (void)argc;
    (void)argv;
    if (go_wg_go(&wg, hello, "goroutine") <
        0) /* Go: wg.Go(func() { hello("goroutine") }) */
        return 1;
    go_wg_wait(&wg);
    hello("world");
    return 0;
}

int
main(int argc, char **argv)
{
    return go_main(main_, argc, argv);
}
