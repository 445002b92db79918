/* Short names for the compiler's atomics; the order is always written out. */
#ifndef GOJOBD_RUNTIME_BASE_ATOMIC_H
#define GOJOBD_RUNTIME_BASE_ATOMIC_H

#include <stdbool.h>
#include <stdint.h>

#include "runtime/base/san.h"

#define LOAD(p, order)     __atomic_load_n((p), __ATOMIC_##order)
#define STORE(p, v, order) __atomic_store_n((p), (v), __ATOMIC_##order)
#define SWAP(p, v, order)  __atomic_exchange_n((p), (v), __ATOMIC_##order)
#define ADD(p, v, order)   __atomic_add_fetch((p), (v), __ATOMIC_##order)

/* One attempt to replace *p, if it equals old, by new; failure orders nothing. */
#define CAS(p, old, new, order)                                                          \
    __extension__({                                                                      \
        __typeof__(*(p)) cas_old__ = (old);                                              \
        __atomic_compare_exchange_n((p), &cas_old__, (new), false, __ATOMIC_##order,     \
                                    __ATOMIC_RELAXED);                                   \
    })

/* Counters written by one thread only and read by any: no locked instruction. */
#define BUMP(p, n) STORE((p), LOAD((p), RELAXED) + (n), RELAXED)

/* Orders everything before against everything after. TSan knows no fences but follows
 * locked instructions. */
static inline void
full_fence(void)
{
#if GO_TSAN
    static uint32_t word;

    (void)ADD(&word, 0, SEQ_CST);
#else
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
#endif
}

/* p's line will be read or written soon, or not: p need not be valid. */
#define PREFETCH(p) __builtin_prefetch(p)

static inline void
cpu_relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

#endif
