#define _GNU_SOURCE
#include "runtime/debug/report.h"

#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "runtime/debug/symbol.h"
#include "runtime/time/timer.h"

#define INNERMOST 50
#define OUTERMOST 10
#define INNER     8 /* deepest that the runtime stops below its public function */

/* A return address may lie just behind the end of its function, when the call does not
 * return: the byte before it is inside. */
static bool
find_symbol(uintptr_t pc, bool exact, struct rt_symbol *ret)
{
    bool found = rt_symbol_find(exact ? pc : pc - 1, ret);

    /* object_offset stays: for the line of the call, not of what comes after it. */
    if (!exact)
        ret->offset++;
    return found;
}

void
rt_report_frame(struct rt_out *o, uintptr_t pc, bool exact)
{
    struct rt_symbol s;

    (void)find_symbol(pc, exact, &s);
    if (s.name != NULL)
        rt_out_fmt(o, "%.*s(+0x%lx)\n", s.name_len, s.name, (unsigned long)s.offset);
    else
        rt_out_str(o, "??\n");
    rt_out_fmt(o, "\t0x%lx", (unsigned long)pc);
    if (s.object != NULL)
        rt_out_fmt(o, " in %s+0x%lx", s.object, (unsigned long)s.object_offset);
    rt_out_char(o, '\n');
}

/* --- which frames are the runtime's own --------------------------------------------------------- */

static bool
named(uintptr_t pc, bool exact, const char *prefix)
{
    struct rt_symbol s;

    return find_symbol(pc, exact, &s) && s.name != NULL &&
           strncmp(s.name, prefix, strlen(prefix)) == 0;
}

/* The outer end: what stands before a goroutine's function. */
static bool
is_entry(uintptr_t pc)
{
    return named(pc, false, "rt_goroutine_") || named(pc, false, "rt_start_") ||
           named(pc, false, "main_goroutine");
}

/* How many frames at the inner end hide behind the public function that the goroutine
 * called. One at rest stopped inside such a function, always; one that runs may be in code
 * that has nothing to do with us, so there only what an rt_ function is among is hidden. */
static int
inner_frames(const uintptr_t *pc, int n, bool exact, bool at_rest)
{
    int hidden = 0;

    for (int i = 0; i < n && i < INNER; i++, exact = false) {
        if (named(pc[i], exact, "go_"))
            return hidden > 0 || at_rest ? i : 0;
        if (named(pc[i], exact, "rt_") && !is_entry(pc[i]))
            hidden = i + 1;
    }
    return hidden;
}

/* --- a goroutine ---------------------------------------------------------------------------------- */

static void
put_age(struct rt_out *o, int64_t since)
{
    int64_t age = go_now() - since;

    if (since <= 0 || age < GO_SECOND)
        return;
    if (age < 60 * GO_SECOND)
        rt_out_fmt(o, ", %lld.%lld s", (long long)(age / GO_SECOND),
                   (long long)(age / (100 * GO_MILLISECOND) % 10));
    else if (age < 120 * GO_SECOND)
        rt_out_str(o, ", 1 minute");
    else
        rt_out_fmt(o, ", %lld minutes", (long long)(age / (60 * GO_SECOND)));
}

static void
put_heading(struct rt_out *o, const struct rt_snap *s, const char *site_fn)
{
    const struct go_info *i = &s->info;

    rt_out_fmt(o, "goroutine %lld [%s", (long long)i->id,
               i->reason != NULL ? i->reason : go_state_name(i->state));
    put_age(o, i->since);
    if (s->locked)
        rt_out_str(o, ", locked to thread");
    if (s->system)
        rt_out_str(o, ", system");
    if (i->name != NULL && strcmp(i->name, "main") != 0 &&
        (site_fn == NULL || strcmp(i->name, site_fn) != 0))
        rt_out_fmt(o, ", \"%s\"", i->name);
    rt_out_str(o, "]:\n");
}

/* Meson calls the compiler from the build folder. */
static const char *
short_path(const char *file)
{
    while (strncmp(file, "../", 3) == 0)
        file += 3;
    return file;
}

static void
put_creator(struct rt_out *o, const struct go_info *i)
{
    /* Nobody asks who created main. */
    if (i->created_in == NULL || strcmp(i->created_in, "go_main") == 0)
        return;
    rt_out_fmt(o, "created by %s", i->created_in);
    if (i->creator > 0)
        rt_out_fmt(o, " in goroutine %lld", (long long)i->creator);
    rt_out_fmt(o, " at %s:%d\n", short_path(i->created_file), i->created_line);
}

/* The frames of s to show: [from, to). */
static void
choose_frames(const struct rt_snap *s, bool inner, int *from, int *to)
{
    const uintptr_t *pc = (const uintptr_t *)s->info.pc;

    *from = 0;
    *to = s->info.npc;
    if (inner)
        return;
    *from = inner_frames(pc, *to, s->exact,
                         s->info.state == GO_WAITING || s->info.state == GO_RUNNABLE);
    while (*to > *from && is_entry(pc[*to - 1]))
        --*to;
}

void
rt_report_trim(struct rt_snap *s)
{
    int from, to;

    choose_frames(s, false, &from, &to);
    if (from > 0)
        s->exact = false;
    for (int i = from; i < to; i++)
        s->info.pc[i - from] = s->info.pc[i];
    s->info.npc = to - from;
}

void
go_info_trim(struct go_info *g)
{
    struct rt_snap s = {.info = *g, .exact = g->exact};

    rt_report_trim(&s);
    *g = s.info;
    g->exact = s.exact;
}

void
rt_report_snap(struct rt_out *o, const struct rt_snap *s, bool inner)
{
    int from, to;

    put_heading(o, s, s->site_fn);
    choose_frames(s, inner, &from, &to);
    for (int i = from; i < to; i++)
        rt_report_frame(o, (uintptr_t)s->info.pc[i], s->exact && i == 0);
    if (s->cut)
        rt_out_str(o, "...additional frames elided...\n");
    if (s->info.npc == 0 && s->info.state == GO_NEW)
        rt_report_frame(o, (uintptr_t)s->fn, true);
    else if (s->info.npc == 0)
        rt_out_str(o, "\tbacktrace unavailable\n");
    put_creator(o, &s->info);
    rt_out_char(o, '\n');
}

static void
put_line(struct rt_out *o, uintptr_t pc, bool exact)
{
    struct rt_symbol s;

    (void)find_symbol(pc, exact, &s);
    rt_out_fmt(o, "#\t0x%lx\t%.*s+0x%lx\t%s+0x%lx\n", (unsigned long)pc,
               s.name != NULL ? s.name_len : 2, s.name != NULL ? s.name : "??",
               (unsigned long)s.offset, s.object != NULL ? s.object : "??",
               (unsigned long)s.object_offset);
}

void
rt_report_lines(struct rt_out *o, const struct rt_snap *s, bool inner)
{
    int from, to;

    choose_frames(s, inner, &from, &to);
    for (int i = from; i < to; i++)
        put_line(o, (uintptr_t)s->info.pc[i], s->exact && i == 0);
    if (s->info.npc == 0)
        put_line(o, (uintptr_t)s->fn, true);
}

/* --- the culprit ------------------------------------------------------------------------------------ */

static int
count_frames(struct rt_frames f, bool inner)
{
    uintptr_t pc;
    int n = 0;

    while (rt_frame_next(&f, &pc) && (inner || !is_entry(pc)))
        n++;
    return n;
}

static int
skip_frames(struct rt_frames f)
{
    uintptr_t pc[INNER];
    bool exact = f.exact;
    int n = 0;

    while (n < INNER && rt_frame_next(&f, &pc[n]))
        n++;
    return inner_frames(pc, n, exact, false);
}

void
rt_report_self(struct rt_out *o, const struct go_g *g, const struct rt_frames *from,
               bool inner)
{
    static struct rt_snap s; /* one process dies once: see panic.c */
    struct rt_frames f = *from;
    int skip = inner ? 0 : skip_frames(f);
    int total = count_frames(f, inner);
    bool exact = f.exact;
    uintptr_t pc;

    if (g != NULL) {
        rt_snap_constants(g, &s);
        s.info.state = GO_RUNNING;
        put_heading(o, &s, s.site_fn);
    } else {
        rt_out_fmt(o, "thread %ld [no goroutine]:\n", syscall(SYS_gettid));
    }
    for (int i = 0; i < total && rt_frame_next(&f, &pc); i++, exact = false) {
        if (i == skip + INNERMOST && total - i > OUTERMOST)
            rt_out_fmt(o, "...%d frames elided...\n", total - i - OUTERMOST);
        if (i >= skip && (i < skip + INNERMOST || total - i <= OUTERMOST))
            rt_report_frame(o, pc, exact);
    }
    if (g != NULL)
        put_creator(o, &s.info);
    rt_out_char(o, '\n');
}

/* --- everybody else ----------------------------------------------------------------------------------- */

struct others {
    struct rt_out *o;
    struct rt_looker *l;
    const struct go_g *but;
    bool inner;
};

static bool
report_one(struct go_g *g, void *arg)
{
    struct others *t = arg;
    struct rt_snap s;

    if (g == t->but || !rt_look(t->l, g, &s))
        return true;
    rt_report_snap(t->o, &s, t->inner);
    return rt_out_flush(t->o) == 0;
}

void
rt_report_others(struct rt_out *o, struct rt_looker *l, const struct go_g *but,
                 bool inner)
{
    struct others t = {.o = o, .l = l, .but = but, .inner = inner};

    (void)rt_out_flush(o);
    rt_each_g(report_one, &t);
}
