#include "daemon/access.h"

#include <errno.h>
#include <openssl/sha.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/call.h"

#include "runtime/sched/blocking.h"

/* Takes the same time wherever the two differ. */
static bool
same_hash(const uint8_t a[32], const uint8_t b[32])
{
    volatile uint8_t diff = 0;

    for (int i = 0; i < 32; i++)
        diff = (uint8_t)(diff | (a[i] ^ b[i]));
    return diff == 0;
}

static int
token_access(const struct config *cfg, const char *token)
{
    uint8_t hash[32];
    int found = -EACCES;

    (void)SHA256((const unsigned char *)token, strlen(token), hash);
    for (size_t i = 0; i < cfg->tokens.n; i++)
        if (same_hash(hash, cfg->tokens.items[i].hash))
            found = cfg->tokens.items[i].access;
    return found;
}

/* user is a number or a name. */
static bool
is_user(const char *user, uid_t uid)
{
    struct passwd pw, *found = NULL;
    char buf[1024], *end;
    unsigned long n = strtoul(user, &end, 10);

    if (end != user && *end == '\0')
        return n == uid;
    return GO_BLOCKING(getpwnam_r(user, &pw, buf, sizeof(buf), &found)) == 0 &&
           found != NULL && pw.pw_uid == uid;
}

static int
user_access(const struct config *cfg, uid_t uid)
{
    if (uid == 0 || uid == geteuid())
        return CFG_ACCESS_ADMIN;
    if (cfg->socket.users.n == 0)
        return CFG_ACCESS_SUBMIT;
    for (size_t i = 0; i < cfg->socket.users.n; i++)
        if (is_user(cfg->socket.users.items[i], uid))
            return CFG_ACCESS_SUBMIT;
    return -EACCES;
}

int
access_check(const struct config *cfg, const struct call_peer *peer, const char *token)
{
    int by_user = peer->ipc ? user_access(cfg, peer->uid) : -EACCES;
    int by_token = token != NULL ? token_access(cfg, token) : -EACCES;

    return by_user > by_token ? by_user : by_token;
}
