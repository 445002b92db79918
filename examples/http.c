#define _GNU_SOURCE
#include "examples/http.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>
#include <strings.h>

/* RFC 9110, 5.6.2. */
static bool
is_token(const char *s, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (!isalnum((unsigned char)s[i]) &&
            (s[i] == '\0' || !strchr("!#$%&'*+-.^_`|~", s[i])))
            return false;
    return len > 0;
}

/* "GET /path HTTP/1.1", NUL-terminated. */
static bool
parse_request_line(char *line, struct http_request *ret)
{
    char *target = strchr(line, ' ');
    char *version = target == NULL ? NULL : strchr(target + 1, ' ');

    if (version == NULL || strncmp(version + 1, "HTTP/1.", 7) != 0 ||
        (version[8] != '0' && version[8] != '1') || version[9] != '\0')
        return false;
    *target++ = '\0';
    *version = '\0';
    ret->method = line;
    ret->target = target;
    ret->minor = version[8] - '0';
    return is_token(line, strlen(line)) && *target != '\0';
}

/* "Name: value", NUL-terminated. */
static bool
parse_header(char *line, struct http_request *ret)
{
    char *value = strchr(line, ':');
    char *end;

    if (value == NULL || !is_token(line, (size_t)(value - line)))
        return false;
    *value++ = '\0';
    value += strspn(value, " \t");
    for (end = value + strlen(value); end > value && (end[-1] == ' ' || end[-1] == '\t');)
        *--end = '\0';
    ret->header[ret->n_headers].name = line;
    ret->header[ret->n_headers++].value = value;
    return true;
}

int
http_parse(char *buf, size_t have, struct http_request *ret)
{
    char *end = memmem(buf, have, "\r\n\r\n", 4);
    char *line = buf;

    if (end == NULL)
        return 0;
    if (memchr(buf, '\0', (size_t)(end - buf)) != NULL)
        return -EBADMSG;
    ret->n_headers = 0;
    end[2] = '\0';
    while (line < end + 2) {
        char *next = strstr(line, "\r\n");

        *next = '\0';
        if (strchr(line, '\n') != NULL || strchr(line, '\r') != NULL)
            return -EBADMSG;
        if (ret->n_headers == HTTP_HEADERS)
            return -E2BIG;
        if (!(line == buf ? parse_request_line(line, ret) : parse_header(line, ret)))
            return -EBADMSG;
        line = next + 2;
    }
    return (int)(end - buf) + 4;
}

const char *
http_header(const struct http_request *r, const char *name)
{
    for (int i = 0; i < r->n_headers; i++)
        if (strcasecmp(r->header[i].name, name) == 0)
            return r->header[i].value;
    return NULL;
}

bool
http_header_has(const struct http_request *r, const char *name, const char *token)
{
    const char *at = http_header(r, name);
    const size_t len = strlen(token);

    while (at != NULL && *at != '\0') {
        const size_t n = strcspn(at, ", \t");

        if (n == len && strncasecmp(at, token, n) == 0)
            return true;
        at += n;
        at += strspn(at, ", \t");
    }
    return false;
}

static int
hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)tolower((unsigned char)c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool
http_decode_path(char *path)
{
    char *out = path;

    for (const char *in = path; *in != '\0' && *in != '?' && *in != '#'; in++) {
        if (*in == '%') {
            const int high = hex(in[1]);
            const int low = high < 0 ? -1 : hex(in[2]);

            if (low < 0 || high * 16 + low == 0)
                return false;
            *out++ = (char)(high * 16 + low);
            in += 2;
        } else {
            *out++ = *in;
        }
    }
    *out = '\0';
    return true;
}
