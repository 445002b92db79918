#include "daemon/schedule/tz_rule.h"

#include <errno.h>

#include "proto/units.h"

#define DAY INT64_C(86400)

struct scan {
    const char *p, *end;
};

static bool
is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool
is_alpha(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool
take(struct scan *s, char c)
{
    if (s->p == s->end || *s->p != c)
        return false;
    s->p++;
    return true;
}

/* At most three digits. */
static bool
number(struct scan *s, int max, int *ret)
{
    int v = 0, n = 0;

    while (s->p < s->end && is_digit(*s->p) && n < 3) {
        v = v * 10 + (*s->p++ - '0');
        n++;
    }
    *ret = v;
    return n > 0 && v <= max;
}

/* An abbreviation: three letters or more, or anything between < and >. */
static bool
abbreviation(struct scan *s)
{
    const char *from = s->p;

    if (take(s, '<')) {
        while (s->p < s->end && *s->p != '>')
            s->p++;
        return take(s, '>');
    }
    while (s->p < s->end && is_alpha(*s->p))
        s->p++;
    return s->p - from >= 3;
}

/* [+-]h[:m[:s]], up to 167 hours as RFC 8536 extends it. */
static bool
clock_time(struct scan *s, int max_hours, int32_t *ret)
{
    int h, m = 0, sec = 0, sign = 1;

    if (take(s, '-'))
        sign = -1;
    else
        (void)take(s, '+');
    if (!number(s, max_hours, &h))
        return false;
    if (take(s, ':') && (!number(s, 59, &m) || (take(s, ':') && !number(s, 59, &sec))))
        return false;
    *ret = sign * (h * 3600 + m * 60 + sec);
    return true;
}

static bool
change(struct scan *s, struct tz_change *c)
{
    c->time = 7200;
    if (take(s, 'M')) {
        c->kind = TZ_DAY_MONTH;
        if (!number(s, 12, &c->month) || !take(s, '.') || !number(s, 5, &c->week) ||
            !take(s, '.') || !number(s, 6, &c->day) || c->month < 1 || c->week < 1)
            return false;
    } else if (take(s, 'J')) {
        c->kind = TZ_DAY_JULIAN;
        if (!number(s, 365, &c->day) || c->day < 1)
            return false;
    } else {
        c->kind = TZ_DAY_OF_YEAR;
        if (!number(s, 365, &c->day))
            return false;
    }
    return !take(s, '/') || clock_time(s, 167, &c->time);
}

int
tz_rule_parse(const char *text, size_t len, struct tz_rule *ret)
{
    struct scan s = {text, text + len};
    int32_t west;

    *ret = (struct tz_rule){.std = 0};
    if (!abbreviation(&s) || !clock_time(&s, 24, &west))
        return -EINVAL;
    ret->std = -west;
    if (s.p == s.end)
        return 0;
    if (!abbreviation(&s))
        return -EINVAL;
    ret->has_dst = true;
    ret->dst = ret->std + 3600;
    if (s.p < s.end && *s.p != ',') {
        if (!clock_time(&s, 24, &west))
            return -EINVAL;
        ret->dst = -west;
    }
    if (!take(&s, ',') || !change(&s, &ret->start) || !take(&s, ',') ||
        !change(&s, &ret->end) || s.p != s.end)
        return -EINVAL;
    return 0;
}

/* The day of a change, in days since 1970. */
static int64_t
change_day(const struct tz_change *c, int64_t year)
{
    bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    int64_t first, next;
    int weekday;

    if (c->kind == TZ_DAY_OF_YEAR)
        return units_days_from_date(year, 1, 1) + c->day;
    if (c->kind == TZ_DAY_JULIAN)
        return units_days_from_date(year, 1, 1) + c->day - 1 +
               (leap && c->day >= 60 ? 1 : 0);
    first = units_days_from_date(year, c->month, 1);
    next = c->month == 12 ? units_days_from_date(year + 1, 1, 1)
                          : units_days_from_date(year, c->month + 1, 1);
    weekday = (int)(((first + 4) % 7 + 7) % 7);
    first += (c->day - weekday + 7) % 7 + (c->week - 1) * 7;
    return first < next ? first : first - 7;
}

void
tz_rule_year(const struct tz_rule *r, int64_t year, int64_t *ret_start, int64_t *ret_end)
{
    *ret_start = change_day(&r->start, year) * DAY + r->start.time - r->std;
    *ret_end = change_day(&r->end, year) * DAY + r->end.time - r->dst;
}
