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

#include "runtime/sched/blocking.h"

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

static char *
read_file(const char *path)
{
    FILE *f = fopen(path, "re");
    char *text = NULL;
    size_t len;

    if (f == NULL)
        return NULL;
    text = calloc(1, 1 << 20);
    len = text != NULL ? fread(text, 1, (1 << 20) - 1, f) : 0;
    (void)fclose(f);
    if (len > 0)
        return text;
    free(text);
    return NULL;
}

static int
set_tls(nng_listener l, const struct config *cfg)
{
    char *cert = read_file(cfg->tls.cert), *key = read_file(cfg->tls.key), *ca = NULL;
    nng_tls_config *tls = NULL;
    int rv = cert == NULL || key == NULL ? NNG_ENOENT : 0;

    if (rv == 0)
        rv = nng_tls_config_alloc(&tls, NNG_TLS_MODE_SERVER);
    if (rv == 0)
        rv = nng_tls_config_own_cert(tls, cert, key, NULL);
    if (rv == 0 && cfg->tls.ca[0] != '\0') {
        ca = read_file(cfg->tls.ca);
        rv = ca == NULL ? NNG_ENOENT : nng_tls_config_ca_chain(tls, ca, NULL);
        if (rv == 0)
            rv = nng_tls_config_auth_mode(tls, NNG_TLS_AUTH_MODE_REQUIRED);
    }
    if (rv == 0)
        rv = nng_listener_set_ptr(l, NNG_OPT_TLS_CONFIG, tls);
    if (tls != NULL)
        nng_tls_config_free(tls);
    free(cert);
    free(key);
    free(ca);
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
        rv = set_tls(l, cfg);
        if (rv != 0)
            return fail(-EINVAL, err, size, url,
                        "tls.cert, tls.key or tls.ca cannot be read or used");
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
