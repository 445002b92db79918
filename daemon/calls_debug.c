#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/call.h"
#include "daemon/dispatch.h"
#include "daemon/store/backup.h"
#include "runtime/go.h"

/* --- goroutines -------------------------------------------------------------------------- */

enum { GROUPS_MAX = 2000, IDS_MAX = 20 };

struct gathering {
    struct go_info *v;
    size_t n, cap;
    uint64_t total;
};

static void
gather(const struct go_info *g, void *arg)
{
    struct gathering *all = arg;

    all->total++;
    if (all->n < all->cap)
        all->v[all->n++] = *g;
}

static int
compare(const struct go_info *x, const struct go_info *y)
{
    if (x->state != y->state)
        return x->state < y->state ? -1 : 1;
    if (x->npc != y->npc)
        return x->npc < y->npc ? -1 : 1;
    return memcmp(x->pc, y->pc, (size_t)x->npc * sizeof(x->pc[0]));
}

static int
by_stack(const void *a, const void *b)
{
    return compare(a, b);
}

static char *
text(struct call *c, const char *s)
{
    return s != NULL ? call_dup(c, s) : NULL;
}

static int
fill_frames(struct call *c, PbGoroutineGroup *out, const struct go_info *g)
{
    char name[256];

    out->frames = call_array(c, (size_t)g->npc + 1, sizeof(*out->frames));
    for (int i = 0; out->frames != NULL && i < g->npc; i++) {
        PbFrame *f = call_new(c, &pb_frame__descriptor);

        if (f == NULL)
            return -ENOBUFS;
        f->function = call_dup(c, go_symbol(g->pc[i], name, sizeof(name)));
        PB_SET(f, address, (uint64_t)(uintptr_t)g->pc[i]);
        out->frames[out->n_frames++] = f;
    }
    return out->frames != NULL ? 0 : -ENOBUFS;
}

/* v[0 … n) have the same stack. */
static PbGoroutineGroup *
group_make(struct call *c, const struct go_info *v, size_t n)
{
    PbGoroutineGroup *out = call_new(c, &pb_goroutine_group__descriptor);
    int64_t since = INT64_MAX;

    if (out == NULL)
        return NULL;
    out->ids = call_array(c, n < IDS_MAX ? n : IDS_MAX, sizeof(*out->ids));
    if (out->ids == NULL)
        return NULL;
    for (size_t i = 0; i < n; i++) {
        if (i < IDS_MAX)
            out->ids[out->n_ids++] = (uint64_t)v[i].id;
        if (v[i].since > 0 && v[i].since < since)
            since = v[i].since;
    }
    PB_SET(out, count, n);
    out->state = text(c, go_state_name(v->state));
    out->reason = text(c, v->reason);
    out->spawned_by = text(c, v->created_in);
    if (since < INT64_MAX)
        out->longest = call_duration(c, go_now() - since);
    return fill_frames(c, out, v) < 0 ? NULL : out;
}

int
call_goroutines(struct call *c)
{
    PbGoroutinesReply *rep = call_new(c, &pb_goroutines_reply__descriptor);
    struct gathering all = {.cap = (size_t)go_num_goroutine() + 1000};
    int r = 0;

    if (all.cap > 100000)
        all.cap = 100000;
    all.v = calloc(all.cap, sizeof(*all.v));
    if (rep == NULL || all.v == NULL) {
        free(all.v);
        return call_fail(c, PB_ERROR__CODE__INTERNAL, NULL, "out of memory");
    }
    go_each(gather, &all);
    qsort(all.v, all.n, sizeof(*all.v), by_stack);
    PB_SET(rep, total, all.total);
    rep->groups = call_array(c, GROUPS_MAX, sizeof(*rep->groups));
    if (rep->groups == NULL)
        r = -ENOBUFS;
    for (size_t i = 0, k; r == 0 && i < all.n && rep->n_groups < GROUPS_MAX; i = k) {
        for (k = i + 1; k < all.n && compare(&all.v[i], &all.v[k]) == 0; k++)
            ;
        rep->groups[rep->n_groups] = group_make(c, &all.v[i], k - i);
        if (rep->groups[rep->n_groups++] == NULL)
            r = -ENOBUFS;
    }
    free(all.v);
    if (r < 0)
        return r;
    c->rep->reply_case = PB_RESPONSE__REPLY_GOROUTINES;
    c->rep->goroutines = rep;
    return 0;
}

int
call_stack(struct call *c)
{
    PbGoroutinesReply *rep = call_new(c, &pb_goroutines_reply__descriptor);
    int64_t id = (int64_t)PB_GET(c->req->stack, job, 0);
    struct dispatch_look look;
    struct go_info info;

    if (rep == NULL)
        return -ENOBUFS;
    if (!dispatch_look(c->d->dispatch, id, &look) || look.goroutine == 0 ||
        go_info(look.goroutine, &info) < 0)
        return call_fail(c, PB_ERROR__CODE__CONFLICT, "job", "job %lld does not run",
                         (long long)id);
    rep->groups = call_array(c, 1, sizeof(*rep->groups));
    if (rep->groups == NULL)
        return -ENOBUFS;
    rep->groups[0] = group_make(c, &info, 1);
    if (rep->groups[0] == NULL)
        return -ENOBUFS;
    PB_SET(rep->groups[0], job, (uint64_t)id);
    PB_SET(rep, total, 1);
    rep->n_groups = 1;
    c->rep->reply_case = PB_RESPONSE__REPLY_GOROUTINES;
    c->rep->goroutines = rep;
    return 0;
}

/* --- check ------------------------------------------------------------------------------- */

int
call_check(struct call *c)
{
    PbCheckReply *rep = call_new(c, &pb_check_reply__descriptor);
    char err[512] = "";
    int r;

    if (rep == NULL)
        return -ENOBUFS;
    r = GO_BLOCKING(store_verify(store_path(c->d->store), NULL, err, sizeof(err)));
    if (r < 0 && r != -EUCLEAN)
        return call_store_failed(c, r, err);
    PB_SET(rep, ok, r == 0);
    if (r < 0) {
        rep->problems = call_array(c, 1, sizeof(*rep->problems));
        if (rep->problems == NULL)
            return -ENOBUFS;
        rep->problems[0] = call_dup(c, err);
        rep->n_problems = rep->problems[0] != NULL;
    }
    c->rep->reply_case = PB_RESPONSE__REPLY_CHECK;
    c->rep->check = rep;
    return 0;
}
