/*
 * The network side of calls: a REP socket of nng on every URL of `listen`, and contexts on
 * it, each served by a goroutine: receive, serve, send, again.
 *
 * nng calls back on threads of its own; such a callback only releases the semaphore its
 * goroutine waits for. There is always a spare context that receives: when the last one
 * gets a request another is made, up to limits.calls + limits.waiters.
 *
 * A client that goes away ends the contexts (go_ctx) of its calls, so that nobody waits on
 * its behalf.
 */
#ifndef GOJOBD_DAEMON_RPC_H
#define GOJOBD_DAEMON_RPC_H

#include <stddef.h>

#include "daemon/daemon.h"

struct rpc;

/* Listen and serve. 0 or -errno and a sentence in err. */
int rpc_start(struct daemon *d, const struct config *cfg, struct rpc **ret, char *err,
              size_t err_size);

/* PARKS until calls under way are answered or dropped. NULL is fine. */
void rpc_stop(struct rpc *rpc);

#endif
