#include "proto/path.h"

#include <stdio.h>

/* snprintf's result, cut to what was really written. */
static size_t
path_advance(struct proto_path *p, int n)
{
    size_t before = p->len;
    size_t room = sizeof(p->text) - p->len - 1;

    p->len += (size_t)n < room ? (size_t)n : room;
    return before;
}

size_t
proto_path_name(struct proto_path *p, const char *name)
{
    return path_advance(p, snprintf(p->text + p->len, sizeof(p->text) - p->len, "%s%s",
                                    p->len > 0 ? "." : "", name));
}

size_t
proto_path_index(struct proto_path *p, size_t i)
{
    return path_advance(p,
                        snprintf(p->text + p->len, sizeof(p->text) - p->len, "[%zu]", i));
}

void
proto_path_pop(struct proto_path *p, size_t len)
{
    p->len = len;
    p->text[len] = '\0';
}
