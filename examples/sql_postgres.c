/*
 * sql_postgres: several queries at once on a PostgreSQL server, without a thread each.
 *
 * libpq can be used without blocking: it says what it waits for, and its socket is waited
 * for with go_fd_wait(). The code still reads from top to bottom, because only the goroutine
 * waits.
 */
#include <errno.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/go.h"

struct query {
    const char *conninfo, *sql;
    int64_t deadline;
    PGresult *result; /* NULL: see error */
    char error[256];
};

static int
fail(struct query *q, const char *why)
{
    (void)snprintf(q->error, sizeof(q->error), "%s", why);
    q->error[strcspn(q->error, "\n")] = '\0';
    return -1;
}

/* PARKS until db's socket is ready. */
static int
wait_socket(struct query *q, const PGconn *db, enum go_fd_event event)
{
    const int r = go_fd_wait(PQsocket(db), event, q->deadline);

    return r < 0 ? fail(q, strerror(-r)) : 0;
}

static int
connect_to(struct query *q, PGconn *db)
{
    PostgresPollingStatusType next = PGRES_POLLING_WRITING;

    if (db == NULL || PQstatus(db) == CONNECTION_BAD)
        return fail(q, db == NULL ? "out of memory" : PQerrorMessage(db));
    while (next != PGRES_POLLING_OK) {
        const enum go_fd_event event =
            next == PGRES_POLLING_READING ? GO_FD_READ : GO_FD_WRITE;

        if (wait_socket(q, db, event) < 0)
            return -1;
        next = PQconnectPoll(db);
        if (next == PGRES_POLLING_FAILED)
            return fail(q, PQerrorMessage(db));
    }
    return PQsetnonblocking(db, 1) == 0 ? 0 : fail(q, PQerrorMessage(db));
}

/* Send the query, wait for its last result. */
static int
execute(struct query *q, PGconn *db)
{
    PGresult *next;
    int unsent;

    if (!PQsendQuery(db, q->sql))
        return fail(q, PQerrorMessage(db));
    while ((unsent = PQflush(db)) > 0)
        if (wait_socket(q, db, GO_FD_WRITE) < 0)
            return -1;
    if (unsent < 0)
        return fail(q, PQerrorMessage(db));
    do {
        while (PQisBusy(db)) {
            if (wait_socket(q, db, GO_FD_READ) < 0)
                return -1;
            if (!PQconsumeInput(db))
                return fail(q, PQerrorMessage(db));
        }
        next = PQgetResult(db); /* at once: it is not busy */
        if (next != NULL) {
            PQclear(q->result);
            q->result = next;
        }
    } while (next != NULL);
    if (PQresultStatus(q->result) != PGRES_TUPLES_OK &&
        PQresultStatus(q->result) != PGRES_COMMAND_OK)
        return fail(q, PQresultErrorMessage(q->result));
    return 0;
}

static void
run_query(struct query *q)
{
    PGconn *db = PQconnectStart(q->conninfo);

    if (connect_to(q, db) < 0 || execute(q, db) < 0) {
        PQclear(q->result);
        q->result = NULL;
    }
    /* libpq closes its socket itself, so the netpoller must let go of it before. */
    if (db != NULL && PQsocket(db) >= 0)
        (void)go_fd_forget(PQsocket(db));
    PQfinish(db);
}

static void
print(const struct query *q)
{
    const int rows = PQntuples(q->result), columns = PQnfields(q->result);

    if (q->result == NULL) {
        printf("failed: %s\n", q->error);
        return;
    }
    if (columns == 0)
        printf("%s\n", PQcmdStatus(q->result));
    for (int row = 0; row < rows; row++)
        for (int i = 0; i < columns; i++)
            printf("%s%s", PQgetvalue(q->result, row, i), i + 1 < columns ? " | " : "\n");
}

static int
main_(int argc, char **argv)
{
    const int n = argc - 2;
    struct go_wg wg = GO_WG_INIT;
    struct query *queries;
    int failed = 0;

    if (argc < 3 || strcmp(argv[1], "--help") == 0) {
        printf(
            "usage: sql_postgres CONNINFO QUERY...\n\n"
            "Run all QUERYs at once, each on a connection of its own, and print the\n"
            "results in order. CONNINFO as in \"host=/run/postgresql dbname=test\".\n");
        return argc < 3 && !(argc == 2 && strcmp(argv[1], "--help") == 0) ? 2 : 0;
    }
    queries = calloc((size_t)n, sizeof(*queries));
    if (queries == NULL)
        return 1;
    for (int i = 0; i < n; i++) {
        queries[i].conninfo = argv[1];
        queries[i].sql = argv[i + 2];
        queries[i].deadline = go_deadline(60 * GO_SECOND);
        if (go_wg_go(&wg, run_query, &queries[i]) < 0)
            return 1;
    }
    go_wg_wait(&wg);
    for (int i = 0; i < n; i++) {
        print(&queries[i]);
        failed += queries[i].result == NULL;
        PQclear(queries[i].result);
    }
    free(queries);
    return failed > 0;
}

int
main(int argc, char **argv)
{
    return go_main(main_, argc, argv);
}
