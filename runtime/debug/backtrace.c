#define _GNU_SOURCE
#include "runtime/debug/backtrace.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#include "runtime/debug/caller.h"
#include "runtime/debug/internal.h"
#include "runtime/sched/context.h"

#define ANSWER_NS INT64_C(100000000)
#define SCAN_MAX  16384 /* bytes of stack in which a lost caller is looked for */

/* States of m->bt_state. A handler that starts to fill in moves ASKED to FILLING, so that a
 * requester that gives up knows whether somebody still writes. */
enum {
    BT_IDLE,
    BT_ASKED,
    BT_ANSWERED,
    BT_FILLING,
    BT_READING,
};

static bool
is_frame(const struct rt_frames *f, uintptr_t fp)
{
    return fp % sizeof(uintptr_t) == 0 && fp >= f->lo && fp < f->hi &&
           f->hi - fp >= 2 * sizeof(uintptr_t);
}

/* The code at pc keeps no frame pointer: find its caller's frame by what is on the stack.
 * False if that cannot be told; then frame pointers have to do. */
static bool
step_frameless(struct rt_frames *f, uintptr_t pc, bool exact)
{
    uintptr_t limit = f->hi - f->lo > SCAN_MAX ? f->lo + SCAN_MAX : f->hi;
    bool fp_kept = is_frame(f, f->fp);
    uintptr_t at, fp = 0;

    if (fp_kept && f->fp < limit)
        limit = f->fp;
    at = rt_find_caller(pc, exact, f->lo, limit);
    if (at == 0)
        return false;
    /* Saved by the callee, if it used the register for something else. */
    for (uintptr_t a = at - sizeof(a); !fp_kept && fp == 0 && a >= f->lo;
         a -= sizeof(a)) {
        uintptr_t v = rt_peek(a);

        if (v > at && is_frame(f, v) && rt_is_return(rt_peek(v + sizeof(v))))
            fp = v;
    }
    f->pc = rt_peek(at);
    f->lo = at + sizeof(at);
    if (!fp_kept)
        f->fp = fp;
    return true;
}

bool
rt_frame_next(struct rt_frames *f, uintptr_t *ret_pc)
{
    uintptr_t fp = f->fp, pc = f->pc;
    bool exact = f->exact;

    if (pc == 0)
        return false;
    *ret_pc = pc;
    f->exact = false;
    f->pc = 0;
    if (f->lo < f->hi && rt_is_frameless(pc, exact) && step_frameless(f, pc, exact))
        return true;
    if (is_frame(f, fp)) {
        f->pc = rt_peek(fp + sizeof(uintptr_t));
        f->fp = rt_peek(fp);
        /* Frames lie outwards, else this was no frame. */
        f->lo = fp + 2 * sizeof(uintptr_t);
    }
    return true;
}

/* --- where the walk starts --------------------------------------------------------------------- */

/* One hexadecimal number of /proc/self/maps. */
struct maps {
    int fd;
    size_t at, n;
    char buf[512];
};

static int
maps_char(struct maps *m)
{
    if (m->at == m->n) {
        ssize_t r;

        do
            r = read(m->fd, m->buf, sizeof(m->buf));
        while (r < 0 && errno == EINTR);
        if (r <= 0)
            return -1;
        m->at = 0;
        m->n = (size_t)r;
    }
    return (unsigned char)m->buf[m->at++];
}

static uintptr_t
maps_hex(struct maps *m, int *last)
{
    uintptr_t v = 0;
    int c;

    for (;;) {
        c = maps_char(m);
        if (c >= '0' && c <= '9')
            v = v * 16 + (uintptr_t)(c - '0');
        else if (c >= 'a' && c <= 'f')
            v = v * 16 + (uintptr_t)(c - 'a' + 10);
        else
            break;
    }
    *last = c;
    return v;
}

bool
rt_find_mapping(uintptr_t addr, uintptr_t *lo, uintptr_t *hi)
{
    struct maps m = {.n = 0};
    bool found = false;
    int c = 0, saved = errno;

    m.fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
    while (m.fd >= 0 && c >= 0) {
        *lo = maps_hex(&m, &c);
        if (c != '-')
            break;
        *hi = maps_hex(&m, &c);
        found = addr >= *lo && addr < *hi;
        if (found)
            break;
        while (c >= 0 && c != '\n')
            c = maps_char(&m);
    }
    if (m.fd >= 0)
        (void)close(m.fd);
    errno = saved;
    return found;
}

/* The stack that addr lies on: a goroutine's, its thread's, or a foreign thread's. */
static bool
find_stack(uintptr_t addr, uintptr_t *lo, uintptr_t *hi)
{
    const struct go_m *m = rt_m();

    if (m != NULL && m->g != NULL && rt_stack_bounds(m->g, lo, hi) && addr >= *lo &&
        addr < *hi)
        return true;
    if (m != NULL && m->stack_lo != NULL) {
        *lo = (uintptr_t)m->stack_lo;
        *hi = *lo + m->stack_size;
        if (addr >= *lo && addr < *hi)
            return true;
    }
    return rt_find_mapping(addr, lo, hi);
}

/* Nothing below from is a caller's frame. */
static void
start(struct rt_frames *f, uintptr_t pc, uintptr_t fp, uintptr_t from)
{
    uintptr_t lo, hi;

    f->pc = pc;
    f->fp = fp;
    f->lo = f->hi = 0;
    if (find_stack(from, &lo, &hi)) {
        f->lo = (from + 7) & ~(uintptr_t)7;
        f->hi = hi;
    }
}

GO_NO_SANITIZE void
rt_frames_here(struct rt_frames *f, const void *fp)
{
    const uintptr_t *frame = fp;

    f->exact = false;
    start(f, frame[1], frame[0], (uintptr_t)fp);
}

static void
context_regs(const ucontext_t *uc, uintptr_t *pc, uintptr_t *fp, uintptr_t *sp)
{
#if defined(__x86_64__)
    *pc = (uintptr_t)uc->uc_mcontext.gregs[REG_RIP];
    *fp = (uintptr_t)uc->uc_mcontext.gregs[REG_RBP];
    *sp = (uintptr_t)uc->uc_mcontext.gregs[REG_RSP];
#elif defined(__aarch64__)
    *pc = uc->uc_mcontext.pc;
    *fp = uc->uc_mcontext.regs[29];
    *sp = uc->uc_mcontext.sp;
#endif
}

void
rt_frames_context(struct rt_frames *f, const void *ucontext)
{
    uintptr_t pc, fp, sp;

    context_regs(ucontext, &pc, &fp, &sp);
    f->exact = true;
    start(f, pc, fp, sp);
}

bool
rt_frames_parked(struct rt_frames *f, const struct go_g *g)
{
    uintptr_t sp = (uintptr_t)__atomic_load_n(&g->sp, __ATOMIC_RELAXED);

    if (__atomic_load_n(&g->on_cpu, __ATOMIC_ACQUIRE) != 0 ||
        !rt_stack_bounds(g, &f->lo, &f->hi) || sp < f->lo || sp >= f->hi ||
        sp % sizeof(uintptr_t) != 0 || f->hi - sp < CTX_WORDS * sizeof(uintptr_t))
        return false;
    f->lo = sp + CTX_WORDS * sizeof(uintptr_t);
    f->fp = rt_peek(sp + CTX_FP * sizeof(uintptr_t));
    f->pc = rt_peek(sp + CTX_PC * sizeof(uintptr_t));
    f->exact = false;
    return true;
}

/* --- interrupting a thread ----------------------------------------------------------------------- */

void
rt_bt_answer(struct go_m *m, void *ucontext)
{
    uint32_t asked = BT_ASKED;
    struct rt_frames f;
    uintptr_t pc, sp, lo, hi;
    int n = 0;

    if (!__atomic_compare_exchange_n(&m->bt_state, &asked, BT_FILLING, false,
                                     __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
        return;
    context_regs(ucontext, &f.pc, &f.fp, &sp);
    /* On the scheduler's own stack there is no goroutine to show. */
    if (m->g != NULL && rt_stack_bounds(m->g, &lo, &hi) && sp >= lo && sp < hi) {
        f.exact = true;
        f.lo = (sp + 7) & ~(uintptr_t)7;
        f.hi = hi;
        while (n < (int)(sizeof(m->bt_pc) / sizeof(m->bt_pc[0])) &&
               rt_frame_next(&f, &pc))
            m->bt_pc[n++] = (void *)pc; /* NOLINT(performance-no-int-to-ptr) */
    }
    m->bt_g = n > 0 ? m->g : NULL;
    m->bt_n = n;
    /* Release pairs with the requester's acquire. */
    __atomic_store_n(&m->bt_state, BT_ANSWERED, __ATOMIC_RELEASE);
}

static int64_t
now_ns(void)
{
    struct timespec ts;

    (void)clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

/* Wait until m->bt_state becomes from and make it to, at most until deadline. */
static bool
await(struct go_m *m, uint32_t from, uint32_t to, int64_t deadline)
{
    for (;;) {
        uint32_t seen = from;

        if (__atomic_compare_exchange_n(&m->bt_state, &seen, to, false, __ATOMIC_ACQ_REL,
                                        __ATOMIC_RELAXED))
            return true;
        if (now_ns() >= deadline)
            return false;
        sched_yield();
    }
}

int
rt_bt_ask(struct go_m *m, const struct go_g *g, void **pcs, int max)
{
    int64_t deadline = now_ns() + ANSWER_NS;
    int n;

    if (!await(m, BT_IDLE, BT_ASKED, deadline))
        return 0; /* other dumps keep it busy */
    rt_signal_m(m);
    while (!await(m, BT_ANSWERED, BT_READING, deadline)) {
        /* Whoever is filling in will be done in a moment; the unseen can be withdrawn. */
        if (await(m, BT_ASKED, BT_IDLE, 0))
            return 0;
    }
    n = m->bt_g != g ? -1 : m->bt_n < max ? m->bt_n : max;
    for (int i = 0; i < n; i++)
        pcs[i] = m->bt_pc[i];
    __atomic_store_n(&m->bt_state, BT_IDLE, __ATOMIC_RELEASE);
    return n;
}
