/*
 * How the process dies of its own accord: a goroutine's misuse, a failed invariant, a
 * runtime that cannot go on, a stack overflow, a fault, SIGQUIT.
 *
 * All print a message and the goroutines, and end with _exit(2), or abort() if a core is
 * wanted. One thread reports; others that come to die meanwhile wait for the end. A thread
 * that comes here a second time was broken by its own report, and ends at once. The
 * reporter may stand on the last page of a goroutine's stack, where even the dynamic linker
 * may need more than is left (it saves every vector register when it binds a function). So
 * only the message is printed from there; the rest runs on a stack of its own.
 */
#define _GNU_SOURCE
#include "runtime/debug/panic.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "runtime/debug/backtrace.h"
#include "runtime/debug/internal.h"
#include "runtime/debug/report.h"
#include "runtime/sched/switch.h"

#define STATUS 2 /* Go's */

enum rt_traceback rt_traceback = RT_TB_ALL;

static uint32_t dying;    /* atomic: tid of the reporter */
static struct rt_out out; /* the reporter's from here on */
static struct rt_looker looker;
static char text[1024];
static const struct rt_frames *report_culprit;
static void *report_left;  /* the context of whoever came to die */
static void *report_fiber; /* under TSan */
static _Alignas(16) uintptr_t report_stack[(64 << 10) / sizeof(uintptr_t)];

void
rt_traceback_init(void)
{
    static const struct {
        const char *word;
        enum rt_traceback level;
    } words[] = {
        {"none", RT_TB_NONE}, {"0", RT_TB_NONE},      {"single", RT_TB_SINGLE},
        {"all", RT_TB_ALL},   {"1", RT_TB_ALL},       {"system", RT_TB_SYSTEM},
        {"2", RT_TB_SYSTEM},  {"crash", RT_TB_CRASH},
    };
    const char *value = getenv("GOTRACEBACK");

    for (size_t i = 0; value != NULL && i < sizeof(words) / sizeof(words[0]); i++) {
        if (strcmp(value, words[i].word) == 0)
            rt_traceback = words[i].level;
    }
}

/* --- begin and end ------------------------------------------------------------------------------- */

_Noreturn static void
end(bool core)
{
    if (core) {
        signal(SIGABRT, SIG_DFL);
        abort();
    }
    _exit(STATUS);
}

void
rt_die_begin(const char *fmt, ...)
{
    uint32_t tid = (uint32_t)syscall(SYS_gettid), nobody = 0;
    va_list ap;

    if (!__atomic_compare_exchange_n(&dying, &nobody, tid, false, __ATOMIC_ACQUIRE,
                                     __ATOMIC_RELAXED)) {
        if (nobody == tid) {
            static const char again[] = "\nfatal error: died while reporting the above\n";

            (void)!write(STDERR_FILENO, again, sizeof(again) - 1);
            end(rt_traceback == RT_TB_CRASH);
        }
        for (;;)
            pause();
    }
    rt_out_init(&out, STDERR_FILENO);
    va_start(ap, fmt);
    rt_out_vfmt(&out, fmt, ap);
    va_end(ap);
}

/* The message of a user's go_panic() may hold any conversion; ours are plain ones. */
__attribute__((format(printf, 2, 0))) static void
die_message(const char *kind, const char *fmt, va_list ap)
{
    rt_die_begin("%s", kind);
    if (rt_out_knows(fmt)) {
        rt_out_vfmt(&out, fmt, ap);
    } else {
        (void)vsnprintf(text, sizeof(text), fmt, ap);
        rt_out_str(&out, text);
    }
    rt_out_str(&out, "\n\n");
    (void)rt_out_flush(&out); /* whatever happens from here on, that much is said */
}

/* Everything but the end itself. */
static void
report(const struct rt_frames *culprit)
{
    bool inner = rt_traceback >= RT_TB_SYSTEM;

    rt_looker_init(&looker, NULL);
    if (culprit != NULL && rt_traceback >= RT_TB_SINGLE)
        rt_report_self(&out, looker.self, culprit, inner);
    (void)rt_out_flush(&out);
    if (rt_traceback >= RT_TB_ALL)
        rt_report_others(&out, &looker, looker.self, inner);
    (void)rt_out_flush(&out);
    rt_debug_exit();
}

/* On the report's stack. */
static void
report_there(void)
{
    const void *lo = NULL;
    size_t size = 0;

#if GO_ASAN
    __sanitizer_finish_switch_fiber(NULL, &lo, &size);
#endif
    report(report_culprit);
    switch_raw(&report_left, report_left, lo, size, report_fiber, true);
}

/* The end itself comes from the stack of whoever came to die: a core shows it. */
void
rt_die_end(const struct rt_frames *culprit, bool core)
{
    uintptr_t *sp = report_stack + sizeof(report_stack) / sizeof(*sp) - 2 * CTX_WORDS;

    report_culprit = culprit;
    /* A saved context at the far end: 0 stands where a return address would. */
    sp[CTX_PC] = (uintptr_t)report_there;
    sp[CTX_FP] = 0;
#if GO_TSAN
    report_fiber = __tsan_get_current_fiber();
#endif
    switch_raw(&report_left, sp, report_stack, sizeof(report_stack), report_fiber, false);
    end(core || rt_traceback == RT_TB_CRASH);
}

/* --- the ways to die --------------------------------------------------------------------------------- */

__attribute__((noinline)) void
go_panic(const char *fmt, ...)
{
    struct rt_frames f;
    va_list ap;

    va_start(ap, fmt);
    die_message("panic: ", fmt, ap);
    va_end(ap);
    rt_frames_here(&f, __builtin_frame_address(0));
    rt_die_end(&f, false);
}

__attribute__((noinline)) void
rt_fatal(const char *fmt, ...)
{
    const struct go_m *m = rt_m();
    struct rt_frames f;
    va_list ap;

    va_start(ap, fmt);
    die_message("fatal error: ", fmt, ap);
    va_end(ap);
    rt_frames_here(&f, __builtin_frame_address(0));
    /* A scheduler without a goroutine (deadlock) is nobody's culprit. */
    rt_die_end(m != NULL && m->g == NULL && rt_traceback < RT_TB_SYSTEM ? NULL : &f,
               false);
}

__attribute__((noinline)) void
go_ensure_failed_(const char *cond, const char *file, int line)
{
    struct rt_frames f;

    rt_die_begin("fatal error: invariant broken: %s\n\t%s:%d\n\n", cond, file, line);
    (void)rt_out_flush(&out);
    rt_frames_here(&f, __builtin_frame_address(0));
    rt_die_end(&f, true);
}

void
rt_report_overflow(struct go_g *g, void *fault_addr, void *ucontext)
{
    static struct rt_frames f;
    uintptr_t lo = 0, hi = 0;
    size_t size = 1;

    /* Reservations are powers of two; the usable part is a guard and a heading less. */
    if (rt_stack_bounds(g, &lo, &hi)) {
        while (size < hi - lo)
            size *= 2;
    }
    rt_die_begin("runtime: goroutine %lld (%s) exceeded its %zu-byte stack at %p\n"
                 "fatal error: stack overflow\n\n",
                 (long long)g->id,
                 g->name != NULL   ? g->name
                 : g->site != NULL ? g->site->fn
                                   : "main",
                 size, fault_addr);
    (void)rt_out_flush(&out);
    rt_frames_context(&f, ucontext);
    /* The stack pointer may stand below the stack, where the guard is. */
    if (f.hi != hi && lo != 0) {
        f.lo = lo;
        f.hi = hi;
    }
    rt_die_end(&f, false);
}

void
rt_report_fault(int sig, void *fault_addr, void *ucontext)
{
    static struct rt_frames f;

    rt_frames_context(&f, ucontext);
    rt_die_begin("fatal error: %s at address %p\n[pc 0x%lx]\n\n",
                 sig == SIGBUS ? "SIGBUS: bus error" : "SIGSEGV: segmentation violation",
                 fault_addr, (unsigned long)f.pc);
    (void)rt_out_flush(&out);
    report(&f);
    /* Its parent and the core shall see the signal itself. */
    (void)signal(sig, SIG_DFL);
    (void)raise(sig);
    end(true);
}
