#define _GNU_SOURCE
#include "client/out.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proto/json.h"

enum { FLUSH_AT = 256 * 1024 };

static pthread_mutex_t mu = PTHREAD_MUTEX_INITIALIZER;
static struct proto_buf out;    /* guarded by mu */
static char progress_line[512]; /* guarded by mu: what stands on the terminal now */
static bool coloured, terminal, error_terminal; /* constant after out_init */

void
out_init(void)
{
    const char *no_colour = getenv("NO_COLOR");
    const char *term = getenv("TERM");

    terminal = isatty(STDOUT_FILENO) == 1;
    error_terminal = isatty(STDERR_FILENO) == 1;
    coloured = terminal && (no_colour == NULL || *no_colour == '\0') && term != NULL &&
               strcmp(term, "dumb") != 0;
}

bool
out_terminal(void)
{
    return terminal;
}

bool
out_error_terminal(void)
{
    return error_terminal;
}

static void
write_error(const char *s)
{
    size_t n = strlen(s);

    while (n > 0) {
        ssize_t w = write(STDERR_FILENO, s, n);

        if (w < 0 && errno == EINTR)
            continue;
        if (w <= 0)
            return;
        s += w;
        n -= (size_t)w;
    }
}

static void
hide_progress_locked(void)
{
    if (progress_line[0] != '\0')
        write_error("\r\033[K");
}

static void
flush_locked(void)
{
    const char *p = out.data;
    size_t n = out.len;

    if (out.failed) {
        write_error("goctl: out of memory\n");
        _exit(EXIT_JOB);
    }
    if (n > 0)
        hide_progress_locked();
    while (n > 0) {
        ssize_t w = write(STDOUT_FILENO, p, n);

        if (w < 0 && errno == EINTR)
            continue;
        if (w < 0 && errno == EPIPE)
            _exit(128 + 13); /* as if by SIGPIPE: the reader has seen enough */
        if (w < 0) {
            write_error("goctl: cannot write: ");
            write_error(strerror(errno));
            write_error("\n");
            _exit(EXIT_JOB);
        }
        p += w;
        n -= (size_t)w;
    }
    if (out.len > 0)
        write_error(progress_line);
    proto_buf_reset(&out);
}

void
out_flush(void)
{
    pthread_mutex_lock(&mu);
    flush_locked();
    pthread_mutex_unlock(&mu);
}

void
out_add(const char *data, size_t n)
{
    pthread_mutex_lock(&mu);
    proto_buf_add(&out, data, n);
    if (out.len >= FLUSH_AT || out.failed)
        flush_locked();
    pthread_mutex_unlock(&mu);
}

void
out_printf(const char *fmt, ...)
{
    char small[1024], *big = NULL;
    va_list ap;
    int n;

    va_start(ap, fmt);
    n = vsnprintf(small, sizeof(small), fmt, ap);
    va_end(ap);
    if (n < (int)sizeof(small)) {
        out_add(small, n > 0 ? (size_t)n : 0);
        return;
    }
    va_start(ap, fmt);
    n = vasprintf(&big, fmt, ap);
    va_end(ap);
    if (n >= 0)
        out_add(big, (size_t)n);
    free(big);
}

void
out_text(const char *data, size_t n)
{
    char *copy;

    if (!terminal || (copy = malloc(n + 1)) == NULL) {
        out_add(data, n);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)data[i];

        copy[i] = (c < ' ' && c != '\n' && c != '\t') || c == 0x7f ? '?' : (char)c;
    }
    out_add(copy, n);
    free(copy);
}

void
out_colour(enum colour c)
{
    static const char *const codes[] = {"\033[0m",  "\033[1m",  "\033[2m", "\033[31m",
                                        "\033[32m", "\033[33m", "\033[34m"};

    if (coloured)
        out_add(codes[c], strlen(codes[c]));
}

void
out_json(const ProtobufCMessage *m)
{
    pthread_mutex_lock(&mu);
    if (proto_json_print(m, &out) < 0)
        out.failed = true;
    proto_buf_addc(&out, '\n');
    if (out.len >= FLUSH_AT || out.failed)
        flush_locked();
    pthread_mutex_unlock(&mu);
}

void
out_progress(const char *line)
{
    pthread_mutex_lock(&mu);
    flush_locked();
    hide_progress_locked();
    (void)snprintf(progress_line, sizeof(progress_line), "%s", line);
    write_error(progress_line);
    pthread_mutex_unlock(&mu);
}

__attribute__((format(printf, 1, 0))) static void
complain(const char *fmt, va_list ap)
{
    char text[1600];
    int n;

    n = snprintf(text, sizeof(text), "goctl: ");
    (void)vsnprintf(text + n, sizeof(text) - (size_t)n, fmt, ap);
    pthread_mutex_lock(&mu);
    flush_locked();
    hide_progress_locked();
    write_error(text);
    write_error("\n");
    write_error(progress_line);
    pthread_mutex_unlock(&mu);
}

int
out_fail(enum exit_code code, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    complain(fmt, ap);
    va_end(ap);
    return (int)code;
}

void
out_note(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    complain(fmt, ap);
    va_end(ap);
}

int
out_error(const struct goctl_error *err)
{
    enum exit_code code = EXIT_UNREACHABLE;

    if (err->code == GOCTL_REFUSED)
        code = EXIT_REFUSED;
    else if (err->code == GOCTL_INVALID)
        code = EXIT_USAGE;
    else if (err->code == GOCTL_TIMEOUT)
        code = EXIT_DEADLINE;
    else if (err->code == GOCTL_MEMORY)
        code = EXIT_JOB;
    return out_fail(code, "%s", err->text);
}
