#define _GNU_SOURCE

#include "jobs/sum_text.h"

#include <endian.h>
#include <errno.h>
#include <locale.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "proto/number.h"
#include "runtime/base/check.h"

#define LOW_NIBBLES UINT64_C(0x0f0f0f0f0f0f0f0f)
#define ZEROS       UINT64_C(0x3030303030303030)

/* strtod, whatever locale the program set. */
static locale_t c_locale;
static pthread_once_t c_locale_once = PTHREAD_ONCE_INIT;

static void
make_locale(void)
{
    c_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    ENSURE(c_locale != (locale_t)0);
}

/* Eight characters, the first in the lowest byte, as differences from '0'. */
static inline uint64_t
load8(const char *s)
{
    uint64_t w;

    memcpy(&w, s, sizeof(w));
    return le64toh(w) ^ ZEROS;
}

/* How many of the eight, from the first on, are digits. */
static inline unsigned
digits8(uint64_t w)
{
    const uint64_t tops = UINT64_C(0x8080808080808080);
    /* Bytes of 10 to 15 gain a high bit by the 6; bytes of 16 and more have one. No byte
     * carries into the next, for its top bit is taken out first. */
    uint64_t other =
        (w | ((w & ~tops) + UINT64_C(0x0606060606060606))) & UINT64_C(0xf0f0f0f0f0f0f0f0);

    return other == 0 ? 8 : (unsigned)__builtin_ctzll(other) / 8;
}

/* The number that eight digits make: pairs, then fours, then all. */
static inline uint64_t
value8(uint64_t w)
{
    w = (w & LOW_NIBBLES) * 2561 >> 8;
    w = (w & UINT64_C(0x00ff00ff00ff00ff)) * 6553601 >> 16;
    return (w & UINT64_C(0x0000ffff0000ffff)) * UINT64_C(42949672960001) >> 32;
}

static const uint32_t power[] = {1,      10,      100,      1000,     10000,
                                 100000, 1000000, 10000000, 100000000};

/* The digits at s, which ends before end: how many there are (up to 16) and their value. */
static inline unsigned
digits16(const char *s, const char *end, uint64_t *ret)
{
    uint64_t w = load8(s), v;
    unsigned n = digits8(w), m;

    if (s + n > end)
        n = (unsigned)(end - s);
    if (n == 0)
        return 0;
    v = value8(w << (8 - n) * 8);
    if (n == 8 && s + 8 < end) {
        w = load8(s + 8);
        m = digits8(w);
        if (s + 8 + m > end)
            m = (unsigned)(end - s - 8);
        if (m > 0)
            v = v * power[m] + value8(w << (8 - m) * 8);
        n += m;
    }
    *ret = v;
    return n;
}

/* A plain decimal whose digits and power of ten are both exact doubles has its nearest
 * double by one division (Clinger 1990). False: let strtod decide. */
static bool
short_decimal(const char *s, size_t len, double *ret)
{
    static const double tens[] = {1e0, 1e1, 1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                  1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15};
    const char *end = s + len;
    bool negative = *s == '-';
    uint64_t whole = 0, part = 0, scale = 1;
    unsigned n, m = 0;
    double v;

    if (*s == '-' || *s == '+')
        s++;
    n = digits16(s, end, &whole);
    s += n;
    if (s < end && *s == '.') {
        s++;
        m = digits16(s, end, &part);
        s += m;
    }
    if (s != end || n + m == 0 || n + m > 15)
        return false;
    for (unsigned i = 0; i < m; i++)
        scale *= 10;
    v = (double)(whole * scale + part) / tens[m];
    *ret = negative ? -v : v;
    return true;
}

static bool
only(const char *s, size_t len, const char *set)
{
    for (size_t i = 0; i < len; i++)
        if (s[i] == '\0' || strchr(set, s[i]) == NULL)
            return false;
    return true;
}

static int
add_real(struct exact *x, const char *s, size_t len)
{
    char text[NUMBER_MAX + 1], *end;
    double v;

    if (short_decimal(s, len, &v)) {
        exact_add_double(x, v);
        return 0;
    }
    /* Not what else strtod takes: hexadecimal, nan(...), leading space. */
    if (len > NUMBER_MAX ||
        (!only(s, len, "0123456789+-.eE") && !only(s, len, "+-infatyINFATY")))
        return -EINVAL;
    memcpy(text, s, len);
    text[len] = '\0';
    (void)pthread_once(&c_locale_once, make_locale);
    v = strtod_l(text, &end, c_locale);
    if (end != text + len)
        return -EINVAL;
    exact_add_double(x, v);
    return 0;
}

int
number_add(struct exact *x, const char *s, size_t len)
{
    size_t digits = len - (len > 0 && (*s == '-' || *s == '+'));
    uint64_t v;
    i128 big;
    int r;

    if (len == 0 || len > NUMBER_MAX)
        return -EINVAL;
    if (digits > 0 && digits16(s + len - digits, s + len, &v) == digits) {
        exact_add_int(x, *s == '-' ? -(i128)v : (i128)v);
        return 0;
    }
    if (digits == 0 || !only(s + len - digits, digits, "0123456789"))
        return add_real(x, s, len);
    r = i128_parse(s, len, &big);
    if (r == 0)
        exact_add_int(x, big);
    return r;
}

int
numbers_add(struct exact *x, const char *s, size_t len, size_t stop, bool more,
            size_t *used)
{
    const char *p = s, *end = s + len, *last = s + stop;
    uint64_t count = 0;
    i128 sum = 0; /* of 64-bit integers: cannot overflow within one call */
    int r = 0;

    for (;;) {
        const char *q;
        uint64_t v;
        bool minus;

        while (p < end && number_space(*p))
            p++;
        if (p >= last || p == end)
            break;
        minus = *p == '-';
        q = p + (minus || *p == '+');
        if (q < end) {
            unsigned n = digits16(q, end, &v);

            if (n > 0 && q + n < end && number_space(q[n])) {
                sum += minus ? -(int64_t)v : (int64_t)v;
                count++;
                p = q + n + 1;
                continue;
            }
        }
        while (q < end && !number_space(*q))
            q++;
        if (q == end && more && q - p <= NUMBER_MAX)
            break;
        r = number_add(x, p, (size_t)(q - p));
        if (r < 0)
            break;
        p = q;
    }
    exact_add_sum(x, sum, count);
    *used = (size_t)(p - s);
    return r;
}
