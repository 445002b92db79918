#include "config/config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config/check.h"
#include "config/keys.h"
#include "config/node.h"
#include "config/value.h"
#include "proto/json.h"
#include "proto/nearest.h"
#include "proto/path.h"

enum {
    FILE_MAX = 4 << 20,
    HEAP_MAX = 64 << 20, /* what a file may turn into */
    ENTRIES_MAX = 10000, /* of one map or list */
    KEY_MAX = sizeof(((struct proto_path *)NULL)->text),
};

struct loader {
    struct cfg_source src;
    struct config *cfg;
};

static const char *
text_of(const yaml_node_t *node)
{
    return (const char *)node->data.scalar.value;
}

/* prefix.name, either of which may be empty; cut where it gets too long. */
static void
join(char out[KEY_MAX], const char *prefix, const char *name)
{
    struct proto_path p = {.len = 0};

    if (prefix[0] != '\0')
        (void)proto_path_name(&p, prefix);
    if (name[0] != '\0')
        (void)proto_path_name(&p, name);
    memcpy(out, p.text, sizeof(p.text));
}

/* --- entries of maps and lists --------------------------------------------------------- */

static const struct cfg_key *
find_key(const struct cfg_key *keys, const char *path)
{
    for (; keys->path != NULL; keys++)
        if (strcmp(keys->path, path) == 0)
            return keys;
    return NULL;
}

/* A key of a mapping: text, and not one that stands there already. */
static int
check_name(struct loader *l, const yaml_node_t *mapping, const yaml_node_pair_t *pair,
           const char *prefix)
{
    const yaml_node_t *k = yaml_document_get_node(&l->src.doc, pair->key);

    if (k->type != YAML_SCALAR_NODE || strlen(text_of(k)) != k->data.scalar.length)
        return node_fail(&l->src, k, prefix, "a key must be text");
    for (const yaml_node_pair_t *p = mapping->data.mapping.pairs.start; p < pair; p++) {
        const yaml_node_t *other = yaml_document_get_node(&l->src.doc, p->key);
        char path[KEY_MAX];

        if (strcmp(text_of(other), text_of(k)) != 0)
            continue;
        join(path, prefix, text_of(k));
        return node_fail(&l->src, k, path, "given twice, first in line %zu",
                         other->start_mark.line + 1);
    }
    return 0;
}

static int
fail_unknown(struct loader *l, const yaml_node_t *node, const char *path,
             const char *best)
{
    if (best != NULL)
        return node_fail(&l->src, node, path, "unknown key, did you mean \"%s\"?", best);
    return node_fail(&l->src, node, path, "unknown key");
}

/* The given members of one entry. */
static int
read_members(struct loader *l, const struct cfg_key *keys, const char *path,
             const yaml_node_t *node, char *at)
{
    if (node->type != YAML_MAPPING_NODE)
        return node_fail(&l->src, node, path, "expected a mapping, got %s",
                         node_kind(node));
    for (const yaml_node_pair_t *p = node->data.mapping.pairs.start;
         p < node->data.mapping.pairs.top; p++) {
        const yaml_node_t *k = yaml_document_get_node(&l->src.doc, p->key);
        const struct cfg_key *key;
        char name[KEY_MAX];
        int r = check_name(l, node, p, path);

        if (r < 0)
            return r;
        join(name, path, text_of(k));
        key = find_key(keys, text_of(k));
        if (key == NULL) {
            struct nearest near = {.word = text_of(k)};

            for (key = keys; key->path != NULL; key++)
                nearest_offer(&near, key->path);
            return fail_unknown(l, k, name, near.best);
        }
        r = value_read(&l->src, &l->cfg->arena, key, name,
                       yaml_document_get_node(&l->src.doc, p->value), at + key->offset);
        if (r < 0)
            return r;
    }
    return 0;
}

/* Opens the table's defaults as a document, "path: value" a line. */
static int
open_defaults(struct cfg_source *src, const struct cfg_key *keys)
{
    struct proto_buf text = {0};
    int r;

    for (; keys->path != NULL; keys++) {
        if (keys->value == NULL)
            continue;
        proto_buf_adds(&text, keys->path);
        proto_buf_adds(&text, ": ");
        proto_buf_adds(&text, keys->value);
        proto_buf_addc(&text, '\n');
    }
    r = text.failed ? node_fail(src, NULL, "", "out of memory")
                    : node_open(src, text.data == NULL ? "" : text.data, text.len);
    proto_buf_free(&text);
    return r;
}

/* Keys without a default must be given. */
static int
check_given(struct loader *l, const struct cfg_key *keys, const char *path,
            yaml_node_t *node)
{
    for (; node->type == YAML_MAPPING_NODE && keys->path != NULL; keys++)
        if (keys->value == NULL && node_locate(&l->src, node, keys->path) == node)
            return node_fail(&l->src, node, path, "%s is missing", keys->path);
    return 0;
}

/* One entry: the defaults, then what is given. */
static int
read_entry(struct loader *l, struct loader *defaults, const struct cfg_key *keys,
           const char *path, yaml_node_t *node, char *at)
{
    int r = check_given(l, keys, path, node);

    if (r == 0)
        r = read_members(defaults, keys, "",
                         yaml_document_get_root_node(&defaults->src.doc), at);
    return r < 0 ? r : read_members(l, keys, path, node, at);
}

/* Arrays of entries are all {items, n}. */
struct entries {
    void *items;
    size_t n;
};

/* The i-th entry of a list or map: its path and node, and for a map its name into at. */
static int
find_entry(struct loader *l, const struct cfg_key *key, const yaml_node_t *node, size_t i,
           char *at, char path[KEY_MAX], yaml_node_t **ret)
{
    const yaml_node_pair_t *p;
    const yaml_node_t *k;
    char *name;
    int r;

    if (key->type == CFG_LIST) {
        (void)snprintf(path, KEY_MAX, "%s[%zu]", key->path, i);
        *ret = yaml_document_get_node(&l->src.doc, node->data.sequence.items.start[i]);
        return 0;
    }
    p = &node->data.mapping.pairs.start[i];
    k = yaml_document_get_node(&l->src.doc, p->key);
    r = check_name(l, node, p, key->path);
    if (r < 0)
        return r;
    if (k->data.scalar.length == 0)
        return node_fail(&l->src, k, key->path, "an empty name");
    name = proto_arena_dup(&l->cfg->arena, text_of(k), k->data.scalar.length);
    if (name == NULL)
        return node_fail(&l->src, k, key->path, "too many entries");
    *(char **)(void *)at = name;
    join(path, key->path, name);
    *ret = yaml_document_get_node(&l->src.doc, p->value);
    return 0;
}

static int
read_entries(struct loader *l, const struct cfg_key *key, yaml_node_t *node)
{
    struct entries *to = (struct entries *)(void *)((char *)l->cfg + key->offset);
    struct loader defaults = {.src = {.name = "defaults", .err = l->src.err},
                              .cfg = l->cfg};
    bool map = key->type == CFG_MAP;
    char *items, path[KEY_MAX];
    yaml_node_t *entry = NULL;
    size_t n;
    int r;

    if (node->type != (map ? YAML_MAPPING_NODE : YAML_SEQUENCE_NODE))
        return node_fail(&l->src, node, key->path, "expected %s, got %s",
                         map ? "a mapping" : "a list", node_kind(node));
    n = map ? (size_t)(node->data.mapping.pairs.top - node->data.mapping.pairs.start)
            : (size_t)(node->data.sequence.items.top - node->data.sequence.items.start);
    *to = (struct entries){.n = 0};
    if (n == 0)
        return 0;
    items =
        n > ENTRIES_MAX ? NULL : proto_arena_alloc(&l->cfg->arena, n * key->entry_size);
    if (items == NULL)
        return node_fail(&l->src, node, key->path, "too many entries");
    memset(items, 0, n * key->entry_size);
    r = open_defaults(&defaults.src, key->entry);
    if (r < 0)
        return r;
    for (size_t i = 0; r == 0 && i < n; i++) {
        char *at = items + i * key->entry_size;

        r = find_entry(l, key, node, i, at, path, &entry);
        if (r == 0)
            r = read_entry(l, &defaults, key->entry, path, entry, at);
    }
    yaml_document_delete(&defaults.src.doc);
    if (r == 0)
        *to = (struct entries){.items = items, .n = n};
    return r;
}

/* --- schedules: the shape that clients use -------------------------------------------- */

static int
read_schedule(struct loader *l, const char *path, yaml_node_t *node, PbScheduleSpec **ret)
{
    struct proto_err why;
    ProtobufCMessage *m = NULL;
    char key[KEY_MAX];
    json_t *json = node_to_json(&l->src, node, path);
    int r;

    if (json == NULL)
        return -EINVAL;
    r = proto_json_load(&pb_schedule_spec__descriptor, json, &l->cfg->arena, &m, &why);
    json_decref(json);
    if (r < 0) {
        const char *text = why.text;

        /* The path is put in front by node_fail. */
        if (why.field[0] != '\0' && strncmp(text, why.field, strlen(why.field)) == 0)
            text += strlen(why.field) + 2;
        join(key, path, why.field);
        return node_fail(&l->src, node_locate(&l->src, node, why.field), key, "%s", text);
    }
    *ret = (PbScheduleSpec *)m;
    return 0;
}

static int
read_schedules(struct loader *l, const struct cfg_key *key, yaml_node_t *node)
{
    PbScheduleSpec **items;
    size_t n;

    if (node->type != YAML_SEQUENCE_NODE)
        return node_fail(&l->src, node, key->path, "expected a list, got %s",
                         node_kind(node));
    n = (size_t)(node->data.sequence.items.top - node->data.sequence.items.start);
    items =
        n > ENTRIES_MAX ? NULL : proto_arena_alloc(&l->cfg->arena, n * sizeof(void *));
    if (items == NULL)
        return node_fail(&l->src, node, key->path, "too many entries");
    for (size_t i = 0; i < n; i++) {
        char path[KEY_MAX];
        int r;

        (void)snprintf(path, sizeof(path), "%s[%zu]", key->path, i);
        r = read_schedule(
            l, path,
            yaml_document_get_node(&l->src.doc, node->data.sequence.items.start[i]),
            &items[i]);
        if (r < 0)
            return r;
    }
    l->cfg->schedules.items = items;
    l->cfg->schedules.n = n;
    return 0;
}

/* --- the file --------------------------------------------------------------------------- */

static bool
is_section(const char *path)
{
    for (const struct cfg_section *s = cfg_sections; s->path != NULL; s++)
        if (strcmp(s->path, path) == 0)
            return true;
    return false;
}

/* Offers the names that may stand where path was found: after its last dot. */
static const char *
nearest_key(const char *prefix, const char *name)
{
    struct nearest near = {.word = name};
    size_t n = strlen(prefix);

    for (const struct cfg_key *k = cfg_keys; k->path != NULL; k++) {
        const char *rest = n == 0 ? k->path : k->path + n + 1;

        if (n > 0 && (strncmp(k->path, prefix, n) != 0 || k->path[n] != '.'))
            continue;
        if (strchr(rest, '.') == NULL)
            nearest_offer(&near, rest);
    }
    for (const struct cfg_section *s = cfg_sections; n == 0 && s->path != NULL; s++)
        nearest_offer(&near, s->path);
    return near.best;
}

/* A name that would be right in a section: "running" belongs into limits. */
static const char *
elsewhere(const char *name)
{
    for (const struct cfg_key *k = cfg_keys; k->path != NULL; k++) {
        const char *dot = strrchr(k->path, '.');

        if (dot != NULL && strcmp(dot + 1, name) == 0)
            return k->path;
    }
    return NULL;
}

static int
read_key(struct loader *l, const struct cfg_key *key, yaml_node_t *node)
{
    if (key->type == CFG_SCHEDULES)
        return read_schedules(l, key, node);
    if (key->type == CFG_MAP || key->type == CFG_LIST)
        return read_entries(l, key, node);
    return value_read(&l->src, &l->cfg->arena, key, key->path, node,
                      (char *)l->cfg + key->offset);
}

static int
read_mapping(struct loader *l, const char *prefix, const yaml_node_t *node)
{
    if (node_is_null(node))
        return 0;
    if (node->type != YAML_MAPPING_NODE)
        return node_fail(&l->src, node, prefix, "expected a mapping, got %s",
                         node_kind(node));
    for (const yaml_node_pair_t *p = node->data.mapping.pairs.start;
         p < node->data.mapping.pairs.top; p++) {
        const yaml_node_t *k = yaml_document_get_node(&l->src.doc, p->key);
        yaml_node_t *v = yaml_document_get_node(&l->src.doc, p->value);
        const struct cfg_key *key;
        char path[KEY_MAX];
        int r = check_name(l, node, p, prefix);

        if (r < 0)
            return r;
        join(path, prefix, text_of(k));
        key = strchr(text_of(k), '.') == NULL ? find_key(cfg_keys, path) : NULL;
        if (key != NULL) {
            r = read_key(l, key, v);
        } else if (prefix[0] == '\0' && is_section(path)) {
            r = read_mapping(l, path, v);
        } else {
            const char *best = nearest_key(prefix, text_of(k));

            return fail_unknown(l, k, path, best != NULL ? best : elsewhere(text_of(k)));
        }
        if (r < 0)
            return r;
    }
    return 0;
}

static int
apply(struct loader *l, const char *text, size_t len)
{
    yaml_node_t *root;
    int r = node_open(&l->src, text, len);

    if (r < 0)
        return r;
    root = yaml_document_get_root_node(&l->src.doc);
    r = root == NULL ? 0 : read_mapping(l, "", root);
    if (r < 0)
        yaml_document_delete(&l->src.doc); /* else check() takes positions from it */
    return r;
}

/* The defaults, read as any value in a file would be. */
static int
apply_defaults(struct loader *l)
{
    int r = open_defaults(&l->src, cfg_keys);
    const yaml_node_t *root;

    if (r < 0)
        return r;
    root = yaml_document_get_root_node(&l->src.doc);
    for (const yaml_node_pair_t *p = root->data.mapping.pairs.start;
         r == 0 && p < root->data.mapping.pairs.top; p++)
        r = read_key(
            l, find_key(cfg_keys, text_of(yaml_document_get_node(&l->src.doc, p->key))),
            yaml_document_get_node(&l->src.doc, p->value));
    yaml_document_delete(&l->src.doc);
    return r;
}

static int
check(struct loader *l)
{
    yaml_node_t *root = yaml_document_get_root_node(&l->src.doc);
    char key[KEY_MAX], message[320];

    if (check_config(l->cfg, l->src.name, key, message) == 0)
        return 0;
    return node_fail(&l->src, root == NULL ? NULL : node_locate(&l->src, root, key), key,
                     "%s", message);
}

int
cfg_parse(const char *name, const char *text, size_t len, struct config **ret,
          struct cfg_err *err)
{
    struct loader l = {.src = {.name = "defaults", .err = err}};
    int r;

    *err = (struct cfg_err){.line = 0};
    l.cfg = calloc(1, sizeof(*l.cfg));
    if (l.cfg == NULL)
        return -ENOMEM;
    proto_arena_init(&l.cfg->arena, HEAP_MAX);
    r = apply_defaults(&l);
    l.src.name = name;
    if (r == 0)
        r = apply(&l, text, len);
    if (r == 0) {
        r = check(&l);
        yaml_document_delete(&l.src.doc);
    }
    if (r < 0) {
        cfg_free(l.cfg);
        return r;
    }
    *ret = l.cfg;
    return 0;
}

/* The whole file, up to FILE_MAX. */
static int
read_file(const char *path, char **ret, size_t *ret_len)
{
    size_t len = 0;
    int r = 0, fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    char *text;

    if (fd < 0)
        return -errno;
    text = malloc(FILE_MAX + 1);
    if (text == NULL)
        r = -ENOMEM;
    while (r == 0) {
        ssize_t n = read(fd, text + len, FILE_MAX + 1 - len);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            r = -errno;
        if (n <= 0)
            break;
        len += (size_t)n;
        if (len > FILE_MAX)
            r = -EFBIG;
    }
    close(fd);
    if (r < 0) {
        free(text);
        return r;
    }
    *ret = text;
    *ret_len = len;
    return 0;
}

int
cfg_load(const char *path, struct config **ret, struct cfg_err *err)
{
    size_t len = 0;
    char *text = NULL;
    int r = read_file(path, &text, &len);

    if (r < 0) {
        *err = (struct cfg_err){.line = 0};
        (void)snprintf(err->text, sizeof(err->text), "%.512s: %s", path, strerror(-r));
        return r;
    }
    r = cfg_parse(path, text, len, ret, err);
    free(text);
    return r;
}

int
cfg_blame(const char *path, const char *key, const char *message, struct cfg_err *err)
{
    struct cfg_source src = {.name = path != NULL ? path : "defaults", .err = err};
    size_t len = 0;
    char *text = NULL;
    yaml_node_t *root;
    int r = path != NULL ? read_file(path, &text, &len) : -ENOENT;

    *err = (struct cfg_err){.line = 0};
    if (r == 0)
        r = node_open(&src, text, len);
    free(text);
    *err = (struct cfg_err){.line = 0};
    if (r < 0)
        return node_fail(&src, NULL, key, "%s", message);
    root = yaml_document_get_root_node(&src.doc);
    r = node_fail(&src, root != NULL ? node_locate(&src, root, key) : NULL, key, "%s",
                  message);
    yaml_document_delete(&src.doc);
    return r;
}

void
cfg_free(struct config *cfg)
{
    if (cfg == NULL)
        return;
    proto_arena_free(&cfg->arena);
    free(cfg);
}

const struct cfg_database *
cfg_database(const struct config *cfg, const char *name)
{
    for (size_t i = 0; i < cfg->databases.n; i++)
        if (strcmp(cfg->databases.items[i].name, name) == 0)
            return &cfg->databases.items[i];
    return NULL;
}

const struct cfg_queue *
cfg_queue(const struct config *cfg, const char *name)
{
    for (size_t i = 0; i < cfg->queues.n; i++)
        if (strcmp(cfg->queues.items[i].name, name) == 0)
            return &cfg->queues.items[i];
    return NULL;
}
