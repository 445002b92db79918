#define _GNU_SOURCE
#include "runtime/base/thread.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>

int
rt_thread_start(void *(*fn)(void *), void *arg, size_t stack)
{
    pthread_attr_t attr;
    pthread_t thread;
    sigset_t all, old;
    size_t usual;
    int r;

    r = pthread_attr_init(&attr);
    if (r != 0)
        return -r;
    (void)pthread_attr_getstacksize(&attr, &usual);
    (void)pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    (void)pthread_attr_setstacksize(&attr, stack);
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &old);
    r = pthread_create(&thread, &attr, fn, arg);
    if (r == EINVAL && pthread_attr_setstacksize(&attr, usual) == 0)
        r = pthread_create(&thread, &attr, fn, arg);
    (void)pthread_sigmask(SIG_SETMASK, &old, NULL);
    (void)pthread_attr_destroy(&attr);
    return -r;
}
