#include "daemon/store/resolve.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/store/inner.h"
#include "runtime/base/check.h"

/*
 * Ids are given out in the order of the message, but a key that is known already leads to
 * the older job. So the ids are planned first, then keys and places become ids. A job may
 * wait for one that stands behind it; only a circle is refused, found by a walk in depth
 * over the new jobs, in memory that is asked for once.
 */

struct named {
    const char *key;
    size_t index;
};

struct resolver {
    struct store *st;
    const struct store_submit *sub;
    struct store_resolved *out;
    struct named
        *names; /* the message's keys, sorted, of equal ones the first in front */
    size_t n_names;
    int64_t base;      /* the first new id */
    size_t *index_of;  /* index_of[id - base]: which job of the message that is */
    size_t *next;      /* the walk: the next dependency of each job to look at */
    size_t *path;      /* the walk: from its start to where it is */
    unsigned char *at; /* the walk: NEW, ON_PATH, DONE */
};

enum { NEW, ON_PATH, DONE };

static int
by_key(const void *a, const void *b)
{
    const struct named *x = a, *y = b;
    int r = strcmp(x->key, y->key);

    return r != 0 ? r : x->index < y->index ? -1 : x->index > y->index;
}

/* The first job of the message with that key. */
static const struct named *
find_name(const struct resolver *v, const char *key)
{
    size_t lo = 0, hi = v->n_names;

    while (lo < hi) {
        size_t mid = (lo + hi) / 2;

        if (strcmp(v->names[mid].key, key) < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < v->n_names && strcmp(v->names[lo].key, key) == 0 ? &v->names[lo] : NULL;
}

static int
plan_ids(struct resolver *v)
{
    int64_t next = v->base;

    for (size_t i = 0; i < v->sub->n_jobs; i++)
        if (v->sub->jobs[i].key != NULL)
            v->names[v->n_names++] = (struct named){v->sub->jobs[i].key, i};
    qsort(v->names, v->n_names, sizeof(*v->names), by_key);
    for (size_t i = 0; i < v->sub->n_jobs; i++) {
        const char *key = v->sub->jobs[i].key;
        const struct named *first = key != NULL ? find_name(v, key) : NULL;
        int r = 0;

        if (first != NULL && first->index < i) {
            v->out->ids[i] = v->out->ids[first->index];
            continue;
        }
        if (key != NULL)
            r = store_key_get(v->st, key, &v->out->ids[i]);
        if (r < 0)
            return r;
        if (r > 0)
            continue;
        v->out->fresh[i] = true;
        v->index_of[next - v->base] = i;
        v->out->ids[i] = next++;
    }
    return 0;
}

/* Job i of the message: a new one, or the older one with its key. */
static void
to_sibling(const struct resolver *v, size_t i, struct store_dep *ret)
{
    ret->on_job = true;
    ret->id = v->out->ids[i];
    ret->sibling = ret->id >= v->base;
}

static int
resolve_dep(struct resolver *v, size_t i, const struct store_dep *d,
            struct store_dep *ret)
{
    const struct named *name;
    int r;

    *ret = (struct store_dep){.id = d->id, .on_job = d->on_job, .mode = d->mode};
    if (d->sibling) {
        if (d->id < 0 || d->id >= (int64_t)v->sub->n_jobs)
            return store_refuse(v->st, -EINVAL,
                                "job %zu of the message waits for job %lld of it, "
                                "which has only %zu, counted from 0",
                                i, (long long)d->id, v->sub->n_jobs);
        to_sibling(v, (size_t)d->id, ret);
    } else if (d->key != NULL) {
        name = find_name(v, d->key);
        if (name != NULL) {
            to_sibling(v, name->index, ret);
            return 0;
        }
        ret->on_job = true;
        r = store_key_get(v->st, d->key, &ret->id);
        if (r <= 0)
            return r < 0 ? r
                         : store_refuse(v->st, -ENOENT,
                                        "there is no job with the key \"%.100s\" to wait "
                                        "for",
                                        d->key);
    }
    return 0;
}

static int
resolve_all(struct resolver *v)
{
    struct store_dep *at = v->out->all;

    ENSURE(at != NULL);
    for (size_t i = 0; i < v->sub->n_jobs; i++) {
        const struct store_new_job *j = &v->sub->jobs[i];

        v->out->deps[i] = at;
        for (size_t k = 0; k < j->n_deps; k++) {
            int r = resolve_dep(v, i, &j->deps[k], at++);

            if (r < 0)
                return r;
        }
    }
    return 0;
}

/* The new job of the message that dependency k of job i is; -1: it is something else. */
static int64_t
sibling_of(const struct resolver *v, size_t i, size_t k)
{
    const struct store_dep *d = &v->out->deps[i][k];

    return d->sibling ? (int64_t)v->index_of[d->id - v->base] : -1;
}

static int
walk(struct resolver *v, size_t start)
{
    size_t n = 0;

    v->path[n++] = start;
    v->at[start] = ON_PATH;
    while (n > 0) {
        size_t i = v->path[n - 1];
        int64_t to;

        if (v->next[i] == v->sub->jobs[i].n_deps) {
            v->at[i] = DONE;
            n--;
            continue;
        }
        to = sibling_of(v, i, v->next[i]++);
        if (to < 0 || v->at[to] == DONE)
            continue;
        if (v->at[to] == ON_PATH)
            return store_refuse(v->st, -ELOOP,
                                "a cycle: job %zu of the message waits for job %lld of "
                                "it, which waits for it",
                                i, (long long)to);
        v->at[to] = ON_PATH;
        v->path[n++] = (size_t)to;
    }
    return 0;
}

static int
find_cycle(struct resolver *v)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < v->sub->n_jobs; i++)
        if (v->out->fresh[i] && v->at[i] == NEW)
            r = walk(v, i);
    return r;
}

/* Whether any job names another by key or place, and how many dependencies there are. */
static bool
needed(const struct store_submit *sub, size_t *ret_n)
{
    bool any = false;

    *ret_n = 0;
    for (size_t i = 0; i < sub->n_jobs; i++) {
        *ret_n += sub->jobs[i].n_deps;
        for (size_t k = 0; !any && k < sub->jobs[i].n_deps; k++)
            any = sub->jobs[i].deps[k].sibling || sub->jobs[i].deps[k].key != NULL;
    }
    return any;
}

static bool
allocate(struct resolver *v, size_t n, size_t n_deps)
{
    struct store_resolved *out = v->out;

    out->deps = calloc(n, sizeof(struct store_dep *));
    out->all = calloc(n_deps, sizeof(*out->all));
    out->ids = calloc(n, sizeof(*out->ids));
    out->fresh = calloc(n, sizeof(*out->fresh));
    v->names = calloc(n, sizeof(*v->names));
    v->index_of = calloc(n, sizeof(*v->index_of));
    v->next = calloc(n, sizeof(*v->next));
    v->path = calloc(n, sizeof(*v->path));
    v->at = calloc(n, sizeof(*v->at));
    return out->deps != NULL && out->all != NULL && out->ids != NULL &&
           out->fresh != NULL && v->names != NULL && v->index_of != NULL &&
           v->next != NULL && v->path != NULL && v->at != NULL;
}

int
store_resolve(struct store *st, const struct store_submit *sub,
              struct store_resolved *ret)
{
    struct store_resolved out = {.deps = NULL};
    struct resolver v = {.st = st, .sub = sub, .out = &out, .base = st->ids.job};
    size_t n = sub->n_jobs, n_deps;
    int r;

    *ret = out;
    if (!needed(sub, &n_deps))
        return 0;
    r = allocate(&v, n, n_deps) ? plan_ids(&v)
                                : store_refuse(st, -ENOMEM, "out of memory");
    if (r == 0)
        r = resolve_all(&v);
    if (r == 0)
        r = find_cycle(&v);
    free(v.names);
    free(v.index_of);
    free(v.next);
    free(v.path);
    free(v.at);
    if (r < 0)
        store_resolved_fini(&out);
    else
        *ret = out;
    return r;
}

void
store_resolved_fini(struct store_resolved *r)
{
    free(r->deps);
    free(r->all);
    free(r->ids);
    free(r->fresh);
    *r = (struct store_resolved){.deps = NULL};
}
