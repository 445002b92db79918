/*
 * sum_channel: a channel carries values from one goroutine to another.
 *
 * The sender waits until its value is taken, the receiver until there is one: no lock, no
 * shared variable. Closing the channel ends the receiver's loop.
 */
#include <stdio.h>

#include "runtime/go.h"

/* Send 1 … n, then say that there is no more. */
static void
count(struct go_chan *out, int n)
{
    for (int i = 1; i <= n; i++)
        go_send(out, i); /* Go: out <- i */
    go_chan_close(out);
}

static int
main_(int argc, char **argv)
{
    struct go_chan *numbers = go_chan_new(sizeof(int), 0); /* Go: make(chan int) */
    long sum = 0;
    int n;

    (void)argc;
    (void)argv;
    if (numbers == NULL || go(count, numbers, 100) < 0)
        return 1;
    while (go_chan_recv(numbers, &n)) /* Go: for n := range numbers */
        sum += n;
    printf("1 + 2 + ... + 100 = %ld\n", sum);
    go_chan_unref(numbers);
    return 0;
}

int
main(int argc, char **argv)
{
    return go_main(main_, argc, argv);
}
