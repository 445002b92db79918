/*
 * One YAML node into one member of a struct, by the key's type and bounds.
 */
#ifndef GOJOBD_CONFIG_VALUE_H
#define GOJOBD_CONFIG_VALUE_H

#include "config/config.h"
#include "config/keys.h"
#include "config/node.h"

/* Every type but CFG_MAP, CFG_LIST and CFG_SCHEDULES. path is the key's name in messages.
 * 0 or -EINVAL. */
int value_read(struct cfg_source *src, struct proto_arena *a, const struct cfg_key *key,
               const char *path, yaml_node_t *node, void *at);

/* A number as the key's type writes it. */
void value_format(const struct cfg_key *key, int64_t v, char out[48]);

#endif
