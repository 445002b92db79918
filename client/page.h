/*
 * Lines of coloured text, made whole before they are shown: on standard output, or on a
 * screen of so many columns.
 *
 * Lifecycle  a zeroed struct is empty; clear starts anew, fini frees.
 * Memory     out of memory ends the process, as elsewhere in goctl.
 */
#ifndef GOJOBD_CLIENT_PAGE_H
#define GOJOBD_CLIENT_PAGE_H

#include <stdbool.h>
#include <stddef.h>

#include "client/out.h"

enum { PAGE_MARKS = 12 };

struct page_line {
    char *text; /* UTF-8, without what would drive a terminal */
    size_t len, cap;
    size_t width; /* columns */
    struct {
        size_t at; /* the byte from which the colour holds */
        enum colour colour;
    } marks[PAGE_MARKS];
    size_t n_marks;
};

struct page {
    struct page_line *v;
    size_t n, cap;
};

void page_clear(struct page *p);
void page_fini(struct page *p);

/* A new last line, to which the others add. */
void page_line(struct page *p);
void page_put(struct page *p, enum colour c, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* Text that is not ours, cut or filled up to so many columns. */
void page_cell(struct page *p, enum colour c, const char *text, size_t columns);
/* Spaces up to that column. */
void page_to(struct page *p, size_t column);
/* A bar of so many columns, for a part of a whole; "[####....]". */
void page_bar(struct page *p, enum colour c, size_t columns, double part);
/* Phrases after a heading, comma-separated, on as many lines as `columns` makes them need. */
void page_phrase(struct page *p, const char *heading, size_t columns, const char *fmt,
                 ...) __attribute__((format(printf, 4, 5)));

/* Columns of the last line. */
size_t page_width(const struct page *p);

/* How many bytes of s fit so many columns; *ret_width: those they take. */
size_t page_fit(const char *s, size_t len, size_t columns, size_t *ret_width);

/* All lines, in colour where out.c uses any. */
void page_print(const struct page *p);

#endif
