/*
 * What came of a transfer, as the job's result or its error.
 */
#ifndef GOJOBD_JOBS_FETCH_RESULT_H
#define GOJOBD_JOBS_FETCH_RESULT_H

#include "jobs/fetch_engine.h"
#include "jobs/kind.h"

/* Makes run->result of a transfer that succeeded. 0, or -errno: no memory, or a status of 400
 * or more that fails the job (the result is there). */
int fetch_report(struct job_run *run, struct fetch *f);

/* Records why a transfer failed. -errno. */
int fetch_failed(struct job_run *run, const struct fetch *f);

#endif
