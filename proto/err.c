#include "proto/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int
proto_err_set(struct proto_err *e, int r, const char *field, const char *fmt, ...)
{
    va_list ap;
    size_t n = 0;

    if (field == NULL)
        field = "";
    (void)snprintf(e->field, sizeof(e->field), "%s", field);
    e->text[0] = '\0';
    if (field[0] != '\0') {
        (void)snprintf(e->text, sizeof(e->text), "%s: ", field);
        n = strlen(e->text);
    }
    va_start(ap, fmt);
    (void)vsnprintf(e->text + n, sizeof(e->text) - n, fmt, ap);
    va_end(ap);
    return r;
}
