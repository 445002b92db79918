#include "jobs/sha256.h"

/* The one-shot EVP interface allocates and looks its algorithm up for each digest, which
 * costs more than the digest of a short body. */
#define OPENSSL_SUPPRESS_DEPRECATED
#include <openssl/sha.h>

_Static_assert(sizeof(SHA256_CTX) <= sizeof(struct sha256), "room for libcrypto's state");

static SHA256_CTX *
ctx_of(struct sha256 *s)
{
    return (SHA256_CTX *)(void *)s->state;
}

void
sha256_init(struct sha256 *s)
{
    (void)SHA256_Init(ctx_of(s));
}

void
sha256_add(struct sha256 *s, const void *data, size_t len)
{
    (void)SHA256_Update(ctx_of(s), data, len);
}

void
sha256_hex(struct sha256 *s, char out[SHA256_HEX])
{
    static const char digits[] = "0123456789abcdef";
    unsigned char d[SHA256_DIGEST_LENGTH];

    (void)SHA256_Final(d, ctx_of(s));
    for (size_t i = 0; i < sizeof(d); i++) {
        out[2 * i] = digits[d[i] >> 4];
        out[2 * i + 1] = digits[d[i] & 15];
    }
    out[2 * sizeof(d)] = '\0';
}
