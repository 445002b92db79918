/* Function names from addresses: runtime/debug/symbol.c. */
#define _GNU_SOURCE
#include "runtime/debug/symbol.h"

#include <dlfcn.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "runtime/debug/dump.h"

/* No inlining, no merging: each must have an address of its own. */
__attribute__((noinline)) static int
a_static_function(int x)
{
    __asm__ volatile("" : "+r"(x));
    return x * 3;
}

__attribute__((noinline)) int an_exported_function(int x);

int
an_exported_function(int x)
{
    __asm__ volatile("" : "+r"(x));
    return x * 5 + a_static_function(x);
}

static const char *
symbol_of(uintptr_t pc, char *buf, size_t size)
{
    return go_symbol((void *)pc, buf, size);
}

static void
static_function_of_the_program_has_its_name(void **state)
{
    char buf[128];

    (void)state;
    assert_string_equal(symbol_of((uintptr_t)a_static_function, buf, sizeof(buf)),
                        "a_static_function+0x0");
    assert_string_equal(symbol_of((uintptr_t)a_static_function + 1, buf, sizeof(buf)),
                        "a_static_function+0x1");
    assert_string_equal(symbol_of((uintptr_t)an_exported_function + 2, buf, sizeof(buf)),
                        "an_exported_function+0x2");
}

static void
object_and_offset_fit_addr2line(void **state)
{
    struct rt_symbol s;
    Dl_info info;

    (void)state;
    assert_true(rt_symbol_find((uintptr_t)an_exported_function, &s));
    assert_string_equal(s.object, "test_symbol");
    assert_true(dladdr((void *)(uintptr_t)an_exported_function, &info) != 0);
    assert_int_equal(s.object_offset,
                     (uintptr_t)an_exported_function - (uintptr_t)info.dli_fbase);
}

/* Every name must be one that the dynamic linker knows for that address, too. */
static void
function_of_libc_has_its_exported_name(void **state)
{
    static const char *const names[] = {"malloc", "printf", "qsort", "getenv",
                                        "pthread_create"};
    struct rt_symbol s;

    (void)state;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        void *fn = dlsym(RTLD_NEXT, names[i]);

        assert_non_null(fn);
        assert_true(rt_symbol_find((uintptr_t)fn, &s));
        assert_non_null(s.name);
        assert_string_equal(s.name, names[i]);
        assert_int_equal(s.offset, 0);
        assert_non_null(strstr(s.object, ".so"));
    }
}

static void
address_outside_every_object_is_a_number(void **state)
{
    static char heap_like;
    char buf[64], want[64];
    void *heap = malloc(1);
    struct rt_symbol s;

    (void)state;
    assert_false(rt_symbol_find((uintptr_t)heap, &s));
    assert_null(s.name);
    snprintf(want, sizeof(want), "%p", heap);
    assert_string_equal(go_symbol(heap, buf, sizeof(buf)), want);
    assert_string_equal(go_symbol((void *)8, buf, sizeof(buf)), "0x8");
    /* Inside the program, but no function. */
    assert_true(rt_symbol_find((uintptr_t)&heap_like, &s));
    assert_null(s.name);
    free(heap);
}

static void
small_buffers_cut_the_text(void **state)
{
    char buf[8] = "xxxxxxx";

    (void)state;
    assert_string_equal(symbol_of((uintptr_t)a_static_function, buf, 5), "a_st");
    assert_int_equal(buf[5], 'x');
    assert_string_equal(symbol_of((uintptr_t)a_static_function, buf, 1), "");
    buf[0] = 'y';
    (void)symbol_of((uintptr_t)a_static_function, buf, 0);
    assert_int_equal(buf[0], 'y');
}

static void
object_loaded_later_is_known_after_another_look(void **state)
{
    struct rt_symbol s;
    void *lib, *fn;

    (void)state;
    assert_null(dlopen("libthread_db.so.1", RTLD_NOW | RTLD_NOLOAD));
    lib = dlopen("libthread_db.so.1", RTLD_LAZY | RTLD_LOCAL);
    assert_non_null(lib);
    fn = dlsym(lib, "td_init");
    assert_non_null(fn);
    assert_false(rt_symbol_find((uintptr_t)fn, &s));
    rt_symbol_init();
    assert_true(rt_symbol_find((uintptr_t)fn, &s));
    assert_string_equal(s.name, "td_init");
    assert_string_equal(s.object, "libthread_db.so.1");
    dlclose(lib);
}

static char in_handler[64];

static void
on_signal(int sig)
{
    (void)sig;
    (void)symbol_of((uintptr_t)a_static_function, in_handler, sizeof(in_handler));
}

static void *
ask_often(void *arg)
{
    char buf[64];
    long wrong = 0;

    (void)arg;
    for (int i = 0; i < 2000; i++)
        wrong += strcmp(symbol_of((uintptr_t)a_static_function, buf, sizeof(buf)),
                        "a_static_function+0x0") != 0;
    return (void *)wrong;
}

static void
threads_and_signal_handlers_ask_at_once(void **state)
{
    struct sigaction sa = {.sa_handler = on_signal};
    pthread_t t[4];
    void *wrong;

    (void)state;
    assert_int_equal(sigaction(SIGUSR1, &sa, NULL), 0);
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&t[i], NULL, ask_often, NULL), 0);
    for (int i = 0; i < 100; i++)
        assert_int_equal(raise(SIGUSR1), 0);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(pthread_join(t[i], &wrong), 0);
        assert_int_equal((long)wrong, 0);
    }
    assert_string_equal(in_handler, "a_static_function+0x0");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        /* First: the index is built while all ask. */
        cmocka_unit_test(threads_and_signal_handlers_ask_at_once),
        cmocka_unit_test(static_function_of_the_program_has_its_name),
        cmocka_unit_test(object_and_offset_fit_addr2line),
        cmocka_unit_test(function_of_libc_has_its_exported_name),
        cmocka_unit_test(address_outside_every_object_is_a_number),
        cmocka_unit_test(small_buffers_cut_the_text),
        cmocka_unit_test(object_loaded_later_is_known_after_another_look),
    };

    return cmocka_run_group_tests_name("symbol", tests, NULL, NULL);
}
