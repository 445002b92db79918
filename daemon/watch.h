/*
 * What is looked at now and then, by goroutines of their own: the disk's free space, how
 * fast jobs come and go, the deadlines of batches, and, for the service manager, that the scheduler is alive.
 */
#ifndef GOJOBD_DAEMON_WATCH_H
#define GOJOBD_DAEMON_WATCH_H

#include "daemon/daemon.h"

struct watch;

/* 0 or -ENOMEM. */
int watch_start(struct daemon *d, struct watch **ret);

/* PARKS until they have ended. NULL is fine. */
void watch_stop(struct watch *w);

/* What has been counted by now, for rates_now(). */
void watch_sample(struct daemon *d, struct rates_sample *ret);

/* A batch with a deadline was made: look again at which is next. Never parks for long. */
void watch_deadlines(struct watch *w);

#endif
