/*
 * Records and fields of CSV (RFC 4180), and the first record of a file.
 */
#ifndef GOJOBD_JOBS_SUM_CSV_H
#define GOJOBD_JOBS_SUM_CSV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct job_file;

enum { CSV_RECORD_MAX = 1024 * 1024 }; /* bytes */

struct csv_header {
    char *record; /* malloc; NUL-terminated */
    size_t len;
    uint64_t begin; /* its offset in the file: behind a byte order mark */
    uint64_t next;  /* offset of the records behind it */
};

/* PARKS. 0; -EINVAL: too long a record; -errno. */
int csv_header_read(const struct job_file *f, struct csv_header *ret);

/* Field n (from 0) of a record, unquoted in place. 0; -ENOENT: it has fewer; -EINVAL: a quote
 * where none may be. The record's fields up to n are no more to be read after this. */
int csv_field(char *record, size_t len, char delimiter, size_t n, char **ret,
              size_t *ret_len);

/* The number of the field that is name, from 0. 0, -ENOENT, -EINVAL. Spends the record. */
int csv_find(char *record, size_t len, char delimiter, const char *name, size_t *ret);

/* True if field n is there and a number, or empty. Spends the record. */
bool csv_is_number(char *record, size_t len, char delimiter, size_t n);

#endif
