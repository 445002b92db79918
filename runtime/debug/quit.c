/*
 * SIGQUIT prints every goroutine and ends the process, as in Go. A dump takes far more than
 * a signal handler may do, so the handler only wakes a thread that waits for nothing else.
 */
#define _GNU_SOURCE
#include <limits.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>

#include "runtime/debug/internal.h"
#include "runtime/debug/panic.h"
#include "runtime/debug/symbol.h"

#define STACK_SIZE ((size_t)128 << 10)

static sem_t quit; /* posted by the handler */

static void
on_quit(int sig)
{
    (void)sig;
    (void)sem_post(&quit);
}

static void *
dumper(void *arg)
{
    (void)arg;
    while (sem_wait(&quit) != 0)
        ;
    rt_die_begin("SIGQUIT: quit\n\n");
    rt_die_end(NULL, false);
}

static bool
start_dumper(void)
{
    pthread_attr_t attr;
    pthread_t thread;
    sigset_t all, old;
    bool ok;

    if (sem_init(&quit, 0, 0) != 0 || pthread_attr_init(&attr) != 0)
        return false;
    (void)pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    (void)pthread_attr_setstacksize(&attr, STACK_SIZE);
    /* The program's signals are not for this thread. */
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &old);
    ok = pthread_create(&thread, &attr, dumper, NULL) == 0;
    (void)pthread_sigmask(SIG_SETMASK, &old, NULL);
    (void)pthread_attr_destroy(&attr);
    if (ok)
        __atomic_add_fetch(&rt_helper_threads, 1, __ATOMIC_RELAXED);
    if (ok)
        (void)pthread_setname_np(thread, "go-quit");
    return ok;
}

static void
quit_init(void)
{
    struct sigaction sa = {.sa_handler = on_quit, .sa_flags = SA_RESTART | SA_ONSTACK};
    struct sigaction old;

    /* Whoever handles or ignores it on his own keeps that. */
    if (sigaction(SIGQUIT, NULL, &old) != 0 || (old.sa_flags & SA_SIGINFO) != 0 ||
        old.sa_handler != SIG_DFL || !start_dumper())
        return;
    (void)sigaction(SIGQUIT, &sa, NULL);
}

static void
init_once(void)
{
    rt_traceback_init();
    rt_symbol_init();
    quit_init();
}

void
rt_debug_init(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    (void)pthread_once(&once, init_once);
    rt_trace_init();
}

void
rt_debug_exit(void)
{
    rt_trace_exit();
}
