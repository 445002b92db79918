/*
 * Time zones: the IANA database as the system has it, without the process's TZ, which is
 * one for all threads.
 *
 * A zone is a list of spans of constant offset: the transitions of its TZif file, and those
 * that the file's footer rule makes up to the end of the times gojobd can express (2262).
 *
 * Lifecycle  tz_set_new -> tz_set_get … -> tz_set_free. A zone lives as long as its set and
 *            never changes: after an update of the system's zones make a new set.
 * Context    any thread. Only tz_set_get() of a zone not seen before reads a file; it does
 *            so in a blocking region.
 */
#ifndef GOJOBD_DAEMON_SCHEDULE_TZ_H
#define GOJOBD_DAEMON_SCHEDULE_TZ_H

#include <stddef.h>
#include <stdint.h>

struct tz;
struct tz_set;

enum {
    TZ_NAME_MAX = 64,
    TZ_ERR_MAX = 160,
};

/* No zone lasts for ever, but a span may: these stand for its open ends. */
#define TZ_PAST   INT64_MIN
#define TZ_FUTURE INT64_MAX

/* A time of constant offset, [start, end), in seconds since 1970. */
struct tz_span {
    int64_t start, end;
    int32_t offset; /* seconds east of UTC */
    int32_t before; /* offset of the span before this one; offset if there is none */
};

/* The span that utc lies in. */
void tz_span(const struct tz *z, int64_t utc, struct tz_span *ret);

/* Where a local time (seconds, as if the zone were UTC) stands. */
enum tz_fit {
    TZ_ONCE,  /* one moment */
    TZ_GAP,   /* none: clocks were set forward over it. The moment at which they were */
    TZ_TWICE, /* two, as clocks were set back. The first of them */
};
enum tz_fit tz_utc(const struct tz *z, int64_t local, int64_t *ret_utc);

/* "Europe/Berlin"; the system's zone has the name it goes by, or "local". */
const char *tz_name(const struct tz *z);

/* A zone from the bytes of a TZif file (RFC 8536, version 2 or later): 0, -EINVAL with a
 * sentence, -ENOMEM. For zones that are in no set; free with tz_free(). */
int tz_parse(const char *name, const void *data, size_t len, struct tz **ret,
             char err[TZ_ERR_MAX]);
void tz_free(struct tz *z);

/* Zones below dir; NULL: $TZDIR or /usr/share/zoneinfo. NULL: no memory. */
struct tz_set *tz_set_new(const char *dir);
void tz_set_free(struct tz_set *s);

/* The zone of that name. NULL or "" means the system's: $TZ if it names a zone, else
 * /etc/localtime, else UTC. "UTC" is always there. 0, or with a sentence -ENOENT (no such
 * zone), -EINVAL (not a name, not a zone file), another -errno of reading. */
int tz_set_get(struct tz_set *s, const char *name, const struct tz **ret,
               char err[TZ_ERR_MAX]);

#endif
