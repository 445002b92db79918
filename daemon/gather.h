/*
 * The numbers of a sum that takes them from the results of what it waited for.
 *
 *     struct gather g = {.d = d, .cfg = cfg, .ctx = ctx};
 *     r = gather(&g, spec, &err);      // PARKS
 *     ... g.numbers ...
 *     gather_fini(&g);
 */
#ifndef GOJOBD_DAEMON_GATHER_H
#define GOJOBD_DAEMON_GATHER_H

#include "daemon/daemon.h"
#include "jobs/kind.h"

struct gather {
    /* The caller's. */
    struct daemon *d;
    const struct config *cfg;
    struct go_ctx *ctx;

    PbNumberList numbers; /* those of the spec as well */
    size_t cap_ints, cap_reals, cap_bigs;
};

/* 0; the error of ctx; else -errno, and err names the job that has no such number. PARKS. */
int gather(struct gather *g, const PbJobSpec *spec, struct job_error *err);
void gather_fini(struct gather *g);

#endif
