/*
 * Sums without error: integers in 192 bits, doubles in an accumulator as wide as all doubles
 * (Radford Neal's small superaccumulator, arXiv:1505.05571). Nothing is rounded before the
 * end, so the result depends neither on the order of the terms nor on how they were split.
 *
 * Lifecycle  init -> add ..., merge -> result, any time. Plain memory: copy it, drop it.
 */
#ifndef GOJOBD_JOBS_SUM_EXACT_H
#define GOJOBD_JOBS_SUM_EXACT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/number.h"

enum {
    EXACT_LIMBS = 70, /* of 32 bits: 2^-1074 to 2^1023, and 2^64 terms */
    EXACT_ROOM = 1023 /* doubles added before carries must move on */
};

struct exact {
    uint64_t count;

    /* The integers: two's complement, low and high. */
    unsigned __int128 low;
    int64_t high;

    /* The doubles. Limb i weighs 2^(32 i - 1074); limbs are signed and overlap. */
    uint64_t reals; /* how many were added */
    int room;       /* doubles that still fit before carries must be moved */
    bool nan, plus_inf, minus_inf;
    int64_t limb[EXACT_LIMBS];
};

void exact_init(struct exact *x);
void exact_add_int(struct exact *x, i128 v);
/* The sum of count integers. */
void exact_add_sum(struct exact *x, i128 sum, uint64_t count);
void exact_add_int64s(struct exact *x, const int64_t *v, size_t n);
void exact_add_double(struct exact *x, double v);
void exact_add_doubles(struct exact *x, const double *v, size_t n);
void exact_merge(struct exact *x, const struct exact *other);

/* The integers alone. False when they left 128 bits. */
bool exact_int(const struct exact *x, i128 *ret);

/* All of it, rounded once, to nearest, ties to even. */
double exact_double(const struct exact *x);

#endif
