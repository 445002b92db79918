/*
 * The rule at the end of a zone file, in the form of POSIX's TZ: which offsets hold, and
 * when daylight saving begins and ends in any year. "CET-1CEST,M3.5.0,M10.5.0/3".
 */
#ifndef GOJOBD_DAEMON_SCHEDULE_TZ_RULE_H
#define GOJOBD_DAEMON_SCHEDULE_TZ_RULE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum tz_day {
    TZ_DAY_MONTH,  /* Mm.w.d: weekday d of week w (5: the last) of month m */
    TZ_DAY_JULIAN, /* Jn: day n of the year from 1, never counting 29 February */
    TZ_DAY_OF_YEAR /* n: day n of the year from 0 */
};

struct tz_change {
    enum tz_day kind;
    int month, week, day;
    int32_t time; /* seconds after that day's midnight; may be negative or over a day */
};

struct tz_rule {
    int32_t std, dst; /* seconds east of UTC */
    bool has_dst;
    struct tz_change start, end;
};

/* 0 or -EINVAL. */
int tz_rule_parse(const char *text, size_t len, struct tz_rule *ret);

/* When daylight saving begins and ends in that year, in UTC. */
void tz_rule_year(const struct tz_rule *r, int64_t year, int64_t *ret_start,
                  int64_t *ret_end);

#endif
