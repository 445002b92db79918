/*
 * ticker: a task that runs every so often until it is told to stop: a goroutine, a channel
 * and select.
 *
 * The ticker's channel gets an element each period; closing stop ends the task. Whatever
 * must not happen twice at once belongs into one such goroutine: it needs no lock.
 */
#include <stdio.h>

#include "runtime/go.h"

#define TICKS 5

static void
task(struct go_chan *stop, struct go_chan *ticks)
{
    struct go_timer *ticker = go_ticker_new(10 * GO_MILLISECOND);
    struct go_case wait[] = {
        GO_CASE_RECV(go_timer_chan(ticker), NULL),
        GO_CASE_RECV(stop, NULL),
    };
    int n = 0;

    while (go_select(wait, 2) == 0) {
        struct go_case tell[] = {GO_CASE_SEND(ticks, &n), GO_CASE_RECV(stop, NULL)};

        n++;
        if (go_select(tell, 2) == 1)
            break;
    }
    go_timer_free(ticker);
    go_chan_close(ticks); /* tells that the task has ended */
}

static int
main_(int argc, char **argv)
{
    struct go_chan *stop =
        go_chan_new(0, 0); /* carries no data: it is only ever closed */
    struct go_chan *ticks = go_chan_new(sizeof(int), 0);
    int n = 0;

    (void)argc;
    (void)argv;
    if (stop == NULL || ticks == NULL || go(task, stop, ticks) < 0)
        return 1;
    while (n < TICKS && go_chan_recv(ticks, &n))
        printf("tick %d\n", n);
    printf("stop\n");
    go_chan_close(stop);
    while (go_chan_recv(ticks, NULL))
        ;
    printf("the task has ended\n");
    go_chan_unref(stop);
    go_chan_unref(ticks);
    return 0;
}

int
main(int argc, char **argv)
{
    return go_main(main_, argc, argv);
}
