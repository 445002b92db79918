#include "jobs/env.h"

#include <errno.h>
#include <stdlib.h>

#include "jobs/fetch_engine.h"
#include "runtime/base/atomic.h"
#include "runtime/base/check.h"

struct job_env {
    int refs; /* atomic */

    /* Constant after new. */
    uint64_t id;
    struct config *cfg;
    struct fetch_engine *fetch;
};

static uint64_t next_id; /* atomic */

int
job_env_new(struct config *cfg, struct job_env **ret)
{
    return job_env_reload(NULL, cfg, ret);
}

int
job_env_reload(struct job_env *old, struct config *cfg, struct job_env **ret)
{
    struct job_env *env = calloc(1, sizeof(*env));
    int r = 0;

    if (env == NULL)
        return -ENOMEM;
    if (old == NULL)
        r = fetch_engine_new(cfg, &env->fetch);
    else
        env->fetch = fetch_engine_ref(old->fetch);
    if (r < 0) {
        free(env);
        return r;
    }
    fetch_engine_configure(env->fetch, cfg);
    env->refs = 1;
    env->id = ADD(&next_id, 1, RELAXED);
    env->cfg = cfg;
    *ret = env;
    return 0;
}

struct job_env *
job_env_ref(struct job_env *env)
{
    ENSURE(ADD(&env->refs, 1, RELAXED) > 1);
    return env;
}

void
job_env_unref(struct job_env *env)
{
    /* Release what we did with it; acquire what others did, before freeing. */
    if (env == NULL || ADD(&env->refs, -1, ACQ_REL) > 0)
        return;
    fetch_engine_unref(env->fetch);
    cfg_free(env->cfg);
    free(env);
}

const struct config *
job_env_config(const struct job_env *env)
{
    return env->cfg;
}

uint64_t
job_env_id(const struct job_env *env)
{
    return env->id;
}

struct fetch_engine *
job_env_fetch(const struct job_env *env)
{
    return env->fetch;
}
