#include "client/needs.h"

#include <stdlib.h>
#include <string.h>

#include "proto/json.h"
#include "proto/wire.h"

/* --- options ---------------------------------------------------------------------------- */

static bool
complain(const char *text)
{
    (void)out_fail(
        EXIT_USAGE,
        "--needs: \"%s\" is not JOB, batch:BATCH (a number or name) or key:KEY", text);
    return false;
}

/* "17", "job:17", "batch:7", "batch:NAME", "key:K". */
static bool
add(struct cli *cli, PbNeeds *n, const char *text)
{
    const char *name;
    uint64_t id;

    if (strncmp(text, "key:", 4) == 0 && text[4] != '\0') {
        n->keys[n->n_keys++] = cli_dup(cli, text + 4);
        return true;
    }
    if (strncmp(text, "batch:", 6) == 0 && text[6] != '\0') {
        cli_batch(text + 6, &id, &name);
        if (name == NULL)
            n->batches[n->n_batches++] = id;
        else
            n->batch_names[n->n_batch_names++] = cli_dup(cli, name);
        return true;
    }
    if (strncmp(text, "job:", 4) == 0)
        text += 4;
    cli_batch(text, &id, &name);
    if (name != NULL)
        return complain(text);
    n->jobs[n->n_jobs++] = id;
    return true;
}

/* As the options say; the same for every job. *ret NULL: they say nothing. */
static bool
from_options(struct cli *cli, PbNeeds **ret)
{
    const struct texts *t = &cli->a.needs;
    PbNeeds *n = cli_new(cli, &pb_needs__descriptor);
    struct proto_err err = {0};
    int on;

    *ret = NULL;
    if (cli->a.then_on != NULL) {
        if (proto_enum_parse(&pb_needs__on__descriptor, cli->a.then_on, &on, "--then-on",
                             &err) < 0) {
            (void)out_fail(EXIT_USAGE, "%s", err.text);
            return false;
        }
        PB_SET(n, on, (PbNeeds__On)on);
        if (t->n == 0) {
            (void)out_fail(EXIT_USAGE, "--then-on goes with --needs");
            return false;
        }
    }
    if (t->n == 0)
        return true;
    n->jobs = cli_alloc(cli, t->n * sizeof(*n->jobs));
    n->batches = cli_alloc(cli, t->n * sizeof(*n->batches));
    n->batch_names = cli_alloc(cli, t->n * sizeof(*n->batch_names));
    n->keys = cli_alloc(cli, t->n * sizeof(*n->keys));
    for (size_t i = 0; i < t->n; i++)
        if (!add(cli, n, t->v[i]))
            return false;
    *ret = n;
    return true;
}

bool
needs_default(struct cli *cli, struct proto_arena *arena, PbJobSpec *spec)
{
    (void)arena;
    if (!cli->needs_read) {
        if (!from_options(cli, &cli->needs))
            return false;
        cli->needs_read = true;
    }
    if (spec->needs == NULL)
        spec->needs = cli->needs;
    return true;
}

/* --- places ----------------------------------------------------------------------------- */

bool
id_runs_add(struct id_runs *r, const uint64_t *ids, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (r->n > 0 && ids[i] == r->v[r->n - 1].id + r->v[r->n - 1].n) {
            r->v[r->n - 1].n++;
            r->count++;
            continue;
        }
        if (r->v == NULL || r->n == r->cap) {
            size_t cap = r->cap > 0 ? r->cap * 2 : 16;
            struct id_run *v = realloc(r->v, cap * sizeof(*v));

            if (v == NULL)
                return false;
            r->v = v;
            r->cap = cap;
        }
        r->v[r->n++] = (struct id_run){.place = r->count++, .id = ids[i], .n = 1};
    }
    return true;
}

void
id_runs_fini(struct id_runs *r)
{
    free(r->v);
    *r = (struct id_runs){0};
}

/* place < r->count. */
static uint64_t
id_at(const struct id_runs *r, uint64_t place)
{
    size_t lo = 0, hi = r->n;

    while (hi - lo > 1) {
        size_t mid = (lo + hi) / 2;

        if (r->v[mid].place <= place)
            lo = mid;
        else
            hi = mid;
    }
    return r->v[lo].id + (place - r->v[lo].place);
}

bool
needs_earlier(const PbNeeds *needs, uint64_t base)
{
    for (size_t i = 0; needs != NULL && i < needs->n_siblings; i++)
        if (needs->siblings[i] < base)
            return true;
    return false;
}

int64_t
needs_place(struct proto_arena *arena, PbNeeds *needs, uint64_t place, uint64_t base,
            const struct id_runs *ids)
{
    size_t left = 0;
    uint64_t *jobs;

    for (size_t i = 0; i < needs->n_siblings; i++)
        if (needs->siblings[i] >= place)
            return (int64_t)needs->siblings[i] + 1;
    jobs = proto_arena_alloc(arena, (needs->n_jobs + needs->n_siblings) * sizeof(*jobs));
    if (jobs == NULL)
        return -1;
    if (needs->n_jobs > 0)
        memcpy(jobs, needs->jobs, needs->n_jobs * sizeof(*jobs));
    for (size_t i = 0; i < needs->n_siblings; i++)
        if (needs->siblings[i] < base)
            jobs[needs->n_jobs++] = id_at(ids, needs->siblings[i]);
        else
            needs->siblings[left++] = needs->siblings[i] - (uint32_t)base;
    needs->jobs = jobs;
    needs->n_siblings = left;
    return 0;
}
