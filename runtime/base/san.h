/*
 * Sanitizer and Valgrind hand-over: tells the tool that the stack changes. All of it is
 * nothing in ordinary builds.
 */
#ifndef GOJOBD_RUNTIME_BASE_SAN_H
#define GOJOBD_RUNTIME_BASE_SAN_H

#if defined(__SANITIZE_ADDRESS__)
#define GO_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define GO_ASAN 1
#endif
#endif

#if defined(__SANITIZE_THREAD__)
#define GO_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define GO_TSAN 1
#endif
#endif

#ifndef GO_ASAN
#define GO_ASAN 0
#endif
#ifndef GO_TSAN
#define GO_TSAN 0
#endif

/* Around a system call on an fd that another thread may close at that moment, where the kernel
 * is the judge of which came first: TSan takes an fd for memory, and its use for a read. */
#if GO_TSAN
void AnnotateIgnoreReadsBegin(const char *file, int line);
void AnnotateIgnoreReadsEnd(const char *file, int line);
#define GO_FD_RACE_BEGIN() AnnotateIgnoreReadsBegin(__FILE__, __LINE__)
#define GO_FD_RACE_END()   AnnotateIgnoreReadsEnd(__FILE__, __LINE__)
#else
#define GO_FD_RACE_BEGIN() ((void)0)
#define GO_FD_RACE_END()   ((void)0)
#endif

#define GO_NO_SANITIZE                                                                   \
    __attribute__((no_sanitize_address, no_sanitize_thread, no_sanitize("undefined")))

#endif
