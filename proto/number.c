#include "proto/number.h"

#include <errno.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int
i128_parse(const char *s, size_t len, i128 *ret)
{
    const char *p = s, *end = s + len;
    bool negative = false;
    i128 v = 0;

    if (p < end && (*p == '-' || *p == '+'))
        negative = *p++ == '-';
    if (p == end)
        return -EINVAL;
    for (; p < end; p++) {
        if (*p < '0' || *p > '9')
            return -EINVAL;
        /* Downwards, because the negative side reaches one further. */
        if (__builtin_mul_overflow(v, 10, &v) || __builtin_sub_overflow(v, *p - '0', &v))
            return -ERANGE;
    }
    if (!negative && __builtin_sub_overflow((i128)0, v, &v))
        return -ERANGE;
    *ret = v;
    return 0;
}

size_t
i128_format(i128 v, char out[I128_TEXT_MAX])
{
    unsigned __int128 abs = v < 0 ? -(unsigned __int128)v : (unsigned __int128)v;
    char text[I128_TEXT_MAX];
    size_t n = sizeof(text);

    text[--n] = '\0';
    do {
        text[--n] = (char)('0' + (int)(abs % 10));
        abs /= 10;
    } while (abs != 0);
    if (v < 0)
        text[--n] = '-';
    memcpy(out, text + n, sizeof(text) - n);
    return sizeof(text) - n - 1;
}

bool
i128_fits_int64(i128 v)
{
    return v >= INT64_MIN && v <= INT64_MAX;
}

size_t
double_format(double v, char out[DOUBLE_TEXT_MAX])
{
    char *point;
    size_t n;

    if (!isfinite(v)) {
        const char *s = isnan(v) ? "NaN" : v > 0 ? "Infinity" : "-Infinity";

        return (size_t)snprintf(out, DOUBLE_TEXT_MAX, "%s", s);
    }
    for (int digits = 15; digits <= 17; digits++) {
        (void)snprintf(out, DOUBLE_TEXT_MAX, "%.*g", digits, v);
        if (digits == 17 || strtod(out, NULL) == v)
            break;
    }
    /* printf and strtod agree on the locale's point; JSON knows one only. */
    point = strpbrk(out, ",.");
    if (point != NULL)
        *point = '.';
    n = strlen(out);
    if (strpbrk(out, ".e") == NULL) {
        memcpy(out + n, ".0", 3);
        n += 2;
    }
    return n;
}
