/* Between trace.c, which records, and trace_json.c, which writes. Internal. */
#ifndef GOJOBD_RUNTIME_DEBUG_TRACE_RECORD_H
#define GOJOBD_RUNTIME_DEBUG_TRACE_RECORD_H

#include <stddef.h>
#include <stdint.h>

#include "runtime/sched/rt.h"

/* Not a scheduler's event: the given name of the goroutine in the record behind it. */
#define TRACE_NAME 0xffff
#define TRACE_NO_P 0xffff

union trace_event {
    struct {
        int64_t ns;    /* CLOCK_MONOTONIC, real even in virtual time */
        int64_t gid;   /* 0: none */
        uintptr_t arg; /* RUN, SPAWN: const char * of the function, or 0 if TRACE_NAME is
                          before it; STOP: const char * or 0; STEAL: a number */
        uint16_t p;    /* processor of the recording thread, or TRACE_NO_P */
        uint16_t type; /* enum rt_event */
        uint32_t unused;
    };
    struct {
        char name[24]; /* not terminated when full */
        uint16_t name_unused;
        uint16_t name_type; /* TRACE_NAME */
    };
};

_Static_assert(sizeof(union trace_event) == 32, "as small as the names allow");

/* What one thread records. Never freed, reused when its thread has ended. */
struct trace_thread {
    struct trace_thread *next; /* constant once published */
    uint32_t owned;            /* atomic: a thread writes here */
    uint32_t busy;             /* atomic: it is inside rt_trace_event(); see trace.c */
    int tid;                   /* of the first owner */

    /* The owner's while a trace is on, the stopper's after that. */
    uint32_t generation; /* of the trace the rest belongs to */
    union trace_event *v;
    size_t n, cap;
    size_t dropped;
};

/* Write what the threads have recorded between the two times: 0 or -errno. Allocates
 * nothing from the heap. */
int trace_write_json(int fd, const struct trace_thread *threads, uint32_t generation,
                     int64_t start_ns, int64_t stop_ns, size_t lost);

#endif
