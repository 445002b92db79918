/*
 * parallel_sum: split an array over all processors; partial sums come back over a channel.
 *
 * Each goroutine reads its own part and writes nothing shared: the channel is all they need.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "runtime/go.h"

#define NUMBERS 5000000

static void
sum_part(const uint32_t *number, size_t n, struct go_chan *sums)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < n; i++)
        sum += number[i];
    go_send(sums, sum);
}

static int
main_(int argc, char **argv)
{
    const size_t parts =
        (size_t)go_maxprocs(0) * 4; /* so that none waits long for the last */
    struct go_chan *sums = go_chan_new(sizeof(uint64_t), 0);
    uint32_t *number = malloc(NUMBERS * sizeof(*number));
    uint64_t sum = 0;

    (void)argc;
    (void)argv;
    if (sums == NULL || number == NULL) {
        free(number);
        return 1;
    }
    for (uint32_t i = 0; i < NUMBERS; i++)
        number[i] = i + 1;

    for (size_t p = 0; p < parts; p++) {
        const size_t from = NUMBERS * p / parts, to = NUMBERS * (p + 1) / parts;

        if (go(sum_part, number + from, to - from, sums) < 0)
            return 1;
    }
    for (size_t p = 0; p < parts; p++)
        sum += go_recv(sums, uint64_t);

    printf("the sum of 1 to %d is %llu\n", NUMBERS, (unsigned long long)sum);
    go_chan_unref(sums);
    free(number);
    return 0;
}

int
main(int argc, char **argv)
{
    return go_main(main_, argc, argv);
}
