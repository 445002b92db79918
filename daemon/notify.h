/*
 * What the service manager is told (sd_notify), if there is one.
 *
 * Context    goroutines; each call is one datagram that does not wait.
 */
#ifndef GOJOBD_DAEMON_NOTIFY_H
#define GOJOBD_DAEMON_NOTIFY_H

#include <stdint.h>

void notify_ready(void);
void notify_reloading(void);
void notify_stopping(void);
void notify_status(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void notify_alive(void); /* for the watchdog */

/* How often notify_alive() is wanted, in ns; 0: there is no watchdog. */
int64_t notify_watchdog_every(void);

#endif
