#include "config/cidr.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
static const uint8_t nat64[12] = {0x00, 0x64, 0xff, 0x9b};

/* Everything IANA's special-purpose registries do not call globally reachable. */
static const struct {
    const char *range, *what;
} special[] = {
    {"0.0.0.0/8", "this network"},
    {"10.0.0.0/8", "private"},
    {"100.64.0.0/10", "shared by a provider"},
    {"127.0.0.0/8", "loopback"},
    {"169.254.0.0/16", "link-local"},
    {"172.16.0.0/12", "private"},
    {"192.0.0.0/24", "reserved"},
    {"192.0.2.0/24", "documentation"},
    {"192.88.99.0/24", "6to4 relay"},
    {"192.168.0.0/16", "private"},
    {"198.18.0.0/15", "benchmarks"},
    {"198.51.100.0/24", "documentation"},
    {"203.0.113.0/24", "documentation"},
    {"224.0.0.0/4", "multicast"},
    {"240.0.0.0/4", "reserved"},
    {"::/128", "unspecified"},
    {"::1/128", "loopback"},
    {"64:ff9b:1::/48", "local NAT64"},
    {"100::/64", "discard"},
    {"2001::/23", "protocol assignments"},
    {"2001:db8::/32", "documentation"},
    {"2002::/16", "6to4"},
    {"3fff::/20", "documentation"},
    {"5f00::/16", "segment routing"},
    {"fc00::/7", "unique local"},
    {"fe80::/10", "link-local"},
    {"fec0::/10", "site-local"},
    {"ff00::/8", "multicast"},
};

static void
map_ipv4(const void *ipv4, uint8_t ret[16])
{
    memcpy(ret, mapped, sizeof(mapped));
    memcpy(ret + sizeof(mapped), ipv4, 4);
}

static bool
is_mapped(const uint8_t addr[16])
{
    return memcmp(addr, mapped, sizeof(mapped)) == 0;
}

/* A prefix length of 1 to 3 digits. */
static int
parse_bits(const char *s, size_t len, unsigned max, unsigned *ret)
{
    unsigned v = 0;

    if (len < 1 || len > 3)
        return -EINVAL;
    for (size_t i = 0; i < len; i++) {
        if (s[i] < '0' || s[i] > '9')
            return -EINVAL;
        v = v * 10 + (unsigned)(s[i] - '0');
    }
    if (v > max)
        return -EINVAL;
    *ret = v;
    return 0;
}

int
cidr_parse(const char *s, size_t len, struct cidr *ret)
{
    const char *slash = memchr(s, '/', len);
    size_t n = slash == NULL ? len : (size_t)(slash - s);
    char text[INET6_ADDRSTRLEN];
    struct cidr c = {.bits = 128};
    uint8_t ipv4[4];
    unsigned bits, width;

    if (n >= sizeof(text) || memchr(s, '\0', n) != NULL)
        return -EINVAL;
    memcpy(text, s, n);
    text[n] = '\0';
    if (inet_pton(AF_INET, text, ipv4) == 1) {
        map_ipv4(ipv4, c.addr);
        width = 32;
    } else if (inet_pton(AF_INET6, text, c.addr) == 1) {
        width = 128;
    } else {
        return -EINVAL;
    }
    if (slash != NULL) {
        if (parse_bits(slash + 1, len - n - 1, width, &bits) < 0)
            return -EINVAL;
        c.bits = (uint8_t)(128 - width + bits);
    }
    for (unsigned i = c.bits; i < 128; i++)
        if (c.addr[i / 8] & 0x80 >> i % 8)
            return -EDOM;
    *ret = c;
    return 0;
}

void
cidr_format(const struct cidr *c, char out[CIDR_TEXT_MAX])
{
    char text[INET6_ADDRSTRLEN] = "?";
    bool v4 = is_mapped(c->addr) && c->bits >= 96;

    (void)inet_ntop(v4 ? AF_INET : AF_INET6, c->addr + (v4 ? 12 : 0), text, sizeof(text));
    (void)snprintf(out, CIDR_TEXT_MAX, "%s/%d", text, v4 ? c->bits - 96 : c->bits);
}

bool
cidr_contains(const struct cidr *c, const uint8_t addr[16])
{
    size_t whole = c->bits / 8U, rest = c->bits % 8U;

    /* IPv4 is a family of its own: no IPv6 range takes it in by accident, "::/0" say. */
    if (c->bits < 96 && is_mapped(addr))
        return false;
    return memcmp(c->addr, addr, whole) == 0 &&
           (rest == 0 || (c->addr[whole] ^ addr[whole]) >> (8 - rest) == 0);
}

bool
cidr_address(const struct sockaddr *sa, uint8_t ret[16])
{
    if (sa->sa_family == AF_INET) {
        struct sockaddr_in in;

        memcpy(&in, sa, sizeof(in));
        map_ipv4(&in.sin_addr, ret);
        return true;
    }
    if (sa->sa_family == AF_INET6) {
        struct sockaddr_in6 in6;

        memcpy(&in6, sa, sizeof(in6));
        memcpy(ret, &in6.sin6_addr, 16);
        return true;
    }
    return false;
}

static const struct cidr *
find(const struct cidr_list *list, const uint8_t addr[16])
{
    for (size_t i = 0; i < list->n; i++)
        if (cidr_contains(&list->items[i], addr))
            return &list->items[i];
    return NULL;
}

/* Refuses addr by the list of special ranges. */
static bool
is_special(const uint8_t addr[16], const char *text, char *why, size_t why_size)
{
    for (size_t i = 0; i < sizeof(special) / sizeof(special[0]); i++) {
        struct cidr c;

        if (cidr_parse(special[i].range, strlen(special[i].range), &c) < 0 ||
            !cidr_contains(&c, addr))
            continue;
        (void)snprintf(why, why_size, "%s is in %s (%s), which fetch.allow does not list",
                       text, special[i].range, special[i].what);
        return true;
    }
    return false;
}

bool
cidr_permits(const struct cidr_list *allow, const struct cidr_list *deny,
             const struct sockaddr *sa, char *why, size_t why_size)
{
    uint8_t addr[16], inner[16];
    char text[CIDR_TEXT_MAX] = "?", range[CIDR_TEXT_MAX];
    const struct cidr *c;

    if (!cidr_address(sa, addr)) {
        (void)snprintf(why, why_size, "not an Internet address");
        return false;
    }
    if (is_mapped(addr))
        (void)inet_ntop(AF_INET, addr + 12, text, sizeof(text));
    else
        (void)inet_ntop(AF_INET6, addr, text, sizeof(text));
    /* What NAT64 leads to is an IPv4 address: that is the one to judge, too. */
    memcpy(inner, addr, sizeof(inner));
    if (memcmp(addr, nat64, sizeof(nat64)) == 0)
        map_ipv4(addr + 12, inner);

    c = find(deny, addr);
    if (c == NULL)
        c = find(deny, inner);
    if (c != NULL) {
        cidr_format(c, range);
        (void)snprintf(why, why_size, "%s is in %s, which fetch.deny lists", text, range);
        return false;
    }
    if (find(allow, addr) != NULL || find(allow, inner) != NULL)
        return true;
    return !is_special(addr, text, why, why_size) &&
           !is_special(inner, text, why, why_size);
}
