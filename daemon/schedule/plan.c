#include "daemon/schedule/plan.h"

#include "daemon/schedule/tz.h"

#define SECOND      INT64_C(1000)
#define MINUTE      (60 * SECOND)
#define HOUR        (60 * MINUTE)
#define BACK_HOURS  (3 * HOUR) /* a clock set back further was wrong before */
#define BACK_PACE   MINUTE     /* the same for what has a pace */
#define SEARCH_FROM MINUTE

static int64_t
floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0 ? 1 : 0);
}

static int64_t
next_every(const struct sched_plan *p, int64_t after)
{
    int64_t n;

    if (after < p->start)
        return p->start;
    n = (after - p->start) / p->every + 1;
    if (__builtin_mul_overflow(n, p->every, &n) ||
        __builtin_add_overflow(n, p->start, &n))
        return SCHED_NEVER;
    return n;
}

static int64_t
next_cron(const struct sched_plan *p, int64_t after)
{
    int64_t s;

    if (after < p->start - 1)
        after = p->start - 1;
    s = cron_next(&p->cron, p->zone, floor_div(after, SECOND));
    return s == CRON_NEVER ? SCHED_NEVER : s * SECOND;
}

int64_t
sched_plan_next(const struct sched_plan *p, int64_t after)
{
    int64_t t = SCHED_NEVER;

    switch (p->kind) {
    case SCHED_AT:
        t = after < p->start ? p->start : SCHED_NEVER;
        break;
    case SCHED_EVERY:
        t = next_every(p, after);
        break;
    case SCHED_CRON:
        t = next_cron(p, after);
        break;
    }
    return t > p->until ? SCHED_NEVER : t;
}

/* next is monotonic: the last nominal time at or before `at` is what follows the latest
 * moment that is followed by one. Halving finds it without walking over the runs. */
int64_t
sched_plan_last(const struct sched_plan *p, int64_t from, int64_t at)
{
    int64_t back = SEARCH_FROM, low, high;

    while (at - from > back && sched_plan_next(p, at - back) > at)
        back *= 2;
    if (at - from <= back && sched_plan_next(p, from) > at)
        return from;
    low = at - from <= back ? from : at - back; /* followed by one at or before `at` */
    high = at;                                  /* not so */
    while (high - low > 1) {
        int64_t mid = low + (high - low) / 2;

        if (sched_plan_next(p, mid) <= at)
            low = mid;
        else
            high = mid;
    }
    return sched_plan_next(p, low);
}

/* splitmix64's finish (Steele, Lea, Flood 2014). */
static uint64_t
mix(uint64_t z)
{
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

int64_t
sched_plan_due(const struct sched_plan *p, int64_t nominal)
{
    int64_t room = p->jitter, next;

    if (room == 0 || nominal == SCHED_NEVER)
        return nominal;
    next = sched_plan_next(p, nominal);
    if (next != SCHED_NEVER && next - nominal - 1 < room)
        room = next - nominal - 1;
    if (p->until - nominal < room)
        room = p->until - nominal;
    return nominal +
           (int64_t)(mix(mix((uint64_t)p->id + 0x9e3779b97f4a7c15u) ^ (uint64_t)nominal) %
                     (uint64_t)(room + 1));
}

int64_t
sched_plan_first(const struct sched_plan *p, int64_t now)
{
    return p->kind == SCHED_AT ? sched_plan_next(p, p->start - 1)
                               : sched_plan_next(p, now);
}

int64_t
sched_plan_resume(const struct sched_plan *p, int64_t last, int64_t next, int64_t now)
{
    bool pace =
        p->kind == SCHED_EVERY || (p->kind == SCHED_CRON && cron_every_hour(&p->cron));
    int64_t base = now;

    if (p->kind == SCHED_AT)
        return next;
    if (next <= now) /* asked again: the zone's law may have changed meanwhile */
        return sched_plan_next(p, next - 1);
    if (last > now && last < next && last - now <= (pace ? BACK_PACE : BACK_HOURS))
        base = last;
    return sched_plan_next(p, base);
}

/* How many runs there are from `from` to `to`, both being one; counted up to max. */
static int64_t
count(const struct sched_plan *p, int64_t from, int64_t to, int64_t max)
{
    int64_t n = 1;

    if (p->kind == SCHED_EVERY)
        return (to - from) / p->every + 1;
    for (; from < to && n < max; n++)
        from = sched_plan_next(p, from);
    return n;
}

/* The run that has `keep` - 1 runs between it and `to`; `from` or later. */
static int64_t
skip_to(const struct sched_plan *p, int64_t from, int64_t to, int64_t keep,
        int64_t *missed)
{
    int64_t n = count(p, from, to, INT64_MAX);

    *missed = n > keep ? n - keep : 0;
    if (p->kind == SCHED_EVERY)
        return from + *missed * p->every;
    for (int64_t i = 0; i < *missed; i++)
        from = sched_plan_next(p, from);
    return from;
}

static bool
is_due(const struct sched_plan *p, int64_t nominal, int64_t now)
{
    return nominal <= now && sched_plan_due(p, nominal) <= now;
}

/* All of [from, to], in portions; the oldest beyond the bound are given up. */
static void
decide_all(const struct sched_plan *p, int64_t from, int64_t to,
           struct sched_decision *ret)
{
    from = skip_to(p, from, to, p->max_missed, &ret->missed);
    while (ret->n < SCHED_RUNS_MAX && from <= to) {
        ret->runs[ret->n++] = from;
        ret->last = from;
        from = sched_plan_next(p, from);
    }
    ret->next = from;
}

void
sched_plan_decide(const struct sched_plan *p, int64_t next, int64_t now,
                  struct sched_decision *ret)
{
    int64_t latest = next, second;
    bool on_time;

    *ret = (struct sched_decision){.next = next};
    if (!is_due(p, next, now))
        return;
    second = sched_plan_next(p, next);
    if (second <= now) {
        latest = sched_plan_last(p, next, now);
        if (!is_due(p, latest, now))
            latest = sched_plan_last(p, next, latest - 1);
    }
    if (p->missed == PB_SCHEDULE_SPEC__MISSED__MISSED_ALL) {
        decide_all(p, next, latest, ret);
        return;
    }
    on_time = now - sched_plan_due(p, latest) <= SCHED_GRACE_MS;
    ret->missed = count(p, next, latest, SCHED_COUNT_MAX);
    if (on_time || p->missed == PB_SCHEDULE_SPEC__MISSED__MISSED_ONCE) {
        ret->runs[ret->n++] = latest;
        ret->missed--;
    }
    ret->last = latest;
    ret->next = latest == next ? second : sched_plan_next(p, latest);
}

enum sched_verdict
sched_overlap(int overlap, bool busy, int waiting)
{
    if (!busy || overlap == PB_SCHEDULE_SPEC__OVERLAP__OVERLAP_ALLOW)
        return SCHED_RUN;
    if (overlap == PB_SCHEDULE_SPEC__OVERLAP__OVERLAP_QUEUE &&
        waiting < SCHED_WAITING_MAX)
        return SCHED_WAIT;
    return SCHED_SKIP;
}

size_t
sched_plan_preview(const struct sched_plan *p, int64_t from, size_t n, int64_t *ret)
{
    /* A run whose nominal time has passed may be due yet. */
    int64_t t = sched_plan_next(p, from - p->jitter);
    size_t i = 0;

    for (; i < n && t != SCHED_NEVER; t = sched_plan_next(p, t)) {
        int64_t due = sched_plan_due(p, t);

        if (due > from)
            ret[i++] = due;
    }
    return i;
}
