#define _GNU_SOURCE
#include "jobs/fetch_policy.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "config/config.h"
#include "jobs/env.h"

static bool
permits(struct fetch *f, const struct sockaddr *sa)
{
    const struct config *cfg = job_env_config(f->env);

    return cidr_permits(&cfg->fetch.allow, &cfg->fetch.deny, sa, f->denied,
                        sizeof(f->denied));
}

/* The driver's, under libcurl: never parks. */
static curl_socket_t
on_open(void *arg, curlsocktype purpose, struct curl_sockaddr *addr)
{
    struct fetch *f = arg;
    int fd;

    (void)purpose;
    if (!permits(f, &addr->addr))
        return CURL_SOCKET_BAD;
    fd = socket(addr->family, addr->socktype | SOCK_CLOEXEC | SOCK_NONBLOCK,
                addr->protocol);
    if (fd < 0)
        return CURL_SOCKET_BAD;
    if (fetch_socket_opened(f->engine, fd) < 0) {
        (void)close(fd);
        return CURL_SOCKET_BAD;
    }
    return fd;
}

static bool
permits_text(struct fetch *f, const char *ip)
{
    struct sockaddr_in in = {.sin_family = AF_INET};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};

    if (inet_pton(AF_INET, ip, &in.sin_addr) == 1)
        return permits(f, (const struct sockaddr *)&in);
    if (inet_pton(AF_INET6, ip, &in6.sin6_addr) == 1)
        return permits(f, (const struct sockaddr *)&in6);
    (void)snprintf(f->denied, sizeof(f->denied), "the address %.60s is not understood",
                   ip);
    return false;
}

static int
on_request(void *arg, char *remote, char *local, int remote_port, int local_port)
{
    struct fetch *f = arg;
    uint64_t id = job_env_id(f->env);

    (void)local;
    (void)local_port;
    if (!fetch_allowed(f->engine, id, remote)) {
        if (!permits_text(f, remote))
            return CURL_PREREQFUNC_ABORT;
        fetch_allow(f->engine, id, remote);
    }
    (void)snprintf(f->address, sizeof(f->address),
                   strchr(remote, ':') != NULL ? "[%s]:%d" : "%s:%d", remote,
                   remote_port);
    return CURL_PREREQFUNC_OK;
}

void
fetch_policy_set(struct fetch *f)
{
    CURL *c = f->easy;

    (void)curl_easy_setopt(c, CURLOPT_OPENSOCKETFUNCTION, on_open);
    (void)curl_easy_setopt(c, CURLOPT_OPENSOCKETDATA, f);
    (void)curl_easy_setopt(c, CURLOPT_CLOSESOCKETFUNCTION, fetch_socket_close);
    (void)curl_easy_setopt(c, CURLOPT_CLOSESOCKETDATA, f->engine);
    (void)curl_easy_setopt(c, CURLOPT_PREREQFUNCTION, on_request);
    (void)curl_easy_setopt(c, CURLOPT_PREREQDATA, f);
    /* A proxy would be asked to connect where we may not. */
    (void)curl_easy_setopt(c, CURLOPT_PROXY, "");
}
