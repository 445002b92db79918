/*
 * Who waits for what: goroutines that sleep until a commit changes something of a batch, or
 * anything at all.
 *
 *     struct hub_waiter w;
 *     hub_enter(hub, &w, batch, HUB_FINISHES);
 *     for (;;) {
 *         ... look into the store; enough? break ...
 *         r = hub_wait(hub, &w, deadline, ctx);     // -ETIMEDOUT, -ECANCELED
 *     }
 *     hub_leave(hub, &w);
 *
 * Entering before looking closes the race: what is committed after the look wakes. A
 * waiter costs its struct, on the goroutine's stack, and nothing while it sleeps; a commit
 * costs one look-up for each batch it touched.
 */
#ifndef GOJOBD_DAEMON_HUB_H
#define GOJOBD_DAEMON_HUB_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/store/events.h"
#include "runtime/sync/sem.h"

struct go_ctx;
struct hub;

/* What wakes a waiter. */
enum hub_what {
    HUB_FINISHES = 1, /* a job of the batch reached a final state */
    HUB_ENDS = 2,     /* the batch ended or is being cancelled */
    HUB_ANY = 4,      /* any event; of any batch when that is 0 */
    HUB_PROGRESS = 8, /* a running job of the batch, or of any, came further */
};

struct hub_waiter {
    struct hub_waiter *next_, **link_; /* guarded by the hub */
    int64_t batch_;
    unsigned what_;
    bool woken_; /* atomic: sem_ has a unit, or the waiter has just taken it */
    struct go_sem sem_;
};

int hub_new(struct hub **ret);
void hub_free(struct hub *hub); /* nobody may be waiting; NULL is fine */

void hub_enter(struct hub *hub, struct hub_waiter *w, int64_t batch, unsigned what);
void hub_leave(struct hub *hub, struct hub_waiter *w);

/* PARKS until something happened since the last call, or since hub_enter(): 0. -ETIMEDOUT at
 * deadline, ctx's error when that ends, -ESHUTDOWN once the hub is closed. */
int hub_wait(struct hub *hub, struct hub_waiter *w, int64_t deadline, struct go_ctx *ctx);

/* What a commit changed; from the writer's goroutine. */
void hub_tell(struct hub *hub, struct event_cursor events);

/* A running job of the batch came further. */
void hub_moved(struct hub *hub, int64_t batch);

/* Wake everybody for the last time. */
void hub_close(struct hub *hub);

/* How many wait now. */
int64_t hub_waiters(const struct hub *hub);

/* Jobs submitted, and jobs ended, as told since the start. */
struct hub_totals {
    int64_t submitted, ended;
};
struct hub_totals hub_totals(const struct hub *hub);

#endif
