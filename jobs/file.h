/*
 * Files that jobs may read: those below the configured roots, and nothing else.
 *
 * A path is taken below the root it begins with; a relative one below the first root that
 * has it. The kernel resolves it (openat2 with RESOLVE_BENEATH), so neither "..", nor an
 * absolute link, nor a race between check and use leads out. Only regular files are opened:
 * a pipe or a device could block for ever or do something when opened.
 *
 * Context    a goroutine; all calls do file I/O in blocking regions and PARK.
 * Errors     -errno with err set: DENIED names the rule, NOT_FOUND and IO the path.
 */
#ifndef GOJOBD_JOBS_FILE_H
#define GOJOBD_JOBS_FILE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "jobs/kind.h"

struct config;

struct job_file {
    int fd;
    uint64_t size; /* when it was opened; 0 for what the kernel makes up as it is read */
};

/* What can be said of a path without looking: 0 or -EINVAL with err set. */
int job_path_check(const struct config *cfg, const char *path, const char *field,
                   struct job_error *err);

int job_file_open(const struct config *cfg, const char *path, const char *field,
                  struct job_file *ret, struct job_error *err);
void job_file_close(struct job_file *f); /* safe on {.fd = -1} */

/* As pread(2), retried and filled: less than len only at the end of the file. -errno. */
ssize_t job_file_read(const struct job_file *f, void *buf, size_t len, uint64_t offset);

struct job_paths {
    char **items; /* malloc */
    size_t n, cap;
};

/* Appends the files that pattern stands for (* ? [..] in any component; hidden files only
 * where the pattern has the dot), sorted; or the path itself when it has none of these or
 * exists as it is written. -ENOENT: nothing matches. -EFBIG: more than files.max_files. */
int job_glob(struct job_run *run, const char *pattern, const char *field,
             struct job_paths *paths);
/* Appends a copy. 0 or -ENOMEM. Never parks. */
int job_paths_add(struct job_paths *paths, const char *path);
void job_paths_free(struct job_paths *paths);

#endif
