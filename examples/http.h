/*
 * As much of HTTP/1.1 (RFC 9112) as the example servers read: the head of a request.
 */
#ifndef GOJOBD_EXAMPLES_HTTP_H
#define GOJOBD_EXAMPLES_HTTP_H

#include <stdbool.h>
#include <stddef.h>

#define HTTP_HEAD_MAX 8192
#define HTTP_HEADERS  64

/* Points into the buffer it was parsed from. */
struct http_request {
    const char *method;
    char *target;
    int minor; /* of the version: 0 or 1 */
    int n_headers;
    struct {
        const char *name, *value;
    } header[HTTP_HEADERS];
};

/* Parse the head at the start of buf, in place: its length with the empty line; 0 if it is
 * not all there yet; -EBADMSG if it is none; -E2BIG if it has too many headers. */
int http_parse(char *buf, size_t have, struct http_request *ret);

/* The value of the first header called name (any case), or NULL. */
const char *http_header(const struct http_request *r, const char *name);

/* Whether a header that is a comma-separated list has token in it (any case). */
bool http_header_has(const struct http_request *r, const char *name, const char *token);

/* Decode %XX and cut off the query, in place. False: malformed, or a NUL in it. */
bool http_decode_path(char *path);

#endif
