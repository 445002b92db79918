#include "daemon/store/writer.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "daemon/store/claim.h"
#include "daemon/store/depend.h"
#include "daemon/store/finish.h"
#include "runtime/base/atomic.h"
#include "runtime/go.h"

enum {
    GROUP_DFLT = 4096,      /* operations a transaction */
    STEP_MAX = 500,         /* rows of the store's own work a transaction */
    KEEP_EVERY_MS = 100,    /* retention under load */
    KEEP_IDLE_MS = 1000,    /* when nothing comes */
    KEEP_ASLEEP_MS = 30000, /* when there was nothing to do either */
    TIDY_PAGES = 2000,
};

struct store_writer {
    struct store *st; /* the writer goroutine's alone */
    struct store_writer_opts o;
    struct go_wg wg;

    struct go_mutex mu;
    struct go_cond more; /* with mu */
    /* Guarded by mu. */
    struct store_op *head, **tail;
    struct store_keep keep;
    bool stop, kick;

    int signalling; /* atomic: who posted and has yet to wake the writer */

    /* The writer goroutine's alone. */
    struct store_keep keep_now;
    int64_t keep_at; /* ms: the next step of retention */
    bool dirty;      /* something was committed since the last tidying */
    bool work_left;  /* steps of the store's own work remain */
    bool told_failed;
    struct store_writer_stats stats; /* atomic: others read */
};

static int64_t
wall_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void
answer(struct store_op *op)
{
    if (op->done != NULL)
        op->done(op);
    else
        go_sem_release(&op->sem_, 1);
}

static void
set_result(struct store_writer *w, struct store_op *op, int r)
{
    op->result = r;
    if (r < 0)
        snprintf(op->err, sizeof(op->err), "%s", store_error(w->st));
}

static void
fail_all(struct store_writer *w, struct store_op *group, int r)
{
    for (struct store_op *op = group; op != NULL; op = op->next_)
        set_result(w, op, r);
}

/* --- a transaction ----------------------------------------------------------------------- */

/* The store's own work. Follows from what is durable already, so it needs no sync. */
static int
own_steps(struct store_writer *w, int64_t now)
{
    int deps, cancels, due, r = 0;

    deps = store_deps_step(w->st, STEP_MAX);
    if (deps < 0)
        return deps;
    cancels = store_cancel_step(w->st, STEP_MAX);
    if (cancels < 0)
        return cancels;
    due = store_promote(w->st, STEP_MAX);
    if (due < 0)
        return due;
    w->work_left = deps > 0 || cancels > 0 || due >= STEP_MAX;
    if (now >= w->keep_at) {
        r = store_keep_step(w->st, &w->keep_now,
                            w->keep_now.step > 0 ? w->keep_now.step : STEP_MAX);
        w->keep_at = now + (r > 0 ? KEEP_EVERY_MS : KEEP_IDLE_MS);
    }
    return r < 0 ? r : 0;
}

/* The operations at the start of the list that can be carried out together. */
static size_t
alike(struct store_op *op, struct store_op **ret)
{
    int (*all)(struct store *, struct store_op **, size_t) = op->run_all;
    size_t n = 0;

    do {
        ret[n++] = op;
        op = op->next_;
    } while (all != NULL && op != NULL && op->run_all == all && n < STORE_OPS_MAX);
    return n;
}

/* All operations without savepoints: 0, or an error that spoilt the transaction. */
static int
run_plain(struct store_writer *w, struct store_op *group)
{
    struct store_op *v[STORE_OPS_MAX];
    size_t n;
    int r;

    for (struct store_op *op = group; op != NULL; op = v[n - 1]->next_) {
        n = alike(op, v);
        if (n > 1) {
            r = op->run_all(w->st, v, n);
        } else {
            r = op->run(w->st, op);
            set_result(w, op, r);
        }
        if (store_broken(w->st))
            return r < 0 ? r : -EIO;
    }
    return 0;
}

/* Each operation by itself: one that spoils is undone and the rest go on. */
static int
run_marked(struct store_writer *w, struct store_op *group)
{
    int r = 0;

    for (struct store_op *op = group; r == 0 && op != NULL; op = op->next_) {
        r = store_mark(w->st);
        if (r < 0)
            break;
        set_result(w, op, op->run(w->st, op));
        r = store_broken(w->st) ? store_mark_undo(w->st) : store_mark_keep(w->st);
    }
    return r;
}

static void
count(struct store_writer *w, const struct store_op *group, int64_t ns)
{
    int64_t n = 0;

    for (; group != NULL; group = group->next_)
        n++;
    if (n == 0)
        return; /* the store's own work */
    BUMP(&w->stats.commits, 1);
    BUMP(&w->stats.writes, n);
    BUMP(&w->stats.commit_ns, ns);
    if (ns > w->stats.commit_max_ns)
        STORE(&w->stats.commit_max_ns, ns, RELAXED);
}

static int
commit(struct store_writer *w, const struct store_op *group, const struct store_op *late)
{
    int64_t begin = go_now();
    int r = store_commit(w->st);

    if (r == 0) {
        count(w, group, go_now() - begin);
        for (; late != NULL; late = late->next_)
            BUMP(&w->stats.writes, 1);
    }
    return r;
}

/* What is in the transaction beside the group. */
static int
run_rest(struct store_writer *w, struct store_op *rider, int64_t now)
{
    int r = own_steps(w, now);

    if (rider != NULL)
        set_result(w, rider, r < 0 ? r : rider->run(w->st, rider));
    return r < 0 || rider == NULL ? r : rider->result;
}

/* Begin a transaction and carry all out in it, up to its commit. */
static int
run_group(struct store_writer *w, struct store_op *group, struct store_op *rider,
          int64_t now, bool nosync)
{
    enum store_sync sync = nosync ? STORE_NOSYNC : STORE_SYNC;
    int r;

    r = store_begin(w->st, now, sync);
    if (r < 0)
        return r;
    r = run_plain(w, group);
    if (r < 0) {
        store_rollback(w->st);
        r = store_begin(w->st, now, sync);
        if (r < 0)
            return r;
        r = run_marked(w, group);
    }
    /* On a full disk the steps fail for want of room, but an operation may still fit. */
    if (r == 0)
        r = store_mark(w->st);
    if (r == 0)
        r = run_rest(w, rider, now) < 0 ? store_mark_undo(w->st) : store_mark_keep(w->st);
    if (r < 0)
        store_rollback(w->st);
    return r;
}

/* What came late: 0, with *ret_kept true if it is in the transaction. */
static int
run_late(struct store_writer *w, struct store_op *late, bool *ret_kept)
{
    int r = store_mark(w->st);

    if (r == 0) {
        *ret_kept = run_plain(w, late) == 0;
        r = *ret_kept ? store_mark_keep(w->st) : store_mark_undo(w->st);
    }
    if (r < 0)
        store_rollback(w->st);
    /* The steps come again for what these ends have set off. */
    w->work_left = w->work_left || store_deps_due(w->st) || store_cancels_due(w->st);
    return r;
}

static void
tell(struct store_writer *w)
{
    struct event_cursor events;
    int64_t n = store_committed(w->st, &events);

    if (n > 0 && w->o.on_events != NULL)
        w->o.on_events(w->o.arg, &events, n);
}

static void
tell_failure(struct store_writer *w)
{
    if (!store_failed(w->st) || w->told_failed)
        return;
    w->told_failed = true;
    if (w->o.on_failed != NULL)
        w->o.on_failed(w->o.arg, store_error(w->st));
}

/* Answer a list. Whoever is answered may free its operation. */
static void
answer_all(struct store_op *list)
{
    while (list != NULL) {
        struct store_op *next = list->next_;

        answer(list);
        list = next;
    }
}

/* Once more, in the next transaction. */
static void
post_all(struct store_writer *w, struct store_op *list)
{
    while (list != NULL) {
        struct store_op *next = list->next_;

        store_writer_post(w, list);
        list = next;
    }
}

/* The transaction of a group, its rider and what is late for it: 0, or why there is none. */
static int
transact(struct store_writer *w, struct store_op *group, struct store_op *rider,
         struct store_op **ret_late, bool *ret_kept)
{
    bool nosync = true;
    int r;

    for (struct store_op *op = group; op != NULL; op = op->next_)
        nosync = nosync && op->nosync;
    w->work_left = false;
    go_enter_blocking();
    r = run_group(w, group, rider, w->o.now_ms(), nosync);
    if (r == 0 && !nosync && rider != NULL && rider->result > 0 && w->o.late != NULL) {
        go_exit_blocking();
        *ret_late = w->o.late(w->o.arg);
        go_enter_blocking();
        if (*ret_late != NULL)
            r = run_late(w, *ret_late, ret_kept);
    }
    if (r == 0)
        r = commit(w, group, *ret_kept ? *ret_late : NULL);
    go_exit_blocking();
    return r;
}

static void
process(struct store_writer *w, struct store_op *group)
{
    struct store_op *rider = w->o.rider != NULL ? w->o.rider(w->o.arg) : NULL;
    struct store_op *late = NULL;
    bool kept = false;
    int r;

    if (rider != NULL)
        rider->next_ = NULL;
    r = transact(w, group, rider, &late, &kept);
    if (group == NULL || group->next_ == NULL)
        go_park_soon(2); /* who asked, and what was claimed with it */
    if (r < 0) {
        fail_all(w, group, r);
        fail_all(w, rider, r);
        fail_all(w, late, r);
        /* What the store has to do for itself waits, too: the disk may be full for long. */
        w->work_left = false;
        w->keep_at = w->o.now_ms() + KEEP_IDLE_MS;
    } else {
        tell(w);
    }
    tell_failure(w);
    if (rider != NULL)
        answer(rider);
    answer_all(group);
    if (r < 0 || kept)
        answer_all(late);
    else
        post_all(w, late);
    w->dirty = true;
    if (r == 0) {
        (void)GO_BLOCKING(store_checkpoint_due(w->st));
        tell_failure(w);
    }
}

/* --- the goroutine ----------------------------------------------------------------------- */

/* Up to o.group operations, in order. */
static struct store_op *
take_group(struct store_writer *w)
{
    struct store_op *group = w->head, *op = group;
    int64_t n = 1;

    while (op != NULL && op->next_ != NULL && n < w->o.group) {
        op = op->next_;
        n++;
    }
    if (op == NULL)
        return NULL;
    w->head = op->next_;
    if (w->head == NULL)
        w->tail = &w->head;
    op->next_ = NULL;
    return group;
}

/* When to look again though nobody asks, on go_now()'s clock. */
static int64_t
next_look(struct store_writer *w)
{
    int64_t now = w->o.now_ms(), at = w->keep_at, due = 0;

    if (w->work_left)
        return 0;
    if (!store_failed(w->st) && GO_BLOCKING(store_next_due(w->st, &due)) > 0 && due < at)
        at = due;
    return go_now() + (at > now ? at - now : 0) * 1000000;
}

/* Nothing has come for a while: retention, then tidying, then a long sleep. */
static void
idle(struct store_writer *w)
{
    int64_t keep_at = w->keep_at;

    if (store_failed(w->st)) {
        w->keep_at = w->o.now_ms() + KEEP_ASLEEP_MS;
        return;
    }
    process(w, NULL);
    if (w->work_left || w->keep_at == keep_at)
        return;
    if (w->keep_at - w->o.now_ms() <= KEEP_EVERY_MS)
        return; /* retention is still at it */
    if (w->dirty)
        (void)GO_BLOCKING(store_tidy(w->st, TIDY_PAGES));
    w->dirty = false;
    w->keep_at = w->o.now_ms() + KEEP_ASLEEP_MS;
}

static void
writer_main(struct store_writer *w)
{
    for (;;) {
        struct store_op *group;
        int64_t until = next_look(w);
        bool stop;

        go_mutex_lock(&w->mu);
        while (w->head == NULL && !w->stop && !w->kick && until != 0)
            if (go_cond_wait_until(&w->more, until) < 0)
                break;
        group = take_group(w);
        stop = w->stop && group == NULL;
        if (w->kick) /* the clock was set, or retention: what was planned does not hold */
            w->keep_at = w->o.now_ms();
        w->kick = false;
        w->keep_now = w->keep;
        go_mutex_unlock(&w->mu);
        if (stop)
            return;
        if (group != NULL)
            process(w, group);
        else
            idle(w);
    }
}

int
store_writer_start(struct store *st, const struct store_writer_opts *o,
                   struct store_writer **ret)
{
    struct store_writer *w = calloc(1, sizeof(*w));
    int64_t id;

    if (w == NULL)
        return -ENOMEM;
    w->st = st;
    w->o = *o;
    if (w->o.now_ms == NULL)
        w->o.now_ms = wall_ms;
    if (w->o.group == 0)
        w->o.group = GROUP_DFLT;
    w->keep = w->keep_now = o->keep;
    w->keep_at = w->o.now_ms();
    w->tail = &w->head;
    go_cond_init(&w->more, &w->mu);
    id = go_opt((&(const struct go_opts){.name = "store writer", .wg = &w->wg}),
                writer_main, w);
    if (id < 0) {
        free(w);
        return (int)id;
    }
    *ret = w;
    return 0;
}

void
store_writer_stop(struct store_writer *w)
{
    if (w == NULL)
        return;
    go_mutex_lock(&w->mu);
    w->stop = true;
    go_cond_signal(&w->more);
    go_mutex_unlock(&w->mu);
    go_wg_wait(&w->wg);
    while (LOAD(&w->signalling, ACQUIRE) > 0) /* what they posted is answered already */
        go_yield();
    free(w);
}

void
store_writer_post(struct store_writer *w, struct store_op *op)
{
    bool first;

    op->next_ = NULL;
    go_mutex_lock(&w->mu);
    *w->tail = op;
    w->tail = &op->next_;
    first = w->head == op;
    if (first)
        ADD(&w->signalling, 1, RELAXED);
    go_mutex_unlock(&w->mu);
    if (first) { /* not under the mutex, which the writer would run into */
        go_cond_signal(&w->more);
        ADD(&w->signalling, -1, RELEASE);
    }
}

int
store_writer_do(struct store_writer *w, struct store_op *op)
{
    op->done = NULL;
    go_sem_init(&op->sem_, 0);
    go_park_soon(1);
    store_writer_post(w, op);
    go_sem_acquire(&op->sem_, 1);
    return op->result;
}

struct store_writer_stats
store_writer_stats(const struct store_writer *w)
{
    return (struct store_writer_stats){
        .commits = LOAD(&w->stats.commits, RELAXED),
        .writes = LOAD(&w->stats.writes, RELAXED),
        .commit_ns = LOAD(&w->stats.commit_ns, RELAXED),
        .commit_max_ns = LOAD(&w->stats.commit_max_ns, RELAXED),
    };
}

void
store_writer_kick(struct store_writer *w)
{
    go_mutex_lock(&w->mu);
    w->kick = true;
    go_cond_signal(&w->more);
    go_mutex_unlock(&w->mu);
}

void
store_writer_set_keep(struct store_writer *w, const struct store_keep *keep)
{
    go_mutex_lock(&w->mu);
    w->keep = *keep;
    w->kick = true;
    go_cond_signal(&w->more);
    go_mutex_unlock(&w->mu);
}
