/*
 * What a context switch must keep: live values in registers, the stack, its alignment, and
 * the arguments of a new goroutine. Prints TAP by itself, without cmocka, so that it also
 * runs cross-compiled under an emulator, and under Valgrind.
 */
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "runtime/go.h"

#define GOROUTINES 64
#define ROUNDS     200
#define DEPTH      100

static int wrong; /* atomic: goroutines that found something amiss */

static void
expect(bool ok)
{
    if (!ok)
        __atomic_fetch_add(&wrong, 1, __ATOMIC_RELAXED);
}

static void
maybe_yield(bool yield)
{
    if (yield)
        go_yield();
}

/* More live values than there are callee-saved registers, all changed between switches and
 * mixed into one result. */
static uint64_t
mix_integers(uint64_t seed, bool yield)
{
    uint64_t a = seed, b = a * 3, c = b * 5, d = c * 7, e = d * 11, f = e * 13,
             g = f * 17, h = g * 19, i = h * 23, j = i * 29, k = j * 31, l = k * 37;

    for (int n = 0; n < ROUNDS; n++) {
        maybe_yield(yield);
        a += b ^ (uint64_t)n, b += c, c ^= d, d += e, e ^= f, f += g;
        maybe_yield(yield);
        g ^= h, h += i, i ^= j, j += k, k ^= l, l += a;
    }
    return a ^ b ^ c ^ d ^ e ^ f ^ g ^ h ^ i ^ j ^ k ^ l;
}

static double
mix_doubles(uint64_t seed, bool yield)
{
    double a = (double)seed, b = a + 1, c = b + 1, d = c + 1, e = d + 1, f = e + 1,
           g = f + 1, h = g + 1, i = h + 1, j = i + 1;

    for (int n = 0; n < ROUNDS; n++) {
        maybe_yield(yield);
        a = a / 2 + b, b = b / 2 + c, c = c / 2 + d, d = d / 2 + e, e = e / 2 + f;
        maybe_yield(yield);
        f = f / 2 + g, g = g / 2 + h, h = h / 2 + i, i = i / 2 + j, j = j / 2 + a / 4096;
    }
    return a + b + c + d + e + f + g + h + i + j;
}

static void
integers(int64_t seed)
{
    expect(mix_integers((uint64_t)seed, true) == mix_integers((uint64_t)seed, false));
}

static void
doubles(int64_t seed)
{
    double switched = mix_doubles((uint64_t)seed, true);
    double straight = mix_doubles((uint64_t)seed, false);

    expect(switched >= straight && switched <= straight);
}

/* Each frame stays what it was while deeper ones come and go. */
static uint64_t
deep(int depth, uint64_t seed)
{
    volatile uint64_t frame[16];
    uint64_t below = 0;

    for (int i = 0; i < 16; i++)
        frame[i] = seed + (uint64_t)i;
    go_yield();
    if (depth > 0)
        below = deep(depth - 1, seed + 16);
    go_yield();
    for (int i = 0; i < 16; i++)
        expect(frame[i] == seed + (uint64_t)i);
    return below + 1;
}

static void
stacks(int64_t seed)
{
    expect(deep(DEPTH, (uint64_t)seed << 32) == DEPTH + 1);
}

static void
alignment(int64_t seed)
{
    _Alignas(16) volatile char here[16];

    here[0] = (char)seed;
    go_yield();
    expect((uintptr_t)here % 16 == 0 && here[0] == (char)seed);
}

/* All six arguments, negative and beyond 32 bits. */
static void
six(int64_t a, const void *b, int c, uint64_t d, short e, bool f)
{
    expect(a == INT64_MIN && b == &wrong && c == -3 && d == UINT64_MAX - 4 && e == -5 &&
           f);
}

static void
arguments(int64_t seed)
{
    struct go_wg wg = GO_WG_INIT;

    expect(seed >= 0 &&
           go_wg_go(&wg, six, INT64_MIN, &wrong, -3, UINT64_MAX - 4, -5, true) > 0);
    go_wg_wait(&wg);
}

static const struct {
    const char *name;
    void (*fn)(int64_t seed);
} cases[] = {
    {"integers_in_registers_survive_a_switch", integers},
    {"doubles_in_registers_survive_a_switch", doubles},
    {"deep_stacks_survive_a_switch", stacks},
    {"stacks_are_aligned_to_16_bytes", alignment},
    {"a_goroutine_gets_its_six_arguments", arguments},
};
#define CASES (sizeof(cases) / sizeof(cases[0]))

static int
run(int argc, char **argv)
{
    int failed = 0;

    (void)argc;
    (void)argv;
    printf("1..%zu\n", CASES);
    for (size_t i = 0; i < CASES; i++) {
        struct go_wg wg = GO_WG_INIT;

        wrong = 0;
        for (int64_t seed = 0; seed < GOROUTINES; seed++)
            expect(go_wg_go(&wg, cases[i].fn, seed) > 0);
        go_wg_wait(&wg);
        printf("%sok %zu - %s\n", wrong ? "not " : "", i + 1, cases[i].name);
        failed += wrong != 0;
    }
    return failed != 0;
}

int
main(int argc, char **argv)
{
    return go_main(run, argc, argv);
}
