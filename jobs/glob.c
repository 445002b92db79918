/*
 * Patterns over the files below the roots. Every directory is opened anew by its path from
 * the root, so that a link met on the way is judged by the kernel like any other.
 */
#define _GNU_SOURCE

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config/config.h"
#include "jobs/env.h"
#include "jobs/file.h"
#include "jobs/file_root.h"
#include "runtime/go.h"

/* Directory entries looked at between two checks of the context, and per job. */
#define ENTRIES_CHECK 256
#define ENTRIES_MAX   4000000
#define DEPTH_MAX     64 /* components of a pattern */

struct walk {
    struct job_run *run;
    const struct config *cfg;
    struct job_paths *paths;
    size_t looked; /* entries */
};

static bool
has_magic(const char *s, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (s[i] == '*' || s[i] == '?' || s[i] == '[' || s[i] == '\\')
            return true;
    return false;
}

int
job_paths_add(struct job_paths *p, const char *path)
{
    char *copy;

    if (p->n == p->cap) {
        size_t cap = p->cap == 0 ? 8 : p->cap * 2;
        char **more = realloc(p->items, cap * sizeof(*more));

        if (more == NULL)
            return -ENOMEM;
        p->items = more;
        p->cap = cap;
    }
    copy = strdup(path);
    if (copy == NULL)
        return -ENOMEM;
    p->items[p->n++] = copy;
    return 0;
}

void
job_paths_free(struct job_paths *p)
{
    for (size_t i = 0; i < p->n; i++)
        free(p->items[i]);
    free(p->items);
    *p = (struct job_paths){0};
}

static int
compare(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The names in a directory that match one component. */
static int
list(DIR *d, const char *component, struct walk *w, struct job_paths *names)
{
    for (;;) {
        struct dirent *e = readdir(d);
        int r;

        if (e == NULL)
            return 0;
        if (++w->looked > ENTRIES_MAX)
            return -E2BIG;
        if (w->looked % ENTRIES_CHECK == 0 && go_ctx_err(w->run->ctx) != 0)
            return go_ctx_err(w->run->ctx);
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0 ||
            fnmatch(component, e->d_name, FNM_PERIOD) != 0)
            continue;
        r = job_paths_add(names, e->d_name);
        if (r < 0)
            return r;
    }
}

/* The same, for the directory prefix, sorted. No directory: nothing matches. */
static int
list_path(const char *prefix, const char *component, struct walk *w,
          struct job_paths *names)
{
    int fd, r = 0;
    DIR *d;

    fd = job_root_open(w->cfg, prefix[0] != '\0' ? prefix : ".", O_RDONLY | O_DIRECTORY);
    if (fd < 0)
        return 0;
    go_enter_blocking();
    d = fdopendir(fd);
    if (d == NULL) {
        (void)close(fd);
        r = -ENOMEM;
    } else {
        r = list(d, component, w, names);
        (void)closedir(d);
        if (names->n > 1)
            qsort(names->items, names->n, sizeof(char *), compare);
    }
    go_exit_blocking();
    return r;
}

static int
found(struct walk *w, const char *path)
{
    int fd;

    fd = job_root_open(w->cfg, path, O_PATH);
    if (fd < 0)
        return 0;
    (void)close(fd);
    if (w->paths->n >= (size_t)w->cfg->files.max_files)
        return -EFBIG;
    return job_paths_add(w->paths, path);
}

/* Follows pattern from its component at rest on; prefix holds what precedes it. */
static int
expand(struct walk *w, const char *prefix, const char *rest, int depth)
{
    size_t len = strcspn(rest, "/");
    const char *next = rest + len;
    struct job_paths names = {0};
    char *component, *path = NULL;
    int r;

    if (depth == DEPTH_MAX)
        return -ENAMETOOLONG;
    while (*next == '/')
        next++;
    component = strndup(rest, len);
    if (component == NULL)
        return -ENOMEM;
    r = has_magic(rest, len) ? list_path(prefix, component, w, &names)
                             : job_paths_add(&names, component);
    for (size_t i = 0; r == 0 && i < names.n; i++) {
        const char *slash =
            prefix[0] != '\0' && prefix[strlen(prefix) - 1] != '/' ? "/" : "";

        if (asprintf(&path, "%s%s%s", prefix, slash, names.items[i]) < 0) {
            r = -ENOMEM;
            break;
        }
        r = *next == '\0' ? found(w, path) : expand(w, path, next, depth + 1);
        free(path);
    }
    free(component);
    job_paths_free(&names);
    return r;
}

static int
failed(struct walk *w, const char *pattern, const char *field, int r)
{
    struct job_error *err = &w->run->err;

    if (r == -ETIMEDOUT || r == -ECANCELED)
        return job_run_ended(w->run, r);
    if (r == -EFBIG)
        (void)job_error_set(err, PB_ERROR__CODE__TOO_LARGE, field,
                            "%s matches more files than files.max_files allows (%lld)",
                            pattern, (long long)w->cfg->files.max_files);
    else if (r == -E2BIG)
        (void)job_error_set(err, PB_ERROR__CODE__TOO_LARGE, field,
                            "%s looks through more than %d directory entries", pattern,
                            ENTRIES_MAX);
    else if (r == -ENOENT)
        (void)job_error_set(err, PB_ERROR__CODE__NOT_FOUND, field, "%s matches no file",
                            pattern);
    else
        (void)job_error_set(err, PB_ERROR__CODE__IO, field, "%s: %s", pattern,
                            strerrordesc_np(-r));
    return r;
}

int
job_glob(struct job_run *run, const char *pattern, const char *field,
         struct job_paths *paths)
{
    const struct config *cfg = job_env_config(run->env);
    struct walk w = {.run = run, .cfg = cfg, .paths = paths};
    size_t before = paths->n;
    int r;

    if (has_magic(pattern, strlen(pattern))) {
        r = found(&w, pattern);
        if (r == 0 && paths->n == before)
            r = expand(&w, pattern[0] == '/' ? "/" : "", pattern + strspn(pattern, "/"),
                       0);
        if (r == 0 && paths->n == before)
            r = -ENOENT;
    } else if (paths->n >= (size_t)cfg->files.max_files) {
        r = -EFBIG;
    } else {
        r = job_paths_add(paths, pattern);
    }
    return r < 0 ? failed(&w, pattern, field, r) : 0;
}
