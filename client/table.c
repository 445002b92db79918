#include "client/table.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>

#include "proto/utf8.h"

struct table_cell {
    char *text;
    size_t len;
    size_t width; /* in characters */
    enum colour colour;
};

enum { WIDEST = 200 }; /* wider cells do not move the others */

void
table_init(struct table *t, size_t columns, const char *const *heads)
{
    *t = (struct table){.columns = columns < TABLE_COLUMNS ? columns : TABLE_COLUMNS};
    for (size_t i = 0; i < t->columns; i++)
        t->heads[i] = heads[i];
}

static void
clear(struct table *t)
{
    for (size_t i = 0; i < t->n; i++)
        free(t->cells[i].text);
    t->n = 0;
}

void
table_fini(struct table *t)
{
    clear(t);
    free(t->cells);
}

static size_t
width_of(const char *s, size_t len)
{
    size_t width = 0;

    for (size_t i = 0; i < len; width++) {
        size_t n = utf8_sequence(s + i, len - i);

        i += n > 0 ? n : 1;
    }
    return width;
}

void
table_cell(struct table *t, enum colour colour, const char *text, size_t len)
{
    struct table_cell *c;

    if (t->n == t->cap) {
        size_t cap = t->cap > 0 ? t->cap * 2 : 64;
        struct table_cell *cells = realloc(t->cells, cap * sizeof(*cells));

        if (cells == NULL)
            return;
        t->cells = cells;
        t->cap = cap;
    }
    c = &t->cells[t->n];
    c->text = malloc(len + 1);
    if (c->text == NULL)
        return;
    for (size_t i = 0; i < len; i++) /* a row is a line */
        c->text[i] =
            text[i] == '\n' || text[i] == '\t' || text[i] == '\r' ? ' ' : text[i];
    c->len = len;
    c->width = width_of(text, len);
    c->colour = colour;
    t->n++;
}

void
table_text(struct table *t, const char *text)
{
    table_cell(t, PLAIN, text != NULL ? text : "", text != NULL ? strlen(text) : 0);
}

void
table_printf(struct table *t, const char *fmt, ...)
{
    char text[512];
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    table_text(t, text);
}

static void
print_cell(const struct table *t, size_t column, const char *text, size_t len,
           size_t width, size_t widest, enum colour colour)
{
    int pad = widest > width ? (int)(widest - width) : 0;

    if (t->heads[column][0] == '>')
        out_printf("%*s", pad, "");
    if (colour != PLAIN)
        out_colour(colour);
    out_text(text, len);
    if (colour != PLAIN)
        out_colour(PLAIN);
    if (column + 1 == t->columns)
        out_add("\n", 1);
    else
        out_printf("%*s", t->heads[column][0] == '>' ? 2 : pad + 2, "");
}

void
table_print(struct table *t)
{
    size_t widest[TABLE_COLUMNS];

    if (t->columns == 0)
        return;

    for (size_t i = 0; i < t->columns; i++) {
        const char *head = t->heads[i] + (t->heads[i][0] == '>');

        widest[i] = width_of(head, strlen(head));
    }
    for (size_t i = 0; i < t->n; i++)
        if (t->cells[i].width > widest[i % t->columns])
            widest[i % t->columns] =
                t->cells[i].width < WIDEST ? t->cells[i].width : WIDEST;

    for (size_t i = 0; t->headed == 0 && i < t->columns; i++) {
        const char *head = t->heads[i] + (t->heads[i][0] == '>');
        size_t len = strlen(head);

        print_cell(t, i, head, len, width_of(head, len), widest[i], DIM);
    }
    t->headed = 1;
    for (size_t i = 0; i < t->n; i++)
        print_cell(t, i % t->columns, t->cells[i].text, t->cells[i].len,
                   t->cells[i].width, widest[i % t->columns], t->cells[i].colour);
    clear(t);
}
