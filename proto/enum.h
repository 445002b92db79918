/* The values of enums by their names. Internal; proto_enum_parse() is in json.h. */
#ifndef GOJOBD_PROTO_ENUM_H
#define GOJOBD_PROTO_ENUM_H

#include <protobuf-c/protobuf-c.h>

#include "proto/err.h"

/* The value with that name, in any case, with or without its prefix. NULL: none has it. */
const ProtobufCEnumValue *enum_find(const ProtobufCEnumDescriptor *e, const char *text);

/* An error that lists the names that say something, as many as fit. Returns -EINVAL. */
int enum_unknown(struct proto_err *err, const char *path,
                 const ProtobufCEnumDescriptor *e, const char *text);

#endif
