/*
 * printers: several goroutines at once, and a WaitGroup to wait for all of them.
 *
 * The printers take turns: go_yield() lets the next one run. With more than one processor
 * they truly run at the same time, so the order of the lines may change from run to run.
 */
#include <stdio.h>

#include "runtime/go.h"

#define PRINTERS 3
#define LINES    4

/* Up to six integers and pointers can be passed; the compiler checks them like any call. */
static void
printer(const char *name, int lines)
{
    for (int i = 1; i <= lines; i++) {
        printf("%s: line %d of %d\n", name, i, lines);
        go_yield();
    }
}

static int
main_(int argc, char **argv)
{
    static const char *const names[PRINTERS] = {"anna", "bela", "carl"};
    struct go_wg wg = GO_WG_INIT;

    (void)argc;
    (void)argv;
    for (int i = 0; i < PRINTERS; i++)
        if (go_wg_go(&wg, printer, names[i], LINES) < 0)
            return 1;
    go_wg_wait(&wg);
    printf("all printed\n");
    return 0;
}

int
main(int argc, char **argv)
{
    return go_main(main_, argc, argv);
}
