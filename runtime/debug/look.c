#define _GNU_SOURCE
#include "runtime/debug/look.h"

#include <errno.h>

#include "runtime/debug/backtrace.h"
#include "runtime/debug/internal.h"

#define TRIES      5
#define MAX_SILENT 10
#define MAX_PC     ((int)(sizeof(((struct go_info *)0)->pc) / sizeof(void *)))

void
rt_looker_init(struct rt_looker *l, const void *fp)
{
    const struct go_m *m = rt_m();

    l->self = m != NULL && !m->foreign ? m->g : NULL;
    l->fp = fp;
    l->silent = 0;
}

static void
collect(struct rt_frames *f, struct rt_snap *s)
{
    uintptr_t pc;

    while (rt_frame_next(f, &pc)) {
        if (s->info.npc == MAX_PC) {
            s->cut = true;
            return;
        }
        s->info.pc[s->info.npc++] = (void *)pc; /* NOLINT(performance-no-int-to-ptr) */
    }
}

GO_NO_SANITIZE void
rt_snap_constants(const struct go_g *g, struct rt_snap *s)
{
    const struct go_site *site = g->site;

    s->info.id = g->id;
    s->info.name = g->name;
    s->info.creator = g->creator;
    if (site != NULL) {
        s->site_fn = site->fn;
        s->info.created_in = site->func;
        s->info.created_file = site->file;
        s->info.created_line = site->line;
        if (s->info.name == NULL)
            s->info.name = site->fn;
    }
    s->fn = g->fn;
    s->system = g->system;
    s->locked = g->locked_n > 0;
}

/* False if g was seen on a thread that by now runs another. */
static bool
look_at_stack(struct rt_looker *l, const struct go_g *g, struct rt_snap *s)
{
    struct go_m *m = __atomic_load_n(&g->m, __ATOMIC_ACQUIRE);
    struct rt_frames f;

    if (g == l->self) {
        rt_frames_here(&f, l->fp);
        collect(&f, s);
    } else if (s->info.state == GO_WAITING || s->info.state == GO_RUNNABLE) {
        if (rt_frames_parked(&f, g))
            collect(&f, s);
    } else if (m != NULL && s->info.state != GO_NEW && l->silent < MAX_SILENT) {
        int n = rt_bt_ask(m, g, s->info.pc, MAX_PC);

        if (n < 0)
            return false;
        s->info.npc = n;
        s->exact = s->info.exact = true;
        if (s->info.npc == 0)
            l->silent++;
        s->cut = s->info.npc == MAX_PC;
    }
    return true;
}

/* One attempt: false if g moved while it was looked at. */
GO_NO_SANITIZE static bool
try_look(struct rt_looker *l, struct go_g *g, struct rt_snap *s)
{
    uint32_t runs = __atomic_load_n(&g->runs, __ATOMIC_ACQUIRE);
    bool same;

    *s = (struct rt_snap){.fn = NULL};
    s->info.state = (enum go_state)__atomic_load_n(&g->status, __ATOMIC_ACQUIRE);
    if (s->info.state == GO_DEAD)
        return true;
    rt_snap_constants(g, s);
    /* Waking up does not set it: that would cost the scheduler a store for nobody's use. */
    if (s->info.state != GO_RUNNING && s->info.state != GO_RUNNABLE)
        s->info.since = __atomic_load_n(&g->since, __ATOMIC_RELAXED);
    if (s->info.state == GO_WAITING)
        s->info.reason = __atomic_load_n(&g->reason, __ATOMIC_RELAXED);
    if (!look_at_stack(l, g, s))
        return false;

    /* The reads above stay before the second look. */
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    same = __atomic_load_n(&g->id, __ATOMIC_RELAXED) == s->info.id &&
           __atomic_load_n(&g->runs, __ATOMIC_RELAXED) == runs;
    /* Asking a runner takes a while; that it has since gone on is no reason to ask again. */
    return same && (s->exact || __atomic_load_n(&g->status, __ATOMIC_RELAXED) ==
                                    (uint32_t)s->info.state);
}

bool
rt_look(struct rt_looker *l, struct go_g *g, struct rt_snap *ret)
{
    bool quiet = false;

    if (g->foreign)
        return false;
    for (int i = 0; i < TRIES && !quiet; i++) {
        quiet = try_look(l, g, ret);
        if (ret->info.state == GO_DEAD)
            return false;
    }
    /* It never held still: what was copied of it is true, its frames may be a mixture. */
    if (!quiet)
        ret->info.npc = 0;
    return true;
}

/* --- the public face ---------------------------------------------------------------------------- */

const char *
go_state_name(enum go_state s)
{
    static const char *const names[] = {
        [GO_DEAD] = "dead",       [GO_NEW] = "new",         [GO_RUNNABLE] = "runnable",
        [GO_RUNNING] = "running", [GO_WAITING] = "waiting", [GO_SYSCALL] = "syscall",
    };

    return (unsigned)s < sizeof(names) / sizeof(names[0]) ? names[s] : "unknown";
}

struct search {
    struct rt_looker looker;
    int64_t id;
    struct rt_snap snap;
    bool found;
};

static bool
search_one(struct go_g *g, void *arg)
{
    struct search *s = arg;

    if (__atomic_load_n(&g->id, __ATOMIC_RELAXED) != s->id)
        return true;
    s->found = rt_look(&s->looker, g, &s->snap) && s->snap.info.id == s->id;
    return !s->found;
}

__attribute__((noinline)) int
go_info(int64_t id, struct go_info *ret)
{
    struct search s = {.id = id};

    if (id <= 0)
        return -ESRCH;
    rt_looker_init(&s.looker, __builtin_frame_address(0));
    rt_each_g(search_one, &s);
    if (!s.found)
        return -ESRCH;
    *ret = s.snap.info;
    return 0;
}

struct each {
    struct rt_looker looker;
    void (*fn)(const struct go_info *g, void *arg);
    void *arg;
};

static bool
each_one(struct go_g *g, void *arg)
{
    struct each *e = arg;
    struct rt_snap s;

    if (rt_look(&e->looker, g, &s))
        e->fn(&s.info, e->arg);
    return true;
}

__attribute__((noinline)) void
go_each(void (*fn)(const struct go_info *g, void *arg), void *arg)
{
    struct each e = {.fn = fn, .arg = arg};

    rt_looker_init(&e.looker, __builtin_frame_address(0));
    rt_each_g(each_one, &e);
}
