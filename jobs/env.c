#include "jobs/env.h"

#include <errno.h>
#include <stdlib.h>

#include "jobs/fetch_engine.h"
#include "jobs/sql_pool.h"
#include "runtime/base/atomic.h"
#include "runtime/base/check.h"

struct job_env {
    int refs; /* atomic */

    /* Constant after new. */
    uint64_t id;
    struct config *cfg;
    bool borrowed; /* cfg is */
    struct fetch_engine *fetch;
    struct sql_pool **pools; /* by the index of the database in cfg; NULL: no driver */
    size_t n_pools;
};

static uint64_t next_id; /* atomic */

int
job_env_new(struct config *cfg, struct job_env **ret)
{
    return job_env_reload(NULL, cfg, ret);
}

/* The pool of old for db, if the configuration leaves it as it is. */
static struct sql_pool *
shared_pool(const struct job_env *old, const struct cfg_database *db, int64_t connections)
{
    for (size_t i = 0; old != NULL && i < old->cfg->databases.n; i++)
        if (old->pools[i] != NULL && sql_pool_like(old->pools[i], db, connections))
            return sql_pool_ref(old->pools[i]);
    return NULL;
}

static int
make_pools(struct job_env *env, const struct job_env *old, const struct config *cfg)
{
    env->pools = calloc(cfg->databases.n + 1, sizeof(*env->pools));
    if (env->pools == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < cfg->databases.n; i++) {
        const struct cfg_database *db = &cfg->databases.items[i];

        env->pools[i] = shared_pool(old, db, cfg->sql.connections);
        if (env->pools[i] == NULL &&
            sql_pool_new(db, cfg->sql.connections, &env->pools[i]) == -ENOMEM)
            return -ENOMEM;
        env->n_pools++;
    }
    return 0;
}

static void
env_free(struct job_env *env)
{
    for (size_t i = 0; i < env->n_pools; i++)
        sql_pool_unref(env->pools[i]);
    free(env->pools);
    fetch_engine_unref(env->fetch);
    if (!env->borrowed)
        cfg_free(env->cfg);
    free(env);
}

int
job_env_to_check(struct config *cfg, struct job_env **ret)
{
    struct job_env *env = calloc(1, sizeof(*env));

    if (env == NULL)
        return -ENOMEM;
    env->refs = 1;
    env->cfg = cfg;
    env->borrowed = true;
    if (make_pools(env, NULL, cfg) < 0) {
        env_free(env);
        return -ENOMEM;
    }
    *ret = env;
    return 0;
}

int
job_env_reload(struct job_env *old, struct config *cfg, struct job_env **ret)
{
    struct job_env *env = calloc(1, sizeof(*env));
    int r;

    if (env == NULL)
        return -ENOMEM;
    env->refs = 1;
    env->id = ADD(&next_id, 1, RELAXED);
    r = make_pools(env, old, cfg);
    if (r == 0 && old == NULL)
        r = fetch_engine_new(cfg, &env->fetch);
    if (r < 0) {
        env_free(env);
        return r;
    }
    if (old != NULL)
        env->fetch = fetch_engine_ref(old->fetch);
    fetch_engine_configure(env->fetch, cfg);
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
    env_free(env);
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

struct sql_pool *
job_env_database(const struct job_env *env, const char *name)
{
    const struct cfg_database *db = cfg_database(env->cfg, name);

    return db == NULL ? NULL : env->pools[db - env->cfg->databases.items];
}
