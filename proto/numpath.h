/*
 * Numbers in messages by their dotted path: "sum.sum", "fetch.timings.total",
 * "sql.rows.0.1". A component is a field's name or, in a list, a place from 0; a Row is the
 * list of its values, as in JSON.
 *
 * Numbers are integers, doubles, Number, Value (where it holds one), true and false as 1 and
 * 0, Duration in seconds and Timestamp in seconds since 1970.
 *
 * Context    any thread or goroutine; never parks.
 */
#ifndef GOJOBD_PROTO_NUMPATH_H
#define GOJOBD_PROTO_NUMPATH_H

#include "proto/err.h"
#include "proto/pb.h"

/* Whether the path leads to what may be a number in any message of this kind. 0 or -EINVAL;
 * err's sentence begins with the quoted path. */
int numpath_check(const ProtobufCMessageDescriptor *desc, const char *path,
                  struct proto_err *err);

/* 1 and *ret, which may point into m or big; 0: m has no number there. */
enum { NUMPATH_BIG_MAX = 24 };
int numpath_get(const ProtobufCMessage *m, const char *path, char big[NUMPATH_BIG_MAX],
                PbNumber *ret);

#endif
