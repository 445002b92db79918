/*
 * Starting goroutines.
 *
 *     static void worker(struct go_wg *wg, int n) { … go_wg_done(wg); }
 *
 *     go(worker, &wg, 3);
 *
 * go() checks the call at compile time exactly as if it were written worker(&wg, 3), then
 * captures up to six arguments by value. They must be integers or pointers: these travel in
 * integer registers, whatever their type; a double, struct or __int128, as an argument or
 * as a parameter, is refused at compile time (and by gcc an enum parameter: make it an
 * int). An argument for a parameter narrower than int (bool, char, short) must already be
 * in that parameter's range.
 * The function's result, if it has one, is dropped. A goroutine ends by returning.
 */
#ifndef GOJOBD_RUNTIME_SCHED_SPAWN_H
#define GOJOBD_RUNTIME_SCHED_SPAWN_H

#include <stddef.h>
#include <stdint.h>

struct go_wg;

/* Where a go statement stands in the source; one static object per statement. */
struct go_site {
    const char *fn;   /* the function's name as written */
    const char *func; /* the function that holds the statement */
    const char *file;
    int line;
};

/* How a goroutine may differ from the default. Zero means default. */
struct go_opts {
    size_t stack_size; /* bytes reserved; rounded up to 64 KiB … 64 MiB, a power of two */
    const char *name; /* for dumps; must outlive the goroutine; default: the function */
    struct go_wg *wg; /* go_wg_add(wg, 1) before it starts, go_wg_done(wg) at its end */
};

/* int64_t go(fn, args...): start fn(args...) as a goroutine and go on.
 * Returns its id (> 0), or -ENOMEM / -EAGAIN when no memory or address space for another
 * goroutine can be had; fn is then never called. Never parks. Any thread. */
#define go(...) GO_SPAWN_(((const struct go_opts *)NULL), __VA_ARGS__)

/* int64_t go_opt(const struct go_opts *opts, fn, args...): as go(), with options. */
#define go_opt(opts, ...) GO_SPAWN_((opts), __VA_ARGS__)

/* int64_t go_wg_go(struct go_wg *wg, fn, args...): go() counted by a WaitGroup: added here,
 * done when fn returns; not added when the spawn fails (Go's WaitGroup.Go). */
#define go_wg_go(wg_, ...) GO_SPAWN_((&(const struct go_opts){.wg = (wg_)}), __VA_ARGS__)

/* Enter the runtime: run fn(argc, argv) as the main goroutine and return its result. The
 * calling thread sleeps meanwhile. As in Go, other goroutines still running then do not
 * hold the program back: return the result from main(). May be called again. The runtime's
 * threads block the signals that were blocked at its start.
 * When every goroutine is asleep for ever, the process ends with Go's
 * "fatal error: all goroutines are asleep - deadlock!" and a dump, status 2; other
 * threads of the process, and open waits on timers or fds, switch that off. */
int go_main(int (*fn)(int argc, char **argv), int argc, char **argv);

/* Let others run: the goroutine goes to the back of the run queue. PARKS (runnable). */
void go_yield(void);

/* A hint: the caller is about to park or to end. Until then up to `few` goroutines that it
 * readies or spawns wait for its own P rather than wake an idle thread: where they have
 * little to do that would cost more than it gains. */
void go_park_soon(int few);

/* One load in the common case: yields if this goroutine's time slice is over. For long
 * loops that call nothing else of the runtime (they are preempted without it too, but at
 * the price of a thread). */
static inline void go_checkpoint(void);

/* The id of the calling goroutine (> 0), or 0 on a foreign thread. */
int64_t go_id(void);

/* --- what the macros above stand on; not for direct use --- */

typedef void go_entry_fn(uintptr_t, uintptr_t, uintptr_t, uintptr_t, uintptr_t,
                         uintptr_t);

int64_t go_spawn_(const struct go_opts *opts, const struct go_site *site, go_entry_fn *fn,
                  const uintptr_t args[6]);
void go_checkpoint_slow_(void);
extern _Thread_local volatile unsigned char go_preempt_flag_
    __attribute__((tls_model("initial-exec")));

static inline void
go_checkpoint(void)
{
    if (__builtin_expect(__atomic_load_n(&go_preempt_flag_, __ATOMIC_RELAXED), 0))
        go_checkpoint_slow_();
}

#define GO_NARG_(...)                          GO_NARG__(__VA_ARGS__, 7, 6, 5, 4, 3, 2, 1, 0, )
#define GO_NARG__(a, b, c, d, e, f, g, n, ...) n
#define GO_CAT_(a, b)                          GO_CAT__(a, b)
#define GO_CAT__(a, b)                         a##b

/* 1 integer, 2 char, 3 enum, 4 bool, 5 pointer: see gcc/typeclass.h. */
#define GO_ARG_(x)                                                                       \
    __extension__({                                                                      \
        __auto_type go_arg__ = (x);                                                      \
        _Static_assert(                                                                  \
            __builtin_classify_type(go_arg__) >= 1 &&                                    \
                __builtin_classify_type(go_arg__) <= 5 &&                                \
                sizeof(go_arg__) <= sizeof(uintptr_t),                                   \
            "go(): arguments must be integers or pointers; pass a pointer to "           \
            "anything else");                                                            \
        (uintptr_t) go_arg__;                                                            \
    })

#define GO_ARGS_1(f)
#define GO_ARGS_2(f, a)          GO_ARG_(a)
#define GO_ARGS_3(f, a, b)       GO_ARG_(a), GO_ARG_(b)
#define GO_ARGS_4(f, a, b, c)    GO_ARG_(a), GO_ARG_(b), GO_ARG_(c)
#define GO_ARGS_5(f, a, b, c, d) GO_ARG_(a), GO_ARG_(b), GO_ARG_(c), GO_ARG_(d)
#define GO_ARGS_6(f, a, b, c, d, e)                                                      \
    GO_ARG_(a), GO_ARG_(b), GO_ARG_(c), GO_ARG_(d), GO_ARG_(e)
#define GO_ARGS_7(f, a, b, c, d, e, g)                                                   \
    GO_ARG_(a), GO_ARG_(b), GO_ARG_(c), GO_ARG_(d), GO_ARG_(e), GO_ARG_(g)

/* A second, never evaluated call with every argument a void *: accepted for integer and
 * pointer parameters, an error for floating ones, which travel in other registers. */
#define GO_NIL_ ((void *)0)
#define GO_NILS_1
#define GO_NILS_2 GO_NIL_
#define GO_NILS_3 GO_NIL_, GO_NIL_
#define GO_NILS_4 GO_NIL_, GO_NIL_, GO_NIL_
#define GO_NILS_5 GO_NIL_, GO_NIL_, GO_NIL_, GO_NIL_
#define GO_NILS_6 GO_NIL_, GO_NIL_, GO_NIL_, GO_NIL_, GO_NIL_
#define GO_NILS_7 GO_NIL_, GO_NIL_, GO_NIL_, GO_NIL_, GO_NIL_, GO_NIL_

#define GO_CALL_1(f)                   (f)()
#define GO_CALL_2(f, a)                (f)(a)
#define GO_CALL_3(f, a, b)             (f)(a, b)
#define GO_CALL_4(f, a, b, c)          (f)(a, b, c)
#define GO_CALL_5(f, a, b, c, d)       (f)(a, b, c, d)
#define GO_CALL_6(f, a, b, c, d, e)    (f)(a, b, c, d, e)
#define GO_CALL_7(f, a, b, c, d, e, g) (f)(a, b, c, d, e, g)
#define GO_FIRST_(f, ...)              f
#define GO_FNAME_(f, ...)              #f

/* clang-format 14 does not know _Pragma. */
/* clang-format off */
#define GO_SPAWN_(opts_, ...)                                                               \
    __extension__({                                                                         \
        if (0) {                                                                            \
            (void)GO_CAT_(GO_CALL_, GO_NARG_(__VA_ARGS__))(__VA_ARGS__);                    \
            _Pragma("GCC diagnostic push")                                                  \
            _Pragma("GCC diagnostic ignored \"-Wint-conversion\"")                          \
            _Pragma("GCC diagnostic ignored \"-Wnonnull\"")                                 \
            (void)(GO_FIRST_(__VA_ARGS__, ))(GO_CAT_(GO_NILS_, GO_NARG_(__VA_ARGS__)));     \
            _Pragma("GCC diagnostic pop")                                                   \
        }                                                                                   \
        static const struct go_site go_site__ = {GO_FNAME_(__VA_ARGS__, ), __func__,        \
                                                 __FILE__, __LINE__};                       \
        const uintptr_t go_args__[7] = {GO_CAT_(GO_ARGS_, GO_NARG_(__VA_ARGS__))(__VA_ARGS__)}; \
        go_spawn_((opts_), &go_site__, (go_entry_fn *)(void (*)(void))(GO_FIRST_(__VA_ARGS__, )), \
                  go_args__);                                                               \
    })
/* clang-format on */

#endif
