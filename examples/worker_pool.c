/*
 * worker_pool: a fixed number of goroutines share the work: a channel of jobs, a channel of
 * results.
 *
 * Each worker takes the next job as soon as it is done with the last, so a slow job holds
 * nobody up. Closing jobs tells the workers to go home; once the last has gone, results is
 * closed too, and that ends the loop in main_.
 */
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include "runtime/go.h"

struct result {
    int job;
    int worker;
    int steps;
};

/* The work: how many steps the Collatz sequence takes from n to 1. */
static int
collatz(long n)
{
    int steps = 0;

    for (; n != 1; steps++)
        n = n % 2 == 0 ? n / 2 : 3 * n + 1;
    return steps;
}

static void
worker(int id, struct go_chan *jobs, struct go_chan *results)
{
    int job;

    while (go_chan_recv(jobs, &job)) {
        const struct result r = {.job = job, .worker = id, .steps = collatz(job)};

        go_chan_send(results, &r);
    }
}

static void
send_jobs(struct go_chan *jobs, int n)
{
    for (int i = 1; i <= n; i++)
        go_send(jobs, i);
    go_chan_close(jobs);
}

static void
close_when_done(struct go_wg *workers, struct go_chan *results)
{
    go_wg_wait(workers);
    go_chan_close(results);
}

static int
run(int n_workers, int n_jobs)
{
    struct go_chan *jobs = go_chan_new(sizeof(int), 0);
    struct go_chan *results = go_chan_new(sizeof(struct result), 16);
    struct go_wg workers = GO_WG_INIT;
    struct result r, longest = {0};
    int done = 0;

    if (jobs == NULL || results == NULL)
        return 1;
    for (int id = 1; id <= n_workers; id++)
        if (go_wg_go(&workers, worker, id, jobs, results) < 0)
            return 1;
    if (go(send_jobs, jobs, n_jobs) < 0 || go(close_when_done, &workers, results) < 0)
        return 1;

    while (go_chan_recv(results, &r)) {
        done++;
        if (r.steps > longest.steps || (r.steps == longest.steps && r.job < longest.job))
            longest = r;
    }
    printf("%d jobs done by %d workers\n", done, n_workers);
    printf("the longest: %d takes %d steps to 1\n", longest.job, longest.steps);
    go_chan_unref(jobs);
    go_chan_unref(results);
    return 0;
}

static int
usage(FILE *to, int status)
{
    fprintf(to, "usage: worker_pool [--workers N] [--jobs N]\n\n"
                "Compute the Collatz sequences of 1 to --jobs (default 1000), shared by\n"
                "--workers goroutines (default 4), and tell which is the longest.\n");
    return status;
}

static int
main_(int argc, char **argv)
{
    static const struct option options[] = {{"workers", required_argument, NULL, 'w'},
                                            {"jobs", required_argument, NULL, 'j'},
                                            {"help", no_argument, NULL, 'h'},
                                            {0}};
    long workers = 4, jobs = 1000;
    int opt;

    while ((opt = getopt_long(argc, argv, "w:j:h", options, NULL)) != -1) {
        if (opt == 'w')
            workers = strtol(optarg, NULL, 10);
        else if (opt == 'j')
            jobs = strtol(optarg, NULL, 10);
        else
            return opt == 'h' ? usage(stdout, 0) : usage(stderr, 2);
    }
    if (optind < argc || workers < 1 || workers > 1000000 || jobs < 1 || jobs > INT_MAX)
        return usage(stderr, 2);
    return run((int)workers, (int)jobs);
}

int
main(int argc, char **argv)
{
    return go_main(main_, argc, argv);
}
