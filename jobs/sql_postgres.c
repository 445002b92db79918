/*
 * PostgreSQL, through libpq without blocking, row by row.
 *
 * A database without write: true runs each query in a READ ONLY transaction, which is rolled
 * back. The extended protocol takes one statement only, so nothing can follow it.
 */
#include <errno.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/config.h"
#include "jobs/env.h"
#include "jobs/sql_pg_conn.h"
#include "jobs/sql_rows.h"
#include "proto/number.h"
#include "runtime/go.h"

/* Types whose values are more than text; and the names of common ones. */
enum {
    OID_BOOL = 16,
    OID_BYTEA = 17,
    OID_INT8 = 20,
    OID_INT2 = 21,
    OID_INT4 = 23,
    OID_OID = 26,
    OID_FLOAT4 = 700,
    OID_FLOAT8 = 701
};

static const struct {
    Oid oid;
    const char *name;
} types[] = {
    {OID_BOOL, "boolean"},
    {OID_BYTEA, "bytea"},
    {18, "char"},
    {19, "name"},
    {OID_INT8, "bigint"},
    {OID_INT2, "smallint"},
    {OID_INT4, "integer"},
    {25, "text"},
    {OID_OID, "oid"},
    {114, "json"},
    {142, "xml"},
    {OID_FLOAT4, "real"},
    {OID_FLOAT8, "double precision"},
    {1042, "character"},
    {1043, "character varying"},
    {1082, "date"},
    {1083, "time"},
    {1114, "timestamp"},
    {1184, "timestamp with time zone"},
    {1186, "interval"},
    {1700, "numeric"},
    {2950, "uuid"},
    {3802, "jsonb"},
    {869, "inet"},
    {650, "cidr"},
    {1007, "integer[]"},
    {1009, "text[]"},
    {1016, "bigint[]"},
};

static const char *
type_name(Oid oid, char other[32])
{
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
        if (types[i].oid == oid)
            return types[i].name;
    (void)snprintf(other, 32, "oid %u", oid);
    return other;
}

/* --- parameters --- */

struct params {
    const char **values;
    int *lengths, *formats;
    Oid *oids;
    char (*text)[DOUBLE_TEXT_MAX];
};

static void
params_free(struct params *p)
{
    free((void *)p->values);
    free(p->lengths);
    free(p->formats);
    free(p->oids);
    free(p->text);
}

/* All but blobs go as text of a type that the server infers from where they stand. */
static void
param_set(struct params *p, size_t i, const PbValue *v)
{
    switch (v->kind_case) {
    case PB_VALUE__KIND_FLAG:
        p->values[i] = v->flag ? "t" : "f";
        break;
    case PB_VALUE__KIND_INT:
        (void)snprintf(p->text[i], DOUBLE_TEXT_MAX, "%lld", (long long)v->int_);
        p->values[i] = p->text[i];
        break;
    case PB_VALUE__KIND_REAL:
        (void)double_format(v->real, p->text[i]);
        p->values[i] = p->text[i];
        break;
    case PB_VALUE__KIND_TEXT:
        p->values[i] = v->text;
        break;
    case PB_VALUE__KIND_BLOB:
        p->values[i] = v->blob.len > 0 ? (const char *)v->blob.data : "";
        p->lengths[i] = (int)v->blob.len;
        p->formats[i] = 1;
        p->oids[i] = OID_BYTEA;
        break;
    case PB_VALUE__KIND__NOT_SET:
    default:
        break;
    }
}

static int
params_make(const PbSqlSpec *s, struct params *p)
{
    size_t n = s->n_params + 1;

    p->values = calloc(n, sizeof(*p->values));
    p->lengths = calloc(n, sizeof(*p->lengths));
    p->formats = calloc(n, sizeof(*p->formats));
    p->oids = calloc(n, sizeof(*p->oids));
    p->text = calloc(n, sizeof(*p->text));
    if (p->values == NULL || p->lengths == NULL || p->formats == NULL ||
        p->oids == NULL || p->text == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < s->n_params; i++)
        param_set(p, i, s->params[i]);
    return 0;
}

/* --- rows --- */

static int
add_value(struct sql_rows *rows, const PGresult *res, int i)
{
    const char *s = PQgetvalue(res, 0, i);
    size_t len = (size_t)PQgetlength(res, 0, i);
    unsigned char *raw;
    int r;

    if (PQgetisnull(res, 0, i))
        return sql_rows_null(rows);
    switch (PQftype(res, i)) {
    case OID_BOOL:
        return sql_rows_flag(rows, *s == 't');
    case OID_INT2:
    case OID_INT4:
    case OID_INT8:
    case OID_OID:
        return sql_rows_int(rows, strtoll(s, NULL, 10));
    case OID_FLOAT4:
    case OID_FLOAT8:
        return sql_rows_real(rows, strtod(s, NULL));
    case OID_BYTEA:
        raw = PQunescapeBytea((const unsigned char *)s, &len);
        if (raw == NULL)
            return job_run_too_large(rows->run);
        r = sql_rows_blob(rows, raw, len);
        PQfreemem(raw);
        return r;
    default:
        return sql_rows_text(rows, s, len);
    }
}

static int
add_columns(struct sql_rows *rows, const PGresult *res)
{
    int r = 0;

    if (rows->res->n_columns > 0)
        return 0;
    for (int i = 0; r == 0 && i < PQnfields(res); i++) {
        char other[32];

        r = sql_rows_column(rows, PQfname(res, i), type_name(PQftype(res, i), other));
    }
    return r;
}

static int
refused(struct job_run *run, const struct sql_pool *p, const PGresult *res)
{
    const char *state = PQresultErrorField(res, PG_DIAG_SQLSTATE);
    const char *text = PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY);

    text = text != NULL ? text : "the server refused the statement";
    if (state != NULL && strcmp(state, "25006") == 0)
        (void)job_error_set(&run->err, PB_ERROR__CODE__DENIED, "sql.query",
                            "database %s is read-only, databases.%s.write is not set: %s",
                            p->name, p->name, text);
    else if (strstr(text, "cannot insert multiple commands") != NULL)
        (void)job_error_set(&run->err, PB_ERROR__CODE__INVALID, "sql.query",
                            "sql.query holds more than one statement");
    else
        (void)job_error_set(&run->err, PB_ERROR__CODE__SQL, "sql.query", "%s (%s)", text,
                            state != NULL ? state : "?");
    return -EIO;
}

/* One result: a row, or the end of the rows. 1: go on; 0: there is no room for more. */
static int
take_result(struct job_run *run, const struct sql_pool *p, struct sql_rows *rows,
            const PGresult *res)
{
    const char *changed;
    int r;

    switch (PQresultStatus(res)) {
    case PGRES_SINGLE_TUPLE:
        r = add_columns(rows, res);
        if (r == 0)
            r = sql_rows_next(rows);
        for (int i = 0; r == 1 && i < PQnfields(res); i++)
            r = add_value(rows, res, i) < 0 ? -ENOBUFS : 1;
        return r;
    case PGRES_TUPLES_OK:
    case PGRES_COMMAND_OK:
        r = add_columns(rows, res);
        changed = PQcmdTuples((PGresult *)(uintptr_t)res);
        if (r == 0 && changed[0] != '\0' &&
            strncmp(PQcmdStatus((PGresult *)(uintptr_t)res), "SELECT", 6) != 0)
            PB_SET(rows->res, changed, strtoull(changed, NULL, 10));
        return r < 0 ? r : 1;
    case PGRES_EMPTY_QUERY:
        return job_error_set(&run->err, PB_ERROR__CODE__INVALID, "sql.query",
                             "sql.query holds no statement");
    case PGRES_COPY_IN:
    case PGRES_COPY_OUT:
    case PGRES_COPY_BOTH:
        return job_error_set(&run->err, PB_ERROR__CODE__INVALID, "sql.query",
                             "COPY from or to the client is not supported");
    case PGRES_BAD_RESPONSE:
    case PGRES_NONFATAL_ERROR:
    case PGRES_FATAL_ERROR:
    case PGRES_PIPELINE_SYNC:
    case PGRES_PIPELINE_ABORTED:
    default:
        return refused(run, p, res);
    }
}

/* PARKS. Takes the rows there is no room for: the server ends a statement that writes only
 * when they are gone, and what it wrote would be lost with a cancellation. */
static int
take_rest(struct job_run *run, const struct sql_pool *p, struct pg *g, bool *running)
{
    int r = 0;

    while (r >= 0) {
        PGresult *res = NULL;

        r = pg_result(g, run->ctx, &res);
        if (r < 0)
            break;
        if (res == NULL) {
            *running = false;
            break;
        }
        if (PQresultStatus(res) == PGRES_FATAL_ERROR)
            r = refused(run, p, res);
        PQclear(res);
    }
    return r;
}

/* PARKS. *running is left true when the server is not done with the statement. */
static int
take_results(struct job_run *run, const struct sql_pool *p, struct pg *g, bool *running)
{
    struct sql_rows rows;
    int r;

    r = sql_rows_begin(&rows, run);
    while (r >= 0) {
        PGresult *res = NULL;

        r = pg_result(g, run->ctx, &res);
        if (r < 0)
            return r;
        if (res == NULL) {
            *running = false;
            break;
        }
        r = take_result(run, p, &rows, res);
        PQclear(res);
        if (r == 0) {
            r = p->write ? take_rest(run, p, g, running) : 0;
            break;
        }
    }
    return r < 0 ? r : sql_rows_end(&rows);
}

static int
query(struct job_run *run, const struct sql_pool *p, struct pg *g, bool *running)
{
    const PbSqlSpec *s = run->spec->sql;
    struct params params = {0};
    int r = 0;

    if (!p->write)
        r = pg_command(g, run->ctx, "BEGIN READ ONLY");
    if (r == 0)
        r = params_make(s, &params);
    if (r == 0) {
        *running = true;
        if (!PQsendQueryParams(g->c, s->query, (int)s->n_params, params.oids,
                               params.values, params.lengths, params.formats, 0) ||
            !PQsetSingleRowMode(g->c))
            r = -EPIPE;
    }
    if (r == 0)
        r = pg_flush(g, run->ctx);
    if (r == 0)
        r = take_results(run, p, g, running);
    params_free(&params);
    return r;
}

static int
postgres_run(struct job_run *run, struct sql_pool *p)
{
    bool running = false;
    struct pg *g = NULL;
    int r;

    r = pg_get(run, p, &g);
    if (r < 0)
        return r;
    r = query(run, p, g, &running);
    if (r == -ETIMEDOUT || r == -ECANCELED)
        (void)job_run_ended(run, r);
    else if (r == -ENOMEM)
        (void)job_run_too_large(run);
    else if (r < 0)
        (void)job_error_set(&run->err, PB_ERROR__CODE__NETWORK, "sql.db",
                            "the connection to database %s broke: %s", p->name,
                            PQerrorMessage(g->c));
    pg_give(p, g, running || r == -ETIMEDOUT || r == -ECANCELED);
    return r;
}

const struct sql_driver sql_postgres = {
    .scheme = "postgresql",
    .run = postgres_run,
    .close = pg_close,
};
