/* Futexes: sleep until a word changes. Linux futex(2); private to the process. */
#ifndef GOJOBD_RUNTIME_BASE_FUTEX_H
#define GOJOBD_RUNTIME_BASE_FUTEX_H

#include <limits.h>
#include <linux/futex.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* Sleep while *word == expected, at most ns (< 0: for ever). Returns early at times: the
 * caller looks at the word again. */
static inline void
futex_wait(uint32_t *word, uint32_t expected, int64_t ns)
{
    struct timespec ts, *tsp = NULL;

    if (ns >= 0) {
        ts.tv_sec = ns / 1000000000;
        ts.tv_nsec = ns % 1000000000;
        tsp = &ts;
    }
    (void)syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, expected, tsp, NULL, 0);
}

/* Wake one sleeper. Only the address is used: the word itself may be gone by now. */
static inline void
futex_wake(uint32_t *word)
{
    (void)syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

#endif
