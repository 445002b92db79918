/*
 * Preemption without corrupting C.
 *
 * A C function cannot be switched out at an arbitrary instruction: it may hold malloc's
 * lock. So when a goroutine has run for 10 ms without calling the runtime, sysmon signals
 * its thread, and the handler gives away the *processor*, not the goroutine: it detaches
 * the P, sysmon starts another thread with it, and the runaway keeps its own thread, on
 * which the kernel timeshares it. At its next call into the runtime it must get a P again.
 *
 * Why the handler is safe. It runs on the very thread whose state it looks at, so plain
 * variables suffice: in_rt is raised by the first store of every runtime call (rt_enter),
 * which a compiler barrier keeps before any use of the P. in_rt == 0 means user code: no
 * instruction of the runtime is half done, and the P is touched by nobody. The handler
 * does a few stores and a futex wake, all async-signal-safe.
 *
 *   sysmon           sets p->take_slice to the slice it saw, signals the thread
 *   handler          if in_rt == 0 and the P is still in that slice: m->p = NULL,
 *                    p->status = P_DETACHED (release), wakes sysmon
 *   sysmon           sees P_DETACHED (acquire), hands the P off
 *
 * If the handler finds the thread inside the runtime it does nothing: the preempt flag,
 * set at the same time, makes the goroutine yield when it leaves the runtime.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "runtime/debug/internal.h"
#include "runtime/mem/guard.h"
#include "runtime/mem/stack.h"
#include "runtime/sched/switch.h"

#define ALT_STACK_SIZE ((size_t)128 << 10)

static struct sigaction old_segv, old_bus;

static void
detach_p(struct go_m *m)
{
    struct go_p *p = m->p;

    if (p == NULL || LOAD(&p->take_slice, RELAXED) != LOAD(&p->slice, RELAXED) + 1)
        return;
    m->p = NULL;
    STORE(&m->detached, true, RELAXED);
    ADD(&sched.ndetached, 1, SEQ_CST);
    STORE(&p->m, NULL, RELAXED);
    STORE(&p->status, P_DETACHED, RELEASE); /* pairs with sysmon's acquire */
    rt_sysmon_kick();
}

static void
on_sigurg(int sig, siginfo_t *info, void *context)
{
    struct go_m *m = rt_m();
    int saved = errno;

    (void)sig;
    (void)info;
    if (m == NULL || m->foreign)
        return;
    if (LOAD(&m->bt_state, ACQUIRE) == 1)
        rt_bt_answer(m, context);
    if (m->in_rt == 0)
        detach_p(m);
    errno = saved;
}

/* A fault in the guard page of the running goroutine's stack is an overflow; any other is
 * the program's own affair, but it is told which goroutine it was. */
static void
on_fault(int sig, siginfo_t *info, void *context)
{
    struct sigaction *old = sig == SIGSEGV ? &old_segv : &old_bus;
    struct go_m *m = rt_m();
    uintptr_t addr = (uintptr_t)info->si_addr;

    if (m != NULL && m->g != NULL && m->g->stack != NULL) {
        const struct go_stack *s = m->g->stack;

        if (addr < s->lo && addr >= s->lo - GUARD_SIZE)
            rt_report_overflow(m->g, info->si_addr, context);
    }
    if ((old->sa_flags & SA_SIGINFO) != 0 && old->sa_sigaction != NULL) {
        old->sa_sigaction(sig, info, context);
        return;
    }
    if (old->sa_handler != SIG_DFL && old->sa_handler != SIG_IGN) {
        old->sa_handler(sig);
        return;
    }
    rt_report_fault(sig, info->si_addr, context);
}

static sigset_t thread_mask; /* of the runtime's threads; constant after the start */

/* A signal stack for this thread: an overflowed goroutine has none left to handle the
 * fault on. */
void
rt_thread_signals(struct go_m *m)
{
    stack_t alt = {.ss_size = ALT_STACK_SIZE};

    (void)m;
    alt.ss_sp = mmap(NULL, ALT_STACK_SIZE, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (alt.ss_sp != MAP_FAILED)
        sigaltstack(&alt, NULL);
    pthread_sigmask(SIG_SETMASK, &thread_mask,
                    NULL); /* created with everything blocked */
}

/* What the program blocked before the runtime started stays blocked in all its threads, as
 * in threads it would have made itself: signalfd() and sigwait() rely on it. Except for the
 * runtime's own signal, and faults, which cannot wait. */
static void
thread_mask_init(void)
{
    static const int ours[] = {SIGURG, SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP};

    pthread_sigmask(SIG_SETMASK, NULL, &thread_mask);
    for (size_t i = 0; i < sizeof(ours) / sizeof(ours[0]); i++)
        sigdelset(&thread_mask, ours[i]);
}

void
rt_preempt_init(void)
{
    struct sigaction sa = {.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART};

    thread_mask_init();
    sigfillset(&sa.sa_mask);
    sa.sa_sigaction = on_sigurg;
    sigaction(SIGURG, &sa, NULL);
    sa.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
    sigemptyset(&sa.sa_mask);
    sa.sa_sigaction = on_fault;
    sigaction(SIGSEGV, &sa, &old_segv);
    sigaction(SIGBUS, &sa, &old_bus);
}

void
rt_signal_m(struct go_m *m)
{
    (void)syscall(SYS_tgkill, getpid(), m->tid, SIGURG);
}

/* The calling goroutine runs without a P, taken by the signal or in a blocking region: get
 * an idle one, or queue up for one. */
void
p_reacquire(struct go_m *m)
{
    struct go_g *g = m->g;
    struct go_p *p;
    uint32_t depth = m->in_rt;

    go_lck_lock(&sched.lock, GO_LCK_SCHED);
    p = p_idle_get_locked();
    if (p != NULL)
        m_attach(m);
    go_lck_unlock(&sched.lock);
    if (p != NULL) {
        p_acquire(m, p);
        STORE(&g->status, GO_RUNNING, RELAXED);
        return;
    }
    STORE(&g->reason, NULL, RELAXED);
    STORE(&g->status, GO_RUNNABLE, RELAXED);
    m->g0_requeue = true;
    rt_trace(RT_EV_STOP, g, "no P");
    STORE(&g->m, NULL, RELAXED);
    switch_to_g0(m, g);
    rt_m()->in_rt = depth;
}
