/*
 * cmocka tests whose bodies run as goroutines.
 *
 * cmocka keeps its jump buffers in thread-locals, and a goroutine may change threads: so
 * cmocka itself stays on the main thread, a body runs under go_main(), and what it checks
 * is recorded here and asserted after it returned.
 *
 *     GO_TEST(send_on_nil_channel_is_never_ready)
 *     {
 *         CHECK(go_chan_try_send(NULL, NULL) == -EAGAIN);
 *         CHECK_INT(go_chan_len(NULL), 0);
 *     }
 *     int main(void)
 *     {
 *         const struct CMUnitTest tests[] = {
 *             cmocka_unit_test(send_on_nil_channel_is_never_ready),
 *         };
 *         return cmocka_run_group_tests_name("chan", tests, NULL, NULL);
 *     }
 *
 * A failed CHECK prints where and goes on; a failed REQUIRE dumps all goroutines and ends
 * the program: for when going on would hang or crash. Both may be used in any goroutine.
 */
#ifndef GOJOBD_TESTS_SUPPORT_GOTEST_H
#define GOJOBD_TESTS_SUPPORT_GOTEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/go.h"
#include "tests/support/skip.h"

static int gotest_failures; /* atomic */

#define CHECK(cond)                                                                      \
    do {                                                                                 \
        if (!(cond)) {                                                                   \
            __atomic_fetch_add(&gotest_failures, 1, __ATOMIC_RELAXED);                   \
            fprintf(stderr, "%s:%d: %s: failed: %s\n", __FILE__, __LINE__, __func__,     \
                    #cond);                                                              \
        }                                                                                \
    } while (0)

#define CHECK_INT(got, want)                                                             \
    do {                                                                                 \
        long long got__ = (long long)(got), want__ = (long long)(want);                  \
        if (got__ != want__) {                                                           \
            __atomic_fetch_add(&gotest_failures, 1, __ATOMIC_RELAXED);                   \
            fprintf(stderr, "%s:%d: %s: %s is %lld, want %lld\n", __FILE__, __LINE__,    \
                    __func__, #got, got__, want__);                                      \
        }                                                                                \
    } while (0)

#define REQUIRE(cond)                                                                    \
    do {                                                                                 \
        if (!(cond)) {                                                                   \
            fprintf(stderr, "%s:%d: %s: failed: %s\n", __FILE__, __LINE__, __func__,     \
                    #cond);                                                              \
            go_dump(2);                                                                  \
            exit(1);                                                                     \
        }                                                                                \
    } while (0)

static inline void
gotest_assert(void)
{
    int n = __atomic_exchange_n(&gotest_failures, 0, __ATOMIC_RELAXED);

    assert_int_equal(n, 0);
}

#define GO_TEST(name)                                                                    \
    static __attribute__((noinline)) void name##_body(void); /* found in backtraces */   \
    static int name##_main(int argc, char **argv)                                        \
    {                                                                                    \
        (void)argc;                                                                      \
        (void)argv;                                                                      \
        name##_body();                                                                   \
        return 0;                                                                        \
    }                                                                                    \
    static void name(void **state)                                                       \
    {                                                                                    \
        (void)state;                                                                     \
        assert_int_equal(go_main(name##_main, 0, NULL), 0);                              \
        gotest_assert();                                                                 \
    }                                                                                    \
    static void name##_body(void)

#endif
