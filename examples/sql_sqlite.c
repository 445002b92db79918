/*
 * sql_sqlite: several queries at once on one SQLite database.
 *
 * SQLite has no way to ask it whether it would block, so each query is a blocking region:
 * the goroutine's thread waits, the processor does not. Each goroutine has a connection of
 * its own; in WAL mode readers do not wait for each other.
 */
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "runtime/go.h"

struct query {
    const char *title, *sql; /* one integer comes out */
    long long result;
    int error; /* SQLite's */
};

static struct query queries[] = {
    {.title = "orders", .sql = "SELECT count(*) FROM orders"},
    {.title = "largest", .sql = "SELECT max(cents) FROM orders"},
    {.title = "total", .sql = "SELECT sum(cents) FROM orders"},
    {.title = "customers", .sql = "SELECT count(DISTINCT customer) FROM orders"},
    {.title = "best customer",
     .sql = "SELECT customer FROM orders GROUP BY customer "
            "ORDER BY sum(cents) DESC, customer LIMIT 1"},
};

#define QUERIES (sizeof(queries) / sizeof(queries[0]))

static const char setup[] =
    "PRAGMA journal_mode = WAL;"
    "CREATE TABLE orders (id INTEGER PRIMARY KEY, customer INTEGER, cents INTEGER);"
    "INSERT INTO orders (customer, cents)"
    "  WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000)"
    "  SELECT i * 7919 % 97, i * 104729 % 10007 FROM n;";

/* Nothing in here parks, so it may all be one blocking region. */
static int
query_blocking(const char *path, struct query *q)
{
    sqlite3 *db = NULL;
    sqlite3_stmt *stmt = NULL;
    int r;

    r = sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY, NULL);
    if (r ==
        SQLITE_OK) /* whoever closes last tidies up, and has the file to itself then */
        r = sqlite3_busy_timeout(db, 5000);
    if (r == SQLITE_OK)
        r = sqlite3_prepare_v2(db, q->sql, -1, &stmt, NULL);
    if (r == SQLITE_OK)
        r = sqlite3_step(stmt);
    if (r == SQLITE_ROW) {
        q->result = sqlite3_column_int64(stmt, 0);
        r = SQLITE_OK;
    }
    sqlite3_finalize(stmt);
    sqlite3_close(db);
    return r;
}

static void
run_query(const char *path, struct query *q, struct go_chan *done)
{
    q->error = GO_BLOCKING(query_blocking(path, q));
    go_send(done, q);
}

static int
setup_blocking(const char *path)
{
    sqlite3 *db = NULL;
    int r = sqlite3_open(path, &db);

    if (r == SQLITE_OK)
        r = sqlite3_exec(db, setup, NULL, NULL, NULL);
    sqlite3_close(db);
    return r;
}

/* Start all queries, take the results as they come, print them in order. */
static int
query_all(const char *path)
{
    struct go_chan *done = go_chan_new(sizeof(struct query *), 0);
    int failed = 0;

    if (done == NULL)
        return 1;
    for (size_t i = 0; i < QUERIES; i++)
        if (go(run_query, path, &queries[i], done) < 0)
            return 1;
    for (size_t i = 0; i < QUERIES; i++)
        failed += go_recv(done, struct query *)->error != SQLITE_OK;
    for (size_t i = 0; i < QUERIES; i++) {
        if (queries[i].error == SQLITE_OK)
            printf("%s: %lld\n", queries[i].title, queries[i].result);
        else
            printf("%s: %s\n", queries[i].title, sqlite3_errstr(queries[i].error));
    }
    go_chan_unref(done);
    return failed > 0;
}

static int
main_(int argc, char **argv)
{
    static const char *const files[] = {"db", "db-wal", "db-shm"};
    char folder[] = "/tmp/sql_sqlite.XXXXXX";
    char path[sizeof(folder) + 16];
    int r;

    (void)argc;
    (void)argv;
    if (mkdtemp(folder) == NULL)
        return 1;
    (void)snprintf(path, sizeof(path), "%s/db", folder);
    r = GO_BLOCKING(setup_blocking(path));
    if (r != SQLITE_OK)
        fprintf(stderr, "sql_sqlite: %s\n", sqlite3_errstr(r));
    else
        r = query_all(path);
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        (void)snprintf(path, sizeof(path), "%s/%s", folder, files[i]);
        (void)unlink(path);
    }
    (void)rmdir(folder);
    return r != 0;
}

int
main(int argc, char **argv)
{
    return go_main(main_, argc, argv);
}
