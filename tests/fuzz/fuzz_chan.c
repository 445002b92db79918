/*
 * Channels and select against a model: two channels, and the input as a list of
 * operations on them. Nothing parks: only what must happen at once is tried, from a thread
 * that the runtime did not start.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/base/check.h"
#include "runtime/go.h"

#define CAP_MAX 7

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A channel, and what it should hold: buf[0] is the oldest. */
struct pair {
    struct go_chan *c;
    uint32_t buf[CAP_MAX];
    size_t len, cap;
    bool closed;
};

static void
model_push(struct pair *p, uint32_t v)
{
    p->buf[p->len++] = v;
}

static uint32_t
model_pop(struct pair *p)
{
    uint32_t v = p->buf[0];

    p->len--;
    memmove(p->buf, p->buf + 1, p->len * sizeof(p->buf[0]));
    return v;
}

/* What was received must be the oldest element, or zero after the last of a closed one. */
static void
received(struct pair *p, uint32_t v, bool ok)
{
    if (p->len > 0) {
        ENSURE(ok);
        ENSURE(v == model_pop(p));
    } else {
        ENSURE(p->closed && !ok && v == 0);
    }
}

static void
try_send(struct pair *p, uint32_t v)
{
    if (p->closed)
        return; /* would panic, as it should */
    if (p->len < p->cap) {
        ENSURE(go_chan_try_send(p->c, &v) == 1);
        model_push(p, v);
    } else {
        ENSURE(go_chan_try_send(p->c, &v) == -EAGAIN);
    }
}

static void
try_recv(struct pair *p)
{
    uint32_t v = 0xdead;
    int r = go_chan_try_recv(p->c, &v);

    if (p->len == 0 && !p->closed)
        ENSURE(r == -EAGAIN && v == 0xdead);
    else
        received(p, v, r == 1);
}

/* Receive from a, or send to b: whichever select takes must have been possible. */
static void
select_both(struct pair *a, struct pair *b, uint32_t v)
{
    uint32_t got = 0;
    struct go_case cases[] = {GO_CASE_RECV(a->c, &got), GO_CASE_SEND(b->c, &v)};
    size_t n = b->closed ? 1 : 2;

    switch (go_select_default(cases, n)) {
    case 0:
        received(a, got, cases[0].ok);
        break;
    case 1:
        ENSURE(b->len < b->cap);
        model_push(b, v);
        break;
    case -EAGAIN:
        ENSURE(a->len == 0 && !a->closed);
        ENSURE(n == 1 || b->len == b->cap);
        break;
    default:
        ENSURE(false);
    }
}

static void
step(struct pair *p, struct pair *other, uint8_t op, uint32_t serial)
{
    switch (op % 8) {
    case 0:
    case 1:
    case 2:
        try_send(p, serial);
        break;
    case 3:
    case 4:
        try_recv(p);
        break;
    case 5:
        select_both(p, other, serial);
        break;
    case 6:
        select_both(p, p, serial);
        break;
    default:
        if (op >= 0xf0 && !p->closed) {
            go_chan_close(p->c);
            p->closed = true;
        }
    }
    ENSURE(go_chan_len(p->c) == p->len && go_chan_cap(p->c) == p->cap);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pair pairs[2] = {{.c = NULL}, {.c = NULL}};

    if (size < 1)
        return 0;
    for (int i = 0; i < 2; i++) {
        pairs[i].cap = (size_t)(data[0] >> (4 * i)) & CAP_MAX;
        pairs[i].c = go_chan_new(sizeof(uint32_t), pairs[i].cap);
        ENSURE(pairs[i].c != NULL);
    }
    for (size_t i = 1; i < size; i++)
        step(&pairs[data[i] >> 3 & 1], &pairs[~data[i] >> 3 & 1], data[i], (uint32_t)i);
    go_chan_unref(pairs[0].c);
    go_chan_unref(pairs[1].c);
    return 0;
}
