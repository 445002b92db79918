/*
 * Instant jobs: those that are over sooner than a goroutine for them would have begun. They
 * run on the writer's goroutine, inside the transaction that submits and starts them, and
 * their ends are committed with it.
 *
 * That breaks no promise. Nobody has been told of the start, and an instant job leaves no
 * trace but its result: if the commit fails, or the power does, neither the start nor the
 * end has happened (task.void_), and the job is where it was before, or nowhere.
 */
#include "daemon/dispatch_inner.h"
#include "runtime/go.h"

struct instant {
    struct task *t;
    struct proto_arena mem;
    const PbJobSpec *spec;
};

/* Tasks of all that was claimed, if all of it is instant: their number, or 0. */
static size_t
prepare(struct dispatch *dp, struct instant *v)
{
    const struct store_claims *c = &dp->plan.claims[0];
    struct job_env *env = daemon_env(dp->d);
    bool all = true;
    size_t n = 0;

    while (all && n < c->n) {
        v[n].t = task_new(dp, env, &c->v[n]);
        if (v[n].t == NULL)
            break;
        all = task_is_instant(v[n].t, &v[n].mem, &v[n].spec);
        n++;
    }
    job_env_unref(env);
    if (all && n == c->n)
        return n;
    while (n-- > 0) {
        proto_arena_free(&v[n].mem);
        task_free(v[n].t);
    }
    return 0;
}

/* They run now, if there is room for all of them at once. */
static bool
enter(struct dispatch *dp, struct instant *v, size_t n)
{
    int kind = STORE_LANE_KIND(dp->plan.claims[0].v[0].lane);
    bool room;

    go_mutex_lock(&dp->mu);
    room = dp->counts.kind[kind].running + (int64_t)n <= dp->counts.kind[kind].limit;
    if (room)
        dp->counts.kind[kind].running += (int64_t)n;
    for (size_t i = 0; room && i < n; i++)
        dispatch_register_locked(dp, v[i].t);
    go_mutex_unlock(&dp->mu);
    return room;
}

struct store_op *
dispatch_instant(struct dispatch *dp)
{
    struct instant v[PLAN_FEW];
    struct store_op *ends = NULL, **tail = &ends;
    size_t n = prepare(dp, v);
    bool room = n > 0 && enter(dp, v, n);

    for (size_t i = 0; i < n; i++) {
        if (room) {
            task_run_now(v[i].t, v[i].spec);
            v[i].t->op.next_ = NULL;
            *tail = &v[i].t->op;
            tail = &v[i].t->op.next_;
            dp->instant[dp->n_instant++] = v[i].t;
        } else {
            task_free(v[i].t);
        }
        proto_arena_free(&v[i].mem);
    }
    return ends;
}
