/*
 * Who may call. Over ipc the kernel says who the peer is: root and the daemon's own user
 * are administrators; others, if socket.users lets them in, may submit. A token, wherever
 * it comes from, gives what the configuration says of it.
 */
#ifndef GOJOBD_DAEMON_ACCESS_H
#define GOJOBD_DAEMON_ACCESS_H

#include "config/config.h"

struct call_peer;

/* enum cfg_access, or -EACCES. token may be NULL. Never parks. */
int access_check(const struct config *cfg, const struct call_peer *peer,
                 const char *token);

#endif
