/*
 * Events to subscribers: a PUB socket of nng on every URL of `events`. A message is the
 * topic "b/<batch id>/" and the packed Event. Costs next to nothing while nobody listens.
 * Who comes is told of the daemon, and so of the number from which it hears everything.
 * PUB drops what a slow subscriber does not take: the numbers show it, and the call
 * `events` has the rest.
 *
 * Context    pub_tell(): the writer's goroutine; never parks.
 */
#ifndef GOJOBD_DAEMON_PUB_H
#define GOJOBD_DAEMON_PUB_H

#include <stddef.h>

#include "daemon/daemon.h"
#include "daemon/store/events.h"

struct pub;
struct pulse_beat;

/* After pulse_start(). 0 or -errno and a sentence in err. */
int pub_start(struct daemon *d, const struct config *cfg, struct pub **ret, char *err,
              size_t err_size);
void pub_stop(struct pub *pub); /* after the writer; NULL is fine */

/* What a commit changed. */
void pub_tell(struct pub *pub, struct event_cursor events);

/* To those who subscribe to batch 0: the daemon's epoch and state, and the number of the last
 * event. pub may be NULL. */
void pub_daemon(struct pub *pub);

/* The same, once for those who came since it was last called; from pulse's goroutine. */
void pub_greet(struct pub *pub);

/* A running job came further; from pulse's goroutine. pub may be NULL. */
void pub_progress(struct pub *pub, const struct pulse_beat *beat);

#endif
