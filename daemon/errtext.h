/*
 * A job's error as the one line of text that the store keeps of it, and back:
 * "33 fetch.url|the server answered 404". People who open the database can read it.
 */
#ifndef GOJOBD_DAEMON_ERRTEXT_H
#define GOJOBD_DAEMON_ERRTEXT_H

#include <stddef.h>

#include "proto/arena.h"
#include "proto/pb.h"

/* Never fails: what does not fit is cut. */
void errtext_print(char *out, size_t size, int code, const char *field,
                   const char *message);

/* Text that is not of this form becomes the message, with code dflt. NULL: no memory. */
PbError *errtext_parse(struct proto_arena *a, const char *text, int dflt);

#endif
