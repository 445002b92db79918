/*
 * Fetching a URL: what a spec may ask, how it becomes libcurl's options, what comes of it.
 */
#define _GNU_SOURCE

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "config/config.h"
#include "jobs/env.h"
#include "jobs/fetch_body.h"
#include "jobs/fetch_engine.h"
#include "jobs/fetch_policy.h"
#include "jobs/fetch_result.h"
#include "jobs/kind.h"
#include "runtime/go.h"

enum {
    URL_MAX = 8192,
    HEADERS_MAX = 100,
    HEADER_MAX = 16384,
    METHOD_MAX = 32,
    CA_CACHE_S = 24 * 3600,
};

static int
invalid(struct job_error *err, const char *field, const char *text)
{
    return job_error_set(err, PB_ERROR__CODE__INVALID, field, "%s", text);
}

static bool
scheme_allowed(const struct config *cfg, const char *url, size_t len)
{
    for (size_t i = 0; i < cfg->fetch.schemes.n; i++) {
        const char *s = cfg->fetch.schemes.items[i];

        if (strlen(s) == len && strncasecmp(s, url, len) == 0)
            return true;
    }
    return false;
}

static int
validate_url(const struct config *cfg, const char *url, struct job_error *err)
{
    const char *colon, *host;

    if (url == NULL || url[0] == '\0')
        return invalid(err, "fetch.url", "fetch.url is needed");
    if (strlen(url) > URL_MAX)
        return invalid(err, "fetch.url", "fetch.url is longer than 8192 bytes");
    for (const char *p = url; *p != '\0'; p++)
        if ((unsigned char)*p <= ' ' || *p == 0x7f)
            return invalid(err, "fetch.url",
                           "fetch.url has a space or a control character; "
                           "write it as %20 or the like");
    colon = strstr(url, "://");
    if (colon == NULL || colon == url)
        return invalid(err, "fetch.url", "fetch.url must begin with http:// or https://");
    if (!scheme_allowed(cfg, url, (size_t)(colon - url)))
        return job_error_set(err, PB_ERROR__CODE__DENIED, "fetch.url",
                             "fetch.schemes does not list %.*s", (int)(colon - url), url);
    host = colon + 3;
    if (*host == '\0' || strchr("/?#:@", *host) != NULL)
        return invalid(err, "fetch.url", "fetch.url has no host");
    return 0;
}

/* A token of RFC 9110: methods and header names. */
static bool
is_token(const char *s)
{
    if (*s == '\0')
        return false;
    for (; *s != '\0'; s++)
        if ((unsigned char)*s <= ' ' || (unsigned char)*s >= 0x7f ||
            strchr("\"(),/:;<=>?@[\\]{}", *s) != NULL)
            return false;
    return true;
}

static int
validate_headers(const PbFetchSpec *s, struct job_error *err)
{
    if (s->n_headers > HEADERS_MAX)
        return invalid(err, "fetch.headers", "fetch.headers has more than 100 entries");
    for (size_t i = 0; i < s->n_headers; i++) {
        const PbHeader *h = s->headers[i];

        if (h->name == NULL || !is_token(h->name))
            return job_error_set(err, PB_ERROR__CODE__INVALID, "fetch.headers",
                                 "fetch.headers[%zu].name is no header's name", i);
        if (h->value != NULL && strpbrk(h->value, "\r\n") != NULL)
            return job_error_set(err, PB_ERROR__CODE__INVALID, "fetch.headers",
                                 "fetch.headers[%zu].value has a line end in it", i);
        if (strlen(h->name) + (h->value != NULL ? strlen(h->value) : 0) > HEADER_MAX)
            return job_error_set(err, PB_ERROR__CODE__INVALID, "fetch.headers",
                                 "fetch.headers[%zu] is longer than %d bytes", i,
                                 HEADER_MAX);
    }
    return 0;
}

static int
validate_limits(const struct config *cfg, const PbFetchSpec *s, struct job_error *err)
{
    int64_t connect = pb_duration_ns(s->connect_timeout, GO_SECOND);

    if (s->has_max_bytes && s->max_bytes > (uint64_t)cfg->fetch.max_body)
        return job_error_set(err, PB_ERROR__CODE__TOO_LARGE, "fetch.max_bytes",
                             "fetch.max_bytes is more than fetch.max_body of the "
                             "configuration allows (%lld)",
                             (long long)cfg->fetch.max_body);
    if (s->has_max_redirects && s->max_redirects > (uint64_t)cfg->fetch.redirects)
        return job_error_set(err, PB_ERROR__CODE__INVALID, "fetch.max_redirects",
                             "fetch.max_redirects is more than fetch.redirects of the "
                             "configuration allows (%lld)",
                             (long long)cfg->fetch.redirects);
    if (connect < GO_MILLISECOND || connect > 3600 * GO_SECOND)
        return invalid(err, "fetch.connect_timeout",
                       "fetch.connect_timeout must be 1ms to 1h");
    return 0;
}

static int
fetch_validate(struct job_env *env, const PbJobSpec *spec, struct job_error *err)
{
    const PbFetchSpec *s = spec->fetch;
    const struct config *cfg = job_env_config(env);
    int r;

    r = validate_url(cfg, s->url, err);
    if (r < 0)
        return r;
    if (s->method != NULL && (!is_token(s->method) || strlen(s->method) > METHOD_MAX))
        return invalid(err, "fetch.method", "fetch.method is no HTTP method");
    if (s->method != NULL && s->content_case != PB_FETCH_SPEC__CONTENT__NOT_SET &&
        (strcmp(s->method, "GET") == 0 || strcmp(s->method, "HEAD") == 0))
        return invalid(err, "fetch.method", "a GET or HEAD has no body");
    r = validate_headers(s, err);
    return r < 0 ? r : validate_limits(cfg, s, err);
}

/* --- options --- */

static void
set_long(struct fetch *f, CURLoption o, long v)
{
    (void)curl_easy_setopt(f->easy, o, v);
}

static void
set_schemes(struct fetch *f, const struct config *cfg)
{
    char list[256] = "";
    size_t n = 0;

    for (size_t i = 0; i < cfg->fetch.schemes.n; i++) {
        size_t len = strlen(cfg->fetch.schemes.items[i]);

        if (n + len + 2 > sizeof(list))
            break;
        if (n > 0)
            list[n++] = ',';
        memcpy(list + n, cfg->fetch.schemes.items[i], len);
        n += len;
        list[n] = '\0';
    }
    (void)curl_easy_setopt(f->easy, CURLOPT_PROTOCOLS_STR, list);
    (void)curl_easy_setopt(f->easy, CURLOPT_REDIR_PROTOCOLS_STR, list);
}

/* What all fetches under one configuration have in common. */
static void
set_defaults(struct fetch *f, const struct config *cfg)
{
    CURL *c = f->easy;

    curl_easy_reset(c);
    curl_slist_free_all(f->headers);
    f->headers = NULL;
    (void)curl_easy_setopt(c, CURLOPT_PRIVATE, f);
    (void)curl_easy_setopt(c, CURLOPT_ERRORBUFFER, f->error);
    set_long(f, CURLOPT_NOSIGNAL, 1);
    set_long(f, CURLOPT_NOPROGRESS, 1);
    set_long(f, CURLOPT_QUICK_EXIT, 1);
    set_schemes(f, cfg);
    set_long(f, CURLOPT_FOLLOWLOCATION, 1);
    set_long(f, CURLOPT_MAXREDIRS, (long)cfg->fetch.redirects);
    set_long(f, CURLOPT_CONNECTTIMEOUT_MS,
             (long)(cfg->fetch.connect_timeout / GO_MILLISECOND));
    (void)curl_easy_setopt(c, CURLOPT_ACCEPT_ENCODING, "");
    (void)curl_easy_setopt(c, CURLOPT_USERAGENT, cfg->fetch.user_agent);
    set_long(f, CURLOPT_CA_CACHE_TIMEOUT, CA_CACHE_S);
    if (cfg->fetch.ca_file != NULL && cfg->fetch.ca_file[0] != '\0')
        (void)curl_easy_setopt(c, CURLOPT_CAINFO, cfg->fetch.ca_file);
    fetch_policy_set(f);
    fetch_body_set(f);
    f->custom = false;
}

static int
set_headers(struct fetch *f, const PbFetchSpec *s)
{
    for (size_t i = 0; i < s->n_headers; i++) {
        const PbHeader *h = s->headers[i];
        bool empty = h->value == NULL || h->value[0] == '\0';
        struct curl_slist *more;
        char *line;

        /* "Name:" would take a header of libcurl's own out; "Name;" sends it empty. */
        if (asprintf(&line, empty ? "%s;" : "%s: %s", h->name, h->value) < 0)
            return -ENOMEM;
        more = curl_slist_append(f->headers, line);
        free(line);
        if (more == NULL)
            return -ENOMEM;
        f->headers = more;
    }
    (void)curl_easy_setopt(f->easy, CURLOPT_HTTPHEADER, f->headers);
    return 0;
}

static void
set_body(struct fetch *f, const PbFetchSpec *s)
{
    const void *data = NULL;
    size_t len = 0;

    if (s->content_case == PB_FETCH_SPEC__CONTENT__NOT_SET)
        return;
    if (s->content_case == PB_FETCH_SPEC__CONTENT_TEXT) {
        data = s->text;
        len = strlen(s->text);
    } else {
        data = s->body.data;
        len = s->body.len;
    }
    set_long(f, CURLOPT_POST, 1);
    (void)curl_easy_setopt(f->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)len);
    (void)curl_easy_setopt(f->easy, CURLOPT_POSTFIELDS, data != NULL ? data : "");
}

static void
set_method(struct fetch *f, const PbFetchSpec *s)
{
    if (s->method == NULL)
        return;
    if (strcmp(s->method, "HEAD") == 0)
        set_long(f, CURLOPT_NOBODY, 1);
    else if (strcmp(s->method, "GET") != 0)
        (void)curl_easy_setopt(f->easy, CURLOPT_CUSTOMREQUEST, s->method);
}

static void
set_http(struct fetch *f, const PbFetchSpec *s)
{
    PbFetchSpec__Http http = PB_GET(s, http, PB_FETCH_SPEC__HTTP__AUTO);

    if (http == PB_FETCH_SPEC__HTTP__HTTP1)
        set_long(f, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1);
    else if (http == PB_FETCH_SPEC__HTTP__HTTP2)
        set_long(f, CURLOPT_HTTP_VERSION,
                 strncasecmp(s->url, "https:", 6) == 0
                     ? CURL_HTTP_VERSION_2TLS
                     : CURL_HTTP_VERSION_2_PRIOR_KNOWLEDGE);
}

static bool
is_plain(const PbFetchSpec *s)
{
    return s->method == NULL && s->n_headers == 0 &&
           s->content_case == PB_FETCH_SPEC__CONTENT__NOT_SET && !s->has_follow &&
           !s->has_max_redirects && !s->has_http && !s->has_verify &&
           s->connect_timeout == NULL;
}

/* Setting options is a good part of a short fetch: a transfer keeps its own while they fit. */
static int
set_options(struct fetch *f, const struct job_run *run)
{
    const PbFetchSpec *s = run->spec->fetch;
    const struct config *cfg = job_env_config(run->env);
    int r = 0;

    if (f->custom || f->env_id != job_env_id(run->env)) {
        set_defaults(f, cfg);
        f->env_id = job_env_id(run->env);
    }
    if (!is_plain(s)) {
        f->custom = true;
        set_body(f, s);
        set_method(f, s);
        set_http(f, s);
        r = set_headers(f, s);
        if (!PB_GET(s, follow, true))
            set_long(f, CURLOPT_FOLLOWLOCATION, 0);
        if (s->has_max_redirects)
            set_long(f, CURLOPT_MAXREDIRS, (long)s->max_redirects);
        if (!PB_GET(s, verify, true)) {
            set_long(f, CURLOPT_SSL_VERIFYPEER, 0);
            set_long(f, CURLOPT_SSL_VERIFYHOST, 0);
        }
        if (s->connect_timeout != NULL)
            set_long(f, CURLOPT_CONNECTTIMEOUT_MS,
                     (long)(pb_duration_ns(s->connect_timeout, 0) / GO_MILLISECOND));
    }
    if (curl_easy_setopt(f->easy, CURLOPT_URL, s->url) != CURLE_OK)
        r = -ENOMEM;
    return r;
}

/* --- the run --- */

static int
transfer(struct job_run *run, struct fetch *f)
{
    const PbFetchSpec *s = run->spec->fetch;
    const struct config *cfg = job_env_config(run->env);
    int r;

    f->env = run->env;
    f->progress = &run->progress;
    f->denied[0] = f->address[0] = f->error[0] = '\0';
    fetch_body_begin(f, PB_GET(s, max_bytes, (uint64_t)cfg->fetch.max_body),
                     PB_GET(s, keep_body, false) ? (uint64_t)cfg->fetch.keep_body : 0);
    if (set_options(f, run) < 0)
        return job_run_too_large(run);
    r = fetch_run(f, run->ctx);
    if (r < 0)
        return job_run_ended(run, r);
    return f->code == CURLE_OK ? fetch_report(run, f) : fetch_failed(run, f);
}

static int
fetch_job(struct job_run *run)
{
    struct fetch *f = fetch_take(job_env_fetch(run->env));
    int r;

    if (f == NULL)
        return job_run_too_large(run);
    r = transfer(run, f);
    f->env = NULL;
    f->progress = NULL;
    fetch_give(f);
    return r;
}

const struct job_kind job_fetch = {
    .name = "fetch",
    .kind = PB_JOB__KIND__KIND_FETCH,
    .unit = PB_PROGRESS__UNIT__BYTES,
    .validate = fetch_validate,
    .run = fetch_job,
};
