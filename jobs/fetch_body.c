#define _GNU_SOURCE
#include "jobs/fetch_body.h"

#include <stdlib.h>
#include <string.h>

#include "jobs/kind.h"
#include "runtime/base/atomic.h"

#define KEPT_POOLED                                                                      \
    ((size_t)64 * 1024) /* the most memory a transfer keeps for the next */

static bool
keep(struct fetch *f, const char *data, size_t n)
{
    if (n > f->keep_max - f->kept_len)
        n = (size_t)(f->keep_max - f->kept_len);
    if (n == 0)
        return true;
    if (f->kept_len + n > f->kept_cap) {
        size_t cap =
            f->kept_cap * 2 > f->kept_len + n ? f->kept_cap * 2 : f->kept_len + n;
        char *more = realloc(f->kept, cap);

        if (more == NULL)
            return false;
        f->kept = more;
        f->kept_cap = cap;
    }
    memcpy(f->kept + f->kept_len, data, n);
    f->kept_len += n;
    return true;
}

/* At the first byte: does the server say that there will be too many? What is encoded may
 * become shorter or longer; then only the bytes themselves count. */
static bool
announced_too_large(struct fetch *f)
{
    curl_off_t length = -1;
    struct curl_header *h;

    if (curl_easy_getinfo(f->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length) !=
            CURLE_OK ||
        length < 0)
        return false;
    if (curl_easy_header(f->easy, "Content-Encoding", 0, CURLH_HEADER, -1, &h) ==
        CURLHE_OK)
        return false;
    STORE(&f->progress->total, (uint64_t)length, RELAXED);
    return (uint64_t)length > f->max_bytes;
}

/* The driver's, under libcurl: never parks. */
static size_t
on_body(char *data, size_t size, size_t n, void *arg)
{
    struct fetch *f = arg;

    n *= size;
    if (n > f->max_bytes - f->bytes || (f->bytes == 0 && announced_too_large(f))) {
        f->too_large = true;
        return CURL_WRITEFUNC_ERROR;
    }
    if (f->bytes + n <= FETCH_SMALL) {
        memcpy(f->small + f->bytes, data, n);
    } else {
        if (f->bytes <= FETCH_SMALL)
            sha256_add(&f->sha, f->small, (size_t)f->bytes);
        sha256_add(&f->sha, data, n);
    }
    if (!keep(f, data, n)) {
        f->out_of_memory = true;
        return CURL_WRITEFUNC_ERROR;
    }
    f->bytes += n;
    STORE(&f->progress->done, f->bytes, RELAXED);
    return n;
}

static size_t
on_header(char *data, size_t size, size_t n, void *arg)
{
    struct fetch *f = arg;

    (void)data;
    f->header_bytes += n * size;
    if (f->header_bytes <= FETCH_HEADERS_MAX)
        return n * size;
    f->too_many_headers = true;
    return 0;
}

void
fetch_body_set(struct fetch *f)
{
    CURL *c = f->easy;

    (void)curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_body);
    (void)curl_easy_setopt(c, CURLOPT_WRITEDATA, f);
    (void)curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, on_header);
    (void)curl_easy_setopt(c, CURLOPT_HEADERDATA, f);
}

void
fetch_body_begin(struct fetch *f, uint64_t max, uint64_t keep_max)
{
    f->bytes = 0;
    f->max_bytes = max;
    f->keep_max = keep_max;
    f->header_bytes = 0;
    f->kept_len = 0;
    if (f->kept_cap > KEPT_POOLED) {
        free(f->kept);
        f->kept = NULL;
        f->kept_cap = 0;
    }
    f->too_large = f->too_many_headers = f->out_of_memory = false;
    sha256_init(&f->sha);
}

void
fetch_body_sha256(struct fetch *f, char out[SHA256_HEX])
{
    if (f->bytes <= FETCH_SMALL)
        sha256_add(&f->sha, f->small, (size_t)f->bytes);
    sha256_hex(&f->sha, out);
}
