/*
 * The goroutine dump: every goroutine's id, state, wait reason, how long, where it was
 * spawned, and a symbolised backtrace, in the layout of Go's own dump. SIGQUIT prints it to
 * stderr and ends the process with status 2, as Go does (a program that installed its own
 * SIGQUIT handler before go_main keeps it).
 *
 *     goroutine 18 [chan receive, 2 minutes]:
 *     go_chan_recv(+0x8c)
 *     	0x55d0c8a0415c in worker_pool+0x415c
 *     consume(+0x2f)
 *     	0x55d0c8a0121f in worker_pool+0x121f
 *     created by main_ in goroutine 1 at worker_pool.c:41
 *
 * The second address of a frame is what addr2line -e wants. Frames are found by frame
 * pointers: compile with -fno-omit-frame-pointer (the pkg-config file says so).
 *
 * $GOTRACEBACK, read as the runtime starts, says what a panic, a fatal error or SIGQUIT
 * prints after its message: none; single (the culprit only); all (the default: the culprit
 * first, then everybody else); system (and the runtime's own frames); crash (as system,
 * then abort() for a core).
 */
#ifndef GOJOBD_RUNTIME_DEBUG_DUMP_H
#define GOJOBD_RUNTIME_DEBUG_DUMP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Write the dump to fd. The rest runs on meanwhile, so it is a snapshot of each goroutine,
 * not of all at one instant. Any thread; never parks; blocks while fd does. */
void go_dump(int fd);

/* One goroutine's part of it: 0 or -ESRCH. */
int go_dump_one(int fd, int64_t id);

/* As a profile: goroutines with the same state and backtrace counted together, the most
 * numerous first. 0 or -errno (-ENOMEM). Any thread; never parks; blocks while fd does. */
int go_dump_grouped(int fd);

/* The states of a goroutine's life. */
enum go_state {
    GO_DEAD,     /* ended; the record waits for reuse */
    GO_NEW,      /* spawned, has not run yet */
    GO_RUNNABLE, /* in a run queue */
    GO_RUNNING,  /* on a thread */
    GO_WAITING,  /* parked, with a reason */
    GO_SYSCALL,  /* in a blocking region */
};
const char *go_state_name(enum go_state s);

struct go_info {
    int64_t id;
    enum go_state state;
    const char *reason; /* of the wait: "chan send", "sleep" …; NULL unless waiting */
    int64_t since;    /* go_now() when it was spawned (new), parked (waiting) or began to
                           block (syscall), within 10 ms; 0 in other states */
    const char *name; /* its function, or the name it was given */
    const char *created_in, *created_file;
    int created_line;
    int64_t creator; /* goroutine id, 0 = foreign thread */
    void *pc[32];    /* backtrace, innermost first; all but an interrupted instruction are
                        return addresses, one past the call */
    int npc;
    bool exact; /* pc[0] is an interrupted instruction */
};

/* What is known of goroutine id: 0 or -ESRCH. */
int go_info(int64_t id, struct go_info *ret);

/* Call fn for every live goroutine; fn must not park. */
void go_each(void (*fn)(const struct go_info *g, void *arg), void *arg);

/* Take the runtime's own frames out of it, as the dump does. */
void go_info_trim(struct go_info *g);

/* "symbol+0x12" or "0x5566…" into buf, which is returned. Async-signal-safe. */
const char *go_symbol(const void *pc, char *buf, size_t size);

/* End the process as a goroutine's misuse does: "panic: …", dump, status 2. */
_Noreturn void go_panic(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
