/*
 * Messages as JSON and back, by their descriptors; the mapping stands in job.proto.
 *
 * Reading is strict: an unknown field (with the nearest known one), a wrong type, a value
 * out of range, two members of a oneof, the same key twice, deep nesting are errors that
 * name the path. Writing never fails but for memory: a byte that is not UTF-8 becomes
 * U+FFFD, an enum value from a newer peer its number.
 *
 * Context    any thread or goroutine; never parks. Stack: a few KiB.
 */
#ifndef GOJOBD_PROTO_JSON_H
#define GOJOBD_PROTO_JSON_H

#include <jansson.h>
#include <stddef.h>

#include "proto/arena.h"
#include "proto/buf.h"
#include "proto/err.h"
#include "proto/pb.h"

enum { PROTO_JSON_DEPTH = 32 }; /* deepest nesting that is read */

/* One JSON value and white space around it. The message lives as long as a.
 * 0, -EINVAL (err says what and where), -ENOBUFS (the arena's limit). */
int proto_json_parse(const ProtobufCMessageDescriptor *desc, const char *text, size_t len,
                     struct proto_arena *a, ProtobufCMessage **ret,
                     struct proto_err *err);

/* The same from a value already in memory, which is only read. */
int proto_json_load(const ProtobufCMessageDescriptor *desc, json_t *json,
                    struct proto_arena *a, ProtobufCMessage **ret, struct proto_err *err);

/* Appends the message on one line, without a newline. 0 or -ENOMEM. */
int proto_json_print(const ProtobufCMessage *m, struct proto_buf *b);

/* The same over several indented lines, ending in a newline. */
int proto_json_print_pretty(const ProtobufCMessage *m, struct proto_buf *b);

/* Appends a JSON string. */
void proto_json_string(struct proto_buf *b, const char *s, size_t len);

/* The enum's value as JSON shows it ("succeeded"); its number where it is unknown. Returns out. */
enum { PROTO_ENUM_TEXT_MAX = 40 };
const char *proto_enum_text(const ProtobufCEnumDescriptor *e, int value,
                            char out[PROTO_ENUM_TEXT_MAX]);

/* The value that a text, in any case, with or without its prefix, stands for; 0 or -EINVAL.
 * err, where given, lists the known ones. "none", where it only stands for "not set", is not
 * among them: JSON may carry it, but nobody means it. */
int proto_enum_parse(const ProtobufCEnumDescriptor *e, const char *text, int *ret,
                     const char *path, struct proto_err *err);

#endif
