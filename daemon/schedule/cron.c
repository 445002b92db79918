#include "daemon/schedule/cron.h"

#include "daemon/schedule/tz.h"
#include "proto/units.h"

#define DAY       INT64_C(86400)
#define LAST_YEAR INT64_C(2262)
#define ALL_HOURS UINT32_C(0xffffff)

bool
cron_every_hour(const struct cron *c)
{
    return c->hour == ALL_HOURS;
}

static int
month_days(int64_t year, int month)
{
    static const int8_t days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};

    if (month == 2 && year % 4 == 0 && (year % 100 != 0 || year % 400 == 0))
        return 29;
    return days[month - 1];
}

/* The matching days of a month as bits 1..31, given the day of the week of its 1st. */
static uint32_t
days_of_month(const struct cron *c, int n_days, int first_weekday)
{
    uint64_t week = c->weekday, by_week;
    uint32_t all = (uint32_t)(((UINT64_C(1) << n_days) - 1) << 1);

    week = ((week >> first_weekday) | (week << (7 - first_weekday))) & 127;
    by_week = (week | week << 7 | week << 14 | week << 21 | week << 28) << 1;
    if (c->any_day || c->any_weekday)
        return c->day & (uint32_t)by_week & all;
    return (c->day | (uint32_t)by_week) & all;
}

/* The first matching day on or after `day` (days since 1970), or CRON_NEVER. */
static int64_t
next_day(const struct cron *c, int64_t day)
{
    int64_t year;
    int month, mday;

    units_date_from_days(day, &year, &month, &mday);
    while (year <= LAST_YEAR) {
        if (c->month >> month & 1) {
            int64_t first = units_days_from_date(year, month, 1);
            int weekday = (int)(((first + 4) % 7 + 7) % 7);
            uint32_t left = days_of_month(c, month_days(year, month), weekday) >> mday;

            if (left != 0)
                return first + mday + __builtin_ctz(left) - 1;
        }
        mday = 1;
        if (++month > 12) {
            month = 1;
            year++;
        }
    }
    return CRON_NEVER;
}

/* The first matching minute of a day at or after minute `from` of it (0..1440), or -1. */
static int
next_minute(const struct cron *c, int from)
{
    int hour = from / 60;
    uint64_t minutes;
    uint32_t hours;

    if (from >= 1440)
        return -1;
    minutes = c->hour >> hour & 1 ? c->minute >> (from % 60) : 0;
    if (minutes != 0)
        return from + __builtin_ctzll(minutes);
    hours = c->hour >> hour >> 1;
    if (hours == 0)
        return -1;
    return (hour + 1 + __builtin_ctz(hours)) * 60 + __builtin_ctzll(c->minute);
}

/* The first matching local time at or after `local`, or CRON_NEVER. */
static int64_t
next_local(const struct cron *c, int64_t local)
{
    int64_t day = local / DAY - (local % DAY < 0 ? 1 : 0);
    int64_t match = next_day(c, day);
    int minute;

    if (match == day) {
        minute = next_minute(c, (int)((local - day * DAY + 59) / 60));
        if (minute >= 0)
            return day * DAY + minute * 60;
        match = next_day(c, day + 1);
    }
    return match == CRON_NEVER ? CRON_NEVER : match * DAY + next_minute(c, 0) * 60;
}

int64_t
cron_next(const struct cron *c, const struct tz *z, int64_t after)
{
    struct tz_span span;
    int64_t local, old;

    tz_span(z, after, &span);
    local = after + span.offset + 1;
    for (;;) {
        /* What the span before had already shown is no time of its own. */
        if (span.before > span.offset && !cron_every_hour(c) &&
            local < span.start + span.before)
            local = span.start + span.before;
        local = next_local(c, local);
        if (local == CRON_NEVER)
            return CRON_NEVER;
        if (span.end == TZ_FUTURE || local - span.offset < span.end)
            return local - span.offset;
        old = span.end;
        tz_span(z, old, &span);
        /* Not reached in the span, though earlier than where the next one begins. */
        if (local < old + span.offset)
            return old;
        local = old + span.offset;
    }
}
