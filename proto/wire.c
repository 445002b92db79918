#include "proto/wire.h"

#include <errno.h>
#include <string.h>

#include "proto/field.h"
#include "proto/number.h"
#include "proto/path.h"
#include "proto/utf8.h"

enum { MAP_MAX = 64 };

struct alloc_ctx {
    struct proto_arena *arena;
    bool refused;
};

static void *
wire_alloc(void *data, size_t size)
{
    struct alloc_ctx *ctx = data;
    void *p = proto_arena_alloc(ctx->arena, size);

    if (p == NULL)
        ctx->refused = true;
    return p;
}

static void
wire_free(void *data, void *p)
{
    (void)data; /* the arena frees all at once */
    (void)p;
}

static int check_message(const ProtobufCMessage *m, struct proto_path *path,
                         struct proto_err *err);

static int
check_big(const char *s, struct proto_path *path, struct proto_err *err)
{
    i128 v;

    if (i128_parse(s, strlen(s), &v) < 0 || i128_fits_int64(v))
        return proto_err_set(err, -EBADMSG, path->text, "not an integer beyond 64 bits");
    return 0;
}

/* The members that are text on the wire and a number in JSON. */
static int
check_numbers(const ProtobufCMessage *m, struct proto_path *path, struct proto_err *err)
{
    const PbNumber *number = (const PbNumber *)m; /* each where the shape says so */
    const PbNumberList *list = (const PbNumberList *)m;
    enum field_shape shape = field_shape(m->descriptor);
    int r = 0;

    if (shape == SHAPE_NUMBER && number->kind_case == PB_NUMBER__KIND__NOT_SET)
        return proto_err_set(err, -EBADMSG, path->text, "no number");
    if (shape == SHAPE_NUMBER && number->kind_case == PB_NUMBER__KIND_BIG)
        return check_big(number->big == NULL ? "" : number->big, path, err);
    for (size_t i = 0; shape == SHAPE_NUMBER_LIST && r == 0 && i < list->n_bigs; i++)
        r = check_big(list->bigs[i], path, err);
    return r;
}

static int
check_value(const ProtobufCFieldDescriptor *f, const void *at, struct proto_path *path,
            struct proto_err *err)
{
    if (f->type == PROTOBUF_C_TYPE_STRING) {
        const char *s = *(const char *const *)at;

        if (!utf8_valid(s, strlen(s)))
            return proto_err_set(err, -EBADMSG, path->text, "not valid UTF-8");
    } else if (f->type == PROTOBUF_C_TYPE_ENUM) {
        int v = *(const int *)at;

        if (protobuf_c_enum_descriptor_get_value(f->descriptor, v) == NULL)
            return proto_err_set(err, -EBADMSG, path->text, "unknown value %d", v);
    } else if (f->type == PROTOBUF_C_TYPE_MESSAGE) {
        return check_message(*(const ProtobufCMessage *const *)at, path, err);
    }
    return 0;
}

/* Entry i of a map against those before it: quadratic, hence MAP_MAX. */
static int
check_entry(const ProtobufCMessage *const *entries, size_t i, struct proto_path *path,
            struct proto_err *err)
{
    const ProtobufCFieldDescriptor *kv = entries[i]->descriptor->fields;
    const char *key = *(const char *const *)field_at(entries[i], &kv[0]);

    if (key == NULL || field_count(entries[i], &kv[1]) == 0)
        return proto_err_set(err, -EBADMSG, path->text, "key or value missing");
    if (i >= MAP_MAX)
        return proto_err_set(err, -EBADMSG, path->text, "more than %d entries", MAP_MAX);
    for (size_t k = 0; k < i; k++)
        if (strcmp(*(const char *const *)field_at(entries[k], &kv[0]), key) == 0)
            return proto_err_set(err, -EBADMSG, path->text, "\"%.60s\" is given twice",
                                 key);
    return 0;
}

static int
check_field(const ProtobufCMessage *m, const ProtobufCFieldDescriptor *f,
            struct proto_path *path, struct proto_err *err)
{
    size_t n = field_count(m, f), size = field_size(f), outer = path->len;
    const char *at = field_at(m, f);

    if (!field_is_repeated(f))
        return check_value(f, at, path, err);

    if (f->type != PROTOBUF_C_TYPE_STRING && f->type != PROTOBUF_C_TYPE_ENUM &&
        f->type != PROTOBUF_C_TYPE_MESSAGE)
        return 0;
    at = *(const char *const *)(const void *)at;
    for (size_t i = 0; i < n; i++) {
        int r;

        (void)proto_path_index(path, i);
        r = check_value(f, at + i * size, path, err);
        if (r == 0 && field_is_map(f))
            r = check_entry((const ProtobufCMessage *const *)(const void *)at, i, path,
                            err);
        if (r < 0)
            return r;
        proto_path_pop(path, outer);
    }
    return 0;
}

static int
check_message(const ProtobufCMessage *m, struct proto_path *path, struct proto_err *err)
{
    const ProtobufCMessageDescriptor *d = m->descriptor;

    for (unsigned i = 0; i < d->n_fields; i++) {
        size_t outer;
        int r;

        if (field_count(m, &d->fields[i]) == 0)
            continue;
        outer = proto_path_name(path, d->fields[i].name);
        r = check_field(m, &d->fields[i], path, err);
        if (r < 0)
            return r;
        proto_path_pop(path, outer);
    }
    return check_numbers(m, path, err);
}

int
proto_check(const ProtobufCMessage *m, struct proto_err *err)
{
    struct proto_path path = {.len = 0};

    return check_message(m, &path, err);
}

int
proto_unpack(const ProtobufCMessageDescriptor *desc, const void *data, size_t len,
             enum proto_trust trust, struct proto_arena *a, ProtobufCMessage **ret,
             struct proto_err *err)
{
    struct alloc_ctx ctx = {.arena = a};
    ProtobufCAllocator heap = {
        .alloc = wire_alloc,
        .free = wire_free,
        .allocator_data = &ctx,
    };
    ProtobufCMessage *m = protobuf_c_message_unpack(desc, &heap, len, data);

    if (m == NULL && ctx.refused)
        return proto_err_set(err, -ENOBUFS, NULL, "the message needs more than %zu bytes",
                             a->limit);
    if (m == NULL)
        return proto_err_set(err, -EBADMSG, NULL, "not a %s", desc->name);
    if (trust == PROTO_CHECK) {
        int r = proto_check(m, err);

        if (r < 0)
            return r;
    }
    *ret = m;
    return 0;
}

int
proto_pack(const ProtobufCMessage *m, struct proto_buf *b)
{
    size_t n = protobuf_c_message_get_packed_size(m);
    char *p = proto_buf_reserve(b, n);

    if (p == NULL)
        return -ENOMEM;
    protobuf_c_message_pack(m, (uint8_t *)p);
    p[n] = '\0';
    b->len += n;
    return 0;
}

void *
proto_new(struct proto_arena *a, const ProtobufCMessageDescriptor *desc)
{
    void *m = proto_arena_alloc(a, desc->sizeof_message);

    if (m != NULL)
        protobuf_c_message_init(desc, m);
    return m;
}
