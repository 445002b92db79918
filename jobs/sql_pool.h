/*
 * The connections to one configured database: bounded, kept for the next query.
 *
 * Lifecycle  new -> ref/unref; the last unref closes the idle ones.
 * Slots      whoever has a slot may have one connection. A slot is given back with its
 *            connection (sql_pool_give) or without (sql_pool_release).
 * Context    goroutines; sql_pool_slot PARKS, closing does I/O in a blocking region.
 */
#ifndef GOJOBD_JOBS_SQL_POOL_H
#define GOJOBD_JOBS_SQL_POOL_H

#include <stdbool.h>
#include <stdint.h>

#include "jobs/kind.h"
#include "runtime/sync/mutex.h"
#include "runtime/sync/sem.h"

struct cfg_database;
struct sql_pool;

/* The head of a driver's connection. */
struct sql_conn {
    struct sql_conn *next; /* idle list */
};

struct sql_driver {
    const char *scheme; /* how the URLs begin */
    /* As job_kind.run, for spec->sql, which was validated. */
    int (*run)(struct job_run *run, struct sql_pool *pool);
    void (*close)(struct sql_conn *conn);
};

extern const struct sql_driver sql_sqlite, sql_postgres;

struct sql_pool {
    int refs; /* atomic */

    /* Constant after new. */
    const struct sql_driver *driver;
    char *name, *url;
    bool write;
    int64_t connections;

    struct go_sem slots;
    struct go_mutex mu;
    struct sql_conn *idle; /* guarded by mu; last used first */
};

/* 0; -ENOMEM; -EINVAL: no driver for such a URL. */
int sql_pool_new(const struct cfg_database *db, int64_t connections,
                 struct sql_pool **ret);

/* True if a pool made for db would be like this one. */
bool sql_pool_like(const struct sql_pool *p, const struct cfg_database *db,
                   int64_t connections);

struct sql_pool *sql_pool_ref(struct sql_pool *p);
void sql_pool_unref(struct sql_pool *p);

/* PARKS until a slot is free: 0, or the run's end, recorded. */
int sql_pool_slot(struct sql_pool *p, struct job_run *run);
void sql_pool_release(struct sql_pool *p);

/* An idle connection, or NULL. With a slot only. */
struct sql_conn *sql_pool_take(struct sql_pool *p);
/* Keeps c, and gives the slot back. */
void sql_pool_give(struct sql_pool *p, struct sql_conn *c);

#endif
