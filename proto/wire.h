/*
 * Packed messages in and out, with bounds.
 *
 * Normal path        the bytes are unpacked into an arena whose limit bounds the memory,
 *                    then checked: strings are UTF-8, enum values known, big numbers
 *                    numbers, labels at most 64 and no key twice.
 * Depth              no message contains itself (job.proto, rule 6), so unpacking needs a
 *                    known amount of stack whatever the bytes are.
 * Failure modes      garbage, too much memory, or a failed check: an error, the arena is
 *                    left for its owner to free, nothing else is kept.
 */
#ifndef GOJOBD_PROTO_WIRE_H
#define GOJOBD_PROTO_WIRE_H

#include <stddef.h>

#include "proto/arena.h"
#include "proto/buf.h"
#include "proto/err.h"
#include "proto/pb.h"

enum proto_trust {
    PROTO_CHECK, /* bytes a client sent */
    PROTO_TRUST, /* bytes our own daemon or store wrote, perhaps a newer one */
};

/* The message lives as long as a. Returns 0, -EBADMSG (not such a message, or PROTO_CHECK
 * found something), -ENOBUFS (the arena's limit). */
int proto_unpack(const ProtobufCMessageDescriptor *desc, const void *data, size_t len,
                 enum proto_trust trust, struct proto_arena *a, ProtobufCMessage **ret,
                 struct proto_err *err);

/* What PROTO_CHECK checks, for a message that came another way. 0 or -EBADMSG. */
int proto_check(const ProtobufCMessage *m, struct proto_err *err);

/* Appends the packed message to b. 0 or -ENOMEM. */
int proto_pack(const ProtobufCMessage *m, struct proto_buf *b);

/* A new message in the arena, all fields absent; NULL at its limit. */
void *proto_new(struct proto_arena *a, const ProtobufCMessageDescriptor *desc);

#endif
