/*
 * Normal path  a job takes a slot, then an idle connection, or waits while a goroutine makes
 *              one; when it is done, another goroutine cleans the session and keeps it.
 * Cancelled    while connecting: the maker goes on and keeps what it made, with the slot.
 *              While querying: the cleaner asks the server to cancel, and drains.
 * Broken       the connection is closed, the slot given back.
 */
#include "jobs/sql_pg_conn.h"

#include <errno.h>
#include <libpq-fe.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/base/atomic.h"
#include "runtime/go.h"

#define CONNECT_TIME (10 * GO_SECOND)
#define CLEAN_TIME   (5 * GO_SECOND)

/* What a job could leave behind in its session. */
#define CLEAN_SQL                                                                        \
    "ROLLBACK; CLOSE ALL; RESET SESSION AUTHORIZATION; RESET ALL; DEALLOCATE ALL; "      \
    "UNLISTEN *; SELECT pg_advisory_unlock_all(); DISCARD TEMP"

enum { PENDING, MADE, ABANDONED };

/* A connection being made; shared by the job and its maker. */
struct making {
    int refs;  /* atomic */
    int state; /* atomic: whoever moves it on from PENDING decides who has the slot */
    struct sql_pool *pool;
    struct go_sem done; /* one unit once MADE */
    struct pg *g;       /* NULL: error says why */
    char error[256];
};

/* Calls of libpq that may look up names or close sockets run in blocking regions. */
static void
finish(PGconn *c)
{
    if (c == NULL)
        return;
    if (PQsocket(c) >= 0)
        (void)go_fd_forget(PQsocket(c));
    go_enter_blocking();
    PQfinish(c);
    go_exit_blocking();
}

void
pg_close(struct sql_conn *conn)
{
    struct pg *g = (struct pg *)conn;

    finish(g->c);
    free(g);
}

int
pg_flush(struct pg *g, struct go_ctx *ctx)
{
    for (;;) {
        int left = PQflush(g->c), r;

        if (left <= 0)
            return left < 0 ? -EPIPE : 0;
        r = go_fd_wait_ctx(PQsocket(g->c), GO_FD_WRITE, ctx);
        if (r < 0)
            return go_ctx_err(ctx) != 0 ? go_ctx_err(ctx) : -EPIPE;
        /* A server that is itself waiting for us to read would never take more. */
        if (!PQconsumeInput(g->c))
            return -EPIPE;
    }
}

int
pg_result(struct pg *g, struct go_ctx *ctx, PGresult **ret)
{
    while (PQisBusy(g->c)) {
        int r = go_fd_wait_ctx(PQsocket(g->c), GO_FD_READ, ctx);

        if (r < 0)
            return go_ctx_err(ctx) != 0 ? go_ctx_err(ctx) : -EPIPE;
        if (!PQconsumeInput(g->c))
            return -EPIPE;
    }
    *ret = PQgetResult(g->c);
    return 0;
}

/* Reads and drops all results. The first error counts. */
static int
drain(struct pg *g, struct go_ctx *ctx)
{
    int first = 0;

    for (;;) {
        PGresult *res = NULL;
        ExecStatusType status;
        int r = pg_result(g, ctx, &res);

        if (r < 0)
            return r;
        if (res == NULL)
            return PQstatus(g->c) == CONNECTION_OK ? first : -EPIPE;
        status = PQresultStatus(res);
        PQclear(res);
        if (status == PGRES_COPY_IN || status == PGRES_COPY_OUT ||
            status == PGRES_COPY_BOTH)
            return -EPIPE; /* a protocol of its own: not worth speaking */
        if (status == PGRES_FATAL_ERROR && first == 0)
            first = -EIO;
    }
}

int
pg_command(struct pg *g, struct go_ctx *ctx, const char *sql)
{
    int r;

    if (!PQsendQuery(g->c, sql))
        return -EPIPE;
    r = pg_flush(g, ctx);
    return r < 0 ? r : drain(g, ctx);
}

/* --- giving back --- */

static void
cancel_running(struct pg *g)
{
    PGcancel *c = PQgetCancel(g->c);
    char error[256];

    if (c == NULL)
        return;
    go_enter_blocking();
    (void)PQcancel(c, error, sizeof(error));
    PQfreeCancel(c);
    go_exit_blocking();
}

static void
clean(struct sql_pool *p, struct pg *g, int cancel)
{
    struct go_ctx *ctx = go_ctx_with_timeout(NULL, CLEAN_TIME);
    int r = -ENOMEM;

    if (cancel)
        cancel_running(g);
    if (ctx != NULL) {
        r = pg_flush(g, ctx);
        if (r == 0)
            r = drain(g, ctx);
        if (r == 0 || r == -EIO)
            r = pg_command(g, ctx, CLEAN_SQL);
    }
    if (r == 0) {
        sql_pool_give(p, &g->conn);
    } else {
        pg_close(&g->conn);
        sql_pool_release(p);
    }
    go_ctx_unref(ctx);
    sql_pool_unref(p);
}

void
pg_give(struct sql_pool *p, struct pg *g, bool cancel)
{
    if (go(clean, sql_pool_ref(p), g, cancel ? 1 : 0) < 0)
        clean(p, g, cancel);
}

/* --- making --- */

static void
quiet(void *arg, const char *message)
{
    (void)arg;
    (void)message;
}

static PGconn *
begin_connect(const struct sql_pool *p)
{
    const char *const keys[] = {"dbname", "client_encoding", "fallback_application_name",
                                "options", NULL};
    const char *const values[] = {p->url, "UTF8", "gojobd",
                                  p->write ? NULL : "-c default_transaction_read_only=on",
                                  NULL};
    PGconn *c;

    go_enter_blocking();
    c = PQconnectStartParams(keys, values, 1);
    go_exit_blocking();
    return c;
}

/* PARKS while the server answers. */
static bool
connect_all(PGconn *c)
{
    PostgresPollingStatusType s = PGRES_POLLING_WRITING;
    int64_t deadline = go_deadline(CONNECT_TIME);

    if (PQstatus(c) == CONNECTION_BAD)
        return false;
    while (s != PGRES_POLLING_OK && s != PGRES_POLLING_FAILED) {
        int fd = PQsocket(c);

        if (go_fd_wait(fd, s == PGRES_POLLING_READING ? GO_FD_READ : GO_FD_WRITE,
                       deadline) < 0)
            return false;
        (void)go_fd_forget(fd); /* libpq may close it and try another address */
        go_enter_blocking();
        s = PQconnectPoll(c);
        go_exit_blocking();
    }
    return s == PGRES_POLLING_OK && PQsetnonblocking(c, 1) == 0;
}

static void
making_unref(struct making *m)
{
    if (ADD(&m->refs, -1, ACQ_REL) > 0)
        return;
    sql_pool_unref(m->pool);
    free(m);
}

static void
make(struct making *m)
{
    struct pg *g = calloc(1, sizeof(*g));
    PGconn *c = begin_connect(m->pool);

    if (g != NULL && c != NULL && connect_all(c)) {
        (void)PQsetNoticeProcessor(c, quiet, NULL);
        g->c = c;
        m->g = g;
    } else {
        const char *text = c != NULL ? PQerrorMessage(c) : "";

        (void)snprintf(m->error, sizeof(m->error), "%s",
                       text[0] != '\0' ? text : "the server does not answer");
        m->error[strcspn(m->error, "\n")] = '\0';
        finish(c);
        free(g);
    }
    if (CAS(&m->state, PENDING, MADE, ACQ_REL)) {
        go_sem_release(&m->done, 1);
    } else if (m->g != NULL) {
        sql_pool_give(m->pool, &m->g->conn);
    } else {
        sql_pool_release(m->pool);
    }
    making_unref(m);
}

/* PARKS. With a slot, which it gives back if it fails. */
static int
make_one(struct job_run *run, struct sql_pool *p, struct pg **ret)
{
    struct making *m = calloc(1, sizeof(*m));
    int r;

    if (m == NULL) {
        sql_pool_release(p);
        return job_run_too_large(run);
    }
    m->refs = 2;
    m->pool = sql_pool_ref(p);
    if (go(make, m) < 0) {
        m->refs = 1;
        making_unref(m);
        sql_pool_release(p);
        return job_run_too_large(run);
    }
    r = go_sem_acquire_ctx(&m->done, 1, run->ctx);
    if (r < 0 && CAS(&m->state, PENDING, ABANDONED, ACQ_REL)) {
        making_unref(m);
        return job_run_ended(run, r);
    }
    if (r < 0)
        go_sem_acquire(&m->done, 1); /* it was just made */
    *ret = m->g;
    if (m->g == NULL) {
        (void)job_error_set(&run->err, PB_ERROR__CODE__CONNECT, "sql.db",
                            "database %s cannot be reached: %s", p->name, m->error);
        sql_pool_release(p);
    }
    making_unref(m);
    return *ret == NULL ? -ECONNREFUSED : 0;
}

/* An idle connection is quiet: nearly all it may have to say is that it is over. */
static bool
alive(const struct pg *g)
{
    struct pollfd p = {.fd = PQsocket(g->c), .events = POLLIN};

    return PQstatus(g->c) == CONNECTION_OK && poll(&p, 1, 0) == 0;
}

int
pg_get(struct job_run *run, struct sql_pool *p, struct pg **ret)
{
    struct sql_conn *idle;
    int r;

    r = sql_pool_slot(p, run);
    if (r < 0)
        return r;
    while ((idle = sql_pool_take(p)) != NULL) {
        if (alive((struct pg *)idle)) {
            *ret = (struct pg *)idle;
            return 0;
        }
        pg_close(idle);
    }
    return make_one(run, p, ret);
}
