#include "config/value.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/nearest.h"
#include "proto/number.h"
#include "proto/units.h"

void
value_format(const struct cfg_key *key, int64_t v, char out[48])
{
    if (key->type == CFG_DURATION)
        units_format_duration(v, out);
    else if (key->type == CFG_SIZE)
        units_format_size((uint64_t)v, out);
    else
        (void)snprintf(out, 48, "%" PRId64, v);
}

static const char *
text_of(const yaml_node_t *node)
{
    return (const char *)node->data.scalar.value;
}

static const char *
expected_of(enum cfg_type type)
{
    switch (type) {
    case CFG_BOOL:
        return "true or false";
    case CFG_INT:
        return "a whole number";
    case CFG_REAL:
        return "a number";
    case CFG_MODE:
        return "an octal file mode like '0660'";
    case CFG_DURATION:
        return "a duration like 30s or 10m";
    case CFG_SIZE:
        return "a size like 64MiB";
    case CFG_STRING:
    case CFG_WORD:
        return "text";
    case CFG_STRINGS:
    case CFG_CIDRS:
    case CFG_LIST:
    case CFG_SCHEDULES:
        return "a list";
    case CFG_MAP:
        break;
    }
    return "a mapping";
}

static int
fail_expected(struct cfg_source *src, const yaml_node_t *node, const char *path,
              const char *expected)
{
    if (node->type != YAML_SCALAR_NODE || node_is_null(node))
        return node_fail(src, node, path, "expected %s, got %s", expected,
                         node_kind(node));
    return node_fail(src, node, path, "expected %s, got \"%.60s\"", expected,
                     text_of(node));
}

static int
fail_range(struct cfg_source *src, const yaml_node_t *node, const struct cfg_key *key,
           const char *path)
{
    char low[48], high[48];

    value_format(key, key->min, low);
    value_format(key, key->max, high);
    return node_fail(src, node, path, "%.60s is out of range, must be from %s to %s",
                     text_of(node), low, high);
}

static int
parse_int(const char *s, size_t len, int64_t *ret)
{
    i128 v;
    int r = i128_parse(s, len, &v);

    if (r < 0)
        return r;
    if (!i128_fits_int64(v))
        return -ERANGE;
    *ret = (int64_t)v;
    return 0;
}

static int
parse_octal(const char *s, size_t len, int64_t *ret)
{
    int64_t v = 0;

    if (len < 3 || len > 5)
        return -EINVAL;
    for (size_t i = 0; i < len; i++) {
        if (s[i] < '0' || s[i] > '7')
            return -EINVAL;
        v = v * 8 + (s[i] - '0');
    }
    *ret = v;
    return v > 0777 ? -EINVAL : 0;
}

static int
parse_size(const char *s, size_t len, int64_t *ret)
{
    uint64_t v;
    int r = units_parse_size(s, len, &v);

    if (r < 0)
        return r;
    if (v > INT64_MAX)
        return -ERANGE;
    *ret = (int64_t)v;
    return 0;
}

/* The types that end up as a whole number. */
static int
read_int(struct cfg_source *src, const struct cfg_key *key, const char *path,
         const yaml_node_t *node, int64_t *ret)
{
    const char *s = text_of(node);
    size_t len = node->data.scalar.length;
    int64_t v;
    int r;

    if (key->type == CFG_DURATION)
        r = units_parse_duration(s, len, &v);
    else if (key->type == CFG_SIZE)
        r = parse_size(s, len, &v);
    else if (key->type == CFG_MODE)
        r = parse_octal(s, len, &v);
    else
        r = parse_int(s, len, &v);
    if (r == -EINVAL)
        return fail_expected(src, node, path, expected_of(key->type));
    if (r < 0 || (key->type != CFG_MODE && (v < key->min || v > key->max)))
        return fail_range(src, node, key, path);
    *ret = v;
    return 0;
}

static int
read_real(struct cfg_source *src, const struct cfg_key *key, const char *path,
          const yaml_node_t *node, double *ret)
{
    const char *s = text_of(node);
    size_t len = node->data.scalar.length;
    char *end;
    double v;

    if (len == 0 || strspn(s, "+-.0123456789eE") != len)
        return fail_expected(src, node, path, "a number");
    v = strtod(s, &end);
    if (*end != '\0')
        return fail_expected(src, node, path, "a number");
    if (!(v >= (double)key->min && v <= (double)key->max))
        return fail_range(src, node, key, path);
    *ret = v;
    return 0;
}

static int
read_word(struct cfg_source *src, const struct cfg_key *key, const char *path,
          const yaml_node_t *node, int *ret)
{
    struct nearest near = {.word = text_of(node)};
    char known[160] = "";

    for (int i = 0; key->words[i] != NULL; i++) {
        if (strcmp(text_of(node), key->words[i]) == 0) {
            *ret = i;
            return 0;
        }
        nearest_offer(&near, key->words[i]);
        if (i > 0)
            strncat(known, ", ", sizeof(known) - strlen(known) - 1);
        strncat(known, key->words[i], sizeof(known) - strlen(known) - 1);
    }
    if (near.best != NULL)
        return node_fail(src, node, path, "unknown value \"%.60s\", did you mean \"%s\"?",
                         text_of(node), near.best);
    return node_fail(src, node, path, "unknown value \"%.60s\", expected one of %s",
                     text_of(node), known);
}

static int
read_bool(struct cfg_source *src, const char *path, const yaml_node_t *node, bool *ret)
{
    const char *s = text_of(node);

    if (strcmp(s, "true") != 0 && strcmp(s, "false") != 0)
        return fail_expected(src, node, path, "true or false");
    *ret = s[0] == 't';
    return 0;
}

static int
read_string(struct cfg_source *src, struct proto_arena *a, const char *path,
            const yaml_node_t *node, char **ret)
{
    if (node->type != YAML_SCALAR_NODE || node_is_null(node))
        return fail_expected(src, node, path, "text");
    if (strlen(text_of(node)) != node->data.scalar.length)
        return node_fail(src, node, path, "a NUL character is not allowed");
    *ret = proto_arena_dup(a, text_of(node), node->data.scalar.length);
    return *ret == NULL ? node_fail(src, node, path, "the file is too large") : 0;
}

static int
read_cidr(struct cfg_source *src, const char *path, const yaml_node_t *node,
          struct cidr *ret)
{
    int r;

    if (node->type != YAML_SCALAR_NODE)
        return fail_expected(src, node, path, "an address range like 10.0.0.0/8");
    r = cidr_parse(text_of(node), node->data.scalar.length, ret);
    if (r == -EDOM)
        return node_fail(src, node, path, "\"%.60s\" has bits set behind its prefix",
                         text_of(node));
    if (r < 0)
        return fail_expected(src, node, path, "an address range like 10.0.0.0/8");
    return 0;
}

/* CFG_STRINGS and CFG_CIDRS: both structs are an array and its length. */
static int
read_items(struct cfg_source *src, struct proto_arena *a, const struct cfg_key *key,
           const char *path, const yaml_node_t *node, void *at)
{
    size_t n, size = key->type == CFG_CIDRS ? sizeof(struct cidr) : sizeof(char *);
    char *items;

    if (node->type != YAML_SEQUENCE_NODE)
        return fail_expected(src, node, path, "a list");
    n = (size_t)(node->data.sequence.items.top - node->data.sequence.items.start);
    items = proto_arena_alloc(a, n * size);
    if (items == NULL)
        return node_fail(src, node, path, "the list is too long");
    for (size_t i = 0; i < n; i++) {
        const yaml_node_t *item =
            yaml_document_get_node(&src->doc, node->data.sequence.items.start[i]);
        void *to = items + i * size;
        char name[192];
        int r;

        (void)snprintf(name, sizeof(name), "%s[%zu]", path, i);
        r = key->type == CFG_CIDRS ? read_cidr(src, name, item, to)
                                   : read_string(src, a, name, item, to);
        if (r < 0)
            return r;
    }
    if (key->type == CFG_CIDRS) {
        ((struct cidr_list *)at)->items = (struct cidr *)(void *)items;
        ((struct cidr_list *)at)->n = n;
    } else {
        ((struct cfg_strings *)at)->items = (char **)(void *)items;
        ((struct cfg_strings *)at)->n = n;
    }
    return 0;
}

int
value_read(struct cfg_source *src, struct proto_arena *a, const struct cfg_key *key,
           const char *path, yaml_node_t *node, void *at)
{
    if (key->type == CFG_STRINGS || key->type == CFG_CIDRS)
        return read_items(src, a, key, path, node, at);
    if (node->type != YAML_SCALAR_NODE || node_is_null(node))
        return fail_expected(src, node, path, expected_of(key->type));
    switch (key->type) {
    case CFG_BOOL:
        return read_bool(src, path, node, at);
    case CFG_INT:
    case CFG_MODE:
    case CFG_DURATION:
    case CFG_SIZE:
        return read_int(src, key, path, node, at);
    case CFG_REAL:
        return read_real(src, key, path, node, at);
    case CFG_STRING:
        return read_string(src, a, path, node, at);
    case CFG_WORD:
        return read_word(src, key, path, node, at);
    case CFG_STRINGS:
    case CFG_CIDRS:
    case CFG_MAP:
    case CFG_LIST:
    case CFG_SCHEDULES:
        break;
    }
    return node_fail(src, node, path, "not a single value");
}
