/*
 * Deterministic mode: GOSEED=n. One P and no watchdog; every choice (which goroutine runs
 * next, where it is preempted, which ready case a select takes) comes from one generator
 * seeded with n; time is virtual. The same program with the same seed runs the same
 * interleaving, so one that fails replays. Every return from the runtime and every
 * go_checkpoint() is a chance, one in four, to be preempted.
 *
 * Virtual time starts at one second, moves 100 ns with each switch, and jumps to the next
 * timer when all goroutines wait. File descriptors are outside: their readiness depends on
 * the kernel. While goroutines wait for fds, the jump is held back for up to 1 ms of real
 * time to let the kernel answer.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>

#include "runtime/sched/runq.h"

#define SWITCH_NS 100
#define FD_GRACE  GO_MILLISECOND

bool rt_seeded;
static uint64_t rng_state;
static int64_t virtual_now = GO_SECOND; /* atomic: foreign threads may ask the time */

/* splitmix64 (Steele, Lea, Flood 2014). */
static uint64_t
next64(void)
{
    uint64_t z = (rng_state += 0x9e3779b97f4a7c15u);

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

void
rt_seed_init(void)
{
    const char *env = getenv("GOSEED");
    char *end;

    if (env == NULL || *env == '\0')
        return;
    errno = 0;
    rng_state = strtoull(env, &end, 0);
    if (*end != '\0' || errno != 0 || env[0] < '0' || env[0] > '9')
        rt_fatal("GOSEED=%s: not a number from 0 to 2^64-1", env);
    rt_seeded = true;
}

int64_t
seed_now(void)
{
    return LOAD(&virtual_now, RELAXED);
}

bool
seed_flip(uint32_t one_in)
{
    return next64() % one_in == 0;
}

uint32_t
rt_random(uint32_t n)
{
    struct go_m *m = rt_m();
    uint32_t x;

    if (UNLIKELY(rt_seeded) && !m->foreign)
        return (uint32_t)(next64() % n);
    x = m->rand; /* xorshift (Marsaglia 2003) */
    x ^= x << 13;
    x ^= x >> 17;
    x ^= x << 5;
    m->rand = x;
    return (uint32_t)(((uint64_t)x * n) >> 32);
}

/* Any of p's queued goroutines, by the seed. Nobody steals here: there is one P. */
struct go_g *
seed_pick(struct go_p *p)
{
    struct go_g *next = runq_get_next(p);
    uint32_t head, n, k;

    if (next != NULL)
        runq_put(p, next);
    if (LOAD(&sched.gq_n, RELAXED) > 0 && runq_len(p) < GO_RUNQ_SIZE / 2 &&
        (next = gq_get(p, GO_RUNQ_SIZE / 2)) != NULL)
        runq_put(p, next);
    n = runq_len(p);
    if (n == 0)
        return NULL;
    STORE(&virtual_now, virtual_now + SWITCH_NS, RELAXED);
    head = p->head;
    k = (uint32_t)(next64() % n);
    next = p->ring[(head + k) & RING_MASK];
    p->ring[(head + k) & RING_MASK] = p->ring[head & RING_MASK];
    p->ring[head & RING_MASK] = next;
    return runq_get(p);
}

/* Everybody waits: for fds if they answer soon, else for the timer at until. */
void
seed_idle(int64_t until, struct go_g **list)
{
    if (until == 0)
        return;
    if (until == GO_NEVER) {
        rt_poll(GO_NEVER, list);
        return;
    }
    if (LOAD(&rt_poll_waiters, RELAXED) > 0 && rt_poll(seed_now() + FD_GRACE, list) > 0)
        return;
    if (until > virtual_now)
        STORE(&virtual_now, until, RELAXED);
}
