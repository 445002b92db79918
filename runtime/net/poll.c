/*
 * The netpoller: from "fd became ready" to "its goroutine is runnable".
 *
 * Every fd number has a descriptor, made when first needed and never freed: an event that
 * comes late finds a valid one, and its generation (seq), which travelled through the
 * kernel in the event's data, tells that it is late. An fd is added to the one epoll
 * instance at its first wait, edge-triggered, and stays there until go_fd_close() or
 * go_fd_forget(). There are two kinds:
 *
 *   Ours (adopted; made by go_fd_accept() and the like) are registered once for both
 *   directions. An edge that comes while nobody waits is remembered. We know that these are
 *   read until EAGAIN and closed through us, so a wait needs no system call.
 *
 *   Foreign ones are armed anew at each wait, by EPOLL_CTL_MOD for the directions waited
 *   for. That has the kernel look: an fd that is ready already reports at once, as users of
 *   a foreign library expect, which may have left bytes unread; and ENOENT tells that the
 *   file was closed behind our back, so that the number now stands for another file, whose
 *   registration nobody has made. (docs/decisions has the figures.)
 *
 * Invariants, under a descriptor's lock:
 *   1. Each direction has a parked goroutine, or a remembered edge, or neither; never both.
 *   2. A waiter that is parked has been queued while the kernel had this generation of fd
 *      armed for its direction and had reported nothing since: the next event wakes it.
 *   3. seq changes whenever fd may stand for another file, and then nobody is queued.
 *
 * The lock of a descriptor is, unlike others of the runtime, held across epoll_ctl(): that
 * call does not wait for anything but epoll's own short critical sections, and the state
 * here and in the kernel can then not be seen apart. Only the waiter of the other direction
 * and the poller, with an event of this very fd, could meet it.
 */
#define _GNU_SOURCE
#include "runtime/net/poll.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "runtime/base/check.h"
#include "runtime/base/lck.h"
#include "runtime/base/san.h"
#include "runtime/context/hook.h"
#include "runtime/net/fd.h"
#include "runtime/sched/blocking.h"
#include "runtime/sched/rt.h"
#include "runtime/time/timer.h"

/* --- the table: one descriptor for each number, in chunks --------------------------------- */

enum { READING, WRITING, DIRECTIONS };

struct desc {
    struct go_lck lock; /* rank GO_LCK_POLL; guards the rest */
    uint32_t seq;       /* generation */
    bool registered;    /* epoll has this generation */
    bool adopted;       /* closed through us only: see rt_fd_adopt() */
    /* An edge came while nobody waited. rt_fd_prepare() reads it relaxed, without lock. */
    uint8_t ready[DIRECTIONS];
    struct go_waitq q[DIRECTIONS]; /* at most one waiter each */
};

#define CHUNK_BITS 12
#define CHUNK_FDS  (1u << CHUNK_BITS)
#define CHUNKS     ((uint32_t)INT32_MAX / CHUNK_FDS + 1)

/* Atomic; a chunk is published by compare-and-swap (release) and then stays. Sized for
 * every int: pages never touched cost nothing. */
static struct desc *chunks[CHUNKS];

/* fd's descriptor if its chunk exists, else NULL. fd >= 0. */
static struct desc *
desc_find(int fd)
{
    struct desc *chunk =
        __atomic_load_n(&chunks[(uint32_t)fd >> CHUNK_BITS], __ATOMIC_ACQUIRE);

    return chunk == NULL ? NULL : &chunk[(uint32_t)fd & (CHUNK_FDS - 1)];
}

static struct desc *
desc_get(int fd)
{
    struct desc **slot = &chunks[(uint32_t)fd >> CHUNK_BITS];
    const size_t size = CHUNK_FDS * sizeof(struct desc);
    struct desc *none = NULL;
    struct desc *fresh;

    if (LIKELY(__atomic_load_n(slot, __ATOMIC_ACQUIRE) != NULL))
        return desc_find(fd);

    fresh = mmap(NULL, size, PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (fresh == MAP_FAILED)
        return NULL;
    /* Release: the zeroes of a chunk of ours are seen by whoever finds it. */
    if (!__atomic_compare_exchange_n(slot, &none, fresh, false, __ATOMIC_ACQ_REL,
                                     __ATOMIC_ACQUIRE))
        (void)munmap(fresh, size);
    return desc_find(fd);
}

/* --- epoll and the wake-up ------------------------------------------------------------------ */

#define EVENTS       128
#define TOKEN_BREAK  UINT64_MAX
#define ARM_READ     ((uint32_t)EPOLLIN | EPOLLRDHUP)
#define ARM_WRITE    ((uint32_t)EPOLLOUT)
#define READ_EVENTS  ((uint32_t)EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)
#define WRITE_EVENTS ((uint32_t)EPOLLOUT | EPOLLHUP | EPOLLERR)

uint32_t rt_poll_waiters;

static int epoll_fd = -1; /* constant after rt_poll_init() */
static int break_fd = -1; /* constant after rt_poll_init() */

/* Atomic: 1 from a break until the blocking poll that it ended has taken note, so that any
 * number of breaks costs one write. */
static uint32_t break_pending;

/* Atomic: set once if the kernel, or its seccomp filter, has no epoll_pwait2. */
static uint32_t coarse_wait;

void
rt_poll_init(void)
{
    struct epoll_event ev = {.events = EPOLLIN, .data = {.u64 = TOKEN_BREAK}};

    if (epoll_fd >= 0)
        return;
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    break_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (epoll_fd < 0 || break_fd < 0 ||
        epoll_ctl(epoll_fd, EPOLL_CTL_ADD, break_fd, &ev) < 0)
        rt_fatal("netpoller: cannot make an epoll instance: errno %d", go_errno_());
}

void
rt_poll_break(void)
{
    const uint64_t one = 1;
    uint32_t no = 0;
    int saved = go_errno_();

    /* acq_rel: what the caller did before is seen by the poller once it has returned. */
    if (__atomic_compare_exchange_n(&break_pending, &no, 1, false, __ATOMIC_ACQ_REL,
                                    __ATOMIC_RELAXED)) {
        ssize_t n;

        do {
            n = write(break_fd, &one, sizeof(one));
        } while (n < 0 && go_errno_() == EINTR);
        ENSURE(n == (ssize_t)sizeof(one));
    }
    errno = saved;
}

/* A blocking poll has been broken. The order matters: a break that comes in between may be
 * lost, for the poller is awake already; the other way round the flag could stay up over an
 * empty eventfd, and all later breaks would be lost. */
static void
break_taken(void)
{
    uint64_t n;

    (void)!read(break_fd, &n, sizeof(n));
    __atomic_store_n(&break_pending, 0, __ATOMIC_RELEASE);
}

static int
wait_coarse(struct epoll_event *evs, int64_t timeout)
{
    const int64_t ms = timeout / GO_MILLISECOND + (timeout % GO_MILLISECOND != 0);

    return GO_ERRNO(
        epoll_wait(epoll_fd, evs, EVENTS, ms > INT32_MAX ? INT32_MAX : (int)ms));
}

/* Up to EVENTS events within timeout ns (GO_NEVER: no limit): their number or -errno. */
static int
wait_events(struct epoll_event *evs, int64_t timeout)
{
    struct timespec ts = {.tv_sec = timeout / GO_SECOND, .tv_nsec = timeout % GO_SECOND};
    int n;

    if (timeout == 0 || timeout == GO_NEVER)
        return GO_ERRNO(epoll_wait(epoll_fd, evs, EVENTS, timeout == 0 ? 0 : -1));
    if (UNLIKELY(__atomic_load_n(&coarse_wait, __ATOMIC_RELAXED)))
        return wait_coarse(evs, timeout);

    n = GO_ERRNO(epoll_pwait2(epoll_fd, evs, EVENTS, &ts, NULL));
    if (n == -ENOSYS || n == -EPERM) {
        __atomic_store_n(&coarse_wait, 1, __ATOMIC_RELAXED);
        return wait_coarse(evs, timeout);
    }
    return n;
}

/* --- waking ------------------------------------------------------------------------------------ */

/* A wait that nothing has ended yet; as an answer: park. */
#define UNDECIDED (-EINPROGRESS)

/* One wait; on the stack of whoever waits. */
struct wait {
    struct go_waiter
        w; /* first; w.g is NULL for a foreign thread, which sleeps in poll(2) */
    struct desc *d;
    struct rt_ctx_hook hook;
    int bell;   /* foreign: the eventfd that ends that call; constant while queued */
    int result; /* guarded by d->lock: UNDECIDED, then the outcome, once */
};

/* Take a queued wait out, to end with result. Lock held. Waits without a goroutine only end
 * this way to be cancelled. */
static void
end_wait(struct wait *x, int result)
{
    const uint64_t one = 1;
    ssize_t n;

    waitq_remove(x->w.queue, &x->w);
    x->result = result;
    if (x->w.g != NULL) {
        rt_ready(x->w.g);
        return;
    }
    do {
        n = write(x->bell, &one, sizeof(one));
    } while (n < 0 && go_errno_() == EINTR);
    ENSURE(n == (ssize_t)sizeof(one));
}

/* One direction of d is ready: wake who waits, or remember. A foreign thread is told by its
 * own poll(2). Lock held. */
static int
deliver(struct desc *d, int dir, struct go_g **list)
{
    struct wait *x = (struct wait *)d->q[dir].head;

    if (x == NULL || x->w.g == NULL) {
        __atomic_store_n(&d->ready[dir], 1, __ATOMIC_RELAXED);
        return 0;
    }
    waitq_remove(&d->q[dir], &x->w);
    x->result = 0;
    rt_ready_to_list(x->w.g, list);
    return 1;
}

static int
dispatch(const struct epoll_event *ev, struct go_g **list)
{
    struct desc *d = desc_find((int)(uint32_t)ev->data.u64);
    int n = 0;

    ENSURE(d != NULL);
    go_lck_lock(&d->lock, GO_LCK_POLL);
    if (d->seq == (uint32_t)(ev->data.u64 >> 32)) {
        if (ev->events & READ_EVENTS)
            n += deliver(d, READING, list);
        if (ev->events & WRITE_EVENTS)
            n += deliver(d, WRITING, list);
    }
    go_lck_unlock(&d->lock);
    return n;
}

int
rt_poll(int64_t deadline, struct go_g **list)
{
    struct epoll_event evs[EVENTS];
    int64_t timeout = deadline;
    int readied = 0;
    int n;

    if (deadline != 0 && deadline != GO_NEVER) {
        timeout = deadline - go_now();
        if (timeout < 0)
            timeout = 0;
    }
    n = wait_events(evs, timeout);
    if (n < 0 && n != -EINTR)
        rt_fatal("netpoller: epoll_wait: errno %d", -n);

    for (int i = 0; i < n; i++) {
        if (evs[i].data.u64 != TOKEN_BREAK)
            readied += dispatch(&evs[i], list);
        else if (deadline != 0)
            /* A poll that does not wait leaves the break to the one that does. */
            break_taken();
    }
    return readied;
}

/* --- registration ---------------------------------------------------------------------------------- */

static int
ctl(int op, int fd, uint32_t seq, uint32_t events)
{
    struct epoll_event ev = {.events = events | EPOLLET,
                             .data = {.u64 = (uint64_t)seq << 32 | (uint32_t)fd}};
    int r;

    /* A wait may begin between go_fd_close()'s detach() and its close(): end_late_waits()
     * then settles it. */
    GO_FD_RACE_BEGIN();
    r = GO_ERRNO(epoll_ctl(epoll_fd, op, fd, &ev));
    GO_FD_RACE_END();
    return r;
}

/* From here on the number stands for another file, or none: nobody waits for that one yet.
 * Lock held. */
static void
new_generation(struct desc *d)
{
    d->seq++;
    d->registered = false;
    d->adopted = false;
    for (int dir = 0; dir < DIRECTIONS; dir++) {
        __atomic_store_n(&d->ready[dir], 0, __ATOMIC_RELAXED);
        if (d->q[dir].head != NULL)
            end_wait((struct wait *)d->q[dir].head, -ECANCELED);
    }
}

/* Have the kernel report the file that fd is now, under the current generation, for the
 * directions that are waited for or about to be (dir; DIRECTIONS: none): 0 or -errno. One
 * that is ready reports at once. Lock held. */
static int
arm(struct desc *d, int fd, int dir)
{
    const bool known = d->registered;
    uint32_t events = 0;
    int r;

    if (dir == READING || d->adopted || d->q[READING].head != NULL)
        events |= ARM_READ;
    if (dir == WRITING || d->adopted || d->q[WRITING].head != NULL)
        events |= ARM_WRITE;

    r = ctl(known ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, d->seq, events);
    if (known && r < 0) {
        /* It was closed behind our back. */
        new_generation(d);
        if (r == -ENOENT)
            r = ctl(EPOLL_CTL_ADD, fd, d->seq, events);
    }
    if (r == -EEXIST)
        /* Unknown and yet there: its file came back to this number by dup2(). */
        r = ctl(EPOLL_CTL_MOD, fd, d->seq, events);
    d->registered = r == 0;
    return r;
}

/* Forget the file that fd was; its waits end. */
static void
detach(struct desc *d, int fd)
{
    (void)rt_enter();
    go_lck_lock(&d->lock, GO_LCK_POLL);
    if (d->registered)
        /* An error only says that the file is gone already. */
        (void)ctl(EPOLL_CTL_DEL, fd, d->seq, 0);
    new_generation(d);
    go_lck_unlock(&d->lock);
    rt_exit();
}

int
rt_fd_adopt(int fd)
{
    struct desc *d = desc_get(fd);

    if (d == NULL)
        return -ENOMEM;
    (void)rt_enter();
    go_lck_lock(&d->lock, GO_LCK_POLL);
    if (d->registered)
        new_generation(d);
    d->adopted = true;
    go_lck_unlock(&d->lock);
    rt_exit();
    return 0;
}

void
rt_fd_prepare(int fd, enum go_fd_event event)
{
    const int dir = event == GO_FD_READ ? READING : WRITING;
    struct desc *d = fd < 0 ? NULL : desc_find(fd);

    if (d == NULL || !__atomic_load_n(&d->ready[dir], __ATOMIC_RELAXED))
        return;
    /* The lock orders the event that set the flag, and so the data it told of, before the
     * attempt that follows. */
    (void)rt_enter();
    go_lck_lock(&d->lock, GO_LCK_POLL);
    __atomic_store_n(&d->ready[dir], 0, __ATOMIC_RELAXED);
    go_lck_unlock(&d->lock);
    rt_exit();
}

/* --- waiting --------------------------------------------------------------------------------- */

/* The part of a wait before it parks: UNDECIDED if it must, else its outcome. Lock held. */
static int
wait_begin(const struct wait *x, int fd, int dir, int64_t deadline)
{
    struct desc *d = x->d;
    int r;

    if (!d->adopted || !d->registered) {
        __atomic_store_n(&d->ready[dir], 0, __ATOMIC_RELAXED); /* the kernel looks anew */
        r = arm(d, fd, dir);
        if (r < 0)
            return r;
    }
    if (d->q[dir].head != NULL)
        return -EBUSY;
    if (x->result != UNDECIDED) /* the context was faster */
        return x->result;
    if (!d->ready[dir])
        return deadline != GO_NEVER && deadline <= go_now() ? -ETIMEDOUT : UNDECIDED;
    __atomic_store_n(&d->ready[dir], 0, __ATOMIC_RELAXED);
    return 0;
}

/* Runtime entered, by a goroutine. */
static int
wait_parked(struct wait *x, int fd, int dir, int64_t deadline)
{
    bool woken;
    int r;

    go_lck_lock(&x->d->lock, GO_LCK_POLL);
    r = wait_begin(x, fd, dir, deadline);
    if (r != UNDECIDED) {
        go_lck_unlock(&x->d->lock);
        return r;
    }
    waitq_push(&x->d->q[dir], &x->w);
    /* Counted while queued or about to run again: the scheduler polls if it is not 0. */
    __atomic_fetch_add(&rt_poll_waiters, 1, __ATOMIC_SEQ_CST);
    woken = rt_park_until(&x->d->lock, GO_LCK_POLL, &x->w, deadline,
                          dir == READING ? "IO wait (read)" : "IO wait (write)");
    __atomic_fetch_sub(&rt_poll_waiters, 1, __ATOMIC_SEQ_CST);
    return woken ? x->result : -ETIMEDOUT;
}

static int64_t
time_left(int64_t deadline)
{
    const int64_t left = deadline == GO_NEVER ? GO_NEVER : deadline - go_now();

    return left < 0 ? 0 : left;
}

/* poll(2) until fd is ready or bell rings: 0, or -errno. */
static int
poll_thread(int fd, int dir, int bell, int64_t deadline)
{
    struct pollfd p[] = {
        {.fd = fd, .events = dir == READING ? POLLIN | POLLRDHUP : POLLOUT},
        {.fd = bell, .events = POLLIN},
    };
    int r;

    do {
        const int64_t left = time_left(deadline);
        const struct timespec ts = {.tv_sec = left / GO_SECOND,
                                    .tv_nsec = left % GO_SECOND};

        r = GO_ERRNO(ppoll(p, 2, deadline == GO_NEVER ? NULL : &ts, NULL));
    } while (r == -EINTR);
    if (r < 0)
        return r;
    if (p[1].revents != 0)
        return -ECANCELED;
    if (r == 0)
        return -ETIMEDOUT;
    return p[0].revents & POLLNVAL ? -EBADF : 0;
}

/* A foreign thread sleeps in poll(2) itself, so that it needs no M to poll for it. It
 * stands in the queue all the same, so that a close or a context's end finds it. */
static int
wait_foreign(struct wait *x, int fd, int dir, int64_t deadline)
{
    bool queued = false;
    int r;

    /* A number that is free would be the bell's. */
    r = GO_ERRNO(fcntl(fd, F_GETFD));
    if (r < 0)
        return r;
    x->bell = GO_ERRNO(eventfd(0, EFD_CLOEXEC));
    if (x->bell < 0)
        return x->bell;

    go_lck_lock(&x->d->lock, GO_LCK_POLL);
    r = x->d->q[dir].head != NULL ? -EBUSY : x->result;
    if (r == UNDECIDED) {
        waitq_push(&x->d->q[dir], &x->w);
        queued = true;
    }
    go_lck_unlock(&x->d->lock);

    if (queued) {
        r = poll_thread(fd, dir, x->bell, deadline);
        go_lck_lock(&x->d->lock, GO_LCK_POLL);
        if (x->w.queue == NULL)
            r = x->result;
        else
            waitq_remove(&x->d->q[dir], &x->w);
        go_lck_unlock(&x->d->lock);
    }
    (void)close(x->bell);
    return r;
}

static void
ctx_ended(struct rt_ctx_hook *h, int err)
{
    struct wait *x = (struct wait *)((char *)h - offsetof(struct wait, hook));

    go_lck_lock(&x->d->lock, GO_LCK_POLL);
    if (x->w.queue != NULL)
        end_wait(x, err);
    else if (x->result == UNDECIDED)
        x->result = err; /* not queued yet */
    go_lck_unlock(&x->d->lock);
}

/* Named like a public function because it stands for one in dumps: those end in a jump to it. */
static int
go_fd_wait_(int fd, enum go_fd_event event, int64_t deadline, struct go_ctx *ctx)
{
    const int dir = event == GO_FD_READ ? READING : WRITING;
    struct wait x = {.result = UNDECIDED};
    struct go_m *m;
    int r = 0;

    if (fd < 0)
        return -EBADF;
    if (event != GO_FD_READ && event != GO_FD_WRITE)
        return -EINVAL;
    x.d = desc_get(fd);
    if (x.d == NULL)
        return -ENOMEM;
    m = rt_enter();
    x.w.g = m->foreign ? NULL : m->g;
    if (ctx != NULL)
        r = rt_ctx_hook_add(ctx, &x.hook, ctx_ended);
    if (r == 0) {
        if (x.w.g == NULL)
            r = wait_foreign(&x, fd, dir, deadline);
        else
            r = wait_parked(&x, fd, dir, deadline);
        if (ctx != NULL)
            (void)rt_ctx_hook_remove(&x.hook);
    }
    rt_exit();
    return r;
}

int
go_fd_wait(int fd, enum go_fd_event event, int64_t deadline)
{
    return go_fd_wait_(fd, event, deadline, NULL);
}

int
go_fd_wait_ctx(int fd, enum go_fd_event event, struct go_ctx *ctx)
{
    return go_fd_wait_(fd, event, GO_NEVER, ctx);
}

/* --- the end of an fd -------------------------------------------------------------------------- */

int
go_fd_forget(int fd)
{
    struct desc *d = fd < 0 ? NULL : desc_find(fd);
    int r;

    if (d != NULL)
        detach(d, fd);
    r = GO_ERRNO(fcntl(fd, F_GETFD));
    return r < 0 ? r : 0;
}

/* A wait that began after the number was forgotten and before its file was closed sits on a
 * registration that died with the file. Have the kernel tell. */
static void
end_late_waits(struct desc *d, int fd)
{
    (void)rt_enter();
    go_lck_lock(&d->lock, GO_LCK_POLL);
    if (d->registered)
        (void)arm(d, fd, DIRECTIONS);
    go_lck_unlock(&d->lock);
    rt_exit();
}

int
go_fd_close(int fd)
{
    struct desc *d = fd < 0 ? NULL : desc_find(fd);
    int r;

    if (d != NULL)
        detach(d, fd);
    r = GO_ERRNO(close(fd));
    if (d != NULL)
        end_late_waits(d, fd);
    /* Linux has released the number whatever close() says; only "interrupted" is no news. */
    return r == -EINTR ? 0 : r;
}
