/* Listeners of nng sockets as the configuration has them: modes, owners and TLS. */
#ifndef GOJOBD_DAEMON_LISTEN_H
#define GOJOBD_DAEMON_LISTEN_H

#include <stddef.h>
#include <stdint.h>

#include "config/config.h"

/* Start listening on url with socket (nng's id): 0 or -errno and a sentence in err. */
int listen_on(uint32_t socket, const struct config *cfg, const char *url, char *err,
              size_t err_size);

#endif
