#define _GNU_SOURCE
#include "client/page.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <wchar.h>

#include "proto/utf8.h"

static void *
grow(void *v, size_t size)
{
    void *p = realloc(v, size);

    if (p == NULL) {
        (void)out_fail(EXIT_JOB, "out of memory");
        _exit(EXIT_JOB);
    }
    return p;
}

void
page_clear(struct page *p)
{
    for (size_t i = 0; i < p->n; i++)
        free(p->v[i].text);
    p->n = 0;
}

void
page_fini(struct page *p)
{
    page_clear(p);
    free(p->v);
    *p = (struct page){.v = NULL};
}

void
page_line(struct page *p)
{
    if (p->n == p->cap) {
        p->cap = p->cap > 0 ? p->cap * 2 : 64;
        p->v = grow(p->v, p->cap * sizeof(*p->v));
    }
    p->v[p->n++] = (struct page_line){.text = NULL};
}

/* --- columns ---------------------------------------------------------------------------- */

/* The character of n bytes at s. */
static wchar_t
decode(const char *s, size_t n)
{
    static const unsigned char lead[] = {0, 0x7f, 0x1f, 0x0f, 0x07};
    wchar_t c = (unsigned char)s[0] & lead[n];

    for (size_t i = 1; i < n; i++)
        c = c << 6 | ((unsigned char)s[i] & 0x3f);
    return c;
}

size_t
page_fit(const char *s, size_t len, size_t columns, size_t *ret_width)
{
    size_t width = 0, i = 0;

    while (i < len) {
        size_t n = utf8_sequence(s + i, len - i);
        int w = n > 1 ? wcwidth(decode(s + i, n)) : 1;
        size_t take = w < 0 ? 1 : (size_t)w;

        if (width + take > columns)
            break;
        width += take;
        i += n > 0 ? n : 1;
    }
    *ret_width = width;
    return i;
}

size_t
page_width(const struct page *p)
{
    return p->n > 0 ? p->v[p->n - 1].width : 0;
}

/* --- putting ---------------------------------------------------------------------------- */

static void
mark(struct page_line *l, enum colour c)
{
    enum colour now = l->n_marks > 0 ? l->marks[l->n_marks - 1].colour : PLAIN;

    if (c == now || l->n_marks == PAGE_MARKS)
        return;
    l->marks[l->n_marks].at = l->len;
    l->marks[l->n_marks++].colour = c;
}

static void
put(struct page *p, enum colour c, const char *s, size_t n)
{
    struct page_line *l;
    size_t width;

    if (p->n == 0)
        page_line(p);
    l = &p->v[p->n - 1];
    mark(l, c);
    if (l->len + n + 1 > l->cap) {
        l->cap = (l->len + n + 1) * 2;
        l->text = grow(l->text, l->cap);
    }
    for (size_t i = 0; i < n; i++) {
        unsigned char b = (unsigned char)s[i];

        l->text[l->len + i] = b < ' ' || b == 0x7f ? '?' : s[i];
    }
    l->len += n;
    l->text[l->len] = '\0';
    (void)page_fit(s, n, SIZE_MAX, &width);
    l->width += width;
}

void
page_put(struct page *p, enum colour c, const char *fmt, ...)
{
    char text[512];
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    put(p, c, text, strlen(text));
}

void
page_to(struct page *p, size_t column)
{
    while (page_width(p) < column)
        put(p, PLAIN, " ", 1);
}

void
page_cell(struct page *p, enum colour c, const char *text, size_t columns)
{
    size_t start = page_width(p), width, n;

    n = page_fit(text, strlen(text), columns, &width);
    put(p, c, text, n);
    page_to(p, start + columns);
}

void
page_bar(struct page *p, enum colour c, size_t columns, double part)
{
    size_t inner = columns > 2 ? columns - 2 : 0, full;

    part = part < 0 ? 0 : part > 1 ? 1 : part;
    full = (size_t)(part * (double)inner);
    put(p, PLAIN, "[", 1);
    for (size_t i = 0; i < inner; i++)
        put(p, i < full ? c : PLAIN, i < full ? "#" : ".", 1);
    put(p, PLAIN, "]", 1);
}

void
page_phrase(struct page *p, const char *heading, size_t columns, const char *fmt, ...)
{
    enum { INDENT = 11 };
    char text[200];
    size_t n;
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    n = strlen(text);
    if (heading != NULL) {
        page_line(p);
        put(p, DIM, heading, strlen(heading));
        page_to(p, INDENT);
    } else if (page_width(p) > INDENT && page_width(p) + n + 2 > columns) {
        put(p, PLAIN, ",", 1);
        page_line(p);
        page_to(p, INDENT);
    } else if (page_width(p) > INDENT) {
        put(p, PLAIN, ", ", 2);
    }
    put(p, PLAIN, text, n);
}

void
page_print(const struct page *p)
{
    for (size_t i = 0; i < p->n; i++) {
        const struct page_line *l = &p->v[i];
        size_t at = 0;

        for (size_t k = 0; k < l->n_marks; k++) {
            out_text(l->text + at, l->marks[k].at - at);
            at = l->marks[k].at;
            out_colour(PLAIN);
            if (l->marks[k].colour != PLAIN)
                out_colour(l->marks[k].colour);
        }
        if (l->len > at)
            out_text(l->text + at, l->len - at);
        if (l->n_marks > 0 && l->marks[l->n_marks - 1].colour != PLAIN)
            out_colour(PLAIN);
        out_add("\n", 1);
    }
}
