#include "proto/numpath.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "proto/nearest.h"

enum { COMPONENT_MAX = 64 };

/* The next component of *path, which moves behind its dot: its length; 0: there is none, or
 * it is too long. */
static size_t
component(const char **path, char out[COMPONENT_MAX])
{
    size_t n = strcspn(*path, ".");

    if (n >= COMPONENT_MAX)
        return 0;
    memcpy(out, *path, n);
    out[n] = '\0';
    *path += n + ((*path)[n] == '.' && (*path)[n + 1] != '\0');
    return n;
}

static bool
place(const char *s, size_t *ret)
{
    size_t n = 0;

    for (const char *p = s; *p != '\0'; p++) {
        if (*p < '0' || *p > '9' || n > SIZE_MAX / 20)
            return false;
        n = n * 10 + (size_t)(*p - '0');
    }
    *ret = n;
    return *s != '\0';
}

static bool
is(const ProtobufCMessageDescriptor *d, const ProtobufCMessageDescriptor *what)
{
    return d == what;
}

/* A message that stands for a number. */
static bool
number_message(const ProtobufCMessageDescriptor *d)
{
    return is(d, &pb_number__descriptor) || is(d, &pb_value__descriptor) ||
           is(d, &pb_duration__descriptor) || is(d, &pb_timestamp__descriptor);
}

/* Bytes of a number of each type in a message; 0: it is none. */
static const unsigned char widths[] = {
    [PROTOBUF_C_TYPE_INT32] = 4,
    [PROTOBUF_C_TYPE_SINT32] = 4,
    [PROTOBUF_C_TYPE_UINT32] = 4,
    [PROTOBUF_C_TYPE_FIXED32] = 4,
    [PROTOBUF_C_TYPE_SFIXED32] = 4,
    [PROTOBUF_C_TYPE_INT64] = 8,
    [PROTOBUF_C_TYPE_SINT64] = 8,
    [PROTOBUF_C_TYPE_UINT64] = 8,
    [PROTOBUF_C_TYPE_FIXED64] = 8,
    [PROTOBUF_C_TYPE_SFIXED64] = 8,
    [PROTOBUF_C_TYPE_FLOAT] = 4,
    [PROTOBUF_C_TYPE_DOUBLE] = 8,
    [PROTOBUF_C_TYPE_BOOL] = sizeof(protobuf_c_boolean),
    [PROTOBUF_C_TYPE_ENUM] = 0,
    [PROTOBUF_C_TYPE_STRING] = 0,
    [PROTOBUF_C_TYPE_BYTES] = 0,
    [PROTOBUF_C_TYPE_MESSAGE] = 0,
};

static bool
number_type(const ProtobufCFieldDescriptor *f)
{
    return f->type == PROTOBUF_C_TYPE_MESSAGE ? number_message(f->descriptor)
                                              : widths[f->type] > 0;
}

/* The list a message is in JSON, or NULL. */
static const ProtobufCFieldDescriptor *
as_list(const ProtobufCMessageDescriptor *d)
{
    return is(d, &pb_row__descriptor) ? &d->fields[0] : NULL;
}

/* --- by the descriptor alone ------------------------------------------------------------- */

static int
no_such_field(const ProtobufCMessageDescriptor *d, const char *whole, const char *name,
              struct proto_err *err)
{
    struct nearest near = {.word = name};

    for (unsigned i = 0; i < d->n_fields; i++)
        nearest_offer(&near, d->fields[i].name);
    if (near.best != NULL)
        return proto_err_set(err, -EINVAL, NULL,
                             "\"%.100s\": there is no \"%s\"; did you mean \"%s\"?",
                             whole, name, near.best);
    return proto_err_set(err, -EINVAL, NULL, "\"%.100s\": there is no \"%s\"", whole,
                         name);
}

static int
no_number(const char *whole, struct proto_err *err)
{
    return proto_err_set(err, -EINVAL, NULL, "\"%.100s\" is not the path of a number",
                         whole);
}

int
numpath_check(const ProtobufCMessageDescriptor *d, const char *path,
              struct proto_err *err)
{
    const ProtobufCFieldDescriptor *f = NULL;
    const char *whole = path;
    char name[COMPONENT_MAX];
    bool list = false; /* f is a list, and its place is next */
    size_t i;

    while (*path != '\0') {
        if (component(&path, name) == 0 || d == NULL || (!list && number_message(d)))
            return no_number(whole, err);
        if (list || as_list(d) != NULL) {
            if (!place(name, &i))
                return proto_err_set(err, -EINVAL, NULL,
                                     "\"%.100s\": \"%s\" is not a place in a list", whole,
                                     name);
            if (!list)
                f = as_list(d);
            list = false;
        } else {
            f = protobuf_c_message_descriptor_get_field_by_name(d, name);
            if (f == NULL)
                return no_such_field(d, whole, name, err);
            list = f->label == PROTOBUF_C_LABEL_REPEATED;
        }
        if (f != NULL && !list)
            d = f->type == PROTOBUF_C_TYPE_MESSAGE ? f->descriptor : NULL;
    }
    return f == NULL || list || !number_type(f) ? no_number(whole, err) : 0;
}

/* --- in a message ------------------------------------------------------------------------ */

static int
set_int(PbNumber *ret, int64_t v)
{
    ret->kind_case = PB_NUMBER__KIND_INT;
    ret->int_ = v;
    return 1;
}

static int
set_real(PbNumber *ret, double v)
{
    ret->kind_case = PB_NUMBER__KIND_REAL;
    ret->real = v;
    return 1;
}

static int
from_value(const PbValue *v, PbNumber *ret)
{
    switch (v->kind_case) {
    case PB_VALUE__KIND_FLAG:
        return set_int(ret, v->flag);
    case PB_VALUE__KIND_INT:
        return set_int(ret, v->int_);
    case PB_VALUE__KIND_REAL:
        return set_real(ret, v->real);
    case PB_VALUE__KIND_TEXT:
    case PB_VALUE__KIND_BLOB:
    case PB_VALUE__KIND__NOT_SET:
        break;
    }
    return 0;
}

static int
from_message(const ProtobufCMessage *m, PbNumber *ret)
{
    if (is(m->descriptor, &pb_number__descriptor)) {
        *ret = *(const PbNumber *)(const void *)m;
        return ret->kind_case != PB_NUMBER__KIND__NOT_SET;
    }
    if (is(m->descriptor, &pb_value__descriptor))
        return from_value((const PbValue *)(const void *)m, ret);
    if (is(m->descriptor, &pb_duration__descriptor))
        return set_real(
            ret, (double)pb_duration_ns((const PbDuration *)(const void *)m, 0) / 1e9);
    if (is(m->descriptor, &pb_timestamp__descriptor))
        return set_real(
            ret, (double)pb_timestamp_ns((const PbTimestamp *)(const void *)m, 0) / 1e9);
    return 0;
}

static int
from_unsigned(uint64_t v, char big[NUMPATH_BIG_MAX], PbNumber *ret)
{
    if (v <= INT64_MAX)
        return set_int(ret, (int64_t)v);
    (void)snprintf(big, NUMPATH_BIG_MAX, "%llu", (unsigned long long)v);
    ret->kind_case = PB_NUMBER__KIND_BIG;
    ret->big = big;
    return 1;
}

/* The scalar of type f at p. */
static int
from_scalar(const ProtobufCFieldDescriptor *f, const void *p, char big[NUMPATH_BIG_MAX],
            PbNumber *ret)
{
    switch (f->type) {
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_SFIXED32:
        return set_int(ret, *(const int32_t *)p);
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
        return set_int(ret, *(const int64_t *)p);
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
        return set_int(ret, *(const uint32_t *)p);
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
        return from_unsigned(*(const uint64_t *)p, big, ret);
    case PROTOBUF_C_TYPE_FLOAT:
        return set_real(ret, (double)*(const float *)p);
    case PROTOBUF_C_TYPE_DOUBLE:
        return set_real(ret, *(const double *)p);
    case PROTOBUF_C_TYPE_BOOL:
        return set_int(ret, *(const protobuf_c_boolean *)p != 0);
    case PROTOBUF_C_TYPE_ENUM:
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_BYTES:
    case PROTOBUF_C_TYPE_MESSAGE:
        break;
    }
    return 0;
}

/* Whether m holds a value in field f, which is not repeated. */
static bool
present(const ProtobufCMessage *m, const ProtobufCFieldDescriptor *f)
{
    const char *base = (const char *)m;

    if (f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF)
        return *(const uint32_t *)(const void *)(base + f->quantifier_offset) == f->id;
    if (f->type == PROTOBUF_C_TYPE_MESSAGE)
        return *(void *const *)(const void *)(base + f->offset) != NULL;
    return *(const protobuf_c_boolean *)(base + f->quantifier_offset) != 0;
}

static size_t
size_of(const ProtobufCFieldDescriptor *f)
{
    return f->type == PROTOBUF_C_TYPE_MESSAGE ? sizeof(void *) : widths[f->type];
}

/* Where m keeps what the component names; NULL: nowhere. A list's place is taken from the
 * path as well. */
static const void *
step(const ProtobufCMessage *m, const char *name, const char **path,
     const ProtobufCFieldDescriptor **ret)
{
    const ProtobufCFieldDescriptor *f = as_list(m->descriptor);
    const char *base = (const char *)m;
    char number[COMPONENT_MAX];
    size_t i;

    *ret = f;
    if (f == NULL) {
        *ret = f = protobuf_c_message_descriptor_get_field_by_name(m->descriptor, name);
        if (f == NULL || (f->type != PROTOBUF_C_TYPE_MESSAGE && !number_type(f)))
            return NULL;
        if (f->label != PROTOBUF_C_LABEL_REPEATED)
            return present(m, f) ? base + f->offset : NULL;
        if (component(path, number) == 0)
            return NULL;
        name = number;
    }
    if (!place(name, &i) ||
        i >= *(const size_t *)(const void *)(base + f->quantifier_offset))
        return NULL;
    return *(char *const *)(const void *)(base + f->offset) + i * size_of(f);
}

int
numpath_get(const ProtobufCMessage *m, const char *path, char big[NUMPATH_BIG_MAX],
            PbNumber *ret)
{
    static const PbNumber none = PB_NUMBER__INIT;
    char name[COMPONENT_MAX];

    *ret = none;
    while (*path != '\0' && component(&path, name) > 0) {
        const ProtobufCFieldDescriptor *f;
        const void *at = step(m, name, &path, &f);

        if (at == NULL)
            return 0;
        if (f->type != PROTOBUF_C_TYPE_MESSAGE)
            return *path == '\0' ? from_scalar(f, at, big, ret) : 0;
        m = *(ProtobufCMessage *const *)at;
    }
    return *path == '\0' ? from_message(m, ret) : 0;
}
