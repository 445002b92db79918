/*
 * Random messages of any type, by descriptor, in their canonical form: what JSON and the
 * wire must carry unchanged.
 */
#ifndef GOJOBD_TESTS_PROTO_RANDMSG_H
#define GOJOBD_TESTS_PROTO_RANDMSG_H

#include <stdint.h>

#include "proto/arena.h"
#include "proto/pb.h"

struct randmsg {
    uint64_t state; /* of the generator: the same seed gives the same message */
    struct proto_arena *arena;
};

uint64_t randmsg_next(struct randmsg *r);
uint64_t randmsg_below(struct randmsg *r, uint64_t n);

/* Never NULL: running out of memory aborts. */
ProtobufCMessage *randmsg_new(struct randmsg *r, const ProtobufCMessageDescriptor *d);

#endif
