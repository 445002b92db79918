/*
 * maxprocs: how many goroutines run at the same instant: GOMAXPROCS.
 *
 * Concurrency is how a program is written, parallelism how many processors run it: the same
 * hundred goroutines give the same answer on one processor and on four. The number starts
 * at $GOMAXPROCS, or the CPUs this process may use, and can be changed while running.
 */
#include <stdint.h>
#include <stdio.h>

#include "runtime/go.h"

#define GOROUTINES 100

/* Primes in [from, from + 1000). */
static void
count_primes(int from, int *primes)
{
    for (int n = from; n < from + 1000; n++) {
        int divisor = 2;

        while (divisor * divisor <= n && n % divisor != 0)
            divisor++;
        if (n >= 2 && divisor * divisor > n)
            __atomic_fetch_add(primes, 1, __ATOMIC_RELAXED);
    }
}

static int
main_(int argc, char **argv)
{
    static const int procs[] = {1, 2, 4};

    (void)argc;
    (void)argv;
    for (size_t i = 0; i < sizeof(procs) / sizeof(procs[0]); i++) {
        struct go_wg wg = GO_WG_INIT;
        const int64_t start = go_now();
        int primes = 0;

        go_maxprocs(procs[i]); /* Go: runtime.GOMAXPROCS(procs[i]) */
        for (int k = 0; k < GOROUTINES; k++)
            if (go_wg_go(&wg, count_primes, k * 1000, &primes) < 0)
                return 1;
        go_wg_wait(&wg);
        printf("GOMAXPROCS=%d: %d primes below %d\n", go_maxprocs(0), primes,
               GOROUTINES * 1000);
        fprintf(stderr, "    in %.1f ms on a machine of %d CPUs\n",
                (double)(go_now() - start) / 1e6, go_numcpu());
    }
    return 0;
}

int
main(int argc, char **argv)
{
    return go_main(main_, argc, argv);
}
