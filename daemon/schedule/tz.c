#include "daemon/schedule/tz.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/schedule/tz_rule.h"
#include "proto/units.h"

#define RULE_UNTIL INT64_C(2263) /* years; int64 nanoseconds end in 2262 */
#define RULE_FROM  INT64_C(1970) /* where a file has a rule and no transitions */
#define OFFSET_MAX 93600         /* 26 hours: RFC 8536 */

enum { HEADER = 44 };

struct tz {
    char name[TZ_NAME_MAX];
    int32_t first; /* offset before at[0] */
    size_t n, cap;
    int64_t *at;     /* ascending: offset[i] holds in [at[i], at[i + 1]) */
    int32_t *offset; /* seconds east of UTC */
};

struct block {
    uint32_t isut, isstd, leap, time, type, chars;
    size_t size;
};

__attribute__((format(printf, 2, 3))) static int
refuse(char err[TZ_ERR_MAX], const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(err, TZ_ERR_MAX, fmt, ap);
    va_end(ap);
    return -EINVAL;
}

static uint32_t
be32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static int64_t
be64(const uint8_t *p)
{
    return (int64_t)((uint64_t)be32(p) << 32 | be32(p + 4));
}

/* Read the header at p and see that its block, with times of time_size bytes, fits. */
static int
read_header(const uint8_t *p, size_t len, size_t time_size, struct block *b)
{
    const uint32_t most = 1U << 20;

    if (len < HEADER || memcmp(p, "TZif", 4) != 0)
        return -EINVAL;
    b->isut = be32(p + 20);
    b->isstd = be32(p + 24);
    b->leap = be32(p + 28);
    b->time = be32(p + 32);
    b->type = be32(p + 36);
    b->chars = be32(p + 40);
    if (b->isut > most || b->isstd > most || b->leap > most || b->time > most ||
        b->type > 256 || b->chars > most)
        return -EINVAL;
    b->size = b->time * (time_size + 1) + b->type * (size_t)6 + b->chars +
              b->leap * (time_size + 4) + b->isstd + b->isut;
    return len - HEADER >= b->size ? 0 : -EINVAL;
}

static int
add(struct tz *z, int64_t at, int32_t offset)
{
    if (z->n == z->cap) {
        size_t cap = z->cap > 0 ? z->cap * 2 : 64;
        int64_t *a = realloc(z->at, cap * sizeof(*a));
        int32_t *o;

        if (a == NULL)
            return -ENOMEM;
        z->at = a;
        o = realloc(z->offset, cap * sizeof(*o));
        if (o == NULL)
            return -ENOMEM;
        z->offset = o;
        z->cap = cap;
    }
    z->at[z->n] = at;
    z->offset[z->n++] = offset;
    return 0;
}

/* A transition of the footer's rule. Those of the file go before it; of two at one moment
 * (daylight saving all year round is written so) the one that begins it holds. */
static int
add_rule(struct tz *z, int64_t at, int32_t offset, bool begins)
{
    if (z->n > 0 && at == z->at[z->n - 1] && begins) {
        z->offset[z->n - 1] = offset;
        return 0;
    }
    return z->n > 0 && at <= z->at[z->n - 1] ? 0 : add(z, at, offset);
}

static int
add_footer(struct tz *z, const char *text, size_t len, char err[TZ_ERR_MAX])
{
    struct tz_rule rule;
    int64_t year = RULE_FROM;
    int r = 0;

    if (len == 0)
        return 0;
    if (tz_rule_parse(text, len, &rule) < 0 || abs(rule.std) > OFFSET_MAX ||
        abs(rule.dst) > OFFSET_MAX)
        return refuse(err, "%s: its rule \"%.*s\" is malformed", z->name,
                      (int)(len < 60 ? len : 60), text);
    if (!rule.has_dst) {
        if (z->n == 0)
            z->first = rule.std;
        return 0;
    }
    if (z->n > 0) {
        int month, day;

        if (z->at[z->n - 1] > units_days_from_date(RULE_UNTIL, 1, 1) * 86400)
            return 0;
        units_date_from_days(z->at[z->n - 1] / 86400, &year, &month, &day);
        year = year - 1 > RULE_FROM ? year - 1 : RULE_FROM;
    }
    for (; r == 0 && year <= RULE_UNTIL; year++) {
        int64_t start, end;

        tz_rule_year(&rule, year, &start, &end);
        if (start < end) {
            r = add_rule(z, start, rule.dst, true);
            if (r == 0)
                r = add_rule(z, end, rule.std, false);
        } else {
            r = add_rule(z, end, rule.std, false);
            if (r == 0)
                r = add_rule(z, start, rule.dst, true);
        }
    }
    return r;
}

/* The transitions of a version 2 block, whose size was checked. */
static int
add_block(struct tz *z, const struct block *b, const uint8_t *p, char err[TZ_ERR_MAX])
{
    const uint8_t *index = p + b->time * (size_t)8;
    const uint8_t *types = index + b->time;
    int r = 0;

    if (b->leap != 0)
        return refuse(err, "%s counts leap seconds, which system time does not", z->name);
    if (b->type == 0)
        return refuse(err, "%s has no offsets", z->name);
    for (uint32_t i = 0; i < b->type; i++)
        if (abs((int32_t)be32(types + i * (size_t)6)) > OFFSET_MAX ||
            (int32_t)be32(types + i * (size_t)6) == INT32_MIN)
            return refuse(err, "%s has an offset of more than 26 hours", z->name);
    z->first = (int32_t)be32(types);
    for (uint32_t i = 0; r == 0 && i < b->time; i++) {
        int64_t at = be64(p + i * (size_t)8);

        if (index[i] >= b->type || (z->n > 0 && at <= z->at[z->n - 1]))
            return refuse(err, "%s is damaged", z->name);
        r = add(z, at, (int32_t)be32(types + index[i] * (size_t)6));
    }
    return r;
}

int
tz_parse(const char *name, const void *data, size_t len, struct tz **ret,
         char err[TZ_ERR_MAX])
{
    const uint8_t *p = data, *foot, *nl;
    struct block v1, v2;
    struct tz *z;
    int r;

    if (read_header(p, len, 4, &v1) < 0)
        return refuse(err, "%.63s is not a time zone file", name);
    if (p[4] < '2')
        return refuse(err, "%.63s is a time zone file of version 1, without 64-bit times",
                      name);
    p += HEADER + v1.size;
    len -= HEADER + v1.size;
    if (read_header(p, len, 8, &v2) < 0)
        return refuse(err, "%.63s is cut short", name);
    foot = p + HEADER + v2.size;
    len -= HEADER + v2.size;
    if (len < 2 || *foot != '\n' || (nl = memchr(foot + 1, '\n', len - 1)) == NULL)
        return refuse(err, "%.63s is cut short", name);

    z = calloc(1, sizeof(*z));
    if (z == NULL)
        return -ENOMEM;
    (void)snprintf(z->name, sizeof(z->name), "%s", name);
    r = add_block(z, &v2, p + HEADER, err);
    if (r == 0)
        r = add_footer(z, (const char *)foot + 1, (size_t)(nl - foot - 1), err);
    if (r < 0) {
        if (r == -ENOMEM)
            (void)refuse(err, "out of memory");
        tz_free(z);
        return r;
    }
    *ret = z;
    return 0;
}

void
tz_free(struct tz *z)
{
    if (z == NULL)
        return;
    free(z->at);
    free(z->offset);
    free(z);
}

const char *
tz_name(const struct tz *z)
{
    return z->name;
}

void
tz_span(const struct tz *z, int64_t utc, struct tz_span *ret)
{
    size_t lo = 0, hi = z->n; /* the number of transitions at or before utc */

    while (lo < hi) {
        size_t mid = (lo + hi) / 2;

        if (z->at[mid] <= utc)
            lo = mid + 1;
        else
            hi = mid;
    }
    ret->start = lo > 0 ? z->at[lo - 1] : TZ_PAST;
    ret->end = lo < z->n ? z->at[lo] : TZ_FUTURE;
    ret->offset = lo > 0 ? z->offset[lo - 1] : z->first;
    ret->before = lo > 1 ? z->offset[lo - 2] : z->first;
}

enum tz_fit
tz_utc(const struct tz *z, int64_t local, int64_t *ret_utc)
{
    struct tz_span span, next;

    /* No offset is beyond 26 hours: start in a span that is surely not too late. */
    tz_span(z, local - OFFSET_MAX, &span);
    for (;;) {
        if (span.end == TZ_FUTURE || local < span.end + span.offset) {
            *ret_utc = local - span.offset;
            if (span.end == TZ_FUTURE)
                return TZ_ONCE;
            tz_span(z, span.end, &next);
            return local >= span.end + next.offset ? TZ_TWICE : TZ_ONCE;
        }
        tz_span(z, span.end, &next);
        if (local < span.end + next.offset) {
            *ret_utc = span.end;
            return TZ_GAP;
        }
        span = next;
    }
}
