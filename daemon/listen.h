/* Listeners of nng sockets as the configuration has them: modes, owners and TLS. */
#ifndef GOJOBD_DAEMON_LISTEN_H
#define GOJOBD_DAEMON_LISTEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "config/config.h"

/* Start listening on url with socket (nng's id): 0 or -errno and a sentence in err. */
int listen_on(uint32_t socket, const struct config *cfg, const char *url, char *err,
              size_t err_size);

/* Closes a socket, at the end of the process, from goroutine main. PARKS, at most a second:
 * nng 1.5.2 sometimes waits for ever when clients connect just then. False: it still does, in
 * a goroutine of its own, and may call what the socket's owner has registered: that must
 * stay. */
bool listen_close(uint32_t socket);

#endif
