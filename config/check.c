#include "config/check.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct checker {
    struct config *cfg;
    const char *name; /* of the file */
    char *key;
    char *message;
};

static int fail(struct checker *c, const char *key, size_t index, const char *member,
                const char *fmt, ...) __attribute__((format(printf, 5, 6)));

enum { NO_INDEX = -1 };

/* key, key[index] or key[index].member is wrong. */
static int
fail(struct checker *c, const char *key, size_t index, const char *member,
     const char *fmt, ...)
{
    va_list ap;

    if (index == (size_t)NO_INDEX)
        (void)snprintf(c->key, 192, "%s", key);
    else
        (void)snprintf(c->key, 192, "%s[%zu]%s%s", key, index,
                       member[0] != '\0' ? "." : "", member);
    va_start(ap, fmt);
    (void)vsnprintf(c->message, 320, fmt, ap);
    va_end(ap);
    return -EINVAL;
}

static bool
starts_with(const char *s, const char *prefix)
{
    return strncmp(s, prefix, strlen(prefix)) == 0;
}

/* Whether the host of SCHEME://HOST:PORT... is this machine only. */
static bool
is_loopback(const char *url)
{
    const char *host = strstr(url, "://") + 3;

    return starts_with(host, "127.") || starts_with(host, "localhost:") ||
           starts_with(host, "[::1]:");
}

static int
check_url(struct checker *c, const char *key, size_t i, const char *url)
{
    bool tls = starts_with(url, "tls+tcp://") || starts_with(url, "wss://");
    bool clear = starts_with(url, "tcp://") || starts_with(url, "ws://");
    const char *rest = strstr(url, "://");

    if (starts_with(url, "ipc://")) {
        if (url[6] == '\0')
            return fail(c, key, i, "", "\"%s\" has no path", url);
        /* sun_path holds 108 characters with their NUL. */
        if (strlen(url + 6) > 107)
            return fail(c, key, i, "",
                        "the path is longer than the 107 characters of a socket");
        return 0;
    }
    if (!tls && !clear)
        return fail(c, key, i, "",
                    "\"%.100s\" is not an ipc, tcp, tls+tcp, ws or wss URL", url);
    if (strchr(rest + 3, ':') == NULL)
        return fail(c, key, i, "", "\"%.100s\" names no port", url);
    if (c->cfg->tokens.n == 0)
        return fail(c, key, i, "", "\"%.100s\" needs a token, and tokens is empty", url);
    if (clear && !is_loopback(url))
        return fail(c, key, i, "", "\"%.100s\" leaves this machine: use %s://", url,
                    starts_with(url, "ws:") ? "wss" : "tls+tcp");
    if (tls && (c->cfg->tls.cert[0] == '\0' || c->cfg->tls.key[0] == '\0'))
        return fail(c, key, i, "", "\"%.100s\" needs tls.cert and tls.key", url);
    return 0;
}

/* A subscriber sends nothing, so no token either: its certificate has to do. */
static int
check_subscribers(struct checker *c, size_t i)
{
    const char *url = c->cfg->events.items[i];

    if (c->cfg->tls.ca[0] != '\0' ||
        !(starts_with(url, "tls+") || starts_with(url, "wss://")))
        return 0;
    return fail(c, "events", i, "",
                "\"%.100s\" needs tls.ca: subscribers show no token, but a certificate",
                url);
}

static int
check_urls(struct checker *c)
{
    struct config *cfg = c->cfg;
    int r = 0;

    if (cfg->listen.n == 0)
        return fail(c, "listen", (size_t)NO_INDEX, "", "needs at least one URL");
    for (size_t i = 0; r == 0 && i < cfg->listen.n; i++)
        r = check_url(c, "listen", i, cfg->listen.items[i]);
    for (size_t i = 0; r == 0 && i < cfg->events.n; i++) {
        r = check_url(c, "events", i, cfg->events.items[i]);
        if (r == 0)
            r = check_subscribers(c, i);
    }
    return r;
}

#define IPC       "ipc://"
#define SOCK      ".sock"
#define EVENTS    "-events" SOCK
#define SOCK_PATH 107 /* what sun_path holds */

/* Where events go if the configuration does not say: beside the first ipc listener, so that
 * daemons which share a machine do not share this. Nowhere if no such path is possible. */
static int
default_events(struct config *cfg)
{
    const char *url = NULL;
    size_t n;
    char *made;

    for (size_t i = 0; url == NULL && i < cfg->listen.n; i++)
        if (starts_with(cfg->listen.items[i], IPC))
            url = cfg->listen.items[i];
    if (cfg->events.n > 0 || url == NULL)
        return 0;
    n = strlen(url);
    if (n > strlen(IPC SOCK) && strcmp(url + n - strlen(SOCK), SOCK) == 0)
        n -= strlen(SOCK);
    if (n + strlen(EVENTS) > strlen(IPC) + SOCK_PATH)
        return 0;
    made = proto_arena_alloc(&cfg->arena, n + sizeof(EVENTS));
    cfg->events.items = proto_arena_alloc(&cfg->arena, sizeof(char *));
    if (made == NULL || cfg->events.items == NULL)
        return -ENOMEM;
    memcpy(made, url, n);
    memcpy(made + n, EVENTS, sizeof(EVENTS));
    cfg->events.items[0] = made;
    cfg->events.n = 1;
    return 0;
}

static int
hex_digit(char ch)
{
    if (ch >= '0' && ch <= '9')
        return ch - '0';
    if (ch >= 'a' && ch <= 'f')
        return ch - 'a' + 10;
    if (ch >= 'A' && ch <= 'F')
        return ch - 'A' + 10;
    return -1;
}

/* 64 digits, then nothing, white space, or the file name that sha256sum writes. */
static bool
parse_hash(const char *s, uint8_t out[32])
{
    for (int i = 0; i < 32; i++) {
        int hi = hex_digit(s[0]), lo = hi < 0 ? -1 : hex_digit(s[1]);

        if (lo < 0)
            return false;
        out[i] = (uint8_t)(hi << 4 | lo);
        s += 2;
    }
    return *s == '\0' || *s == ' ' || *s == '\n' || *s == '\r';
}

/* Reads the start of file, looked up beside the configuration unless it is absolute. */
static int
read_beside(const char *config, const char *file, char *out, size_t size)
{
    const char *slash = strrchr(config, '/');
    char path[4096];
    ssize_t n;
    int fd;

    (void)snprintf(path, sizeof(path), "%.*s%s",
                   file[0] == '/' || slash == NULL ? 0 : (int)(slash - config + 1),
                   config, file);
    fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0)
        return -errno;
    n = read(fd, out, size - 1);
    if (n < 0) {
        int r = -errno;

        close(fd);
        return r;
    }
    close(fd);
    out[n] = '\0';
    return 0;
}

static int
check_token(struct checker *c, size_t i)
{
    struct cfg_token *t = &c->cfg->tokens.items[i];
    char text[128] = "";
    int r;

    if ((t->sha256[0] == '\0') == (t->file[0] == '\0'))
        return fail(c, "tokens", i, "", "give either sha256 or file");
    for (size_t k = 0; k < i; k++)
        if (strcmp(c->cfg->tokens.items[k].name, t->name) == 0)
            return fail(c, "tokens", i, "name", "\"%.60s\" is there already", t->name);
    if (t->sha256[0] != '\0')
        return parse_hash(t->sha256, t->hash)
                   ? 0
                   : fail(c, "tokens", i, "sha256", "not 64 hexadecimal digits");
    r = read_beside(c->name, t->file, text, sizeof(text));
    if (r < 0)
        return fail(c, "tokens", i, "file", "%.200s: %s", t->file, strerror(-r));
    if (!parse_hash(text, t->hash))
        return fail(c, "tokens", i, "file", "%.200s does not hold 64 hexadecimal digits",
                    t->file);
    return 0;
}

static int
check_databases(struct checker *c)
{
    for (size_t i = 0; i < c->cfg->databases.n; i++) {
        const struct cfg_database *db = &c->cfg->databases.items[i];
        char key[192];

        if ((starts_with(db->url, "sqlite:") && db->url[7] != '\0') ||
            starts_with(db->url, "postgresql://") || starts_with(db->url, "postgres://"))
            continue;
        (void)snprintf(key, sizeof(key), "databases.%.150s.url", db->name);
        return fail(c, key, (size_t)NO_INDEX, "",
                    "\"%.100s\" is neither sqlite:PATH nor postgresql://...", db->url);
    }
    return 0;
}

static int
check_schedules(struct checker *c)
{
    struct config *cfg = c->cfg;

    for (size_t i = 0; i < cfg->schedules.n; i++) {
        const PbScheduleSpec *s = cfg->schedules.items[i];

        if (s->name == NULL || s->name[0] == '\0')
            return fail(c, "schedules", i, "", "needs a name");
        for (size_t k = 0; k < i; k++)
            if (strcmp(cfg->schedules.items[k]->name, s->name) == 0)
                return fail(c, "schedules", i, "name", "\"%.60s\" is there already",
                            s->name);
        if (s->n_jobs == 0)
            return fail(c, "schedules", i, "", "needs jobs");
        if (s->every == NULL && s->cron == NULL && s->at == NULL)
            return fail(c, "schedules", i, "", "needs one of at, every and cron");
        if (s->every != NULL && s->cron != NULL)
            return fail(c, "schedules", i, "cron", "cannot stand beside every");
    }
    return 0;
}

static int
check_files(struct checker *c)
{
    for (size_t i = 0; i < c->cfg->files.roots.n; i++)
        if (c->cfg->files.roots.items[i][0] == '\0')
            return fail(c, "files.roots", i, "", "an empty path");
    for (size_t i = 0; i < c->cfg->fetch.schemes.n; i++) {
        const char *s = c->cfg->fetch.schemes.items[i];

        if (strcmp(s, "http") != 0 && strcmp(s, "https") != 0)
            return fail(c, "fetch.schemes", i, "", "\"%.60s\" is neither http nor https",
                        s);
    }
    return 0;
}

int
check_config(struct config *cfg, const char *name, char key[192], char message[320])
{
    struct checker c = {.cfg = cfg, .name = name, .key = key, .message = message};
    int r = 0;

    if (cfg->state_dir[0] == '\0')
        return fail(&c, "state_dir", (size_t)NO_INDEX, "", "an empty path");
    if (cfg->defaults.timeout > cfg->limits.timeout)
        return fail(&c, "defaults.timeout", (size_t)NO_INDEX, "", "above limits.timeout");
    if (cfg->defaults.retries > cfg->limits.retries)
        return fail(&c, "defaults.retries", (size_t)NO_INDEX, "", "above limits.retries");
    if (cfg->defaults.backoff > cfg->defaults.backoff_max)
        return fail(&c, "defaults.backoff", (size_t)NO_INDEX, "",
                    "above defaults.backoff_max");
    for (size_t i = 0; r == 0 && i < cfg->tokens.n; i++)
        r = check_token(&c, i);
    if (r == 0)
        r = check_urls(&c);
    if (r == 0)
        r = default_events(cfg);
    if (r == 0)
        r = check_databases(&c);
    if (r == 0)
        r = check_files(&c);
    return r < 0 ? r : check_schedules(&c);
}
