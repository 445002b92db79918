/* A spec's times, understood and checked: see plan.h. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "daemon/schedule/plan.h"
#include "daemon/schedule/tz.h"

#define NS_PER_MS INT64_C(1000000)

static int64_t
floor_ms(int64_t ns)
{
    return ns / NS_PER_MS - (ns % NS_PER_MS < 0 ? 1 : 0);
}

static int
read_every(const PbScheduleSpec *s, struct sched_plan *p, struct proto_err *err)
{
    int64_t ns = pb_duration_ns(s->every, 0);

    p->kind = SCHED_EVERY;
    p->every = ns / NS_PER_MS;
    if (ns < SCHED_EVERY_MIN_MS * NS_PER_MS)
        return proto_err_set(err, -EINVAL, "every",
                             "must be at least one second; a timer job ticks faster");
    if (ns % NS_PER_MS != 0)
        return proto_err_set(err, -EINVAL, "every",
                             "must be a whole number of milliseconds");
    return 0;
}

static int
read_cron(const PbScheduleSpec *s, struct sched_plan *p, const char **zone,
          char zone_buf[TZ_NAME_MAX], struct proto_err *err)
{
    size_t len = strlen(s->cron), zone_len, from, column;
    char why[CRON_ERR_MAX];
    const char *at;

    p->kind = SCHED_CRON;
    from = cron_zone(s->cron, len, &at, &zone_len);
    if (from > 0) {
        if (s->tz != NULL && s->tz[0] != '\0')
            return proto_err_set(err, -EINVAL, "cron",
                                 "names a time zone, and so does tz");
        if (zone_len == 0 || zone_len >= TZ_NAME_MAX)
            return proto_err_set(err, -EINVAL, "cron", "TZ= must name a time zone");
        memcpy(zone_buf, at, zone_len);
        zone_buf[zone_len] = '\0';
        *zone = zone_buf;
    }
    if (cron_parse(s->cron + from, len - from, &p->cron, why) == 0)
        return 0;
    column = cron_column(s->cron + from, len - from);
    if (column == 0)
        return proto_err_set(err, -EINVAL, "cron", "%s", why);
    return proto_err_set(err, -EINVAL, "cron", "%s (column %zu)", why, from + column);
}

static int
read_kind(const PbScheduleSpec *s, struct sched_plan *p, const char **zone,
          char zone_buf[TZ_NAME_MAX], struct proto_err *err)
{
    if (s->every != NULL && s->cron != NULL)
        return proto_err_set(err, -EINVAL, "cron", "cannot stand beside every");
    if (s->every != NULL)
        return read_every(s, p, err);
    if (s->cron != NULL)
        return read_cron(s, p, zone, zone_buf, err);
    if (s->at == NULL)
        return proto_err_set(err, -EINVAL, NULL, "needs one of at, every and cron");
    p->kind = SCHED_AT;
    return 0;
}

static int
read_bounds(const PbScheduleSpec *s, int64_t created, struct sched_plan *p,
            struct proto_err *err)
{
    int64_t jitter = pb_duration_ns(s->jitter, 0), at = pb_timestamp_ns(s->at, 0);

    if (jitter < 0)
        return proto_err_set(err, -EINVAL, "jitter", "cannot be negative");
    p->jitter = jitter / NS_PER_MS;
    p->until =
        s->until != NULL ? floor_ms(pb_timestamp_ns(s->until, 0)) : SCHED_NEVER - 1;
    if (s->at != NULL)
        p->start = floor_ms(at) + (at % NS_PER_MS != 0 ? 1 : 0);
    else
        p->start = p->kind == SCHED_EVERY ? created + p->every : created;
    if (sched_plan_next(p, p->start - 1) == SCHED_NEVER)
        return proto_err_set(err, -EINVAL, s->until != NULL ? "until" : "at",
                             "there is no run between %s and %s",
                             s->at != NULL ? "at" : "now",
                             s->until != NULL ? "until" : "the year 2262");
    return 0;
}

int
sched_plan_read(const PbScheduleSpec *s, const struct sched_defaults *d, int64_t id,
                int64_t created, struct sched_plan *ret, struct proto_err *err)
{
    const char *zone = s->tz != NULL && s->tz[0] != '\0' ? s->tz : d->tz;
    char zone_buf[TZ_NAME_MAX], why[TZ_ERR_MAX];
    struct sched_plan p = {.id = id};
    int r;

    p.missed = (int)PB_GET(s, missed, (PbScheduleSpec__Missed)d->missed);
    p.overlap = (int)PB_GET(s, overlap, (PbScheduleSpec__Overlap)d->overlap);
    p.max_missed =
        (int32_t)(d->max_missed > SCHED_MISSED_MAX ? SCHED_MISSED_MAX : d->max_missed);
    if (p.missed < 0 || p.missed > PB_SCHEDULE_SPEC__MISSED__MISSED_ALL)
        return proto_err_set(err, -EINVAL, "missed", "is none of once, skip and all");
    if (p.overlap < 0 || p.overlap > PB_SCHEDULE_SPEC__OVERLAP__OVERLAP_ALLOW)
        return proto_err_set(err, -EINVAL, "overlap", "is none of skip, queue and allow");
    r = read_kind(s, &p, &zone, zone_buf, err);
    if (r < 0)
        return r;
    r = tz_set_get(d->zones, zone, &p.zone, why);
    if (r < 0)
        return proto_err_set(err, r, zone == zone_buf ? "cron" : "tz", "%s", why);
    r = read_bounds(s, created, &p, err);
    if (r == 0)
        *ret = p;
    return r;
}
