/* How long to wait before a further attempt: initial * factor^fails, at most max, with
 * jitter. What the spec does not say, the configuration does. */
#ifndef GOJOBD_DAEMON_BACKOFF_H
#define GOJOBD_DAEMON_BACKOFF_H

#include <stdint.h>

#include "config/config.h"

/* fails: attempts spent before the one that failed just now. b may be NULL. Never negative. */
int64_t backoff_ns(const struct config *cfg, const PbBackoff *b, int64_t fails);

/* The same with the random number given, 0 <= u < 1. */
int64_t backoff_at(const struct config *cfg, const PbBackoff *b, int64_t fails, double u);

#endif
