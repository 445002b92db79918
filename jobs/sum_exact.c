#include "jobs/sum_exact.h"

#include <math.h>
#include <string.h>

typedef unsigned __int128 u128;

#define MANTISSA 52
#define ONE      1074 /* the bit that weighs 2^0 */
#define LIMB     32
#define MASK     0xffffffffU

void
exact_init(struct exact *x)
{
    memset(x, 0, sizeof(*x));
    x->room = EXACT_ROOM;
}

static void
add_wide(struct exact *x, u128 low, int64_t high)
{
    x->low += low;
    x->high += high + (x->low < low);
}

void
exact_add_int(struct exact *x, i128 v)
{
    exact_add_sum(x, v, 1);
}

void
exact_add_sum(struct exact *x, i128 sum, uint64_t count)
{
    add_wide(x, (u128)sum, sum < 0 ? -1 : 0);
    x->count += count;
}

/* Halves are summed apart: neither sum can overflow within a block, and the loop has no
 * carries, so that the compiler can make it a vector's. */
void
exact_add_int64s(struct exact *x, const int64_t *v, size_t n)
{
    const size_t block = (size_t)1 << 30;

    x->count += n;
    while (n > 0) {
        size_t m = n < block ? n : block;
        uint64_t low = 0;
        int64_t high = 0;
        i128 sum;

        for (size_t i = 0; i < m; i++) {
            low += (uint64_t)v[i] & MASK;
            high += (int32_t)(v[i] >> LIMB);
        }
        sum = (i128)high * ((i128)1 << LIMB) + (i128)low;
        add_wide(x, (u128)sum, sum < 0 ? -1 : 0);
        v += m;
        n -= m;
    }
}

/* Leaves every limb but the last within 32 bits, with the sum unchanged. */
static void
carry(struct exact *x)
{
    int64_t c = 0;

    for (int i = 0; i < EXACT_LIMBS - 1; i++) {
        int64_t v = x->limb[i] + c;

        c = v >> LIMB;
        x->limb[i] = v & MASK;
    }
    x->limb[EXACT_LIMBS - 1] += c;
    x->room = EXACT_ROOM;
}

static void
add_special(struct exact *x, double v)
{
    if (isnan(v))
        x->nan = true;
    else if (v > 0)
        x->plus_inf = true;
    else
        x->minus_inf = true;
}

static inline void
add_double(struct exact *x, double v)
{
    uint64_t bits, m;
    unsigned exponent, shift;
    int64_t low, high, sign;
    int64_t *limb;

    memcpy(&bits, &v, sizeof(bits));
    exponent = (unsigned)(bits >> MANTISSA) & 0x7ff;
    m = bits & ((UINT64_C(1) << MANTISSA) - 1);
    if (__builtin_expect(exponent == 0x7ff, 0)) {
        add_special(x, v);
        return;
    }
    if (exponent != 0) {
        m |= UINT64_C(1) << MANTISSA;
        exponent--;
    }
    shift = exponent % LIMB;
    limb = &x->limb[exponent / LIMB];
    low = (int64_t)((m << shift) & MASK);
    high = (int64_t)(m >> (LIMB - shift));
    sign = -(int64_t)(bits >> 63);
    limb[0] += (low ^ sign) - sign;
    limb[1] += (high ^ sign) - sign;
}

void
exact_add_doubles(struct exact *x, const double *v, size_t n)
{
    x->count += n;
    x->reals += n;
    while (n > 0) {
        size_t m;

        if (x->room == 0)
            carry(x);
        m = n < (size_t)x->room ? n : (size_t)x->room;
        for (size_t i = 0; i < m; i++)
            add_double(x, v[i]);
        x->room -= (int)m;
        v += m;
        n -= m;
    }
}

void
exact_add_double(struct exact *x, double v)
{
    exact_add_doubles(x, &v, 1);
}

static void
merge_limbs(struct exact *x, struct exact o)
{
    carry(x);
    carry(&o);
    for (int i = 0; i < EXACT_LIMBS; i++)
        x->limb[i] += o.limb[i];
    carry(x);
}

void
exact_merge(struct exact *x, const struct exact *other)
{
    if (other->reals > 0)
        merge_limbs(x, *other);
    add_wide(x, other->low, other->high);
    x->count += other->count;
    x->reals += other->reals;
    x->nan |= other->nan;
    x->plus_inf |= other->plus_inf;
    x->minus_inf |= other->minus_inf;
}

bool
exact_int(const struct exact *x, i128 *ret)
{
    i128 v = (i128)x->low;

    if (x->high != (v < 0 ? -1 : 0))
        return false;
    *ret = v;
    return true;
}

/* Adds 32 bits of weight 2^(bit - 1074), with a sign. */
static void
add_piece(struct exact *x, uint32_t piece, int bit, int64_t sign)
{
    uint64_t m = (uint64_t)piece << (bit % LIMB);

    x->limb[bit / LIMB] += sign * (int64_t)(m & MASK);
    x->limb[bit / LIMB + 1] += sign * (int64_t)(m >> LIMB);
}

/* Moves the integers into the limbs. */
static void
add_ints(struct exact *x)
{
    u128 low = x->low;
    uint64_t high = (uint64_t)x->high;
    int64_t sign = 1;

    if (x->high < 0) {
        sign = -1;
        low = ~low + 1;
        high = ~high + (low == 0);
    }
    for (int i = 0; i < 4; i++)
        add_piece(x, (uint32_t)(low >> (LIMB * i)), ONE + LIMB * i, sign);
    for (int i = 0; i < 2; i++)
        add_piece(x, (uint32_t)(high >> (LIMB * i)), ONE + 128 + LIMB * i, sign);
    carry(x);
}

/* Turns carried limbs into a magnitude; true if it was negative. */
static bool
make_magnitude(struct exact *x)
{
    if (x->limb[EXACT_LIMBS - 1] >= 0)
        return false;
    for (int i = 0; i < EXACT_LIMBS; i++)
        x->limb[i] = -x->limb[i];
    carry(x);
    return true;
}

/* n bits of a magnitude, from bit on. n <= 64. */
static uint64_t
bits_at(const struct exact *x, int bit, int n)
{
    uint64_t v = 0;

    for (int i = 0; i < n; i++) {
        int b = bit + i;

        v |= (uint64_t)((x->limb[b / LIMB] >> (b % LIMB)) & 1) << i;
    }
    return v;
}

static bool
any_below(const struct exact *x, int bit)
{
    for (int i = 0; i < bit / LIMB; i++)
        if (x->limb[i] != 0)
            return true;
    return (x->limb[bit / LIMB] & ((INT64_C(1) << (bit % LIMB)) - 1)) != 0;
}

static double
round_magnitude(const struct exact *x)
{
    int top = EXACT_LIMBS - 1, msb, last;
    uint64_t m;

    while (top >= 0 && x->limb[top] == 0)
        top--;
    if (top < 0)
        return 0.0;
    msb = top * LIMB + 63 - __builtin_clzll((uint64_t)x->limb[top]);
    if (msb <= MANTISSA)
        return ldexp((double)bits_at(x, 0, MANTISSA + 1), -ONE);
    last = msb - MANTISSA;
    m = bits_at(x, last, MANTISSA + 1);
    if (bits_at(x, last - 1, 1) != 0 && ((m & 1) != 0 || any_below(x, last - 1)))
        m++;
    return ldexp((double)m, last - ONE);
}

double
exact_double(const struct exact *x)
{
    struct exact t = *x;
    bool negative;
    double v;

    if (t.nan || (t.plus_inf && t.minus_inf))
        return (double)NAN;
    if (t.plus_inf || t.minus_inf)
        return t.plus_inf ? (double)INFINITY : -(double)INFINITY;
    carry(&t);
    add_ints(&t);
    negative = make_magnitude(&t);
    v = round_magnitude(&t);
    return negative ? -v : v;
}
