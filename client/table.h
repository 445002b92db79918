/*
 * Columns for people: cells are gathered, then printed as wide as they need to be.
 *
 * Lifecycle  init -> cell ... -> print, which also empties it -> fini.
 */
#ifndef GOJOBD_CLIENT_TABLE_H
#define GOJOBD_CLIENT_TABLE_H

#include <stddef.h>

#include "client/out.h"

enum { TABLE_COLUMNS = 64 };

struct table {
    size_t columns;
    const char *heads[TABLE_COLUMNS]; /* ">ID" stands to the right */
    struct table_cell *cells;
    size_t n, cap;
    int headed; /* the heads were printed */
};

/* The heads must outlive the table. */
void table_init(struct table *t, size_t columns, const char *const *heads);
void table_fini(struct table *t);
void table_text(struct table *t, const char *text); /* NULL: empty */
void table_cell(struct table *t, enum colour colour, const char *text, size_t len);
void table_printf(struct table *t, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
void table_print(struct table *t);

#endif
