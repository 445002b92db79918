#include "daemon/service.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "daemon/call.h"
#include "daemon/daemon.h"
#include "daemon/dispatch.h"
#include "daemon/hub.h"
#include "daemon/log.h"
#include "daemon/notify.h"
#include "daemon/pub.h"
#include "daemon/pulse.h"
#include "daemon/rpc.h"
#include "daemon/schedule_config.h"
#include "daemon/schedules.h"
#include "daemon/store/pool.h"
#include "daemon/store/queue.h"
#include "daemon/store/writer.h"
#include "daemon/watch.h"
#include "runtime/base/atomic.h"
#include "runtime/go.h"

enum { READERS = 8 };

struct service {
    struct daemon d;
    struct service_opts o;
    int signals; /* signalfd */
    char db_path[4096];
};

static void
set_log(const struct service *s, const struct config *cfg)
{
    log_setup(s->o.log_level >= 0 ? s->o.log_level : cfg->log.level,
              s->o.log_format >= 0 ? s->o.log_format : cfg->log.format);
}

int64_t
daemon_now_ms(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

struct job_env *
daemon_env(struct daemon *d)
{
    struct job_env *env;

    go_mutex_lock(&d->env_mu);
    env = job_env_ref(d->env);
    go_mutex_unlock(&d->env_mu);
    return env;
}

/* --- the store --------------------------------------------------------------------------- */

/* Makes path and what is missing above it. */
static int
make_directories(char *path)
{
    for (char *p = path + 1;; p++) {
        char was = *p;

        if (was != '/' && was != '\0')
            continue;
        *p = '\0';
        if (mkdir(path, 0750) < 0 && errno != EEXIST) {
            int r = -errno;

            *p = was;
            return r;
        }
        *p = was;
        if (was == '\0')
            return 0;
    }
}

static void
on_events(void *arg, struct event_cursor *events, int64_t count)
{
    struct service *s = arg;

    (void)count;
    hub_tell(s->d.hub, *events);
    dispatch_tell(s->d.dispatch, *events);
    pub_tell(LOAD(&s->d.pub, ACQUIRE), *events);
    schedules_tell(LOAD(&s->d.schedules, ACQUIRE), *events);
}

static struct store_op *
rider(void *arg)
{
    return dispatch_ride(((struct service *)arg)->d.dispatch);
}

static struct store_op *
late(void *arg)
{
    return dispatch_instant(((struct service *)arg)->d.dispatch);
}

static void
on_failed(void *arg, const char *why)
{
    (void)arg;
    log_error(
        "the store has failed and takes no more changes until the daemon is started "
        "again: %s",
        why);
}

static struct store_keep
keep_of(const struct config *cfg)
{
    return (struct store_keep){
        .age_ms = cfg->retention.age / GO_MILLISECOND,
        .count = cfg->retention.count > 0 ? cfg->retention.count : -1,
        .event_age_ms = cfg->retention.events / GO_MILLISECOND,
        .request_age_ms = 24 * 3600 * 1000,
        .step = (int)cfg->retention.step,
    };
}

static int
open_store(struct service *s, const struct config *cfg)
{
    struct store_opts o = {
        .path = s->db_path,
        .cache_kib = cfg->store.cache / 1024,
        .wal_pages = cfg->store.wal / 4096,
        .history = cfg->limits.history,
        .crashes = cfg->limits.crashes,
    };
    struct store_recovery rec;
    char err[512] = "";
    char *dir = strdup(cfg->state_dir);
    int r = dir == NULL ? -ENOMEM : GO_BLOCKING(make_directories(dir));

    free(dir);
    if (r < 0) {
        log_error("cannot make state_dir %s: %s", cfg->state_dir, strerror(-r));
        return r;
    }
    (void)snprintf(s->db_path, sizeof(s->db_path), "%s/gojobd.db", cfg->state_dir);
    r = GO_BLOCKING(store_open(&o, daemon_now_ms(), &s->d.store, err, sizeof(err)));
    if (r < 0) {
        log_error("%s", err);
        return r;
    }
    GO_BLOCKING((call_chunk_clean(s->db_path), 0)); /* the store is ours alone by now */
    s->d.epoch = store_epoch(s->d.store);
    rec = store_recovered(s->d.store);
    if (rec.requeued + rec.poisoned + rec.cancelled > 0)
        log_notice(
            "the last run of the daemon ended with jobs running: %lld queued again, "
            "%lld dead, %lld cancelled",
            (long long)rec.requeued, (long long)rec.poisoned, (long long)rec.cancelled);
    r = GO_BLOCKING(
        store_pool_open(s->db_path, READERS, &s->d.readers, err, sizeof(err)));
    if (r < 0)
        log_error("%s", err);
    return r;
}

/* --- what the store takes from the configuration --------------------------------------------------------- */

struct settings_op {
    struct store_op op;
    const struct config *cfg;
};

static int
settings_run(struct store *st, struct store_op *op)
{
    const struct config *cfg = ((struct settings_op *)op)->cfg;

    store_set_limits(st, cfg->limits.history, cfg->limits.crashes);
    for (size_t i = 0; i < cfg->queues.n; i++) {
        const struct cfg_queue *q = &cfg->queues.items[i];
        struct store_queue_conf conf = {q->paused, q->running, q->rate, q->burst};
        int64_t id;
        int r = store_queue_find(st, q->name, true, &id);

        if (r > 0)
            r = store_queue_apply(st, id, &conf);
        if (r < 0)
            return r;
    }
    return 0;
}

static int
set_settings(struct service *s, const struct config *cfg)
{
    struct settings_op o = {.op = {.run = settings_run}, .cfg = cfg};

    return store_writer_do(s->d.writer, &o.op);
}

/* --- up and down ------------------------------------------------------------------------- */

/* The stored ones run, and those of the configuration with them. */
static int
start_schedules(struct service *s, const struct config *cfg)
{
    struct job_env *env = daemon_env(&s->d);
    struct schedules *schedules = NULL;
    int r = schedules_new(&s->d, cfg, &schedules);

    if (r < 0)
        log_error("cannot start: %s", strerror(-r));
    else
        r = schedule_config_enter(&s->d, env);
    STORE(&s->d.schedules, schedules, RELEASE);
    if (r == 0)
        r = schedules_start(schedules);
    job_env_unref(env);
    return r;
}

static int
start(struct service *s, const struct config *cfg)
{
    struct store_writer_opts wo = {.keep = keep_of(cfg),
                                   .group = cfg->store.group,
                                   .rider = rider,
                                   .late = late,
                                   .on_events = on_events,
                                   .on_failed = on_failed,
                                   .arg = s};
    struct pub *pub = NULL;
    char err[512] = "";
    int r;

    r = open_store(s, cfg);
    if (r < 0)
        return r;
    r = hub_new(&s->d.hub);
    if (r == 0)
        r = dispatch_new(&s->d, &s->d.dispatch);
    if (r == 0)
        r = store_writer_start(s->d.store, &wo, &s->d.writer);
    if (r < 0) {
        log_error("cannot start: %s", strerror(-r));
        return r;
    }
    r = set_settings(s, cfg);
    if (r == 0)
        r = watch_start(&s->d, &s->d.watch);
    if (r == 0)
        r = pulse_start(&s->d, &s->d.pulse);
    if (r < 0) {
        log_error("cannot start: %s", strerror(-r));
        return r;
    }
    r = start_schedules(s, cfg);
    if (r < 0)
        return r;
    r = pub_start(&s->d, cfg, &pub, err, sizeof(err));
    if (r == 0) {
        STORE(&s->d.pub, pub, RELEASE);
        r = rpc_start(&s->d, cfg, &s->d.rpc, err, sizeof(err));
    }
    if (r < 0) {
        log_error("%s", err);
        return r;
    }
    dispatch_start(s->d.dispatch);
    return 0;
}

/* In the order of what depends on what: runs, jobs, waiters, calls, the store. */
static void
stop(struct service *s)
{
    bool all = true;

    schedules_stop(s->d.schedules);
    if (s->d.dispatch != NULL && s->d.writer != NULL) {
        struct job_env *env = daemon_env(&s->d);
        int64_t timeout = job_env_config(env)->drain_timeout;

        job_env_unref(env);
        all = dispatch_drain(s->d.dispatch, go_deadline(timeout));
    }
    if (s->d.hub != NULL)
        hub_close(s->d.hub);
    rpc_stop(s->d.rpc);
    watch_stop(s->d.watch);
    pulse_stop(s->d.pulse);
    if (!all) {
        log_error("some jobs do not stop; they are queued again at the next start");
        _exit(1);
    }
    store_writer_stop(s->d.writer);
    pub_stop(s->d.pub);
    pulse_free(s->d.pulse);
    store_pool_close(s->d.readers);
    GO_BLOCKING((store_close(s->d.store), 0));
    dispatch_free(s->d.dispatch);
    schedules_free(s->d.schedules);
    hub_free(s->d.hub);
    job_env_unref(s->d.env);
}

/* --- signals ----------------------------------------------------------------------------- */

static sigset_t
signal_set(void)
{
    sigset_t set;

    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGTERM);
    (void)sigaddset(&set, SIGINT);
    (void)sigaddset(&set, SIGHUP);
    return set;
}

void
service_block_signals(void)
{
    sigset_t set = signal_set();

    (void)pthread_sigmask(SIG_BLOCK, &set, NULL);
    (void)signal(SIGPIPE, SIG_IGN);
}

/* The next signal. PARKS. */
static int
next_signal(struct service *s)
{
    struct signalfd_siginfo info;
    ssize_t n = go_fd_read(s->signals, &info, sizeof(info), GO_NEVER);

    return n == (ssize_t)sizeof(info) ? (int)info.ssi_signo : SIGTERM;
}

static void
hurry(struct service *s)
{
    for (;;)
        if (next_signal(s) != SIGHUP) {
            log_notice("told to stop again: interrupting the running jobs");
            dispatch_hurry(s->d.dispatch);
        }
}

/* --- reload ------------------------------------------------------------------------------ */

static bool
same_strings(const struct cfg_strings *a, const struct cfg_strings *b)
{
    for (size_t i = 0; i < a->n && i < b->n; i++)
        if (strcmp(a->items[i], b->items[i]) != 0)
            return false;
    return a->n == b->n;
}

/* What needs a new start to change. */
static void
warn_fixed(const struct config *old, const struct config *new)
{
    if (strcmp(old->state_dir, new->state_dir) != 0)
        log_warning("state_dir changes at the next start only");
    if (!same_strings(&old->listen, &new->listen) ||
        !same_strings(&old->events, &new->events))
        log_warning("listen and events change at the next start only");
    if (memcmp(&old->runtime, &new->runtime, sizeof(old->runtime)) != 0 ||
        memcmp(&old->store, &new->store, sizeof(old->store)) != 0)
        log_warning("runtime and store change at the next start only");
}

static int
reload_env(struct service *s, struct config *cfg)
{
    struct job_env *old = daemon_env(&s->d), *env;
    struct store_keep keep = keep_of(cfg);
    int r;

    warn_fixed(job_env_config(old), cfg);
    r = job_env_reload(old, cfg, &env);
    if (r < 0) {
        cfg_free(cfg);
        job_env_unref(old);
        return r;
    }
    job_env_ref(env);
    go_mutex_lock(&s->d.env_mu);
    s->d.env = env;
    go_mutex_unlock(&s->d.env_mu);
    job_env_unref(old);
    job_env_unref(old);
    set_log(s, cfg);
    store_writer_set_keep(s->d.writer, &keep);
    r = set_settings(s, cfg);
    dispatch_reload(s->d.dispatch);
    if (r == 0)
        r = schedules_reload(s->d.schedules, cfg);
    if (r == 0)
        r = schedule_config_enter(&s->d, env);
    job_env_unref(env);
    return r;
}

/* A configuration that is wrong changes nothing. */
static void
reload(struct service *s)
{
    struct cfg_err err = {.text = ""};
    struct config *cfg = NULL;
    int r;

    notify_reloading();
    r = s->o.config_path == NULL ? cfg_parse("defaults", "", 0, &cfg, &err)
                                 : GO_BLOCKING(cfg_load(s->o.config_path, &cfg, &err));
    if (r == 0)
        r = schedule_config_check(cfg, s->o.config_path, &err);
    if (r < 0) {
        cfg_free(cfg);
        log_error("the configuration stays as it was: %s",
                  err.text[0] != '\0' ? err.text : strerror(-r));
    } else {
        r = reload_env(s, cfg);
        if (r < 0)
            log_error("the configuration cannot be changed: %s", strerror(-r));
        else
            log_notice("the configuration has been read again");
    }
    notify_ready();
}

static void
serve(struct service *s)
{
    for (;;) {
        int sig = next_signal(s);

        if (sig == SIGHUP) {
            reload(s);
            continue;
        }
        log_notice("stopping");
        notify_stopping();
        STORE(&s->d.draining, true, RELAXED);
        pub_daemon(LOAD(&s->d.pub, ACQUIRE));
        (void)go(hurry, s);
        return;
    }
}

int
service_run(struct config *cfg, const struct service_opts *o)
{
    static struct service s; /* its hurry() outlives this call */
    sigset_t set = signal_set();
    struct cfg_err err = {.text = ""};
    int r;

    s.o = *o;
    s.d.config_path = o->config_path;
    s.d.started = go_now();
    s.signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    r = s.signals < 0 ? -errno : schedule_config_check(cfg, o->config_path, &err);
    if (r == 0)
        r = job_env_new(cfg, &s.d.env);
    if (r < 0) {
        log_error("cannot start: %s", err.text[0] != '\0' ? err.text : strerror(-r));
        return 1;
    }
    r = start(&s, cfg);
    if (r == 0) {
        log_info("gojobd %s is ready", DAEMON_VERSION);
        notify_ready();
        serve(&s);
    }
    stop(&s);
    if (r == 0)
        log_info("stopped");
    return r < 0 ? 1 : 0;
}
