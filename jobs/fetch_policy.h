/*
 * Where a fetch may connect to. Judged is the address itself, at every connect, so after DNS
 * and after each redirect; and at every request, for a connection may have been kept since
 * another configuration.
 */
#ifndef GOJOBD_JOBS_FETCH_POLICY_H
#define GOJOBD_JOBS_FETCH_POLICY_H

#include "jobs/fetch_engine.h"

/* Installs the checks. The transfer's env says what is allowed. */
void fetch_policy_set(struct fetch *f);

#endif
