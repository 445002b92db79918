/*
 * Opening anything below the configured roots: what files and patterns share.
 */
#ifndef GOJOBD_JOBS_FILE_ROOT_H
#define GOJOBD_JOBS_FILE_ROOT_H

#include "jobs/kind.h"

struct config;

enum { PATH_MAX_LEN = 4096 };

/* A descriptor, or -errno; -EACCES: path is below none of the roots; -EPERM: the file system
 * refused. PARKS. */
int job_root_open(const struct config *cfg, const char *path, int flags);

/* Records what r, from job_root_open, means for path. Returns r. */
int job_root_error(const char *path, const char *field, int r, struct job_error *err);

#endif
