#include "config/keys.h"

#include "config/config.h"

#define AT(member) offsetof(struct config, member)
#define SECOND     INT64_C(1000000000)
#define HOUR       (3600 * SECOND)
#define YEARS(n)   (HOUR * 24 * 365 * (n))
#define KIB        (INT64_C(1) << 10)
#define MIB        (INT64_C(1) << 20)
#define GIB        (INT64_C(1) << 30)
#define TIB        (INT64_C(1) << 40)
#define MILLION    INT64_C(1000000)

static const char *const access_words[] = {"read", "submit", "admin", NULL};
static const char *const level_words[] = {"error", "warning", "notice",
                                          "info",  "debug",   NULL};
static const char *const format_words[] = {"text", "json", NULL};
static const char *const missed_words[] = {"once", "skip", "all", NULL};
static const char *const overlap_words[] = {"skip", "queue", "allow", NULL};

static const struct cfg_key token_keys[] = {
    {.path = "name", .type = CFG_STRING, .offset = offsetof(struct cfg_token, name)},
    {.path = "sha256",
     .type = CFG_STRING,
     .offset = offsetof(struct cfg_token, sha256),
     .value = "''"},
    {.path = "file",
     .type = CFG_STRING,
     .offset = offsetof(struct cfg_token, file),
     .value = "''"},
    {.path = "access",
     .type = CFG_WORD,
     .offset = offsetof(struct cfg_token, access),
     .value = "submit",
     .words = access_words},
    {.path = NULL},
};

static const struct cfg_key database_keys[] = {
    {.path = "url", .type = CFG_STRING, .offset = offsetof(struct cfg_database, url)},
    {.path = "write",
     .type = CFG_BOOL,
     .offset = offsetof(struct cfg_database, write),
     .value = "false"},
    {.path = NULL},
};

static const struct cfg_key queue_keys[] = {
    {.path = "running",
     .type = CFG_INT,
     .offset = offsetof(struct cfg_queue, running),
     .value = "0",
     .max = 10 * MILLION},
    {.path = "rate",
     .type = CFG_REAL,
     .offset = offsetof(struct cfg_queue, rate),
     .value = "0",
     .max = MILLION},
    {.path = "burst",
     .type = CFG_INT,
     .offset = offsetof(struct cfg_queue, burst),
     .value = "1",
     .min = 1,
     .max = MILLION},
    {.path = "paused",
     .type = CFG_BOOL,
     .offset = offsetof(struct cfg_queue, paused),
     .value = "false"},
    {.path = NULL},
};

const struct cfg_section cfg_sections[] = {
    {"socket", "Who may connect to ipc:// listeners."},
    {"tls", "For tls+tcp:// and wss:// listeners. PEM files."},
    {"log", "One line an event on standard error."},
    {"limits", "Bounds that keep the daemon alive whatever it is asked."},
    {"defaults", "What a job gets that does not say."},
    {"retention",
     "How long finished jobs are kept. They go when either bound is passed."},
    {"fetch",
     "Jobs that fetch a URL. Addresses are checked when connecting, after DNS and\n"
     "after each redirect."},
    {"files", "Jobs that read files, or sum their numbers."},
    {"sum", "Jobs that add numbers."},
    {"sql", "Jobs that query a database."},
    {"timer", "Jobs that tick."},
    {"schedule", "What a schedule gets that does not say."},
    {"store", "The database under state_dir."},
    {"runtime", "The goroutine scheduler. Read at the start only."},
    {NULL, NULL},
};

#define KEY_INT(p, v, lo, hi, d)                                                         \
    {                                                                                    \
        .path = #p, .type = CFG_INT, .offset = AT(p), .value = (v), .min = (lo),         \
        .max = (hi), .doc = (d)                                                          \
    }
#define KEY_REAL(p, v, lo, hi, d)                                                        \
    {                                                                                    \
        .path = #p, .type = CFG_REAL, .offset = AT(p), .value = (v), .min = (lo),        \
        .max = (hi), .doc = (d)                                                          \
    }
#define KEY_SIZE(p, v, lo, hi, d)                                                        \
    {                                                                                    \
        .path = #p, .type = CFG_SIZE, .offset = AT(p), .value = (v), .min = (lo),        \
        .max = (hi), .doc = (d)                                                          \
    }
#define KEY_TIME(p, v, lo, hi, d)                                                        \
    {                                                                                    \
        .path = #p, .type = CFG_DURATION, .offset = AT(p), .value = (v), .min = (lo),    \
        .max = (hi), .doc = (d)                                                          \
    }
#define KEY_WORD(p, v, w, d)                                                             \
    {                                                                                    \
        .path = #p, .type = CFG_WORD, .offset = AT(p), .value = (v), .words = (w),       \
        .doc = (d)                                                                       \
    }
#define KEY(p, t, v, d)                                                                  \
    {                                                                                    \
        .path = #p, .type = (t), .offset = AT(p), .value = (v), .doc = (d)               \
    }
#define KEY_ENTRIES(p, t, v, e, s, d)                                                    \
    {                                                                                    \
        .path = #p, .type = (t), .offset = AT(p), .value = (v), .entry = (e),            \
        .entry_size = sizeof(s), .doc = (d)                                              \
    }

const struct cfg_key cfg_keys[] = {
    KEY(state_dir, CFG_STRING, "/var/lib/gojobd",
        "Where the store lives. One daemon per directory."),
    KEY(listen, CFG_STRINGS, "['ipc:///run/gojobd/gojobd.sock']",
        "Where clients connect: ipc://PATH, tcp://HOST:PORT, tls+tcp://HOST:PORT,\n"
        "ws://HOST:PORT/PATH, wss://HOST:PORT/PATH. All but ipc need a token, and\n"
        "beyond loopback TLS."),
    KEY(events, CFG_STRINGS, "[]",
        "Where events are published; the same kinds of URL. [] means beside the first\n"
        "ipc listener: ipc://PATH.sock has its events at ipc://PATH-events.sock.\n"
        "Subscribers show no token: tls.ca must be set for what leaves this machine, "
        "and\n"
        "tcp:// and ws:// let every user of this machine see which jobs there are."),
    KEY_TIME(drain_timeout, "30s", 0, 24 * HOUR,
             "How long running jobs may go on after SIGTERM. What is not finished then\n"
             "is queued again."),

    KEY(socket.mode, CFG_MODE, "'0660'", "File mode of the sockets, in octal."),
    KEY(socket.group, CFG_STRING, "''",
        "Group that owns the sockets; '' keeps the daemon's."),
    KEY(socket.users, CFG_STRINGS, "[]",
        "Names or numbers of the users that may connect, beside root and the daemon's\n"
        "own; [] means whoever the mode lets in."),

    KEY(tls.cert, CFG_STRING, "''", "The certificate, with its chain."),
    KEY(tls.key, CFG_STRING, "''", "Its private key."),
    KEY(tls.ca, CFG_STRING, "''",
        "When set, clients need a certificate signed by this one."),

    KEY_ENTRIES(
        tokens, CFG_LIST, "[]", token_keys, struct cfg_token,
        "Who may call over anything but ipc. Each is {name: NAME, sha256: HASH} or\n"
        "{name: NAME, file: PATH}, the file holding the hash, and access: read,\n"
        "submit (the default) or admin. The hash is that of\n"
        "  printf %s \"$TOKEN\" | sha256sum"),

    KEY_WORD(log.level, "info", level_words, "The least important line that is written."),
    KEY_WORD(log.format, "text", format_words,
             "Text for people, or a JSON object a line."),

    KEY_INT(limits.running, "250000", 1, 10 * MILLION, "Jobs running at once."),
    KEY_INT(limits.fetch, "1024", 1, MILLION, "Of these, fetch jobs."),
    KEY_INT(limits.read, "64", 1, MILLION, "Of these, read jobs."),
    KEY_INT(limits.sum, "256", 1, MILLION, "Of these, sum jobs."),
    KEY_INT(limits.sql, "64", 1, MILLION, "Of these, sql jobs."),
    KEY_INT(limits.timer, "200000", 1, 10 * MILLION, "Of these, timer jobs."),
    KEY_INT(
        limits.backlog, "50000000", 0, 1000 * MILLION,
        "Unfinished jobs at which new ones are refused with a time to retry; 0: none."),
    KEY_SIZE(limits.disk_free, "256MiB", 0, 1024 * TIB,
             "Free space under state_dir below which new jobs are refused."),
    KEY_SIZE(limits.message, "64MiB", 64 * KIB, GIB,
             "The largest message a client may send."),
    KEY_INT(limits.jobs_per_message, "10000", 1, MILLION,
            "Jobs submitted in one message."),
    KEY_INT(limits.calls, "1024", 8, 65536, "Calls served at once."),
    KEY_INT(limits.waiters, "20000", 1, MILLION,
            "Clients waiting for jobs or events at once."),
    KEY_SIZE(limits.result, "16MiB", 1024, GIB, "The largest result a job may leave."),
    KEY_TIME(limits.timeout, "365d", SECOND, YEARS(100),
             "The longest timeout a job may ask for."),
    KEY_INT(limits.retries, "100", 0, 10000, "The most retries a job may ask for."),
    KEY_INT(limits.history, "20", 1, 1000, "Past attempts remembered of a job."),
    KEY_INT(limits.crashes, "3", 1, 100,
            "A job that was running in so many crashes of the daemon is dead."),
    KEY_INT(limits.window, "2000", 16, MILLION,
            "Runnable jobs of a queue held in memory; the others wait in the store."),

    KEY_TIME(defaults.timeout, "1h", 0, YEARS(100),
             "Time for one attempt; 0: none. A timer job's own span comes on top."),
    KEY_INT(defaults.retries, "0", 0, 10000, "Attempts after the first."),
    KEY_INT(defaults.priority, "0", -1000, 1000, "Higher runs first."),
    KEY_TIME(defaults.backoff, "1s", 0, 24 * HOUR, "Wait before the first retry."),
    KEY_TIME(defaults.backoff_max, "10m", 0, YEARS(1),
             "The longest wait before a retry."),
    KEY_REAL(defaults.backoff_factor, "2.0", 1, 100,
             "Each wait is so much longer than the last."),
    KEY_REAL(defaults.backoff_jitter, "0.2", 0, 1, "Share of a wait that is random."),

    KEY_TIME(retention.age, "7d", 0, YEARS(100),
             "Time since they finished; 0: no bound."),
    KEY_INT(retention.count, "1000000", 0, 1000 * MILLION,
            "Number of them; 0: no bound."),
    KEY_TIME(retention.events, "1d", SECOND, YEARS(1),
             "How far back a client that was away can read events."),
    KEY_INT(retention.step, "500", 1, 100000,
            "Rows deleted at once, between other work."),

    KEY(fetch.allow, CFG_CIDRS, "[]",
        "Ranges that may be reached although they are not public, such as 127.0.0.0/8\n"
        "or 10.1.0.0/16. Private, loopback, link-local and reserved ranges are refused\n"
        "otherwise."),
    KEY(fetch.deny, CFG_CIDRS, "[]",
        "Ranges that may not be reached. They go before allow."),
    KEY(fetch.schemes, CFG_STRINGS, "[http, https]", "The kinds of URL."),
    KEY_INT(fetch.per_host, "64", 1, 100000, "Fetches from one host at once."),
    KEY_SIZE(fetch.max_body, "1GiB", 0, TIB, "The largest body that is read."),
    KEY_SIZE(fetch.keep_body, "1MiB", 0, GIB, "The largest body that is returned."),
    KEY_INT(fetch.redirects, "10", 0, 100, "The most redirects that are followed."),
    KEY_TIME(fetch.connect_timeout, "10s", SECOND / 1000, HOUR,
             "Time for DNS, connecting and TLS."),
    KEY_INT(fetch.connections, "256", 0, 100000,
            "Idle connections kept for the next fetch."),
    KEY(fetch.user_agent, CFG_STRING, "gojobd", "The User-Agent header."),
    KEY(fetch.ca_file, CFG_STRING, "''", "Certificates to trust; '' means the system's."),

    KEY(files.roots, CFG_STRINGS, "[]",
        "Directories that jobs may read below; [] means no files at all. Links and ..\n"
        "do not lead out of them."),
    KEY_SIZE(files.max_content, "1MiB", 0, GIB, "The most content that is returned."),
    KEY_INT(files.max_files, "10000", 1, MILLION,
            "Files that one job's patterns may match."),

    KEY_INT(sum.max_numbers, "1000000", 1, 100 * MILLION,
            "Numbers inside one job's spec."),
    KEY_INT(sum.parts, "0", 0, 1024,
            "Goroutines that share a sum over a file; 0: one a processor."),

    KEY_INT(sql.max_rows, "10000", 1, 10 * MILLION, "Rows that are returned."),
    KEY_SIZE(sql.max_bytes, "4MiB", 1024, GIB, "Their size altogether."),
    KEY_INT(sql.connections, "8", 1, 1000, "Connections to each database."),

    KEY_INT(timer.ticks, "1000", 0, 100000,
            "Ticks whose times are recorded; all are counted."),

    KEY_ENTRIES(databases, CFG_MAP, "{}", database_keys, struct cfg_database,
                "What sql jobs may query, by name. Read-only unless write is true:\n"
                "  databases:\n"
                "    stock: {url: 'sqlite:/srv/stock.db'}\n"
                "    sales: {url: 'postgresql://gojobd@db.example/sales', write: true}"),

    KEY_ENTRIES(
        queues, CFG_MAP, "{}", queue_keys, struct cfg_queue,
        "Queues with bounds of their own: running at once, rate of starts a second,\n"
        "burst that may be made up for, paused. Others are made when first used. What\n"
        "goctl queue changes holds until a queue's entry here changes.\n"
        "  queues:\n"
        "    mail: {running: 10, rate: 5, burst: 20}"),

    KEY_WORD(schedule.missed, "once", missed_words,
             "Runs that fell into a time without a daemon."),
    KEY_WORD(schedule.overlap, "skip", overlap_words,
             "A run that is due while the last one is not finished."),
    KEY_INT(schedule.max_missed, "1000", 1, 10000,
            "The most runs made up for when missed is all."),
    KEY(schedule.tz, CFG_STRING, "''", "Time zone of cron lines; '' means the system's."),

    KEY(schedules, CFG_SCHEDULES, "[]",
        "Schedules entered at the start and on SIGHUP, by name, in the shape that\n"
        "clients use. One that goes from here is removed:\n"
        "  schedules:\n"
        "    - name: nightly\n"
        "      cron: '30 2 * * *'\n"
        "      tz: Europe/Berlin\n"
        "      jobs:\n"
        "        - fetch: {url: 'https://example.org/'}"),

    KEY_SIZE(store.cache, "8MiB", MIB, 64 * GIB, "Page cache of a connection, at most."),
    KEY_SIZE(store.wal, "64MiB", MIB, 64 * GIB,
             "Size at which the log is folded into the file."),
    KEY_INT(store.group, "4096", 1, 100000, "Changes committed together, at most."),

    KEY_INT(runtime.gomaxprocs, "0", 0, 1024,
            "Processors that run goroutines; 0: as many as the process may use."),
    KEY_SIZE(runtime.stack_size, "256KiB", 64 * KIB, 64 * MIB,
             "Address space of a goroutine's stack; memory is used as it is touched."),
    KEY_INT(runtime.threads, "2000", 16, 100000, "Threads, at most."),
    {.path = NULL},
};
