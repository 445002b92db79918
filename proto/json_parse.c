#include "proto/json.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "proto/base64.h"
#include "proto/enum.h"
#include "proto/field.h"
#include "proto/nearest.h"
#include "proto/number.h"
#include "proto/path.h"
#include "proto/units.h"
#include "proto/wire.h"

struct parser {
    struct proto_arena *arena;
    struct proto_err *err;
    struct proto_path path;
};

static int parse_message(struct parser *p, const ProtobufCMessageDescriptor *d,
                         json_t *json, ProtobufCMessage **ret);

static const char *
type_name(json_t *json)
{
    switch (json_typeof(json)) {
    case JSON_OBJECT:
        return "object";
    case JSON_ARRAY:
        return "array";
    case JSON_STRING:
        return "string";
    case JSON_INTEGER:
    case JSON_REAL:
        return "number";
    case JSON_TRUE:
    case JSON_FALSE:
        return "boolean";
    case JSON_NULL:
        break;
    }
    return "null";
}

static int
fail_memory(struct parser *p)
{
    return proto_err_set(p->err, -ENOBUFS, p->path.text, "needs more than %zu bytes",
                         p->arena->limit);
}

static int
fail_type(struct parser *p, const char *expected, json_t *json)
{
    return proto_err_set(p->err, -EINVAL, p->path.text, "expected %s, got %s", expected,
                         type_name(json));
}

static int
fail_range(struct parser *p)
{
    return proto_err_set(p->err, -EINVAL, p->path.text, "number out of range");
}

/* An integer, a decimal string, or a double without a fraction. */
static int
parse_integer(struct parser *p, json_t *json, i128 min, i128 max, i128 *ret)
{
    i128 v;

    if (json_is_integer(json)) {
        v = json_integer_value(json);
    } else if (json_is_real(json)) {
        double d = json_real_value(json);

        if (d != trunc(d))
            return proto_err_set(p->err, -EINVAL, p->path.text,
                                 "expected integer, got fraction");
        if (fabs(d) > 1e19)
            return fail_range(p);
        v = (i128)d;
    } else if (json_is_string(json)) {
        if (i128_parse(json_string_value(json), json_string_length(json), &v) < 0)
            return fail_type(p, "integer", json);
    } else {
        return fail_type(p, "integer", json);
    }
    if (v < min || v > max)
        return fail_range(p);
    *ret = v;
    return 0;
}

/* NaN and the infinities have no number in JSON. */
static bool
special_double(json_t *json, double *ret)
{
    const char *s = json_string_value(json);

    if (s == NULL)
        return false;
    if (strcmp(s, "NaN") == 0)
        *ret = (double)NAN;
    else if (strcmp(s, "Infinity") == 0)
        *ret = (double)INFINITY;
    else if (strcmp(s, "-Infinity") == 0)
        *ret = (double)-INFINITY;
    else
        return false;
    return true;
}

static int
parse_double(struct parser *p, json_t *json, double *ret)
{
    if (json_is_number(json))
        *ret = json_number_value(json);
    else if (!special_double(json, ret))
        return fail_type(p, "number", json);
    return 0;
}

static int
parse_string(struct parser *p, json_t *json, char **ret)
{
    if (!json_is_string(json))
        return fail_type(p, "string", json);
    *ret = proto_arena_dup(p->arena, json_string_value(json), json_string_length(json));
    return *ret == NULL ? fail_memory(p) : 0;
}

static int
parse_bytes(struct parser *p, json_t *json, ProtobufCBinaryData *ret)
{
    size_t len = json_string_length(json);

    if (!json_is_string(json))
        return fail_type(p, "base64 string", json);
    ret->data = proto_arena_alloc(p->arena, BASE64_DECODED(len));
    if (ret->data == NULL)
        return fail_memory(p);
    if (base64_decode(json_string_value(json), len, ret->data, &ret->len) < 0)
        return proto_err_set(p->err, -EINVAL, p->path.text, "not base64");
    return 0;
}

static int
parse_enum(struct parser *p, const ProtobufCEnumDescriptor *e, json_t *json, int *ret)
{
    const ProtobufCEnumValue *found;

    if (json_is_integer(json)) {
        json_int_t v = json_integer_value(json);
        char text[24];

        if (v >= INT32_MIN && v <= INT32_MAX &&
            protobuf_c_enum_descriptor_get_value(e, (int)v) != NULL) {
            *ret = (int)v;
            return 0;
        }
        (void)snprintf(text, sizeof(text), "%" JSON_INTEGER_FORMAT, v);
        return enum_unknown(p->err, p->path.text, e, text);
    }
    if (!json_is_string(json))
        return fail_type(p, "string", json);
    found = enum_find(e, json_string_value(json));
    if (found == NULL)
        return enum_unknown(p->err, p->path.text, e, json_string_value(json));
    *ret = found->value;
    return 0;
}

static int
parse_scalar(struct parser *p, const ProtobufCFieldDescriptor *f, json_t *json, void *at)
{
    double d = 0;
    i128 v = 0;
    int r;

    switch (f->type) {
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_SFIXED32:
        r = parse_integer(p, json, INT32_MIN, INT32_MAX, &v);
        if (r == 0)
            *(int32_t *)at = (int32_t)v;
        return r;
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
        r = parse_integer(p, json, INT64_MIN, INT64_MAX, &v);
        if (r == 0)
            *(int64_t *)at = (int64_t)v;
        return r;
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
        r = parse_integer(p, json, 0, UINT32_MAX, &v);
        if (r == 0)
            *(uint32_t *)at = (uint32_t)v;
        return r;
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
        r = parse_integer(p, json, 0, UINT64_MAX, &v);
        if (r == 0)
            *(uint64_t *)at = (uint64_t)v;
        return r;
    case PROTOBUF_C_TYPE_FLOAT:
        r = parse_double(p, json, &d);
        if (r == 0)
            *(float *)at = (float)d;
        return r;
    case PROTOBUF_C_TYPE_DOUBLE:
        return parse_double(p, json, at);
    case PROTOBUF_C_TYPE_BOOL:
        if (!json_is_boolean(json))
            return fail_type(p, "boolean", json);
        *(protobuf_c_boolean *)at = json_is_true(json);
        return 0;
    case PROTOBUF_C_TYPE_ENUM:
        return parse_enum(p, f->descriptor, json, at);
    case PROTOBUF_C_TYPE_STRING:
        return parse_string(p, json, at);
    case PROTOBUF_C_TYPE_BYTES:
        return parse_bytes(p, json, at);
    case PROTOBUF_C_TYPE_MESSAGE:
        return parse_message(p, f->descriptor, json, at);
    }
    return fail_type(p, "nothing", json);
}

/* Room for n values of a repeated field, zeroed. */
static void *
new_items(struct parser *p, const ProtobufCFieldDescriptor *f, size_t n)
{
    size_t bytes;
    void *items;

    if (__builtin_mul_overflow(n, field_size(f), &bytes))
        return NULL;
    items = proto_arena_alloc(p->arena, bytes);
    if (items != NULL)
        memset(items, 0, bytes);
    return items;
}

/* {"k": "v"} for a map, and for a list of {name, value}. */
static int
parse_pairs(struct parser *p, const ProtobufCFieldDescriptor *f, json_t *json,
            ProtobufCMessage *m)
{
    const ProtobufCMessageDescriptor *d = f->descriptor;
    json_t *value;
    ProtobufCMessage **items = new_items(p, f, json_object_size(json));
    const char *key;
    size_t n = 0;

    if (items == NULL)
        return fail_memory(p);
    json_object_foreach(json, key, value)
    {
        size_t outer = proto_path_name(&p->path, key);
        char **k, **v;
        int r;

        items[n] = proto_new(p->arena, d);
        if (items[n] == NULL)
            return fail_memory(p);
        k = field_at_mut(items[n], &d->fields[0]);
        v = field_at_mut(items[n], &d->fields[1]);
        *k = proto_arena_dup(p->arena, key, strlen(key));
        if (*k == NULL)
            return fail_memory(p);
        r = parse_string(p, value, v);
        if (r < 0)
            return r;
        n++;
        proto_path_pop(&p->path, outer);
    }
    *(ProtobufCMessage ***)field_at_mut(m, f) = items;
    *(size_t *)field_quantifier(m, f) = n;
    return 0;
}

static int
parse_list(struct parser *p, const ProtobufCFieldDescriptor *f, json_t *json,
           ProtobufCMessage *m)
{
    size_t n = json_array_size(json), size = field_size(f);
    char *items;

    if (!json_is_array(json))
        return fail_type(p, "array", json);
    items = new_items(p, f, n);
    if (items == NULL)
        return fail_memory(p);
    for (size_t i = 0; i < n; i++) {
        size_t outer = proto_path_index(&p->path, i);
        int r = parse_scalar(p, f, json_array_get(json, i), items + i * size);

        if (r < 0)
            return r;
        proto_path_pop(&p->path, outer);
    }
    *(char **)field_at_mut(m, f) = items;
    *(size_t *)field_quantifier(m, f) = n;
    return 0;
}

/* Whether key is the field's name, as written or in lowerCamelCase. */
static bool
is_named(const ProtobufCFieldDescriptor *f, const char *key)
{
    const char *n = f->name, *k = key;

    if (strcmp(n, key) == 0)
        return true;
    for (; *n != '\0'; n++, k++) {
        char c = *n;

        if (c == '_' && n[1] != '\0')
            c = (char)toupper((unsigned char)*++n);
        if (*k != c)
            return false;
    }
    return *k == '\0';
}

static const ProtobufCFieldDescriptor *
find_field(struct parser *p, const ProtobufCMessageDescriptor *d, const char *key)
{
    struct nearest near = {.word = key};

    for (unsigned i = 0; i < d->n_fields; i++)
        if (is_named(&d->fields[i], key))
            return &d->fields[i];
    for (unsigned i = 0; i < d->n_fields; i++)
        nearest_offer(&near, d->fields[i].name);
    if (near.best != NULL)
        (void)proto_err_set(p->err, 0, p->path.text,
                            "unknown field, did you mean \"%s\"?", near.best);
    else
        (void)proto_err_set(p->err, 0, p->path.text, "unknown field");
    return NULL;
}

/* The member of f's oneof that is already set. */
static const char *
oneof_taken(const ProtobufCMessage *m, const ProtobufCFieldDescriptor *f)
{
    const ProtobufCMessageDescriptor *d = m->descriptor;

    for (unsigned i = 0; i < d->n_fields; i++) {
        const ProtobufCFieldDescriptor *g = &d->fields[i];

        if (field_is_oneof(g) && g->quantifier_offset == f->quantifier_offset &&
            field_count(m, g) > 0)
            return g->name;
    }
    return NULL;
}

static int
parse_field(struct parser *p, const ProtobufCFieldDescriptor *f, json_t *json,
            ProtobufCMessage *m)
{
    int r;

    if (field_count(m, f) > 0)
        return proto_err_set(p->err, -EINVAL, p->path.text, "given twice");
    if (field_is_oneof(f)) {
        const char *other = oneof_taken(m, f);

        if (other != NULL)
            return proto_err_set(p->err, -EINVAL, p->path.text,
                                 "cannot stand beside \"%s\": only one of them", other);
    }
    if (field_is_repeated(f)) {
        if (json_is_object(json) && (field_is_map(f) || field_is_pairs(f)))
            return parse_pairs(p, f, json, m);
        if (field_is_map(f))
            return fail_type(p, "object", json);
        return parse_list(p, f, json, m);
    }
    r = parse_scalar(p, f, json, field_at_mut(m, f));
    if (r == 0)
        field_mark(m, f);
    return r;
}

static int
parse_object(struct parser *p, json_t *json, ProtobufCMessage *m)
{
    json_t *value;
    const char *key;

    if (!json_is_object(json))
        return fail_type(p, "object", json);
    json_object_foreach(json, key, value)
    {
        size_t outer = proto_path_name(&p->path, key);
        const ProtobufCFieldDescriptor *f = find_field(p, m->descriptor, key);
        int r;

        if (f == NULL)
            return -EINVAL;
        r = json_is_null(value) && f->descriptor != &pb_value__descriptor
                ? 0
                : parse_field(p, f, value, m);
        if (r < 0)
            return r;
        proto_path_pop(&p->path, outer);
    }
    return 0;
}

static int
parse_duration(struct parser *p, json_t *json, PbDuration *m)
{
    const char *s = json_string_value(json);
    int r;

    if (json_is_number(json))
        return proto_err_set(p->err, -EINVAL, p->path.text,
                             "a duration needs its unit: \"1.5s\", \"10m\"");
    if (s == NULL)
        return fail_type(p, "duration", json);
    r = units_parse_duration(s, json_string_length(json), &m->ns);
    if (r == -ERANGE)
        return fail_range(p);
    if (r < 0)
        return proto_err_set(p->err, -EINVAL, p->path.text,
                             "\"%.40s\" is not a duration like \"1.5s\" or \"10m\"", s);
    m->has_ns = 1;
    return 0;
}

static int
parse_timestamp(struct parser *p, json_t *json, PbTimestamp *m)
{
    const char *s = json_string_value(json);

    if (s == NULL)
        return fail_type(p, "time", json);
    if (units_parse_time(s, json_string_length(json), &m->ns) < 0)
        return proto_err_set(p->err, -EINVAL, p->path.text,
                             "\"%.40s\" is not a time like \"2026-12-01T08:00:00Z\"", s);
    m->has_ns = 1;
    return 0;
}

/* An integer of any size becomes int or, canonical, big; anything else real. */
static int
parse_number(struct parser *p, json_t *json, PbNumber *m)
{
    const char *s = json_string_value(json);
    char text[I128_TEXT_MAX];
    i128 v;

    m->kind_case = PB_NUMBER__KIND_INT;
    if (json_is_integer(json)) {
        m->int_ = json_integer_value(json);
        return 0;
    }
    if (s != NULL && i128_parse(s, json_string_length(json), &v) == 0) {
        if (i128_fits_int64(v)) {
            m->int_ = (int64_t)v;
            return 0;
        }
        m->kind_case = PB_NUMBER__KIND_BIG;
        m->big = proto_arena_dup(p->arena, text, i128_format(v, text));
        return m->big == NULL ? fail_memory(p) : 0;
    }
    m->kind_case = PB_NUMBER__KIND_REAL;
    return parse_double(p, json, &m->real);
}

static int
parse_number_list(struct parser *p, json_t *json, PbNumberList *m)
{
    size_t n = json_array_size(json);

    if (!json_is_array(json))
        return fail_type(p, "array of numbers", json);
    m->ints = proto_arena_alloc(p->arena, n * sizeof(*m->ints));
    m->reals = proto_arena_alloc(p->arena, n * sizeof(*m->reals));
    m->bigs = proto_arena_alloc(p->arena, n * sizeof(*m->bigs));
    if (m->ints == NULL || m->reals == NULL || m->bigs == NULL)
        return fail_memory(p);
    for (size_t i = 0; i < n; i++) {
        PbNumber one = PB_NUMBER__INIT;
        size_t outer = proto_path_index(&p->path, i);
        int r = parse_number(p, json_array_get(json, i), &one);

        if (r < 0)
            return r;
        proto_path_pop(&p->path, outer);
        if (one.kind_case == PB_NUMBER__KIND_INT)
            m->ints[m->n_ints++] = one.int_;
        else if (one.kind_case == PB_NUMBER__KIND_REAL)
            m->reals[m->n_reals++] = one.real;
        else
            m->bigs[m->n_bigs++] = one.big;
    }
    return 0;
}

static int
parse_sql_value(struct parser *p, json_t *json, PbValue *m)
{
    json_t *blob;

    switch (json_typeof(json)) {
    case JSON_TRUE:
    case JSON_FALSE:
        m->kind_case = PB_VALUE__KIND_FLAG;
        m->flag = json_is_true(json);
        return 0;
    case JSON_INTEGER:
        m->kind_case = PB_VALUE__KIND_INT;
        m->int_ = json_integer_value(json);
        return 0;
    case JSON_REAL:
        m->kind_case = PB_VALUE__KIND_REAL;
        m->real = json_real_value(json);
        return 0;
    case JSON_STRING:
        m->kind_case = PB_VALUE__KIND_TEXT;
        return parse_string(p, json, &m->text);
    case JSON_OBJECT:
        blob = json_object_get(json, "base64");
        if (json_object_size(json) != 1 || blob == NULL)
            break;
        m->kind_case = PB_VALUE__KIND_BLOB;
        return parse_bytes(p, blob, &m->blob);
    case JSON_NULL:
        return 0;
    case JSON_ARRAY:
        break;
    }
    return proto_err_set(p->err, -EINVAL, p->path.text,
                         "expected null, boolean, number, string or {\"base64\": ...}");
}

static int
parse_message(struct parser *p, const ProtobufCMessageDescriptor *d, json_t *json,
              ProtobufCMessage **ret)
{
    ProtobufCMessage *m = proto_new(p->arena, d);
    int r = 0;

    if (m == NULL)
        return fail_memory(p);
    switch (field_shape(d)) {
    case SHAPE_DURATION:
        r = parse_duration(p, json, (PbDuration *)m);
        break;
    case SHAPE_TIMESTAMP:
        r = parse_timestamp(p, json, (PbTimestamp *)m);
        break;
    case SHAPE_NUMBER:
        r = parse_number(p, json, (PbNumber *)m);
        break;
    case SHAPE_NUMBER_LIST:
        r = parse_number_list(p, json, (PbNumberList *)m);
        break;
    case SHAPE_VALUE:
        r = parse_sql_value(p, json, (PbValue *)m);
        break;
    case SHAPE_ROW:
        r = parse_list(p, &d->fields[0], json, m);
        break;
    case SHAPE_OBJECT:
        r = parse_object(p, json, m);
        break;
    }
    if (r == 0)
        *ret = m;
    return r;
}

int
proto_json_load(const ProtobufCMessageDescriptor *desc, json_t *json,
                struct proto_arena *a, ProtobufCMessage **ret, struct proto_err *err)
{
    struct parser p = {.arena = a, .err = err};

    *err = (struct proto_err){.line = 0};
    return parse_message(&p, desc, json, ret);
}

/* jansson descends as deep as the text says, on the caller's stack: look first. */
static bool
too_deep(const char *text, size_t len)
{
    bool quoted = false;
    int depth = 0;

    for (size_t i = 0; i < len; i++) {
        char c = text[i];

        if (quoted) {
            if (c == '\\')
                i++;
            else if (c == '"')
                quoted = false;
        } else if (c == '"') {
            quoted = true;
        } else if (c == '{' || c == '[') {
            if (++depth > PROTO_JSON_DEPTH)
                return true;
        } else if (c == '}' || c == ']') {
            depth--;
        }
    }
    return false;
}

int
proto_json_parse(const ProtobufCMessageDescriptor *desc, const char *text, size_t len,
                 struct proto_arena *a, ProtobufCMessage **ret, struct proto_err *err)
{
    json_error_t why;
    json_t *json;
    int r;

    *err = (struct proto_err){.line = 0};
    if (too_deep(text, len))
        return proto_err_set(err, -EINVAL, NULL, "nested deeper than %d",
                             PROTO_JSON_DEPTH);
    json = json_loadb(text, len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &why);
    if (json == NULL) {
        err->line = why.line;
        err->column = why.column;
        return proto_err_set(err, -EINVAL, NULL, "%s%s", why.text,
                             json_error_code(&why) == json_error_numeric_overflow
                                 ? ": numbers beyond 64 bits are written as strings"
                                 : "");
    }
    r = proto_json_load(desc, json, a, ret, err);
    json_decref(json);
    return r;
}
