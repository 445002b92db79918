#include "daemon/listen.h"

#include <errno.h>
#include <grp.h>
#include <nng/nng.h>
#include <nng/supplemental/tls/tls.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/log.h"
#include "runtime/base/check.h"
#include "runtime/go.h"

static int
errno_of(int rv)
{
    switch (rv) {
    case NNG_EADDRINUSE:
        return -EADDRINUSE;
    case NNG_EPERM:
        return -EACCES;
    case NNG_ENOENT:
        return -ENOENT;
    case NNG_ENOMEM:
        return -ENOMEM;
    default:
        return -EIO;
    }
}

static int
fail(int r, char *err, size_t size, const char *url, const char *why)
{
    (void)snprintf(err, size, "cannot listen on %s: %s", url, why);
    return r;
}

/* The directory of an ipc socket, made if only it is missing. */
static int
make_directory(const char *url, char *err, size_t size)
{
    const char *path = url + strlen("ipc://"), *slash = strrchr(path, '/');
    char dir[128], why[160];

    if (slash == NULL || slash == path)
        return 0;
    (void)snprintf(dir, sizeof(dir), "%.*s", (int)(slash - path), path);
    if (mkdir(dir, 0755) == 0 || errno == EEXIST)
        return 0;
    (void)snprintf(why, sizeof(why), "cannot make %s: %s", dir, strerror(errno));
    return fail(-EACCES, err, size, url, why);
}

/* A number or a name; -1: no such group. */
static int
group_id(const char *group)
{
    struct group gr, *found = NULL;
    char buf[4096], *end;
    unsigned long n = strtoul(group, &end, 10);

    if (end != group && *end == '\0')
        return (int)n;
    if (getgrnam_r(group, &gr, buf, sizeof(buf), &found) != 0 || found == NULL)
        return -1;
    return (int)gr.gr_gid;
}

static int
set_group(const struct config *cfg, const char *url, char *err, size_t size)
{
    char why[160];
    int gid;

    if (cfg->socket.group[0] == '\0')
        return 0;
    gid = group_id(cfg->socket.group);
    if (gid < 0) {
        (void)snprintf(why, sizeof(why), "there is no group \"%.60s\" (socket.group)",
                       cfg->socket.group);
        return fail(-EINVAL, err, size, url, why);
    }
    if (chown(url + strlen("ipc://"), (uid_t)-1, (gid_t)gid) < 0) {
        (void)snprintf(why, sizeof(why), "cannot give it to group %.60s: %s",
                       cfg->socket.group, strerror(errno));
        return fail(-EACCES, err, size, url, why);
    }
    return 0;
}

/* The file that key names; NULL: why says what is wrong with it. */
static char *
read_file(const char *key, const char *path, char *why, size_t size)
{
    FILE *f = fopen(path, "re");
    char *text = NULL;
    size_t len = 0;

    if (f == NULL) {
        (void)snprintf(why, size, "cannot open %s %s: %s", key, path, strerror(errno));
        return NULL;
    }
    text = calloc(1, 1 << 20);
    if (text != NULL)
        len = fread(text, 1, (1 << 20) - 1, f);
    if (len == 0)
        (void)snprintf(why, size, "cannot read %s %s: %s", key, path,
                       ferror(f) ? strerror(errno) : "it is empty");
    (void)fclose(f);
    if (len > 0)
        return text;
    free(text);
    return NULL;
}

static int
own_certificate(nng_tls_config *tls, const struct config *cfg, char *why, size_t size)
{
    char *cert = read_file("tls.cert", cfg->tls.cert, why, size), *key = NULL;
    int rv = NNG_ENOENT;

    if (cert != NULL)
        key = read_file("tls.key", cfg->tls.key, why, size);
    if (key != NULL) {
        rv = nng_tls_config_own_cert(tls, cert, key, NULL);
        if (rv != 0)
            (void)snprintf(why, size,
                           "tls.cert %s and tls.key %s are no certificate and its key",
                           cfg->tls.cert, cfg->tls.key);
    }
    free(cert);
    free(key);
    return rv;
}

static int
trust(nng_tls_config *tls, const struct config *cfg, char *why, size_t size)
{
    char *ca = read_file("tls.ca", cfg->tls.ca, why, size);
    int rv = NNG_ENOENT;

    if (ca != NULL) {
        rv = nng_tls_config_ca_chain(tls, ca, NULL);
        if (rv == 0)
            rv = nng_tls_config_auth_mode(tls, NNG_TLS_AUTH_MODE_REQUIRED);
        if (rv != 0)
            (void)snprintf(why, size, "tls.ca %s holds no certificates", cfg->tls.ca);
    }
    free(ca);
    return rv;
}

static int
set_tls(nng_listener l, const struct config *cfg, char *why, size_t size)
{
    nng_tls_config *tls = NULL;
    int rv = nng_tls_config_alloc(&tls, NNG_TLS_MODE_SERVER);

    (void)snprintf(why, size, "no memory for TLS");
    if (rv == 0)
        rv = own_certificate(tls, cfg, why, size);
    if (rv == 0 && cfg->tls.ca[0] != '\0')
        rv = trust(tls, cfg, why, size);
    if (rv == 0)
        rv = nng_listener_set_ptr(l, NNG_OPT_TLS_CONFIG, tls);
    if (tls != NULL)
        nng_tls_config_free(tls);
    return rv;
}

static bool
starts_with(const char *s, const char *prefix)
{
    return strncmp(s, prefix, strlen(prefix)) == 0;
}

static int
listen_blocking(uint32_t socket, const struct config *cfg, const char *url, char *err,
                size_t size)
{
    nng_socket sock = {.id = socket};
    bool ipc = starts_with(url, "ipc://");
    char why[512];
    nng_listener l;
    int rv, r;

    if (ipc) {
        r = make_directory(url, err, size);
        if (r < 0)
            return r;
    }
    rv = nng_listener_create(&l, sock, url);
    if (rv == 0 && ipc)
        rv = nng_listener_set_int(l, NNG_OPT_IPC_PERMISSIONS, (int)cfg->socket.mode);
    if (rv == 0 && (starts_with(url, "tls+tcp://") || starts_with(url, "wss://"))) {
        if (set_tls(l, cfg, why, sizeof(why)) != 0)
            return fail(-EINVAL, err, size, url, why);
    }
    if (rv == 0)
        rv = nng_listener_start(l, 0);
    if (rv == NNG_EADDRINUSE)
        return fail(-EADDRINUSE, err, size, url, "another process listens there");
    if (rv != 0)
        return fail(errno_of(rv), err, size, url, nng_strerror(rv));
    return ipc ? set_group(cfg, url, err, size) : 0;
}

int
listen_on(uint32_t socket, const struct config *cfg, const char *url, char *err,
          size_t err_size)
{
    return GO_BLOCKING(listen_blocking(socket, cfg, url, err, err_size));
}

/* --- the end ------------------------------------------------------------------------------ */

#define CLOSE_TIME GO_SECOND

enum { SOCKETS = 2 }; /* that a daemon has: calls and events */

static struct closing {
    nng_socket socket;
    struct go_sem done;
} closings[SOCKETS]; /* for good: nng_close() may not return */
static uint32_t n_closings;

static void
close_it(struct closing *c)
{
    (void)GO_BLOCKING(nng_close(c->socket));
    go_sem_release(&c->done, 1);
}

bool
listen_close(uint32_t socket)
{
    struct closing *c;

    ENSURE(n_closings < SOCKETS);
    c = &closings[n_closings++];
    c->socket.id = socket;
    go_sem_init(&c->done, 0);
    if (go(close_it, c) > 0 &&
        go_sem_acquire_until(&c->done, 1, go_deadline(CLOSE_TIME)) == 0)
        return true;
    log_info("a socket does not close: it is left to the end of the process");
    return false;
}
