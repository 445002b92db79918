/* Zones by name: read from the system's database once each. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/schedule/tz.h"
#include "runtime/sched/blocking.h"
#include "runtime/sync/mutex.h"

#define FILE_MAX (256 * 1024) /* the largest zone file has a few kilobytes */
#define LOCAL    "/etc/localtime"

struct named {
    char name[TZ_NAME_MAX]; /* as asked for; "" is the system's */
    struct tz *zone;
};

struct tz_set {
    char *dir;

    struct go_mutex mu;
    struct named *v; /* guarded by mu; the zones themselves never change */
    size_t n, cap;
};

/* UTC in the form of a file, for machines without the database. */
static const uint8_t utc_file[] = "TZif2\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
                                  "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
                                  "\0\0\0\1\0\0\0\4"
                                  "\0\0\0\0\0\0UTC\0"
                                  "TZif2\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
                                  "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
                                  "\0\0\0\1\0\0\0\4"
                                  "\0\0\0\0\0\0UTC\0"
                                  "\nUTC0\n";

struct tz_set *
tz_set_new(const char *dir)
{
    struct tz_set *s = calloc(1, sizeof(*s));

    if (dir == NULL)
        dir = getenv("TZDIR");
    if (dir == NULL || *dir == '\0')
        dir = "/usr/share/zoneinfo";
    if (s != NULL)
        s->dir = strdup(dir);
    if (s == NULL || s->dir == NULL) {
        free(s);
        return NULL;
    }
    return s;
}

void
tz_set_free(struct tz_set *s)
{
    if (s == NULL)
        return;
    for (size_t i = 0; i < s->n; i++)
        tz_free(s->v[i].zone);
    free(s->v);
    free(s->dir);
    free(s);
}

/* Letters, digits and + - _ in parts between slashes: never a way out of the folder. */
static bool
good_name(const char *name)
{
    size_t n = strnlen(name, TZ_NAME_MAX);

    if (n == 0 || n == TZ_NAME_MAX)
        return false;
    if (name[0] == '/' || name[n - 1] == '/' || strstr(name, "//") != NULL)
        return false;
    return strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                        "+-_/") == n;
}

/* The whole file: its length, or -errno. */
static ssize_t
read_file(const char *path, uint8_t *buf, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    struct stat st;
    ssize_t n = 0, got = 1;

    if (fd < 0)
        return -errno;
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
        close(fd);
        return -EISDIR;
    }
    while (got > 0 && (size_t)n < size) {
        got = read(fd, buf + n, size - (size_t)n);
        if (got < 0)
            n = -errno;
        else
            n += got;
    }
    close(fd);
    return n;
}

static int
load(const char *path, const char *name, struct tz **ret, char err[TZ_ERR_MAX])
{
    uint8_t *buf = malloc(FILE_MAX);
    ssize_t n;
    int r;

    if (buf == NULL) {
        (void)snprintf(err, TZ_ERR_MAX, "out of memory");
        return -ENOMEM;
    }
    n = GO_BLOCKING(read_file(path, buf, FILE_MAX));
    if (n >= 0) {
        r = tz_parse(name, buf, (size_t)n, ret, err);
    } else if (n == -ENOENT || n == -ENOTDIR || n == -EISDIR) {
        (void)snprintf(err, TZ_ERR_MAX, "there is no time zone \"%.60s\"", name);
        r = -ENOENT;
    } else {
        r = (int)n;
        (void)snprintf(err, TZ_ERR_MAX, "time zone \"%.60s\" cannot be read: %s", name,
                       strerror(-r));
    }
    free(buf);
    return r;
}

static int
load_named(const struct tz_set *s, const char *name, struct tz **ret,
           char err[TZ_ERR_MAX])
{
    char path[PATH_MAX];
    int r;

    if (!good_name(name)) {
        (void)snprintf(err, TZ_ERR_MAX, "\"%.60s\" is not the name of a time zone", name);
        return -EINVAL;
    }
    (void)snprintf(path, sizeof(path), "%s/%s", s->dir, name);
    r = load(path, name, ret, err);
    if (r == -ENOENT && strcmp(name, "UTC") == 0)
        return tz_parse(name, utc_file, sizeof(utc_file) - 1, ret, err);
    return r;
}

/* The part of a link's target that names a zone, or NULL. */
static const char *
name_in(const char *target)
{
    const char *at = strstr(target, "zoneinfo/");

    return at != NULL && good_name(at + 9) ? at + 9 : NULL;
}

static int
load_local(const struct tz_set *s, struct tz **ret, char err[TZ_ERR_MAX])
{
    const char *env = getenv("TZ"), *name = NULL;
    char target[PATH_MAX];
    ssize_t n;
    int r;

    if (env != NULL && *env == ':')
        env++;
    if (env != NULL && good_name(env) && load_named(s, env, ret, err) == 0)
        return 0;
    n = readlink(LOCAL, target, sizeof(target) - 1);
    if (n > 0) {
        target[n] = '\0';
        name = name_in(target);
    }
    r = load(LOCAL, name != NULL ? name : "local", ret, err);
    return r == -ENOENT ? load_named(s, "UTC", ret, err) : r;
}

static const struct tz *
find_locked(const struct tz_set *s, const char *name)
{
    for (size_t i = 0; i < s->n; i++)
        if (strcmp(s->v[i].name, name) == 0)
            return s->v[i].zone;
    return NULL;
}

static int
keep_locked(struct tz_set *s, const char *name, struct tz *z)
{
    if (s->n == s->cap) {
        size_t cap = s->cap > 0 ? s->cap * 2 : 16;
        struct named *v = realloc(s->v, cap * sizeof(*v));

        if (v == NULL)
            return -ENOMEM;
        s->v = v;
        s->cap = cap;
    }
    (void)snprintf(s->v[s->n].name, TZ_NAME_MAX, "%s", name);
    s->v[s->n++].zone = z;
    return 0;
}

int
tz_set_get(struct tz_set *s, const char *name, const struct tz **ret,
           char err[TZ_ERR_MAX])
{
    struct tz *z = NULL;
    int r = 0;

    if (name == NULL)
        name = "";
    go_mutex_lock(&s->mu);
    *ret = find_locked(s, name);
    if (*ret == NULL) {
        r = *name == '\0' ? load_local(s, &z, err) : load_named(s, name, &z, err);
        if (r == 0) {
            r = keep_locked(s, name, z);
            if (r < 0)
                (void)snprintf(err, TZ_ERR_MAX, "out of memory");
        }
        if (r < 0)
            tz_free(z);
        else
            *ret = z;
    }
    go_mutex_unlock(&s->mu);
    return r;
}
