#include "proto/path.h"

#include <string.h>

/* Every field of every message passes here: no printf. */
static void
path_add(struct proto_path *p, const char *s, size_t n)
{
    size_t room = sizeof(p->text) - p->len - 1;

    if (n > room)
        n = room;
    memcpy(p->text + p->len, s, n);
    p->len += n;
    p->text[p->len] = '\0';
}

size_t
proto_path_name(struct proto_path *p, const char *name)
{
    size_t before = p->len;

    if (before > 0)
        path_add(p, ".", 1);
    path_add(p, name, strlen(name));
    return before;
}

size_t
proto_path_index(struct proto_path *p, size_t i)
{
    size_t before = p->len, n = 22;
    char text[22];

    text[--n] = ']';
    do {
        text[--n] = (char)('0' + i % 10);
        i /= 10;
    } while (i != 0);
    text[--n] = '[';
    path_add(p, text + n, sizeof(text) - n);
    return before;
}

void
proto_path_pop(struct proto_path *p, size_t len)
{
    p->len = len;
    p->text[len] = '\0';
}
