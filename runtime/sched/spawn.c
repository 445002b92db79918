/*
 * Spawning: goroutine records and how they get into a run queue; go_main.
 *
 * Records come in chunks that are never unmapped, so a dump may look at any of them at any
 * time; dead ones wait in a list per P, and past a limit in a central one. A new goroutine
 * has a record only: it gets its stack when it first runs.
 */
#define _GNU_SOURCE
#include "runtime/sched/spawn.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "runtime/base/fence.h"
#include "runtime/debug/internal.h"
#include "runtime/mem/stack.h"
#include "runtime/sched/runq.h"
#include "runtime/sync/wg.h"

#define CHUNK      256 /* records a chunk */
#define CHUNKS_MAX (RT_G_MAX / CHUNK)
#define BATCH      128 /* dead records moved between a P and the centre at once */
#define ID_BATCH   64

static struct {
    struct go_lck lock; /* GO_LCK_RECORDS */
    struct go_g *free;  /* batches of dead records; guarded by lock */
    uint32_t used;      /* records handed out of the last chunk; guarded by lock */
    struct go_g *chunk[CHUNKS_MAX]; /* constant once counted in n */
    uint32_t n;                     /* atomic: chunks; written under lock */
    int64_t next_id;                /* atomic */
} records = {.used = CHUNK, .next_id = 1};

const uint32_t rt_records_per_chunk = CHUNK;

_Static_assert(sizeof(struct go_g) <= 320,
               "a parked goroutine costs a page and a record");

/* A record nobody has used yet, or NULL. Under records.lock. */
static struct go_g *
fresh_record(void)
{
    if (records.used == CHUNK) {
        void *chunk;

        if (records.n == CHUNKS_MAX)
            return NULL;
        chunk = mmap(NULL, CHUNK * sizeof(struct go_g), PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (chunk == MAP_FAILED)
            return NULL;
        if (stack_reserve(CHUNK) < 0) { /* address space for as many stacks */
            munmap(chunk, CHUNK * sizeof(struct go_g));
            return NULL;
        }
        records.chunk[records.n] = chunk;
        records.used = 0;
        STORE(&records.n, records.n + 1, RELEASE); /* pairs with rt_each_g */
    }
    return &records.chunk[records.n - 1][records.used++];
}

/* Dead records travel between a P and the centre in whole batches, chained by next. The
 * first one's args[0] links the batches, its args[1] says how long the batch is. Nothing is
 * walked. */
static struct go_g *
batch_next(const struct go_g *batch)
{
    return (struct go_g *)batch->args[0]; /* NOLINT(performance-no-int-to-ptr) */
}

static void
central_give(struct go_g *batch, uint32_t n)
{
    batch->args[1] = n;
    go_lck_lock(&records.lock, GO_LCK_RECORDS);
    batch->args[0] = (uintptr_t)records.free;
    records.free = batch;
    go_lck_unlock(&records.lock);
}

/* A batch of at most BATCH records, used before or fresh; NULL: out of memory. */
static struct go_g *
central_take(uint32_t *n)
{
    struct go_g *list, *g;

    *n = 0;
    go_lck_lock(&records.lock, GO_LCK_RECORDS);
    list = records.free;
    if (list != NULL) {
        records.free = batch_next(list);
        *n = (uint32_t)list->args[1];
    } else {
        while (*n < BATCH && (g = fresh_record()) != NULL) {
            g->next = list;
            list = g;
            ++*n;
        }
    }
    go_lck_unlock(&records.lock);
    return list;
}

/* g is dead and nobody looks at it any more. */
void
rt_free_record(struct go_p *p, struct go_g *g)
{
    if (UNLIKELY(p->gfree_n == BATCH)) { /* one full batch is kept in reserve */
        if (p->gspare != NULL)
            central_give(p->gspare, BATCH);
        p->gspare = p->gfree;
        p->gfree = NULL;
        p->gfree_n = 0;
    }
    g->next = p->gfree;
    p->gfree = g;
    p->gfree_n++;
}

static struct go_g *
take_record(struct go_p *p)
{
    struct go_g *g;
    uint32_t n;

    if (p == NULL) {
        g = central_take(&n);
        if (n > 1)
            central_give(g->next, n - 1);
        return g;
    }
    if (UNLIKELY(p->gfree == NULL)) {
        n = BATCH;
        p->gfree = p->gspare != NULL ? p->gspare : central_take(&n);
        p->gspare = NULL;
        p->gfree_n = n;
    }
    g = p->gfree;
    if (LIKELY(g != NULL)) {
        p->gfree = g->next;
        /* For the next spawn. An integer, since there may be none. */
        for (uintptr_t at = (uintptr_t)g->next; at < (uintptr_t)g->next + sizeof(*g);
             at += CACHE_LINE)
            PREFETCH((const void *)at);
        p->gfree_n--;
    }
    return g;
}

static int64_t
next_id(struct go_p *p)
{
    if (p == NULL)
        return __atomic_fetch_add(&records.next_id, 1, __ATOMIC_RELAXED);
    if (UNLIKELY(p->id_next == p->id_end)) {
        p->id_next = __atomic_fetch_add(&records.next_id, ID_BATCH, __ATOMIC_RELAXED);
        p->id_end = p->id_next + ID_BATCH;
    }
    return p->id_next++;
}

/* A goroutine that has not run yet, queued nowhere. NULL: out of memory. */
static struct go_g *
new_goroutine(struct go_m *m, const struct go_opts *opts, const struct go_site *site,
              go_entry_fn *fn, const uintptr_t args[6])
{
    uint32_t size_class = opts != NULL && opts->stack_size > 0
                              ? stack_class(opts->stack_size)
                              : stack_class(0);
    struct go_g *g;

    g = take_record(m->p);
    if (UNLIKELY(g == NULL))
        return NULL;
    g->size_class = size_class;
    /* Default stacks are reserved with the record and bound at the first run; others now,
     * so that a failure has somebody to be reported to. */
    if (UNLIKELY(size_class != stack_class(0)) && stack_bind(m->p, g) < 0) {
        g->next = NULL;
        central_give(g, 1);
        return NULL;
    }
    g->id = next_id(m->p);
    g->creator = m->g != NULL && !m->g->foreign ? m->g->id : 0;
    g->site = site;
    g->name = opts != NULL && opts->name != NULL ? opts->name : site->fn;
    g->wg = opts != NULL ? opts->wg : NULL;
    g->fn = fn;
    memcpy(g->args, args, sizeof(g->args));
    STORE(&g->reason, NULL, RELAXED);
    STORE(&g->since, rt_coarse(), RELAXED);
    /* Release: a dump that sees the state sees what is above. */
    STORE(&g->status, GO_NEW, RELEASE);
    return g;
}

int64_t
go_spawn_(const struct go_opts *opts, const struct go_site *site, go_entry_fn *fn,
          const uintptr_t args[6])
{
    struct go_m *m = rt_enter();
    struct go_g *g = new_goroutine(m, opts, site, fn, args);
    struct go_p *p = m->p;
    int64_t id;

    if (UNLIKELY(g == NULL)) {
        rt_exit();
        return -ENOMEM;
    }
    if (g->wg != NULL)
        go_wg_add(g->wg, 1);
    id = g->id;
    rt_trace(RT_EV_SPAWN, g, NULL);
    if (LIKELY(p != NULL)) {
        BUMP(&p->count.spawned, 1);
        runq_put_next(p, g);
    } else {
        ADD(&sched.foreign_spawned, 1, RELAXED);
        gq_put(g);
        sched_wake();
    }
    rt_exit();
    return id;
}

void
rt_spawn_system(const char *name, void (*fn)(void *), void *arg)
{
    static const struct go_site site = {"runtime", "runtime", "runtime", 0};
    const struct go_opts opts = {.name = name};
    const uintptr_t args[6] = {(uintptr_t)arg};

    if (go_spawn_(&opts, &site, (go_entry_fn *)(void (*)(void))fn, args) < 0)
        rt_fatal("cannot start %s: out of memory", name);
}

void
rt_each_g(bool (*fn)(struct go_g *g, void *arg), void *arg)
{
    uint32_t n = LOAD(&records.n, ACQUIRE);

    for (uint32_t i = 0; i < n; i++)
        for (uint32_t j = 0; j < CHUNK; j++)
            if (!fn(&records.chunk[i][j], arg))
                return;
}

/* --- go_main ----------------------------------------------------------------------------------- */

struct main_call {
    int (*fn)(int, char **);
    int argc;
    char **argv;
    int result;
    uint32_t number; /* of the calls to go_main */
    uint32_t done;   /* futex */
};

/* Deterministic mode: calls of go_main() whose main goroutine is queued. Between two calls
 * the one P stands still: what other goroutines would do while the process ends, or before
 * it calls go_main() again, must not depend on which thread is faster. Futex. */
static uint32_t mains_begun;

static void
main_goroutine(struct main_call *call)
{
    uint32_t n;

    call->result = call->fn(call->argc, call->argv);
    rt_epilogue(rt_m()->g); /* before the program may end */
    (void)rt_enter();
    go_lck_lock(&sched.lock, GO_LCK_SCHED);
    sched.main_waits--; /* from here sleeping goroutines are nobody's deadlock */
    go_lck_unlock(&sched.lock);
    n = call->number;
    STORE(&call->done, 1, RELEASE);
    futex_wake(&call->done);
    if (rt_seeded)
        for (uint32_t now; (now = LOAD(&mains_begun, ACQUIRE)) <= n;)
            futex_wait(&mains_begun, now, -1);
    rt_exit();
}

int
go_main(int (*fn)(int argc, char **argv), int argc, char **argv)
{
    struct main_call call = {.fn = fn, .argc = argc, .argv = argv};
    const struct go_opts opts = {.name = "main"};
    struct go_m *m = rt_enter();

    call.number = LOAD(&mains_begun, RELAXED) + 1;
    if (!m->foreign)
        go_panic("go_main called by a goroutine");
    rt_exit();
    if (go_opt(&opts, main_goroutine, &call) < 0)
        rt_fatal("out of memory");
    /* Counted after the spawn: an idle thread must not find a main goroutine missing that
     * is not queued yet. From here this thread waits and will wake nobody. */
    go_lck_lock(&sched.lock, GO_LCK_SCHED);
    sched.main_waits++;
    ADD(&sched.foreign, -1, SEQ_CST);
    rt_check_deadlock_locked();
    go_lck_unlock(&sched.lock);
    ADD(&mains_begun, 1, RELEASE);
    futex_wake(&mains_begun);
    while (LOAD(&call.done, ACQUIRE) == 0)
        futex_wait(&call.done, 0, -1);
    ADD(&sched.foreign, 1, SEQ_CST);
    rt_debug_exit();
    return call.result;
}

static void
init_once(void)
{
    rt_seed_init();
    (void)fence_threads_init();
    stack_init();
    if (rt_procs_init() < 0 || gq_init() < 0)
        rt_fatal("out of memory at start");
    STORE(&sched.coarse, go_now(), RELAXED);
    rt_poll_init();
    rt_preempt_init();
    rt_debug_init();
    if (!rt_seeded)
        rt_sysmon_start();
    STORE(&sched.ready, 1, RELEASE);
}

void
rt_init(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    if (!LOAD(&sched.ready, ACQUIRE))
        pthread_once(&once, init_once);
}
