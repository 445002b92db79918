/*
 * A set of numbers, such as the ids of the connections that stand. Zeroed, it is empty. Not
 * locked: its owner does that.
 */
#ifndef GOJOBD_DAEMON_IDSET_H
#define GOJOBD_DAEMON_IDSET_H

#include <stdbool.h>
#include <stdint.h>

#define IDSET_HEADS 1024

struct idset {
    struct idset_node *heads[IDSET_HEADS];
};

/* 0 or -ENOMEM. */
int idset_add(struct idset *s, uint32_t id);
void idset_drop(struct idset *s, uint32_t id);
bool idset_has(const struct idset *s, uint32_t id);
void idset_fini(struct idset *s);

#endif
