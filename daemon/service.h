/*
 * The service: opens what the configuration names, serves until it is told to stop, and
 * takes everything down in order.
 *
 * Stopping   SIGTERM or SIGINT: no new jobs; running ones may end until drain_timeout, then
 *            they are interrupted and queued again; calls under way are answered; the store
 *            is closed. A second one makes that immediate.
 * Reloading  SIGHUP reads the configuration again. What cannot change while running (state
 *            directory, listeners, store, runtime) keeps its value, with a warning.
 */
#ifndef GOJOBD_DAEMON_SERVICE_H
#define GOJOBD_DAEMON_SERVICE_H

#include "config/config.h"

struct service_opts {
    const char *config_path; /* NULL: all defaults */
    int log_level;           /* -1: as configured */
    int log_format;          /* -1: as configured */
};

/* Block the signals that the service takes from a descriptor: before any thread starts. */
void service_block_signals(void);

/* Serves; takes cfg. A goroutine. The exit status: 0, or 1 after an error was logged. */
int service_run(struct config *cfg, const struct service_opts *o);

#endif
