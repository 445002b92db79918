/*
 * Reading files: size, lines, SHA-256, content. Several files fan out over goroutines.
 */
#define _GNU_SOURCE

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "config/config.h"
#include "jobs/env.h"
#include "jobs/file.h"
#include "jobs/kind.h"
#include "jobs/sha256.h"
#include "jobs/turn.h"
#include "proto/utf8.h"
#include "runtime/base/atomic.h"
#include "runtime/go.h"

#define BLOCK 262144 /* stays in the second-level cache while it is looked at */

/* One file: what is asked of it, and what it held. */
struct one {
    struct job_run *run;
    char *path;
    const char *field;
    char *block; /* BLOCK bytes of whoever reads it */

    uint64_t size, lines;
    char sha256[SHA256_HEX];
    char *content; /* malloc */
    size_t content_len;
    bool truncated;
    struct job_error err;
};

static int
sized(struct job_error *err, const struct config *cfg, const PbReadSpec *s)
{
    if (s->has_max_bytes && s->max_bytes > (uint64_t)cfg->files.max_content)
        return job_error_set(
            err, PB_ERROR__CODE__TOO_LARGE, "read.max_bytes",
            "read.max_bytes is more than files.max_content allows (%lld)",
            (long long)cfg->files.max_content);
    if (s->has_offset && s->offset > INT64_MAX)
        return job_error_set(err, PB_ERROR__CODE__INVALID, "read.offset",
                             "read.offset is beyond any file");
    return 0;
}

static int
read_validate(struct job_env *env, const PbJobSpec *spec, struct job_error *err)
{
    const PbReadSpec *s = spec->read;
    const struct config *cfg = job_env_config(env);
    int r = 0;

    if (s->path == NULL && s->n_paths == 0)
        return job_error_set(err, PB_ERROR__CODE__INVALID, "read.path",
                             "read.path or read.paths is needed");
    if (s->n_paths > (size_t)cfg->files.max_files)
        return job_error_set(
            err, PB_ERROR__CODE__TOO_LARGE, "read.paths",
            "read.paths has %zu entries, more than files.max_files allows "
            "(%lld)",
            s->n_paths, (long long)cfg->files.max_files);
    if (s->path != NULL)
        r = job_path_check(cfg, s->path, "read.path", err);
    for (size_t i = 0; r == 0 && i < s->n_paths; i++)
        r = job_path_check(cfg, s->paths[i], "read.paths", err);
    return r < 0 ? r : sized(err, cfg, s);
}

static uint64_t
count_lines(const char *s, size_t n)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < n; i++)
        sum += s[i] == '\n';
    return sum;
}

static uint64_t
content_max(const struct job_run *run)
{
    const PbReadSpec *s = run->spec->read;

    if (!PB_GET(s, content, false))
        return 0;
    return PB_GET(s, max_bytes, (uint64_t)job_env_config(run->env)->files.max_content);
}

/* Keeps what of the block the content still has room for. */
static int
keep(struct one *o, const char *block, size_t n, uint64_t max)
{
    char *more;

    if (n > max - o->content_len) {
        n = (size_t)(max - o->content_len);
        o->truncated = true;
    }
    if (n == 0)
        return 0;
    more = realloc(o->content, o->content_len + n);
    if (more == NULL)
        return -ENOMEM;
    memcpy(more + o->content_len, block, n);
    o->content = more;
    o->content_len += n;
    return 0;
}

static int
read_blocks(struct one *o, const struct job_file *f)
{
    const PbReadSpec *s = o->run->spec->read;
    uint64_t at = PB_GET(s, offset, 0), left = PB_GET(s, length, UINT64_MAX);
    bool want_sha = PB_GET(s, sha256, true), want_lines = PB_GET(s, lines, true);
    bool want_content = PB_GET(s, content, false);
    uint64_t max = content_max(o->run);
    struct sha256 sha;
    int r = 0;

    sha256_init(&sha);
    while (left > 0) {
        size_t want = left < BLOCK ? (size_t)left : BLOCK;
        ssize_t n;

        r = go_ctx_err(o->run->ctx);
        if (r < 0)
            return r;
        n = turn_read(f, o->block, want, at);
        if (n < 0)
            return (int)n;
        if (want_sha)
            sha256_add(&sha, o->block, (size_t)n);
        if (want_lines)
            o->lines += count_lines(o->block, (size_t)n);
        if (want_content)
            r = keep(o, o->block, (size_t)n, max);
        turn_end();
        if (r < 0)
            return r;
        o->size += (size_t)n;
        ADD(&o->run->progress.done, (size_t)n, RELAXED);
        if ((size_t)n < want)
            break;
        at += (size_t)n;
        left -= (size_t)n;
    }
    if (want_sha)
        sha256_hex(&sha, o->sha256);
    return 0;
}

/* PARKS. Fills o; 0, or -errno with o->err set. */
static int
read_one(struct one *o)
{
    const PbReadSpec *s = o->run->spec->read;
    uint64_t offset = PB_GET(s, offset, 0), length = PB_GET(s, length, UINT64_MAX);
    struct job_file f;
    int r;

    r = go_ctx_err(o->run->ctx);
    if (r < 0)
        return r;
    r = job_file_open(job_env_config(o->run->env), o->path, o->field, &f, &o->err);
    if (r < 0)
        return r;
    if (f.size > offset)
        ADD(&o->run->progress.total, f.size - offset < length ? f.size - offset : length,
            RELAXED);
    r = read_blocks(o, &f);
    job_file_close(&f);
    if (r < 0 && r != -ETIMEDOUT && r != -ECANCELED)
        (void)job_error_set(&o->err, PB_ERROR__CODE__IO, o->field, "%s: %s", o->path,
                            strerrordesc_np(-r));
    return r;
}

/* --- the result --- */

/* Length of content without a character that was cut in two. */
static size_t
whole_characters(const char *s, size_t len)
{
    for (size_t cut = 0; cut < 4 && cut < len; cut++) {
        size_t n;

        if (((unsigned char)s[len - 1 - cut] & 0xc0) == 0x80)
            continue;
        n = utf8_sequence(s + len - 1 - cut, cut + 1);
        return n == 0 && ((unsigned char)s[len - 1 - cut] & 0x80) != 0 ? len - 1 - cut
                                                                       : len;
    }
    return len;
}

/* Copies the content into the result: text when it is that. */
static int
copy_content(struct job_run *run, const struct one *o, char **text,
             ProtobufCBinaryData *data)
{
    size_t len =
        o->truncated ? whole_characters(o->content, o->content_len) : o->content_len;
    bool is_text = utf8_valid(o->content, len) &&
                   (len == 0 || memchr(o->content, '\0', len) == NULL);
    char *copy;

    if (!is_text)
        len = o->content_len;
    copy = proto_arena_dup(&run->mem, o->content, len);
    if (copy == NULL)
        return job_run_too_large(run);
    if (is_text) {
        *text = copy;
        return 1;
    }
    *data = (ProtobufCBinaryData){.data = (uint8_t *)copy, .len = len};
    return 0;
}

static PbReadResult *
result_new(struct job_run *run)
{
    PbJobResult *res = job_new(run, &pb_job_result__descriptor);
    PbReadResult *rr = job_new(run, &pb_read_result__descriptor);

    if (res == NULL || rr == NULL)
        return NULL;
    res->result_case = PB_JOB_RESULT__RESULT_READ;
    res->read = rr;
    run->result = res;
    return rr;
}

static int
report_one(struct job_run *run, const struct one *o)
{
    const PbReadSpec *s = run->spec->read;
    PbReadResult *rr = result_new(run);
    int r;

    if (rr == NULL)
        return job_run_too_large(run);
    PB_SET(rr, size, o->size);
    if (PB_GET(s, lines, true))
        PB_SET(rr, lines, o->lines);
    if (PB_GET(s, sha256, true))
        rr->sha256 = proto_arena_dup(&run->mem, o->sha256, SHA256_HEX - 1);
    if (!PB_GET(s, content, false))
        return 0;
    PB_SET(rr, truncated, o->truncated);
    r = copy_content(run, o, &rr->text, &rr->data);
    if (r < 0)
        return r;
    rr->content_case =
        r > 0 ? PB_READ_RESULT__CONTENT_TEXT : PB_READ_RESULT__CONTENT_DATA;
    return 0;
}

static PbError *
error_message(struct job_run *run, const struct job_error *err)
{
    PbError *e = job_new(run, &pb_error__descriptor);

    if (e == NULL)
        return NULL;
    PB_SET(e, code, (PbError__Code)err->code);
    e->message = proto_arena_dup(&run->mem, err->message, strlen(err->message));
    return e;
}

static int
report_file(struct job_run *run, const struct one *o, PbReadFile **ret)
{
    const PbReadSpec *s = run->spec->read;
    PbReadFile *f = job_new(run, &pb_read_file__descriptor);
    int r;

    *ret = f;
    if (f == NULL)
        return job_run_too_large(run);
    f->path = proto_arena_dup(&run->mem, o->path, strlen(o->path));
    if (f->path == NULL)
        return job_run_too_large(run);
    utf8_clean(f->path, strlen(f->path));
    if (o->err.message[0] != '\0') {
        f->error = error_message(run, &o->err);
        return 0;
    }
    PB_SET(f, size, o->size);
    if (PB_GET(s, lines, true))
        PB_SET(f, lines, o->lines);
    if (PB_GET(s, sha256, true))
        f->sha256 = proto_arena_dup(&run->mem, o->sha256, SHA256_HEX - 1);
    if (!PB_GET(s, content, false))
        return 0;
    PB_SET(f, truncated, o->truncated);
    r = copy_content(run, o, &f->text, &f->data);
    if (r < 0)
        return r;
    f->content_case = r > 0 ? PB_READ_FILE__CONTENT_TEXT : PB_READ_FILE__CONTENT_DATA;
    return 0;
}

static int
report_many(struct job_run *run, const struct one *o, size_t n)
{
    PbReadResult *rr = result_new(run);
    uint64_t size = 0, lines = 0;
    size_t bad = 0;
    const struct one *first = NULL;

    if (rr == NULL)
        return job_run_too_large(run);
    rr->files = proto_arena_alloc(&run->mem, n * sizeof(PbReadFile *));
    if (rr->files == NULL)
        return job_run_too_large(run);
    for (size_t i = 0; i < n; i++) {
        int r = report_file(run, &o[i], &rr->files[i]);

        if (r < 0) {
            run->result = NULL;
            return r;
        }
        rr->n_files++;
        size += o[i].size;
        lines += o[i].lines;
        if (o[i].err.message[0] != '\0' && bad++ == 0)
            first = &o[i];
    }
    PB_SET(rr, size, size);
    if (PB_GET(run->spec->read, lines, true))
        PB_SET(rr, lines, lines);
    PB_SET(rr, count, n);
    if (first == NULL)
        return 0;
    (void)job_error_set(&run->err, first->err.code, first->field,
                        "%zu of %zu files could not be read; the first: %s", bad, n,
                        first->err.message);
    return -EIO;
}

/* --- several files --- */

/* Files that goroutines take from, one after the other. */
struct many {
    struct one *files;
    size_t n;
    size_t next; /* atomic */
    uint64_t
        room; /* of content, for all files; one goroutine only when there is content */
};

/* What is kept of one file leaves less for those behind it. */
static void
share_room(struct many *m, struct one *o)
{
    if (o->content_len == 0)
        return;
    if (o->content_len > m->room) {
        o->content_len = (size_t)m->room;
        o->truncated = true;
    }
    m->room -= o->content_len;
}

static int
read_some(struct go_ctx *ctx, void *arg)
{
    struct many *m = arg;
    char *block = malloc(BLOCK);
    int r = block == NULL ? -ENOMEM : 0;

    while (r == 0) {
        size_t i = __atomic_fetch_add(&m->next, 1, __ATOMIC_RELAXED);

        if (i >= m->n)
            break;
        m->files[i].block = block;
        (void)read_one(&m->files[i]);
        share_room(m, &m->files[i]);
        r = go_ctx_err(ctx);
    }
    free(block);
    return r;
}

static int
read_many(struct job_run *run, struct one *files, size_t n)
{
    struct many m = {.files = files, .n = n, .room = content_max(run)};
    struct go_group g;
    int workers, r;

    workers = 2 * go_maxprocs(0);
    /* Content is bounded over all files: in order, so that the result is the same each time. */
    if (PB_GET(run->spec->read, content, false))
        workers = 1;
    if ((size_t)workers > n)
        workers = (int)n;
    r = go_group_init(&g, run->ctx, 0);
    if (r < 0)
        return job_run_too_large(run);
    for (int i = 0; i < workers; i++)
        (void)go_group_go(&g, read_some, &m);
    r = go_group_wait(&g);
    if (r == -ENOMEM || r == -EAGAIN)
        return job_run_too_large(run);
    r = job_run_check(run);
    return r < 0 ? r : report_many(run, files, n);
}

static int
read_single(struct job_run *run, struct one *o)
{
    int r;

    o->block = malloc(BLOCK);
    if (o->block == NULL)
        return job_run_too_large(run);
    r = read_one(o);
    free(o->block);
    if (r == -ETIMEDOUT || r == -ECANCELED)
        return job_run_ended(run, r);
    if (r < 0) {
        run->err = o->err;
        return r;
    }
    return report_one(run, o);
}

/* --- the run --- */

static int
add_paths(struct job_run *run, const char *path, const char *field,
          struct job_paths *paths)
{
    if (PB_GET(run->spec->read, glob, true))
        return job_glob(run, path, field, paths);
    return job_paths_add(paths, path) < 0 ? job_run_too_large(run) : 0;
}

static int
read_paths(struct job_run *run, const struct job_paths *paths, bool single)
{
    struct one *files = calloc(paths->n, sizeof(*files));
    int r;

    if (files == NULL)
        return job_run_too_large(run);
    for (size_t i = 0; i < paths->n; i++) {
        files[i].run = run;
        files[i].path = paths->items[i];
        files[i].field = run->spec->read->path != NULL ? "read.path" : "read.paths";
    }
    r = single ? read_single(run, files) : read_many(run, files, paths->n);
    for (size_t i = 0; i < paths->n; i++)
        free(files[i].content);
    free(files);
    return r;
}

static int
read_run(struct job_run *run)
{
    const PbReadSpec *s = run->spec->read;
    struct job_paths paths = {0};
    bool single;
    int r = 0;

    if (s->path != NULL)
        r = add_paths(run, s->path, "read.path", &paths);
    for (size_t i = 0; r == 0 && i < s->n_paths; i++)
        r = add_paths(run, s->paths[i], "read.paths", &paths);
    if (r == 0) {
        const char *only = s->path != NULL ? s->path : s->paths[0];

        /* A pattern that matched one file still says which. */
        single = paths.n == 1 && strcmp(paths.items[0], only) == 0;
        r = read_paths(run, &paths, single);
    }
    job_paths_free(&paths);
    return r;
}

const struct job_kind job_read = {
    .name = "read",
    .kind = PB_JOB__KIND__KIND_READ,
    .unit = PB_PROGRESS__UNIT__BYTES,
    .validate = read_validate,
    .run = read_run,
};
