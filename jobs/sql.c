/*
 * Queries of configured databases. The drivers: sql_sqlite.c, sql_postgres.c.
 */
#include <errno.h>
#include <string.h>

#include "config/config.h"
#include "jobs/env.h"
#include "jobs/kind.h"
#include "jobs/sql_pool.h"

enum {
    PARAMS_MAX = 1000,
    QUERY_MAX = 1000000,     /* bytes */
    STACK_SIZE = 1024 * 1024 /* SQL parsers recurse */
};

static int
sql_validate(struct job_env *env, const PbJobSpec *spec, struct job_error *err)
{
    const PbSqlSpec *s = spec->sql;
    const struct config *cfg = job_env_config(env);

    if (s->db == NULL || s->db[0] == '\0')
        return job_error_set(err, PB_ERROR__CODE__INVALID, "sql.db", "sql.db is needed");
    if (cfg_database(cfg, s->db) == NULL)
        return job_error_set(err, PB_ERROR__CODE__DENIED, "sql.db",
                             "databases of the configuration has no \"%.60s\"", s->db);
    if (job_env_database(env, s->db) == NULL)
        return job_error_set(
            err, PB_ERROR__CODE__INVALID, "sql.db",
            "databases.%.60s.url is neither sqlite:PATH nor postgresql://", s->db);
    if (s->query == NULL || s->query[0] == '\0')
        return job_error_set(err, PB_ERROR__CODE__INVALID, "sql.query",
                             "sql.query is needed");
    if (strlen(s->query) > QUERY_MAX)
        return job_error_set(err, PB_ERROR__CODE__TOO_LARGE, "sql.query",
                             "sql.query is longer than %d bytes", QUERY_MAX);
    if (s->n_params > PARAMS_MAX)
        return job_error_set(err, PB_ERROR__CODE__TOO_LARGE, "sql.params",
                             "sql.params has more than %d entries", PARAMS_MAX);
    if (s->has_max_rows && s->max_rows > (uint64_t)cfg->sql.max_rows)
        return job_error_set(err, PB_ERROR__CODE__TOO_LARGE, "sql.max_rows",
                             "sql.max_rows is more than the configuration allows (%lld)",
                             (long long)cfg->sql.max_rows);
    if (s->has_max_bytes && s->max_bytes > (uint64_t)cfg->sql.max_bytes)
        return job_error_set(err, PB_ERROR__CODE__TOO_LARGE, "sql.max_bytes",
                             "sql.max_bytes is more than the configuration allows (%lld)",
                             (long long)cfg->sql.max_bytes);
    return 0;
}

static int
sql_run(struct job_run *run)
{
    struct sql_pool *pool = job_env_database(run->env, run->spec->sql->db);

    return pool->driver->run(run, pool);
}

const struct job_kind job_sql = {
    .name = "sql",
    .kind = PB_JOB__KIND__KIND_SQL,
    .unit = PB_PROGRESS__UNIT__ROWS,
    .stack_size = STACK_SIZE,
    .validate = sql_validate,
    .run = sql_run,
};
