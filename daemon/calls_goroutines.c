#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/call.h"
#include "daemon/dispatch.h"
#include "daemon/store/pool.h"
#include "runtime/go.h"

/*
 * Goroutines: all of them, or those of one job, grouped by stack. Each is looked at while
 * it runs on; the looking is done in a blocking region, for there may be many.
 */

enum { GROUPS_MAX = 2000, IDS_MAX = 20, LOOKS_MAX = 200000, SPARE = 1000 };

struct looks {
    struct go_info *v;
    size_t n, cap;
    uint64_t total;
};

/* --- looking ----------------------------------------------------------------------------- */

static void
gather(const struct go_info *g, void *arg)
{
    struct looks *all = arg;

    all->total++;
    if (all->n == all->cap)
        return;
    all->v[all->n] = *g;
    go_info_trim(&all->v[all->n++]);
}

static int
look(struct looks *all)
{
    size_t cap = (size_t)go_num_goroutine() + SPARE;

    *all = (struct looks){.cap = cap < LOOKS_MAX ? cap : LOOKS_MAX};
    all->v = malloc(all->cap * sizeof(*all->v));
    if (all->v == NULL)
        return -ENOMEM;
    go_enter_blocking();
    go_each(gather, all);
    go_exit_blocking();
    return 0;
}

static int
compare_text(const char *x, const char *y)
{
    if (x == NULL || y == NULL)
        return (x != NULL) - (y != NULL);
    return strcmp(x, y);
}

/* Of one group: the same state, name and stack. */
static int
compare(const struct go_info *x, const struct go_info *y)
{
    int r;

    if (x->state != y->state)
        return x->state < y->state ? -1 : 1;
    if (x->npc != y->npc)
        return x->npc < y->npc ? -1 : 1;
    r = memcmp(x->pc, y->pc, (size_t)x->npc * sizeof(x->pc[0]));
    return r != 0 ? r : compare_text(x->name, y->name);
}

static int
by_stack(const void *a, const void *b)
{
    const struct go_info *x = a, *y = b;
    int r = compare(x, y);

    return r != 0 ? r : x->id < y->id ? -1 : x->id > y->id;
}

static int
by_id(const void *a, const void *b)
{
    const struct go_info *x = a, *y = b;

    return x->id < y->id ? -1 : x->id > y->id;
}

/* --- groups ------------------------------------------------------------------------------ */

struct group {
    const struct go_info *first;
    size_t n;
};

/* The most numerous first; of equals the one whose goroutine is older. */
static int
by_count(const void *a, const void *b)
{
    const struct group *x = a, *y = b;

    if (x->n != y->n)
        return x->n > y->n ? -1 : 1;
    return by_id(x->first, y->first);
}

/* Sorts v; the groups' number, at most max. */
static size_t
group(struct go_info *v, size_t n, struct group *ret, size_t max)
{
    size_t n_groups = 0;

    qsort(v, n, sizeof(*v), by_stack);
    for (size_t i = 0, k; i < n && n_groups < max; i = k) {
        for (k = i + 1; k < n && compare(&v[i], &v[k]) == 0; k++)
            ;
        ret[n_groups++] = (struct group){&v[i], k - i};
    }
    qsort(ret, n_groups, sizeof(*ret), by_count);
    return n_groups;
}

/* Where a frame's call stands: a return address is one past it. */
static uintptr_t
call_pc(const struct go_info *g, int i)
{
    return (uintptr_t)g->pc[i] - !(i == 0 && g->exact);
}

/* The lines of all frames at once, sorted by address; NULL: no memory. */
static struct go_line *
lines_of(const struct group *groups, size_t n_groups, size_t *ret_n)
{
    struct go_line *v;
    size_t n = 0;

    for (size_t i = 0; i < n_groups; i++)
        n += (size_t)groups[i].first->npc;
    v = calloc(n + 1, sizeof(*v));
    if (v == NULL)
        return NULL;
    n = 0;
    for (size_t i = 0; i < n_groups; i++)
        for (int k = 0; k < groups[i].first->npc; k++)
            v[n++].pc = call_pc(groups[i].first, k);
    go_enter_blocking();
    go_lines(v, n);
    go_exit_blocking();
    *ret_n = n;
    return v;
}

static const struct go_line *
find_line(const struct go_line *v, size_t n, uintptr_t pc)
{
    size_t lo = 0, hi = n;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;

        if (v[mid].pc < pc)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < n && v[lo].pc == pc ? &v[lo] : NULL;
}

/* --- the reply --------------------------------------------------------------------------- */

struct making {
    struct call *c;
    const struct go_line *lines;
    size_t n_lines;
};

static PbFrame *
frame(struct making *m, const struct go_info *g, int i)
{
    uintptr_t pc = call_pc(g, i);
    const struct go_line *line = find_line(m->lines, m->n_lines, pc);
    PbFrame *f = call_new(m->c, &pb_frame__descriptor);
    char name[256];

    if (f == NULL)
        return NULL;
    /* NOLINTNEXTLINE(performance-no-int-to-ptr) */
    (void)go_symbol((const void *)pc, name, sizeof(name));
    name[strcspn(name, "+")] = '\0';
    f->function = call_dup(m->c, name);
    PB_SET(f, address, (uint64_t)(uintptr_t)g->pc[i]);
    if (line != NULL && line->file[0] != '\0') {
        f->file = call_dup(m->c, line->file);
        PB_SET(f, line, (uint32_t)line->line);
    }
    return f->function != NULL ? f : NULL;
}

static int
fill_frames(struct making *m, PbGoroutineGroup *out, const struct go_info *g)
{
    out->frames = call_array(m->c, (size_t)g->npc + 1, sizeof(*out->frames));
    for (int i = 0; out->frames != NULL && i < g->npc; i++) {
        out->frames[i] = frame(m, g, i);
        if (out->frames[i] == NULL)
            return -ENOBUFS;
        out->n_frames++;
    }
    return out->frames != NULL ? 0 : -ENOBUFS;
}

static char *
spawned_by(struct making *m, const struct go_info *g)
{
    const char *file = g->created_file != NULL ? g->created_file : "";
    char text[256];

    while (strncmp(file, "../", 3) == 0) /* meson builds from elsewhere */
        file += 3;
    (void)snprintf(text, sizeof(text), "%s at %s:%d", g->created_in, file,
                   g->created_line);
    return call_dup(m->c, text);
}

static PbGoroutineGroup *
group_make(struct making *m, const struct group *gr)
{
    PbGoroutineGroup *out = call_new(m->c, &pb_goroutine_group__descriptor);
    const struct go_info *v = gr->first;
    int64_t since = INT64_MAX;

    if (out == NULL)
        return NULL;
    out->ids = call_array(m->c, gr->n < IDS_MAX ? gr->n : IDS_MAX, sizeof(*out->ids));
    if (out->ids == NULL)
        return NULL;
    for (size_t i = 0; i < gr->n; i++) {
        if (i < IDS_MAX)
            out->ids[out->n_ids++] = (uint64_t)v[i].id;
        if (v[i].since > 0 && v[i].since < since)
            since = v[i].since;
    }
    PB_SET(out, count, gr->n);
    out->state = call_dup(m->c, go_state_name(v->state));
    if (v->reason != NULL)
        out->reason = call_dup(m->c, v->reason);
    if (v->name != NULL)
        out->name = call_dup(m->c, v->name);
    if (v->created_in != NULL)
        out->spawned_by = spawned_by(m, v);
    if (since < INT64_MAX)
        out->longest = call_duration(m->c, go_now() - since);
    return fill_frames(m, out, v) < 0 ? NULL : out;
}

/* What was looked at, grouped, as the reply; job 0: of no job. */
static int
reply(struct call *c, struct looks *all, uint64_t job)
{
    PbGoroutinesReply *rep = call_new(c, &pb_goroutines_reply__descriptor);
    struct group *groups = call_array(c, GROUPS_MAX, sizeof(*groups));
    struct making m = {.c = c};
    struct go_line *lines;
    size_t n;

    if (rep == NULL || groups == NULL)
        return -ENOBUFS;
    n = group(all->v, all->n, groups, GROUPS_MAX);
    rep->groups = call_array(c, n + 1, sizeof(*rep->groups));
    lines = lines_of(groups, n, &m.n_lines);
    m.lines = lines;
    if (rep->groups == NULL || lines == NULL) {
        free(lines);
        return -ENOBUFS;
    }
    for (size_t i = 0; i < n; i++) {
        rep->groups[i] = group_make(&m, &groups[i]);
        if (rep->groups[i] == NULL)
            break;
        if (job != 0)
            PB_SET(rep->groups[i], job, job);
        rep->n_groups++;
    }
    free(lines);
    if (rep->n_groups < n)
        return -ENOBUFS;
    PB_SET(rep, total, all->total);
    c->rep->reply_case = PB_RESPONSE__REPLY_GOROUTINES;
    c->rep->goroutines = rep;
    return 0;
}

int
call_goroutines(struct call *c)
{
    struct looks all;
    int r = look(&all);

    if (r < 0)
        return r;
    r = reply(c, &all, 0);
    free(all.v);
    return r;
}

/* --- of one job -------------------------------------------------------------------------- */

static int64_t
creator_of(const struct looks *all, const struct go_info *g)
{
    struct go_info key = {.id = g->creator};

    if (g->creator <= 0)
        return -1;
    const struct go_info *found = bsearch(&key, all->v, all->n, sizeof(key), by_id);

    return found != NULL ? found - all->v : -1;
}

/* Leaves the goroutine `root`, those it spawned, those they spawned, and so on. */
static int
keep_family(struct looks *all, int64_t root)
{
    bool *mine = calloc(all->n + 1, sizeof(*mine)), more = true;
    size_t n = 0;

    if (mine == NULL)
        return -ENOMEM;
    qsort(all->v, all->n, sizeof(*all->v), by_id);
    while (more) {
        more = false;
        for (size_t i = 0; i < all->n; i++) {
            int64_t creator = mine[i] ? -1 : creator_of(all, &all->v[i]);

            if (mine[i] || (all->v[i].id != root && (creator < 0 || !mine[creator])))
                continue;
            mine[i] = more = true;
        }
    }
    for (size_t i = 0; i < all->n; i++)
        if (mine[i])
            all->v[n++] = all->v[i];
    free(mine);
    all->total = all->n = n;
    return 0;
}

/* Refuses: there is no goroutine of that job. */
static int
not_running(struct call *c, int64_t id)
{
    struct store_jobs jobs = {.v = NULL};
    int r = CALL_READ(c, rd, store_read_job(rd, id, 0, &jobs));

    store_jobs_free(&jobs);
    if (r < 0)
        return r;
    return r == 0 ? call_fail(c, PB_ERROR__CODE__NOT_FOUND, "job", "there is no job %lld",
                              (long long)id)
                  : call_fail(c, PB_ERROR__CODE__CONFLICT, "job", "job %lld does not run",
                              (long long)id);
}

int
call_stack(struct call *c)
{
    int64_t id = (int64_t)PB_GET(c->req->stack, job, 0);
    struct dispatch_look job;
    struct looks all;
    int r;

    if (!dispatch_look(c->d->dispatch, id, &job) || job.goroutine == 0)
        return not_running(c, id);
    r = look(&all);
    if (r < 0)
        return r;
    r = keep_family(&all, job.goroutine);
    if (r == 0 && all.n == 0)
        r = call_fail(c, PB_ERROR__CODE__CONFLICT, "job", "job %lld has just ended",
                      (long long)id);
    if (r == 0)
        r = reply(c, &all, (uint64_t)id);
    free(all.v);
    return r;
}
