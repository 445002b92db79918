/*
 * Waiting for what no primitive announces: another goroutine's state, a counter, memory
 * that the kernel took back. Polls, with a limit that only a failure reaches.
 */
#ifndef GOJOBD_TESTS_SUPPORT_AWAIT_H
#define GOJOBD_TESTS_SUPPORT_AWAIT_H

#include "runtime/base/san.h"
#include "tests/support/gotest.h"

#define AWAIT_LIMIT_S 60

/* How often to do something: fewer times where a sanitizer makes it slow. */
#define ROUNDS(n) (GO_TSAN || GO_ASAN ? ((n) + 9) / 10 : (n))

/* Until cond holds; other goroutines run meanwhile. Ends the program when it never does. */
#define AWAIT(cond)                                                                      \
    do {                                                                                 \
        int64_t limit__ = go_deadline(AWAIT_LIMIT_S * GO_SECOND);                        \
        while (!(cond)) {                                                                \
            REQUIRE("within the time limit" && go_now() < limit__ && #cond);             \
            go_sleep(100 * GO_MICROSECOND);                                              \
        }                                                                                \
    } while (0)

/* The state of goroutine id, GO_DEAD if it is gone. */
static inline enum go_state
await_state_of(int64_t id)
{
    struct go_info info;

    return go_info(id, &info) == 0 ? info.state : GO_DEAD;
}

/* Is goroutine id parked with this reason? */
static inline bool
await_parked(int64_t id, const char *reason)
{
    struct go_info info;

    return go_info(id, &info) == 0 && info.state == GO_WAITING && info.reason != NULL &&
           strcmp(info.reason, reason) == 0;
}

#endif
