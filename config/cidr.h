/*
 * Ranges of network addresses, and whether a fetch may connect to one.
 *
 * IPv4 is kept as IPv4-mapped IPv6, so that ::ffff:10.0.0.1 is no way around a rule for
 * 10.0.0.0/8.
 */
#ifndef GOJOBD_CONFIG_CIDR_H
#define GOJOBD_CONFIG_CIDR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

struct cidr {
    uint8_t addr[16];
    uint8_t bits; /* of the 128 */
};

struct cidr_list {
    struct cidr *items;
    size_t n;
};

enum { CIDR_TEXT_MAX = 64 };

/* "10.0.0.0/8", "192.0.2.1", "fe80::/10", "::1". 0, -EINVAL, or -EDOM: bits are set behind
 * the prefix. */
int cidr_parse(const char *s, size_t len, struct cidr *ret);
void cidr_format(const struct cidr *c, char out[CIDR_TEXT_MAX]);
bool cidr_contains(const struct cidr *c, const uint8_t addr[16]);

/* AF_INET or AF_INET6; false for anything else. */
bool cidr_address(const struct sockaddr *sa, uint8_t ret[16]);

/* The rule for outgoing connections: what deny lists is refused; else what allow lists is
 * allowed; else addresses that are not public (private, loopback, link-local, multicast,
 * reserved) are refused and all others allowed. An IPv4 address inside a NAT64 address
 * counts. On refusal why names the rule. */
bool cidr_permits(const struct cidr_list *allow, const struct cidr_list *deny,
                  const struct sockaddr *sa, char *why, size_t why_size);

#endif
