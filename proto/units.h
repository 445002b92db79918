/*
 * The units people write: durations, sizes and times. One grammar for the configuration,
 * the JSON shapes and the command line.
 *
 *   duration   "1.5s", "250ms", "10us", "5ns", "1h30m", "7d", "2w", "-3s", "0"
 *   size       "64MiB" "10kB" "512" "1.5GiB"; K M G T alone are 1024-based
 *   time       RFC 3339: "2026-12-01T08:00:00.25Z", "2026-12-01 08:00:00+01:00"
 *
 * Parsers take all of the len bytes or fail: 0, -EINVAL (not of the form) or -ERANGE.
 * Nothing depends on the locale.
 */
#ifndef GOJOBD_PROTO_UNITS_H
#define GOJOBD_PROTO_UNITS_H

#include <stddef.h>
#include <stdint.h>

enum { UNITS_TEXT_MAX = 40 }; /* room for any formatted value, NUL included */

int units_parse_duration(const char *s, size_t len, int64_t *ret_ns);
int units_parse_size(const char *s, size_t len, uint64_t *ret_bytes);
int units_parse_time(const char *s, size_t len, int64_t *ret_ns);

/* Seconds only, as the proto3 JSON mapping has it: "90s", "0.25s". */
void units_format_seconds(int64_t ns, char out[UNITS_TEXT_MAX]);
/* For people: "1h30m", "250ms", "1.5s", "7d". Parses back to the same value. */
void units_format_duration(int64_t ns, char out[UNITS_TEXT_MAX]);
/* The largest unit that is exact: "64MiB", "1000". */
void units_format_size(uint64_t bytes, char out[UNITS_TEXT_MAX]);
/* UTC, with as many digits as needed: "2026-12-01T08:00:00.25Z". */
void units_format_time(int64_t ns, char out[UNITS_TEXT_MAX]);

/* Days since 1970-01-01 of a date of the Gregorian calendar, and back. */
int64_t units_days_from_date(int64_t year, int month, int day);
void units_date_from_days(int64_t days, int64_t *year, int *month, int *day);

#endif
