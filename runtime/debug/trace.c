/*
 * Recording. Each thread writes 32-byte events into a buffer of its own, so an event costs
 * a clock reading and two cache lines, and nothing is shared.
 *
 * Starting and stopping: rt_tracing says whether events are wanted. A writer raises its
 * busy flag, looks at rt_tracing again, writes, and lowers the flag; the stopper clears
 * rt_tracing and then waits for every busy flag to be down. Both sides are sequentially
 * consistent: either the writer sees the trace is over, or the stopper sees the writer. So
 * after the wait the buffers are the stopper's.
 *
 * A buffer belongs to a generation (one start); the first event of a thread in a new
 * generation allocates. mmap and nothing else, because events come from inside the
 * scheduler and from its signal handler.
 */
#define _GNU_SOURCE
#include "runtime/debug/trace.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "runtime/debug/internal.h"
#include "runtime/debug/out.h"
#include "runtime/debug/trace_record.h"
#include "runtime/sched/sched.h"

#define DEFAULT_EVENTS ((size_t)1 << 20)
#define STOP_WAIT_NS   INT64_C(1000000000)

enum {
    OFF,
    CHANGING,
    ON,
};

uint32_t rt_tracing;

static uint32_t state;               /* atomic: OFF, CHANGING, ON */
static struct trace_thread *threads; /* atomic: list head; only grows */
static size_t lost;                  /* atomic: events of threads without a record */

/* Written while CHANGING, read with rt_tracing set. */
static uint32_t generation;
static size_t max_per_thread;
static int64_t start_ns;

static int trace_fd = -1; /* atomic: $GOTRACE */

/* Gives a thread's record back when it ends. */
static pthread_key_t key;
static uint32_t key_made;
static _Thread_local struct trace_thread *mine __attribute__((tls_model("initial-exec")));

static int64_t
now_ns(void)
{
    struct timespec ts;

    (void)clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

/* --- a thread's record ----------------------------------------------------------------------- */

static void
give_back(void *arg)
{
    struct trace_thread *t = arg;

    mine = NULL;
    __atomic_store_n(&t->owned, 0, __ATOMIC_RELEASE);
}

static struct trace_thread *
reuse_record(void)
{
    struct trace_thread *t = __atomic_load_n(&threads, __ATOMIC_ACQUIRE);

    for (; t != NULL; t = t->next) {
        uint32_t nobody = 0;

        if (__atomic_load_n(&t->owned, __ATOMIC_RELAXED) == 0 &&
            __atomic_compare_exchange_n(&t->owned, &nobody, 1, false, __ATOMIC_ACQUIRE,
                                        __ATOMIC_RELAXED))
            return t;
    }
    return NULL;
}

static struct trace_thread *
new_record(void)
{
    struct trace_thread *t = mmap(NULL, sizeof(*t), PROT_READ | PROT_WRITE,
                                  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (t == MAP_FAILED)
        return NULL;
    t->owned = 1;
    t->tid = (int)syscall(SYS_gettid);
    t->next = __atomic_load_n(&threads, __ATOMIC_RELAXED);
    while (!__atomic_compare_exchange_n(&threads, &t->next, t, false, __ATOMIC_RELEASE,
                                        __ATOMIC_RELAXED))
        ;
    return t;
}

static struct trace_thread *
my_record(void)
{
    struct trace_thread *t = mine;

    if (t == NULL) {
        t = reuse_record();
        if (t == NULL)
            t = new_record();
        if (t != NULL && pthread_setspecific(key, t) == 0)
            mine = t;
    }
    return t;
}

/* --- writing events ------------------------------------------------------------------------------ */

/* Room for n events, which the generation's first one allocates; NULL if there is none. */
static union trace_event *
reserve(struct trace_thread *t, size_t n)
{
    if (t->generation != generation) {
        t->generation = generation;
        t->n = t->dropped = 0;
        t->cap = max_per_thread;
        t->v = mmap(NULL, t->cap * sizeof(*t->v), PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (t->v == MAP_FAILED) {
            t->v = NULL;
            t->cap = 0;
        }
    }
    if (t->cap - t->n < n) {
        t->dropped++;
        return NULL;
    }
    t->n += n;
    return t->v + t->n - n;
}

/* The name of a goroutine lives as long as its goroutine; a function's for ever. */
static const char *
given_name(const struct go_g *g)
{
    if (g->site == NULL)
        return g->name != NULL ? g->name : "goroutine";
    return g->name == NULL || g->name == g->site->fn ? NULL : g->name;
}

static void
append(struct trace_thread *t, enum rt_event ev, const struct go_g *g, const void *arg)
{
    const char *name = NULL;
    const struct go_m *m = rt_m();
    union trace_event *e;

    if ((ev == RT_EV_RUN || ev == RT_EV_SPAWN) && g != NULL) {
        name = given_name(g);
        arg = name == NULL ? g->site->fn : NULL;
    }
    e = reserve(t, name != NULL ? 2 : 1);
    if (e == NULL)
        return;
    if (name != NULL) {
        e->name_type = TRACE_NAME;
        for (size_t i = 0; i < sizeof(e->name) && name[i] != '\0'; i++)
            e->name[i] = name[i];
        e++;
    }
    e->ns = now_ns();
    e->gid = g != NULL ? g->id : 0;
    e->arg = (uintptr_t)arg;
    e->p = m != NULL && m->p != NULL ? (uint16_t)m->p->id : TRACE_NO_P;
    /* sysmon tells of the processor it takes, being on none itself. */
    if (ev == RT_EV_HANDOFF && arg != NULL)
        e->p = (uint16_t)((const struct go_p *)arg)->id;
    e->type = (uint16_t)ev;
}

/* Not inlined: the address of a thread-local must not outlive a park in the caller. */
__attribute__((noinline)) void
rt_trace_event(enum rt_event ev, const struct go_g *g, const void *arg)
{
    struct trace_thread *t = my_record();

    if (t == NULL) {
        __atomic_add_fetch(&lost, 1, __ATOMIC_RELAXED);
        return;
    }
    /* A signal handler came in the midst of an event. */
    if (__atomic_load_n(&t->busy, __ATOMIC_RELAXED) != 0) {
        __atomic_add_fetch(&lost, 1, __ATOMIC_RELAXED);
        return;
    }
    (void)__atomic_exchange_n(&t->busy, 1, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(&rt_tracing, __ATOMIC_SEQ_CST))
        append(t, ev, g, arg);
    __atomic_store_n(&t->busy, 0, __ATOMIC_RELEASE);
}

/* --- start and stop ---------------------------------------------------------------------------------- */

static bool
change(uint32_t from)
{
    return __atomic_compare_exchange_n(&state, &from, CHANGING, false, __ATOMIC_ACQUIRE,
                                       __ATOMIC_RELAXED);
}

static int
make_key(void)
{
    if (!key_made) {
        if (pthread_key_create(&key, give_back) != 0)
            return -ENOMEM;
        key_made = 1;
    }
    return 0;
}

int
go_trace_start(size_t max_events)
{
    size_t max = max_events != 0 ? max_events : DEFAULT_EVENTS;
    int r;

    if (max > SIZE_MAX / 2 / sizeof(union trace_event))
        return -ENOMEM;
    if (!change(OFF))
        return -EBUSY;
    r = make_key();
    if (r < 0) {
        __atomic_store_n(&state, OFF, __ATOMIC_RELEASE);
        return r;
    }
    generation++;
    max_per_thread = max;
    lost = 0;
    start_ns = now_ns();
    __atomic_store_n(&state, ON, __ATOMIC_RELEASE);
    __atomic_store_n(&rt_tracing, 1, __ATOMIC_SEQ_CST);
    return 0;
}

/* Until nobody is inside an event; gives up on a thread that died in one. */
static bool
writers_left(void)
{
    struct trace_thread *t = __atomic_load_n(&threads, __ATOMIC_ACQUIRE);
    int64_t deadline = now_ns() + STOP_WAIT_NS;

    for (; t != NULL; t = t->next) {
        while (__atomic_load_n(&t->busy, __ATOMIC_SEQ_CST) != 0) {
            if (now_ns() > deadline)
                return false;
            sched_yield();
        }
    }
    return true;
}

static void
free_buffers(void)
{
    struct trace_thread *t = __atomic_load_n(&threads, __ATOMIC_ACQUIRE);

    for (; t != NULL; t = t->next) {
        if (t->generation == generation && t->v != NULL)
            (void)munmap(t->v, t->cap * sizeof(*t->v));
        t->v = NULL;
        t->n = t->cap = 0;
    }
}

int
go_trace_stop(int fd)
{
    bool alone;
    int r;

    if (!change(ON))
        return -EINVAL;
    __atomic_store_n(&rt_tracing, 0, __ATOMIC_SEQ_CST);
    alone = writers_left();
    r = trace_write_json(fd, __atomic_load_n(&threads, __ATOMIC_ACQUIRE), generation,
                         start_ns, now_ns(), __atomic_load_n(&lost, __ATOMIC_RELAXED));
    if (alone)
        free_buffers();
    __atomic_store_n(&state, OFF, __ATOMIC_RELEASE);
    return r;
}

/* --- $GOTRACE ------------------------------------------------------------------------------------------ */

void
rt_trace_init(void)
{
    const char *path = getenv("GOTRACE");
    struct rt_out o;
    int fd, none = -1;

    if (path == NULL || *path == '\0' ||
        __atomic_load_n(&trace_fd, __ATOMIC_RELAXED) >= 0)
        return;
    fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd >= 0 && go_trace_start(0) == 0 &&
        __atomic_compare_exchange_n(&trace_fd, &none, fd, false, __ATOMIC_RELEASE,
                                    __ATOMIC_RELAXED))
        return;
    rt_out_init(&o, STDERR_FILENO);
    rt_out_fmt(&o, "goroutine: GOTRACE=%s ignored: %s\n", path,
               fd < 0 ? "cannot be written" : "a trace is on already");
    (void)rt_out_flush(&o);
    if (fd >= 0)
        (void)close(fd);
}

void
rt_trace_exit(void)
{
    int fd = __atomic_exchange_n(&trace_fd, -1, __ATOMIC_ACQUIRE);

    if (fd < 0)
        return;
    (void)go_trace_stop(fd);
    (void)close(fd);
}
