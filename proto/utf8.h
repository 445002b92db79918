/*
 * UTF-8 as protobuf strings and JSON demand it: shortest forms, no surrogates.
 */
#ifndef GOJOBD_PROTO_UTF8_H
#define GOJOBD_PROTO_UTF8_H

#include <stdbool.h>
#include <stddef.h>

/* Length of the valid sequence that s starts with, 0 when there is none. */
size_t utf8_sequence(const char *s, size_t len);

bool utf8_valid(const char *s, size_t len);

/* Replaces each wrong byte by '?'. For names that came from outside (file names, headers)
 * and go into a string field. */
void utf8_clean(char *s, size_t len);

#endif
