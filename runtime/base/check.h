/*
 * ENSURE states what only a bug of ours can break. It stays on in release builds, prints
 * the condition and every goroutine, and aborts. Input, misuse by the caller and failing
 * system calls are not its business: those are errors or panics.
 */
#ifndef GOJOBD_RUNTIME_BASE_CHECK_H
#define GOJOBD_RUNTIME_BASE_CHECK_H

_Noreturn void go_ensure_failed_(const char *cond, const char *file, int line);

#define ENSURE(cond)                                                                     \
    do {                                                                                 \
        if (__builtin_expect(!(cond), 0))                                                \
            go_ensure_failed_(#cond, __FILE__, __LINE__);                                \
    } while (0)

#define LIKELY(x)   __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)

#endif
