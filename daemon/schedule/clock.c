#include "daemon/schedule/clock.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "runtime/base/check.h"
#include "runtime/go.h"

#define NS_PER_MS GO_MILLISECOND
#define FAR_MS    INT64_C(7258118400000) /* the year 2200: armed only to hear of steps */

struct sched_clock {
    int fd;         /* timerfd; -1: virtual */
    uint32_t woken; /* atomic: somebody called wake, no wait has answered yet */
    uint32_t set;   /* atomic: the clock was set, no wait has told yet */

    /* Virtual. */
    int64_t offset; /* atomic: ns to add to go_now() */
    struct go_chan *poke;
};

/* When it is armed at a time that has passed it expires at once. */
static int
arm(int fd, int64_t at_ms)
{
    struct itimerspec spec = {
        .it_value = {at_ms / 1000, (at_ms % 1000) * (long)NS_PER_MS}};

    return GO_ERRNO(
        timerfd_settime(fd, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &spec, NULL));
}

int
sched_clock_new(struct sched_clock **ret)
{
    struct sched_clock *c = calloc(1, sizeof(*c));
    int r;

    if (c == NULL)
        return -ENOMEM;
    c->fd = GO_ERRNO(timerfd_create(CLOCK_REALTIME, TFD_NONBLOCK | TFD_CLOEXEC));
    r = c->fd < 0 ? c->fd : arm(c->fd, FAR_MS); /* from now on it hears of steps */
    if (r < 0) {
        if (c->fd >= 0)
            close(c->fd);
        free(c);
        return r;
    }
    *ret = c;
    return 0;
}

int
sched_clock_new_virtual(int64_t start_ms, struct sched_clock **ret)
{
    struct sched_clock *c = calloc(1, sizeof(*c));

    if (c != NULL)
        c->poke = go_chan_new(0, 1);
    if (c == NULL || c->poke == NULL) {
        free(c);
        return -ENOMEM;
    }
    c->fd = -1;
    c->offset = start_ms * NS_PER_MS - go_now();
    *ret = c;
    return 0;
}

void
sched_clock_free(struct sched_clock *c)
{
    if (c == NULL)
        return;
    if (c->fd >= 0)
        (void)go_fd_close(c->fd);
    go_chan_unref(c->poke);
    free(c);
}

static int64_t
virtual_ns(const struct sched_clock *c)
{
    return go_now() + __atomic_load_n(&c->offset, __ATOMIC_RELAXED);
}

int64_t
sched_clock_now(const struct sched_clock *c)
{
    struct timespec ts;

    if (c->fd < 0)
        return virtual_ns(c) / NS_PER_MS;
    clock_gettime(CLOCK_REALTIME, &ts);
    return ts.tv_sec * INT64_C(1000) + ts.tv_nsec / NS_PER_MS;
}

static bool
take(uint32_t *flag)
{
    return __atomic_exchange_n(flag, 0, __ATOMIC_SEQ_CST) != 0;
}

static int
wait_real(struct sched_clock *c, int64_t until_ms, struct go_ctx *ctx)
{
    uint64_t expired;
    ssize_t n;
    int r;

    r = arm(c->fd, until_ms > FAR_MS ? FAR_MS : until_ms < 1 ? 1 : until_ms);
    if (r == -ECANCELED)
        __atomic_store_n(&c->set, 1, __ATOMIC_SEQ_CST);
    else if (r < 0)
        return r;
    if (take(&c->set))
        return SCHED_CLOCK_SET;
    /* Who wakes sets the flag and then arms for at once: if that came before our arming,
     * the flag is seen here; if not, the descriptor becomes ready. */
    if (take(&c->woken))
        return 0;
    r = go_fd_wait_ctx(c->fd, GO_FD_READ, ctx);
    if (r < 0)
        return r;
    n = GO_ERRNO(read(c->fd, &expired, sizeof(expired)));
    (void)take(&c->woken);
    return take(&c->set) || n == -ECANCELED ? SCHED_CLOCK_SET : 0;
}

static int
wait_virtual(struct sched_clock *c, int64_t until_ms, struct go_ctx *ctx)
{
    struct go_case cases[] = {
        GO_CASE_RECV(c->poke, NULL),
        GO_CASE_RECV(go_ctx_done(ctx), NULL),
    };
    int64_t left = until_ms >= FAR_MS ? GO_NEVER : until_ms * NS_PER_MS - virtual_ns(c);
    int r;

    if (go_ctx_err(ctx) < 0)
        return go_ctx_err(ctx);
    if (left <= 0)
        left = 0;
    r = go_select_until(cases, 2, go_deadline(left));
    (void)take(&c->woken);
    if (take(&c->set))
        return SCHED_CLOCK_SET;
    return r == 1 ? go_ctx_err(ctx) : 0;
}

int
sched_clock_wait(struct sched_clock *c, int64_t until_ms, struct go_ctx *ctx)
{
    return c->fd < 0 ? wait_virtual(c, until_ms, ctx) : wait_real(c, until_ms, ctx);
}

void
sched_clock_wake(struct sched_clock *c)
{
    if (__atomic_exchange_n(&c->woken, 1, __ATOMIC_SEQ_CST) != 0 && c->fd >= 0)
        return; /* the wait that will answer has not armed yet, or is awake */
    if (c->fd < 0)
        (void)go_chan_try_send(c->poke, NULL);
    else if (arm(c->fd, 1) == -ECANCELED) /* the kernel tells only once */
        __atomic_store_n(&c->set, 1, __ATOMIC_SEQ_CST);
}

void
sched_clock_step(struct sched_clock *c, int64_t by_ms)
{
    ENSURE(c->fd < 0);
    __atomic_fetch_add(&c->offset, by_ms * NS_PER_MS, __ATOMIC_SEQ_CST);
    __atomic_store_n(&c->set, 1, __ATOMIC_SEQ_CST);
    (void)go_chan_try_send(c->poke, NULL);
}
