/*
 * Generated messages through their descriptors: where a field is, whether it is set.
 */
#ifndef GOJOBD_PROTO_FIELD_H
#define GOJOBD_PROTO_FIELD_H

#include <stdbool.h>
#include <stddef.h>

#include "proto/pb.h"

/* Names that stand for a plain JSON value instead of an object; see job.proto. */
enum field_shape {
    SHAPE_OBJECT,
    SHAPE_DURATION,
    SHAPE_TIMESTAMP,
    SHAPE_NUMBER,
    SHAPE_NUMBER_LIST,
    SHAPE_VALUE,
    SHAPE_ROW,
};

enum field_shape field_shape(const ProtobufCMessageDescriptor *d);

/* The field's own member. For a repeated field that is the pointer to its array. */
const void *field_at(const ProtobufCMessage *m, const ProtobufCFieldDescriptor *f);
void *field_at_mut(ProtobufCMessage *m, const ProtobufCFieldDescriptor *f);

/* has_, n_ or the oneof's case, whichever the field has. */
void *field_quantifier(ProtobufCMessage *m, const ProtobufCFieldDescriptor *f);

bool field_is_oneof(const ProtobufCFieldDescriptor *f);
bool field_is_repeated(const ProtobufCFieldDescriptor *f);
/* A map<string, string>. */
bool field_is_map(const ProtobufCFieldDescriptor *f);
/* A list of {name, value}. */
bool field_is_pairs(const ProtobufCFieldDescriptor *f);

/* Number of values: 0 or 1, or the length of a repeated field. */
size_t field_count(const ProtobufCMessage *m, const ProtobufCFieldDescriptor *f);

/* Marks the field as set once (oneof case, has_ flag). */
void field_mark(ProtobufCMessage *m, const ProtobufCFieldDescriptor *f);

/* Size of one value in memory. */
size_t field_size(const ProtobufCFieldDescriptor *f);

/* The part of an enum value's name that JSON shows, still in upper case. */
const char *field_enum_name(const ProtobufCEnumDescriptor *e, const char *name);

#endif
