/*
 * The log: one line an event on standard error.
 *
 * Under systemd, where standard error is the journal, each line begins with its priority
 * ("<6>"); elsewhere text lines begin with the time. As JSON a line is an object with
 * time, level and message.
 *
 * Context    any thread or goroutine, outside no-park regions: writing is a blocking call.
 */
#ifndef GOJOBD_DAEMON_LOG_H
#define GOJOBD_DAEMON_LOG_H

#include "config/config.h"

/* level: enum cfg_log_level; format: enum cfg_log_format. May be called again. */
void log_setup(int level, int format);

/* Whether a line of that level is written at all. */
bool log_wanted(int level);

void log_write(int level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...)   log_write(CFG_LOG_ERROR, __VA_ARGS__)
#define log_warning(...) log_write(CFG_LOG_WARNING, __VA_ARGS__)
#define log_notice(...)  log_write(CFG_LOG_NOTICE, __VA_ARGS__)
#define log_info(...)    log_write(CFG_LOG_INFO, __VA_ARGS__)
#define log_debug(...)   log_write(CFG_LOG_DEBUG, __VA_ARGS__)

#endif
