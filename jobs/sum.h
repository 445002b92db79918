/*
 * What the files of the sum kind share.
 */
#ifndef GOJOBD_JOBS_SUM_H
#define GOJOBD_JOBS_SUM_H

#include <stddef.h>

#include "jobs/kind.h"
#include "jobs/sum_exact.h"

/* The sum of the spec's file, by so many parts at most. PARKS. As job_kind.run. */
int sum_file(struct job_run *run, size_t parts);

/* Makes run->result. 0, or -errno: the sum left 128 bits, or memory is short. */
int sum_report(struct job_run *run, const struct exact *x, size_t parts);

/* Where part i of n begins in total. */
size_t sum_share(size_t total, size_t i, size_t n);

#endif
