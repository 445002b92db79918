/* Threads that the runtime did not start: they spawn, wake, send and wait, under load. */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>

#include "tests/runtime/transfer.h"
#include "tests/support/await.h"
#include "tests/support/child.h"

#define THREADS 4

/* Run fn(arg) on several threads while goroutines work, and join them without a P. */
static void
on_threads(void *(*fn)(void *), void *arg)
{
    pthread_t t[THREADS];

    for (int i = 0; i < THREADS; i++)
        CHECK_INT(pthread_create(&t[i], NULL, fn, arg), 0);
    for (int i = 0; i < THREADS; i++)
        CHECK_INT(GO_BLOCKING(pthread_join(t[i], NULL)), 0);
}

struct load {
    struct go_wg wg;
    struct go_chan *c, *reply;
    uint32_t n; /* atomic */
};

static void
count(struct load *l)
{
    __atomic_fetch_add(&l->n, 1, __ATOMIC_RELAXED);
}

static void *
spawn_and_wait(void *arg)
{
    struct load *l = arg;

    CHECK_INT(go_id(), 0);
    for (int round = 0; round < ROUNDS(100); round++) {
        struct go_wg wg = GO_WG_INIT; /* on the thread's own stack */

        for (int i = 0; i < 20; i++)
            CHECK(go_wg_go(&wg, count, l) > 0);
        go_wg_wait(&wg); /* the futex-backed join */
    }
    return NULL;
}

GO_TEST(threads_spawn_goroutines_and_wait_for_them)
{
    struct load l = {.n = 0};

    on_threads(spawn_and_wait, &l);
    CHECK_INT(l.n, THREADS * 20 * ROUNDS(100));
}

static void
echo(struct load *l)
{
    int v;

    while (go_chan_recv(l->c, &v))
        go_chan_send(l->reply, &v);
    go_wg_done(&l->wg);
}

static void *
ask(void *arg)
{
    struct load *l = arg;

    for (int i = 0; i < ROUNDS(1000); i++) {
        go_send(l->c, i);
        (void)go_recv(l->reply, int);
        __atomic_fetch_add(&l->n, 1, __ATOMIC_RELAXED);
    }
    return NULL;
}

GO_TEST(threads_wake_parked_goroutines_and_are_woken)
{
    struct load l = {.wg = GO_WG_INIT};

    l.c = go_chan_new(sizeof(int), 0);
    l.reply = go_chan_new(sizeof(int), 0);
    go_wg_add(&l.wg, 8);
    for (int i = 0; i < 8; i++)
        CHECK(go(echo, &l) > 0);
    on_threads(ask, &l);
    go_chan_close(l.c);
    go_wg_wait(&l.wg);
    CHECK_INT(l.n, THREADS * ROUNDS(1000));
    go_chan_unref(l.c);
    go_chan_unref(l.reply);
}

static void *
release(void *arg)
{
    struct load *l = arg;

    for (int i = 0; i < ROUNDS(500); i++)
        go_wg_done(&l->wg);
    return NULL;
}

GO_TEST(threads_release_a_wait_group)
{
    struct load l = {.wg = GO_WG_INIT};

    go_wg_add(&l.wg, THREADS * ROUNDS(500));
    on_threads(release, &l);
    go_wg_wait(&l.wg);
    CHECK_INT(go_wg_count(&l.wg), 0);
}

static void
drain(struct load *l)
{
    while (go_chan_recv(l->c, NULL))
        __atomic_fetch_add(&l->n, 1, __ATOMIC_RELAXED);
    go_wg_done(&l->wg);
}

static void *
send_without_blocking(void *arg)
{
    struct load *l = arg;

    for (int sent = 0; sent < ROUNDS(2000);) {
        int r = go_chan_try_send(l->c, &sent);

        CHECK(r == 1 || r == -EAGAIN);
        if (r == 1)
            sent++;
        else
            (void)sched_yield();
    }
    return NULL;
}

GO_TEST(threads_send_without_blocking)
{
    for (size_t cap = 0; cap <= 16; cap += 16) {
        struct load l = {.wg = GO_WG_INIT, .c = go_chan_new(sizeof(int), cap)};

        go_wg_add(&l.wg, 2);
        for (int i = 0; i < 2; i++)
            CHECK(go(drain, &l) > 0);
        on_threads(send_without_blocking, &l);
        go_chan_close(l.c);
        go_wg_wait(&l.wg);
        CHECK_INT(l.n, THREADS * ROUNDS(2000));
        go_chan_unref(l.c);
    }
}

struct crossing {
    struct transfer t;
    uint32_t started; /* atomic: next id */
};

static void *
send_or_receive(void *arg)
{
    struct crossing *x = arg;
    uint32_t id = __atomic_fetch_add(&x->started, 1, __ATOMIC_RELAXED);

    if (id < 2)
        transfer_sender(&x->t, (int)id);
    else
        transfer_receiver(&x->t, (int)id);
    return NULL;
}

/* Two threads and two goroutines send, two of each receive, through selects too. */
static void
cross(enum transfer_way way, size_t cap)
{
    struct crossing x = {
        .t = {.size = 8, .senders = 4, .receivers = 4, .each = (uint32_t)ROUNDS(1000)}};
    pthread_t t[4];

    x.t.way = way;
    transfer_init(&x.t, cap);
    for (int i = 0; i < 4; i++)
        CHECK_INT(pthread_create(&t[i], NULL, send_or_receive, &x), 0);
    for (int i = 2; i < 4; i++) {
        CHECK(go(transfer_sender, &x.t, i) > 0);
        CHECK(go(transfer_receiver, &x.t, i) > 0);
    }
    transfer_finish(&x.t);
    for (int i = 0; i < 4; i++)
        CHECK_INT(GO_BLOCKING(pthread_join(t[i], NULL)), 0);
}

GO_TEST(nothing_is_lost_between_threads_and_goroutines)
{
    for (size_t cap = 0; cap < 8; cap += 3) {
        cross(TRANSFER_PLAIN, cap);
        cross(TRANSFER_SELECT, cap);
        cross(TRANSFER_MIXED, cap);
    }
}

static void *
select_with_deadline(void *arg)
{
    struct load *l = arg;
    struct go_case recv = GO_CASE_RECV(l->c, NULL);

    for (int i = 0; i < ROUNDS(50); i++) {
        int64_t deadline = go_now() + 100 * GO_MICROSECOND;

        CHECK_INT(go_select_until(&recv, 1, deadline), -ETIMEDOUT);
        CHECK(go_now() >= deadline);
    }
    return NULL;
}

GO_TEST(threads_have_deadlines_too)
{
    struct load l = {.c = go_chan_new(0, 0)};

    on_threads(select_with_deadline, &l);
    go_chan_unref(l.c);
}

static void
discard(struct go_chan *c)
{
    while (go_chan_recv(c, NULL))
        ;
}

/* Each send wakes an M, which soon looks for more and goes to sleep: at times just as the
 * deadline comes up. A deadline it missed would be missed by all. */
static void *
sleep_as_others_fall_asleep(void *arg)
{
    struct go_chan *c = arg;
    int64_t end = go_now() + 600 * GO_MILLISECOND;

    for (uint32_t i = 1; go_now() < end; i = i * 1664525 + 1013904223) {
        go_chan_send(c, NULL);
        for (volatile uint32_t k = i >> 20; k > 0; k--)
            ;
        go_sleep(GO_MICROSECOND);
    }
    go_chan_close(c);
    return NULL;
}

GO_TEST(a_deadline_is_noticed_by_whoever_goes_to_sleep)
{
    struct go_chan *c = go_chan_new(0, 1);
    struct go_wg wg = GO_WG_INIT;
    pthread_t t;

    CHECK(go_wg_go(&wg, discard, c) > 0);
    CHECK_INT(pthread_create(&t, NULL, sleep_as_others_fall_asleep, c), 0);
    CHECK_INT(GO_BLOCKING(pthread_join(t, NULL)), 0);
    go_wg_wait(&wg);
    go_chan_unref(c);
}

/* Threads come and go; each leaves nothing behind that another could trip over. */
static void *
say_hello(void *arg)
{
    struct load *l = arg;

    go_send(l->c, 1);
    return NULL;
}

GO_TEST(threads_may_end_right_after_being_woken)
{
    struct load l = {.c = go_chan_new(sizeof(int), 0)};

    for (int i = 0; i < ROUNDS(200); i++) {
        pthread_t t;

        CHECK_INT(pthread_create(&t, NULL, say_hello, &l), 0);
        CHECK_INT(go_recv(l.c, int), 1);
        CHECK_INT(GO_BLOCKING(pthread_join(t, NULL)), 0);
    }
    go_chan_unref(l.c);
}

static void *
wait_from_before(void *arg)
{
    go_wg_wait((struct go_wg *)arg);
    return NULL;
}

static int
return_zero(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    return 0;
}

/* Without go_main: the runtime starts at the first call of whichever thread. */
static int
no_main_at_all(int argc, char **argv)
{
    struct load l = {.n = 0};
    struct go_wg wg = GO_WG_INIT;
    pthread_t t;

    go_wg_add(&wg, 1);
    if (pthread_create(&t, NULL, wait_from_before, &wg) != 0)
        return 1;
    (void)spawn_and_wait(&l);
    go_wg_done(&wg);
    if (pthread_join(t, NULL) != 0 || l.n != 20 * ROUNDS(100))
        return 2;
    return go_main(return_zero, argc, argv);
}

static void
the_runtime_needs_no_go_main(void **state)
{
    (void)state;
    child_expect("no_main_at_all", 0, NULL);
}

int
main(int argc, char **argv)
{
    static const struct child_case children[] = {
        {"no_main_at_all", no_main_at_all, true},
    };
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(threads_spawn_goroutines_and_wait_for_them),
        cmocka_unit_test(threads_wake_parked_goroutines_and_are_woken),
        cmocka_unit_test(threads_release_a_wait_group),
        cmocka_unit_test(threads_send_without_blocking),
        cmocka_unit_test(nothing_is_lost_between_threads_and_goroutines),
        cmocka_unit_test(threads_have_deadlines_too),
        cmocka_unit_test(a_deadline_is_noticed_by_whoever_goes_to_sleep),
        cmocka_unit_test(threads_may_end_right_after_being_woken),
        cmocka_unit_test(the_runtime_needs_no_go_main),
    };

    CHILD_MAIN(argc, argv, children);
    return cmocka_run_group_tests_name("foreign", tests, NULL, NULL);
}
