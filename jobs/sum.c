/*
 * Sums of the numbers in the spec. Those in files: sum_file.c. Each part is a goroutine that
 * sends its partial sum down a channel when it is done; the sums are exact until the end
 * (sum_exact.h), so the parts show in the time only.
 */
#include "jobs/sum.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "config/config.h"
#include "jobs/env.h"
#include "jobs/file.h"
#include "jobs/kind.h"
#include "jobs/sum_exact.h"
#include "proto/numpath.h"
#include "proto/wire.h"
#include "runtime/base/atomic.h"
#include "runtime/go.h"

#define PARTS_MAX 1024
#define INLINE    4096 /* numbers between two preemption points */

static int
invalid(struct job_error *err, const char *field, const char *text)
{
    return job_error_set(err, PB_ERROR__CODE__INVALID, field, "%s", text);
}

static int
validate_numbers(const struct config *cfg, const PbNumberList *l, struct job_error *err)
{
    size_t n = l->n_ints + l->n_reals + l->n_bigs;

    if (n > (size_t)cfg->sum.max_numbers)
        return job_error_set(err, PB_ERROR__CODE__TOO_LARGE, "sum.numbers",
                             "%zu numbers, more than sum.max_numbers allows (%lld)", n,
                             (long long)cfg->sum.max_numbers);
    for (size_t i = 0; i < l->n_bigs; i++) {
        i128 v;
        int r = i128_parse(l->bigs[i], strlen(l->bigs[i]), &v);

        if (r == -ERANGE)
            return job_error_set(err, PB_ERROR__CODE__OVERFLOW, "sum.numbers",
                                 "%.60s does not fit 128 bits", l->bigs[i]);
        if (r < 0)
            return job_error_set(err, PB_ERROR__CODE__INVALID, "sum.numbers",
                                 "\"%.60s\" is no integer", l->bigs[i]);
    }
    return 0;
}

static int
validate_csv(const PbSumSpec *s, struct job_error *err)
{
    bool csv = PB_GET(s, format, PB_SUM_SPEC__FORMAT__TEXT) == PB_SUM_SPEC__FORMAT__CSV;

    if (csv && (s->column == NULL || s->column[0] == '\0'))
        return invalid(err, "sum.column", "sum.column is needed with format csv");
    if (!csv && s->column != NULL)
        return invalid(err, "sum.column", "sum.column goes with format csv only");
    if (!csv && s->delimiter != NULL)
        return invalid(err, "sum.delimiter", "sum.delimiter goes with format csv only");
    if (s->delimiter != NULL &&
        (strlen(s->delimiter) != 1 || strchr("\"\r\n", s->delimiter[0]) != NULL))
        return invalid(err, "sum.delimiter",
                       "sum.delimiter must be one ASCII character, no quote or line end");
    return 0;
}

static int
sum_validate(struct job_env *env, const PbJobSpec *spec, struct job_error *err)
{
    const PbSumSpec *s = spec->sum;
    const struct config *cfg = job_env_config(env);
    struct proto_err path = {.text = ""};
    int r;

    if (s->numbers != NULL && s->file != NULL)
        return invalid(err, "sum.file", "give sum.numbers or sum.file, not both");
    if (s->results != NULL && s->file != NULL)
        return invalid(err, "sum.results", "give sum.results or sum.file, not both");
    if (s->results != NULL && spec->needs == NULL)
        return invalid(err, "sum.results", "sum.results goes with needs only");
    if (s->results != NULL &&
        numpath_check(&pb_job_result__descriptor, s->results, &path) < 0)
        return job_error_set(err, PB_ERROR__CODE__INVALID, "sum.results",
                             "sum.results: %s", path.text);
    if (s->numbers == NULL && s->file == NULL && s->results == NULL)
        return invalid(err, "sum.numbers",
                       "sum.numbers, sum.file or sum.results is needed");
    if (s->has_parts && (s->parts < 1 || s->parts > PARTS_MAX))
        return invalid(err, "sum.parts", "sum.parts must be 1 to 1024");
    if (s->has_format && s->file == NULL)
        return invalid(err, "sum.format", "sum.format goes with sum.file only");
    r = validate_csv(s, err);
    if (r == 0 && s->numbers != NULL)
        r = validate_numbers(cfg, s->numbers, err);
    if (r == 0 && s->file != NULL)
        r = job_path_check(cfg, s->file, "sum.file", err);
    return r;
}

int
sum_report(struct job_run *run, const struct exact *x, size_t parts)
{
    PbJobResult *res = job_new(run, &pb_job_result__descriptor);
    PbSumResult *sum = job_new(run, &pb_sum_result__descriptor);
    PbNumber *n = job_new(run, &pb_number__descriptor);
    char text[I128_TEXT_MAX];
    i128 v;

    if (res == NULL || sum == NULL || n == NULL)
        return job_run_too_large(run);
    if (x->reals > 0) {
        n->kind_case = PB_NUMBER__KIND_REAL;
        n->real = exact_double(x);
    } else if (!exact_int(x, &v)) {
        (void)job_error_set(&run->err, PB_ERROR__CODE__OVERFLOW, NULL,
                            "the sum does not fit 128 bits");
        return -EOVERFLOW;
    } else if (i128_fits_int64(v)) {
        n->kind_case = PB_NUMBER__KIND_INT;
        n->int_ = (int64_t)v;
    } else {
        n->kind_case = PB_NUMBER__KIND_BIG;
        n->big = proto_arena_dup(&run->mem, text, i128_format(v, text));
        if (n->big == NULL)
            return job_run_too_large(run);
    }
    PB_SET(sum, count, x->count);
    sum->sum = n;
    if (run->spec->sum->has_parts)
        PB_SET(sum, parts, (uint32_t)parts);
    res->result_case = PB_JOB_RESULT__RESULT_SUM;
    res->sum = sum;
    run->result = res;
    return 0;
}

/* --- numbers in the spec --- */

struct inline_part {
    struct job_run *run;
    size_t i, n; /* this is part i of n */
    struct exact sum;
};

size_t
sum_share(size_t total, size_t i, size_t n)
{
    return (size_t)((unsigned __int128)total * i / n);
}

static void
add_inline(struct inline_part *p)
{
    const PbNumberList *l = p->run->spec->sum->numbers;
    size_t end = sum_share(l->n_ints, p->i + 1, p->n);

    for (size_t i = sum_share(l->n_ints, p->i, p->n); i < end;) {
        size_t n = end - i < INLINE ? end - i : INLINE;

        exact_add_int64s(&p->sum, l->ints + i, n);
        i += n;
        go_checkpoint();
    }
    end = sum_share(l->n_reals, p->i + 1, p->n);
    for (size_t i = sum_share(l->n_reals, p->i, p->n); i < end;) {
        size_t n = end - i < INLINE ? end - i : INLINE;

        exact_add_doubles(&p->sum, l->reals + i, n);
        i += n;
        go_checkpoint();
    }
    end = sum_share(l->n_bigs, p->i + 1, p->n);
    for (size_t i = sum_share(l->n_bigs, p->i, p->n); i < end; i++) {
        i128 v = 0;

        (void)i128_parse(l->bigs[i], strlen(l->bigs[i]), &v); /* validated */
        exact_add_int(&p->sum, v);
    }
    ADD(&p->run->progress.done, p->sum.count, RELAXED);
}

static void
inline_part(struct inline_part *p, struct go_chan *out)
{
    add_inline(p);
    go_chan_send(out, &p);
}

static int
sum_inline(struct job_run *run, size_t parts)
{
    const PbNumberList *l = run->spec->sum->numbers;
    size_t total = l == NULL ? 0 : l->n_ints + l->n_reals + l->n_bigs;
    struct go_chan *out = NULL;
    struct inline_part *p;
    struct exact sum;
    int r;

    STORE(&run->progress.unit, PB_PROGRESS__UNIT__NUMBERS, RELAXED);
    STORE(&run->progress.total, total, RELAXED);
    exact_init(&sum);
    if (total == 0)
        return sum_report(run, &sum, 1);
    if (parts > total)
        parts = total;
    p = calloc(parts, sizeof(*p));
    if (parts > 1)
        out = go_chan_new(sizeof(p), parts);
    if (p == NULL || (parts > 1 && out == NULL)) {
        free(p);
        return job_run_too_large(run);
    }
    for (size_t i = 0; i < parts; i++) {
        p[i] = (struct inline_part){.run = run, .i = i, .n = parts};
        exact_init(&p[i].sum);
        if (parts == 1)
            add_inline(&p[i]);
        else if (go(inline_part, &p[i], out) < 0)
            inline_part(&p[i], out);
    }
    for (size_t i = 0; i < parts; i++) {
        struct inline_part *done = parts == 1 ? p : go_recv(out, struct inline_part *);

        exact_merge(&sum, &done->sum);
    }
    go_chan_unref(out);
    free(p);
    r = job_run_check(run);
    return r < 0 ? r : sum_report(run, &sum, parts);
}

static int
sum_run(struct job_run *run)
{
    const PbSumSpec *s = run->spec->sum;
    const struct config *cfg = job_env_config(run->env);
    size_t parts = (size_t)cfg->sum.parts;

    if (parts == 0)
        parts = (size_t)go_maxprocs(0);
    if (s->has_parts)
        parts = s->parts;
    return s->file != NULL ? sum_file(run, parts)
                           : sum_inline(run, s->has_parts ? parts : 1);
}

static bool
sum_instant(const PbJobSpec *spec)
{
    const PbSumSpec *s = spec->sum;

    return s->numbers != NULL && s->file == NULL && s->results == NULL && !s->has_parts;
}

const struct job_kind job_sum = {
    .name = "sum",
    .kind = PB_JOB__KIND__KIND_SUM,
    .unit = PB_PROGRESS__UNIT__BYTES,
    .validate = sum_validate,
    .run = sum_run,
    .instant = sum_instant,
};
