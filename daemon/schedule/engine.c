#include "daemon/schedule/engine.h"

#include <errno.h>
#include <stdlib.h>

#include "daemon/schedule/clock.h"
#include "daemon/schedule/table.h"
#include "runtime/go.h"

/*
 * An entry is in the order, or paused, or over, or busy. Busy: its fire is with the sink
 * and the lock is free; whoever changes the entry meanwhile counts gen up, and the answer
 * to the fire then changes no state, since what was stored later holds.
 */

enum {
    RETRY_MS = 1000,
    LOOK_MAX = 1024, /* entries looked at before others may have the lock */
};

struct fired {
    struct sched_entry *entry;
    uint32_t gen;
};

struct sched_engine {
    /* Constant. */
    struct sched_sink sink;
    void *arg;
    struct sched_clock *clock;
    struct sched_defaults defaults; /* see sched_engine_set_defaults() */

    /* The engine goroutine's. */
    struct sched_fire *fires;
    struct fired fired[SCHED_FIRES_MAX];
    size_t n_fires;

    uint32_t poked; /* atomic: sync is asked for */

    struct go_mutex mu;
    struct sched_table table; /* guarded by mu */
};

static int64_t
from_row(int64_t t)
{
    return t == 0 ? SCHED_NEVER : t;
}

static int64_t
to_row(int64_t t)
{
    return t == SCHED_NEVER ? 0 : t;
}

int
sched_engine_new(const struct sched_sink *sink, void *arg, struct sched_clock *clock,
                 const struct sched_defaults *d, struct sched_engine **ret)
{
    struct sched_engine *e = calloc(1, sizeof(*e));

    if (e != NULL)
        e->fires = calloc(SCHED_FIRES_MAX, sizeof(*e->fires));
    if (e == NULL || e->fires == NULL) {
        free(e);
        return -ENOMEM;
    }
    e->sink = *sink;
    e->arg = arg;
    e->clock = clock;
    e->defaults = *d;
    *ret = e;
    return 0;
}

void
sched_engine_free(struct sched_engine *e)
{
    if (e == NULL)
        return;
    sched_table_fini(&e->table);
    free(e->fires);
    free(e);
}

/* Into the order by its next run, or out of it. */
static void
order_locked(struct sched_table *t, struct sched_entry *en)
{
    if (en->busy)
        return;
    if (en->paused || en->next == SCHED_NEVER)
        sched_table_unorder(t, en);
    else
        sched_table_order(t, en, sched_plan_due(&en->plan, en->next));
}

/* --- what others tell ----------------------------------------------------------------- */

/* The entry of that id, made if there is none. */
static struct sched_entry *
entry_locked(struct sched_engine *e, int64_t id)
{
    struct sched_entry *en = sched_table_find(&e->table, id);

    if (en != NULL)
        return en;
    en = calloc(1, sizeof(*en));
    if (en == NULL)
        return NULL;
    en->plan.id = id;
    if (sched_table_add(&e->table, en) < 0) {
        free(en);
        return NULL;
    }
    return en;
}

int
sched_engine_put(struct sched_engine *e, const struct sched_row *row,
                 struct proto_err *err)
{
    struct sched_plan plan;
    struct sched_entry *en;
    int64_t due;
    bool first;
    int r;

    r = sched_plan_read(row->spec, &e->defaults, row->id, row->created, &plan, err);
    if (r < 0) {
        (void)sched_engine_remove(e, row->id);
        return r;
    }
    go_mutex_lock(&e->mu);
    en = entry_locked(e, row->id);
    if (en == NULL) {
        go_mutex_unlock(&e->mu);
        return proto_err_set(err, -ENOMEM, NULL, "out of memory");
    }
    en->plan = plan;
    en->paused = row->paused;
    en->stored = row->next;
    en->last = row->last;
    en->next = from_row(row->next);
    if (!row->paused)
        en->next =
            sched_plan_resume(&plan, en->last, en->next, sched_clock_now(e->clock));
    en->gen++;
    order_locked(&e->table, en);
    first = sched_table_first(&e->table, &due) == en;
    go_mutex_unlock(&e->mu);
    if (first)
        sched_clock_wake(e->clock);
    return 0;
}

void
sched_engine_poke(struct sched_engine *e)
{
    if (__atomic_exchange_n(&e->poked, 1, __ATOMIC_SEQ_CST) == 0)
        sched_clock_wake(e->clock);
}

void
sched_engine_set_defaults(struct sched_engine *e, const struct sched_defaults *d)
{
    e->defaults = *d;
}

bool
sched_engine_remove(struct sched_engine *e, int64_t id)
{
    struct sched_entry *en;

    go_mutex_lock(&e->mu);
    en = sched_table_find(&e->table, id);
    if (en != NULL) {
        sched_table_remove(&e->table, en);
        en->gone = true;
        if (!en->busy)
            free(en);
    }
    go_mutex_unlock(&e->mu);
    return en != NULL;
}

int
sched_engine_look(struct sched_engine *e, int64_t id, struct sched_look *ret)
{
    struct sched_entry *en;

    go_mutex_lock(&e->mu);
    en = sched_table_find(&e->table, id);
    if (en != NULL)
        *ret = (struct sched_look){
            .paused = en->paused,
            .next = en->paused ? SCHED_NEVER : sched_plan_due(&en->plan, en->next),
            .last = en->last,
            .runs = en->runs,
            .missed = en->missed,
            .skipped = en->skipped,
        };
    go_mutex_unlock(&e->mu);
    return en != NULL ? 0 : -ENOENT;
}

ssize_t
sched_engine_preview(struct sched_engine *e, int64_t id, int64_t from, size_t n,
                     int64_t *ret)
{
    struct sched_entry *en;
    struct sched_plan plan;

    go_mutex_lock(&e->mu);
    en = sched_table_find(&e->table, id);
    if (en != NULL)
        plan = en->plan;
    go_mutex_unlock(&e->mu);
    return en != NULL ? (ssize_t)sched_plan_preview(&plan, from, n, ret) : -ENOENT;
}

size_t
sched_engine_count(struct sched_engine *e)
{
    size_t n;

    go_mutex_lock(&e->mu);
    n = e->table.n;
    go_mutex_unlock(&e->mu);
    return n;
}

/* --- the engine's goroutine ----------------------------------------------------------- */

static void
fill(struct sched_engine *e, struct sched_entry *en, const struct sched_decision *d)
{
    struct sched_fire *f = &e->fires[e->n_fires];

    e->fired[e->n_fires++] = (struct fired){.entry = en, .gen = en->gen};
    f->id = en->plan.id;
    f->overlap = en->plan.overlap;
    f->from = en->stored;
    f->next = to_row(d->next);
    f->last = d->last;
    f->missed = d->missed;
    f->n = d->n;
    for (size_t i = 0; i < d->n; i++)
        f->runs[i] = (struct sched_run){
            .at = d->runs[i], .next = to_row(i + 1 < d->n ? d->runs[i + 1] : d->next)};
    f->waiting = en->waiting;
    f->waiting_now = en->waiting;
    f->result = -EAGAIN;
    f->done = 0;
    f->row_next = 0;
    en->busy = true;
}

/* Gather what is due into e->fires. *ret_until: when to look again if that is nothing. */
static void
gather(struct sched_engine *e, int64_t *ret_until)
{
    struct sched_decision d;
    struct sched_entry *en;
    int64_t now = sched_clock_now(e->clock), due;

    *ret_until = SCHED_NEVER;
    e->n_fires = 0;
    go_mutex_lock(&e->mu);
    for (int looked = 0; looked < LOOK_MAX && e->n_fires < SCHED_FIRES_MAX; looked++) {
        en = sched_table_first(&e->table, &due);
        if (en == NULL || due > now) {
            *ret_until = en != NULL ? due : SCHED_NEVER;
            break;
        }
        *ret_until = now;
        sched_plan_decide(&en->plan, en->next, now, &d);
        if (d.last == 0) { /* its due time was that of a retry, or of a clock since set */
            order_locked(&e->table, en);
            continue;
        }
        sched_table_unorder(&e->table, en);
        fill(e, en, &d);
    }
    go_mutex_unlock(&e->mu);
}

static void
tally_locked(struct sched_entry *en, const struct sched_fire *f)
{
    en->waiting = f->waiting_now;
    en->missed += f->missed;
    for (size_t i = 0; i < f->done; i++) {
        if (f->runs[i].verdict == SCHED_SKIP)
            en->skipped++;
        else
            en->runs++;
    }
}

/* f->done of its runs are done: go on from there. */
static void
move_locked(struct sched_engine *e, struct sched_entry *en, const struct sched_fire *f,
            int64_t now)
{
    if (f->done < f->n) {
        en->stored = f->runs[f->done].at;
        en->next = en->stored;
        en->last = f->runs[f->done - 1].at;
        sched_table_order(&e->table, en, now + RETRY_MS);
        return;
    }
    en->stored = f->next;
    en->next = from_row(f->next);
    en->last = f->last;
    order_locked(&e->table, en);
}

/* The sink's answer to one fire. */
static void
settle_locked(struct sched_engine *e, const struct sched_fire *f, const struct fired *by,
              int64_t now)
{
    struct sched_entry *en = by->entry;

    en->busy = false;
    if (en->gone) {
        free(en);
        return;
    }
    if (f->result == 0)
        tally_locked(en, f);
    if (en->gen != by->gen) {
        order_locked(&e->table, en);
        return;
    }
    switch (f->result) {
    case 0:
        move_locked(e, en, f, now);
        break;
    case -ESTALE:
        en->stored = f->row_next;
        en->next = sched_plan_resume(&en->plan, en->last, from_row(f->row_next), now);
        order_locked(&e->table, en);
        break;
    case -ENOENT:
        sched_table_remove(&e->table, en);
        free(en);
        break;
    default:
        sched_table_order(&e->table, en, now + RETRY_MS);
        break;
    }
}

static void
fire(struct sched_engine *e)
{
    int64_t now;

    e->sink.fire(e->arg, e->fires, e->n_fires);
    now = sched_clock_now(e->clock);
    go_mutex_lock(&e->mu);
    for (size_t i = 0; i < e->n_fires; i++)
        settle_locked(e, &e->fires[i], &e->fired[i], now);
    go_mutex_unlock(&e->mu);
}

static void
resume_one(struct sched_table *t, struct sched_entry *en, void *arg)
{
    const int64_t *now = arg;

    if (en->busy || en->paused)
        return;
    en->next = sched_plan_resume(&en->plan, en->last, en->next, *now);
    order_locked(t, en);
}

static void
resume_all(struct sched_engine *e)
{
    int64_t now;

    go_mutex_lock(&e->mu);
    now = sched_clock_now(e->clock);
    sched_table_each(&e->table, resume_one, &now);
    go_mutex_unlock(&e->mu);
}

int
sched_engine_run(struct sched_engine *e, struct go_ctx *ctx)
{
    int64_t until;
    int r;

    r = e->sink.load(e->arg, e);
    if (r < 0)
        return r;
    while (go_ctx_err(ctx) == 0) {
        /* Taken before the sink looks, so that what changes then is a poke of its own. */
        if (__atomic_exchange_n(&e->poked, 0, __ATOMIC_SEQ_CST) != 0 &&
            e->sink.sync != NULL) {
            e->sink.sync(e->arg, e);
            continue;
        }
        gather(e, &until);
        if (e->n_fires > 0) {
            fire(e);
            continue;
        }
        r = sched_clock_wait(e->clock, until, ctx);
        if (r == SCHED_CLOCK_SET) {
            if (e->sink.clock_set != NULL)
                e->sink.clock_set(e->arg);
            resume_all(e);
        } else if (r < 0 && go_ctx_err(ctx) == 0)
            return r;
    }
    return 0;
}
