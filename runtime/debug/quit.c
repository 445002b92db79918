/*
 * SIGQUIT prints every goroutine and ends the process, as in Go. A dump takes far more than
 * a signal handler may do, so the handler only wakes a thread that waits for nothing else.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <sys/prctl.h>

#include "runtime/base/thread.h"
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
    (void)prctl(PR_SET_NAME, "go-quit");
    while (sem_wait(&quit) != 0)
        ;
    rt_die_begin("SIGQUIT: quit\n\n");
    rt_die_end(NULL, false);
}

static bool
start_dumper(void)
{
    if (sem_init(&quit, 0, 0) != 0 || rt_thread_start(dumper, NULL, STACK_SIZE) < 0)
        return false;
    __atomic_add_fetch(&rt_helper_threads, 1, __ATOMIC_RELAXED);
    return true;
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
