/*
 * A look at a goroutine that runs on meanwhile: a consistent copy of what is known of it.
 * Takes no lock, so a dying process can use it.
 */
#ifndef GOJOBD_RUNTIME_DEBUG_LOOK_H
#define GOJOBD_RUNTIME_DEBUG_LOOK_H

#include <stdbool.h>

#include "runtime/debug/dump.h"
#include "runtime/sched/rt.h"

struct rt_snap {
    struct go_info info;
    go_entry_fn *fn;
    const char *site_fn; /* the function as written in the go statement */
    bool cut;            /* there are more frames than info.pc holds */
    bool exact;          /* info.pc[0] is an instruction, the rest are return addresses */
    bool system;         /* a goroutine of the runtime's own */
    bool locked;         /* tied to a thread */
};

/* A series of looks. */
struct rt_looker {
    const struct go_g *self; /* the caller's goroutine, NULL on other threads */
    const void *fp;          /* frame whose caller is the innermost shown of self */
    int silent;              /* threads that did not answer in time */
};

/* fp: __builtin_frame_address(0) of the function that the user called. */
void rt_looker_init(struct rt_looker *l, const void *fp);

/* What is constant while g lives. */
void rt_snap_constants(const struct go_g *g, struct rt_snap *s);

/* False if g is dead or stands in for a foreign thread. A running goroutine is interrupted
 * for its backtrace, which may take 100 ms at worst; after some have not answered, no more
 * are asked. */
bool rt_look(struct rt_looker *l, struct go_g *g, struct rt_snap *ret);

#endif
