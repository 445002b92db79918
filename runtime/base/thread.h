/* Threads of the runtime's own. */
#ifndef GOJOBD_RUNTIME_BASE_THREAD_H
#define GOJOBD_RUNTIME_BASE_THREAD_H

#include <stddef.h>

/* Start a thread that nobody joins, with every signal blocked: a signal must not find it half
 * made. Its stack has stack bytes, or the system's default if the program's thread-local
 * variables, which glibc puts there, too, leave no room in that. 0 or -errno. */
int rt_thread_start(void *(*fn)(void *), void *arg, size_t stack);

#endif
