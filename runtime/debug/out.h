/*
 * Text to a file descriptor from anywhere: a dying process, a signal handler, a full disk
 * of a heap. No stdio, no malloc, no locale, no errno left behind; async-signal-safe.
 *
 * Lifecycle  rt_out_init -> writes -> rt_out_flush. Nothing to free.
 * Errors     sticky: after a failed write the rest is dropped, rt_out_flush tells.
 */
#ifndef GOJOBD_RUNTIME_DEBUG_OUT_H
#define GOJOBD_RUNTIME_DEBUG_OUT_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

struct rt_out {
    int fd;
    int err; /* 0, or the first failed write's -errno */
    size_t n;
    char buf[2048];
};

void rt_out_init(struct rt_out *o, int fd);
void rt_out_char(struct rt_out *o, char c);
void rt_out_str(struct rt_out *o, const char *s);
void rt_out_mem(struct rt_out *o, const char *s, size_t n);

/* printf's %d %i %u %x %X %o %c %s %p %% with flags, width, precision and the length
 * modifiers of integers; %m and floating point are not known and are printed as written. */
void rt_out_fmt(struct rt_out *o, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
void rt_out_vfmt(struct rt_out *o, const char *fmt, va_list ap);

/* Whether rt_out_vfmt knows all of fmt. */
int rt_out_knows(const char *fmt);

/* Write out what is buffered; waits for a non-blocking fd. 0 or -errno. */
int rt_out_flush(struct rt_out *o);

#endif
