/*
 * PostgreSQL connections: made, kept, cleaned and given up away from the jobs that use them,
 * so that neither a server that does not answer nor a name that does not resolve holds a
 * cancelled job.
 */
#ifndef GOJOBD_JOBS_SQL_PG_CONN_H
#define GOJOBD_JOBS_SQL_PG_CONN_H

#include "jobs/sql_pool.h"

/* libpq's PGconn and PGresult. */
struct pg_conn;
struct pg_result;

struct pg {
    struct sql_conn conn;
    struct pg_conn *c;
};

/* PARKS. A connection that answers, idle or new, with a slot of the pool: 0, or -errno with
 * the run's error set; then there is no slot either. */
int pg_get(struct job_run *run, struct sql_pool *p, struct pg **ret);

/* Hands the connection and its slot to a goroutine of their own: it cancels what runs, cleans
 * the session and keeps it for the next job, or closes it. Never parks. */
void pg_give(struct sql_pool *p, struct pg *g, bool cancel);

void pg_close(struct sql_conn *c);

/* PARKS. Sends what is still to be sent: 0; -EPIPE: the connection is broken; ctx's error. */
int pg_flush(struct pg *g, struct go_ctx *ctx);

/* PARKS until the next result (NULL: the command is over): 0; -EPIPE; ctx's error. */
int pg_result(struct pg *g, struct go_ctx *ctx, struct pg_result **ret);

/* PARKS. A command without parameters and rows: 0; -EIO: the server refused; -EPIPE; ctx's. */
int pg_command(struct pg *g, struct go_ctx *ctx, const char *sql);

#endif
