/*
 * The configuration: one YAML file into one struct, every key with a default.
 *
 * keys.c holds the table that everything else follows: reading, the bounds, the messages and
 * the commented gojobd.yaml. An empty file is a valid configuration.
 *
 * Lifecycle  cfg_load -> read only, shareable between threads -> cfg_free. A reload makes a
 *            new one; what uses the old one keeps it until it is done.
 */
#ifndef GOJOBD_CONFIG_CONFIG_H
#define GOJOBD_CONFIG_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "config/cidr.h"
#include "proto/arena.h"
#include "proto/buf.h"
#include "proto/pb.h"

struct cfg_strings {
    char **items;
    size_t n;
};

enum cfg_log_level {
    CFG_LOG_ERROR,
    CFG_LOG_WARNING,
    CFG_LOG_NOTICE,
    CFG_LOG_INFO,
    CFG_LOG_DEBUG
};
enum cfg_log_format { CFG_LOG_TEXT, CFG_LOG_JSON };
enum cfg_access { CFG_ACCESS_READ, CFG_ACCESS_SUBMIT, CFG_ACCESS_ADMIN };

struct cfg_token {
    char *name;
    char *sha256; /* given directly */
    char *file;   /* or here */
    int access;   /* enum cfg_access */
    uint8_t hash[32];
};

struct cfg_database {
    char *name;
    char *url; /* sqlite:PATH or postgresql://... */
    bool write;
};

struct cfg_queue {
    char *name;
    int64_t running; /* 0: no limit */
    double rate;     /* starts a second, 0: no limit */
    int64_t burst;
    bool paused;
};

/* Durations are nanoseconds, sizes bytes. A limit of 0 means none where gojobd.yaml says so. */
struct config {
    char *state_dir;
    struct cfg_strings listen;
    struct cfg_strings events;
    int64_t drain_timeout;

    struct {
        int64_t mode;
        char *group;
        struct cfg_strings users;
    } socket;

    struct {
        char *cert;
        char *key;
        char *ca;
    } tls;

    struct {
        struct cfg_token *items;
        size_t n;
    } tokens;

    struct {
        int level;  /* enum cfg_log_level */
        int format; /* enum cfg_log_format */
    } log;

    struct {
        int64_t running;
        int64_t fetch;
        int64_t read;
        int64_t sum;
        int64_t sql;
        int64_t timer;
        int64_t backlog;
        int64_t disk_free;
        int64_t message;
        int64_t jobs_per_message;
        int64_t calls;
        int64_t waiters;
        int64_t result;
        int64_t timeout;
        int64_t retries;
        int64_t history;
        int64_t crashes;
        int64_t window;
    } limits;

    struct {
        int64_t timeout;
        int64_t retries;
        int64_t priority;
        int64_t backoff;
        int64_t backoff_max;
        double backoff_factor;
        double backoff_jitter;
    } defaults;

    struct {
        int64_t age;
        int64_t count;
        int64_t events;
        int64_t step;
    } retention;

    struct {
        struct cidr_list allow;
        struct cidr_list deny;
        struct cfg_strings schemes;
        int64_t per_host;
        int64_t max_body;
        int64_t keep_body;
        int64_t redirects;
        int64_t connect_timeout;
        int64_t connections;
        char *user_agent;
        char *ca_file;
    } fetch;

    struct {
        struct cfg_strings roots;
        int64_t max_content;
        int64_t max_files;
    } files;

    struct {
        int64_t max_numbers;
        int64_t parts;
    } sum;

    struct {
        int64_t max_rows;
        int64_t max_bytes;
        int64_t connections;
    } sql;

    struct {
        int64_t ticks;
    } timer;

    struct {
        struct cfg_database *items;
        size_t n;
    } databases;

    struct {
        struct cfg_queue *items;
        size_t n;
    } queues;

    struct {
        int missed;  /* PbScheduleSpec__Missed */
        int overlap; /* PbScheduleSpec__Overlap */
        int64_t max_missed;
        char *tz;
    } schedule;

    struct {
        PbScheduleSpec **items;
        size_t n;
    } schedules;

    struct {
        int64_t cache;
        int64_t wal;
        int64_t group;
    } store;

    struct {
        int64_t gomaxprocs;
        int64_t stack_size;
        int64_t threads;
    } runtime;

    struct proto_arena arena; /* owns all of the above */
};

struct cfg_err {
    char text[768]; /* "file:line:column: message" */
    char key[192];  /* path of the key at fault, "" when none is */
    int line;       /* from 1; 0 when the file as a whole is meant */
    int column;
};

/* 0; -EINVAL: err says why; -errno of reading path, with err set too. */
int cfg_load(const char *path, struct config **ret, struct cfg_err *err);

/* The same from memory; name stands in messages, and relative files are looked up beside
 * it. */
int cfg_parse(const char *name, const char *text, size_t len, struct config **ret,
              struct cfg_err *err);

/* For what a floor above has against a value: err as if reading had found it, with the line
 * of the key where the file at path (NULL: none) still has it. Returns -EINVAL. */
int cfg_blame(const char *path, const char *key, const char *message,
              struct cfg_err *err);

void cfg_free(struct config *cfg);

/* NULL when there is none of that name. */
const struct cfg_database *cfg_database(const struct config *cfg, const char *name);
const struct cfg_queue *cfg_queue(const struct config *cfg, const char *name);

/* The commented gojobd.yaml: every key with its default, commented out. 0 or -ENOMEM. */
int cfg_write_default(struct proto_buf *b);

#endif
