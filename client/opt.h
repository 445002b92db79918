/*
 * goctl's options: one table for all commands, because an option means the same wherever it
 * is taken. A command lists the names of those it takes.
 */
#ifndef GOJOBD_CLIENT_OPT_H
#define GOJOBD_CLIENT_OPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct texts {
    char **v;
    size_t n;
};

enum { OPTIONS_MAX = 96 };

/* What the command line said; absent is zero, and `given` tells. */
struct args {
    bool given[OPTIONS_MAX]; /* by place in the table: see opt_given */

    /* The connection and the output. */
    char *url, *token, *token_file, *tls_ca, *tls_cert, *tls_name;
    bool json, help;

    /* Of a batch. */
    bool wait, fail_fast, dry_run, close;
    int64_t deadline_ns;
    int64_t max_parallel;
    char *batch, *from;

    /* Of each job. */
    int64_t timeout_ns, at_ns, after_ns, backoff_ns;
    int64_t priority, retries;
    char *key, *name, *queue;
    struct texts labels, needs;
    char *then_on;

    /* By kind. */
    char *method, *data, *http;
    struct texts headers;
    bool keep_body, no_follow, no_verify, any_status;
    uint64_t max_bytes;
    bool content, no_glob;
    uint64_t offset, length;
    struct texts files;
    char *format, *column, *delimiter, *results;
    int64_t parts;
    char *db;
    struct texts params;
    int64_t max_rows;
    int64_t every_ns, tick_ns, first_ns, count;

    /* Choosing and showing. */
    struct texts states, kinds;
    int64_t limit, before_ns;
    bool oldest, all, no_progress, once;
    char *output, *reason;

    /* Queues and schedules. */
    int64_t running, burst;
    double rate;
    char *cron, *tz, *missed, *overlap, *schedule;
    int64_t jitter_ns, until_ns;
    bool replace, paused;
    uint64_t since;

    char **pos; /* what is no option, in order */
    size_t n_pos;
};

enum opt_type {
    OPT_FLAG,
    OPT_TEXT,
    OPT_TEXTS, /* may be repeated */
    OPT_COUNT, /* 0 and up */
    OPT_INT,
    OPT_REAL,
    OPT_SIZE,
    OPT_DURATION,
    OPT_TIME,
    OPT_PAST, /* a time, or how long ago */
};

struct opt {
    const char *name;
    char letter;
    enum opt_type type;
    size_t at;       /* in struct args */
    const char *arg; /* its name in help */
    const char *help;
};

extern const struct opt opt_table[];
extern const size_t opt_count;

/* Sorts argv[1..] into a; 0, or -1 with one line in text. Lives as long as the process. */
int opt_parse(int argc, char **argv, struct args *a, char *text, size_t size);

/* -1: unknown. */
int opt_find(const char *name);
bool opt_given(const struct args *a, const char *name);

/* Whether a space-separated list holds the name. */
bool opt_listed(const char *list, const char *name);

/* "2026-12-01T08:00:00Z", or local "2026-12-01 08:00[:00]". 0 or -EINVAL. */
int opt_parse_time(const char *s, int64_t *ret_ns);

#endif
