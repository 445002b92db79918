/*
 * How far running jobs are: looked at twice a second while anybody watches, told to
 * subscribers (pub.h) and kept for a while for the call `events`. Never stored.
 *
 * However many jobs run, a round returns a bounded number of those that came further; the
 * others' turn comes in the rounds that follow.
 */
#ifndef GOJOBD_DAEMON_PULSE_H
#define GOJOBD_DAEMON_PULSE_H

#include <stddef.h>
#include <stdint.h>

#include "daemon/daemon.h"
#include "daemon/dispatch.h"

struct pulse;

int pulse_start(struct daemon *d, struct pulse **ret);
void pulse_stop(struct pulse *p); /* no more rounds; NULL is fine */
void pulse_free(struct pulse *p); /* after pulse_stop(); nobody watches; NULL is fine */

/* One watcher more (+1) or less (-1). Any thread; never parks for long. */
void pulse_watch(struct pulse *p, int more);

/* A job that came further. */
struct pulse_beat {
    int64_t at_ms; /* when it was looked at, since 1970 */
    struct dispatch_look look;
};

/* Up to max beats after number *after, which is moved on: how many. A number that is not
 * known (0 at first, one of a daemon that is gone) means: from now on. */
size_t pulse_read(struct pulse *p, uint64_t *after, size_t max, struct pulse_beat *ret);

#endif
