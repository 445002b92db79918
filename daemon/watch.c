#include "daemon/watch.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/statvfs.h>

#include "daemon/dispatch.h"
#include "daemon/hub.h"
#include "daemon/log.h"
#include "daemon/notify.h"
#include "daemon/store/finish.h"
#include "daemon/store/writer.h"
#include "runtime/base/atomic.h"
#include "runtime/go.h"

#define SECOND         GO_SECOND /* the disk, and rates */
#define STATUS_EVERY   (5 * GO_SECOND)
#define DEADLINE_EVERY (60 * GO_SECOND) /* at the latest: the wall clock may be set */

struct watch {
    struct daemon *d;
    struct go_ctx *ctx;
    struct go_chan *kick; /* of the goroutine for deadlines; holds one */
    struct go_wg wg;
    struct rates_sample sample; /* second_main()'s */
};

/* --- the disk ---------------------------------------------------------------------------- */

static void
look_at_disk(struct daemon *d)
{
    struct job_env *env = daemon_env(d);
    const struct config *cfg = job_env_config(env);
    struct statvfs st;
    bool low = false;

    if (GO_BLOCKING(statvfs(cfg->state_dir, &st)) == 0) {
        int64_t free_bytes = (int64_t)st.f_bavail * (int64_t)st.f_frsize;

        STORE(&d->free_bytes, free_bytes, RELAXED);
        low = cfg->limits.disk_free > 0 && free_bytes < cfg->limits.disk_free;
    }
    if (low != SWAP(&d->low_disk, low, RELAXED)) {
        if (low)
            log_warning(
                "the disk of %s is fuller than limits.disk_free allows: new jobs are "
                "refused",
                cfg->state_dir);
        else
            log_notice("the disk of %s has room again", cfg->state_dir);
    }
    job_env_unref(env);
}

/* --- how fast jobs come and go ----------------------------------------------------------- */

void
watch_sample(struct daemon *d, struct rates_sample *ret)
{
    struct hub_totals t = hub_totals(d->hub);

    ret->submitted = t.submitted;
    ret->ended = t.ended;
    dispatch_started(d->dispatch, ret->started, STORE_QUEUES_MAX);
    ret->at = go_now();
}

static void
second_main(struct watch *w)
{
    do {
        watch_sample(w->d, &w->sample);
        rates_add(&w->d->rates, &w->sample);
        look_at_disk(w->d);
    } while (go_ctx_sleep(w->ctx, SECOND) == 0);
}

/* --- deadlines of batches ---------------------------------------------------------------- */

struct deadline_op {
    struct store_op op;
    int64_t now;
    int64_t batch; /* that is late, or 0 */
    int64_t next;  /* the earliest that has not passed, or 0 */
};

static int
deadline_run(struct store *st, struct store_op *op)
{
    struct deadline_op *o = (struct deadline_op *)op;
    int64_t after = 0, batch, at;
    int r;

    o->batch = o->next = 0;
    r = store_deadline_next(st, after, &batch, &at);
    if (r <= 0)
        return r;
    if (at > o->now) {
        o->next = at;
        return 0;
    }
    o->batch = batch;
    return 0;
}

static int
cancel_run(struct store *st, struct store_op *op)
{
    return store_cancel_batch(st, ((struct deadline_op *)op)->batch, STORE_STOP_DEADLINE);
}

/* Cancels what is late; returns when the next deadline comes, on go_now()'s clock. */
static int64_t
look_at_deadlines(struct watch *w)
{
    struct deadline_op o;
    int64_t last = 0, next = go_deadline(DEADLINE_EVERY), at;

    for (;;) {
        o = (struct deadline_op){.op = {.run = deadline_run, .nosync = true},
                                 .now = daemon_now_ms()};
        if (store_writer_do(w->d->writer, &o.op) < 0)
            return go_deadline(GO_SECOND);
        if (o.batch == 0 || o.batch == last)
            break;
        log_info("the deadline of batch %lld has passed", (long long)o.batch);
        o.op = (struct store_op){.run = cancel_run};
        if (store_writer_do(w->d->writer, &o.op) < 0)
            return go_deadline(GO_SECOND);
        last = o.batch;
    }
    at = o.next > 0 ? go_deadline((o.next - o.now) * GO_MILLISECOND) : next;
    return at < next ? at : next;
}

static void
deadline_main(struct watch *w)
{
    int64_t next;
    int r = 0;

    while (r >= 0) {
        struct go_case cases[] = {
            GO_CASE_RECV(w->kick, NULL),
            GO_CASE_RECV(go_ctx_done(w->ctx), NULL),
        };

        next = look_at_deadlines(w);
        r = go_select_until(cases, 2, next);
        r = r == 1 ? -ECANCELED : 0;
    }
}

void
watch_deadlines(struct watch *w)
{
    (void)go_chan_try_send(w->kick, NULL);
}

/* --- the service manager ----------------------------------------------------------------- */

static void
alive_main(struct watch *w)
{
    int64_t every = notify_watchdog_every();
    int64_t sleep = every > 0 && every < STATUS_EVERY ? every : STATUS_EVERY,
            status_at = 0;

    do {
        struct dispatch_counts n;

        if (every > 0)
            notify_alive();
        if (go_now() < status_at)
            continue;
        status_at = go_deadline(STATUS_EVERY);
        dispatch_counts(w->d->dispatch, &n);
        notify_status("%s, %lld jobs running",
                      LOAD(&w->d->draining, RELAXED) ? "stopping" : "serving",
                      (long long)n.running);
    } while (go_ctx_sleep(w->ctx, sleep) == 0);
}

int
watch_start(struct daemon *d, struct watch **ret)
{
    struct watch *w = calloc(1, sizeof(*w));

    if (w == NULL)
        return -ENOMEM;
    w->d = d;
    w->ctx = go_ctx_with_cancel(NULL);
    w->kick = go_chan_new(0, 1);
    if (w->ctx == NULL || w->kick == NULL || go_wg_go(&w->wg, second_main, w) < 0 ||
        go_wg_go(&w->wg, deadline_main, w) < 0 || go_wg_go(&w->wg, alive_main, w) < 0) {
        watch_stop(w);
        return -ENOMEM;
    }
    *ret = w;
    return 0;
}

void
watch_stop(struct watch *w)
{
    if (w == NULL)
        return;
    if (w->ctx != NULL)
        go_ctx_cancel(w->ctx);
    go_wg_wait(&w->wg);
    go_ctx_unref(w->ctx);
    go_chan_unref(w->kick);
    free(w);
}
