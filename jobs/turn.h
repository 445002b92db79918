/*
 * Turns at computing. Jobs that look at every byte of large files take a turn for each block
 * of it, and there are only as many turns as processors. So however many of them run, what
 * becomes ready meanwhile, such as a client's call, finds at most a few of them before it in
 * the run queues, each there for a fraction of a millisecond.
 *
 * What the kernel has in memory is copied within the turn: a thread for it would compete
 * with those that hold the processors. Waiting for the disk is no computing, and takes none.
 */
#ifndef GOJOBD_JOBS_TURN_H
#define GOJOBD_JOBS_TURN_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct job_file;

/* As job_file_read(), and where it succeeds a turn has begun. PARKS, in the order of coming;
 * goroutines only. */
ssize_t turn_read(const struct job_file *f, void *buf, size_t len, uint64_t offset);
void turn_end(void);

#endif
