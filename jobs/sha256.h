/*
 * SHA-256 of a stream, by libcrypto: it uses the processor's own instructions.
 *
 * Lifecycle  init -> add ... -> hex. Plain memory; allocates nothing, never parks.
 */
#ifndef GOJOBD_JOBS_SHA256_H
#define GOJOBD_JOBS_SHA256_H

#include <stddef.h>
#include <stdint.h>

enum { SHA256_HEX = 65 }; /* 64 digits and NUL */

struct sha256 {
    uint64_t state[16];
};

void sha256_init(struct sha256 *s);
void sha256_add(struct sha256 *s, const void *data, size_t len);
void sha256_hex(struct sha256 *s, char out[SHA256_HEX]);

#endif
