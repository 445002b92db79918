#include "proto/nearest.h"

#include <ctype.h>
#include <string.h>

enum { WORD_MAX = 64 };

static unsigned
min3(unsigned a, unsigned b, unsigned c)
{
    unsigned m = a < b ? a : b;

    return m < c ? m : c;
}

static int
lower(char c)
{
    return tolower((unsigned char)c);
}

unsigned
nearest_distance(const char *a, const char *b)
{
    /* Three rows of the matrix: before last, last, current. */
    unsigned rows[3][WORD_MAX + 1];
    unsigned *two = rows[0], *one = rows[1], *cur = rows[2], *t;
    size_t na = strnlen(a, WORD_MAX), nb = strnlen(b, WORD_MAX);

    for (size_t j = 0; j <= nb; j++) {
        two[j] = 0;
        one[j] = (unsigned)j;
    }
    for (size_t i = 1; i <= na; i++) {
        cur[0] = (unsigned)i;
        for (size_t j = 1; j <= nb; j++) {
            unsigned same = lower(a[i - 1]) == lower(b[j - 1]) ? 0 : 1;

            cur[j] = min3(one[j] + 1, cur[j - 1] + 1, one[j - 1] + same);
            if (i > 1 && j > 1 && lower(a[i - 1]) == lower(b[j - 2]) &&
                lower(a[i - 2]) == lower(b[j - 1]) && two[j - 2] + 1 < cur[j])
                cur[j] = two[j - 2] + 1;
        }
        t = two;
        two = one;
        one = cur;
        cur = t;
    }
    return one[nb];
}

void
nearest_offer(struct nearest *n, const char *candidate)
{
    size_t len = strlen(n->word), clen = strlen(candidate);
    unsigned most = (unsigned)((len > clen ? len : clen) / 3);
    unsigned d;

    if (len > WORD_MAX)
        return;
    if (most == 0)
        most = 1;
    d = nearest_distance(n->word, candidate);
    if (d <= most && d < clen && (n->best == NULL || d < n->dist)) {
        n->best = candidate;
        n->dist = d;
    }
}
