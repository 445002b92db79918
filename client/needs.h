/*
 * What a job waits for: --needs and --then-on, and the places of a file's jobs.
 */
#ifndef GOJOBD_CLIENT_NEEDS_H
#define GOJOBD_CLIENT_NEEDS_H

#include "client/cli.h"

/* The needs of a job that says none itself. False after a complaint. */
bool needs_default(struct cli *cli, struct proto_arena *arena, PbJobSpec *spec);

/* The ids of a file's jobs, in order, as runs: a million in a row cost one. Zero is empty. */
struct id_runs {
    struct id_run {
        uint64_t place, id, n; /* the jobs place … place + n - 1 are id … id + n - 1 */
    } * v;
    size_t n, cap;
    uint64_t count; /* of ids */
};

/* False when out of memory. */
bool id_runs_add(struct id_runs *r, const uint64_t *ids, size_t n);
void id_runs_fini(struct id_runs *r);

/* needs.siblings as the daemon takes them: those at `base` and after, which are in the same
 * message, counted from there; those before it by their ids. 0, or the place at fault + 1:
 * it is not before job `place`. -1: no memory. */
int64_t needs_place(struct proto_arena *arena, PbNeeds *needs, uint64_t place,
                    uint64_t base, const struct id_runs *ids);

/* Whether a place before `base` is named. */
bool needs_earlier(const PbNeeds *needs, uint64_t base);

#endif
