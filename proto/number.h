/*
 * Exact integers of up to 128 bits as decimal text: what sums are made of beyond int64.
 */
#ifndef GOJOBD_PROTO_NUMBER_H
#define GOJOBD_PROTO_NUMBER_H

#include <stdbool.h>
#include <stddef.h>

typedef __int128 i128;

enum { I128_TEXT_MAX = 41 }; /* sign, 39 digits and NUL */

/* All of len bytes: an optional sign and digits. 0, -EINVAL, -ERANGE. */
int i128_parse(const char *s, size_t len, i128 *ret);

/* Canonical: no plus, no leading zeros. Returns the length. */
size_t i128_format(i128 v, char out[I128_TEXT_MAX]);

bool i128_fits_int64(i128 v);

/* The shortest decimal that reads back as the same double, with a point or an exponent
 * ("55.0", "0.1", "1e+300"); "NaN", "Infinity", "-Infinity". Returns the length. */
enum { DOUBLE_TEXT_MAX = 32 };
size_t double_format(double v, char out[DOUBLE_TEXT_MAX]);

#endif
