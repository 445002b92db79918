#include "daemon/schedules.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/log.h"
#include "daemon/schedule/clock.h"
#include "daemon/schedule/engine.h"
#include "daemon/schedule/record.h"
#include "daemon/schedule/tz.h"
#include "daemon/schedule_run.h"
#include "daemon/schedule_spec.h"
#include "daemon/store/pool.h"
#include "daemon/store/schedule.h"
#include "daemon/store/writer.h"
#include "daemon/watch.h"
#include "proto/wire.h"
#include "runtime/base/atomic.h"
#include "runtime/base/check.h"
#include "runtime/go.h"

enum { PAGE = 64 };

struct fire_op {
    struct store_op op;
    struct schedules *s;
    struct sched_fire *fire;
    struct schedule_run run;
};

struct schedules {
    struct daemon *d;
    struct sched_clock *clock;
    struct sched_engine *engine;
    struct go_ctx *ctx;
    struct go_wg wg;
    struct go_sem loaded; /* released once load_result is known */
    int load_result;

    /* The engine goroutine's. */
    struct schedule_view *used; /* whose zones the engine's plans are made of */
    struct fire_op *ops;
    struct go_sem fired;
    bool failing, waiting; /* said so in the log */
    struct {
        int64_t schedules, runs, last; /* last: an id */
    } missed;                          /* not yet said */

    struct go_mutex mu;
    /* Guarded by mu. */
    struct schedule_view *view;
    int64_t *changed; /* ids to be read again */
    size_t n_changed, cap_changed;
    bool all_changed;
};

/* --- the view ---------------------------------------------------------------------------- */

int
schedule_view_new(const struct config *cfg, struct schedule_view **ret)
{
    struct schedule_view *v = calloc(1, sizeof(*v));

    if (v == NULL)
        return -ENOMEM;
    v->refs = 1;
    v->tz = strdup(cfg->schedule.tz);
    v->defaults = (struct sched_defaults){
        .zones = tz_set_new(NULL),
        .tz = v->tz,
        .missed = cfg->schedule.missed,
        .overlap = cfg->schedule.overlap,
        .max_missed = cfg->schedule.max_missed,
    };
    if (v->tz == NULL || v->defaults.zones == NULL) {
        schedule_view_unref(v);
        return -ENOMEM;
    }
    *ret = v;
    return 0;
}

void
schedule_view_unref(struct schedule_view *v)
{
    if (v == NULL || ADD(&v->refs, -1, ACQ_REL) > 0)
        return;
    tz_set_free(v->defaults.zones);
    free(v->tz);
    free(v);
}

struct schedule_view *
schedules_view(struct schedules *s)
{
    struct schedule_view *v;

    go_mutex_lock(&s->mu);
    v = s->view;
    ADD(&v->refs, 1, RELAXED);
    go_mutex_unlock(&s->mu);
    return v;
}

/* --- from the store to the engine -------------------------------------------------------- */

static void
put_row(struct schedules *s, const struct store_schedule *row)
{
    struct proto_err err = {.text = ""};
    struct proto_arena a;
    ProtobufCMessage *m;
    int r;

    proto_arena_init(&a, (size_t)SCHEDULE_SPEC_MAX * 8);
    r = proto_unpack(&pb_schedule_spec__descriptor, row->spec, row->spec_len, PROTO_TRUST,
                     &a, &m, &err);
    if (r == 0) {
        struct sched_row out = {
            .id = row->id,
            .spec = (const PbScheduleSpec *)(const void *)m,
            .paused = row->paused,
            .created = row->created,
            .next = row->next_at,
            .last = row->last_at,
        };

        r = sched_engine_put(s->engine, &out, &err);
    }
    proto_arena_free(&a);
    if (r < 0)
        log_error("schedule %lld \"%s\" does not run: %s", (long long)row->id, row->name,
                  err.text[0] != '\0' ? err.text : "its stored form cannot be read");
}

/* Every row, by pages. */
static int
put_all(struct schedules *s)
{
    int64_t after = 0;
    size_t n;
    int r;

    do {
        struct store_schedules page = {.v = NULL};
        struct store_reader *rd = store_pool_get(s->d->readers);

        r = GO_BLOCKING(store_read_schedules(rd, after, PAGE, &page));
        if (r < 0)
            log_error("%s", store_reader_error(rd));
        store_pool_put(s->d->readers, rd);
        for (size_t i = 0; r == 0 && i < page.n; i++) {
            put_row(s, &page.v[i]);
            after = page.v[i].id;
        }
        n = page.n;
        store_schedules_free(&page);
    } while (r == 0 && n == PAGE);
    return r;
}

static int
put_one(struct schedules *s, int64_t id)
{
    struct store_schedules one = {.v = NULL};
    struct store_reader *rd = store_pool_get(s->d->readers);
    int r = GO_BLOCKING(store_read_schedule(rd, NULL, id, &one));

    if (r < 0)
        log_error("%s", store_reader_error(rd));
    store_pool_put(s->d->readers, rd);
    if (r > 0)
        put_row(s, &one.v[0]);
    else if (r == 0)
        (void)sched_engine_remove(s->engine, id);
    store_schedules_free(&one);
    return r;
}

static int
load(void *arg, struct sched_engine *e)
{
    struct schedules *s = arg;

    (void)e;
    s->load_result = put_all(s);
    go_sem_release(&s->loaded, 1);
    return s->load_result;
}

static void
sync_changes(void *arg, struct sched_engine *e)
{
    struct schedules *s = arg;
    struct schedule_view *view = NULL;
    int64_t *ids;
    size_t n;
    bool all;

    go_mutex_lock(&s->mu);
    ids = s->changed;
    n = s->n_changed;
    all = s->all_changed;
    s->changed = NULL;
    s->n_changed = s->cap_changed = 0;
    s->all_changed = false;
    if (all) {
        view = s->view;
        ADD(&view->refs, 1, RELAXED);
    }
    go_mutex_unlock(&s->mu);
    for (size_t i = 0; i < n; i++)
        while (put_one(s, ids[i]) < 0 && go_ctx_sleep(s->ctx, GO_SECOND) == 0)
            ;
    free(ids);
    if (!all)
        return;
    sched_engine_set_defaults(e, &view->defaults);
    while (put_all(s) < 0 && go_ctx_sleep(s->ctx, GO_SECOND) == 0)
        ;
    /* No plan knows the old zones any more; or the engine ends and looks at none. */
    schedule_view_unref(s->used);
    s->used = view;
}

void
schedules_tell(struct schedules *s, struct event_cursor events)
{
    struct store_event ev;
    bool any = false;

    while (s != NULL && event_next(&events, &ev) > 0) {
        if (ev.type != EVENT_SCHEDULE || ev.attempt == SCHEDULE_RAN)
            continue;
        go_mutex_lock(&s->mu);
        if (s->n_changed == s->cap_changed) {
            size_t cap = s->cap_changed > 0 ? s->cap_changed * 2 : 16;
            int64_t *v = realloc(s->changed, cap * sizeof(*v));

            if (v != NULL) {
                s->changed = v;
                s->cap_changed = cap;
            }
        }
        if (s->n_changed < s->cap_changed)
            s->changed[s->n_changed++] = ev.job;
        else
            s->all_changed = true;
        go_mutex_unlock(&s->mu);
        any = true;
    }
    if (any)
        sched_engine_poke(s->engine);
}

/* --- runs -------------------------------------------------------------------------------- */

static int
submit_run(void *arg, struct store *st, int64_t schedule, int64_t nominal, int64_t after,
           int64_t *ret_batch)
{
    (void)nominal;
    return schedule_run_submit(arg, st, schedule, after, ret_batch);
}

static int
fire_run(struct store *st, struct store_op *op)
{
    struct fire_op *o = (struct fire_op *)op;
    struct sched_submit submit = {.fn = submit_run, .arg = &o->run};

    o->run.why[0] = '\0';
    o->run.deadline = false;
    return sched_record(st, o->fire, &submit);
}

static void
fire_done(struct store_op *op)
{
    go_sem_release(&((struct fire_op *)op)->s->fired, 1);
}

/* One line, however many there were. */
static void
report_missed(struct schedules *s)
{
    if (s->missed.schedules == 1)
        log_notice("schedule %lld: %lld runs were missed", (long long)s->missed.last,
                   (long long)s->missed.runs);
    else if (s->missed.schedules > 1)
        log_notice("%lld runs of %lld schedules were missed", (long long)s->missed.runs,
                   (long long)s->missed.schedules);
    s->missed.schedules = s->missed.runs = 0;
}

/* The answers are in: what the log says of them. */
static void
report(struct schedules *s, const struct fire_op *ops, size_t n)
{
    bool failing = false, waiting = false;

    for (size_t i = 0; i < n; i++) {
        const struct fire_op *o = &ops[i];
        const struct sched_fire *f = o->fire;

        if (o->run.why[0] != '\0')
            log_warning("schedule %lld: a run could not be submitted: %s",
                        (long long)f->id, o->run.why);
        if (f->missed > 0 && f->result == 0) {
            s->missed.schedules++;
            s->missed.runs += f->missed;
            s->missed.last = f->id;
        }
        if (f->result == -EAGAIN || (f->result == 0 && f->done < f->n)) {
            waiting = true;
            if (!s->waiting)
                log_warning("runs of schedules wait until there is room for their jobs");
        } else if (f->result < 0 && f->result != -ESTALE && f->result != -ENOENT) {
            failing = true;
            if (!s->failing)
                log_error("schedule %lld does not run, it is tried again: %s",
                          (long long)f->id, o->op.err);
        }
    }
    s->failing = failing;
    s->waiting = waiting;
    if (n < SCHED_FIRES_MAX) /* all that was due has been looked at */
        report_missed(s);
}

static void
fire(void *arg, struct sched_fire *fires, size_t n)
{
    struct schedules *s = arg;
    struct job_env *env = daemon_env(s->d);
    bool deadline = false;

    ENSURE(n <= SCHED_FIRES_MAX);
    for (size_t i = 0; i < n; i++) {
        s->ops[i] = (struct fire_op){
            .op = {.run = fire_run, .done = fire_done},
            .s = s,
            .fire = &fires[i],
            .run = {.cfg = job_env_config(env), .refuse = LOAD(&s->d->low_disk, RELAXED)},
        };
        store_writer_post(s->d->writer, &s->ops[i].op);
    }
    go_sem_acquire(&s->fired, (int64_t)n);
    for (size_t i = 0; i < n; i++) {
        fires[i].result = s->ops[i].op.result;
        if (fires[i].result < 0)
            fires[i].done = 0;
        deadline = deadline || s->ops[i].run.deadline;
    }
    report(s, s->ops, n);
    if (deadline)
        watch_deadlines(s->d->watch);
    job_env_unref(env);
}

static void
clock_set(void *arg)
{
    struct schedules *s = arg;

    log_notice("the system's clock was set");
    store_writer_kick(s->d->writer);
    watch_deadlines(s->d->watch);
}

/* --- up and down ------------------------------------------------------------------------- */

int
schedules_new(struct daemon *d, const struct config *cfg, struct schedules **ret)
{
    static const struct sched_sink sink = {
        .load = load, .fire = fire, .sync = sync_changes, .clock_set = clock_set};
    struct schedules *s = calloc(1, sizeof(*s));
    int r;

    if (s == NULL)
        return -ENOMEM;
    s->d = d;
    go_sem_init(&s->loaded, 0);
    go_sem_init(&s->fired, 0);
    s->ctx = go_ctx_with_cancel(NULL);
    s->ops = calloc(SCHED_FIRES_MAX, sizeof(*s->ops));
    r = s->ctx == NULL || s->ops == NULL ? -ENOMEM : schedule_view_new(cfg, &s->view);
    if (r == 0) {
        s->used = s->view;
        s->view->refs++;
        r = sched_clock_new(&s->clock);
    }
    if (r == 0)
        r = sched_engine_new(&sink, s, s->clock, &s->view->defaults, &s->engine);
    if (r < 0) {
        schedules_free(s);
        return r;
    }
    *ret = s;
    return 0;
}

static void
engine_main(struct schedules *s)
{
    int r = sched_engine_run(s->engine, s->ctx);

    if (r < 0 && s->load_result == 0)
        log_error("schedules do not run any more: %s", strerror(-r));
}

int
schedules_start(struct schedules *s)
{
    int64_t id = go_opt((&(const struct go_opts){.name = "schedules", .wg = &s->wg}),
                        engine_main, s);

    if (id < 0)
        return (int)id;
    go_sem_acquire(&s->loaded, 1);
    return s->load_result;
}

void
schedules_stop(struct schedules *s)
{
    if (s == NULL)
        return;
    go_ctx_cancel(s->ctx);
    go_wg_wait(&s->wg);
}

void
schedules_free(struct schedules *s)
{
    if (s == NULL)
        return;
    sched_engine_free(s->engine);
    sched_clock_free(s->clock);
    schedule_view_unref(s->used);
    schedule_view_unref(s->view);
    go_ctx_unref(s->ctx);
    free(s->ops);
    free(s->changed);
    free(s);
}

int
schedules_reload(struct schedules *s, const struct config *cfg)
{
    struct schedule_view *view, *old;
    int r = schedule_view_new(cfg, &view);

    if (r < 0)
        return r;
    go_mutex_lock(&s->mu);
    old = s->view;
    s->view = view;
    s->all_changed = true;
    go_mutex_unlock(&s->mu);
    schedule_view_unref(old);
    sched_engine_poke(s->engine);
    return 0;
}

size_t
schedules_count(struct schedules *s)
{
    return sched_engine_count(s->engine);
}
