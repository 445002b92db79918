/*
 * What a server sends, as it comes: counted, bounded, hashed, kept if that was asked for.
 */
#ifndef GOJOBD_JOBS_FETCH_BODY_H
#define GOJOBD_JOBS_FETCH_BODY_H

#include "jobs/fetch_engine.h"

enum { FETCH_HEADERS_MAX = 256 * 1024 }; /* bytes, over all redirects */

/* Installs the callbacks. */
void fetch_body_set(struct fetch *f);

/* Ready for a body of at most max bytes, of which the first keep are kept. */
void fetch_body_begin(struct fetch *f, uint64_t max, uint64_t keep);

/* The digest, once the transfer is over. */
void fetch_body_sha256(struct fetch *f, char out[SHA256_HEX]);

#endif
