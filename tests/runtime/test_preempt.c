/* Nobody keeps a processor: not a busy loop, not a C call that blocks, declared or not. All
 * of it with GOMAXPROCS=1, where one hog would stop everybody. */
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "tests/support/await.h"
#include "tests/support/child.h"

/* ThreadSanitizer holds asynchronous signals back until the thread makes a call, and so
 * SIGURG never reaches a loop: nothing to test. */
#define NEEDS_SIGNALS(state)                                                             \
    do {                                                                                 \
        (void)(state);                                                                   \
        if (GO_TSAN)                                                                     \
            SKIP("ThreadSanitizer defers signals: a loop cannot be preempted");          \
    } while (0)

struct hog {
    volatile uint32_t stop, running; /* atomic */
    uint32_t progress;               /* atomic */
    int fd[2];
    struct go_wg wg;
};

static void
spin(struct hog *h)
{
    __atomic_fetch_add(&h->running, 1, __ATOMIC_RELAXED);
    while (!h->stop) /* no call, no atomic operation: only the signal gets in */
        ;
    go_wg_done(&h->wg);
}

static void
progress(struct hog *h, int n)
{
    for (int i = 0; i < n; i++) {
        __atomic_fetch_add(&h->progress, 1, __ATOMIC_RELAXED);
        go_yield();
    }
    go_wg_done(&h->wg);
}

static void
others_pass(struct hog *h, void (*fn)(struct hog *), int hogs)
{
    int old = go_maxprocs(1);

    h->wg = (struct go_wg)GO_WG_INIT;
    go_wg_add(&h->wg, hogs + 2);
    for (int i = 0; i < hogs; i++)
        CHECK(go(fn, h) > 0);
    for (int i = 0; i < 2; i++)
        CHECK(go(progress, h, 500) > 0);
    AWAIT(__atomic_load_n(&h->progress, __ATOMIC_RELAXED) == 1000);
    go_maxprocs(old);
}

static int
one_loop(int argc, char **argv)
{
    struct hog h = {.stop = 0};

    (void)argc;
    (void)argv;
    others_pass(&h, spin, 1);
    CHECK_INT(h.running, 1);
    h.stop = 1;
    go_wg_wait(&h.wg);
    return 0;
}

static int
many_loops(int argc, char **argv)
{
    struct hog h = {.stop = 0};

    (void)argc;
    (void)argv;
    others_pass(&h, spin, 8);
    AWAIT(h.running == 8); /* each got its turn */
    h.stop = 1;
    go_wg_wait(&h.wg);
    return 0;
}

static int
loop_for_ever(int argc, char **argv)
{
    struct hog h = {.stop = 0};

    (void)argc;
    (void)argv;
    others_pass(&h, spin, 1);
    return 0; /* go_main() returns although it spins on */
}

static void
a_busy_loop_does_not_stop_the_others(void **state)
{
    NEEDS_SIGNALS(state);
    child_expect("one_loop", 0, NULL);
    child_expect("many_loops", 0, NULL);
    child_expect("loop_for_ever", 0, NULL);
}

/* A loop of small runtime calls is not signalled but yields when its slice is over. */
static void
try_for_ever(struct hog *h)
{
    __atomic_fetch_add(&h->running, 1, __ATOMIC_RELAXED);
    while (!__atomic_load_n(&h->stop, __ATOMIC_RELAXED))
        (void)go_chan_try_recv(NULL, NULL), go_sleep(0);
    go_wg_done(&h->wg);
}

static void
checkpoint_for_ever(struct hog *h)
{
    __atomic_fetch_add(&h->running, 1, __ATOMIC_RELAXED);
    while (!__atomic_load_n(&h->stop, __ATOMIC_RELAXED))
        go_checkpoint();
    go_wg_done(&h->wg);
}

GO_TEST(a_loop_of_runtime_calls_gives_way)
{
    struct hog h = {.stop = 0};

    others_pass(&h, try_for_ever, 2);
    __atomic_store_n(&h.stop, 1, __ATOMIC_RELAXED);
    go_wg_wait(&h.wg);
}

GO_TEST(checkpoints_give_way)
{
    struct go_stats before, now;
    struct hog h = {.stop = 0};

    go_stats(&before);
    others_pass(&h, checkpoint_for_ever, 2);
    __atomic_store_n(&h.stop, 1, __ATOMIC_RELAXED);
    go_wg_wait(&h.wg);
    go_stats(&now);
    /* By the flag; or by the signal, where the thread lost its CPU in between. */
    CHECK(now.preempted + now.handoffs > before.preempted + before.handoffs);
}

/* --- blocking calls -------------------------------------------------------------------------- */

static void
read_undeclared(struct hog *h)
{
    char byte = 0;

    CHECK_INT(read(h->fd[0], &byte, 1), 1);
    CHECK_INT(byte, 'x');
    go_wg_done(&h->wg);
}

static void
nanosleep_undeclared(struct hog *h)
{
    struct timespec left = {.tv_nsec = 300000000};

    while (nanosleep(&left, &left) != 0) /* SA_RESTART does not cover sleeps */
        CHECK_INT(go_errno_(), EINTR);
    go_wg_done(&h->wg);
}

static void
read_declared(struct hog *h)
{
    char byte = 0;

    CHECK_INT(GO_BLOCKING(read(h->fd[0], &byte, 1)), 1);
    CHECK_INT(byte, 'x');
    go_wg_done(&h->wg);
}

static void
blocked_reads(void (*fn)(struct hog *), int n)
{
    struct hog h = {.stop = 0};

    CHECK_INT(pipe(h.fd), 0);
    others_pass(&h, fn, n); /* all of them block before the others are done */
    for (int i = 0; i < n; i++)
        CHECK_INT(write(h.fd[1], "x", 1), 1);
    go_wg_wait(&h.wg);
    close(h.fd[0]);
    close(h.fd[1]);
}

static int
undeclared_reads(int argc, char **argv)
{
    struct hog h = {.stop = 0};

    (void)argc;
    (void)argv;
    blocked_reads(read_undeclared, 1);
    blocked_reads(read_undeclared, 20);
    others_pass(&h, nanosleep_undeclared, 1);
    go_wg_wait(&h.wg);
    return 0;
}

static void
an_undeclared_blocking_call_does_not_stop_the_others(void **state)
{
    NEEDS_SIGNALS(state);
    child_expect("undeclared_reads", 0, NULL);
}

GO_TEST(a_declared_blocking_call_does_not_stop_the_others)
{
    blocked_reads(read_declared, 1);
    blocked_reads(read_declared, 100);
}

/* In a blocking region. A thread that lost its CPU for long looks like a runaway: the signal
 * may come while it sleeps (blocking.h, EINTR). */
static void
nap(const struct timespec *ts)
{
    int r = GO_BLOCKING(clock_nanosleep(CLOCK_MONOTONIC, 0, ts, NULL));

    CHECK(r == 0 || r == EINTR);
}

static void
short_blocks(struct hog *h, int n)
{
    for (int i = 0; i < n; i++) {
        CHECK_INT(GO_BLOCKING(getppid()) > 0, 1);
        if (i % 16 == 0) {
            struct timespec ts = {.tv_nsec = 50000};

            nap(&ts);
        }
        if (i % 5 == 0)
            go_yield();
    }
    go_wg_done(&h->wg);
}

/* P's are taken from blocked goroutines and won back all the time; nobody gets lost. */
static void
blocking_storm(int procs)
{
    struct hog h = {.wg = GO_WG_INIT};
    int old = go_maxprocs(procs);

    go_wg_add(&h.wg, 20);
    for (int i = 0; i < 20; i++)
        CHECK(go(short_blocks, &h, ROUNDS(1000)) > 0);
    go_wg_wait(&h.wg);
    go_maxprocs(old);
}

GO_TEST(processors_go_back_and_forth_without_loss)
{
    blocking_storm(1);
    blocking_storm(2);
    blocking_storm(5);
}

/* One goroutine blocks while nobody else wants its P: it must find one again each time. */
GO_TEST(a_lone_blocker_finds_its_way_back)
{
    struct hog h = {.wg = GO_WG_INIT};
    struct go_chan *tick = go_chan_new(0, 0);
    int old = go_maxprocs(1);

    for (int i = 0; i < ROUNDS(2000); i++) {
        struct timespec ts = {.tv_nsec = 30000 + i % 50 * 1000};

        CHECK(go_wg_go(&h.wg, go_chan_send, tick, NULL) > 0);
        nap(&ts);
        CHECK(go_chan_recv(tick, NULL));
        go_wg_wait(&h.wg);
    }
    go_chan_unref(tick);
    go_maxprocs(old);
}

static void
set(uint32_t *flag)
{
    __atomic_store_n(flag, 1, __ATOMIC_RELEASE);
}

/* With another P to go to: the monitor finds what waits there. */
GO_TEST(a_hint_to_park_soon_that_lies_holds_nobody_up_for_long)
{
    int old = go_maxprocs(2);
    uint32_t flag = 0;

    go_park_soon(8);
    CHECK(go(set, &flag) > 0);
    while (__atomic_load_n(&flag, __ATOMIC_ACQUIRE) == 0)
        ;
    go_maxprocs(old);
}

GO_TEST(blocking_regions_nest_and_may_spawn)
{
    struct hog h = {.wg = GO_WG_INIT};
    struct go_chan *c = go_chan_new(sizeof(int), 1);
    int v = 4, old = go_maxprocs(1);

    go_enter_blocking();
    go_enter_blocking();
    go_wg_add(&h.wg, 1);
    CHECK(go(progress, &h, 10) > 0);
    CHECK_INT(go_chan_try_send(c, &v), 1);
    go_yield();
    while (__atomic_load_n(&h.progress, __ATOMIC_RELAXED) < 10)
        ; /* it runs on the P we left */
    go_exit_blocking();
    go_exit_blocking();
    CHECK_INT(go_recv(c, int), 4);
    go_wg_wait(&h.wg);
    go_chan_unref(c);
    go_maxprocs(old);
}

GO_TEST(errors_come_out_of_a_blocking_region)
{
    CHECK_INT(GO_BLOCKING(GO_ERRNO(read(-1, NULL, 0))), -EBADF);
    CHECK_INT(GO_ERRNO(close(-1)), -EBADF);
}

static int
park_while_blocking(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    go_enter_blocking();
    (void)go_chan_recv(NULL, NULL);
    return 0;
}

static int
exit_without_enter(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    go_exit_blocking();
    return 0;
}

static void
misuse_of_regions_panics_in_words(void **state)
{
    (void)state;
    child_expect("park_while_blocking", 2,
                 "goroutine would park (chan receive (nil chan)) in a blocking region");
    child_expect("exit_without_enter", 2, "go_exit_blocking without go_enter_blocking");
}

/* --- a region whose P another one takes over ------------------------------------------------- */

struct swap {
    uint32_t first_in, second_in, first_out, gave_up; /* atomic */
    volatile uint32_t stop;
    struct go_chan *c;
    struct go_wg wg;
};

static void
raise_flag(uint32_t *flag)
{
    __atomic_store_n(flag, 1, __ATOMIC_RELEASE);
}

static void
spin_until(const uint32_t *flag)
{
    while (!__atomic_load_n(flag, __ATOMIC_ACQUIRE))
        (void)sched_yield();
}

/* In a region until another goroutine, which runs on the P we left, is in one as well: then
 * that P is there for us to take. */
static void
come_out_on_the_same_p(struct swap *s)
{
    go_enter_blocking();
    raise_flag(&s->first_in);
    spin_until(&s->second_in);
    go_exit_blocking();
    raise_flag(&s->first_out);
}

/* The other one; to be called with GOMAXPROCS=1. The second P keeps the monitor from taking
 * the first one at once. */
static void
enter_on_the_p_of(void (*fn)(struct swap *), struct swap *s)
{
    CHECK(go_wg_go(&s->wg, fn, s) > 0);
    while (!__atomic_load_n(&s->first_in, __ATOMIC_ACQUIRE))
        go_yield();
    go_maxprocs(2);
    go_enter_blocking();
    raise_flag(&s->second_in);
    spin_until(&s->first_out);
}

static void
take_over_and_spin(struct swap *s)
{
    time_t end;

    come_out_on_the_same_p(s);
    end = time(NULL) + 20;
    while (!s->stop)
        if (time(NULL) > end) {
            raise_flag(&s->gave_up);
            break;
        }
}

static int
taken_over_by_a_loop(int argc, char **argv)
{
    struct swap s = {.wg = GO_WG_INIT};

    (void)argc;
    (void)argv;
    go_maxprocs(1);
    enter_on_the_p_of(take_over_and_spin, &s);
    go_exit_blocking();
    go_maxprocs(1);
    go_yield(); /* only the P that the loop has is left */
    s.stop = 1;
    go_wg_wait(&s.wg);
    CHECK_INT(s.gave_up, 0);
    return 0;
}

static void
a_loop_on_a_p_that_it_took_over_does_not_stop_the_others(void **state)
{
    NEEDS_SIGNALS(state);
    child_expect("taken_over_by_a_loop", 0, NULL);
}

static void
take_over_and_park(struct swap *s)
{
    int64_t end;

    come_out_on_the_same_p(s);
    go_sleep(
        GO_MILLISECOND); /* comes back on the same thread, but through the scheduler */
    for (end = go_now() + 30 * GO_MILLISECOND; go_now() < end;)
        go_checkpoint(); /* its slice ends meanwhile */
    CHECK_INT(go_recv(s->c, int), 3);
}

static int
taken_over_by_one_that_waits(int argc, char **argv)
{
    struct timespec ts = {.tv_nsec = 100000000};
    struct swap s = {.wg = GO_WG_INIT, .c = go_chan_new(sizeof(int), 0)};

    (void)argc;
    (void)argv;
    go_maxprocs(1);
    enter_on_the_p_of(take_over_and_park, &s);
    (void)clock_nanosleep(CLOCK_MONOTONIC, 0, &ts, NULL);
    go_exit_blocking();
    go_send(s.c, 3);
    go_wg_wait(&s.wg);
    go_chan_unref(s.c);
    return 0;
}

static void
a_goroutine_in_a_region_taken_over_is_not_asleep(void **state)
{
    (void)state;
    child_expect("taken_over_by_one_that_waits", 0, NULL);
}

/* --- threads --------------------------------------------------------------------------------- */

static int
tid(void)
{
    return (int)syscall(SYS_gettid);
}

struct pin {
    int tid[4];
    uint32_t stop, strangers, n; /* atomic */
    struct go_wg wg;
};

static void
stay(struct pin *p, int me)
{
    int first;

    go_lock_os_thread();
    go_lock_os_thread();
    go_unlock_os_thread(); /* still locked once */
    first = tid();
    __atomic_store_n(&p->tid[me], first, __ATOMIC_RELEASE);
    for (int i = 0; i < ROUNDS(500); i++) {
        go_yield();
        CHECK_INT(tid(), first);
        if (i % 8 == 0)
            go_sleep(GO_MICROSECOND);
        CHECK_INT(tid(), first);
        if (i % 64 == 0)
            CHECK_INT(GO_BLOCKING(tid()), first);
    }
    __atomic_store_n(&p->tid[me], 0, __ATOMIC_RELEASE);
    go_unlock_os_thread();
    go_wg_done(&p->wg);
}

static void
wander(struct pin *p)
{
    while (!__atomic_load_n(&p->stop, __ATOMIC_ACQUIRE)) {
        int mine = tid();

        for (int i = 0; i < 4; i++)
            if (__atomic_load_n(&p->tid[i], __ATOMIC_ACQUIRE) == mine)
                __atomic_fetch_add(&p->strangers, 1, __ATOMIC_RELAXED);
        go_yield();
    }
    go_wg_done(&p->wg);
}

static void
pinned(int procs)
{
    struct pin p = {.wg = GO_WG_INIT};
    int old = go_maxprocs(procs);

    go_wg_add(&p.wg, 4);
    for (int i = 0; i < 4; i++)
        CHECK(go(stay, &p, i) > 0);
    go_wg_add(&p.wg, 4);
    for (int i = 0; i < 4; i++)
        CHECK(go(wander, &p) > 0);
    AWAIT(go_wg_count(&p.wg) == 4);
    __atomic_store_n(&p.stop, 1, __ATOMIC_RELEASE);
    go_wg_wait(&p.wg);
    CHECK_INT(p.strangers, 0);
    go_maxprocs(old);
}

GO_TEST(a_locked_goroutine_keeps_its_thread_for_itself)
{
    pinned(1);
    pinned(3);
}

static int
unlock_unlocked_thread(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    go_unlock_os_thread();
    return 0;
}

static void
unlocking_an_unlocked_thread_panics(void **state)
{
    (void)state;
    child_expect("unlock_unlocked_thread", 2, "the goroutine is not locked to a thread");
}

int
main(int argc, char **argv)
{
    static const struct child_case children[] = {
        {"one_loop", one_loop, false},
        {"many_loops", many_loops, false},
        {"loop_for_ever", loop_for_ever, false},
        {"undeclared_reads", undeclared_reads, false},
        {"taken_over_by_a_loop", taken_over_by_a_loop, false},
        {"taken_over_by_one_that_waits", taken_over_by_one_that_waits, false},
        {"park_while_blocking", park_while_blocking, false},
        {"exit_without_enter", exit_without_enter, false},
        {"unlock_unlocked_thread", unlock_unlocked_thread, false},
    };
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_busy_loop_does_not_stop_the_others),
        cmocka_unit_test(a_loop_of_runtime_calls_gives_way),
        cmocka_unit_test(checkpoints_give_way),
        cmocka_unit_test(an_undeclared_blocking_call_does_not_stop_the_others),
        cmocka_unit_test(a_declared_blocking_call_does_not_stop_the_others),
        cmocka_unit_test(processors_go_back_and_forth_without_loss),
        cmocka_unit_test(a_lone_blocker_finds_its_way_back),
        cmocka_unit_test(a_hint_to_park_soon_that_lies_holds_nobody_up_for_long),
        cmocka_unit_test(a_loop_on_a_p_that_it_took_over_does_not_stop_the_others),
        cmocka_unit_test(a_goroutine_in_a_region_taken_over_is_not_asleep),
        cmocka_unit_test(blocking_regions_nest_and_may_spawn),
        cmocka_unit_test(errors_come_out_of_a_blocking_region),
        cmocka_unit_test(misuse_of_regions_panics_in_words),
        cmocka_unit_test(a_locked_goroutine_keeps_its_thread_for_itself),
        cmocka_unit_test(unlocking_an_unlocked_thread_panics),
    };

    CHILD_MAIN(argc, argv, children);
    return cmocka_run_group_tests_name("preempt", tests, NULL, NULL);
}
