/* Queues as clients see them. */
#ifndef GOJOBD_DAEMON_QUEUEPB_H
#define GOJOBD_DAEMON_QUEUEPB_H

#include "daemon/call.h"

/* All queues, and in sum (may be NULL) their jobs by state. 0, or refused. PARKS. */
int queuepb_all(struct call *c, PbQueue ***ret, size_t *ret_n, PbCounts *sum);

#endif
