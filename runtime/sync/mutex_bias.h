/* The mutex that one thread owns: mutex_bias.c. Internal. */
#ifndef GOJOBD_RUNTIME_SYNC_MUTEX_BIAS_H
#define GOJOBD_RUNTIME_SYNC_MUTEX_BIAS_H

#include "runtime/sync/mutex.h"

/* BIASED was seen in mu's state: returns once it is not, and mu an ordinary mutex. Runtime
 * entered or not. */
void mutex_unbias(struct go_mutex *mu);

#endif
