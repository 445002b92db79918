/* The configuration: what a file becomes, and the words in which it is refused. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "config/config.h"
#include "config/keys.h"

#define SECOND INT64_C(1000000000)
#define HASH                                                                             \
    "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08" /* "test" */

static struct config *
parse(const char *text)
{
    struct config *cfg = NULL;
    struct cfg_err err;

    if (cfg_parse("t.yaml", text, text == NULL ? 0 : strlen(text), &cfg, &err) < 0)
        fail_msg("%s", err.text);
    return cfg;
}

/* Whether text is refused in these words; says how not. */
static bool
is_refused(const char *text, const char *message)
{
    struct config *cfg = NULL;
    struct cfg_err err;
    int r = cfg_parse("t.yaml", text, strlen(text), &cfg, &err);

    if (r == -EINVAL && strcmp(err.text, message) == 0)
        return true;
    print_error("%s  gave %d: %s\n  not: %s\n", text, r, err.text, message);
    cfg_free(cfg);
    return false;
}

/* Every value of the table's keys as one text, to compare configurations by. */
static void
describe(const struct config *cfg, struct proto_buf *b)
{
    for (const struct cfg_key *k = cfg_keys; k->path != NULL; k++) {
        const char *at = (const char *)cfg + k->offset;
        const struct cfg_strings *list = (const void *)at; /* all lists are {items, n} */
        char line[256] = "";

        switch (k->type) {
        case CFG_BOOL:
            (void)snprintf(line, sizeof(line), "%d", *(const bool *)at);
            break;
        case CFG_INT:
        case CFG_MODE:
        case CFG_DURATION:
        case CFG_SIZE:
            (void)snprintf(line, sizeof(line), "%lld",
                           (long long)*(const int64_t *)(const void *)at);
            break;
        case CFG_REAL:
            (void)snprintf(line, sizeof(line), "%.17g",
                           *(const double *)(const void *)at);
            break;
        case CFG_WORD:
            (void)snprintf(line, sizeof(line), "%d", *(const int *)(const void *)at);
            break;
        case CFG_STRING:
            (void)snprintf(line, sizeof(line), "'%s'", *(char *const *)(const void *)at);
            break;
        case CFG_STRINGS:
        case CFG_CIDRS:
        case CFG_MAP:
        case CFG_LIST:
        case CFG_SCHEDULES:
            (void)snprintf(line, sizeof(line), "%zu", list->n);
            for (size_t i = 0; k->type == CFG_STRINGS && i < list->n; i++) {
                proto_buf_adds(b, list->items[i]);
                proto_buf_addc(b, ' ');
            }
            break;
        }
        proto_buf_adds(b, k->path);
        proto_buf_addc(b, '=');
        proto_buf_adds(b, line);
        proto_buf_addc(b, '\n');
    }
}

static void
empty_file_is_the_default(void **state)
{
    static const char *const empty[] = {"",      "\n", "# nothing\n",
                                        "---\n", "{}", "limits:\nlog:\n"};

    (void)state;
    for (size_t i = 0; i < sizeof(empty) / sizeof(empty[0]); i++) {
        struct config *cfg = parse(empty[i]);

        assert_string_equal(cfg->state_dir, "/var/lib/gojobd");
        assert_int_equal(cfg->listen.n, 1);
        assert_string_equal(cfg->listen.items[0], "ipc:///run/gojobd/gojobd.sock");
        assert_int_equal(cfg->drain_timeout, 30 * SECOND);
        assert_int_equal(cfg->socket.mode, 0660);
        assert_int_equal(cfg->log.level, CFG_LOG_INFO);
        assert_int_equal(cfg->limits.disk_free, 256 << 20);
        assert_int_equal(cfg->fetch.schemes.n, 2);
        assert_int_equal(cfg->files.roots.n, 0);
        assert_true(cfg->defaults.backoff_jitter > 0.19 &&
                    cfg->defaults.backoff_jitter < 0.21);
        assert_int_equal(cfg->schedule.missed, PB_SCHEDULE_SPEC__MISSED__MISSED_ONCE);
        cfg_free(cfg);
    }
}

static void
events_go_beside_the_first_ipc_listener(void **state)
{
    static const char *const cases[][2] = {
        {"", "ipc:///run/gojobd/gojobd-events.sock"},
        {"listen: ['ipc:///a/b.sock']\n", "ipc:///a/b-events.sock"},
        {"listen: ['ipc:///a/b']\n", "ipc:///a/b-events.sock"},
        {"listen: ['ipc:///a/b.sock', 'ipc:///c.sock']\n", "ipc:///a/b-events.sock"},
        {"listen: ['ipc:///a/b.sock']\nevents: ['ipc:///e']\n", "ipc:///e"},
        {"tokens: [{name: a, sha256: " HASH "}]\nlisten: ['tcp://127.0.0.1:1']\n", NULL},
        {"listen: ['ipc:///0123456789012345678901234567890123456789012345678901234567890"
         "123456789012345678901234567890123456789.sock']\n",
         NULL}, /* no room for -events */
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct config *cfg = parse(cases[i][0]);

        assert_int_equal(cfg->events.n, cases[i][1] != NULL);
        if (cases[i][1] != NULL)
            assert_string_equal(cfg->events.items[0], cases[i][1]);
        cfg_free(cfg);
    }
}

/* The file in the repository, as this program's working directory does not tell where. */
static char *
read_source(const char *name, size_t *ret_len)
{
    const char *root = getenv("SOURCE_ROOT");
    char path[4096], *text = calloc(1, 1 << 20);
    FILE *f;

    assert_non_null(root);
    (void)snprintf(path, sizeof(path), "%s/%s", root, name);
    f = fopen(path, "r");
    assert_non_null(f);
    assert_non_null(text);
    *ret_len = fread(text, 1, (1 << 20) - 1, f);
    fclose(f);
    return text;
}

static void
shipped_file_is_what_the_table_says(void **state)
{
    struct proto_buf b = {0};
    size_t len;
    char *text = read_source("config/gojobd.yaml", &len);

    (void)state;
    assert_int_equal(cfg_write_default(&b), 0);
    assert_string_equal(text, b.data);
    proto_buf_free(&b);
    free(text);
}

/* As it stands, and with the # taken from every setting: both are the defaults. */
static void
shipped_file_names_every_key_with_its_default(void **state)
{
    struct proto_buf plain = {0}, bare = {0}, expected = {0}, got = {0};
    struct config *cfg;
    size_t len, keys = 0, settings = 0;
    char *text = read_source("config/gojobd.yaml", &len), *line, *save = NULL;

    (void)state;
    proto_buf_add(&plain, text, len);
    for (line = strtok_r(text, "\n", &save); line != NULL;
         line = strtok_r(NULL, "\n", &save)) {
        size_t indent = strspn(line, " ");

        if (line[indent] == '#' && line[indent + 1] != ' ' && line[indent + 1] != '\0') {
            memmove(line + indent, line + indent + 1, strlen(line + indent));
            settings++;
        }
        proto_buf_adds(&bare, line);
        proto_buf_addc(&bare, '\n');
    }
    for (const struct cfg_key *k = cfg_keys; k->path != NULL; k++)
        keys++;
    assert_int_equal(settings, keys);

    cfg = parse("");
    describe(cfg, &expected);
    cfg_free(cfg);
    cfg = parse(plain.data);
    describe(cfg, &got);
    assert_string_equal(got.data, expected.data);
    cfg_free(cfg);
    proto_buf_reset(&got);
    cfg = parse(bare.data);
    describe(cfg, &got);
    assert_string_equal(got.data, expected.data);
    cfg_free(cfg);
    proto_buf_free(&plain);
    proto_buf_free(&bare);
    proto_buf_free(&expected);
    proto_buf_free(&got);
    free(text);
}

/* Each key's section is described, and no section is there without keys. */
static void
table_is_sound(void **state)
{
    (void)state;
    for (const struct cfg_key *k = cfg_keys; k->path != NULL; k++) {
        const char *dot = strchr(k->path, '.');
        bool found = dot == NULL;

        assert_non_null(k->doc);
        assert_non_null(k->value);
        for (const struct cfg_section *s = cfg_sections; !found && s->path != NULL; s++)
            found = strlen(s->path) == (size_t)(dot - k->path) &&
                    strncmp(s->path, k->path, strlen(s->path)) == 0;
        if (!found)
            fail_msg("%s: its section has no doc", k->path);
    }
    for (const struct cfg_section *s = cfg_sections; s->path != NULL; s++) {
        bool found = false;

        for (const struct cfg_key *k = cfg_keys; !found && k->path != NULL; k++)
            found = strncmp(k->path, s->path, strlen(s->path)) == 0 &&
                    k->path[strlen(s->path)] == '.';
        if (!found)
            fail_msg("section %s has no keys", s->path);
    }
}

static void
full_file_is_read(void **state)
{
    struct config *cfg =
        parse("state_dir: ./var\n"
              "listen: [ipc:///tmp/a.sock, 'tcp://127.0.0.1:7777']\n"
              "tokens:\n"
              "  - {name: ci, sha256: " HASH ", access: admin}\n"
              "  - name: reader\n"
              "    sha256: \"" HASH "\"\n"
              "socket: {mode: '0600', users: [alice, '1000']}\n"
              "drain_timeout: 1.5s\n"
              "files: {roots: [/srv/data, /var/log]}\n"
              "fetch:\n"
              "  allow: [127.0.0.0/8, '::1']\n"
              "  deny: [198.51.100.7]\n"
              "  max_body: 64MiB\n"
              "databases:\n"
              "  stock: {url: 'sqlite:/srv/stock.db', write: true}\n"
              "  sales: {url: postgresql://u@h/sales}\n"
              "limits: {running: 10, fetch: 2}\n"
              "defaults: {backoff_jitter: 0.5}\n"
              "queues:\n"
              "  mail: {running: 10, rate: 2.5, burst: 20, paused: true}\n"
              "  other: {}\n"
              "log: {level: debug, format: json}\n");
    const struct cfg_database *db;
    const struct cfg_queue *q;

    (void)state;
    assert_string_equal(cfg->state_dir, "./var");
    assert_int_equal(cfg->listen.n, 2);
    assert_int_equal(cfg->tokens.n, 2);
    assert_string_equal(cfg->tokens.items[0].name, "ci");
    assert_int_equal(cfg->tokens.items[0].access, CFG_ACCESS_ADMIN);
    assert_int_equal(cfg->tokens.items[1].access, CFG_ACCESS_SUBMIT);
    assert_int_equal(cfg->tokens.items[1].hash[0], 0x9f);
    assert_int_equal(cfg->tokens.items[1].hash[31], 0x08);
    assert_int_equal(cfg->socket.mode, 0600);
    assert_string_equal(cfg->socket.users.items[1], "1000");
    assert_int_equal(cfg->drain_timeout, 3 * SECOND / 2);
    assert_string_equal(cfg->files.roots.items[1], "/var/log");
    assert_int_equal(cfg->fetch.allow.n, 2);
    assert_int_equal(cfg->fetch.deny.items[0].bits, 128);
    assert_int_equal(cfg->fetch.max_body, 64 << 20);
    db = cfg_database(cfg, "stock");
    assert_non_null(db);
    assert_true(db->write);
    assert_string_equal(db->url, "sqlite:/srv/stock.db");
    assert_false(cfg_database(cfg, "sales")->write);
    assert_null(cfg_database(cfg, "none"));
    assert_int_equal(cfg->limits.running, 10);
    q = cfg_queue(cfg, "mail");
    assert_non_null(q);
    assert_true(q->paused && q->rate > 2.4 && q->rate < 2.6);
    assert_int_equal(q->burst, 20);
    assert_int_equal(cfg_queue(cfg, "other")->burst, 1);
    assert_null(cfg_queue(cfg, "none"));
    assert_int_equal(cfg->log.level, CFG_LOG_DEBUG);
    assert_int_equal(cfg->log.format, CFG_LOG_JSON);
    cfg_free(cfg);
}

static void
schedules_have_the_shape_that_clients_use(void **state)
{
    struct config *cfg = parse("schedules:\n"
                               "  - name: nightly\n"
                               "    cron: '30 2 * * *'\n"
                               "    tz: Europe/Berlin\n"
                               "    missed: all\n"
                               "    jobs:\n"
                               "      - fetch: {url: 'https://example.org/'}\n"
                               "        timeout: 10s\n"
                               "      - sum: {numbers: [1, 2.5, 3]}\n"
                               "        labels: {team: a}\n"
                               "  - {name: b, every: 1h, jobs: [{read: {path: /a}}]}\n");
    const PbScheduleSpec *s;

    (void)state;
    assert_int_equal(cfg->schedules.n, 2);
    s = cfg->schedules.items[0];
    assert_string_equal(s->cron, "30 2 * * *");
    assert_int_equal(s->missed, PB_SCHEDULE_SPEC__MISSED__MISSED_ALL);
    assert_int_equal(s->n_jobs, 2);
    assert_string_equal(s->jobs[0]->fetch->url, "https://example.org/");
    assert_int_equal(pb_duration_ns(s->jobs[0]->timeout, 0), 10 * SECOND);
    assert_int_equal(s->jobs[1]->sum->numbers->n_ints, 2);
    assert_int_equal(s->jobs[1]->sum->numbers->n_reals, 1);
    assert_string_equal(s->jobs[1]->labels[0]->value, "a");
    assert_int_equal(pb_duration_ns(cfg->schedules.items[1]->every, 0), 3600 * SECOND);
    cfg_free(cfg);
}

static void
refusals_name_place_key_and_remedy(void **state)
{
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"limts:\n  running: 1\n",
         "t.yaml:1:1: limts: unknown key, did you mean \"limits\"?"},
        {"log:\n  levle: info\n",
         "t.yaml:2:3: log.levle: unknown key, did you mean \"level\"?"},
        {"max_body: 1\n",
         "t.yaml:1:1: max_body: unknown key, did you mean \"fetch.max_body\"?"},
        {"limits.running: 1\n", "t.yaml:1:1: limits.running: unknown key"},
        {"xyzzy: 1\n", "t.yaml:1:1: xyzzy: unknown key"},
        {"limits: {running: many}\n",
         "t.yaml:1:19: limits.running: expected a whole number, got \"many\""},
        {"limits: {running: 0}\n",
         "t.yaml:1:19: limits.running: 0 is out of range, must be from 1 to 10000000"},
        {"limits: {running: 99999999999999999999}\n",
         "t.yaml:1:19: limits.running: 99999999999999999999 is out of range, must be "
         "from 1 to "
         "10000000"},
        {"limits: {running: [1]}\n",
         "t.yaml:1:19: limits.running: expected a whole number, got a list"},
        {"limits: {running: }\n",
         "t.yaml:1:19: limits.running: expected a whole number, got nothing"},
        {"limits: 5\n", "t.yaml:1:9: limits: expected a mapping, got text"},
        {"- a\n", "t.yaml:1:1: expected a mapping, got a list"},
        {"drain_timeout: 30\n",
         "t.yaml:1:16: drain_timeout: expected a duration like 30s or 10m, got \"30\""},
        {"drain_timeout: -1s\n",
         "t.yaml:1:16: drain_timeout: -1s is out of range, must be from 0s to 1d"},
        {"fetch: {max_body: big}\n",
         "t.yaml:1:19: fetch.max_body: expected a size like 64MiB, got \"big\""},
        {"fetch: {max_body: 2TiB}\n",
         "t.yaml:1:19: fetch.max_body: 2TiB is out of range, must be from 0 to 1TiB"},
        {"fetch: {max_body: 9000PiB}\n",
         "t.yaml:1:19: fetch.max_body: 9000PiB is out of range, must be from 0 to 1TiB"},
        {"socket: {mode: '0999'}\n",
         "t.yaml:1:16: socket.mode: expected an octal file mode like "
         "'0660', got \"0999\""},
        {"defaults: {backoff_jitter: 2}\n",
         "t.yaml:1:28: defaults.backoff_jitter: 2 is out of range, must be from 0 to 1"},
        {"defaults: {backoff_jitter: nan}\n",
         "t.yaml:1:28: defaults.backoff_jitter: expected a number, got \"nan\""},
        {"defaults: {backoff_jitter: 1e}\n",
         "t.yaml:1:28: defaults.backoff_jitter: expected a number, got \"1e\""},
        {"log: {level: inof}\n",
         "t.yaml:1:14: log.level: unknown value \"inof\", did you mean \"info\"?"},
        {"log: {format: yaml}\n",
         "t.yaml:1:15: log.format: unknown value \"yaml\", expected one of text, json"},
        {"state_dir: [a]\n", "t.yaml:1:12: state_dir: expected text, got a list"},
        {"state_dir: ''\n", "t.yaml:1:1: state_dir: an empty path"},
        {"state_dir: \"a\\0b\"\n",
         "t.yaml:1:12: state_dir: a NUL character is not allowed"},
        {"files: {roots: /srv}\n",
         "t.yaml:1:16: files.roots: expected a list, got \"/srv\""},
        {"files: {roots: [{}]}\n",
         "t.yaml:1:17: files.roots[0]: expected text, got a mapping"},
        {"files: {roots: ['']}\n", "t.yaml:1:17: files.roots[0]: an empty path"},
        {"fetch: {allow: [10.0.0.0/33]}\n",
         "t.yaml:1:17: fetch.allow[0]: expected an address "
         "range like 10.0.0.0/8, got \"10.0.0.0/33\""},
        {"fetch: {deny: ['::1', 10.1.0.0/8]}\n",
         "t.yaml:1:23: fetch.deny[1]: \"10.1.0.0/8\" has bits set behind its prefix"},
        {"fetch: {deny: [[]]}\n",
         "t.yaml:1:16: fetch.deny[0]: expected an address range like "
         "10.0.0.0/8, got a list"},
        {"fetch: {schemes: [ftp]}\n",
         "t.yaml:1:19: fetch.schemes[0]: \"ftp\" is neither http nor https"},
        {"log: {level: info}\nlog: {}\n",
         "t.yaml:2:1: log: given twice, first in line 1"},
        {"log: {level: info, level: info}\n",
         "t.yaml:1:20: log.level: given twice, first in line 1"},
        {"? [a]\n: 1\n", "t.yaml:1:3: a key must be text"},
        {"databases: []\n", "t.yaml:1:12: databases: expected a mapping, got a list"},
        {"databases: {a: sqlite:x}\n",
         "t.yaml:1:16: databases.a: expected a mapping, got text"},
        {"databases: {a: {}}\n", "t.yaml:1:16: databases.a: url is missing"},
        {"databases: {a: {url: 'mysql:x'}}\n",
         "t.yaml:1:17: databases.a.url: \"mysql:x\" is "
         "neither sqlite:PATH nor postgresql://..."},
        {"databases: {a: {url: 'sqlite:x', writ: true}}\n",
         "t.yaml:1:34: databases.a.writ: unknown key, did you mean \"write\"?"},
        {"databases: {a: {url: 'sqlite:x', write: yes}}\n",
         "t.yaml:1:41: databases.a.write: expected true or false, got \"yes\""},
        {"databases: {a: {url: 'sqlite:x'}, a: {}}\n",
         "t.yaml:1:35: databases.a: given twice, first in line 1"},
        {"databases: {'': {url: 'sqlite:x'}}\n", "t.yaml:1:13: databases: an empty name"},
        {"queues: {q: {rate: -1}}\n",
         "t.yaml:1:20: queues.q.rate: -1 is out of range, must be from 0 to 1000000"},
        {"listen: []\n", "t.yaml:1:1: listen: needs at least one URL"},
        {"listen: [http://x]\n", "t.yaml:1:10: listen[0]: \"http://x\" is not an ipc, "
                                 "tcp, tls+tcp, ws or wss URL"},
        {"listen: ['ipc://']\n", "t.yaml:1:10: listen[0]: \"ipc://\" has no path"},
        {"listen: ['tcp://127.0.0.1:1']\n",
         "t.yaml:1:10: listen[0]: \"tcp://127.0.0.1:1\" needs "
         "a token, and tokens is empty"},
        {"tokens: [{name: a, sha256: " HASH "}]\nlisten: ['tcp://0.0.0.0:1']\n",
         "t.yaml:2:10: listen[0]: \"tcp://0.0.0.0:1\" leaves this machine: use "
         "tls+tcp://"},
        {"tokens: [{name: a, sha256: " HASH "}]\nlisten: ['tls+tcp://0.0.0.0:1']\n",
         "t.yaml:2:10: listen[0]: \"tls+tcp://0.0.0.0:1\" needs tls.cert and tls.key"},
        {"tokens: [{name: a, sha256: " HASH "}]\nevents: ['ws://127.0.0.1']\n",
         "t.yaml:2:10: events[0]: \"ws://127.0.0.1\" names no port"},
        {"tokens: [{name: a, sha256: " HASH "}]\ntls: {cert: /c, key: /k}\n"
         "events: ['tls+tcp://0.0.0.0:1']\n",
         "t.yaml:3:10: events[0]: \"tls+tcp://0.0.0.0:1\" needs tls.ca: subscribers show "
         "no "
         "token, but a certificate"},
        {"tokens: [{name: a}]\n", "t.yaml:1:10: tokens[0]: give either sha256 or file"},
        {"tokens: [{sha256: x}]\n", "t.yaml:1:10: tokens[0]: name is missing"},
        {"tokens: [{name: a, sha256: abc}]\n",
         "t.yaml:1:20: tokens[0].sha256: not 64 hexadecimal digits"},
        {"tokens: [{name: a, file: /nonexistent}]\n",
         "t.yaml:1:20: tokens[0].file: /nonexistent: No such file or directory"},
        {"tokens: [{name: a, sha256: " HASH "}, {name: a, sha256: " HASH "}]\n",
         "t.yaml:1:96: tokens[1].name: \"a\" is there already"},
        {"defaults: {timeout: 366d}\n",
         "t.yaml:1:12: defaults.timeout: above limits.timeout"},
        {"defaults: {retries: 101}\n",
         "t.yaml:1:12: defaults.retries: above limits.retries"},
        {"defaults: {backoff: 11m}\n",
         "t.yaml:1:12: defaults.backoff: above defaults.backoff_max"},
        {"schedules: {}\n", "t.yaml:1:12: schedules: expected a list, got a mapping"},
        {"schedules:\n  - jobs: [{sum: {numbers: [1]}}]\n",
         "t.yaml:2:5: schedules[0]: needs a name"},
        {"schedules: [{name: a, every: 1h}]\n", "t.yaml:1:13: schedules[0]: needs jobs"},
        {"schedules: [{name: a, jobs: [{}]}]\n",
         "t.yaml:1:13: schedules[0]: needs one of at, every and cron"},
        {"schedules: [{name: a, jobs: [{}], every: 1h, cron: x}]\n",
         "t.yaml:1:46: schedules[0].cron: cannot stand beside every"},
        {"schedules:\n  - name: a\n    jobs:\n      - fetsh: {url: x}\n",
         "t.yaml:4:9: schedules[0].jobs[0].fetsh: unknown field, did you mean "
         "\"fetch\"?"},
        {"schedules:\n  - name: a\n    every: 5\n",
         "t.yaml:3:5: schedules[0].every: a duration needs its unit: \"1.5s\", \"10m\""},
        {"schedules: [{name: a, name: b}]\n",
         "t.yaml:1:23: schedules[0]: name is given twice"},
        {"schedules: [&a {labels: *a}]\n",
         "t.yaml:1:13: schedules[0]: nested too deep or too "
         "large"},
        {"schedules: [{? [] : x}]\n", "t.yaml:1:16: schedules[0]: a key must be text"},
        {"schedules: [x]\n", "t.yaml:1:13: schedules[0]: expected object, got string"},
        {"a: [\n",
         "t.yaml:2:1: did not find expected node content while parsing a flow node"},
        {"a: 1\n---\nb: 2\n", "t.yaml:2:1: a second document: only one is read"},
        {"a: *b\n", "t.yaml:1:4: found undefined alias"},
        {"a: \xff\n", "t.yaml:1:1: invalid leading UTF-8 octet"},
    };

    size_t wrong = 0;

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        wrong += !is_refused(cases[i].text, cases[i].message);
    assert_int_equal(wrong, 0);
}

static void
aliases_cannot_blow_a_small_file_up(void **state)
{
    struct proto_buf b = {0};
    struct config *cfg = NULL;
    struct cfg_err err;

    (void)state;
    proto_buf_adds(&b, "schedules:\n  - name: a\n    x0: &x0 [1,1,1,1,1,1,1,1,1,1]\n");
    for (int i = 1; i < 20; i++) {
        char line[120];

        (void)snprintf(line, sizeof(line), "    x%d: &x%d [*x%d,*x%d,*x%d,*x%d,*x%d]\n",
                       i, i, i - 1, i - 1, i - 1, i - 1, i - 1);
        proto_buf_adds(&b, line);
    }
    assert_int_equal(cfg_parse("t.yaml", b.data, b.len, &cfg, &err), -EINVAL);
    assert_non_null(strstr(err.text, "nested too deep or too large"));
    proto_buf_free(&b);
}

static void
token_hash_may_stand_in_a_file_beside_the_configuration(void **state)
{
    static const char yaml[] = "tokens: [{name: a, file: token}]\n";
    char dir[] = "/tmp/gojobd-config-XXXXXX", file[64], conf[64];
    struct config *cfg;
    struct cfg_err err;
    FILE *f;

    (void)state;
    assert_non_null(mkdtemp(dir));
    (void)snprintf(file, sizeof(file), "%s/token", dir);
    (void)snprintf(conf, sizeof(conf), "%s/c.yaml", dir);
    f = fopen(conf, "w");
    assert_non_null(f);
    assert_true(fputs(yaml, f) >= 0);
    fclose(f);
    f = fopen(file, "w");
    assert_non_null(f);
    assert_true(fputs(HASH "  -\n", f) >= 0);
    fclose(f);
    assert_int_equal(cfg_load(conf, &cfg, &err), 0);
    assert_int_equal(cfg->tokens.items[0].hash[1], 0x86);
    cfg_free(cfg);

    f = fopen(file, "w");
    assert_non_null(f);
    assert_true(fputs("secret\n", f) >= 0);
    fclose(f);
    assert_int_equal(cfg_load(conf, &cfg, &err), -EINVAL);
    assert_non_null(strstr(err.text, ":1:20: tokens[0].file: token does not hold 64"));
    unlink(file);
    unlink(conf);
    rmdir(dir);
}

static void
unreadable_file_is_named(void **state)
{
    struct config *cfg;
    struct cfg_err err;

    (void)state;
    assert_int_equal(cfg_load("/nonexistent/x.yaml", &cfg, &err), -ENOENT);
    assert_string_equal(err.text, "/nonexistent/x.yaml: No such file or directory");
    assert_int_equal(cfg_load("/", &cfg, &err), -EISDIR);
    assert_string_equal(err.text, "/: Is a directory");
    assert_int_equal(cfg_load("/dev/zero", &cfg, &err), -EFBIG);
    cfg_free(NULL);
}

static void
error_carries_its_parts(void **state)
{
    struct config *cfg;
    struct cfg_err err;

    (void)state;
    assert_int_equal(cfg_parse("f", "log:\n  level: x\n", 16, &cfg, &err), -EINVAL);
    assert_string_equal(err.key, "log.level");
    assert_int_equal(err.line, 2);
    assert_int_equal(err.column, 10);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(empty_file_is_the_default),
        cmocka_unit_test(events_go_beside_the_first_ipc_listener),
        cmocka_unit_test(shipped_file_is_what_the_table_says),
        cmocka_unit_test(shipped_file_names_every_key_with_its_default),
        cmocka_unit_test(table_is_sound),
        cmocka_unit_test(full_file_is_read),
        cmocka_unit_test(schedules_have_the_shape_that_clients_use),
        cmocka_unit_test(refusals_name_place_key_and_remedy),
        cmocka_unit_test(aliases_cannot_blow_a_small_file_up),
        cmocka_unit_test(token_hash_may_stand_in_a_file_beside_the_configuration),
        cmocka_unit_test(unreadable_file_is_named),
        cmocka_unit_test(error_carries_its_parts),
    };

    return cmocka_run_group_tests_name("config", tests, NULL, NULL);
}
