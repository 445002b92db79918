/*
 * Process, thread and goroutine side by side: creation (start one, wait for its end),
 * switch (hand the turn to another on the same CPU), memory each, and how many at once.
 *
 * Memory is what the machine uses before and after, so the kernel's share counts.
 * The number at once is what was reached: it ends at a limit of the system, at the bound n,
 * or when a quarter of the memory is left.
 */
#define _GNU_SOURCE
#include "bench/bench.h"

#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runtime/go.h"

enum kind { PROCESS, THREAD };

/* --- creation --- */

static void *
thread_nothing(void *arg)
{
    return arg;
}

static void
create(long n, int kind)
{
    int64_t start = bench_now();

    for (long i = 0; i < n; i++) {
        if (kind == PROCESS) {
            pid_t pid = fork();

            if (pid == 0)
                _exit(0);
            if (pid < 0 || waitpid(pid, NULL, 0) != pid)
                bench_fail("fork", errno);
        } else {
            pthread_t t;
            int r = pthread_create(&t, NULL, thread_nothing, NULL);

            if (r != 0)
                bench_fail("pthread_create", r);
            pthread_join(t, NULL);
        }
    }
    bench_report_each(kind == PROCESS ? "create_process" : "create_thread", start, n);
}

static void
nothing(void)
{
}

static void
create_goroutine(long n, int param)
{
    struct go_wg wg = GO_WG_INIT;
    int64_t start = bench_now();

    (void)param;
    for (long i = 0; i < n; i++) {
        if (go_wg_go(&wg, nothing) < 0)
            bench_fail("go", ENOMEM);
        go_wg_wait(&wg);
    }
    bench_report_each("create_goroutine", start, n);
}

/* --- switch --- */

struct turns {
    uint32_t whose; /* atomic; a futex between the two */
    long n;
};

static void
take_turns(uint32_t *whose, uint32_t me, long n)
{
    for (long i = 0; i < n; i++) {
        while (__atomic_load_n(whose, __ATOMIC_ACQUIRE) != me)
            syscall(SYS_futex, whose, FUTEX_WAIT, 1 - me, NULL, NULL, 0);
        __atomic_store_n(whose, 1 - me, __ATOMIC_RELEASE);
        syscall(SYS_futex, whose, FUTEX_WAKE, 1, NULL, NULL, 0);
    }
}

static void *
thread_turns(void *arg)
{
    struct turns *t = arg;

    take_turns(&t->whose, 1, t->n);
    return NULL;
}

static void
switch_kernel(long n, int kind)
{
    struct turns *t =
        mmap(NULL, sizeof(*t), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pthread_t thread;
    pid_t pid = 0;
    cpu_set_t one;
    int64_t start;

    if (t == MAP_FAILED)
        bench_fail("mmap", errno);
    CPU_ZERO(&one);
    CPU_SET(sched_getcpu(), &one);
    if (sched_setaffinity(0, sizeof(one), &one) != 0)
        bench_fail("sched_setaffinity", errno);

    t->n = n / 2;
    start = bench_now();
    if (kind == THREAD) {
        if (pthread_create(&thread, NULL, thread_turns, t) != 0)
            bench_fail("pthread_create", EAGAIN);
    } else {
        pid = fork();
        if (pid < 0)
            bench_fail("fork", errno);
        if (pid == 0) {
            take_turns(&t->whose, 1, t->n);
            _exit(0);
        }
    }
    take_turns(&t->whose, 0, t->n);
    if (kind == THREAD)
        pthread_join(thread, NULL);
    else
        waitpid(pid, NULL, 0);
    bench_report_each(kind == PROCESS ? "switch_process" : "switch_thread", start, n);
    munmap(t, sizeof(*t));
}

static void
hand_back(struct go_chan *turn)
{
    while (go_chan_recv(turn, NULL))
        ;
}

static void
switch_goroutine(long n, int param)
{
    struct go_chan *turn = go_chan_new(0, 0);
    int64_t start;

    (void)param;
    go_maxprocs(1);
    go(hand_back, turn);
    start = bench_now();
    for (long i = 0; i < n / 2; i++)
        go_chan_send(turn, NULL);
    bench_report_each("switch_goroutine", start, n);
    go_chan_close(turn);
}

/* --- memory, and how many --- */

struct crowd {
    int ready[2]; /* each writes a byte when it is there */
    int gate[2];  /* and reads until the other end is closed */
    int64_t least_available;
};

static void
attend(const struct crowd *c)
{
    char byte = 0;

    if (write(c->ready[1], &byte, 1) != 1 || read(c->gate[0], &byte, 1) != 0)
        bench_fail("pipe", errno);
}

static void *
thread_attend(void *arg)
{
    attend(arg);
    return NULL;
}

static void
wait_ready(const struct crowd *c, long n)
{
    char buf[4096];
    ssize_t got;

    for (; n > 0; n -= got) {
        got = read(c->ready[0], buf, sizeof(buf));
        if (got <= 0)
            bench_fail("pipe", errno);
    }
}

/* What is in use once the kernel has cleared away what ended before us: it frees page tables
 * and stacks later. */
static int64_t
settled(void)
{
    int64_t now = bench_in_use(), before;

    for (int tries = 0; tries < 50; tries++) {
        before = now;
        usleep(200000);
        now = bench_in_use();
        if (now > before - 1000000 && now < before + 1000000)
            break;
    }
    return now;
}

static void
crowd_report(const char *kind, long n, int64_t before)
{
    char row[32];

    snprintf(row, sizeof(row), "memory_%s", kind);
    bench_report(row, (double)(bench_in_use() - before) / 1024 / (double)n, "KiB");
    snprintf(row, sizeof(row), "at_once_%s", kind);
    bench_report(row, (double)n, "");
}

static void
crowd_open(struct crowd *c)
{
    if (pipe(c->ready) != 0 || pipe(c->gate) != 0)
        bench_fail("pipe", errno);
    c->least_available = bench_available() / 4;
}

static void
crowd_of_processes(long n, int param)
{
    struct crowd c;
    int64_t before;
    long there = 0;

    (void)param;
    crowd_open(&c);
    before = settled();
    while (there < n && bench_available() > c.least_available) {
        pid_t pid = fork();

        if (pid == 0) {
            close(c.gate[1]);
            attend(&c);
            _exit(0);
        }
        if (pid < 0)
            break;
        wait_ready(&c, 1);
        there++;
    }
    crowd_report("process", there, before);
    close(c.gate[1]);
    while (wait(NULL) > 0)
        ;
}

static void
crowd_of_threads(long n, int param)
{
    pthread_t *threads = calloc((size_t)n, sizeof(*threads));
    struct crowd c;
    int64_t before;
    long there = 0;

    (void)param;
    if (threads == NULL)
        bench_fail("memory", ENOMEM);
    crowd_open(&c);
    before = settled();
    while (there < n && bench_available() > c.least_available &&
           pthread_create(&threads[there], NULL, thread_attend, &c) == 0) {
        wait_ready(&c, 1);
        there++;
    }
    crowd_report("thread", there, before);
    close(c.gate[1]);
    for (long i = 0; i < there; i++)
        pthread_join(threads[i], NULL);
    free(threads);
}

static void
goroutine_attend(struct go_chan *ready, struct go_chan *gate)
{
    go_chan_send(ready, NULL);
    go_chan_recv(gate, NULL);
}

static void
crowd_of_goroutines(long n, int param)
{
    struct go_chan *ready = go_chan_new(0, 0), *gate = go_chan_new(0, 0);
    struct go_wg wg = GO_WG_INIT;
    int64_t before = settled(), least = bench_available() / 4;
    long there = 0;

    (void)param;
    while (there < n && (there % 1000 != 0 || bench_available() > least) &&
           go_wg_go(&wg, goroutine_attend, ready, gate) > 0) {
        go_chan_recv(ready, NULL);
        there++;
    }
    crowd_report("goroutine", there, before);
    go_chan_close(gate);
    go_wg_wait(&wg);
}

const struct bench bench_kinds[] = {
    {.name = "create-process", .run = create, .param = PROCESS, .plain = true},
    {.name = "create-thread", .run = create, .param = THREAD, .plain = true},
    {.name = "create-goroutine", .run = create_goroutine},
    {.name = "switch-process", .run = switch_kernel, .param = PROCESS, .plain = true},
    {.name = "switch-thread", .run = switch_kernel, .param = THREAD, .plain = true},
    {.name = "switch-goroutine", .run = switch_goroutine},
    {.name = "crowd-process", .run = crowd_of_processes, .plain = true},
    {.name = "crowd-thread", .run = crowd_of_threads, .plain = true},
    {.name = "crowd-goroutine", .run = crowd_of_goroutines},
    {.name = NULL},
};
