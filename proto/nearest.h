/*
 * "Did you mean": the known name that is nearest to a mistyped one.
 */
#ifndef GOJOBD_PROTO_NEAREST_H
#define GOJOBD_PROTO_NEAREST_H

#include <stddef.h>

/* Collects candidates one by one; start from {.word = typed}. */
struct nearest {
    const char *word;
    const char *best; /* NULL: nothing is near enough */
    unsigned dist;
};

/* Insertions, deletions, replacements and swapped neighbours that turn a into b, capped at
 * 64 characters each. Upper and lower case are the same. */
unsigned nearest_distance(const char *a, const char *b);

/* candidate must outlive n. At most a third of the letters may be wrong. */
void nearest_offer(struct nearest *n, const char *candidate);

#endif
