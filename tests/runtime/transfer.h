/*
 * A transfer: senders push numbered elements through one channel, receivers check them.
 * Whatever the schedule, every element arrives exactly once, undamaged, and those of one
 * sender reach any one receiver in the order in which they were sent.
 *
 * The roles are plain functions, to be run by goroutines or by threads of the test's own.
 */
#ifndef GOJOBD_TESTS_RUNTIME_TRANSFER_H
#define GOJOBD_TESTS_RUNTIME_TRANSFER_H

#include <errno.h>
#include <string.h>

#include "tests/support/gotest.h"

#define TRANSFER_SENDERS_MAX 64
#define TRANSFER_SIZE_MAX    4096

/* How a role does it; each a valid way to use the same channel at the same time. */
enum transfer_way {
    TRANSFER_PLAIN,
    TRANSFER_TRY,    /* try, and yield when it would park */
    TRANSFER_SELECT, /* select with this case twice and a nil one */
    TRANSFER_MIXED,  /* each of them in turn */
};

struct transfer {
    struct go_chan *c;
    struct go_chan *quiet; /* nobody ever sends here */
    size_t size;
    int senders, receivers;
    uint32_t each; /* elements a sender */
    enum transfer_way way;

    unsigned char *seen;                    /* atomic; [sender * each + number] */
    uint32_t arrived[TRANSFER_SENDERS_MAX]; /* atomic */
    struct go_wg sending, receiving;
};

static inline unsigned char
transfer_fill(int sender, uint32_t number, size_t at)
{
    return (unsigned char)((uint32_t)sender * 31 + number * 7 + (uint32_t)at);
}

/* One byte holds 3 bits of the sender and 5 of the number; four and more hold all. */
static inline void
transfer_write(const struct transfer *t, unsigned char *e, int sender, uint32_t number)
{
    uint32_t word = (uint32_t)sender << 24 | number;

    if (t->size == 1)
        e[0] = (unsigned char)((sender & 7) << 5 | (int)(number & 31));
    if (t->size < 4)
        return;
    memcpy(e, &word, 4);
    for (size_t i = 4; i < t->size; i++)
        e[i] = transfer_fill(sender, number, i);
}

/* Check one element that receiver got; last[] are its newest numbers plus one. */
static inline void
transfer_check(struct transfer *t, const unsigned char *e, uint32_t *last)
{
    uint32_t word, number;
    int sender;

    if (t->size < 4) {
        sender = t->size == 1 ? e[0] >> 5 : 0;
        __atomic_fetch_add(&t->arrived[sender], 1, __ATOMIC_RELAXED);
        if (t->size == 1 && t->receivers == 1 && t->senders <= 8)
            CHECK_INT(e[0] & 31, last[sender]++ & 31);
        return;
    }
    memcpy(&word, e, 4);
    sender = (int)(word >> 24);
    number = word & 0xffffff;
    REQUIRE(sender < t->senders && number < t->each);
    CHECK(number >= last[sender]); /* not reordered */
    last[sender] = number + 1;
    CHECK_INT(__atomic_exchange_n(&t->seen[(uint32_t)sender * t->each + number], 1,
                                  __ATOMIC_RELAXED),
              0); /* not duplicated */
    __atomic_fetch_add(&t->arrived[sender], 1, __ATOMIC_RELAXED);
    for (size_t i = 4; i < t->size; i++)
        if (e[i] != transfer_fill(sender, number, i)) {
            CHECK_INT(e[i], transfer_fill(sender, number, i));
            break;
        }
}

static inline enum transfer_way
transfer_way(const struct transfer *t, uint32_t turn)
{
    return t->way == TRANSFER_MIXED ? (enum transfer_way)(turn % TRANSFER_MIXED) : t->way;
}

static inline void
transfer_send(struct transfer *t, enum transfer_way way, const void *e)
{
    struct go_case cases[] = {
        GO_CASE_SEND(t->c, e),
        GO_CASE_RECV(t->quiet, NULL),
        GO_CASE_SEND(t->c, e),
        GO_CASE_RECV(NULL, NULL),
    };
    int i;

    switch (way) {
    case TRANSFER_TRY:
        while (go_chan_try_send(t->c, e) != 1)
            go_yield();
        break;
    case TRANSFER_SELECT:
        i = go_select(cases, 4);
        CHECK(i == 0 || i == 2);
        break;
    case TRANSFER_PLAIN:
    case TRANSFER_MIXED:
        go_chan_send(t->c, e);
        break;
    }
}

static inline bool
transfer_recv(struct transfer *t, enum transfer_way way, void *e)
{
    struct go_case cases[] = {
        GO_CASE_RECV(NULL, NULL),
        GO_CASE_RECV(t->c, e),
        GO_CASE_RECV(t->quiet, NULL),
        GO_CASE_RECV(t->c, e),
    };
    int r;

    switch (way) {
    case TRANSFER_TRY:
        while ((r = go_chan_try_recv(t->c, e)) == -EAGAIN)
            go_yield();
        return r == 1;
    case TRANSFER_SELECT:
        r = go_select(cases, 4);
        CHECK(r == 1 || r == 3);
        return cases[r].ok;
    case TRANSFER_PLAIN:
    case TRANSFER_MIXED:
        break;
    }
    return go_chan_recv(t->c, e);
}

static inline void
transfer_sender(struct transfer *t, int id)
{
    unsigned char e[TRANSFER_SIZE_MAX];

    for (uint32_t i = 0; i < t->each; i++) {
        transfer_write(t, e, id, i);
        transfer_send(t, transfer_way(t, i + (uint32_t)id), e);
    }
    go_wg_done(&t->sending);
}

static inline void
transfer_receiver(struct transfer *t, int id)
{
    unsigned char e[TRANSFER_SIZE_MAX];
    uint32_t last[TRANSFER_SENDERS_MAX] = {0}, turn = (uint32_t)id;

    for (;;) {
        enum transfer_way way = transfer_way(t, turn++);

        /* On an unbuffered channel two who only try never meet: one side has to wait. */
        if (way == TRANSFER_TRY && go_chan_cap(t->c) == 0)
            way = TRANSFER_PLAIN;
        if (!transfer_recv(t, way, e))
            break;
        transfer_check(t, e, last);
    }
    for (size_t i = 0; i < t->size; i++)
        if (e[i] != 0) {
            CHECK_INT(e[i], 0); /* a closed channel gives zero values */
            break;
        }
    go_wg_done(&t->receiving);
}

/* Set the counters and the channel up; the roles are then started by the caller. */
static inline void
transfer_init(struct transfer *t, size_t cap)
{
    memset(t->arrived, 0, sizeof(t->arrived));
    t->sending = (struct go_wg)GO_WG_INIT;
    t->receiving = (struct go_wg)GO_WG_INIT;
    t->c = go_chan_new(t->size, cap);
    t->quiet = go_chan_new(0, 0);
    t->seen = (unsigned char *)calloc((size_t)t->senders, t->each);
    REQUIRE(t->c != NULL && t->quiet != NULL && t->seen != NULL);
    go_wg_add(&t->sending, t->senders);
    go_wg_add(&t->receiving, t->receivers);
}

/* Wait for the roles, check that nothing was lost, and clean up. */
static inline void
transfer_finish(struct transfer *t)
{
    uint64_t total = 0;

    go_wg_wait(&t->sending);
    go_chan_close(t->c);
    go_wg_wait(&t->receiving);
    for (int i = 0; i < TRANSFER_SENDERS_MAX; i++)
        total += t->arrived[i];
    CHECK_INT(total, (uint64_t)t->senders * t->each);
    for (uint32_t i = 0; t->size >= 4 && i < (uint32_t)t->senders * t->each; i++)
        CHECK_INT(t->seen[i], 1);
    CHECK_INT(go_chan_len(t->c), 0);
    go_chan_unref(t->c);
    go_chan_unref(t->quiet);
    free(t->seen);
}

/* All roles as goroutines. */
static inline void
transfer_run(struct transfer *t, size_t cap)
{
    transfer_init(t, cap);
    for (int i = 0; i < t->receivers; i++)
        CHECK(go(transfer_receiver, t, i) > 0);
    for (int i = 0; i < t->senders; i++)
        CHECK(go(transfer_sender, t, i) > 0);
    transfer_finish(t);
}

#endif
