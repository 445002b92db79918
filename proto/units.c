#include "proto/units.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define NS_PER_S   INT64_C(1000000000)
#define S_PER_DAY  INT64_C(86400)
#define FRAC_UNITS INT64_C(1000000000000000000) /* 18 digits behind the point are read */

struct unit {
    const char *name;
    uint64_t factor;
};

static const struct unit duration_units[] = {
    {"ns", 1},
    {"us", 1000},
    {"\302\265s", 1000}, /* micro sign */
    {"\316\274s", 1000}, /* Greek mu */
    {"ms", 1000000},
    {"s", UINT64_C(1000000000)},
    {"m", UINT64_C(60000000000)},
    {"min", UINT64_C(60000000000)},
    {"h", UINT64_C(3600000000000)},
    {"d", UINT64_C(86400000000000)},
    {"w", UINT64_C(604800000000000)},
    {NULL, 0},
};

static const struct unit size_units[] = {
    {"B", 1},
    {"KiB", UINT64_C(1) << 10},
    {"MiB", UINT64_C(1) << 20},
    {"GiB", UINT64_C(1) << 30},
    {"TiB", UINT64_C(1) << 40},
    {"PiB", UINT64_C(1) << 50},
    {"K", UINT64_C(1) << 10},
    {"M", UINT64_C(1) << 20},
    {"G", UINT64_C(1) << 30},
    {"T", UINT64_C(1) << 40},
    {"kB", 1000},
    {"KB", 1000},
    {"MB", 1000000},
    {"GB", 1000000000},
    {"TB", UINT64_C(1000000000000)},
    {NULL, 0},
};

static bool
is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* A decimal: whole part, and the part behind the point in FRAC_UNITS. */
static int
scan_decimal(const char **p, const char *end, uint64_t *whole, uint64_t *frac)
{
    uint64_t scale = FRAC_UNITS / 10;
    bool any = false;

    *whole = 0;
    *frac = 0;
    for (; *p < end && is_digit(**p); (*p)++) {
        if (__builtin_mul_overflow(*whole, 10U, whole) ||
            __builtin_add_overflow(*whole, (uint64_t)(**p - '0'), whole))
            return -ERANGE;
        any = true;
    }
    if (*p < end && **p == '.') {
        (*p)++;
        for (; *p < end && is_digit(**p); (*p)++) {
            *frac += (uint64_t)(**p - '0') * scale;
            scale /= 10;
            any = true;
        }
    }
    return any ? 0 : -EINVAL;
}

/* The longest unit that the text goes on with up to a digit or the end. */
static const struct unit *
scan_unit(const char **p, const char *end, const struct unit *units)
{
    const char *q = *p;
    size_t n;

    while (q < end && !is_digit(*q) && *q != '.')
        q++;
    n = (size_t)(q - *p);
    for (const struct unit *u = units; u->name != NULL; u++) {
        if (strlen(u->name) == n && memcmp(u->name, *p, n) == 0) {
            *p = q;
            return u;
        }
    }
    return NULL;
}

/* whole.frac units, rounded down. */
static int
scale_decimal(uint64_t whole, uint64_t frac, uint64_t factor, uint64_t *ret)
{
    uint64_t v;

    if (__builtin_mul_overflow(whole, factor, &v) ||
        __builtin_add_overflow(
            v, (uint64_t)((unsigned __int128)frac * factor / FRAC_UNITS), &v))
        return -ERANGE;
    *ret = v;
    return 0;
}

int
units_parse_duration(const char *s, size_t len, int64_t *ret_ns)
{
    const char *p = s, *end = s + len;
    uint64_t total = 0;
    bool negative = false;

    if (p < end && (*p == '-' || *p == '+'))
        negative = *p++ == '-';
    if (p == end)
        return -EINVAL;
    if (end - p == 1 && *p == '0') {
        *ret_ns = 0;
        return 0;
    }
    while (p < end) {
        uint64_t whole, frac, part;
        const struct unit *u;
        int r = scan_decimal(&p, end, &whole, &frac);

        if (r < 0)
            return r;
        u = scan_unit(&p, end, duration_units);
        if (u == NULL)
            return -EINVAL;
        r = scale_decimal(whole, frac, u->factor, &part);
        if (r < 0)
            return r;
        if (__builtin_add_overflow(total, part, &total))
            return -ERANGE;
    }
    if (total > (uint64_t)INT64_MAX + (negative ? 1 : 0))
        return -ERANGE;
    *ret_ns = negative ? (int64_t)(0 - total) : (int64_t)total;
    return 0;
}

int
units_parse_size(const char *s, size_t len, uint64_t *ret_bytes)
{
    const char *p = s, *end = s + len;
    const struct unit *u = size_units;
    uint64_t whole, frac;
    int r;

    r = scan_decimal(&p, end, &whole, &frac);
    if (r < 0)
        return r;
    while (p < end && *p == ' ')
        p++;
    if (p < end)
        u = scan_unit(&p, end, size_units);
    if (u == NULL || p != end || (u->factor == 1 && frac != 0))
        return -EINVAL;
    return scale_decimal(whole, frac, u->factor, ret_bytes);
}

/* Howard Hinnant's days_from_civil: years begin in March, eras have 400 of them. */
int64_t
units_days_from_date(int64_t year, int month, int day)
{
    int64_t y = month <= 2 ? year - 1 : year;
    int64_t era = (y >= 0 ? y : y - 399) / 400;
    int64_t yoe = y - era * 400;
    int64_t doy = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
    int64_t doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;

    return era * 146097 + doe - 719468;
}

void
units_date_from_days(int64_t days, int64_t *year, int *month, int *day)
{
    int64_t z = days + 719468;
    int64_t era = (z >= 0 ? z : z - 146096) / 146097;
    int64_t doe = z - era * 146097;
    int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    int64_t mp = (5 * doy + 2) / 153;

    *day = (int)(doy - (153 * mp + 2) / 5 + 1);
    *month = (int)(mp < 10 ? mp + 3 : mp - 9);
    *year = yoe + era * 400 + (*month <= 2 ? 1 : 0);
}

static int
days_in_month(int64_t year, int month)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};

    if (month == 2 && year % 4 == 0 && (year % 100 != 0 || year % 400 == 0))
        return 29;
    return days[month - 1];
}

/* n digits, then the character that must follow (0: none). */
static int
scan_field(const char **p, const char *end, int n, char then, int *ret)
{
    int v = 0;

    for (int i = 0; i < n; i++) {
        if (*p == end || !is_digit(**p))
            return -EINVAL;
        v = v * 10 + (*(*p)++ - '0');
    }
    if (then != '\0') {
        if (*p == end || **p != then)
            return -EINVAL;
        (*p)++;
    }
    *ret = v;
    return 0;
}

/* "Z" or "+hh:mm", as seconds east. */
static int
scan_zone(const char **p, const char *end, int *ret_s)
{
    int h, m, sign;

    if (*p == end)
        return -EINVAL;
    if (**p == 'Z' || **p == 'z') {
        (*p)++;
        *ret_s = 0;
        return 0;
    }
    if (**p != '+' && **p != '-')
        return -EINVAL;
    sign = *(*p)++ == '-' ? -1 : 1;
    if (scan_field(p, end, 2, ':', &h) < 0 || scan_field(p, end, 2, '\0', &m) < 0 ||
        h > 23 || m > 59)
        return -EINVAL;
    *ret_s = sign * (h * 3600 + m * 60);
    return 0;
}

int
units_parse_time(const char *s, size_t len, int64_t *ret_ns)
{
    const char *p = s, *end = s + len;
    int year, month, day, hour, minute, second, zone;
    uint64_t whole, frac = 0;
    int64_t sec, ns;

    if (scan_field(&p, end, 4, '-', &year) < 0 ||
        scan_field(&p, end, 2, '-', &month) < 0 || scan_field(&p, end, 2, '\0', &day) < 0)
        return -EINVAL;
    if (p == end || (*p != 'T' && *p != 't' && *p != ' '))
        return -EINVAL;
    p++;
    if (scan_field(&p, end, 2, ':', &hour) < 0 ||
        scan_field(&p, end, 2, ':', &minute) < 0 ||
        scan_field(&p, end, 2, '\0', &second) < 0)
        return -EINVAL;
    if (p + 1 < end && *p == '.') {
        if (!is_digit(p[1]) || scan_decimal(&p, end, &whole, &frac) < 0)
            return -EINVAL;
    }
    if (scan_zone(&p, end, &zone) < 0 || p != end)
        return -EINVAL;
    /* A leap second counts as the second after it, as POSIX time has it. */
    if (month < 1 || month > 12 || day < 1 || day > days_in_month(year, month) ||
        hour > 23 || minute > 59 || second > 60)
        return -ERANGE;

    sec = units_days_from_date(year, month, day) * S_PER_DAY + hour * INT64_C(3600) +
          minute * INT64_C(60) + second - zone;
    ns = (int64_t)(frac / (FRAC_UNITS / NS_PER_S));
    /* Before 1970 the fraction counts against the seconds: add it last, so that the
     * earliest representable moments do not overflow on the way. */
    if (sec < 0 && ns > 0) {
        sec += 1;
        ns -= NS_PER_S;
    }
    if (__builtin_mul_overflow(sec, NS_PER_S, &sec) ||
        __builtin_add_overflow(sec, ns, &sec))
        return -ERANGE;
    *ret_ns = sec;
    return 0;
}

/* ".25" for 250000000, "" for 0. */
static void
format_fraction(uint32_t ns, char out[12])
{
    size_t n;

    out[0] = '\0';
    if (ns == 0)
        return;
    (void)snprintf(out, 12, ".%09" PRIu32, ns % (uint32_t)NS_PER_S);
    for (n = strlen(out); out[n - 1] == '0'; n--)
        out[n - 1] = '\0';
}

void
units_format_seconds(int64_t ns, char out[UNITS_TEXT_MAX])
{
    uint64_t abs = ns < 0 ? 0 - (uint64_t)ns : (uint64_t)ns;
    char frac[12];

    format_fraction((uint32_t)(abs % NS_PER_S), frac);
    (void)snprintf(out, UNITS_TEXT_MAX, "%s%" PRIu64 "%ss", ns < 0 ? "-" : "",
                   abs / NS_PER_S, frac);
}

void
units_format_duration(int64_t ns, char out[UNITS_TEXT_MAX])
{
    static const struct unit steps[] = {
        {"d", UINT64_C(86400000000000)},
        {"h", UINT64_C(3600000000000)},
        {"m", UINT64_C(60000000000)},
    };
    uint64_t abs = ns < 0 ? 0 - (uint64_t)ns : (uint64_t)ns;
    char seconds[UNITS_TEXT_MAX];
    size_t n = 0;

    if (abs > 0 && abs < NS_PER_S) {
        const char *unit = abs % 1000000 == 0 ? "ms" : abs % 1000 == 0 ? "us" : "ns";
        uint64_t div = abs % 1000000 == 0 ? 1000000 : abs % 1000 == 0 ? 1000 : 1;

        (void)snprintf(out, UNITS_TEXT_MAX, "%s%" PRIu64 "%s", ns < 0 ? "-" : "",
                       abs / div, unit);
        return;
    }
    n += (size_t)snprintf(out, UNITS_TEXT_MAX, "%s", ns < 0 ? "-" : "");
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        if (abs < steps[i].factor)
            continue;
        n += (size_t)snprintf(out + n, UNITS_TEXT_MAX - n, "%" PRIu64 "%s",
                              abs / steps[i].factor, steps[i].name);
        abs %= steps[i].factor;
    }
    if (abs > 0 || ns == 0) {
        units_format_seconds((int64_t)abs, seconds);
        (void)snprintf(out + n, UNITS_TEXT_MAX - n, "%s", seconds);
    }
}

void
units_format_size(uint64_t bytes, char out[UNITS_TEXT_MAX])
{
    static const char *const names[] = {"", "KiB", "MiB", "GiB", "TiB", "PiB"};
    size_t i = 0;

    while (bytes != 0 && bytes % 1024 == 0 && i + 1 < sizeof(names) / sizeof(names[0])) {
        bytes /= 1024;
        i++;
    }
    (void)snprintf(out, UNITS_TEXT_MAX, "%" PRIu64 "%s", bytes, names[i]);
}

void
units_format_time(int64_t ns, char out[UNITS_TEXT_MAX])
{
    int64_t sec = ns / NS_PER_S, rest = ns % NS_PER_S, days, year;
    int month, day;
    char frac[12];

    if (rest < 0) {
        rest += NS_PER_S;
        sec--;
    }
    days = sec / S_PER_DAY;
    sec %= S_PER_DAY;
    if (sec < 0) {
        sec += S_PER_DAY;
        days--;
    }
    units_date_from_days(days, &year, &month, &day);
    format_fraction((uint32_t)rest, frac);
    (void)snprintf(out, UNITS_TEXT_MAX, "%04" PRId64 "-%02d-%02dT%02d:%02d:%02d%sZ", year,
                   month, day, (int)(sec / 3600), (int)(sec / 60 % 60), (int)(sec % 60),
                   frac);
}
