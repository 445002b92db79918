/* Counters: each P counts for itself; here they are summed. */
#define _GNU_SOURCE
#include "runtime/debug/stats.h"

#include "runtime/mem/stack.h"
#include "runtime/sched/runq.h"

int64_t
go_num_goroutine(void)
{
    int64_t live = LOAD(&sched.foreign_spawned, RELAXED);

    for (uint32_t i = 0; i < LOAD(&sched.nallp, ACQUIRE); i++) {
        const struct p_counters *c = &sched.allp[i]->count;

        live += LOAD(&c->spawned, RELAXED) - LOAD(&c->ended, RELAXED);
    }
    return live;
}

/* Threads, and how many of them sleep. */
static int64_t
threads(int64_t *idle)
{
    int64_t n;

    go_lck_lock(&sched.lock, GO_LCK_SCHED);
    n = sched.nm;
    *idle = sched.nmidle;
    go_lck_unlock(&sched.lock);
    return n;
}

void
go_stats(struct go_stats *ret)
{
    struct stack_stats stacks;

    (void)rt_enter(); /* the caller, if a goroutine, runs and has a processor meanwhile */
    *ret = (struct go_stats){
        .spawned = LOAD(&sched.foreign_spawned, RELAXED),
        .runnable = LOAD(&sched.gq_n, RELAXED),
        .handoffs = LOAD(&sched.handoffs, RELAXED),
        .polls = LOAD(&sched.polls, RELAXED),
        .maxprocs = LOAD(&sched.maxprocs, RELAXED),
        .idle_procs = LOAD(&sched.npidle, RELAXED),
        .live = go_num_goroutine(),
    };
    ret->threads = threads(&ret->idle_threads);
    for (uint32_t i = 0; i < LOAD(&sched.nallp, ACQUIRE); i++) {
        const struct go_p *p = sched.allp[i];
        const struct p_counters *c = &p->count;

        ret->spawned += LOAD(&c->spawned, RELAXED);
        ret->parked += LOAD(&c->parked, RELAXED);
        ret->switches += LOAD(&c->switches, RELAXED);
        ret->steals += LOAD(&c->steals, RELAXED);
        ret->preempted += LOAD(&c->preempted, RELAXED);
        ret->timers += LOAD(&c->timers, RELAXED);
        ret->running += LOAD(&p->status, RELAXED) == P_RUNNING;
        ret->runnable += runq_len(p) + (LOAD(&p->runnext, RELAXED) != NULL);
    }
    /* A processor whose thread looks for work runs nothing. */
    ret->running -= LOAD(&sched.nmspinning, RELAXED);
    if (ret->running < 0)
        ret->running = 0;
    ret->waiting = ret->live - ret->runnable - ret->running;
    if (ret->waiting < 0)
        ret->waiting = 0;
    stack_stats(&stacks);
    ret->stack_reserved = stacks.reserved;
    ret->stack_inuse = stacks.inuse;
    ret->stack_cached = stacks.cached;
    ret->stack_released = stacks.released;
    rt_exit();
}
