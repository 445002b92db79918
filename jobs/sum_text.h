/*
 * Numbers in decimal text, into an exact sum. Never parks.
 */
#ifndef GOJOBD_JOBS_SUM_TEXT_H
#define GOJOBD_JOBS_SUM_TEXT_H

#include <stdbool.h>
#include <stddef.h>

#include "jobs/sum_exact.h"

enum {
    NUMBER_MAX = 4096, /* characters of one number */
    NUMBER_SLACK = 8   /* bytes behind the text that may be read, whatever they hold */
};

/* Adds one number that takes all of s, with NUMBER_SLACK bytes behind it: an integer of up to
 * 128 bits ("-5", "+7"), a decimal ("1.5", ".5", "1e3"), "inf", "infinity", "nan" in any case.
 * 0; -EINVAL: none of these; -ERANGE: an integer beyond 128 bits. */
int number_add(struct exact *x, const char *s, size_t len);

/* Adds the numbers, between white space, that begin in the first stop bytes of the text and
 * end within it; when more is false, its end ends the last one. *used is the offset at which
 * to go on: of a number cut off at the end, or of the one that could not be added.
 * 0, -EINVAL, -ERANGE. */
int numbers_add(struct exact *x, const char *s, size_t len, size_t stop, bool more,
                size_t *used);

/* True for the white space that separates numbers: space, \t \n \v \f \r. */
static inline bool
number_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

#endif
