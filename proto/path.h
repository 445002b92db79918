/*
 * The path to the field being looked at, "jobs[3].fetch.headers[2].name", kept in one
 * bounded string while a message is walked. Too long a path is cut, never overrun.
 */
#ifndef GOJOBD_PROTO_PATH_H
#define GOJOBD_PROTO_PATH_H

#include <stddef.h>

struct proto_path {
    size_t len;
    char text[192];
};

/* Both return the length to hand to proto_path_pop. */
size_t proto_path_name(struct proto_path *p, const char *name);
size_t proto_path_index(struct proto_path *p, size_t i);
void proto_path_pop(struct proto_path *p, size_t len);

#endif
