#include "config/node.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/number.h"

enum { VISITS_MAX = 200000 };

static void
set_text(struct cfg_source *src, size_t line, size_t column, const char *key,
         const char *message)
{
    struct cfg_err *e = src->err;

    e->line = (int)line;
    e->column = (int)column;
    (void)snprintf(e->key, sizeof(e->key), "%s", key);
    if (line == 0)
        (void)snprintf(e->text, sizeof(e->text), "%.256s: %s", src->name, message);
    else
        (void)snprintf(e->text, sizeof(e->text), "%.256s:%zu:%zu: %s%s%s", src->name,
                       line, column, key, key[0] != '\0' ? ": " : "", message);
}

int
node_fail(struct cfg_source *src, const yaml_node_t *node, const char *key,
          const char *fmt, ...)
{
    char message[320];
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(message, sizeof(message), fmt, ap);
    va_end(ap);
    if (node == NULL)
        set_text(src, 0, 0, key, message);
    else
        set_text(src, node->start_mark.line + 1, node->start_mark.column + 1, key,
                 message);
    return -EINVAL;
}

int
node_open(struct cfg_source *src, const char *text, size_t len)
{
    yaml_parser_t parser;
    yaml_document_t more;
    char message[200];
    int r = -EINVAL;

    if (!yaml_parser_initialize(&parser))
        return node_fail(src, NULL, "", "out of memory");
    yaml_parser_set_input_string(&parser, (const unsigned char *)text, len);
    if (!yaml_parser_load(&parser, &src->doc))
        goto wrong;
    if (!yaml_parser_load(&parser, &more)) {
        yaml_document_delete(&src->doc);
        goto wrong;
    }
    if (yaml_document_get_root_node(&more) != NULL) {
        set_text(src, more.start_mark.line + 1, more.start_mark.column + 1, "",
                 "a second document: only one is read");
        yaml_document_delete(&src->doc);
    } else {
        r = 0;
    }
    yaml_document_delete(&more);
    yaml_parser_delete(&parser);
    return r;

wrong:
    (void)snprintf(message, sizeof(message), "%s%s%s",
                   parser.problem == NULL ? "out of memory" : parser.problem,
                   parser.context == NULL ? "" : " ",
                   parser.context == NULL ? "" : parser.context);
    set_text(src, parser.problem_mark.line + 1, parser.problem_mark.column + 1, "",
             message);
    yaml_parser_delete(&parser);
    return -EINVAL;
}

const char *
node_kind(const yaml_node_t *node)
{
    if (node->type == YAML_MAPPING_NODE)
        return "a mapping";
    if (node->type == YAML_SEQUENCE_NODE)
        return "a list";
    return node_is_null(node) ? "nothing" : "text";
}

static bool
is_plain(const yaml_node_t *node)
{
    return node->type == YAML_SCALAR_NODE &&
           node->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
}

static bool
is_word(const yaml_node_t *node, const char *word)
{
    return node->data.scalar.length == strlen(word) &&
           memcmp(node->data.scalar.value, word, strlen(word)) == 0;
}

bool
node_is_null(const yaml_node_t *node)
{
    return is_plain(node) &&
           (is_word(node, "") || is_word(node, "~") || is_word(node, "null"));
}

/* A plain scalar's type is told by its looks. */
static json_t *
plain_to_json(const yaml_node_t *node)
{
    const char *s = (const char *)node->data.scalar.value;
    size_t len = node->data.scalar.length;
    char *end;
    double d;
    i128 v;

    if (node_is_null(node))
        return json_null();
    if (is_word(node, "true") || is_word(node, "false"))
        return json_boolean(s[0] == 't');
    if (i128_parse(s, len, &v) == 0 && i128_fits_int64(v))
        return json_integer((json_int_t)v);
    /* strtod knows more than numbers ("inf", "0x1"): what it may see is bounded first. */
    if (len > 0 && strspn(s, "+-.0123456789eE") == len &&
        strpbrk(s, "0123456789") != NULL && strpbrk(s, ".eE") != NULL) {
        d = strtod(s, &end);
        if (*end == '\0' && isfinite(d))
            return json_real(d);
    }
    return json_stringn(s, len);
}

static json_t *to_json(struct cfg_source *src, yaml_node_t *node, const char *key,
                       int depth);

static json_t *
mapping_to_json(struct cfg_source *src, yaml_node_t *node, const char *key, int depth)
{
    json_t *object = json_object();

    for (yaml_node_pair_t *p = node->data.mapping.pairs.start;
         object != NULL && p < node->data.mapping.pairs.top; p++) {
        yaml_node_t *k = yaml_document_get_node(&src->doc, p->key);
        yaml_node_t *v = yaml_document_get_node(&src->doc, p->value);
        const char *name = (const char *)k->data.scalar.value;
        json_t *value;

        if (k->type != YAML_SCALAR_NODE || strlen(name) != k->data.scalar.length) {
            (void)node_fail(src, k, key, "a key must be text");
        } else if (json_object_get(object, name) != NULL) {
            (void)node_fail(src, k, key, "%.60s is given twice", name);
        } else {
            value = to_json(src, v, key, depth);
            if (value != NULL && json_object_set_new(object, name, value) == 0)
                continue;
            if (value != NULL)
                (void)node_fail(src, k, key, "not valid text");
        }
        json_decref(object);
        return NULL;
    }
    return object;
}

static json_t *
sequence_to_json(struct cfg_source *src, yaml_node_t *node, const char *key, int depth)
{
    json_t *array = json_array();

    for (yaml_node_item_t *i = node->data.sequence.items.start;
         array != NULL && i < node->data.sequence.items.top; i++) {
        json_t *value = to_json(src, yaml_document_get_node(&src->doc, *i), key, depth);

        if (value == NULL || json_array_append_new(array, value) < 0) {
            json_decref(array);
            return NULL;
        }
    }
    return array;
}

static json_t *
to_json(struct cfg_source *src, yaml_node_t *node, const char *key, int depth)
{
    json_t *json;

    if (depth == 0 || ++src->visits > VISITS_MAX) {
        (void)node_fail(src, node, key, "nested too deep or too large");
        return NULL;
    }
    if (node->type == YAML_MAPPING_NODE)
        return mapping_to_json(src, node, key, depth - 1);
    if (node->type == YAML_SEQUENCE_NODE)
        return sequence_to_json(src, node, key, depth - 1);
    json = is_plain(node) ? plain_to_json(node)
                          : json_stringn((const char *)node->data.scalar.value,
                                         node->data.scalar.length);
    if (json == NULL)
        (void)node_fail(src, node, key, "not valid text");
    return json;
}

json_t *
node_to_json(struct cfg_source *src, yaml_node_t *node, const char *key)
{
    return to_json(src, node, key, NODE_DEPTH);
}

/* The member called name, of len characters, of a mapping. */
static yaml_node_pair_t *
find_pair(struct cfg_source *src, yaml_node_t *node, const char *name, size_t len)
{
    if (node->type != YAML_MAPPING_NODE)
        return NULL;
    for (yaml_node_pair_t *p = node->data.mapping.pairs.start;
         p < node->data.mapping.pairs.top; p++) {
        const yaml_node_t *k = yaml_document_get_node(&src->doc, p->key);

        if (k->type == YAML_SCALAR_NODE && k->data.scalar.length == len &&
            memcmp(k->data.scalar.value, name, len) == 0)
            return p;
    }
    return NULL;
}

const yaml_node_t *
node_locate(struct cfg_source *src, yaml_node_t *root, const char *path)
{
    const yaml_node_t *best = root;
    yaml_node_t *at = root;

    while (*path != '\0') {
        if (*path == '[') {
            size_t i = strtoul(path + 1, NULL, 10);
            yaml_node_item_t *items = at->data.sequence.items.start;

            if (at->type != YAML_SEQUENCE_NODE ||
                i >= (size_t)(at->data.sequence.items.top - items))
                break;
            at = yaml_document_get_node(&src->doc, items[i]);
            best = at;
            path += strcspn(path, "]");
            path += *path == ']';
        } else {
            size_t len = strcspn(path, ".[");
            yaml_node_pair_t *p = find_pair(src, at, path, len);

            if (p == NULL)
                break;
            best = yaml_document_get_node(&src->doc, p->key);
            at = yaml_document_get_node(&src->doc, p->value);
            path += len;
        }
        path += *path == '.';
    }
    return best;
}
