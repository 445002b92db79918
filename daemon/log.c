#include "daemon/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "proto/units.h"
#include "proto/utf8.h"
#include "runtime/base/atomic.h"
#include "runtime/sched/blocking.h"

enum { LINE_MAX_BYTES = 2048 };

static int log_level = CFG_LOG_INFO;  /* atomic */
static int log_format = CFG_LOG_TEXT; /* atomic */
static int log_journal;               /* atomic: standard error is the journal */

static const struct {
    const char *name;
    int priority; /* as syslog counts */
} levels[] = {
    [CFG_LOG_ERROR] = {"error", 3},   [CFG_LOG_WARNING] = {"warning", 4},
    [CFG_LOG_NOTICE] = {"notice", 5}, [CFG_LOG_INFO] = {"info", 6},
    [CFG_LOG_DEBUG] = {"debug", 7},
};

/* $JOURNAL_STREAM is "device:inode" of the journal's socket. */
static bool
stderr_is_journal(void)
{
    const char *s = getenv("JOURNAL_STREAM");
    unsigned long long dev, ino;
    struct stat st;
    char *end;

    if (s == NULL || fstat(STDERR_FILENO, &st) < 0)
        return false;
    dev = strtoull(s, &end, 10);
    if (*end != ':')
        return false;
    ino = strtoull(end + 1, &end, 10);
    return *end == '\0' && st.st_dev == dev && st.st_ino == ino;
}

void
log_setup(int level, int format)
{
    STORE(&log_level, level, RELAXED);
    STORE(&log_format, format, RELAXED);
    STORE(&log_journal, stderr_is_journal(), RELAXED);
}

bool
log_wanted(int level)
{
    return level <= LOAD(&log_level, RELAXED);
}

static void
now_text(char out[UNITS_TEXT_MAX])
{
    struct timespec t;

    (void)clock_gettime(CLOCK_REALTIME, &t);
    units_format_time((int64_t)t.tv_sec * 1000000000 + t.tv_nsec / 1000000 * 1000000,
                      out);
}

/* text as the inside of a JSON string. Cut where out ends. */
static size_t
json_escape(char *out, size_t size, const char *text)
{
    size_t n = 0;

    for (const unsigned char *p = (const unsigned char *)text; *p != '\0'; p++) {
        if (n + 8 >= size)
            break;
        if (*p == '"' || *p == '\\')
            out[n++] = '\\';
        if (*p < 0x20)
            n += (size_t)snprintf(out + n, size - n, "\\u%04x", *p);
        else
            out[n++] = (char)*p;
    }
    out[n] = '\0';
    return n;
}

static size_t
line_json(char *line, size_t size, int level, const char *text)
{
    char time[UNITS_TEXT_MAX];
    size_t n;

    now_text(time);
    n = (size_t)snprintf(line, size, "{\"time\":\"%s\",\"level\":\"%s\",\"message\":\"",
                         time, levels[level].name);
    n += json_escape(line + n, size - n - 4, text);
    memcpy(line + n, "\"}\n", 4);
    return n + 3;
}

static size_t
line_text(char *line, size_t size, int level, char *text)
{
    char time[UNITS_TEXT_MAX];
    int n;

    for (char *p = text; *p != '\0'; p++)
        if (*p == '\n' || *p == '\r')
            *p = ' ';
    if (LOAD(&log_journal, RELAXED)) {
        n = snprintf(line, size, "<%d>%s\n", levels[level].priority, text);
    } else {
        now_text(time);
        n = snprintf(line, size, "%s %s: %s\n", time, levels[level].name, text);
    }
    if ((size_t)n < size)
        return (size_t)n;
    line[size - 2] = '\n';
    return size - 1;
}

void
log_write(int level, const char *fmt, ...)
{
    char text[LINE_MAX_BYTES], line[LINE_MAX_BYTES + 128];
    va_list ap;
    size_t n;

    if (!log_wanted(level))
        return;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    utf8_clean(text, strlen(text));
    if (LOAD(&log_format, RELAXED) == CFG_LOG_JSON)
        n = line_json(line, sizeof(line), level, text);
    else
        n = line_text(line, sizeof(line), level, text);
    /* One call, so that lines do not mix. A log that cannot be written is lost. */
    (void)!GO_BLOCKING(write(STDERR_FILENO, line, n));
}
