/* Queue names by id, remembered: queues are never deleted or renamed. */
#ifndef GOJOBD_DAEMON_NAMES_H
#define GOJOBD_DAEMON_NAMES_H

#include "daemon/call.h"

/* The daemon's own string. NULL when there is no such queue. PARKS for the first time. */
char *names_queue(struct call *c, int64_t id);

#endif
