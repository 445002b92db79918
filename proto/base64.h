/*
 * Base64 (RFC 4648): written with padding, read in the plain and the URL alphabet, with or
 * without padding.
 */
#ifndef GOJOBD_PROTO_BASE64_H
#define GOJOBD_PROTO_BASE64_H

#include <stddef.h>
#include <stdint.h>

#define BASE64_ENCODED(n) (((n) + 2) / 3 * 4)
#define BASE64_DECODED(n) ((n) / 4 * 3 + 3) /* at most */

/* Writes BASE64_ENCODED(n) characters, no NUL. */
void base64_encode(const uint8_t *data, size_t n, char *out);

/* 0 or -EINVAL; out has room for BASE64_DECODED(n). */
int base64_decode(const char *s, size_t n, uint8_t *out, size_t *ret_len);

#endif
