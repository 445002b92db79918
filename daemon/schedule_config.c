#include "daemon/schedule_config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/log.h"
#include "daemon/schedule_spec.h"
#include "daemon/store/writer.h"
#include "runtime/go.h"

int
schedule_config_check(struct config *cfg, const char *path, struct cfg_err *err)
{
    struct schedule_view *view = NULL;
    struct job_env *env = NULL;
    struct sched_plan plan;
    int r;

    if (cfg->schedules.n == 0)
        return 0;
    r = job_env_to_check(cfg, &env);
    if (r == 0)
        r = schedule_view_new(cfg, &view);
    for (size_t i = 0; r == 0 && i < cfg->schedules.n; i++) {
        struct schedule_error why;
        const char *text = why.text;
        char key[256];
        size_t n;

        r = schedule_check(env, &view->defaults, cfg->schedules.items[i], daemon_now_ms(),
                           &plan, &why);
        if (r == 0)
            continue;
        n = strlen(why.field);
        if (n > 0 && strncmp(text, why.field, n) == 0 && text[n] == ':')
            text += n + 2;
        (void)snprintf(key, sizeof(key), "schedules[%zu]%s%s", i, n > 0 ? "." : "",
                       why.field);
        r = cfg_blame(path, key, text, err);
    }
    schedule_view_unref(view);
    job_env_unref(env);
    return r;
}

/* --- into the store ---------------------------------------------------------------------- */

struct enter_op {
    struct store_op op;
    const struct config *cfg;
    const struct sched_plan *plans;
    int64_t changed; /* added, replaced and removed */
};

/* Whether the stored spec is this one to the byte. 1, 0 or -errno. */
static int
is_stored(struct store *st, int64_t id, const PbScheduleSpec *s)
{
    size_t len = protobuf_c_message_get_packed_size(PB_BASE(s)), stored_len = 0;
    uint8_t *packed = malloc(len + 1);
    void *stored = NULL;
    int r = packed == NULL ? -ENOMEM : store_schedule_spec(st, id, &stored, &stored_len);

    if (r == 0) {
        (void)protobuf_c_message_pack(PB_BASE(s), packed);
        r = len == stored_len && memcmp(packed, stored, len) == 0;
    }
    free(stored);
    free(packed);
    return r;
}

static int
enter_one(struct store *st, struct enter_op *e, size_t i)
{
    const PbScheduleSpec *s = e->cfg->schedules.items[i];
    struct store_schedule_head old;
    int64_t id;
    int r = store_schedule_find(st, s->name, 0, &old), same = 0;

    if (r > 0 && old.config)
        same = is_stored(st, old.id, s);
    if (r < 0 || same != 0)
        return r < 0 ? r : same < 0 ? same : 0;
    e->changed++;
    return schedule_put(st, s, &e->plans[i], true, r > 0 ? &old : NULL, &id);
}

static bool
in_config(const struct config *cfg, const char *name)
{
    for (size_t i = 0; i < cfg->schedules.n; i++)
        if (strcmp(cfg->schedules.items[i]->name, name) == 0)
            return true;
    return false;
}

static int
remove_others(struct store *st, struct enter_op *e)
{
    int64_t id = 0;
    char *name;
    int r;

    while ((r = store_schedule_config(st, id, &id, &name)) > 0) {
        bool stays = in_config(e->cfg, name);

        free(name);
        if (stays)
            continue;
        e->changed++;
        r = store_schedule_delete(st, id);
        if (r < 0)
            return r;
    }
    return r;
}

static int
enter_run(struct store *st, struct store_op *op)
{
    struct enter_op *e = (struct enter_op *)op;
    int r = 0;

    e->changed = 0;
    for (size_t i = 0; r == 0 && i < e->cfg->schedules.n; i++)
        r = enter_one(st, e, i);
    return r < 0 ? r : remove_others(st, e);
}

static int
make_plans(const struct config *cfg, const struct sched_defaults *d,
           struct sched_plan *plans)
{
    int64_t now = daemon_now_ms();
    struct schedule_error why;
    int r = 0;

    for (size_t i = 0; r == 0 && i < cfg->schedules.n; i++)
        r = schedule_check_times(d, cfg->schedules.items[i], now, &plans[i], &why);
    return r;
}

int
schedule_config_enter(struct daemon *d, struct job_env *env)
{
    const struct config *cfg = job_env_config(env);
    struct sched_plan *plans = calloc(cfg->schedules.n + 1, sizeof(*plans));
    struct enter_op e = {.op = {.run = enter_run}, .cfg = cfg, .plans = plans};
    struct schedule_view *view = NULL;
    int r = plans == NULL ? -ENOMEM : schedule_view_new(cfg, &view);

    if (r == 0)
        r = make_plans(cfg, &view->defaults, plans);
    if (r == 0)
        r = store_writer_do(d->writer, &e.op);
    schedule_view_unref(view);
    free(plans);
    if (r < 0)
        log_error("the configuration's schedules cannot be entered: %s",
                  e.op.err[0] != '\0' ? e.op.err : strerror(-r));
    else if (e.changed > 0)
        log_notice("%lld schedules of the configuration have changed",
                   (long long)e.changed);
    return r;
}
