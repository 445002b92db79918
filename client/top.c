#define _GNU_SOURCE
#include "client/top.h"

#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "client/conn.h"
#include "client/screen.h"
#include "client/top_view.h"
#include "proto/wire.h"

/*
 * A thread asks the daemon again and again; the main thread draws what came last, and waits
 * for keys and signals. So the screen answers while the daemon does not.
 */

#define EVERY_NS (GOCTL_SECOND)
#define CALL_NS  (5 * GOCTL_SECOND) /* for one answer; then it is asked again */
#define LATE_NS  (2 * GOCTL_SECOND) /* with no answer for so long it is called lost */

enum { ASKED_MAX = 1000, ONCE_ASKED = 50, ONCE_COLUMNS = 100 };

struct feed {
    /* Constant while it runs. */
    struct goctl *conn;
    int64_t every_ns;

    pthread_mutex_t mu;
    pthread_cond_t cond; /* CLOCK_MONOTONIC */
    /* Guarded by mu. */
    bool stop, hurry, calling;
    uint32_t wanted;           /* running jobs asked for */
    struct goctl_reply *fresh; /* not taken yet */
    int64_t fresh_at;
    bool refused;
    struct goctl_error err;
};

struct top {
    struct cli *cli;
    struct feed feed;
    struct goctl_reply *now, *before;
    int64_t now_at, before_at;
    size_t skip;
    struct page page;
};

static bool lost; /* atomic, by the library's thread: the connection is broken */

static int
ask(struct goctl *conn, uint32_t running, int64_t timeout_ns, struct goctl_reply **ret,
    struct goctl_error *err)
{
    PbStats stats = PB_STATS__INIT;
    PbRequest req = PB_REQUEST__INIT;

    PB_SET(&stats, queues, true);
    PB_SET(&stats, running, true);
    PB_SET(&stats, running_limit, running);
    req.call_case = PB_REQUEST__CALL_STATS;
    req.stats = &stats;
    if (goctl_call(conn, &req, timeout_ns, ret, err) < 0)
        return -1;
    if (goctl_response(*ret)->reply_case == PB_RESPONSE__REPLY_STATS)
        return 0;
    goctl_reply_free(*ret);
    return goctl_fail(err, GOCTL_PROTOCOL, "gojobd sent a reply of another call");
}

/* --- asking ----------------------------------------------------------------------------- */

/* mu is held. */
static void
pause_locked(struct feed *f)
{
    int64_t until = goctl_now() + f->every_ns;
    struct timespec ts = {.tv_sec = until / GOCTL_SECOND,
                          .tv_nsec = until % GOCTL_SECOND};

    while (!f->stop && !f->hurry)
        if (pthread_cond_timedwait(&f->cond, &f->mu, &ts) != 0)
            break;
    f->hurry = false;
}

static void *
feed_main(void *arg)
{
    struct feed *f = arg;

    pthread_mutex_lock(&f->mu);
    while (!f->stop) {
        struct goctl_reply *reply = NULL;
        struct goctl_error err = {0};
        uint32_t wanted = f->wanted;
        int r;

        f->calling = true;
        pthread_mutex_unlock(&f->mu);
        r = ask(f->conn, wanted, CALL_NS, &reply, &err);
        pthread_mutex_lock(&f->mu);
        f->calling = false;
        if (r == 0) {
            goctl_reply_free(f->fresh);
            f->fresh = reply;
            f->fresh_at = goctl_now();
        } else if (err.code == GOCTL_REFUSED || err.code == GOCTL_PROTOCOL) {
            f->refused = true;
            f->err = err;
        }
        screen_wake();
        pause_locked(f);
    }
    pthread_mutex_unlock(&f->mu);
    return NULL;
}

static void
feed_init(struct feed *f, struct goctl *conn, int64_t every_ns)
{
    pthread_condattr_t attr;

    *f = (struct feed){.conn = conn, .every_ns = every_ns, .wanted = ONCE_ASKED};
    (void)pthread_mutex_init(&f->mu, NULL);
    (void)pthread_condattr_init(&attr);
    (void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&f->cond, &attr);
    (void)pthread_condattr_destroy(&attr);
}

static void
feed_hurry(struct feed *f)
{
    pthread_mutex_lock(&f->mu);
    f->hurry = true;
    pthread_cond_signal(&f->cond);
    pthread_mutex_unlock(&f->mu);
}

/* --- showing ---------------------------------------------------------------------------- */

/* Takes what has come; false when the daemon refuses to say more. */
static bool
take(struct top *t, size_t rows)
{
    struct feed *f = &t->feed;
    bool refused;

    pthread_mutex_lock(&f->mu);
    if (f->fresh != NULL) {
        goctl_reply_free(t->before);
        t->before = t->now;
        t->before_at = t->now_at;
        t->now = f->fresh;
        t->now_at = f->fresh_at;
        f->fresh = NULL;
        __atomic_store_n(&lost, false, __ATOMIC_RELAXED);
    }
    f->wanted = (uint32_t)(t->skip + rows);
    refused = f->refused;
    pthread_mutex_unlock(&f->mu);
    return !refused;
}

static const PbStatsReply *
stats_of(const struct goctl_reply *reply)
{
    return reply != NULL ? goctl_response(reply)->stats : NULL;
}

static void
draw(struct top *t, size_t columns, size_t rows)
{
    int64_t silent = goctl_now() - t->now_at;
    struct top_view v = {
        .url = goctl_url(t->cli->conn),
        .now = goctl_response(t->now)->stats,
        .before = stats_of(t->before),
        .span_ns = t->now_at - t->before_at,
        .columns = columns,
        .rows = rows,
        .skip = t->skip,
    };

    /* What was counted before a restart says nothing of what came after. */
    if (v.before != NULL && v.before->epoch != v.now->epoch)
        v.before = NULL;
    if (silent > t->feed.every_ns + LATE_NS ||
        (__atomic_load_n(&lost, __ATOMIC_RELAXED) && silent > 0))
        v.lost_ns = silent > GOCTL_SECOND ? silent : GOCTL_SECOND;
    top_view(&v, &t->page);
}

static void
move(struct top *t, size_t rows, enum screen_event ev)
{
    size_t page = rows > 4 ? rows / 2 : 2;
    const PbStatsReply *r = goctl_response(t->now)->stats;
    size_t running = r->counts != NULL ? (size_t)r->counts->running : 0;

    if (ev == SCREEN_HOME)
        t->skip = 0;
    else if (ev == SCREEN_UP || ev == SCREEN_PAGE_UP)
        t->skip -= ev == SCREEN_UP && t->skip > 0 ? 1 : t->skip < page ? t->skip : page;
    else
        t->skip += ev == SCREEN_DOWN ? 1 : page;
    if (t->skip >= running)
        t->skip = running > 0 ? running - 1 : 0;
    if (t->skip > ASKED_MAX - rows)
        t->skip = ASKED_MAX - rows;
    feed_hurry(&t->feed);
}

static enum screen_event
loop(struct top *t)
{
    enum screen_event ev = SCREEN_TIME;
    size_t columns, rows;

    for (;;) {
        screen_size(&columns, &rows);
        if (!take(t, rows < ASKED_MAX ? rows : ASKED_MAX))
            return SCREEN_QUIT;
        draw(t, columns, rows);
        screen_draw(&t->page);
        ev = screen_wait(GOCTL_SECOND);
        if (ev == SCREEN_QUIT || ev == SCREEN_TERM)
            return ev;
        if (ev == SCREEN_KEY)
            feed_hurry(&t->feed);
        else if (ev >= SCREEN_UP && ev <= SCREEN_HOME)
            move(t, rows, ev);
    }
}

/* On a thread of the library: complaints would stand amid the screen. */
static void
notice(const char *text)
{
    (void)text;
    __atomic_store_n(&lost, true, __ATOMIC_RELAXED);
    screen_wake();
}

/* An answer that is awaited holds nobody back: the process ends without it. */
static void
end_feed(struct feed *f, pthread_t thread)
{
    bool calling;

    pthread_mutex_lock(&f->mu);
    f->stop = true;
    calling = f->calling;
    pthread_cond_signal(&f->cond);
    pthread_mutex_unlock(&f->mu);
    if (calling)
        _exit(0);
    (void)pthread_join(thread, NULL);
}

static int
run_screen(struct top *t)
{
    enum screen_event ev;
    pthread_t thread;
    const char *why;
    int code = 0;

    if (screen_open(&why) < 0)
        return out_fail(EXIT_USAGE, "%s; goctl top --once prints it as plain text", why);
    __atomic_store_n(&t->cli->notice, notice, __ATOMIC_RELEASE);
    if (pthread_create(&thread, NULL, feed_main, &t->feed) != 0) {
        screen_close();
        return out_fail(EXIT_JOB, "no memory for a thread");
    }
    ev = loop(t);
    screen_close();
    if (ev == SCREEN_TERM)
        screen_die();
    if (t->feed.refused)
        code = out_error(&t->feed.err);
    end_feed(&t->feed, thread);
    __atomic_store_n(&t->cli->notice, NULL, __ATOMIC_RELEASE);
    return code;
}

int
top_run(struct cli *cli)
{
    int64_t every = opt_given(&cli->a, "every") ? cli->a.every_ns : EVERY_NS;
    bool once = cli->a.once || cli->a.json || !out_terminal();
    struct top t = {.cli = cli};
    struct goctl_error err;
    int code = 0;

    if (every < GOCTL_SECOND / 10)
        return out_fail(EXIT_USAGE, "--every: at least 100ms");
    feed_init(&t.feed, cli->conn, every);
    if (ask(cli->conn, ONCE_ASKED, 30 * GOCTL_SECOND, &t.now, &err) < 0)
        return out_error(&err);
    t.now_at = goctl_now();
    if (cli->a.json) {
        out_json(PB_BASE(stats_of(t.now)));
    } else if (once) {
        draw(&t, ONCE_COLUMNS, 0);
        page_print(&t.page);
    } else {
        code = run_screen(&t);
    }
    page_fini(&t.page);
    goctl_reply_free(t.now);
    goctl_reply_free(t.before);
    goctl_reply_free(t.feed.fresh);
    return code;
}
