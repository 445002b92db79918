/*
 * A PostgreSQL server of its own, on a Unix socket in a temporary directory. Where the package
 * is not installed every test is skipped.
 */
#define _GNU_SOURCE

#include <glob.h>

#include "tests/jobs/sqltest.h"

static char *dir;     /* NULL: no server */
static char bin[256]; /* of PostgreSQL's programs */

/* Runs a command as a user that PostgreSQL runs as. */
static int
as_user(const char *cmd)
{
    char line[2048];

    if (geteuid() == 0)
        (void)snprintf(line, sizeof(line), "cd %s && su postgres -s /bin/sh -c \"%s\"",
                       dir, cmd);
    else
        (void)snprintf(line, sizeof(line), "cd %s && %s", dir, cmd);
    return system(line); /* NOLINT(cert-env33-c) */
}

static int
server_start(void **state)
{
    char cmd[1024];
    glob_t g;

    (void)state;
    if (glob("/usr/lib/postgresql/*/bin", 0, NULL, &g) != 0) {
        print_message("PostgreSQL is not installed\n");
        return 0;
    }
    (void)snprintf(bin, sizeof(bin), "%s", g.gl_pathv[g.gl_pathc - 1]);
    globfree(&g);
    dir = dir_new();
    (void)snprintf(cmd, sizeof(cmd), "chmod 711 %s; chown postgres %s 2>/dev/null", dir,
                   dir);
    if (geteuid() == 0 && system(cmd) != 0) /* NOLINT(cert-env33-c) */
        return -1;
    (void)snprintf(
        cmd, sizeof(cmd),
        "%s/initdb -D data -U test -A trust --no-sync -E UTF8 --locale=C >log 2>&1 && "
        "%s/pg_ctl -D data -l log -w -o '-F -h \\\"\\\" -k %s' start >>log 2>&1",
        bin, bin, dir);
    return as_user(cmd) == 0 ? 0 : -1;
}

static int
server_stop(void **state)
{
    char cmd[512];

    (void)state;
    if (dir == NULL)
        return 0;
    (void)snprintf(cmd, sizeof(cmd), "%s/pg_ctl -D data -m immediate stop >>log 2>&1",
                   bin);
    if (as_user(cmd) != 0)
        return -1;
    dir_free(dir);
    return 0;
}

/* As GO_TEST, unless there is no server. */
#define PG_TEST(name)                                                                    \
    GO_TEST(name##_);                                                                    \
    static void name(void **state)                                                       \
    {                                                                                    \
        if (dir == NULL)                                                                 \
            SKIP("no PostgreSQL server is installed");                                   \
        name##_(state);                                                                  \
    }                                                                                    \
    static void name##__body(void)

static struct job_env *
env_here(void)
{
    return env_of("{sql: {max_rows: 100, max_bytes: 2000, connections: 2}, databases: {"
                  "ro: {url: 'postgresql:///postgres?host=%s&user=test'},"
                  "rw: {url: 'postgresql:///postgres?host=%s&user=test', write: true},"
                  "gone: {url: 'postgresql:///postgres?host=%s/nowhere&user=test'}}}",
                  dir, dir, dir);
}

PG_TEST(postgres_rows_are_typed)
{
    struct job_env *env = env_here();

    gives(env,
          QUERY("ro", "SELECT 1 AS a, 2.5::float8 AS b, 'x' AS c, NULL AS d, true AS e, "
                      "'\\\\xff00'::bytea AS f, 1.10::numeric AS g"),
          "\"rows\":[[1,2.5,\"x\",null,true,{\"base64\":\"/wA=\"},\"1.10\"]],\"count\":1,"
          "\"truncated\":false");
    gives(env, QUERY("ro", "SELECT 1 AS a"), "[{\"name\":\"a\",\"type\":\"integer\"}]");
    gives(env, QUERY("ro", "SELECT 1 AS a WHERE false"), "\"count\":0");
    gives(env,
          "{\"sql\":{\"db\":\"ro\",\"query\":\"SELECT $1::int + 1, $2::text, $3::float8, "
          "$4::bool,"
          " $5::bytea, "
          "$6::int\",\"params\":[41,\"t\",0.5,true,{\"base64\":\"AQ==\"},null]}}",
          "[[42,\"t\",0.5,true,{\"base64\":\"AQ==\"},null]]");
    job_env_unref(env);
}

PG_TEST(postgres_statements_are_refused_with_the_rule)
{
    struct job_env *env = env_here();

    fails(env, QUERY("ro", "CREATE TABLE t(a int)"), PB_ERROR__CODE__DENIED,
          "databases.ro.write");
    fails(env, QUERY("ro", "SELECT 1; SELECT 2"), PB_ERROR__CODE__INVALID,
          "more than one statement");
    fails(env, QUERY("ro", "SELEKT"), PB_ERROR__CODE__SQL, "syntax error");
    fails(env, QUERY("ro", ";"), PB_ERROR__CODE__INVALID, "no statement");
    fails(env, QUERY("ro", "COPY (SELECT 1) TO STDOUT"), PB_ERROR__CODE__INVALID, "COPY");
    fails(env, QUERY("ro", "SELECT $1::int"), PB_ERROR__CODE__SQL, "parameter");
    fails(env, QUERY("gone", "SELECT 1"), PB_ERROR__CODE__CONNECT, "cannot be reached");
    /* What one job does to its session is not there for the next. */
    gives(env, QUERY("ro", "SET default_transaction_read_only = off"), "\"count\":0");
    fails(env, QUERY("ro", "CREATE TABLE t(a int)"), PB_ERROR__CODE__DENIED, "read-only");
    gives(env, QUERY("rw", "CREATE TABLE w(a int)"), "\"count\":0");
    gives(env, QUERY("rw", "INSERT INTO w VALUES (1),(2) RETURNING a"), "\"changed\":2");
    gives(env, QUERY("ro", "SELECT sum(a) FROM w"), "[[3]]");
    job_env_unref(env);
}

PG_TEST(postgres_results_are_cut_at_their_limits)
{
    struct job_env *env = env_here();

    for (int i = 0; i < 3; i++)
        gives(env, QUERY("ro", "SELECT generate_series(1, 10000000)"),
              "[100]],\"count\":100,\"truncated\":true");
    gives(env, QUERY("ro", "SELECT repeat('x', 92) FROM generate_series(1, 50)"),
          "\"count\":20,\"truncated\":true");
    job_env_unref(env);
}

PG_TEST(rows_without_room_are_written_all_the_same)
{
    struct job_env *env = env_here();

    gives(env, QUERY("rw", "CREATE TABLE many(a int, b text)"), "\"count\":0");
    gives(env,
          QUERY("rw", "INSERT INTO many SELECT g, repeat('x', 1000) FROM "
                      "generate_series(1, 50000) g RETURNING a, b"),
          "\"truncated\":true");
    gives(env, QUERY("ro", "SELECT count(*) FROM many"), "[[50000]]");
    job_env_unref(env);
}

PG_TEST(postgres_statement_can_be_cancelled)
{
    struct job_env *env = env_here();
    struct outcome o;

    for (int i = 0; i < 5; i++)
        check_cancel(env, &o, "%s", QUERY("ro", "SELECT pg_sleep(60)"));
    /* They do not go on in the server. */
    gives(env, QUERY("ro", "SELECT pg_sleep(0.2)"), "\"count\":1");
    gives(env,
          QUERY("ro",
                "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(60)%' "
                "AND state = 'active' AND pid <> pg_backend_pid()"),
          "[[0]]");
    job_env_unref(env);
}

PG_TEST(broken_connection_is_replaced)
{
    struct job_env *env = env_here();

    gives(env, QUERY("ro", "SELECT 1"), "[[1]]");
    fails(env, QUERY("rw", "SELECT pg_terminate_backend(pg_backend_pid())"),
          PB_ERROR__CODE__SQL, "terminat");
    gives(env, QUERY("rw", "SELECT 1"), "[[1]]");
    /* The one that ended itself may still be on its way out. */
    gives(env,
          QUERY("rw", "SELECT bool_and(pg_terminate_backend(pid, 5000)) FROM "
                      "pg_stat_activity WHERE backend_type = 'client backend' AND "
                      "query NOT LIKE '%pg_terminate_backend%'"),
          "[[true]]");
    gives(env, QUERY("ro", "SELECT pg_sleep(0.1)"), "\"count\":1");
    job_env_unref(env);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(postgres_rows_are_typed),
        cmocka_unit_test(postgres_statements_are_refused_with_the_rule),
        cmocka_unit_test(postgres_results_are_cut_at_their_limits),
        cmocka_unit_test(rows_without_room_are_written_all_the_same),
        cmocka_unit_test(postgres_statement_can_be_cancelled),
        cmocka_unit_test(broken_connection_is_replaced),
    };

    return cmocka_run_group_tests_name("sql_pg", tests, server_start, server_stop);
}
