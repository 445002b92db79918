#include "jobs/fetch_result.h"

#include <errno.h>
#include <string.h>

#include "config/config.h"
#include "jobs/env.h"
#include "jobs/fetch_body.h"
#include "proto/utf8.h"
#include "runtime/time/timer.h"

/* --- success --- */

static char *
clean_copy(struct job_run *run, const char *s)
{
    size_t len = strlen(s);
    char *copy = proto_arena_dup(&run->mem, s, len);

    if (copy != NULL)
        utf8_clean(copy, len);
    return copy;
}

static int64_t
time_of(struct fetch *f, CURLINFO info)
{
    curl_off_t us = 0;

    (void)curl_easy_getinfo(f->easy, info, &us);
    return us * GO_MICROSECOND;
}

/* dns, connect and tls are spans, of the last request's connection and 0 where it was kept
 * from an earlier fetch; first_byte and total are since the start. */
static int
add_timings(struct job_run *run, struct fetch *f, PbFetchResult *res)
{
    PbFetchTimings *t = job_new(run, &pb_fetch_timings__descriptor);
    int64_t dns = time_of(f, CURLINFO_NAMELOOKUP_TIME_T);
    int64_t connect = time_of(f, CURLINFO_CONNECT_TIME_T);
    int64_t tls = time_of(f, CURLINFO_APPCONNECT_TIME_T);

    if (t == NULL)
        return -ENOBUFS;
    t->dns = job_duration(run, dns);
    t->connect = job_duration(run, connect > dns ? connect - dns : 0);
    t->tls = job_duration(run, tls > connect ? tls - connect : 0);
    t->first_byte = job_duration(run, time_of(f, CURLINFO_STARTTRANSFER_TIME_T));
    t->total = job_duration(run, time_of(f, CURLINFO_TOTAL_TIME_T));
    if (t->dns == NULL || t->connect == NULL || t->tls == NULL || t->first_byte == NULL ||
        t->total == NULL)
        return -ENOBUFS;
    res->timings = t;
    return 0;
}

static int
add_headers(struct job_run *run, struct fetch *f, PbFetchResult *res)
{
    struct curl_header *h = NULL;
    size_t n = 0;

    while ((h = curl_easy_nextheader(f->easy, CURLH_HEADER, -1, h)) != NULL)
        n++;
    if (n == 0)
        return 0;
    res->headers = proto_arena_alloc(&run->mem, n * sizeof(PbHeader *));
    if (res->headers == NULL)
        return -ENOBUFS;
    while (res->n_headers < n &&
           (h = curl_easy_nextheader(f->easy, CURLH_HEADER, -1, h)) != NULL) {
        PbHeader *to = job_new(run, &pb_header__descriptor);

        if (to == NULL)
            return -ENOBUFS;
        to->name = clean_copy(run, h->name);
        to->value = clean_copy(run, h->value);
        if (to->name == NULL || to->value == NULL)
            return -ENOBUFS;
        res->headers[res->n_headers++] = to;
    }
    return 0;
}

static int
add_body(struct job_run *run, const struct fetch *f, PbFetchResult *res)
{
    size_t len = f->kept_len;
    bool text =
        len == 0 || (utf8_valid(f->kept, len) && memchr(f->kept, '\0', len) == NULL);
    char *copy;

    copy = proto_arena_dup(&run->mem, f->kept, len);
    if (copy == NULL)
        return -ENOBUFS;
    if (text) {
        res->content_case = PB_FETCH_RESULT__CONTENT_TEXT;
        res->text = copy;
    } else {
        res->content_case = PB_FETCH_RESULT__CONTENT_BODY;
        res->body = (ProtobufCBinaryData){.data = (uint8_t *)copy, .len = len};
    }
    PB_SET(res, truncated, f->bytes > len);
    return 0;
}

static const char *
http_name(long version)
{
    switch (version) {
    case CURL_HTTP_VERSION_1_0:
        return "1.0";
    case CURL_HTTP_VERSION_2_0:
        return "2";
    default:
        return "1.1";
    }
}

static int
add_strings(struct job_run *run, struct fetch *f, PbFetchResult *res)
{
    char hex[SHA256_HEX];
    const char *type = NULL, *url = NULL;
    long version = 0, redirects = 0;

    (void)curl_easy_getinfo(f->easy, CURLINFO_CONTENT_TYPE, &type);
    (void)curl_easy_getinfo(f->easy, CURLINFO_HTTP_VERSION, &version);
    (void)curl_easy_getinfo(f->easy, CURLINFO_REDIRECT_COUNT, &redirects);
    (void)curl_easy_getinfo(f->easy, CURLINFO_EFFECTIVE_URL, &url);
    fetch_body_sha256(f, hex);
    res->sha256 = proto_arena_dup(&run->mem, hex, SHA256_HEX - 1);
    res->http = clean_copy(run, http_name(version));
    res->address = clean_copy(run, f->address);
    if (type != NULL)
        res->content_type = clean_copy(run, type);
    if (redirects > 0 && url != NULL)
        res->url = clean_copy(run, url);
    PB_SET(res, redirects, (uint32_t)redirects);
    return res->sha256 == NULL || res->http == NULL || res->address == NULL ? -ENOBUFS
                                                                            : 0;
}

int
fetch_report(struct job_run *run, struct fetch *f)
{
    const PbFetchSpec *s = run->spec->fetch;
    PbJobResult *jr = job_new(run, &pb_job_result__descriptor);
    PbFetchResult *res = job_new(run, &pb_fetch_result__descriptor);
    long status = 0;
    int r;

    if (jr == NULL || res == NULL)
        return job_run_too_large(run);
    (void)curl_easy_getinfo(f->easy, CURLINFO_RESPONSE_CODE, &status);
    PB_SET(res, status, (uint32_t)status);
    PB_SET(res, bytes, f->bytes);
    r = add_strings(run, f, res);
    if (r == 0)
        r = add_timings(run, f, res);
    if (r == 0)
        r = add_headers(run, f, res);
    if (r == 0 && PB_GET(s, keep_body, false))
        r = add_body(run, f, res);
    if (r < 0)
        return job_run_too_large(run);
    jr->result_case = PB_JOB_RESULT__RESULT_FETCH;
    jr->fetch = res;
    run->result = jr;
    if (status < 400 || !PB_GET(s, fail_status, true))
        return 0;
    (void)job_error_set(&run->err, PB_ERROR__CODE__HTTP_STATUS, "fetch.url",
                        "the server answered %ld", status);
    return -EREMOTEIO;
}

/* --- failure --- */

static int
code_of(CURLcode code)
{
    switch ((int)code) {
    case CURLE_URL_MALFORMAT:
        return PB_ERROR__CODE__INVALID;
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_TOO_MANY_REDIRECTS:
        return PB_ERROR__CODE__DENIED;
    case CURLE_COULDNT_RESOLVE_HOST:
        return PB_ERROR__CODE__DNS;
    case CURLE_COULDNT_CONNECT:
    case CURLE_OPERATION_TIMEDOUT: /* of connecting: the only one we set */
        return PB_ERROR__CODE__CONNECT;
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CIPHER:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_ISSUER_ERROR:
    case CURLE_SSL_ENGINE_INITFAILED:
    case CURLE_USE_SSL_FAILED:
        return PB_ERROR__CODE__TLS;
    case CURLE_OUT_OF_MEMORY:
    case CURLE_FAILED_INIT:
        return PB_ERROR__CODE__INTERNAL;
    default:
        return PB_ERROR__CODE__NETWORK;
    }
}

int
fetch_failed(struct job_run *run, const struct fetch *f)
{
    struct job_error *err = &run->err;
    const char *text = f->error[0] != '\0' ? f->error : curl_easy_strerror(f->code);
    int code = code_of(f->code);

    if (f->out_of_memory)
        return job_run_too_large(run);
    if (f->too_large)
        (void)job_error_set(
            err, PB_ERROR__CODE__TOO_LARGE, "fetch.max_bytes",
            "the body has more than %llu bytes (%s)", (unsigned long long)f->max_bytes,
            run->spec->fetch->has_max_bytes ? "fetch.max_bytes" : "fetch.max_body");
    else if (f->too_many_headers)
        (void)job_error_set(err, PB_ERROR__CODE__TOO_LARGE, "fetch.url",
                            "the server's headers have more than %d bytes",
                            FETCH_HEADERS_MAX);
    else if (f->denied[0] != '\0' &&
             (f->code == CURLE_COULDNT_CONNECT || f->code == CURLE_ABORTED_BY_CALLBACK))
        (void)job_error_set(err, PB_ERROR__CODE__DENIED, "fetch.url", "%s", f->denied);
    else if (f->code == CURLE_UNSUPPORTED_PROTOCOL && strstr(text, "HTTP/0.9") != NULL)
        (void)job_error_set(err, PB_ERROR__CODE__NETWORK, "fetch.url",
                            "what the server sent is no HTTP");
    else if (f->code == CURLE_UNSUPPORTED_PROTOCOL)
        (void)job_error_set(err, code, "fetch.url",
                            "a redirect to what fetch.schemes does not list: %s", text);
    else if (f->code == CURLE_TOO_MANY_REDIRECTS)
        (void)job_error_set(err, code, "fetch.max_redirects", "%s", text);
    else
        (void)job_error_set(err, code, "fetch.url", "%s", text);
    return -EREMOTEIO;
}
