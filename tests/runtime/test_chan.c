/* Channels against the Go specification: "Channel types", "Send statements", "Receive
 * operator", "Close", "Length and capacity". */
#define _GNU_SOURCE
#include "tests/runtime/transfer.h"
#include "tests/support/await.h"
#include "tests/support/child.h"

/* --- nil ------------------------------------------------------------------------------------ */

GO_TEST(a_nil_channel_is_never_ready)
{
    int v = 7;

    CHECK_INT(go_chan_try_send(NULL, &v), -EAGAIN);
    CHECK_INT(go_chan_try_recv(NULL, &v), -EAGAIN);
    CHECK_INT(go_chan_len(NULL), 0);
    CHECK_INT(go_chan_cap(NULL), 0);
    CHECK_INT(v, 7);
    CHECK(go_chan_ref(NULL) == NULL);
    go_chan_unref(NULL);
}

static void
send_nil(void)
{
    go_chan_send(NULL, NULL);
}

static void
recv_nil(void)
{
    (void)go_chan_recv(NULL, NULL);
}

GO_TEST(operations_on_a_nil_channel_park_for_ever)
{
    int64_t s = go(send_nil), r = go(recv_nil);

    AWAIT(await_parked(s, "chan send (nil chan)"));
    AWAIT(await_parked(r, "chan receive (nil chan)"));
}

/* --- buffers -------------------------------------------------------------------------------- */

GO_TEST(a_buffered_channel_is_first_in_first_out)
{
    struct go_chan *c = go_chan_new(sizeof(int), 3);
    int v;

    CHECK_INT(go_chan_cap(c), 3);
    CHECK_INT(go_chan_elem_size(c), sizeof(int));
    for (int lap = 0; lap < 5; lap++) { /* the ring wraps at every position */
        for (int i = 0; i < 3; i++) {
            CHECK_INT(go_chan_len(c), i);
            go_send(c, lap * 10 + i);
        }
        v = -1;
        CHECK_INT(go_chan_try_send(c, &v), -EAGAIN);
        CHECK_INT(go_recv(c, int), lap * 10);
        go_send(c, lap * 10 + 3);
        for (int i = 1; i < 4; i++)
            CHECK_INT(go_recv(c, int), lap * 10 + i);
        CHECK_INT(go_chan_try_recv(c, &v), -EAGAIN);
        CHECK_INT(v, -1);
    }
    go_chan_unref(c);
}

GO_TEST(an_impossible_size_is_refused)
{
    CHECK(go_chan_new(SIZE_MAX / 2, 3) == NULL);
    CHECK(go_chan_new(1, SIZE_MAX) == NULL);
    CHECK(go_chan_new(1, (size_t)PTRDIFF_MAX) == NULL);
}

GO_TEST(elements_of_no_size_count_only)
{
    struct go_chan *c = go_chan_new(0, 2);

    go_chan_send(c, NULL);
    go_chan_send(c, NULL);
    CHECK_INT(go_chan_try_send(c, NULL), -EAGAIN);
    CHECK_INT(go_chan_len(c), 2);
    CHECK(go_chan_recv(c, NULL));
    go_chan_close(c);
    CHECK(go_chan_recv(c, NULL));
    CHECK(!go_chan_recv(c, NULL));
    go_chan_unref(c);
}

GO_TEST(a_receiver_may_drop_the_element)
{
    struct go_chan *c = go_chan_new(sizeof(int64_t), 1);

    go_send(c, (int64_t)1);
    CHECK(go_chan_recv(c, NULL));
    CHECK_INT(go_chan_try_recv(c, NULL), -EAGAIN);
    go_chan_unref(c);
}

GO_TEST(the_last_reference_frees_what_is_still_buffered)
{
    struct go_chan *c = go_chan_new(4096, 4);
    char page[4096] = {1};

    CHECK(go_chan_ref(c) == c);
    go_chan_send(c, page);
    go_chan_unref(c);
    CHECK_INT(go_chan_len(c), 1); /* still ours */
    go_chan_unref(c);             /* the leak checker sees to the rest */
}

/* --- meeting -------------------------------------------------------------------------------- */

struct meeting {
    struct go_chan *c, *done;
    int log[8]; /* in the order of completion */
    uint32_t n; /* atomic */
};

static void
meeting_init(struct meeting *m, size_t cap)
{
    *m = (struct meeting){.c = go_chan_new(sizeof(int), cap), .done = go_chan_new(0, 8)};
}

static void
meeting_fini(struct meeting *m)
{
    go_chan_unref(m->c);
    go_chan_unref(m->done);
}

static void
send_one(struct meeting *m, int v)
{
    go_send(m->c, v);
    __atomic_fetch_add(&m->n, 1, __ATOMIC_RELAXED);
    go_chan_send(m->done, NULL);
}

static void
recv_to_slot(struct meeting *m, int slot)
{
    m->log[slot] = go_recv(m->c, int);
    __atomic_fetch_add(&m->n, 1, __ATOMIC_RELAXED);
    go_chan_send(m->done, NULL);
}

GO_TEST(an_unbuffered_send_waits_for_its_receiver)
{
    struct meeting m;
    int64_t id;

    meeting_init(&m, 0);
    id = go(send_one, &m, 5);
    AWAIT(await_parked(id, "chan send"));
    CHECK_INT(m.n, 0);
    CHECK_INT(go_chan_len(m.c), 0);
    CHECK_INT(go_recv(m.c, int), 5);
    CHECK(go_chan_recv(m.done, NULL));
    CHECK_INT(m.n, 1);
    meeting_fini(&m);
}

GO_TEST(a_try_meets_whoever_is_parked)
{
    struct meeting m;
    int64_t id;
    int v = 9;

    meeting_init(&m, 0);
    CHECK_INT(go_chan_try_send(m.c, &v), -EAGAIN);
    id = go(recv_to_slot, &m, 0);
    AWAIT(await_parked(id, "chan receive"));
    CHECK_INT(go_chan_try_send(m.c, &v), 1);
    CHECK(go_chan_recv(m.done, NULL));
    CHECK_INT(m.log[0], 9);

    id = go(send_one, &m, 11);
    AWAIT(await_parked(id, "chan send"));
    CHECK_INT(go_chan_try_recv(m.c, &v), 1);
    CHECK_INT(v, 11);
    CHECK(go_chan_recv(m.done, NULL));
    meeting_fini(&m);
}

GO_TEST(parked_receivers_are_served_in_order)
{
    struct meeting m;

    meeting_init(&m, 0);
    for (int i = 0; i < 8; i++) {
        int64_t id = go(recv_to_slot, &m, i);

        AWAIT(await_parked(id, "chan receive"));
    }
    for (int i = 0; i < 8; i++)
        go_send(m.c, 100 + i);
    for (int i = 0; i < 8; i++)
        CHECK(go_chan_recv(m.done, NULL));
    for (int i = 0; i < 8; i++)
        CHECK_INT(m.log[i], 100 + i);
    meeting_fini(&m);
}

GO_TEST(parked_senders_are_served_in_order_after_the_buffer)
{
    struct meeting m;

    meeting_init(&m, 2);
    go_send(m.c, 0);
    go_send(m.c, 1);
    for (int i = 2; i < 6; i++) {
        int64_t id = go(send_one, &m, i);

        AWAIT(await_parked(id, "chan send"));
    }
    for (int i = 0; i < 6; i++)
        CHECK_INT(go_recv(m.c, int), i);
    for (int i = 2; i < 6; i++)
        CHECK(go_chan_recv(m.done, NULL));
    meeting_fini(&m);
}

/* --- close ---------------------------------------------------------------------------------- */

GO_TEST(a_closed_channel_is_drained_before_it_gives_zeroes)
{
    struct go_chan *c = go_chan_new(sizeof(int), 4);
    int v, sum = 0;

    go_send(c, 1);
    go_send(c, 2);
    go_chan_close(c);
    while (go_chan_recv(c, &v)) /* for v := range c */
        sum += v;
    CHECK_INT(sum, 3);
    v = 42;
    CHECK(!go_chan_recv(c, &v));
    CHECK_INT(v, 0);
    v = 42;
    CHECK_INT(go_chan_try_recv(c, &v), 0);
    CHECK_INT(v, 0);
    go_chan_unref(c);
}

GO_TEST(close_wakes_every_receiver_with_a_zero)
{
    struct meeting m;

    meeting_init(&m, 0);
    for (int i = 0; i < 8; i++) {
        int64_t id;

        m.log[i] = 77;
        id = go(recv_to_slot, &m, i);
        AWAIT(await_parked(id, "chan receive"));
    }
    go_chan_close(m.c);
    for (int i = 0; i < 8; i++)
        CHECK(go_chan_recv(m.done, NULL));
    for (int i = 0; i < 8; i++)
        CHECK_INT(m.log[i], 0);
    meeting_fini(&m);
}

static void
recv_and_drop(struct go_chan *c, struct go_wg *wg)
{
    long v = 1;

    CHECK(!go_chan_recv(c, &v));
    CHECK_INT(v, 0);
    go_chan_unref(c);
    go_wg_done(wg);
}

/* More than close wakes at a time, and the last of them frees the channel. */
GO_TEST(close_wakes_a_crowd_that_drops_the_channel)
{
    enum { N = 300 };
    struct go_chan *c = go_chan_new(sizeof(long), 0);
    struct go_wg wg = GO_WG_INIT;
    int64_t id = 0;

    REQUIRE(c != NULL);
    for (int round = 0; round < N; round++) {
        go_wg_add(&wg, 1);
        id = go(recv_and_drop, go_chan_ref(c), &wg);
        AWAIT(await_parked(id, "chan receive"));
    }
    go_chan_unref(c); /* theirs are enough to call close() with, until one of them runs */
    go_chan_close(c);
    go_wg_wait(&wg);
}

/* --- misuse ---------------------------------------------------------------------------------- */

static int
send_on_closed(int argc, char **argv)
{
    struct go_chan *c = go_chan_new(sizeof(int), 1);

    (void)argc;
    (void)argv;
    go_chan_close(c);
    go_send(c, 1);
    return 0;
}

static int
try_send_on_closed(int argc, char **argv)
{
    struct go_chan *c = go_chan_new(0, 0);

    (void)argc;
    (void)argv;
    go_chan_close(c);
    (void)go_chan_try_send(c, NULL);
    return 0;
}

static int
parked_sender_at_close(int argc, char **argv)
{
    struct meeting m;
    int64_t id;

    (void)argc;
    (void)argv;
    meeting_init(&m, 0);
    id = go(send_one, &m, 1);
    AWAIT(await_parked(id, "chan send"));
    go_chan_close(m.c);
    (void)go_chan_recv(m.done, NULL);
    return 0;
}

static int
close_of_closed(int argc, char **argv)
{
    struct go_chan *c = go_chan_new(sizeof(int), 1);

    (void)argc;
    (void)argv;
    go_chan_close(c);
    go_chan_close(c);
    return 0;
}

static int
close_of_nil(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    go_chan_close(NULL);
    return 0;
}

static int
wrong_size(int argc, char **argv)
{
    struct go_chan *c = go_chan_new(sizeof(int), 1);

    (void)argc;
    (void)argv;
    go_send(c, (int64_t)1);
    return 0;
}

static int
unref_under_waiter(int argc, char **argv)
{
    struct meeting m;
    int64_t id;

    (void)argc;
    (void)argv;
    meeting_init(&m, 0);
    id = go(recv_to_slot, &m, 0);
    AWAIT(await_parked(id, "chan receive"));
    go_chan_unref(m.c);
    return 0;
}

static void
misuse_panics_in_words(void **state)
{
    (void)state;
    child_expect("send_on_closed", 2, "panic: send on closed channel");
    child_expect("try_send_on_closed", 2, "panic: send on closed channel");
    child_expect("parked_sender_at_close", 2, "panic: send on closed channel");
    child_expect("close_of_closed", 2, "panic: close of closed channel");
    child_expect("close_of_nil", 2, "panic: close of nil channel");
    child_expect("wrong_size", 2,
                 "panic: a value of 8 bytes for a channel of 4-byte elements");
    child_expect(
        "unref_under_waiter", 2,
        "panic: last reference to a channel dropped while goroutines wait on it");
}

/* --- many at once ---------------------------------------------------------------------------- */

static const size_t sizes[] = {0, 1, 4, 8, 24, 4096};
static const size_t caps[] = {0, 1, 3, 64};
static const int crowds[][2] = {{1, 1}, {1, 4}, {8, 1}, {8, 8}, {64, 16}};

GO_TEST(nothing_is_lost_duplicated_or_reordered_in_parallel)
{
    int old = go_maxprocs(4);

    for (size_t s = 0; s < sizeof(sizes) / sizeof(*sizes); s++)
        for (size_t k = 0; k < sizeof(caps) / sizeof(*caps); k++)
            for (size_t n = 0; n < sizeof(crowds) / sizeof(*crowds); n++) {
                struct transfer t = {
                    .size = sizes[s], .senders = crowds[n][0], .receivers = crowds[n][1]};

                t.each = (uint32_t)ROUNDS(4000) / (uint32_t)t.senders;
                transfer_run(&t, caps[k]);
            }
    go_maxprocs(old);
}

static int
seeded_transfer(int argc, char **argv)
{
    static const size_t seeded_caps[] = {0, 2};

    (void)argc;
    (void)argv;
    for (size_t s = 0; s < sizeof(sizes) / sizeof(*sizes); s++)
        for (size_t k = 0; k < 2; k++) {
            struct transfer t = {.size = sizes[s],
                                 .senders = 3,
                                 .receivers = 2,
                                 .each = 12,
                                 .way = k == 0 ? TRANSFER_PLAIN : TRANSFER_TRY};

            transfer_run(&t, seeded_caps[k]);
        }
    return 0;
}

static void
nothing_is_lost_duplicated_or_reordered_under_any_seed(void **state)
{
    (void)state;
    child_seeds("seeded_transfer", ROUNDS(600));
}

int
main(int argc, char **argv)
{
    static const struct child_case children[] = {
        {"send_on_closed", send_on_closed, false},
        {"try_send_on_closed", try_send_on_closed, false},
        {"parked_sender_at_close", parked_sender_at_close, false},
        {"close_of_closed", close_of_closed, false},
        {"close_of_nil", close_of_nil, false},
        {"wrong_size", wrong_size, false},
        {"unref_under_waiter", unref_under_waiter, false},
        {"seeded_transfer", seeded_transfer, false},
    };
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_nil_channel_is_never_ready),
        cmocka_unit_test(operations_on_a_nil_channel_park_for_ever),
        cmocka_unit_test(a_buffered_channel_is_first_in_first_out),
        cmocka_unit_test(an_impossible_size_is_refused),
        cmocka_unit_test(elements_of_no_size_count_only),
        cmocka_unit_test(a_receiver_may_drop_the_element),
        cmocka_unit_test(the_last_reference_frees_what_is_still_buffered),
        cmocka_unit_test(an_unbuffered_send_waits_for_its_receiver),
        cmocka_unit_test(a_try_meets_whoever_is_parked),
        cmocka_unit_test(parked_receivers_are_served_in_order),
        cmocka_unit_test(parked_senders_are_served_in_order_after_the_buffer),
        cmocka_unit_test(a_closed_channel_is_drained_before_it_gives_zeroes),
        cmocka_unit_test(close_wakes_every_receiver_with_a_zero),
        cmocka_unit_test(close_wakes_a_crowd_that_drops_the_channel),
        cmocka_unit_test(misuse_panics_in_words),
        cmocka_unit_test(nothing_is_lost_duplicated_or_reordered_in_parallel),
        cmocka_unit_test(nothing_is_lost_duplicated_or_reordered_under_any_seed),
    };

    CHILD_MAIN(argc, argv, children);
    return cmocka_run_group_tests_name("chan", tests, NULL, NULL);
}
