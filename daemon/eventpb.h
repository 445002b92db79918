/* The store's events as clients see them. */
#ifndef GOJOBD_DAEMON_EVENTPB_H
#define GOJOBD_DAEMON_EVENTPB_H

#include "daemon/call.h"

/* Submitted jobs are one event: a single one as a job, several as a batch that grew. NULL:
 * no memory. Never parks; nothing is read: ids, states, times and attempts only. */
PbEvent *eventpb_make(struct proto_arena *a, const struct store_event *ev);

#endif
