#include "proto/field.h"

#include <ctype.h>
#include <string.h>

enum field_shape
field_shape(const ProtobufCMessageDescriptor *d)
{
    if (d == &pb_duration__descriptor)
        return SHAPE_DURATION;
    if (d == &pb_timestamp__descriptor)
        return SHAPE_TIMESTAMP;
    if (d == &pb_number__descriptor)
        return SHAPE_NUMBER;
    if (d == &pb_number_list__descriptor)
        return SHAPE_NUMBER_LIST;
    if (d == &pb_value__descriptor)
        return SHAPE_VALUE;
    if (d == &pb_row__descriptor)
        return SHAPE_ROW;
    return SHAPE_OBJECT;
}

const void *
field_at(const ProtobufCMessage *m, const ProtobufCFieldDescriptor *f)
{
    return (const char *)m + f->offset;
}

void *
field_at_mut(ProtobufCMessage *m, const ProtobufCFieldDescriptor *f)
{
    return (char *)m + f->offset;
}

void *
field_quantifier(ProtobufCMessage *m, const ProtobufCFieldDescriptor *f)
{
    return (char *)m + f->quantifier_offset;
}

bool
field_is_oneof(const ProtobufCFieldDescriptor *f)
{
    return (f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0;
}

bool
field_is_repeated(const ProtobufCFieldDescriptor *f)
{
    return f->label == PROTOBUF_C_LABEL_REPEATED;
}

/* A repeated message of two strings with these names. */
static bool
is_list_of(const ProtobufCFieldDescriptor *f, const char *first, const char *second)
{
    const ProtobufCMessageDescriptor *d = f->descriptor;

    return field_is_repeated(f) && f->type == PROTOBUF_C_TYPE_MESSAGE &&
           d->n_fields == 2 && d->fields[0].type == PROTOBUF_C_TYPE_STRING &&
           d->fields[1].type == PROTOBUF_C_TYPE_STRING &&
           strcmp(d->fields[0].name, first) == 0 &&
           strcmp(d->fields[1].name, second) == 0;
}

bool
field_is_map(const ProtobufCFieldDescriptor *f)
{
    return is_list_of(f, "key", "value");
}

bool
field_is_pairs(const ProtobufCFieldDescriptor *f)
{
    return is_list_of(f, "name", "value");
}

size_t
field_count(const ProtobufCMessage *m, const ProtobufCFieldDescriptor *f)
{
    const void *at = field_at(m, f);
    const void *q = (const char *)m + f->quantifier_offset;

    if (field_is_repeated(f))
        return *(const size_t *)q;
    if (field_is_oneof(f) && *(const uint32_t *)q != f->id)
        return 0;
    if (f->type == PROTOBUF_C_TYPE_MESSAGE || f->type == PROTOBUF_C_TYPE_STRING)
        return *(const void *const *)at != NULL;
    if (field_is_oneof(f))
        return 1;
    return *(const protobuf_c_boolean *)q != 0;
}

void
field_mark(ProtobufCMessage *m, const ProtobufCFieldDescriptor *f)
{
    void *q = field_quantifier(m, f);

    if (field_is_oneof(f))
        *(uint32_t *)q = f->id;
    else if (f->type != PROTOBUF_C_TYPE_MESSAGE && f->type != PROTOBUF_C_TYPE_STRING)
        *(protobuf_c_boolean *)q = 1;
}

size_t
field_size(const ProtobufCFieldDescriptor *f)
{
    switch (f->type) {
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_SFIXED32:
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
    case PROTOBUF_C_TYPE_FLOAT:
    case PROTOBUF_C_TYPE_ENUM:
        return 4;
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_DOUBLE:
        return 8;
    case PROTOBUF_C_TYPE_BOOL:
        return sizeof(protobuf_c_boolean);
    case PROTOBUF_C_TYPE_BYTES:
        return sizeof(ProtobufCBinaryData);
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_MESSAGE:
        return sizeof(void *);
    }
    return 0;
}

const char *
field_enum_name(const ProtobufCEnumDescriptor *e, const char *name)
{
    size_t n = strlen(e->short_name);

    /* Enum names here are one word, so their upper case is their prefix. */
    for (size_t i = 0; i < n; i++)
        if (name[i] != toupper((unsigned char)e->short_name[i]))
            return name;
    return name[n] == '_' ? name + n + 1 : name;
}
