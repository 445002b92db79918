/*
 * A YAML document in memory: positions for messages, and plain values as JSON.
 */
#ifndef GOJOBD_CONFIG_NODE_H
#define GOJOBD_CONFIG_NODE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <yaml.h>

#include "config/config.h"

enum { NODE_DEPTH = 32 };

/* Where the configuration is being read: for messages. */
struct cfg_source {
    const char *name; /* of the file */
    yaml_document_t doc;
    struct cfg_err *err;
    unsigned visits; /* nodes looked at: aliases can multiply a small file */
};

/* Parses text into src->doc, to be deleted by yaml_document_delete(). 0 or -EINVAL. */
int node_open(struct cfg_source *src, const char *text, size_t len);

/* Sets src->err and returns -EINVAL. node (may be NULL) gives line and column. */
int node_fail(struct cfg_source *src, const yaml_node_t *node, const char *key,
              const char *fmt, ...) __attribute__((format(printf, 4, 5)));

/* "a mapping", "a list", "text": what a message says the node is. */
const char *node_kind(const yaml_node_t *node);

/* Nothing, or an unquoted null or ~. */
bool node_is_null(const yaml_node_t *node);

/* A new reference to the node as JSON, by the types of YAML's core schema; NULL with err set.
 * key is the path for messages. */
json_t *node_to_json(struct cfg_source *src, yaml_node_t *node, const char *key);

/* The node that a path below root, "jobs[0].fetch.url", leads to, or the last one on the way
 * that exists. For a mapping's member that is its key, so that messages point there. */
const yaml_node_t *node_locate(struct cfg_source *src, yaml_node_t *root,
                               const char *path);

#endif
