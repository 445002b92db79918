/*
 * Cron lines: when they fire. Five fields, as in Vixie cron:
 *
 *     minute 0-59   hour 0-23   day of month 1-31   month 1-12   day of week 0-7
 *
 * A field is *, a value, a range, a step (a-b/n; a/n goes from a to the end), or a list of
 * those. Months and days of the week have names; 0 and 7 are Sunday. If both day fields are
 * restricted a day needs to match only one of them; a field that begins with * does not
 * restrict. Or one of @yearly @annually @monthly @weekly @daily @midnight @hourly.
 *
 * Clock changes: a run whose local time is skipped happens right after the gap, once for the
 * whole gap. A local time that comes twice counts the first time; only lines that name no
 * hours (all 24 match) go on through the repetition, since they ask for a pace.
 *
 * Pure functions; nothing is allocated.
 */
#ifndef GOJOBD_DAEMON_SCHEDULE_CRON_H
#define GOJOBD_DAEMON_SCHEDULE_CRON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tz;

enum { CRON_ERR_MAX = 200 };
#define CRON_NEVER INT64_MAX

/* Bit n of a mask: value n matches. */
struct cron {
    uint64_t minute;
    uint32_t hour;
    uint32_t day;              /* of the month: bits 1..31 */
    uint16_t month;            /* bits 1..12 */
    uint8_t weekday;           /* bits 0..6, Sunday first */
    bool any_day, any_weekday; /* that field begins with * */
};

/* 0, or -EINVAL with a sentence that names the field. Lines that could never fire are
 * refused, and so is what other crons take for something else (@reboot, six fields). */
int cron_parse(const char *text, size_t len, struct cron *ret, char err[CRON_ERR_MAX]);

/* Where in a line is what cron_parse() refuses: from 1; 0: the line as a whole. */
size_t cron_column(const char *text, size_t len);

/* A zone written before the fields, "TZ=Europe/Berlin 0 8 * * *" (CRON_TZ= as well): the
 * offset of what follows, and the zone's place in text; 0 and *ret_len = 0 without one. */
size_t cron_zone(const char *text, size_t len, const char **ret, size_t *ret_len);

/* The first time after `after` at which the line fires in that zone, in seconds since
 * 1970, or CRON_NEVER: none up to the year 2262. */
int64_t cron_next(const struct cron *c, const struct tz *z, int64_t after);

/* Every hour of the day matches: see "Clock changes". */
bool cron_every_hour(const struct cron *c);

#endif
