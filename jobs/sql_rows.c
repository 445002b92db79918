#include "jobs/sql_rows.h"

#include <errno.h>
#include <string.h>

#include "config/config.h"
#include "jobs/env.h"
#include "proto/utf8.h"
#include "runtime/base/atomic.h"

#define VALUE_BYTES 8 /* what a value counts at least */

int
sql_rows_begin(struct sql_rows *r, struct job_run *run)
{
    const PbSqlSpec *s = run->spec->sql;
    const struct config *cfg = job_env_config(run->env);

    *r = (struct sql_rows){
        .run = run,
        .max_rows = PB_GET(s, max_rows, (uint64_t)cfg->sql.max_rows),
        .max_bytes = PB_GET(s, max_bytes, (uint64_t)cfg->sql.max_bytes),
    };
    r->res = job_new(run, &pb_sql_result__descriptor);
    return r->res == NULL ? job_run_too_large(run) : 0;
}

/* Room for one more pointer in an array of the arena; NULL at its limit. */
static void *
grown(struct job_run *run, void *old, size_t n, size_t *cap)
{
    size_t more = *cap == 0 ? 16 : *cap * 2;
    void *to;

    if (n < *cap)
        return old;
    to = proto_arena_alloc(&run->mem, more * sizeof(void *));
    if (to == NULL)
        return NULL;
    if (n > 0)
        memcpy(to, old, n * sizeof(void *));
    *cap = more;
    return to;
}

static char *
clean_copy(struct job_run *run, const char *s)
{
    size_t len = strlen(s);
    char *copy = proto_arena_dup(&run->mem, s, len);

    if (copy != NULL)
        utf8_clean(copy, len);
    return copy;
}

int
sql_rows_column(struct sql_rows *r, const char *name, const char *type)
{
    PbColumn *c = job_new(r->run, &pb_column__descriptor);
    void *columns =
        grown(r->run, (void *)r->res->columns, r->res->n_columns, &r->columns_cap);

    if (c == NULL || columns == NULL)
        return job_run_too_large(r->run);
    c->name = clean_copy(r->run, name);
    c->type = type != NULL ? clean_copy(r->run, type) : NULL;
    if (c->name == NULL || (type != NULL && c->type == NULL))
        return job_run_too_large(r->run);
    r->res->columns = columns;
    r->res->columns[r->res->n_columns++] = c;
    return 0;
}

/* The row that went over max_bytes was one too many. */
static void
drop_last(struct sql_rows *r)
{
    if (r->row == NULL || r->bytes <= r->max_bytes)
        return;
    r->res->n_rows--;
    r->row = NULL;
    r->full = true;
}

int
sql_rows_next(struct sql_rows *r)
{
    size_t columns = r->res->n_columns;
    void *rows;

    drop_last(r);
    if (r->full || r->res->n_rows >= r->max_rows) {
        r->full = true;
        return 0;
    }
    rows = grown(r->run, (void *)r->res->rows, r->res->n_rows, &r->rows_cap);
    r->row = job_new(r->run, &pb_row__descriptor);
    if (rows == NULL || r->row == NULL)
        return job_run_too_large(r->run);
    r->row->values = proto_arena_alloc(&r->run->mem, columns * sizeof(PbValue *));
    if (r->row->values == NULL)
        return job_run_too_large(r->run);
    r->res->rows = rows;
    r->res->rows[r->res->n_rows++] = r->row;
    STORE(&r->run->progress.done, r->res->n_rows, RELAXED);
    return 1;
}

static PbValue *
value_new(struct sql_rows *r, size_t bytes)
{
    PbValue *v;

    r->bytes += VALUE_BYTES + bytes;
    v = job_new(r->run, &pb_value__descriptor);
    if (v == NULL)
        (void)job_run_too_large(r->run);
    else
        r->row->values[r->row->n_values++] = v;
    return v;
}

int
sql_rows_null(struct sql_rows *r)
{
    return value_new(r, 0) == NULL ? -ENOBUFS : 0;
}

int
sql_rows_flag(struct sql_rows *r, bool flag)
{
    PbValue *v = value_new(r, 0);

    if (v == NULL)
        return -ENOBUFS;
    v->kind_case = PB_VALUE__KIND_FLAG;
    v->flag = flag;
    return 0;
}

int
sql_rows_int(struct sql_rows *r, int64_t i)
{
    PbValue *v = value_new(r, 0);

    if (v == NULL)
        return -ENOBUFS;
    v->kind_case = PB_VALUE__KIND_INT;
    v->int_ = i;
    return 0;
}

int
sql_rows_real(struct sql_rows *r, double d)
{
    PbValue *v = value_new(r, 0);

    if (v == NULL)
        return -ENOBUFS;
    v->kind_case = PB_VALUE__KIND_REAL;
    v->real = d;
    return 0;
}

int
sql_rows_text(struct sql_rows *r, const char *s, size_t len)
{
    PbValue *v;

    if (len > 0 && (memchr(s, '\0', len) != NULL || !utf8_valid(s, len)))
        return sql_rows_blob(r, s, len);
    v = value_new(r, len);
    if (v == NULL)
        return -ENOBUFS;
    /* What will be dropped anyway is not copied. */
    v->text = proto_arena_dup(&r->run->mem, s, r->bytes > r->max_bytes ? 0 : len);
    if (v->text == NULL)
        return job_run_too_large(r->run);
    v->kind_case = PB_VALUE__KIND_TEXT;
    return 0;
}

int
sql_rows_blob(struct sql_rows *r, const void *data, size_t len)
{
    PbValue *v = value_new(r, len);
    char *copy;

    if (v == NULL)
        return -ENOBUFS;
    if (r->bytes > r->max_bytes)
        len = 0;
    copy = proto_arena_dup(&r->run->mem, data, len);
    if (copy == NULL)
        return job_run_too_large(r->run);
    v->kind_case = PB_VALUE__KIND_BLOB;
    v->blob = (ProtobufCBinaryData){.data = (uint8_t *)copy, .len = len};
    return 0;
}

int
sql_rows_end(struct sql_rows *r)
{
    PbJobResult *jr = job_new(r->run, &pb_job_result__descriptor);

    if (jr == NULL)
        return job_run_too_large(r->run);
    drop_last(r);
    PB_SET(r->res, count, r->res->n_rows);
    PB_SET(r->res, truncated, r->full);
    jr->result_case = PB_JOB_RESULT__RESULT_SQL;
    jr->sql = r->res;
    r->run->result = jr;
    return 0;
}
