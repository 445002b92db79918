/*
 * The rows of a query as they come, into a result with bounds.
 *
 *     sql_rows_begin(&rows, run);
 *     sql_rows_column(&rows, "price", "REAL") ...
 *     while (there is a row) {
 *         if (sql_rows_next(&rows) != 1) break;   // full: truncated
 *         sql_rows_int(&rows, 5) ...              // a value per column
 *     }
 *     sql_rows_end(&rows);
 *
 * Never parks. Errors: -ENOBUFS, recorded in the run.
 */
#ifndef GOJOBD_JOBS_SQL_ROWS_H
#define GOJOBD_JOBS_SQL_ROWS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "jobs/kind.h"

struct sql_rows {
    struct job_run *run;
    PbSqlResult *res;
    PbRow *row; /* being filled */
    size_t columns_cap, rows_cap;
    uint64_t max_rows, max_bytes, bytes;
    bool full;
};

int sql_rows_begin(struct sql_rows *r, struct job_run *run);

/* type may be NULL. */
int sql_rows_column(struct sql_rows *r, const char *name, const char *type);

/* 1: give the row's values; 0: there is no room for another; -ENOBUFS. */
int sql_rows_next(struct sql_rows *r);

int sql_rows_null(struct sql_rows *r);
int sql_rows_flag(struct sql_rows *r, bool flag);
int sql_rows_int(struct sql_rows *r, int64_t i);
int sql_rows_real(struct sql_rows *r, double d);
/* What is not UTF-8, or has a NUL in it, becomes a blob. */
int sql_rows_text(struct sql_rows *r, const char *s, size_t len);
int sql_rows_blob(struct sql_rows *r, const void *data, size_t len);

/* Makes run->result. The last row is dropped if it went beyond max_bytes. */
int sql_rows_end(struct sql_rows *r);

#endif
