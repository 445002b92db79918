#include "daemon/idset.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>

struct idset_node {
    struct idset_node *next;
    uint32_t id;
};

int
idset_add(struct idset *s, uint32_t id)
{
    struct idset_node *n = malloc(sizeof(*n));

    if (n == NULL)
        return -ENOMEM;
    n->id = id;
    n->next = s->heads[id % IDSET_HEADS];
    s->heads[id % IDSET_HEADS] = n;
    return 0;
}

void
idset_drop(struct idset *s, uint32_t id)
{
    struct idset_node **link = &s->heads[id % IDSET_HEADS], *n;

    while (*link != NULL && (*link)->id != id)
        link = &(*link)->next;
    n = *link;
    if (n != NULL)
        *link = n->next;
    free(n);
}

bool
idset_has(const struct idset *s, uint32_t id)
{
    const struct idset_node *n = s->heads[id % IDSET_HEADS];

    while (n != NULL && n->id != id)
        n = n->next;
    return n != NULL;
}

void
idset_fini(struct idset *s)
{
    for (uint32_t i = 0; i < IDSET_HEADS; i++)
        while (s->heads[i] != NULL)
            idset_drop(s, s->heads[i]->id);
}
