/*
 * What goctl prints: standard output through one large buffer, complaints to standard
 * error, a progress line on a terminal that steps aside for both.
 *
 * Context    any thread: each call is whole.
 */
#ifndef GOJOBD_CLIENT_OUT_H
#define GOJOBD_CLIENT_OUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client/goctl.h"

enum exit_code {
    EXIT_ALL_WELL = 0,
    EXIT_JOB = 1, /* some job did not succeed */
    EXIT_USAGE = 2,
    EXIT_UNREACHABLE = 3,
    EXIT_REFUSED = 4,
    EXIT_DEADLINE = 124,
    EXIT_INTERRUPTED = 130,
};

enum colour { PLAIN, BOLD, DIM, RED, GREEN, YELLOW, BLUE };

/* Colour only on a terminal, and not with $NO_COLOR. */
void out_init(void);
bool out_terminal(void);       /* of standard output */
bool out_error_terminal(void); /* of standard error */

void out_add(const char *data, size_t n);
void out_printf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* The same, with what would drive a terminal (control characters of data that is not ours)
 * shown as '?' when it is one. */
void out_text(const char *data, size_t n);
void out_colour(enum colour c);
/* A message as one line of JSON. */
void out_json(const ProtobufCMessage *m);
/* Writes out what is buffered. A broken pipe ends the process quietly, another error with
 * a complaint. */
void out_flush(void);

/* The line below all else on a terminal's standard error; "" takes it away. */
void out_progress(const char *line);

/* "goctl: ..." on standard error; returns code. */
int out_fail(enum exit_code code, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
void out_note(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* The same for what the library says, with the exit code that belongs to it. */
int out_error(const struct goctl_error *err);

#endif
