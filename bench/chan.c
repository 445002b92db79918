/* Channels and select. */
#include "bench/bench.h"

#include <errno.h>

#include "runtime/go.h"

#define CAP 128

static struct go_chan *
channel(size_t cap)
{
    struct go_chan *c = go_chan_new(sizeof(long), cap);

    if (c == NULL)
        bench_fail("channel", ENOMEM);
    return c;
}

static void
echo(struct go_chan *in, struct go_chan *out)
{
    long v;

    while (go_chan_recv(in, &v))
        go_chan_send(out, &v);
    go_chan_unref(in);
}

/* A round trip over two unbuffered channels. */
static void
pingpong(long n, int param)
{
    struct go_chan *in = channel(0), *out = channel(0);
    int64_t start;
    long v;

    (void)param;
    go(echo, in, out);
    start = bench_now();
    for (long i = 0; i < n; i++) {
        go_chan_send(in, &i);
        go_chan_recv(out, &v);
    }
    bench_report_each("pingpong", start, n);
    go_chan_close(in);
}

static void
produce(struct go_chan *c, long n)
{
    for (long i = 0; i < n; i++)
        go_chan_send(c, &i);
}

/* senders goroutines send to one receiver. */
static void
fan_in(const char *row, int senders, long n)
{
    struct go_chan *c = channel(CAP);
    long each = n / senders, v;
    int64_t start = bench_now();

    for (int i = 0; i < senders; i++)
        go(produce, c, each);
    for (long i = 0; i < each * senders; i++)
        go_chan_recv(c, &v);
    bench_report_each(row, start, each * senders);
}

static void
buffered(long n, int param)
{
    (void)param;
    fan_in("buffered", 1, n);
}

static void
contended(long n, int senders)
{
    fan_in(senders == 4 ? "contended4" : "contended64", senders, n);
}

/* One goroutine selects from two channels, each with a sender of its own. */
static void
select_two(long n, int cap)
{
    struct go_chan *a = channel((size_t)cap), *b = channel((size_t)cap);
    long v;
    int64_t start = bench_now();

    go(produce, a, n / 2);
    go(produce, b, n / 2);
    for (long i = 0; i < n / 2 * 2; i++) {
        struct go_case cases[] = {GO_CASE_RECV(a, &v), GO_CASE_RECV(b, &v)};

        go_select(cases, 2);
    }
    bench_report_each("select", start, n / 2 * 2);
}

const struct bench bench_chan[] = {
    {.name = "pingpong", .run = pingpong},
    {.name = "buffered", .run = buffered},
    {.name = "contended4", .run = contended, .param = 4},
    {.name = "contended64", .run = contended, .param = 64},
    {.name = "select", .run = select_two, .param = 0},
    {.name = NULL},
};
