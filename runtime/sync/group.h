/*
 * Group: goroutines working on parts of one task (Go's golang.org/x/sync/errgroup). The
 * first error cancels the group's context and is what wait returns.
 *
 *     struct go_group g;
 *     go_group_init(&g, ctx, 8);                  // at most 8 at once
 *     for (int i = 0; i < n; i++)
 *         go_group_go(&g, fetch_one, &item[i]);   // int fetch_one(struct go_ctx *, void *)
 *     r = go_group_wait(&g);
 */
#ifndef GOJOBD_RUNTIME_SYNC_GROUP_H
#define GOJOBD_RUNTIME_SYNC_GROUP_H

#include "runtime/sync/sem.h"
#include "runtime/sync/wg.h"

struct go_ctx;

struct go_group {
    struct go_ctx *ctx; /* cancelled by the first error and by wait */
    struct go_wg wg;
    struct go_sem slots;
    int limit; /* 0: none */
    int err;   /* atomic: first error, set once */
};

/* ctx may be NULL for the background. limit 0 means as many as are started. 0 or -ENOMEM. */
int go_group_init(struct go_group *g, struct go_ctx *parent, int limit);

/* PARKS while limit goroutines run. Starts fn(g->ctx, arg); a negative result is an error.
 * 0, or go()'s error, which is then the group's error too. */
int go_group_go(struct go_group *g, int (*fn)(struct go_ctx *ctx, void *arg), void *arg);

/* As go_group_go, but -EAGAIN instead of parking. */
int go_group_trygo(struct go_group *g, int (*fn)(struct go_ctx *ctx, void *arg),
                   void *arg);

/* PARKS until all have returned; the first error or 0. Ends the group: its context is
 * cancelled and released. */
int go_group_wait(struct go_group *g);

#endif
