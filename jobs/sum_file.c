/*
 * Sums of the numbers in a file, which goroutines share by ranges of its bytes.
 *
 * Of several errors the one at the least offset is reported, however the file was split: a
 * part that fails stops only the parts behind it.
 */
#define _GNU_SOURCE

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "config/config.h"
#include "jobs/env.h"
#include "jobs/file.h"
#include "jobs/sum.h"
#include "jobs/sum_csv.h"
#include "jobs/sum_part.h"
#include "runtime/base/atomic.h"
#include "runtime/go.h"

#define PART_MIN 65536 /* bytes worth a goroutine, unless the spec asks for it */

static void
file_part(struct sum_part *p, void (*fn)(struct sum_part *), struct go_chan *out)
{
    fn(p);
    sum_part_rest(p);
    go_chan_send(out, &p);
}

/* Runs fn on every part at once. PARKS until all are done. */
static void
run_parts(struct sum_part *p, size_t n, void (*fn)(struct sum_part *),
          struct go_chan *out, struct exact *sum)
{
    if (n == 1)
        file_part(p, fn, out);
    for (size_t i = 0; n > 1 && i < n; i++)
        if (go(file_part, &p[i], fn, out) < 0)
            file_part(&p[i], fn, out);
    for (size_t i = 0; i < n; i++) {
        const struct sum_part *done = go_recv(out, struct sum_part *);

        if (sum != NULL && done->r == 0)
            exact_merge(sum, &done->sum);
    }
}

/* What went wrong in a part, in words. */
static int
part_error(struct job_run *run, const struct sum_part *p)
{
    const char *file = run->spec->sum->file;
    struct job_error *err = &run->err;

    if (p->r == -ETIMEDOUT || p->r == -ECANCELED)
        return job_run_ended(run, p->r);
    if (p->r == -ERANGE)
        (void)job_error_set(err, PB_ERROR__CODE__OVERFLOW, "sum.file",
                            "%s: %s, at byte %llu, does not fit 128 bits", file, p->text,
                            (unsigned long long)p->offset);
    else if (p->r == -ENOENT)
        (void)job_error_set(err, PB_ERROR__CODE__PARSE, "sum.file",
                            "%s: the record at byte %llu, \"%s\", has no column %zu",
                            file, (unsigned long long)p->offset, p->text,
                            p->task->column + 1);
    else if (p->r == -EINVAL)
        (void)job_error_set(
            err, PB_ERROR__CODE__PARSE, "sum.file", "%s: \"%s\", at byte %llu, is %s",
            file, p->text, (unsigned long long)p->offset,
            p->task->delimiter != '\0' ? "no number, or wrongly quoted" : "no number");
    else
        (void)job_error_set(err, PB_ERROR__CODE__IO, "sum.file", "%s: at byte %llu: %s",
                            file, (unsigned long long)p->offset,
                            p->r == -EIO ? "the disk failed, or the file became shorter"
                                         : strerrordesc_np(-p->r));
    return p->r;
}

static int
first_error(struct job_run *run, const struct sum_part *p, size_t n)
{
    int r = job_run_check(run);

    for (size_t i = 0; r == 0 && i < n; i++)
        if (p[i].r < 0)
            r = part_error(run, &p[i]);
    return r;
}

static int
header_error(struct job_run *run, int r)
{
    const char *file = run->spec->sum->file;

    if (r == -ENOENT)
        (void)job_error_set(&run->err, PB_ERROR__CODE__PARSE, "sum.column",
                            "%s has no column \"%s\" in its first line", file,
                            run->spec->sum->column);
    else if (r == -EINVAL)
        (void)job_error_set(&run->err, PB_ERROR__CODE__PARSE, "sum.file",
                            "%s: the first line is wrongly quoted, or too long", file);
    else
        (void)job_error_set(&run->err, PB_ERROR__CODE__IO, "sum.file", "%s: %s", file,
                            strerrordesc_np(-r));
    return r;
}

/* Finds the column and where the records begin. */
static int
read_header(struct job_run *run, struct sum_task *t, uint64_t *start)
{
    const char *column = run->spec->sum->column;
    struct csv_header h;
    unsigned long number;
    char *end;
    int r;

    r = csv_header_read(t->file, &h);
    if (r < 0)
        return header_error(run, r);
    number = strtoul(column, &end, 10);
    if (*end == '\0' && column[0] >= '1' && column[0] <= '9') {
        t->column = number - 1;
        /* A first line whose cell is no number is the header. */
        *start =
            csv_is_number(h.record, h.len, t->delimiter, t->column) ? h.begin : h.next;
    } else {
        *start = h.next;
        r = csv_find(h.record, h.len, t->delimiter, column, &t->column);
    }
    free(h.record);
    return r < 0 ? header_error(run, r) : 0;
}

/* Cuts the bytes from start on into parts, at multiples of unit. */
static size_t
cut(const struct job_run *run, struct sum_task *t, uint64_t start, uint64_t unit,
    struct sum_part *p, size_t n)
{
    uint64_t units = (t->end - start) / unit;
    uint64_t least = run->spec->sum->has_parts ? 1 : PART_MIN / unit;
    uint64_t at = start;

    if (n > units / least)
        n = (size_t)(units / least);
    if (n == 0)
        n = 1;
    for (size_t i = 0; i < n; i++) {
        memset(&p[i], 0, sizeof(p[i]));
        p[i].task = t;
        p[i].first = i == 0;
        p[i].start = at;
        at = i + 1 == n ? t->end : start + sum_share(units, i + 1, n) * unit;
        p[i].end = at;
        exact_init(&p[i].sum);
    }
    return n;
}

static int
sum_parts(struct job_run *run, struct sum_task *t, uint64_t start, struct sum_part *p,
          size_t parts, struct go_chan *out)
{
    static void (*const fns[])(struct sum_part *) = {
        [PB_SUM_SPEC__FORMAT__TEXT] = sum_part_text,
        [PB_SUM_SPEC__FORMAT__INT64] = sum_part_int64,
        [PB_SUM_SPEC__FORMAT__FLOAT64] = sum_part_float64,
        [PB_SUM_SPEC__FORMAT__CSV] = sum_part_csv,
    };
    PbSumSpec__Format format = PB_GET(run->spec->sum, format, PB_SUM_SPEC__FORMAT__TEXT);
    bool binary =
        format == PB_SUM_SPEC__FORMAT__INT64 || format == PB_SUM_SPEC__FORMAT__FLOAT64;
    size_t n = cut(run, t, start, binary ? 8 : 1, p, parts);
    struct exact sum;
    int r;

    exact_init(&sum);
    if (format == PB_SUM_SPEC__FORMAT__CSV && n > 1) {
        uint64_t before = 0;

        run_parts(p, n, sum_part_quotes, out, NULL);
        r = first_error(run, p, n);
        if (r < 0)
            return r;
        for (size_t i = 0; i < n; i++) {
            uint64_t own = p[i].quotes;

            p[i].quotes = before;
            before += own;
        }
    }
    run_parts(p, n, fns[format], out, &sum);
    r = first_error(run, p, n);
    if (r == 0 && format == PB_SUM_SPEC__FORMAT__FLOAT64)
        sum.reals |= 1; /* an empty file, too, sums to a double */
    return r < 0 ? r : sum_report(run, &sum, n);
}

static int
sum_open(struct job_run *run, const struct job_file *file, size_t parts)
{
    const PbSumSpec *s = run->spec->sum;
    PbSumSpec__Format format = PB_GET(s, format, PB_SUM_SPEC__FORMAT__TEXT);
    struct sum_task t = {
        .run = run,
        .file = file,
        .end = file->size,
        .failed = UINT64_MAX,
    };
    struct sum_part *p = NULL;
    struct go_chan *out = NULL;
    uint64_t start = 0;
    int r = 0;

    if ((format == PB_SUM_SPEC__FORMAT__INT64 ||
         format == PB_SUM_SPEC__FORMAT__FLOAT64) &&
        file->size % 8 != 0) {
        (void)job_error_set(
            &run->err, PB_ERROR__CODE__PARSE, "sum.file",
            "%s has %llu bytes, which are no whole number of 8-byte values", s->file,
            (unsigned long long)file->size);
        return -EINVAL;
    }
    if (format == PB_SUM_SPEC__FORMAT__CSV) {
        t.delimiter = s->delimiter != NULL ? s->delimiter[0] : ',';
        r = read_header(run, &t, &start);
    }
    if (r < 0)
        return r;
    STORE(&run->progress.total, file->size, RELAXED);
    p = malloc(parts * sizeof(*p));
    out = go_chan_new(sizeof(p), parts);
    r = p == NULL || out == NULL ? job_run_too_large(run)
                                 : sum_parts(run, &t, start, p, parts, out);
    go_chan_unref(out);
    free(p);
    return r;
}

int
sum_file(struct job_run *run, size_t parts)
{
    struct job_file file;
    int r;

    r = job_file_open(job_env_config(run->env), run->spec->sum->file, "sum.file", &file,
                      &run->err);
    if (r < 0)
        return r;
    r = sum_open(run, &file, parts);
    job_file_close(&file);
    return r;
}
