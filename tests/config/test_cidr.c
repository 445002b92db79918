/* Address ranges, and which addresses a fetch may reach. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

#include <cmocka.h>

#include "config/cidr.h"

static struct cidr
range(const char *s)
{
    struct cidr c;

    assert_int_equal(cidr_parse(s, strlen(s), &c), 0);
    return c;
}

static struct sockaddr_storage
address(const char *s)
{
    struct sockaddr_storage ss = {.ss_family = AF_INET};
    struct sockaddr_in *in = (struct sockaddr_in *)&ss;
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&ss;

    if (inet_pton(AF_INET, s, &in->sin_addr) == 1)
        return ss;
    ss.ss_family = AF_INET6;
    assert_int_equal(inet_pton(AF_INET6, s, &in6->sin6_addr), 1);
    return ss;
}

static bool
inside(const char *r, const char *a)
{
    struct sockaddr_storage ss = address(a);
    struct cidr c = range(r);
    uint8_t addr[16];

    assert_true(cidr_address((struct sockaddr *)&ss, addr));
    return cidr_contains(&c, addr);
}

static void
ranges_are_written_as_they_are_read(void **state)
{
    static const char *const same[] = {"10.0.0.0/8", "0.0.0.0/0", "192.0.2.1/32",
                                       "::/0",       "::1/128",   "2001:db8::/32",
                                       "fe80::/10"};
    static const char *const bad[] = {
        "",  "10.0.0.0/",  "10.0.0.0/33", "10.0.0/8",    "::1/129", "10.0.0.0/-1",
        "x", "1.2.3.4/8x", "10.0.0.0/8 ", "1.2.3.4/0032"};
    char text[CIDR_TEXT_MAX];
    struct cidr c;

    (void)state;
    for (size_t i = 0; i < sizeof(same) / sizeof(same[0]); i++) {
        c = range(same[i]);
        cidr_format(&c, text);
        assert_string_equal(text, same[i]);
    }
    c = range("192.0.2.7");
    assert_int_equal(c.bits, 128);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(cidr_parse(bad[i], strlen(bad[i]), &c), -EINVAL);
    assert_int_equal(cidr_parse("10.0.0.1/8", 10, &c), -EDOM);
    assert_int_equal(cidr_parse("fe80::1/64", 10, &c), -EDOM);
    assert_int_equal(cidr_parse("1.2.3.4\0.5", 10, &c), -EINVAL);
}

static void
membership_at_the_edges(void **state)
{
    (void)state;
    assert_true(inside("10.0.0.0/8", "10.0.0.0"));
    assert_true(inside("10.0.0.0/8", "10.255.255.255"));
    assert_false(inside("10.0.0.0/8", "11.0.0.0"));
    assert_true(inside("172.16.0.0/12", "172.31.255.255"));
    assert_false(inside("172.16.0.0/12", "172.32.0.0"));
    assert_true(inside("192.0.2.128/25", "192.0.2.128"));
    assert_false(inside("192.0.2.128/25", "192.0.2.127"));
    assert_true(inside("10.0.0.0/8", "::ffff:10.1.2.3"));
    assert_true(inside("fe80::/10", "febf::1"));
    assert_false(inside("fe80::/10", "fec0::1"));
    assert_true(inside("0.0.0.0/0", "255.255.255.255"));
    assert_false(inside("::/0", "1.2.3.4"));
    assert_false(inside("0.0.0.0/0", "2001:db8::1"));
    assert_true(inside("::/0", "2001:db8::1"));
}

static void
assert_permitted(const struct cidr_list *allow, const struct cidr_list *deny,
                 const char *a, const char *why)
{
    struct sockaddr_storage ss = address(a);
    char got[160] = "";

    assert_int_equal(cidr_permits(allow, deny, (struct sockaddr *)&ss, got, sizeof(got)),
                     why == NULL);
    assert_string_equal(got, why == NULL ? "" : why);
}

static void
only_public_addresses_without_rules(void **state)
{
    static const char *const private[] = {
        "10.1.2.3",
        "127.0.0.1",
        "169.254.169.254",
        "192.168.1.1",
        "172.20.0.1",
        "0.0.0.0",
        "255.255.255.255",
        "100.64.0.1",
        "::1",
        "::",
        "fd00::1",
        "fe80::1",
        "ff02::1",
        "::ffff:127.0.0.1",
        "2002:7f00:1::",
        "224.0.0.1",
        "64:ff9b::10.0.0.1",
    };
    static const char *const public[] = {"1.1.1.1", "8.8.8.8", "2606:4700::1111",
                                         "64:ff9b::8.8.8.8"};
    struct cidr_list none = {.n = 0};

    (void)state;
    for (size_t i = 0; i < sizeof(private) / sizeof(private[0]); i++) {
        struct sockaddr_storage ss = address(private[i]);
        char why[160];

        if (cidr_permits(&none, &none, (struct sockaddr *)&ss, why, sizeof(why)))
            fail_msg("%s is permitted", private[i]);
        assert_non_null(strstr(why, "which fetch.allow does not list"));
    }
    for (size_t i = 0; i < sizeof(public) / sizeof(public[0]); i++)
        assert_permitted(&none, &none, public[i], NULL);
}

static void
refusal_names_its_rule(void **state)
{
    struct cidr allowed[] = {range("127.0.0.0/8"), range("10.0.0.0/8")};
    struct cidr denied[] = {range("10.9.0.0/16"), range("1.1.1.1")};
    struct cidr_list allow = {.items = allowed, .n = 2}, deny = {.items = denied, .n = 2};
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    char why[160];

    (void)state;
    assert_permitted(&allow, &deny, "127.0.0.1", NULL);
    assert_permitted(&allow, &deny, "::ffff:127.0.0.1", NULL);
    assert_permitted(&allow, &deny, "10.1.1.1", NULL);
    assert_permitted(&allow, &deny, "8.8.8.8", NULL);
    assert_permitted(&allow, &deny, "10.9.1.1",
                     "10.9.1.1 is in 10.9.0.0/16, which fetch.deny lists");
    assert_permitted(&allow, &deny, "1.1.1.1",
                     "1.1.1.1 is in 1.1.1.1/32, which fetch.deny lists");
    assert_permitted(
        &allow, &deny, "192.168.0.1",
        "192.168.0.1 is in 192.168.0.0/16 (private), which fetch.allow does not "
        "list");
    assert_false(cidr_permits(&allow, &deny, (struct sockaddr *)&un, why, sizeof(why)));
    assert_string_equal(why, "not an Internet address");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ranges_are_written_as_they_are_read),
        cmocka_unit_test(membership_at_the_edges),
        cmocka_unit_test(only_public_addresses_without_rules),
        cmocka_unit_test(refusal_names_its_rule),
    };

    return cmocka_run_group_tests_name("cidr", tests, NULL, NULL);
}
