#include "client/show.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "proto/base64.h"
#include "proto/json.h"
#include "proto/number.h"

#define MS 1000000

enum colour
show_state_colour(PbJob__State s)
{
    switch (s) {
    case PB_JOB__STATE__STATE_SUCCEEDED:
        return GREEN;
    case PB_JOB__STATE__STATE_FAILED:
    case PB_JOB__STATE__STATE_DEAD:
        return RED;
    case PB_JOB__STATE__STATE_RUNNING:
        return BLUE;
    case PB_JOB__STATE__STATE_CANCELLED:
        return YELLOW;
    case PB_JOB__STATE__STATE_NONE:
    case PB_JOB__STATE__STATE_SCHEDULED:
    case PB_JOB__STATE__STATE_QUEUED:
        break;
    }
    return PLAIN;
}

/* One of a handful of texts, which live for the thread's next few calls. */
static const char *
enum_text(const ProtobufCEnumDescriptor *e, int value)
{
    static _Thread_local char texts[4][PROTO_ENUM_TEXT_MAX];
    static _Thread_local unsigned next;

    return proto_enum_text(e, value, texts[next++ % 4]);
}

const char *
show_state(PbJob__State s)
{
    return enum_text(&pb_job__state__descriptor, (int)s);
}

const char *
show_kind(PbJob__Kind k)
{
    return enum_text(&pb_job__kind__descriptor, (int)k);
}

const char *
show_batch_state(PbBatch__State s)
{
    return enum_text(&pb_batch__state__descriptor, (int)s);
}

const char *
show_error(const PbError *e, char *out, size_t size)
{
    if (e == NULL)
        (void)snprintf(out, size, "%s", "");
    else
        (void)snprintf(out, size, "%s: %s",
                       enum_text(&pb_error__code__descriptor,
                                 (int)PB_GET(e, code, PB_ERROR__CODE__INTERNAL)),
                       e->message != NULL ? e->message : "");
    return out;
}

int64_t
show_wall_ns(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_REALTIME, &t);
    return t.tv_sec * GOCTL_SECOND + t.tv_nsec;
}

const char *
show_time(const PbTimestamp *t, char out[SHOW_TEXT_MAX])
{
    int64_t ns = pb_timestamp_ns(t, 0);
    time_t seconds = (time_t)(ns / GOCTL_SECOND);
    struct tm tm;

    out[0] = '\0';
    if (t != NULL && localtime_r(&seconds, &tm) != NULL)
        (void)strftime(out, SHOW_TEXT_MAX, "%Y-%m-%d %H:%M:%S", &tm);
    return out;
}

const char *
show_span(int64_t ns, char out[SHOW_TEXT_MAX])
{
    double s = (double)ns / 1e9;
    long long minutes = ns / GOCTL_SECOND / 60;

    /* Each bound is where three digits would round up to the next unit. */
    if (ns < MS - 500)
        (void)snprintf(out, SHOW_TEXT_MAX, "%.0fus", s * 1e6);
    else if (ns < GOCTL_SECOND - MS / 2)
        (void)snprintf(out, SHOW_TEXT_MAX, "%.3gms", s * 1e3);
    else if (ns < 60 * GOCTL_SECOND)
        (void)snprintf(out, SHOW_TEXT_MAX, "%.3gs", s);
    else if (minutes < 60)
        (void)snprintf(out, SHOW_TEXT_MAX, "%lldm%02llds", minutes,
                       (long long)(ns / GOCTL_SECOND % 60));
    else if (minutes < 48LL * 60)
        (void)snprintf(out, SHOW_TEXT_MAX, "%lldh%02lldm", minutes / 60, minutes % 60);
    else
        (void)snprintf(out, SHOW_TEXT_MAX, "%lldd%02lldh", minutes / 1440,
                       minutes / 60 % 24);
    return out;
}

const char *
show_size(uint64_t bytes, char out[SHOW_TEXT_MAX])
{
    static const char *const units[] = {"KiB", "MiB", "GiB", "TiB", "PiB"};
    double v = (double)bytes / 1024;
    size_t i = 0;

    if (bytes < 10000) {
        (void)snprintf(out, SHOW_TEXT_MAX, "%" PRIu64 " B", bytes);
        return out;
    }
    while (v >= 1000 && i + 1 < sizeof(units) / sizeof(units[0])) {
        v /= 1024;
        i++;
    }
    (void)snprintf(out, SHOW_TEXT_MAX, "%.3g %s", v, units[i]);
    return out;
}

const char *
show_progress(const PbProgress *p, char *out, size_t size)
{
    PbProgress__Unit unit = PB_GET(p, unit, PB_PROGRESS__UNIT__BYTES);
    char done[SHOW_TEXT_MAX], total[SHOW_TEXT_MAX];
    bool bytes = unit == PB_PROGRESS__UNIT__BYTES;

    if (bytes) {
        (void)show_size(p->done, done);
        (void)show_size(p->total, total);
    } else {
        (void)snprintf(done, sizeof(done), "%" PRIu64, p->done);
        (void)snprintf(total, sizeof(total), "%" PRIu64, p->total);
    }
    (void)snprintf(out, size, "%s%s%s%s%s", done, p->has_total ? " of " : "",
                   p->has_total ? total : "", bytes ? "" : " ",
                   bytes ? "" : enum_text(&pb_progress__unit__descriptor, (int)unit));
    return out;
}

bool
show_finished(PbJob__State s)
{
    return s == PB_JOB__STATE__STATE_SUCCEEDED || s == PB_JOB__STATE__STATE_FAILED ||
           s == PB_JOB__STATE__STATE_CANCELLED || s == PB_JOB__STATE__STATE_DEAD;
}

/* --- the answer of each kind ------------------------------------------------------------ */

static void
content(const char *data, size_t n)
{
    out_text(data, n);
    if (out_terminal() && n > 0 && data[n - 1] != '\n')
        out_add("\n", 1);
}

static void
answer_fetch(const PbFetchResult *f)
{
    char span[SHOW_TEXT_MAX];

    if (f->content_case == PB_FETCH_RESULT__CONTENT_TEXT) {
        content(f->text, strlen(f->text));
        return;
    }
    if (f->content_case == PB_FETCH_RESULT__CONTENT_BODY) {
        content((const char *)f->body.data, f->body.len);
        return;
    }
    out_printf("%" PRIu32 " %" PRIu64 " bytes", f->status, f->bytes);
    if (f->content_type != NULL) {
        out_add(" ", 1);
        out_text(f->content_type, strlen(f->content_type));
    }
    if (f->timings != NULL && f->timings->total != NULL)
        out_printf(" %s", show_span(pb_duration_ns(f->timings->total, 0), span));
    if (f->url != NULL) {
        out_printf(" from ");
        out_text(f->url, strlen(f->url));
    }
    out_add("\n", 1);
}

static void
read_line(uint64_t size, protobuf_c_boolean has_lines, uint64_t lines, const char *sha256)
{
    out_printf("%" PRIu64 " bytes", size);
    if (has_lines)
        out_printf(" %" PRIu64 " lines", lines);
    if (sha256 != NULL)
        out_printf(" sha256 %s", sha256);
}

static void
answer_read(const PbReadResult *r)
{
    char why[400];

    if (r->content_case == PB_READ_RESULT__CONTENT_TEXT)
        content(r->text, strlen(r->text));
    else if (r->content_case == PB_READ_RESULT__CONTENT_DATA)
        content((const char *)r->data.data, r->data.len);
    for (size_t i = 0; i < r->n_files; i++) {
        const PbReadFile *f = r->files[i];
        const char *path = f->path != NULL ? f->path : "";

        if (f->content_case == PB_READ_FILE__CONTENT_TEXT) {
            content(f->text, strlen(f->text));
            continue;
        }
        if (f->content_case == PB_READ_FILE__CONTENT_DATA) {
            content((const char *)f->data.data, f->data.len);
            continue;
        }
        out_text(path, strlen(path));
        out_printf(": ");
        if (f->error != NULL)
            out_text(show_error(f->error, why, sizeof(why)), strlen(why));
        else
            read_line(f->size, f->has_lines, f->lines, f->sha256);
        out_add("\n", 1);
    }
    if (r->content_case != PB_READ_RESULT__CONTENT__NOT_SET ||
        (r->n_files > 0 && r->files[0]->content_case != PB_READ_FILE__CONTENT__NOT_SET))
        return;
    if (r->n_files > 0)
        out_printf("%" PRIu64 " files: ", PB_GET(r, count, r->n_files));
    read_line(r->size, r->has_lines, r->lines, r->sha256);
    out_add("\n", 1);
}

static void
answer_sum(const PbSumResult *s)
{
    char text[DOUBLE_TEXT_MAX];

    if (s->sum == NULL)
        out_printf("0\n");
    else if (s->sum->kind_case == PB_NUMBER__KIND_REAL)
        out_printf("%.*s\n", (int)double_format(s->sum->real, text), text);
    else if (s->sum->kind_case == PB_NUMBER__KIND_BIG)
        out_printf("%s\n", s->sum->big);
    else
        out_printf("%" PRId64 "\n", s->sum->int_);
}

static void
sql_cell(struct table *t, const PbValue *v)
{
    char text[DOUBLE_TEXT_MAX];

    switch (v->kind_case) {
    case PB_VALUE__KIND_FLAG:
        table_text(t, v->flag ? "true" : "false");
        break;
    case PB_VALUE__KIND_INT:
        table_printf(t, "%" PRId64, v->int_);
        break;
    case PB_VALUE__KIND_REAL:
        table_printf(t, "%.*s", (int)double_format(v->real, text), text);
        break;
    case PB_VALUE__KIND_TEXT:
        table_text(t, v->text);
        break;
    case PB_VALUE__KIND_BLOB:
        table_printf(t, "(%zu bytes)", v->blob.len);
        break;
    case PB_VALUE__KIND__NOT_SET:
    default:
        table_cell(t, DIM, "NULL", 4);
        break;
    }
}

static void
answer_sql(const PbSqlResult *s)
{
    const char *heads[TABLE_COLUMNS];
    size_t columns = s->n_columns < TABLE_COLUMNS ? s->n_columns : TABLE_COLUMNS;
    struct table t;

    if (columns == 0) {
        out_printf("%" PRIu64 " rows changed\n", PB_GET(s, changed, 0));
        return;
    }
    for (size_t i = 0; i < columns; i++)
        heads[i] = s->columns[i]->name != NULL ? s->columns[i]->name : "";
    table_init(&t, columns, heads);
    for (size_t i = 0; i < s->n_rows; i++)
        for (size_t k = 0; k < columns; k++)
            if (k < s->rows[i]->n_values)
                sql_cell(&t, s->rows[i]->values[k]);
            else
                table_text(&t, "");
    table_print(&t);
    table_fini(&t);
    if (PB_GET(s, truncated, false))
        out_printf("(more rows exist: --max-rows)\n");
}

static void
answer_timer(const PbTimerResult *t)
{
    char late[SHOW_TEXT_MAX];

    out_printf("%" PRIu64 " tick%s", t->count, t->count == 1 ? "" : "s");
    if (t->max_late != NULL)
        out_printf(", at most %s late", show_span(pb_duration_ns(t->max_late, 0), late));
    out_add("\n", 1);
}

bool
show_answer_is_line(const PbJob *job)
{
    switch (job->result_case) {
    case PB_JOB__RESULT_FETCH:
        return job->fetch->content_case == PB_FETCH_RESULT__CONTENT__NOT_SET;
    case PB_JOB__RESULT_READ:
        return job->read->content_case == PB_READ_RESULT__CONTENT__NOT_SET &&
               job->read->n_files == 0;
    case PB_JOB__RESULT_SQL:
        return job->sql->n_columns == 0;
    case PB_JOB__RESULT_SUM:
    case PB_JOB__RESULT_TIMER:
    case PB_JOB__RESULT__NOT_SET:
    default:
        return true;
    }
}

void
show_answer(const PbJob *job)
{
    switch (job->result_case) {
    case PB_JOB__RESULT_FETCH:
        answer_fetch(job->fetch);
        break;
    case PB_JOB__RESULT_READ:
        answer_read(job->read);
        break;
    case PB_JOB__RESULT_SUM:
        answer_sum(job->sum);
        break;
    case PB_JOB__RESULT_SQL:
        answer_sql(job->sql);
        break;
    case PB_JOB__RESULT_TIMER:
        answer_timer(job->timer);
        break;
    case PB_JOB__RESULT__NOT_SET:
    default:
        out_printf("%s, without a result\n", show_state(job->state));
        break;
    }
}
