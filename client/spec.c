#include "client/spec.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/needs.h"
#include "proto/json.h"
#include "proto/utf8.h"
#include "proto/wire.h"

enum { DATA_MAX = 16 << 20 };

/* --- what every kind has ---------------------------------------------------------------- */

static bool
duration_default(struct proto_arena *arena, int64_t ns, PbDuration **at)
{
    if (ns <= 0 || *at != NULL)
        return true;
    *at = proto_new(arena, &pb_duration__descriptor);
    if (*at != NULL)
        PB_SET(*at, ns, ns);
    return *at != NULL;
}

static bool
time_default(struct proto_arena *arena, int64_t ns, PbTimestamp **at)
{
    if (ns == 0 || *at != NULL)
        return true;
    *at = proto_new(arena, &pb_timestamp__descriptor);
    if (*at != NULL)
        PB_SET(*at, ns, ns);
    return *at != NULL;
}

static bool
backoff_default(struct cli *cli, struct proto_arena *arena, PbJobSpec *spec)
{
    if (cli->a.backoff_ns <= 0 || spec->backoff != NULL)
        return true;
    spec->backoff = proto_new(arena, &pb_backoff__descriptor);
    return spec->backoff != NULL &&
           duration_default(arena, cli->a.backoff_ns, &spec->backoff->initial);
}

static bool
has_label(const PbJobSpec *spec, const char *key)
{
    for (size_t i = 0; i < spec->n_labels; i++)
        if (spec->labels[i]->key != NULL && strcmp(spec->labels[i]->key, key) == 0)
            return true;
    return false;
}

/* The line's own labels stay; the options' others are added. */
static bool
labels_default(struct cli *cli, struct proto_arena *arena, PbJobSpec *spec)
{
    struct cli_pair *pairs;
    PbJobSpec__LabelsEntry **all;
    size_t n;

    if (cli->a.labels.n == 0)
        return true;
    if (!cli_pairs(cli, false, &pairs, &n))
        return false;
    all = proto_arena_alloc(arena, (spec->n_labels + n) * sizeof(*all));
    if (all == NULL)
        return false;
    if (spec->n_labels > 0)
        memcpy(all, spec->labels, spec->n_labels * sizeof(*all));
    for (size_t i = 0; i < n; i++) {
        PbJobSpec__LabelsEntry *e;

        if (has_label(spec, pairs[i].key))
            continue;
        e = proto_new(arena, &pb_job_spec__labels_entry__descriptor);
        if (e == NULL)
            return false;
        e->key = pairs[i].key;
        e->value = pairs[i].value;
        all[spec->n_labels++] = e;
    }
    spec->labels = all;
    return true;
}

bool
spec_defaults(struct cli *cli, struct proto_arena *arena, PbJobSpec *spec)
{
    const struct args *a = &cli->a;

    if (!spec->has_priority && a->priority != 0)
        PB_SET(spec, priority, (int32_t)a->priority);
    if (!spec->has_retries && a->retries != 0)
        PB_SET(spec, retries, (uint32_t)a->retries);
    if (spec->name == NULL)
        spec->name = a->name;
    if (spec->key == NULL)
        spec->key = a->key;
    if (spec->queue == NULL)
        spec->queue = a->queue;
    if (spec->at == NULL && spec->after == NULL &&
        (!duration_default(arena, a->after_ns, &spec->after) ||
         !time_default(arena, a->at_ns, &spec->at)))
        return false;
    return duration_default(arena, a->timeout_ns, &spec->timeout) &&
           backoff_default(cli, arena, spec) && labels_default(cli, arena, spec) &&
           needs_default(cli, arena, spec);
}

PbBatchSpec *
spec_batch(struct cli *cli)
{
    const struct args *a = &cli->a;
    PbBatchSpec *b = cli_new(cli, &pb_batch_spec__descriptor);

    if (a->deadline_ns > 0)
        b->timeout = cli_duration(cli, a->deadline_ns);
    if (a->fail_fast)
        PB_SET(b, fail_fast, true);
    if (opt_given(a, "max-parallel"))
        PB_SET(b, max_parallel, (uint32_t)a->max_parallel);
    return b;
}

bool
spec_word(const ProtobufCEnumDescriptor *e, const char *text, const char *option,
          int *ret)
{
    struct proto_err err = {0};

    if (proto_enum_parse(e, text, ret, option, &err) == 0)
        return true;
    (void)out_fail(EXIT_USAGE, "%s", err.text);
    return false;
}

/* --- by kind ---------------------------------------------------------------------------- */

static void
list_init(struct cli *cli, struct spec_list *l, size_t n)
{
    l->specs = cli_alloc(cli, (n + 1) * sizeof(*l->specs));
    l->subjects = cli_alloc(cli, (n + 1) * sizeof(*l->subjects));
    l->n = 0;
}

static PbJobSpec *
list_add(struct cli *cli, struct spec_list *l, char *subject)
{
    PbJobSpec *spec = cli_new(cli, &pb_job_spec__descriptor);

    l->specs[l->n] = spec;
    l->subjects[l->n++] = subject;
    return spec;
}

/* A file up to DATA_MAX; NULL after a complaint. */
static char *
read_data(struct cli *cli, const char *path, size_t *ret_len)
{
    FILE *f = fopen(strcmp(path, "-") == 0 ? "/dev/stdin" : path, "re");
    char *data;
    bool whole;

    if (f == NULL) {
        (void)out_fail(EXIT_USAGE, "--data: cannot open %s", path);
        return NULL;
    }
    data = cli_alloc(cli, DATA_MAX + 1);
    *ret_len = fread(data, 1, DATA_MAX, f);
    whole = !ferror(f) && fgetc(f) == EOF;
    (void)fclose(f);
    if (!whole) {
        (void)out_fail(EXIT_USAGE, "--data: %s cannot be read, or is over 16 MiB", path);
        return NULL;
    }
    return data;
}

static bool
fetch_body(struct cli *cli, PbFetchSpec *f)
{
    char *data = cli->a.data;
    size_t len;

    if (data == NULL)
        return true;
    len = strlen(data);
    if (data[0] == '@') {
        data = read_data(cli, data + 1, &len);
        if (data == NULL)
            return false;
    }
    if (utf8_valid(data, len) && strlen(data) == len) {
        f->content_case = PB_FETCH_SPEC__CONTENT_TEXT;
        f->text = data;
    } else {
        f->content_case = PB_FETCH_SPEC__CONTENT_BODY;
        f->body = (ProtobufCBinaryData){len, (uint8_t *)data};
    }
    return true;
}

static bool
fetch_headers(struct cli *cli, PbFetchSpec *f)
{
    const struct texts *t = &cli->a.headers;

    f->headers = cli_alloc(cli, (t->n + 1) * sizeof(*f->headers));
    for (size_t i = 0; i < t->n; i++) {
        PbHeader *h = cli_new(cli, &pb_header__descriptor);
        char *copy = cli_dup(cli, t->v[i]);
        char *colon = strchr(copy, ':');

        if (colon == NULL || colon == copy) {
            (void)out_fail(EXIT_USAGE,
                           "--header: \"%s\" is not of the form 'Name: value'", t->v[i]);
            return false;
        }
        *colon = '\0';
        h->name = copy;
        h->value = colon + 1 + strspn(colon + 1, " \t");
        f->headers[f->n_headers++] = h;
    }
    return true;
}

bool
spec_fetch(struct cli *cli, struct spec_list *ret)
{
    const struct args *a = &cli->a;
    PbFetchSpec like = PB_FETCH_SPEC__INIT;
    int http = 0;

    if (a->http != NULL &&
        !spec_word(&pb_fetch_spec__http__descriptor, a->http, "--http", &http))
        return false;
    if (!fetch_body(cli, &like) || !fetch_headers(cli, &like))
        return false;
    if (a->http != NULL)
        PB_SET(&like, http, (PbFetchSpec__Http)http);
    like.method = a->method;
    if (a->no_follow)
        PB_SET(&like, follow, false);
    if (a->no_verify)
        PB_SET(&like, verify, false);
    if (a->keep_body || a->output != NULL)
        PB_SET(&like, keep_body, true);
    if (a->any_status)
        PB_SET(&like, fail_status, false);
    if (opt_given(a, "max-bytes"))
        PB_SET(&like, max_bytes, a->max_bytes);

    list_init(cli, ret, cli->argc);
    for (size_t i = 0; i < cli->argc; i++) {
        PbJobSpec *spec = list_add(cli, ret, cli->argv[i]);

        spec->kind_case = PB_JOB_SPEC__KIND_FETCH;
        spec->fetch = cli_new(cli, &pb_fetch_spec__descriptor);
        *spec->fetch = like;
        spec->fetch->url = cli->argv[i];
    }
    return true;
}

/* The daemon's current directory is not ours. */
static char *
absolute(struct cli *cli, char *path)
{
    char cwd[4096];
    size_t n;
    char *out;

    if (path[0] == '/' || getcwd(cwd, sizeof(cwd)) == NULL)
        return path;
    while (path[0] == '.' && path[1] == '/')
        path += 2;
    if (strcmp(path, ".") == 0)
        return cli_dup(cli, cwd);
    n = strlen(cwd) + strlen(path) + 2;
    out = cli_alloc(cli, n);
    (void)snprintf(out, n, "%s/%s", strcmp(cwd, "/") == 0 ? "" : cwd, path);
    return out;
}

bool
spec_read(struct cli *cli, struct spec_list *ret)
{
    const struct args *a = &cli->a;

    list_init(cli, ret, cli->argc);
    for (size_t i = 0; i < cli->argc; i++) {
        PbJobSpec *spec = list_add(cli, ret, cli->argv[i]);
        PbReadSpec *r = cli_new(cli, &pb_read_spec__descriptor);

        spec->kind_case = PB_JOB_SPEC__KIND_READ;
        spec->read = r;
        r->path = absolute(cli, cli->argv[i]);
        if (a->no_glob)
            PB_SET(r, glob, false);
        if (opt_given(a, "offset"))
            PB_SET(r, offset, a->offset);
        if (opt_given(a, "length"))
            PB_SET(r, length, a->length);
        if (a->content)
            PB_SET(r, content, true);
        if (opt_given(a, "max-bytes"))
            PB_SET(r, max_bytes, a->max_bytes);
    }
    return true;
}

/* The words as one JSON array, because that is where the grammar of numbers stands. */
static PbNumberList *
numbers(struct cli *cli)
{
    struct proto_buf b = {0};
    struct proto_err err = {0};
    ProtobufCMessage *m = NULL;

    proto_buf_addc(&b, '[');
    for (size_t i = 0; i < cli->argc; i++) {
        const char *word = cli->argv[i] + (cli->argv[i][0] == '+');
        const char *digits = word + (word[0] == '-');
        size_t n = strspn(digits, "0123456789");
        bool big = digits[n] == '\0' && n > 18;

        if (word[0] == '\0' || strspn(word, "0123456789.eE+-") != strlen(word)) {
            (void)out_fail(EXIT_USAGE, "\"%s\" is not a number", cli->argv[i]);
            proto_buf_free(&b);
            return NULL;
        }
        if (i > 0)
            proto_buf_addc(&b, ',');
        /* "007" is a number for people, too */
        if (digits[n] == '\0' && n > 1 && digits[0] == '0')
            big = true;
        if (big)
            proto_buf_addc(&b, '"');
        if (digits[0] == '.')
            proto_buf_adds(&b, word[0] == '-' ? "-0" : "0");
        proto_buf_adds(&b, digits[0] == '.' ? digits : word);
        if (big)
            proto_buf_addc(&b, '"');
    }
    proto_buf_addc(&b, ']');
    if (proto_json_parse(&pb_number_list__descriptor, b.data, b.len, &cli->arena, &m,
                         &err) < 0)
        (void)out_fail(EXIT_USAGE, "not numbers: %s", err.text);
    proto_buf_free(&b);
    return (PbNumberList *)m;
}

bool
spec_sum(struct cli *cli, struct spec_list *ret)
{
    const struct args *a = &cli->a;
    PbSumSpec like = PB_SUM_SPEC__INIT;
    int format = 0;

    if (a->results != NULL && (a->files.n > 0 || a->needs.n == 0)) {
        (void)out_fail(EXIT_USAGE, "--results goes with --needs, and not with --file");
        return false;
    }
    if (a->results == NULL && (cli->argc > 0) == (a->files.n > 0)) {
        (void)out_fail(EXIT_USAGE, "submit sum takes numbers, --file FILE, or --results "
                                   "PATH with --needs");
        return false;
    }
    like.results = a->results;
    if (a->format != NULL) {
        if (!spec_word(&pb_sum_spec__format__descriptor, a->format, "--format", &format))
            return false;
        PB_SET(&like, format, (PbSumSpec__Format)format);
    } else if (a->column != NULL || a->delimiter != NULL) {
        PB_SET(&like, format, PB_SUM_SPEC__FORMAT__CSV);
    }
    like.column = a->column;
    like.delimiter = a->delimiter;
    if (opt_given(a, "parts"))
        PB_SET(&like, parts, (uint32_t)a->parts);

    list_init(cli, ret, a->files.n + 1);
    if (cli->argc > 0) {
        like.numbers = numbers(cli);
        if (like.numbers == NULL)
            return false;
    }
    for (size_t i = 0; i < (a->files.n > 0 ? a->files.n : 1); i++) {
        PbJobSpec *spec = list_add(cli, ret, a->files.n > 0 ? a->files.v[i] : NULL);

        spec->kind_case = PB_JOB_SPEC__KIND_SUM;
        spec->sum = cli_new(cli, &pb_sum_spec__descriptor);
        *spec->sum = like;
        if (a->files.n > 0)
            spec->sum->file = absolute(cli, a->files.v[i]);
    }
    return true;
}

/* A parameter is JSON where that is a plain value, otherwise text. */
static PbValue *
parameter(struct cli *cli, char *text)
{
    struct proto_err err = {0};
    ProtobufCMessage *m;
    PbValue *v;

    if (proto_json_parse(&pb_value__descriptor, text, strlen(text), &cli->arena, &m,
                         &err) == 0)
        return (PbValue *)m;
    v = cli_new(cli, &pb_value__descriptor);
    v->kind_case = PB_VALUE__KIND_TEXT;
    v->text = text;
    return v;
}

bool
spec_sql(struct cli *cli, struct spec_list *ret)
{
    const struct args *a = &cli->a;

    if (a->db == NULL) {
        (void)out_fail(EXIT_USAGE, "submit sql needs --db NAME");
        return false;
    }
    list_init(cli, ret, cli->argc);
    for (size_t i = 0; i < cli->argc; i++) {
        PbJobSpec *spec = list_add(cli, ret, cli->argv[i]);
        PbSqlSpec *s = cli_new(cli, &pb_sql_spec__descriptor);

        spec->kind_case = PB_JOB_SPEC__KIND_SQL;
        spec->sql = s;
        s->db = a->db;
        s->query = cli->argv[i];
        s->params = cli_alloc(cli, (a->params.n + 1) * sizeof(*s->params));
        for (size_t k = 0; k < a->params.n; k++)
            s->params[s->n_params++] = parameter(cli, a->params.v[k]);
        if (opt_given(a, "max-rows"))
            PB_SET(s, max_rows, (uint64_t)a->max_rows);
        if (opt_given(a, "max-bytes"))
            PB_SET(s, max_bytes, a->max_bytes);
    }
    return true;
}

bool
spec_timer(struct cli *cli, struct spec_list *ret)
{
    const struct args *a = &cli->a;
    PbJobSpec *spec;
    PbTimerSpec *t;

    if (!opt_given(a, "tick") && !opt_given(a, "every") && !opt_given(a, "first")) {
        (void)out_fail(EXIT_USAGE, "a timer needs --tick D, or submit timer's --every D");
        return false;
    }
    list_init(cli, ret, 1);
    spec = list_add(cli, ret, NULL);
    t = cli_new(cli, &pb_timer_spec__descriptor);
    spec->kind_case = PB_JOB_SPEC__KIND_TIMER;
    spec->timer = t;
    if (opt_given(a, "tick") || opt_given(a, "every"))
        t->every = cli_duration(cli, opt_given(a, "tick") ? a->tick_ns : a->every_ns);
    if (opt_given(a, "first"))
        t->after = cli_duration(cli, a->first_ns);
    if (opt_given(a, "count"))
        PB_SET(t, count, (uint64_t)a->count);
    return true;
}
