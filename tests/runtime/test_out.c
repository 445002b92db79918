/* The writer that dumps stand on: runtime/debug/out.c. */
#define _GNU_SOURCE
#include "runtime/debug/out.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

/* What rt_out_fmt makes of fmt, against what printf makes of it. */
__attribute__((format(printf, 1, 2))) static void
check_like_printf(const char *fmt, ...)
{
    static struct rt_out o;
    char want[1024];
    va_list ap;
    int n;

    rt_out_init(&o, -1);
    va_start(ap, fmt);
    rt_out_vfmt(&o, fmt, ap);
    va_end(ap);
    va_start(ap, fmt);
    n = vsnprintf(want, sizeof(want), fmt, ap);
    va_end(ap);
    o.buf[o.n] = '\0';
    assert_string_equal(o.buf, want);
    assert_int_equal(o.n, n);
    assert_true(rt_out_knows(fmt));
}

static void
integers_look_as_printf_prints_them(void **state)
{
    (void)state;
    check_like_printf("%d %d %d %i", 0, -1, INT_MAX, INT_MIN);
    check_like_printf("%u %x %X %o", UINT_MAX, 0xbeefu, 0xbeefu, 8u);
    check_like_printf("%ld %lu %lld %llu", LONG_MIN, ULONG_MAX, LLONG_MIN, ULLONG_MAX);
    check_like_printf("%zu %zd %jd %td", SIZE_MAX, (ssize_t)-5, INTMAX_MIN,
                      (ptrdiff_t)-9);
    check_like_printf("%hd %hhd %hu %hhu", (short)-3, (signed char)-4,
                      (unsigned short)65535, (unsigned char)255);
    check_like_printf("%" PRId64 " %" PRIx64, INT64_MIN, UINT64_MAX);
    check_like_printf("%5d|%-5d|%05d|%+d|% d", 42, 42, 42, 42, 42);
    check_like_printf("%5d|%-5d|%05d|%+d|% d", -42, -42, -42, -42, -42);
    check_like_printf("%.4d|%8.4d|%-8.4d|%#x|%#x", 7, 7, 7, 255u, 0u);
    check_like_printf("%*d|%-*d|%*d|%.*d", 6, 1, 6, 2, -6, 3, 4, 5);
}

static void
text_looks_as_printf_prints_it(void **state)
{
    (void)state;
    check_like_printf("no conversion");
    check_like_printf("100%% %c%c", 'a', 'b');
    check_like_printf("%s|%10s|%-10s|%.2s|%5.1s|%.*s", "abc", "abc", "abc", "abc", "abc",
                      2, "abc");
    check_like_printf("%p", (void *)&errno);
}

static void
null_string_is_printed_not_read(void **state)
{
    static struct rt_out o;
    const char *volatile none = NULL; /* the compiler would warn of what it sees */

    (void)state;
    rt_out_init(&o, -1);
    rt_out_fmt(&o, "<%s>", none);
    o.buf[o.n] = '\0';
    assert_string_equal(o.buf, "<(null)>");
}

static void
floating_point_is_not_known(void **state)
{
    (void)state;
    assert_false(rt_out_knows("%g"));
    assert_false(rt_out_knows("%d of %.1f"));
    assert_false(rt_out_knows("%m"));
    assert_false(rt_out_knows("ends in %"));
}

static void
text_longer_than_the_buffer_arrives_whole(void **state)
{
    static struct rt_out o;
    static char got[100000];
    int fd = memfd_create("out", MFD_CLOEXEC);

    (void)state;
    assert_true(fd >= 0);
    rt_out_init(&o, fd);
    for (int i = 0; i < 10000; i++)
        rt_out_fmt(&o, "%08d\n", i);
    assert_int_equal(rt_out_flush(&o), 0);
    assert_int_equal(pread(fd, got, sizeof(got), 0), 90000);
    for (int i = 0; i < 10000; i++)
        assert_int_equal(strtol(got + 9 * i, NULL, 10), i);
    close(fd);
}

static void *
drain(void *arg)
{
    static char buf[4096];
    size_t total = 0;
    ssize_t n;

    while ((n = read(*(int *)arg, buf, sizeof(buf))) > 0)
        total += (size_t)n;
    return (void *)total;
}

static void
full_nonblocking_pipe_is_waited_for(void **state)
{
    static struct rt_out o;
    pthread_t reader;
    void *total;
    int fd[2];

    (void)state;
    assert_int_equal(pipe2(fd, O_CLOEXEC), 0);
    assert_int_equal(fcntl(fd[1], F_SETFL, O_NONBLOCK), 0);
    /* Fill it first, so that the very next write meets EAGAIN. */
    while (write(fd[1], "x", 1) == 1)
        ;
    assert_int_equal(errno, EAGAIN);
    assert_int_equal(pthread_create(&reader, NULL, drain, &fd[0]), 0);
    rt_out_init(&o, fd[1]);
    for (int i = 0; i < 200000; i++)
        rt_out_char(&o, 'y');
    assert_int_equal(rt_out_flush(&o), 0);
    close(fd[1]);
    assert_int_equal(pthread_join(reader, &total), 0);
    assert_true((size_t)total >= 200000 + 4096);
    close(fd[0]);
}

static void
failed_write_is_remembered_and_errno_kept(void **state)
{
    static struct rt_out o;
    int fd = open("/dev/full", O_WRONLY | O_CLOEXEC);

    (void)state;
    assert_true(fd >= 0);
    errno = 1234;
    rt_out_init(&o, fd);
    rt_out_str(&o, "text");
    assert_int_equal(rt_out_flush(&o), -ENOSPC);
    rt_out_str(&o, "more");
    assert_int_equal(rt_out_flush(&o), -ENOSPC);
    assert_int_equal(errno, 1234);
    close(fd);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(integers_look_as_printf_prints_them),
        cmocka_unit_test(text_looks_as_printf_prints_it),
        cmocka_unit_test(null_string_is_printed_not_read),
        cmocka_unit_test(floating_point_is_not_known),
        cmocka_unit_test(text_longer_than_the_buffer_arrives_whole),
        cmocka_unit_test(full_nonblocking_pipe_is_waited_for),
        cmocka_unit_test(failed_write_is_remembered_and_errno_kept),
    };

    return cmocka_run_group_tests_name("out", tests, NULL, NULL);
}
