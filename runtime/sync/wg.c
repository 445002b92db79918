/*
 * WaitGroup: a counter and the number of waiters in one word.
 *
 * An add that does not reach zero, or reaches it without waiters, is one atomic
 * addition, and the last time it touches the group. Waiters raise their number and queue
 * under the lock, so the add that reaches zero with waiters finds all of them in the
 * queue once it has the lock; from zero on nobody joins them, as a wait that sees zero
 * returns.
 *
 * The group lives until its last waiter was readied, so the waker unlocks first and then
 * walks the waiters, which stand on stacks that are still parked.
 */
#include "runtime/sync/wg.h"

#include "runtime/base/atomic.h"
#include "runtime/sync/wait.h"

static inline int32_t
counter(uint64_t state)
{
    return (int32_t)(uint32_t)(state >> 32);
}

static inline uint32_t
waiters(uint64_t state)
{
    return (uint32_t)state;
}

/* The counter reached zero, and state says that goroutines wait. */
static void
release_waiters(struct go_wg *wg, uint64_t state)
{
    struct go_waiter *w;

    (void)rt_enter();
    go_lck_lock(&wg->lock, GO_LCK_SYNC);
    /* Release: a wait that sees this zero sees all that the done()s published. */
    if (UNLIKELY(!CAS(&wg->state, state, 0, ACQ_REL)))
        go_panic("sync: WaitGroup misuse: Add called concurrently with Wait");
    w = wg->q.head;
    wg->q = (struct go_waitq){0};
    go_lck_unlock(&wg->lock);
    rt_ready_list(w);
    rt_exit();
}

void
go_wg_add(struct go_wg *wg, int n)
{
    /* Release: what came before done() is seen by the waiter. Acquire: the last done()
     * passes on what the others released. */
    uint64_t state = ADD(&wg->state, (uint64_t)(uint32_t)n << 32, ACQ_REL);
    int32_t count = counter(state);

    if (UNLIKELY(count < 0))
        go_panic("sync: negative WaitGroup counter");
    if (LIKELY(waiters(state) == 0))
        return;
    if (UNLIKELY(n > 0 && count == n))
        go_panic("sync: WaitGroup misuse: Add called concurrently with Wait");
    if (count == 0)
        release_waiters(wg, state);
}

void
go_wg_done(struct go_wg *wg)
{
    go_wg_add(wg, -1);
}

void
go_wg_wait(struct go_wg *wg)
{
    uint64_t state = LOAD(&wg->state, ACQUIRE);
    struct go_waiter w = {0};

    if (counter(state) == 0)
        return;
    w.g = rt_enter()->g;
    go_lck_lock(&wg->lock, GO_LCK_SYNC);
    do {
        state = LOAD(&wg->state, ACQUIRE);
        if (counter(state) == 0) {
            go_lck_unlock(&wg->lock);
            rt_exit();
            return;
        }
    } while (!CAS(&wg->state, state, state + 1, RELAXED));
    waitq_push(&wg->q, &w);
    rt_park(&wg->lock, "wait group");
    if (UNLIKELY(LOAD(&wg->state, ACQUIRE) != 0))
        go_panic("sync: WaitGroup is reused before previous Wait has returned");
    rt_exit();
}

int
go_wg_count(const struct go_wg *wg)
{
    return counter(LOAD(&wg->state, RELAXED));
}
