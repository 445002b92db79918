/*
 * Events to subscribers: a PUB socket of nng on every URL of `events`. A message is the
 * topic "b/<batch id>/" and the packed Event. Costs next to nothing while nobody listens.
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

/* A running job came further; from pulse's goroutine. pub may be NULL. */
void pub_progress(struct pub *pub, const struct pulse_beat *beat);

#endif
