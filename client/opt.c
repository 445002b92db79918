#define _GNU_SOURCE
#include "client/opt.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "proto/nearest.h"
#include "proto/units.h"

#define AT(field) offsetof(struct args, field)

const struct opt opt_table[] = {
    {"url", 'u', OPT_TEXT, AT(url), "URL", "where the daemon listens (or $GOJOBD_URL)"},
    {"token", 0, OPT_TEXT, AT(token), "TOKEN", "for tcp and beyond (or $GOJOBD_TOKEN)"},
    {"token-file", 0, OPT_TEXT, AT(token_file), "FILE",
     "the token is this file's first line"},
    {"tls-ca", 0, OPT_TEXT, AT(tls_ca), "FILE",
     "certificates to trust (default: the system's)"},
    {"tls-cert", 0, OPT_TEXT, AT(tls_cert), "FILE", "own certificate and key"},
    {"tls-name", 0, OPT_TEXT, AT(tls_name), "NAME",
     "the server's name in its certificate"},
    {"json", 'j', OPT_FLAG, AT(json), NULL, "one JSON object a line"},
    {"help", 'h', OPT_FLAG, AT(help), NULL, "explain the command"},

    {"wait", 'w', OPT_FLAG, AT(wait), NULL, "wait for the results and print them"},
    {"deadline", 0, OPT_DURATION, AT(deadline_ns), "D", "of the whole batch: 30s, 1h30m"},
    {"fail-fast", 0, OPT_FLAG, AT(fail_fast), NULL, "the first failure cancels the rest"},
    {"max-parallel", 0, OPT_COUNT, AT(max_parallel), "N", "jobs of the batch at once"},
    {"batch", 'b', OPT_TEXT, AT(batch), "BATCH", "a batch's number or name"},
    {"from", 'f', OPT_TEXT, AT(from), "FILE",
     "one job a line, as JSON; - is standard input"},
    {"dry-run", 'n', OPT_FLAG, AT(dry_run), NULL, "only say what would be done"},

    {"timeout", 't', OPT_DURATION, AT(timeout_ns), "D",
     "time for one attempt; of wait: for all"},
    {"at", 0, OPT_TIME, AT(at_ns), "TIME",
     "not before: 2026-12-01T08:00:00Z, or local "
     "'2026-12-01 08:00'"},
    {"after", 0, OPT_DURATION, AT(after_ns), "D", "not before this much from now"},
    {"priority", 'p', OPT_INT, AT(priority), "N", "higher runs first; default 0"},
    {"retries", 'r', OPT_COUNT, AT(retries), "N", "attempts after the first"},
    {"backoff", 0, OPT_DURATION, AT(backoff_ns), "D", "wait before the first retry"},
    {"key", 'k', OPT_TEXT, AT(key), "K", "submitted again, it is the same job"},
    {"name", 0, OPT_TEXT, AT(name), "S", "a name to find it by"},
    {"queue", 'q', OPT_TEXT, AT(queue), "Q", "the queue; default \"default\""},
    {"label", 'l', OPT_TEXTS, AT(labels), "K=V", "a label; to select, K alone: has it"},
    {"needs", 0, OPT_TEXTS, AT(needs), "WHAT",
     "start after JOB, batch:BATCH or key:K; may be repeated"},
    {"then-on", 0, OPT_TEXT, AT(then_on), "ON",
     "success (else be cancelled; the default) or finish"},
    {"close", 0, OPT_FLAG, AT(close), NULL, "close the batch first"},

    {"method", 'X', OPT_TEXT, AT(method), "M", "default GET, or POST with --data"},
    {"header", 'H', OPT_TEXTS, AT(headers), "'N: V'", "a request header"},
    {"data", 'd', OPT_TEXT, AT(data), "TEXT",
     "the request's body; @FILE is a file's content"},
    {"http", 0, OPT_TEXT, AT(http), "V", "auto, http1 or http2"},
    {"keep-body", 0, OPT_FLAG, AT(keep_body), NULL, "return the body"},
    {"no-follow", 0, OPT_FLAG, AT(no_follow), NULL, "do not follow redirects"},
    {"no-verify", 0, OPT_FLAG, AT(no_verify), NULL, "accept any certificate"},
    {"any-status", 0, OPT_FLAG, AT(any_status), NULL,
     "a status of 400 or more is no failure"},
    {"max-bytes", 0, OPT_SIZE, AT(max_bytes), "SIZE", "at most: 64KiB, 1MiB"},
    {"content", 0, OPT_FLAG, AT(content), NULL, "return what was read"},
    {"no-glob", 0, OPT_FLAG, AT(no_glob), NULL, "take * ? [ literally"},
    {"offset", 0, OPT_SIZE, AT(offset), "SIZE", "first byte"},
    {"length", 0, OPT_SIZE, AT(length), "SIZE", "bytes from there"},
    {"file", 0, OPT_TEXTS, AT(files), "F", "sum a file's numbers; may be repeated"},
    {"format", 0, OPT_TEXT, AT(format), "F", "text, int64, float64 or csv"},
    {"column", 'c', OPT_TEXT, AT(column), "C", "of CSV: name, or number from 1"},
    {"delimiter", 0, OPT_TEXT, AT(delimiter), "C", "of CSV; default ,"},
    {"results", 0, OPT_TEXT, AT(results), "PATH",
     "sum this number of each awaited job's result"},
    {"parts", 0, OPT_COUNT, AT(parts), "N", "goroutines that share the work"},
    {"db", 0, OPT_TEXT, AT(db), "NAME", "a database of the configuration"},
    {"param", 0, OPT_TEXTS, AT(params), "V", "the next ? or $n; JSON, else text"},
    {"max-rows", 0, OPT_COUNT, AT(max_rows), "N", "rows returned at most"},
    {"every", 'e', OPT_DURATION, AT(every_ns), "D",
     "run again and again; of a timer: its --tick; of top: look so often"},
    {"tick", 0, OPT_DURATION, AT(tick_ns), "D", "between two ticks of a timer"},
    {"first", 0, OPT_DURATION, AT(first_ns), "D",
     "before the first tick; default --tick"},
    {"count", 0, OPT_COUNT, AT(count), "N", "how many; default 1"},

    {"state", 's', OPT_TEXTS, AT(states), "S",
     "queued, running, succeeded, failed, dead, ..."},
    {"kind", 0, OPT_TEXTS, AT(kinds), "K", "fetch, read, sum, sql or timer"},
    {"finished-before", 0, OPT_PAST, AT(before_ns), "T",
     "finished before a time, or so long ago: 7d"},
    {"limit", 0, OPT_COUNT, AT(limit), "N", "at most so many; 0: all"},
    {"oldest", 0, OPT_FLAG, AT(oldest), NULL, "oldest first"},
    {"all", 'a', OPT_FLAG, AT(all), NULL, "finished ones, too"},
    {"output", 'O', OPT_TEXT, AT(output), "FILE", "write the content there"},
    {"reason", 0, OPT_TEXT, AT(reason), "TEXT", "kept with what is cancelled"},

    {"running", 0, OPT_COUNT, AT(running), "N", "jobs of the queue at once; 0: no limit"},
    {"rate", 0, OPT_REAL, AT(rate), "R", "starts a second; 0: no limit"},
    {"burst", 0, OPT_COUNT, AT(burst), "N", "starts that may be made up for"},
    {"schedule", 0, OPT_TEXT, AT(schedule), "SCHEDULE", "that made it"},
    {"cron", 0, OPT_TEXT, AT(cron), "LINE", "'*/5 * * * *', @daily"},
    {"tz", 0, OPT_TEXT, AT(tz), "ZONE", "of the cron line: Europe/Berlin"},
    {"missed", 0, OPT_TEXT, AT(missed), "M", "once, skip or all"},
    {"overlap", 0, OPT_TEXT, AT(overlap), "O", "skip, queue or allow"},
    {"jitter", 0, OPT_DURATION, AT(jitter_ns), "D", "start up to so much later"},
    {"until", 0, OPT_TIME, AT(until_ns), "TIME", "no runs after it"},
    {"replace", 0, OPT_FLAG, AT(replace), NULL, "the one of the same name"},
    {"paused", 0, OPT_FLAG, AT(paused), NULL, "to be resumed later"},
    {"since", 0, OPT_SIZE, AT(since), "SEQ", "events after this number"},
    {"no-progress", 0, OPT_FLAG, AT(no_progress), NULL, "not how far running jobs are"},
    {"once", 0, OPT_FLAG, AT(once), NULL, "print it once, as plain text"},
};
const size_t opt_count = sizeof(opt_table) / sizeof(opt_table[0]);
_Static_assert(sizeof(opt_table) / sizeof(opt_table[0]) <= OPTIONS_MAX, "given[]");

int
opt_find(const char *name)
{
    for (size_t i = 0; i < opt_count; i++)
        if (strcmp(opt_table[i].name, name) == 0)
            return (int)i;
    return -1;
}

static int
find_letter(char letter)
{
    for (size_t i = 0; i < opt_count; i++)
        if (opt_table[i].letter == letter)
            return (int)i;
    return -1;
}

bool
opt_given(const struct args *a, const char *name)
{
    int i = opt_find(name);

    return i >= 0 && a->given[i];
}

bool
opt_listed(const char *list, const char *name)
{
    size_t n = strlen(name);

    for (const char *p = list; p != NULL && *p != '\0';) {
        size_t len = strcspn(p, " ");

        if (len == n && strncmp(p, name, n) == 0)
            return true;
        p += len + (p[len] == ' ');
    }
    return false;
}

int
opt_parse_time(const char *s, int64_t *ret_ns)
{
    static const char *const forms[] = {"%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S",
                                        "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M", "%Y-%m-%d"};

    if (units_parse_time(s, strlen(s), ret_ns) == 0)
        return 0;
    for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
        struct tm tm = {.tm_isdst = -1};
        const char *end = strptime(s, forms[i], &tm);
        time_t t;

        tm.tm_isdst = -1;
        if (end == NULL || *end != '\0')
            continue;
        t = mktime(&tm);
        if (t == (time_t)-1)
            return -EINVAL;
        *ret_ns = (int64_t)t * INT64_C(1000000000);
        return 0;
    }
    return -EINVAL;
}

static int
parse_int(const char *s, int64_t min, int64_t *ret)
{
    char *end;
    long long v;

    errno = 0;
    v = strtoll(s, &end, 10);
    if (end == s || *end != '\0' || errno != 0 || v < min || v > INT32_MAX)
        return -EINVAL;
    *ret = v;
    return 0;
}

static int
parse_real(const char *s, double *ret)
{
    char *end;
    double v = strtod(s, &end);

    if (end == s || *end != '\0' || !(v >= 0 && v < 1e15))
        return -EINVAL;
    *ret = v;
    return 0;
}

static int
add_text(struct texts *t, char *s)
{
    char **v = realloc(t->v, (t->n + 1) * sizeof(*v));

    if (v == NULL)
        return -ENOMEM;
    t->v = v;
    t->v[t->n++] = s;
    return 0;
}

static int
parse_past(const char *s, int64_t *ret)
{
    struct timespec now;

    if (opt_parse_time(s, ret) == 0)
        return 0;
    if (units_parse_duration(s, strlen(s), ret) < 0 || *ret < 0)
        return -EINVAL;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    *ret = now.tv_sec * INT64_C(1000000000) + now.tv_nsec - *ret;
    return 0;
}

static int
set_value(const struct opt *o, char *s, struct args *a)
{
    void *at = (char *)a + o->at;
    size_t n = strlen(s);

    switch (o->type) {
    case OPT_FLAG:
        *(bool *)at = true;
        return 0;
    case OPT_TEXT:
        *(char **)at = s;
        return 0;
    case OPT_TEXTS:
        return add_text(at, s);
    case OPT_COUNT:
        return parse_int(s, 0, at);
    case OPT_INT:
        return parse_int(s, INT32_MIN, at);
    case OPT_REAL:
        return parse_real(s, at);
    case OPT_SIZE:
        return units_parse_size(s, n, at);
    case OPT_DURATION:
        return units_parse_duration(s, n, at) < 0 || *(int64_t *)at < 0 ? -EINVAL : 0;
    case OPT_TIME:
        return opt_parse_time(s, at);
    case OPT_PAST:
        return parse_past(s, at);
    }
    return -EINVAL;
}

static const char *
form_of(enum opt_type type)
{
    switch (type) {
    case OPT_COUNT:
        return "a number from 0";
    case OPT_INT:
        return "an integer";
    case OPT_REAL:
        return "a number from 0";
    case OPT_SIZE:
        return "a size such as 512, 64KiB or 1GiB";
    case OPT_DURATION:
        return "a duration such as 250ms, 30s or 1h30m";
    case OPT_TIME:
        return "a time such as 2026-12-01T08:00:00Z or '2026-12-01 08:00'";
    case OPT_PAST:
        return "a time, or how long ago: 30m, 7d";
    case OPT_FLAG:
    case OPT_TEXT:
    case OPT_TEXTS:
        break;
    }
    return "a text";
}

static int
unknown(const char *name, char *text, size_t size)
{
    struct nearest n = {.word = name};

    for (size_t i = 0; i < opt_count; i++)
        nearest_offer(&n, opt_table[i].name);
    if (n.best != NULL)
        (void)snprintf(text, size, "unknown option --%s; did you mean --%s?", name,
                       n.best);
    else
        (void)snprintf(text, size, "unknown option --%s; see goctl help", name);
    return -1;
}

/* Takes o's value from its own word or the next; returns the words used beyond this one. */
static int
take(int i, char *value, char *next, struct args *a, char *text, size_t size)
{
    const struct opt *o = &opt_table[i];
    char *v = value != NULL ? value : next;

    if (o->type == OPT_FLAG && value != NULL) {
        (void)snprintf(text, size, "--%s takes no value", o->name);
        return -1;
    }
    if (o->type != OPT_FLAG && v == NULL) {
        (void)snprintf(text, size, "--%s needs a value: %s", o->name, o->arg);
        return -1;
    }
    if (set_value(o, o->type == OPT_FLAG ? text : v, a) < 0) {
        (void)snprintf(text, size, "--%s: \"%s\" is not %s", o->name, v,
                       form_of(o->type));
        return -1;
    }
    a->given[i] = true;
    return o->type != OPT_FLAG && value == NULL;
}

/* One word "--name", "--name=value", "-x", "-xVALUE" or "-xyz" of flags. */
static int
take_word(char *word, char *next, struct args *a, char *text, size_t size)
{
    if (word[1] == '-') {
        char *name = word + 2;
        char *value = strchr(name, '=');
        int i;

        if (value != NULL)
            *value++ = '\0';
        i = opt_find(name);
        return i < 0 ? unknown(name, text, size) : take(i, value, next, a, text, size);
    }
    for (char *p = word + 1; *p != '\0'; p++) {
        int i = find_letter(*p);
        bool flag = i >= 0 && opt_table[i].type == OPT_FLAG;
        int r;

        if (i < 0) {
            (void)snprintf(text, size, "unknown option -%c; see goctl help", *p);
            return -1;
        }
        r = take(i, flag || p[1] == '\0' ? NULL : p + 1, next, a, text, size);
        if (r < 0 || !flag)
            return r;
    }
    return 0;
}

/* "-5" is a number to add, "-" standard input. */
static bool
is_option(const char *word)
{
    return word[0] == '-' && word[1] != '\0' && strchr("0123456789.", word[1]) == NULL;
}

int
opt_parse(int argc, char **argv, struct args *a, char *text, size_t size)
{
    *a = (struct args){0};
    a->pos = calloc((size_t)argc + 1, sizeof(*a->pos));
    if (a->pos == NULL) {
        (void)snprintf(text, size, "out of memory");
        return -1;
    }
    for (int i = 1; i < argc; i++) {
        int r;

        if (strcmp(argv[i], "--") == 0) {
            while (++i < argc)
                a->pos[a->n_pos++] = argv[i];
            break;
        }
        if (!is_option(argv[i])) {
            a->pos[a->n_pos++] = argv[i];
            continue;
        }
        r = take_word(argv[i], argv[i + 1], a, text, size);
        if (r < 0)
            return -1;
        i += r;
    }
    return 0;
}
