/*
 * A TCP server with a goroutine per connection, for the examples that are one.
 *
 * It stops on SIGINT or SIGTERM, its own included: nothing more is accepted, every connection
 * reads the end of its stream, and server_run() returns once each has finished its answer.
 */
#ifndef GOJOBD_EXAMPLES_SERVER_H
#define GOJOBD_EXAMPLES_SERVER_H

#include <getopt.h>
#include <stdbool.h>
#include <stdint.h>

#include "runtime/go.h"

struct server_conn;

struct server {
    /* The caller's, before server_run(). */
    const char *host; /* an IPv4 address; NULL: 127.0.0.1 */
    uint16_t port;    /* 0: any free one */
    long requests;    /* stop after this many; 0: never */
    void (*serve)(struct server *s,
                  int fd); /* one connection; PARKS. fd is closed after it */
    void *arg;

    /* The server's own. */
    int listener;
    int signals;
    long served; /* atomic */
    struct go_wg conns;
    struct go_mutex mu;
    bool stopping;           /* guarded by mu */
    struct server_conn *all; /* guarded by mu: the open connections */
};

/* Block the signals that stop the server, in all threads to come: call first in main(). */
void server_signals(void);

/* --host, --port, --requests and --help, for getopt_long(). */
extern const struct option server_options[];

/* Take one of the first three; false if it is another or makes no sense. */
bool server_option(struct server *s, int opt, const char *arg);

/* PARKS. Print "listening on ADDRESS:PORT", then serve until stopped: 0 or -errno. */
int server_run(struct server *s);

/* Any goroutine, any number of times. */
void server_stop(struct server *s);

/* Count a request just answered; the last one allowed stops the server. */
void server_count(struct server *s);

#endif
