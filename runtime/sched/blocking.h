/*
 * Calls that block the thread, and regions in which a goroutine must not park.
 */
#ifndef GOJOBD_RUNTIME_SCHED_BLOCKING_H
#define GOJOBD_RUNTIME_SCHED_BLOCKING_H

/* Declare that the code up to go_exit_blocking() may block this thread (file I/O, SQLite,
 * getaddrinfo). The goroutine keeps its P for about 20 us; then, if others wait, the
 * scheduler gives the P to them. Between the two calls the goroutine may not park (a named
 * panic) but may go(), go_chan_try_send() and the like. Pairs nest. No-ops on a foreign
 * thread. System calls in it are restarted after the preemption signal, but for those that
 * signal(7) never restarts (nanosleep, poll …): these may return EINTR, rarely, as may any
 * made outside a region. A short call costs a few ns. Copy errno before go_exit_blocking(). */
void go_enter_blocking(void);

/* PARKS if the P is gone and no other is idle. */
void go_exit_blocking(void);

/* The value of expr, evaluated inside a blocking region:
 *     ssize_t n = GO_BLOCKING(pread(fd, p, len, off) …);
 * errno does not survive; have expr itself turn it into a value: GO_ERRNO(pread(...)). */
#define GO_BLOCKING(expr)                                                                \
    __extension__({                                                                      \
        go_enter_blocking();                                                             \
        __auto_type go_value__ = (expr);                                                 \
        go_exit_blocking();                                                              \
        go_value__;                                                                      \
    })

/* Turn "-1 and errno" into -errno, as one expression. */
#define GO_ERRNO(expr)                                                                   \
    __extension__({                                                                      \
        __auto_type go_rc__ = (expr);                                                    \
        go_rc__ < 0 ? (__typeof__(go_rc__))-go_errno_() : go_rc__;                       \
    })

/* The thread's errno, read where it stands: never cached by the compiler. */
int go_errno_(void);

/* Between begin and end the goroutine must not park: the code holds something that belongs
 * to the thread (a library's lock inside its callback, OpenSSL's error queue). A park is
 * an immediate panic that names the region and the wait. Nests; name must be static. The
 * goroutine stays on its thread meanwhile. No-ops on a foreign thread. */
void go_nopark_begin(const char *name);
void go_nopark_end(void);

#endif
