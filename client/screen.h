/*
 * The terminal as a screen (ncurses): drawn as a whole, given back as it was found.
 *
 * Context    one thread opens, draws and closes. Signals may come on any.
 */
#ifndef GOJOBD_CLIENT_SCREEN_H
#define GOJOBD_CLIENT_SCREEN_H

#include <stdbool.h>
#include <stdint.h>

#include "client/page.h"

/* Takes the terminal. 0, or -1 when it cannot be a screen; *ret_why says so. */
int screen_open(const char **ret_why);
/* Gives it back. Safe when it is not open. */
void screen_close(void);

void screen_size(size_t *ret_columns, size_t *ret_rows);
void screen_draw(const struct page *p);

enum screen_event {
    SCREEN_TIME, /* nothing happened */
    SCREEN_NEWS, /* screen_wake() was called */
    SCREEN_SIZE, /* it has another size, or must be drawn anew */
    SCREEN_UP,
    SCREEN_DOWN,
    SCREEN_PAGE_UP,
    SCREEN_PAGE_DOWN,
    SCREEN_HOME,
    SCREEN_KEY,  /* any other key */
    SCREEN_QUIT, /* q, Ctrl-C, or SIGINT */
    SCREEN_TERM, /* SIGTERM or SIGHUP, or the terminal has gone */
};

/* Waits for something to happen, at most so long. Ctrl-Z is dealt with inside. */
enum screen_event screen_wait(int64_t timeout_ns);

/* From any thread: makes screen_wait() return. */
void screen_wake(void);

/* After SCREEN_TERM and screen_close(): ends the process as the signal does by itself. */
_Noreturn void screen_die(void);

#endif
