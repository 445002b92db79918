/* Reading cron lines: see cron.h. */
#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "daemon/schedule/cron.h"

enum field { MINUTE, HOUR, DAY, MONTH, WEEKDAY, FIELDS };

struct shape {
    const char *name;
    int min, max;
    const char *const *names; /* of the values from min on, 3 letters each */
};

static const char *const months[] = {"jan", "feb", "mar", "apr", "may", "jun", "jul",
                                     "aug", "sep", "oct", "nov", "dec", NULL};
static const char *const weekdays[] = {"sun", "mon", "tue", "wed",
                                       "thu", "fri", "sat", NULL};
static const struct shape shapes[FIELDS] = {
    [MINUTE] = {"minute", 0, 59, NULL},          [HOUR] = {"hour", 0, 23, NULL},
    [DAY] = {"day of month", 1, 31, NULL},       [MONTH] = {"month", 1, 12, months},
    [WEEKDAY] = {"day of week", 0, 7, weekdays},
};

static const char *const macros[][2] = {
    {"@yearly", "0 0 1 1 *"}, {"@annually", "0 0 1 1 *"}, {"@monthly", "0 0 1 * *"},
    {"@weekly", "0 0 * * 0"}, {"@daily", "0 0 * * *"},    {"@midnight", "0 0 * * *"},
    {"@hourly", "0 * * * *"},
};

/* The text of one field, being read. */
struct scan {
    const struct shape *shape;
    const char *p, *end;
    const char *text;
    char *err;
};

__attribute__((format(printf, 2, 3))) static int
refuse(char err[CRON_ERR_MAX], const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(err, CRON_ERR_MAX, fmt, ap);
    va_end(ap);
    /* The user's bytes may be none of text, or cut in the middle of a character. */
    for (char *p = err; *p != '\0'; p++)
        if (*p < ' ' || *p > '~')
            *p = '?';
    return -EINVAL;
}

/* Text of the user's, cut so that it fits into a sentence. */
#define SHOWN(from, to) ((to) - (from) < 40 ? (int)((to) - (from)) : 40), (from)

static int
number(struct scan *s, int *ret)
{
    const char *from = s->p;
    int v = 0;

    while (s->p < s->end && isdigit((unsigned char)*s->p)) {
        v = v < 100000 ? v * 10 + (*s->p - '0') : v;
        s->p++;
    }
    if (s->p == from)
        return refuse(s->err, "%s: \"%.*s\" is not a number, a range or a list",
                      s->shape->name, SHOWN(s->text, s->end));
    *ret = v;
    return 0;
}

static int
named(struct scan *s, int *ret)
{
    const char *from = s->p;
    const char *const *names = s->shape->names;
    int i;

    while (s->p < s->end && isalpha((unsigned char)*s->p))
        s->p++;
    for (i = 0; names != NULL && names[i] != NULL; i++)
        if (s->p - from == 3 && strncasecmp(from, names[i], 3) == 0) {
            *ret = s->shape->min + i;
            return 0;
        }
    if (names == NULL)
        return refuse(s->err, "%s: \"%.*s\" is not a number", s->shape->name,
                      SHOWN(from, s->p));
    return refuse(s->err, "%s: \"%.*s\" is not one of %s to %s", s->shape->name,
                  SHOWN(from, s->p), names[0], names[i - 1]);
}

static int
value(struct scan *s, int *ret)
{
    const struct shape *f = s->shape;
    const char *from = s->p;
    int r;

    if (s->p < s->end && isalpha((unsigned char)*s->p))
        return named(s, ret);
    r = number(s, ret);
    if (r == 0 && (*ret < f->min || *ret > f->max))
        return refuse(s->err, "%s: %.*s is not in %d-%d", f->name, SHOWN(from, s->p),
                      f->min, f->max);
    return r;
}

static int
step(struct scan *s, int *ret)
{
    const struct shape *f = s->shape;
    int values = f->names == weekdays ? 7 : f->max - f->min + 1;
    int r = number(s, ret);

    if (r < 0)
        return r;
    if (*ret == 0)
        return refuse(s->err, "%s: a step of 0 goes nowhere", f->name);
    if (*ret > values)
        return refuse(s->err,
                      "%s: a step of %d is more than the %d values there are; for longer "
                      "periods use every",
                      f->name, *ret, values);
    return 0;
}

/* One item of a list, into *bits. */
static int
item(struct scan *s, uint64_t *bits)
{
    const struct shape *f = s->shape;
    int from = f->min, to = f->max, by = 1, r;

    if (f->names == weekdays)
        to = 6;
    if (s->p < s->end && *s->p == '*') {
        s->p++;
    } else {
        r = value(s, &from);
        if (r < 0)
            return r;
        if (s->p < s->end && *s->p == '-') {
            s->p++;
            r = value(s, &to);
            if (r < 0)
                return r;
            if (f->names == weekdays && to == 0 && from > 0)
                to = 7; /* fri-sun */
        } else if (s->p == s->end || *s->p != '/' || from > to) {
            to = from;
        }
        if (from > to)
            return refuse(s->err, "%s: %d-%d goes backwards; write %d-%d,%d-%d", f->name,
                          from, to, from, f->max, f->min, to);
    }
    if (s->p < s->end && *s->p == '/') {
        s->p++;
        r = step(s, &by);
        if (r < 0)
            return r;
    }
    for (int v = from; v <= to; v += by)
        *bits |= UINT64_C(1) << v;
    return 0;
}

/* *ret_at: the item that was refused. */
static int
field(enum field which, const char *from, const char *end, uint64_t *bits, char *err,
      const char **ret_at)
{
    struct scan s = {&shapes[which], from, end, from, err};
    int r;

    *bits = 0;
    for (;;) {
        *ret_at = s.p;
        r = item(&s, bits);
        if (r < 0)
            return r;
        if (s.p == s.end)
            return 0;
        if (*s.p != ',')
            return refuse(err, "%s: \"%.*s\" is not understood from \"%.*s\" on",
                          s.shape->name, SHOWN(s.text, s.end), SHOWN(s.p, s.end));
        s.p++;
    }
}

static bool
is_blank(char c)
{
    return c == ' ' || c == '\t';
}

/* Split into fields: their number, counting those beyond the fifth. */
static int
split(const char *p, const char *end, const char *from[FIELDS], const char *to[FIELDS])
{
    int n = 0;

    for (;;) {
        while (p < end && is_blank(*p))
            p++;
        if (p == end)
            return n;
        if (n < FIELDS)
            from[n] = p;
        while (p < end && !is_blank(*p))
            p++;
        if (n < FIELDS)
            to[n] = p;
        n++;
    }
}

static int
macro(const char *word, const char *end, struct cron *ret, char *err)
{
    size_t n = (size_t)(end - word);

    for (size_t i = 0; i < sizeof(macros) / sizeof(macros[0]); i++)
        if (strlen(macros[i][0]) == n && strncasecmp(macros[i][0], word, n) == 0)
            return cron_parse(macros[i][1], strlen(macros[i][1]), ret, err);
    if (n == 7 && strncasecmp(word, "@reboot", n) == 0)
        return refuse(err, "@reboot: a schedule has times; jobs submitted before the "
                           "daemon starts run once it has started");
    if (n == 6 && strncasecmp(word, "@every", n) == 0)
        return refuse(err, "@every: periods are not cron's; use every");
    return refuse(err,
                  "\"%.*s\" is none of @yearly, @annually, @monthly, @weekly, @daily, "
                  "@midnight and @hourly",
                  SHOWN(word, end));
}

/* Is there a day in any year that matches? */
static bool
ever(const struct cron *c)
{
    static const int8_t days[] = {0, 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};

    if (!c->any_day && !c->any_weekday)
        return true; /* every month has each day of the week */
    for (int m = 1; m <= 12; m++)
        if ((c->month >> m & 1) && (c->day & ((UINT64_C(2) << days[m]) - 1)) != 0)
            return true;
    return false;
}

int
cron_parse(const char *text, size_t len, struct cron *ret, char err[CRON_ERR_MAX])
{
    const char *from[FIELDS], *to[FIELDS], *at;
    uint64_t bits[FIELDS];
    int n = split(text, text + len, from, to);

    if (n >= 1 && *from[0] == '@') {
        if (n > 1 && !(to[0] - from[0] == 6 && strncasecmp(from[0], "@every", 6) == 0))
            return refuse(err, "nothing may follow \"%.*s\"", SHOWN(from[0], to[0]));
        return macro(from[0], to[0], ret, err);
    }
    if (n == 6 || n == 7)
        return refuse(err,
                      "there are %d fields; five are known (minute, hour, day of month, "
                      "month, day of week), and none for seconds or years",
                      n);
    if (n != FIELDS)
        return refuse(err,
                      "there %s %d field%s, but five are needed: minute, hour, day of "
                      "month, month, day of week",
                      n == 1 ? "is" : "are", n, n == 1 ? "" : "s");
    for (int i = 0; i < FIELDS; i++) {
        int r = field((enum field)i, from[i], to[i], &bits[i], err, &at);

        if (r < 0)
            return r;
    }
    if (bits[WEEKDAY] & 128) /* Sunday's other number */
        bits[WEEKDAY] |= 1;
    *ret = (struct cron){
        .minute = bits[MINUTE],
        .hour = (uint32_t)bits[HOUR],
        .day = (uint32_t)bits[DAY],
        .month = (uint16_t)bits[MONTH],
        .weekday = (uint8_t)(bits[WEEKDAY] & 127),
        .any_day = *from[DAY] == '*',
        .any_weekday = *from[WEEKDAY] == '*',
    };
    if (!ever(ret))
        return refuse(err, "day of month: none of its months has such a day");
    return 0;
}

size_t
cron_column(const char *text, size_t len)
{
    const char *from[FIELDS], *to[FIELDS], *at;
    char err[CRON_ERR_MAX];
    uint64_t bits;

    if (split(text, text + len, from, to) != FIELDS)
        return 0;
    for (int i = 0; i < FIELDS; i++)
        if (field((enum field)i, from[i], to[i], &bits, err, &at) < 0)
            return (size_t)(at - text) + 1;
    return 0;
}

size_t
cron_zone(const char *text, size_t len, const char **ret, size_t *ret_len)
{
    static const char *const words[] = {"TZ=", "CRON_TZ="};
    size_t i = 0, end;

    *ret = text;
    *ret_len = 0;
    while (i < len && is_blank(text[i]))
        i++;
    for (size_t w = 0; w < 2; w++) {
        size_t n = strlen(words[w]);

        if (len - i < n || memcmp(text + i, words[w], n) != 0)
            continue;
        for (end = i + n; end < len && !is_blank(text[end]); end++)
            ;
        *ret = text + i + n;
        *ret_len = end - i - n;
        return end;
    }
    return 0;
}
