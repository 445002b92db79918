/*
 * The generated messages of job.proto, and what makes them bearable: every scalar has
 * explicit presence, so it is set and read through these.
 */
#ifndef GOJOBD_PROTO_PB_H
#define GOJOBD_PROTO_PB_H

#include <stdint.h>

/* Without this protobuf-c adds a member to each enum that every switch would have to name.
 * It is for compilers that make enums smaller than int. */
#ifndef PROTOBUF_C__FORCE_ENUM_TO_BE_INT_SIZE
#define PROTOBUF_C__FORCE_ENUM_TO_BE_INT_SIZE(name)
#endif
#include "proto/job.pb-c.h"

#define PB_PROTOCOL_VERSION 1

/* Sets an optional scalar, enum or bytes field. Strings and messages are pointers: assign. */
#define PB_SET(m, field, v) ((void)((m)->has_##field = 1, (m)->field = (v)))

/* The field's value, or dflt where it is absent. */
#define PB_GET(m, field, dflt) ((m)->has_##field ? (m)->field : (dflt))

/* A duration's nanoseconds, dflt when it is absent. */
static inline int64_t
pb_duration_ns(const PbDuration *d, int64_t dflt)
{
    return d != NULL && d->has_ns ? d->ns : dflt;
}

/* A timestamp's nanoseconds since 1970, dflt when it is absent. */
static inline int64_t
pb_timestamp_ns(const PbTimestamp *t, int64_t dflt)
{
    return t != NULL && t->has_ns ? t->ns : dflt;
}

/* Any generated message as its base. */
#define PB_BASE(m) (&(m)->base)

#endif
