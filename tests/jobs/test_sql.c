#define _GNU_SOURCE

#include <sqlite3.h>

#include "tests/jobs/sqltest.h"

static void
make_database(const char *path, const char *sql)
{
    sqlite3 *db;

    REQUIRE(sqlite3_open(path, &db) == SQLITE_OK);
    REQUIRE(sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK);
    REQUIRE(sqlite3_close(db) == SQLITE_OK);
}

#define STOCK                                                                            \
    "CREATE TABLE item(id INTEGER PRIMARY KEY, name TEXT, price REAL, data BLOB);"       \
    "INSERT INTO item VALUES "                                                           \
    "(1,'nut',0.5,x'ff00'),(2,'bolt',1.25,NULL),(3,'\xc3\xa4',NULL,'')"

static struct job_env *
env_in(const char *dir)
{
    return env_of("{sql: {max_rows: 100, max_bytes: 2000, connections: 2}, databases: {"
                  "stock: {url: 'sqlite:%s/stock.db'},"
                  "rw: {url: 'sqlite:%s/stock.db', write: true},"
                  "gone: {url: 'sqlite:%s/gone.db'}}}",
                  dir, dir, dir);
}

static char *
stock_dir(void)
{
    char *dir = dir_new(), path[256];

    (void)snprintf(path, sizeof(path), "%s/stock.db", dir);
    make_database(path, STOCK);
    return dir;
}

#define PARAMS(db, q, params)                                                            \
    "{\"sql\":{\"db\":\"" db "\",\"query\":\"" q "\",\"params\":" params "}}"

GO_TEST(sql_spec_that_makes_no_sense_is_refused)
{
    char *dir = stock_dir();
    struct job_env *env = env_in(dir);

    refused(env, "{\"sql\":{}}", PB_ERROR__CODE__INVALID, "sql.db", "needed");
    refused(env, QUERY("other", "x"), PB_ERROR__CODE__DENIED, "sql.db", "no \"other\"");
    refused(env, "{\"sql\":{\"db\":\"stock\"}}", PB_ERROR__CODE__INVALID, "sql.query",
            "needed");
    refused(env, "{\"sql\":{\"db\":\"stock\",\"query\":\"x\",\"max_rows\":101}}",
            PB_ERROR__CODE__TOO_LARGE, "sql.max_rows", "100");
    refused(env, "{\"sql\":{\"db\":\"stock\",\"query\":\"x\",\"max_bytes\":2001}}",
            PB_ERROR__CODE__TOO_LARGE, "sql.max_bytes", "2000");
    job_env_unref(env);
    dir_free(dir);
}

GO_TEST(rows_are_typed)
{
    char *dir = stock_dir();
    struct job_env *env = env_in(dir);

    gives(env, QUERY("stock", "SELECT * FROM item ORDER BY id"),
          "{\"sql\":{\"columns\":[{\"name\":\"id\",\"type\":\"INTEGER\"},"
          "{\"name\":\"name\",\"type\":\"TEXT\"},{\"name\":\"price\",\"type\":\"REAL\"},"
          "{\"name\":\"data\",\"type\":\"BLOB\"}],\"rows\":[[1,\"nut\",0.5,{\"base64\":"
          "\"/wA=\"}],"
          "[2,\"bolt\",1.25,null],[3,\"\xc3\xa4\",null,\"\"]],\"count\":3,\"truncated\":"
          "false}}");
    gives(env, PARAMS("stock", "SELECT ?, ?, ?, ?, ?", "[1,2.5,\"a\",null,true]"),
          "\"rows\":[[1,2.5,\"a\",null,1]]");
    gives(env, QUERY("stock", "SELECT 1; -- that is all\\n ;"), "\"rows\":[[1]]");
    job_env_unref(env);
    dir_free(dir);
}

GO_TEST(statements_are_refused_with_the_rule)
{
    char *dir = stock_dir();
    struct job_env *env = env_in(dir);
    int invalid = PB_ERROR__CODE__INVALID, denied = PB_ERROR__CODE__DENIED;

    fails(env, QUERY("stock", "SELECT 1; SELECT 2"), invalid, "more than one statement");
    fails(env, QUERY("stock", "SELECT 1; rubbish"), invalid, "more than one statement");
    fails(env, QUERY("stock", "-- nothing"), invalid, "no statement");
    fails(env, QUERY("stock", "SELECT ?"), invalid, "has 1 parameters, sql.params has 0");
    fails(env, QUERY("stock", "SELEKT 1"), PB_ERROR__CODE__SQL, "syntax error");
    fails(env, QUERY("stock", "DELETE FROM item"), denied, "databases.stock.write");
    fails(env, QUERY("stock", "ATTACH '/etc/passwd' AS x"), denied, "ATTACH");
    fails(env, QUERY("rw", "VACUUM INTO '/tmp/gojobd-never'"), denied, "VACUUM");
    fails(env, QUERY("rw", "BEGIN"), denied, "each job is a transaction");
    fails(env, QUERY("rw", "PRAGMA journal_mode=DELETE"), denied, "PRAGMA");
    fails(env, QUERY("rw", "PRAGMA writable_schema=1"), denied, "PRAGMA");
    fails(env, QUERY("rw", "SELECT load_extension('x')"), denied, "load_extension");
    fails(env, QUERY("gone", "SELECT 1"), PB_ERROR__CODE__SQL, "No such file");
    gives(env, QUERY("stock", "PRAGMA table_info(item)"), "\"price\"");
    job_env_unref(env);
    dir_free(dir);
}

GO_TEST(writing_is_allowed_where_it_is_configured)
{
    char *dir = stock_dir();
    struct job_env *env = env_in(dir);

    gives(env, QUERY("rw", "UPDATE item SET price = 2 WHERE id < 3"), "\"changed\":2");
    gives(env, QUERY("rw", "INSERT INTO item(name) VALUES ('new') RETURNING id"),
          "\"rows\":[[4]],\"count\":1,\"changed\":1");
    gives(env, QUERY("stock", "SELECT sum(price), count(*) FROM item"), "[[4.0,4]]");
    job_env_unref(env);
    dir_free(dir);
}

#define SERIES "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n"

GO_TEST(results_are_cut_at_their_limits)
{
    char *dir = stock_dir();
    struct job_env *env = env_in(dir);
    struct outcome o;

    run_job(env, NULL, &o, "%s", QUERY("stock", SERIES " LIMIT 100000) SELECT i FROM n"));
    CHECK_HAS(o.json, "[100]],\"count\":100,\"truncated\":true");
    CHECK_INT(o.done, 100);
    gives(env, QUERY("stock", SERIES " LIMIT 100) SELECT i FROM n"),
          "\"count\":100,\"truncated\":false");
    gives(env, QUERY("stock", SERIES " LIMIT 90) SELECT printf('%092d', i) FROM n"),
          "\"count\":20,\"truncated\":true");
    gives(env, QUERY("stock", "SELECT zeroblob(100000)"),
          "\"count\":0,\"truncated\":true");
    fails(env, QUERY("stock", "SELECT zeroblob(100000000)"), PB_ERROR__CODE__SQL,
          "too big");
    job_env_unref(env);
    dir_free(dir);
}

GO_TEST(running_statement_can_be_cancelled)
{
    char *dir = stock_dir();
    struct job_env *env = env_in(dir);
    struct go_ctx *ctx = go_ctx_with_timeout(NULL, 20 * MS);
    struct outcome o;

    for (int i = 0; i < 3; i++)
        check_cancel(env, &o, "%s", QUERY("stock", SERIES ") SELECT count(*) FROM n"));
    run_job(env, ctx, &o, "%s", QUERY("stock", SERIES ") SELECT count(*) FROM n"));
    CHECK_INT(o.code, PB_ERROR__CODE__TIMEOUT);
    gives(env, QUERY("stock", "SELECT 7"), "[[7]]");
    go_ctx_unref(ctx);
    job_env_unref(env);
    dir_free(dir);
}

GO_TEST(waiting_for_a_lock_can_be_cancelled)
{
    char *dir = stock_dir(), path[256];
    struct job_env *env = env_in(dir);
    struct outcome o;
    sqlite3 *db;

    (void)snprintf(path, sizeof(path), "%s/stock.db", dir);
    REQUIRE(sqlite3_open(path, &db) == SQLITE_OK);
    REQUIRE(sqlite3_exec(db, "BEGIN EXCLUSIVE", NULL, NULL, NULL) == SQLITE_OK);
    check_cancel(env, &o, "%s", QUERY("rw", "UPDATE item SET price = 3"));
    REQUIRE(sqlite3_close(db) == SQLITE_OK);
    gives(env, QUERY("rw", "UPDATE item SET price = 3"), "\"changed\":3");
    job_env_unref(env);
    dir_free(dir);
}

static void
endless(struct job_env *env, struct go_ctx *ctx)
{
    struct outcome o;

    run_job(env, ctx, &o, "%s", QUERY("stock", SERIES ") SELECT count(*) FROM n"));
    CHECK_INT(o.r, -ECANCELED);
}

/* Two connections are taken: the third job waits for one, and can be cancelled there. */
GO_TEST(connections_are_bounded)
{
    char *dir = stock_dir();
    struct job_env *env = env_in(dir);
    struct go_ctx *ctx = go_ctx_with_cancel(NULL);
    struct go_wg wg = GO_WG_INIT;
    struct outcome o;

    for (int i = 0; i < 2; i++)
        REQUIRE(go_wg_go(&wg, endless, env, ctx) > 0);
    go_sleep(30 * MS);
    check_cancel(env, &o, "%s", QUERY("stock", "SELECT 1"));
    go_ctx_cancel(ctx);
    go_wg_wait(&wg);
    gives(env, QUERY("stock", "SELECT 1"), "[[1]]");
    go_ctx_unref(ctx);
    job_env_unref(env);
    dir_free(dir);
}

GO_TEST(replaced_file_is_opened_anew)
{
    char *dir = stock_dir(), path[256], next[256];
    struct job_env *env = env_in(dir);

    gives(env, QUERY("stock", "SELECT count(*) FROM item"), "[[3]]");
    (void)snprintf(path, sizeof(path), "%s/stock.db", dir);
    (void)snprintf(next, sizeof(next), "%s/next.db", dir);
    make_database(next, "CREATE TABLE item(id)");
    REQUIRE(rename(next, path) == 0);
    gives(env, QUERY("stock", "SELECT count(*) FROM item"), "[[0]]");
    job_env_unref(env);
    dir_free(dir);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sql_spec_that_makes_no_sense_is_refused),
        cmocka_unit_test(rows_are_typed),
        cmocka_unit_test(statements_are_refused_with_the_rule),
        cmocka_unit_test(writing_is_allowed_where_it_is_configured),
        cmocka_unit_test(results_are_cut_at_their_limits),
        cmocka_unit_test(running_statement_can_be_cancelled),
        cmocka_unit_test(waiting_for_a_lock_can_be_cancelled),
        cmocka_unit_test(connections_are_bounded),
        cmocka_unit_test(replaced_file_is_opened_anew),
    };

    return cmocka_run_group_tests_name("sql", tests, NULL, NULL);
}
