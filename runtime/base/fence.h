/*
 * One full fence on every thread of the process: the expensive half of protocols whose
 * other half must not pay for a fence, because it runs a million times as often.
 *
 *   often:   (1) store A   (2) compiler barrier    (3) load B
 *   seldom:  (1) store B   (2) fence_threads()     (3) load A
 *
 * Of the two loads at least one sees the other side's store: a thread's (1) and (3) cannot
 * both fall on the wrong side of the fence. A thread that is not running had one when the
 * kernel switched it out. Costs a system call and an interrupt of each CPU that runs one of
 * our threads: some microseconds.
 */
#ifndef GOJOBD_RUNTIME_BASE_FENCE_H
#define GOJOBD_RUNTIME_BASE_FENCE_H

#include <stdbool.h>

/* At start, once: false if the kernel has no such call or forbids it. */
bool fence_threads_init(void);

/* Did fence_threads_init() succeed? */
bool fence_threads_works(void);

/* Only if it works. */
void fence_threads(void);

#endif
