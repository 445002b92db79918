/*
 * What jobs run in: one configuration, and the engines that outlive single jobs (the HTTP
 * client, the databases' connections).
 *
 * A reload makes a new environment beside the old one. They share the HTTP client and the
 * pools of databases that did not change; jobs that run keep the environment they began
 * with.
 *
 * Lifecycle  new -> ref/unref ...; reload -> another environment. The last unref frees.
 * Ownership  an environment owns its configuration.
 * Context    new, reload and unref: a goroutine, for engines are goroutines; the last unref
 *            PARKS until those have ended. ref and the rest: any thread, never park.
 */
#ifndef GOJOBD_JOBS_ENV_H
#define GOJOBD_JOBS_ENV_H

#include "config/config.h"

struct fetch_engine;
struct job_env;
struct sql_pool;

/* 0, -ENOMEM or -errno. Takes cfg when it succeeds. */
int job_env_new(struct config *cfg, struct job_env **ret);

/* The same, sharing old's engines where the configuration lets it. */
int job_env_reload(struct job_env *old, struct config *cfg, struct job_env **ret);

/* One without engines, for job_validate() alone: of a configuration not yet in force, which
 * stays the caller's and must outlive it. Any thread, as for its unref. 0 or -ENOMEM. */
int job_env_to_check(struct config *cfg, struct job_env **ret);

struct job_env *job_env_ref(struct job_env *env);
void job_env_unref(struct job_env *env); /* NULL is fine */

const struct config *job_env_config(const struct job_env *env);

/* Tells this environment from every other there was. Never 0. */
uint64_t job_env_id(const struct job_env *env);

/* --- for the kinds; borrowed from env --- */

struct fetch_engine *job_env_fetch(const struct job_env *env);

/* NULL when no database has that name, or its URL no driver. */
struct sql_pool *job_env_database(const struct job_env *env, const char *name);

#endif
