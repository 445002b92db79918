/*
 * Dumps say how long a goroutine has waited, from a second on: on a machine that is busy with
 * other things any may have.
 */
#ifndef GOJOBD_TESTS_SUPPORT_AGES_H
#define GOJOBD_TESTS_SUPPORT_AGES_H

#include <string.h>

/* The length of ", 1.2 s", ", 1 minute" or ", 3 minutes" at s, else 0. */
static inline size_t
age_length(const char *s)
{
    static const char *const units[] = {" s", " minutes", " minute"};
    size_t n = strncmp(s, ", ", 2) == 0 ? strspn(s + 2, "0123456789.") : 0;

    if (n == 0)
        return 0;
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        size_t len = strlen(units[i]);

        if (strncmp(s + 2 + n, units[i], len) == 0)
            return 2 + n + len;
    }
    return 0;
}

/* Take them out of a dump's headings. */
static inline void
without_ages(char *text)
{
    char *to = text;

    while (*text != '\0') {
        size_t n = age_length(text);

        if (n > 0)
            text += n;
        else
            *to++ = *text++;
    }
    *to = '\0';
}

#endif
