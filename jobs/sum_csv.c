/*
 * One column of a CSV file (RFC 4180), added up in parts.
 *
 * A line feed ends a record unless it stands in quotes, and whether it does is decided by the
 * number of quotes before it: even is outside. So the parts first count their quotes, then
 * each knows the state it starts in, and takes the records that begin in its range. A quote
 * where RFC 4180 has none is an error, for it would make the count mean nothing.
 */
#include "jobs/sum_csv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "jobs/sum_part.h"
#include "jobs/sum_text.h"
#include "runtime/base/atomic.h"
#include "runtime/go.h"

#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define CAPACITY  (CSV_RECORD_MAX + SUM_BLOCK)

static uint64_t
count_quotes(const char *s, size_t n)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < n; i++)
        sum += s[i] == '"';
    return sum;
}

void
sum_part_quotes(struct sum_part *part)
{
    uint64_t at = part->start - !part->first;
    char *buf = malloc(SUM_BLOCK);

    part->quotes = 0;
    if (buf == NULL) {
        (void)sum_part_fail(part, -ENOMEM, at, "", 0);
        return;
    }
    while (at < part->end - 1) {
        size_t n = (size_t)MIN(part->end - 1 - at, SUM_BLOCK);

        if (sum_part_read(part, buf, n, at) < 0)
            break;
        part->quotes += count_quotes(buf, n);
        at += n;
    }
    free(buf);
}

/* The length of the record at s, without its line feed; len if it does not end there. */
static size_t
record_length(const char *s, size_t len, bool quoted)
{
    const char *end = memchr(s, '\n', len);
    size_t n = end != NULL ? (size_t)(end - s) : len;

    if (!quoted && memchr(s, '"', n) == NULL)
        return n;
    for (n = 0; n < len && (quoted || s[n] != '\n'); n++)
        if (s[n] == '"')
            quoted = !quoted;
    return n;
}

/* Unquotes the field at s in place; *next is the offset behind it. */
static int
quoted_field(char *s, size_t len, char delimiter, size_t *ret_len, size_t *next)
{
    size_t in = 1, out = 0;

    for (;; in++) {
        if (in >= len)
            return -EINVAL;
        if (s[in] == '"') {
            if (in + 1 >= len || s[in + 1] != '"')
                break;
            in++;
        }
        s[out++] = s[in];
    }
    in++;
    if (in < len && s[in] != delimiter)
        return -EINVAL;
    *ret_len = out;
    *next = in;
    return 0;
}

static int
next_field(char *s, size_t len, char delimiter, size_t *ret_len, size_t *next)
{
    const char *end;

    if (len > 0 && s[0] == '"')
        return quoted_field(s, len, delimiter, ret_len, next);
    end = memchr(s, delimiter, len);
    *ret_len = *next = end != NULL ? (size_t)(end - s) : len;
    return memchr(s, '"', *ret_len) != NULL ? -EINVAL : 0;
}

static size_t
without_cr(const char *s, size_t len)
{
    return len > 0 && s[len - 1] == '\r' ? len - 1 : len;
}

int
csv_field(char *record, size_t len, char delimiter, size_t n, char **ret, size_t *ret_len)
{
    len = without_cr(record, len);
    for (;; n--) {
        size_t next;
        int r = next_field(record, len, delimiter, ret_len, &next);

        if (r < 0)
            return r;
        if (n == 0) {
            *ret = record;
            return 0;
        }
        if (next >= len)
            return -ENOENT;
        record += next + 1;
        len -= next + 1;
    }
}

/* Adds a cell, which it strips of spaces. Empty ones do not count, as NULL does not in SQL's
 * SUM. 0, -EINVAL, -ERANGE. */
static int
add_cell(struct exact *x, char **cell, size_t *len)
{
    char text[NUMBER_MAX + NUMBER_SLACK];
    char *s = *cell;
    size_t n = *len;

    while (n > 0 && number_space(*s)) {
        s++;
        n--;
    }
    while (n > 0 && number_space(s[n - 1]))
        n--;
    *cell = s;
    *len = n;
    if (n == 0)
        return 0;
    if (n > NUMBER_MAX)
        return -EINVAL;
    memcpy(text, s, n);
    memset(text + n, 0, NUMBER_SLACK);
    return number_add(x, text, n);
}

/* Adds the column of one record. An empty line is none. */
static int
add_record(struct sum_part *part, char *s, size_t len, uint64_t offset)
{
    const struct sum_task *t = part->task;
    char *cell;
    size_t n;
    int r;

    if (without_cr(s, len) == 0)
        return 0;
    r = csv_field(s, len, t->delimiter, t->column, &cell, &n);
    if (r < 0)
        return sum_part_fail(part, r, offset, s, MIN(len, strcspn(s, "\r\n")));
    r = add_cell(&part->sum, &cell, &n);
    return r < 0 ? sum_part_fail(part, r, offset, cell, n) : 0;
}

/* Adds the whole records of buf that begin before the part's end. *used is where the first
 * one left over begins. */
static int
add_records(struct sum_part *part, char *buf, size_t have, uint64_t at, bool more,
            size_t *used)
{
    while (*used < have && at + *used < part->end) {
        size_t n = record_length(buf + *used, have - *used, false);
        int r;

        if (*used + n == have && more)
            return 0;
        buf[*used + n] = '\0';
        r = add_record(part, buf + *used, n, at + *used);
        if (r < 0)
            return r;
        *used += n + 1;
    }
    *used = MIN(*used, have);
    return 0;
}

static void
csv_blocks(struct sum_part *part, char *buf)
{
    const struct sum_task *t = part->task;
    uint64_t at = part->start - !part->first; /* file offset of buf */
    bool quoted = part->quotes % 2 != 0;
    bool skipping =
        !part->first; /* up to the line feed that ends the part before's last record */
    size_t have = 0;

    for (;;) {
        size_t n = (size_t)MIN(t->end - at - have, SUM_BLOCK), used = 0;
        bool more = at + have + n < t->end;

        if (n > 0 && sum_part_read(part, buf + have, n, at + have) < 0)
            return;
        ADD(&t->run->progress.done, n, RELAXED);
        have += n;
        if (skipping) {
            used = record_length(buf, have, quoted);
            quoted ^= count_quotes(buf, used) % 2 != 0;
            skipping = used == have;
            used += !skipping;
        }
        if (!skipping && add_records(part, buf, have, at, more, &used) < 0)
            return;
        if (!more || at + used >= part->end)
            return;
        memmove(buf, buf + used, have - used);
        at += used;
        have -= used;
        if (have > CSV_RECORD_MAX) {
            (void)sum_part_fail(part, -EINVAL, at, buf, 40);
            return;
        }
    }
}

void
sum_part_csv(struct sum_part *part)
{
    char *buf = malloc(CAPACITY + 1);

    if (buf == NULL) {
        (void)sum_part_fail(part, -ENOMEM, part->start, "", 0);
        return;
    }
    csv_blocks(part, buf);
    free(buf);
}

int
csv_header_read(const struct job_file *f, struct csv_header *ret)
{
    char *buf = malloc(CSV_RECORD_MAX + 1);
    size_t bom = 0, n;
    ssize_t have;

    if (buf == NULL)
        return -ENOMEM;
    have = job_file_read(f, buf, CSV_RECORD_MAX, 0);
    if (have < 0) {
        free(buf);
        return (int)have;
    }
    if (have >= 3 && memcmp(buf, "\xef\xbb\xbf", 3) == 0)
        bom = 3;
    n = record_length(buf + bom, (size_t)have - bom, false);
    if (bom + n == CSV_RECORD_MAX) {
        free(buf);
        return -EINVAL;
    }
    memmove(buf, buf + bom, n);
    buf[n] = '\0';
    *ret = (struct csv_header){
        .record = buf,
        .len = n,
        .begin = bom,
        .next = MIN(bom + n + 1, (uint64_t)have),
    };
    return 0;
}

int
csv_find(char *record, size_t len, char delimiter, const char *name, size_t *ret)
{
    len = without_cr(record, len);
    for (size_t i = 0;; i++) {
        size_t n, next;
        int r = next_field(record, len, delimiter, &n, &next);

        if (r < 0)
            return r;
        if (n == strlen(name) && memcmp(record, name, n) == 0) {
            *ret = i;
            return 0;
        }
        if (next >= len)
            return -ENOENT;
        record += next + 1;
        len -= next + 1;
    }
}

bool
csv_is_number(char *record, size_t len, char delimiter, size_t n)
{
    struct exact x;
    char *cell;

    exact_init(&x);
    return csv_field(record, len, delimiter, n, &cell, &len) == 0 &&
           add_cell(&x, &cell, &len) != -EINVAL;
}
