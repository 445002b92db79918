/*
 * The grouped dump: goroutines with the same state and backtrace are one line, as in Go's
 * goroutine profile. A hash table of bounded size counts them; what finds no room in it is
 * still counted.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "runtime/debug/dump.h"
#include "runtime/debug/internal.h"
#include "runtime/debug/look.h"
#include "runtime/debug/out.h"
#include "runtime/debug/report.h"
#include "runtime/debug/symbol.h"

#define SLOTS 8192 /* a power of two */
#define FULL  (SLOTS / 2)

struct group {
    int64_t count; /* 0: the slot is free */
    struct rt_snap snap;
};

struct table {
    struct rt_looker looker;
    int64_t total;
    int64_t crowded_out;
    uint32_t used;
    uint32_t order[FULL]; /* slots in use */
    struct group v[SLOTS];
};

static uint64_t
mix(uint64_t h, uint64_t v)
{
    h = (h ^ v) * UINT64_C(0x9e3779b97f4a7c15);
    return h ^ (h >> 29);
}

static uint64_t
hash(const struct rt_snap *s)
{
    uint64_t h = mix((uint64_t)s->info.state, (uintptr_t)s->info.reason);

    if (s->info.npc == 0)
        h = mix(h, (uintptr_t)s->fn);
    for (int i = 0; i < s->info.npc; i++)
        h = mix(h, (uintptr_t)s->info.pc[i]);
    return h;
}

static bool
same(const struct rt_snap *a, const struct rt_snap *b)
{
    return a->info.state == b->info.state && a->info.reason == b->info.reason &&
           a->info.npc == b->info.npc && (a->info.npc > 0 || a->fn == b->fn) &&
           memcmp(a->info.pc, b->info.pc, sizeof(a->info.pc[0]) * (size_t)a->info.npc) ==
               0;
}

static bool
count_one(struct go_g *g, void *arg)
{
    struct table *t = arg;
    struct rt_snap s;
    uint32_t i;

    if (!rt_look(&t->looker, g, &s))
        return true;
    /* Where exactly the scheduler let go of it makes no difference. */
    if (rt_traceback < RT_TB_SYSTEM)
        rt_report_trim(&s);
    t->total++;
    for (i = (uint32_t)hash(&s) & (SLOTS - 1); t->v[i].count > 0;
         i = (i + 1) & (SLOTS - 1)) {
        if (same(&t->v[i].snap, &s)) {
            t->v[i].count++;
            return true;
        }
    }
    if (t->used == FULL) {
        t->crowded_out++;
        return true;
    }
    t->v[i].snap = s;
    t->v[i].count = 1;
    t->order[t->used++] = i;
    return true;
}

/* Largest groups first; of equals, the one whose goroutine is older. */
static int
compare(const void *a, const void *b, void *arg)
{
    const struct table *t = arg;
    const struct group *x = &t->v[*(const uint32_t *)a], *y = &t->v[*(const uint32_t *)b];

    if (x->count != y->count)
        return x->count > y->count ? -1 : 1;
    return x->snap.info.id < y->snap.info.id ? -1 : x->snap.info.id > y->snap.info.id;
}

static void
put_group(struct rt_out *o, const struct group *g)
{
    const struct go_info *i = &g->snap.info;

    rt_out_fmt(o, "%lld @", (long long)g->count);
    for (int k = 0; k < i->npc; k++)
        rt_out_fmt(o, " %p", i->pc[k]);
    rt_out_fmt(o, "\n# state: %s; for example goroutine %lld\n",
               i->reason != NULL ? i->reason : go_state_name(i->state), (long long)i->id);
    rt_report_lines(o, &g->snap, rt_traceback >= RT_TB_SYSTEM);
    rt_out_char(o, '\n');
}

__attribute__((noinline)) int
go_dump_grouped(int fd)
{
    struct rt_out out;
    struct table *t;
    int r;

    t = mmap(NULL, sizeof(*t), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
             0);
    if (t == MAP_FAILED)
        return -ENOMEM;
    rt_symbol_init();
    rt_looker_init(&t->looker, __builtin_frame_address(0));
    rt_each_g(count_one, t);
    qsort_r(t->order, t->used, sizeof(t->order[0]), compare, t);

    rt_out_init(&out, fd);
    rt_out_fmt(&out, "goroutine profile: total %lld\n", (long long)t->total);
    for (uint32_t i = 0; i < t->used; i++)
        put_group(&out, &t->v[t->order[i]]);
    if (t->crowded_out > 0)
        rt_out_fmt(&out, "%lld @\n# with other backtraces\n\n",
                   (long long)t->crowded_out);
    r = rt_out_flush(&out);
    (void)munmap(t, sizeof(*t));
    return r;
}
