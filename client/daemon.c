/*
 * goctl stats, ping, backup, check, goroutines, stack, trace, call.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/cli.h"
#include "client/conn.h"
#include "client/progress.h"
#include "client/show.h"
#include "proto/field.h"
#include "proto/json.h"
#include "proto/nearest.h"
#include "proto/wire.h"

static int
run_ping(struct cli *cli)
{
    PbPing ping = PB_PING__INIT;
    PbRequest req = PB_REQUEST__INIT;
    struct goctl_reply *reply;
    const PbPingReply *r;
    char span[SHOW_TEXT_MAX];
    int64_t begin = goctl_now();
    int code = 0;

    req.call_case = PB_REQUEST__CALL_PING;
    req.ping = &ping;
    reply = cli_call(cli, &req, PB_RESPONSE__REPLY_PING, &code);
    if (reply == NULL)
        return code;
    r = goctl_response(reply)->ping;
    if (cli->a.json)
        out_json(PB_BASE(r));
    else
        out_printf("gojobd %s at %s answered in %s\n",
                   r->version != NULL ? r->version : "", goctl_url(cli->conn),
                   show_span(goctl_now() - begin, span));
    goctl_reply_free(reply);
    return 0;
}

/* --- stats ------------------------------------------------------------------------------ */

#define FIELD "%-11s "

static void
stats_store(const PbStoreStats *s)
{
    char file[SHOW_TEXT_MAX], wal[SHOW_TEXT_MAX], avg[SHOW_TEXT_MAX];

    out_printf(FIELD "%s, log %s, %" PRIu64 " commits of %.3g writes, %s each\n", "store",
               show_size(s->file_bytes, file), show_size(s->wal_bytes, wal), s->commits,
               s->commits > 0 ? (double)s->writes / (double)s->commits : 0.0,
               show_span(pb_duration_ns(s->commit_avg, 0), avg));
}

static void
stats_scheduler(const PbSchedulerStats *s)
{
    char stack[SHOW_TEXT_MAX];

    out_printf(FIELD "%" PRIu32 " processors, %" PRIu32 " threads, %" PRIu64
                     " goroutines (%" PRIu64 " spawned), stacks %s\n",
               "scheduler", s->procs, s->threads, s->goroutines, s->spawned,
               show_size(s->stack_bytes, stack));
    out_printf(FIELD "%" PRIu64 " switches, %" PRIu64 " steals, %" PRIu64
                     " hand-offs, %" PRIu64 " preemptions\n",
               "", s->switches, s->steals, s->handoffs, s->preemptions);
}

static void
stats_kinds(const PbStatsReply *r)
{
    static const char *const heads[] = {"KIND", ">RUNNING", ">SUCCEEDED", ">FAILED",
                                        ">LIMIT"};
    struct table t;

    if (r->n_kinds == 0)
        return;
    table_init(&t, sizeof(heads) / sizeof(heads[0]), heads);
    for (size_t i = 0; i < r->n_kinds; i++) {
        const PbKindStats *k = r->kinds[i];

        table_text(&t, show_kind(k->kind));
        table_printf(&t, "%" PRIu64, k->running);
        table_printf(&t, "%" PRIu64, k->succeeded);
        table_printf(&t, "%" PRIu64, k->failed);
        table_printf(&t, "%" PRIu32, k->limit);
    }
    out_add("\n", 1);
    table_print(&t);
    table_fini(&t);
}

static void
stats_print(const PbStatsReply *r)
{
    static const PbCounts none = PB_COUNTS__INIT;
    const PbCounts *c = r->counts != NULL ? r->counts : &none;
    char up[SHOW_TEXT_MAX], rss[SHOW_TEXT_MAX];

    out_printf(FIELD "%s, up %s, %s\n", "gojobd", r->version != NULL ? r->version : "",
               show_span(pb_duration_ns(r->uptime, 0), up),
               PB_GET(r, state, PB_DAEMON__STATE__STATE_RUNNING) ==
                       PB_DAEMON__STATE__STATE_DRAINING
                   ? "shutting down"
                   : "running");
    out_printf(FIELD "%" PRIu64 " scheduled, %" PRIu64 " queued, %" PRIu64
                     " running, %" PRIu64 " succeeded, %" PRIu64 " failed, %" PRIu64
                     " dead, %" PRIu64 " cancelled\n",
               "jobs", c->scheduled, c->queued, c->running, c->succeeded, c->failed,
               c->dead, c->cancelled);
    if (PB_GET(r, schedules, 0) > 0)
        out_printf(FIELD "%" PRIu64 "\n", "schedules", r->schedules);
    out_printf(FIELD "%.4g submitted, %.4g finished a second\n", "rate", r->submit_rate,
               r->finish_rate);
    out_printf(FIELD "%" PRIu32 " calls, %" PRIu64 " waiting\n", "clients", r->clients,
               r->waiters);
    out_printf(FIELD "%s\n", "memory", show_size(r->rss_bytes, rss));
    if (r->scheduler != NULL)
        stats_scheduler(r->scheduler);
    if (r->store != NULL)
        stats_store(r->store);
    stats_kinds(r);
}

static int
run_stats(struct cli *cli)
{
    PbStats stats = PB_STATS__INIT;
    PbRequest req = PB_REQUEST__INIT;
    struct goctl_reply *reply;
    int code = 0;

    PB_SET(&stats, queues, true);
    PB_SET(&stats, running, cli->a.all);
    req.call_case = PB_REQUEST__CALL_STATS;
    req.stats = &stats;
    reply = cli_call(cli, &req, PB_RESPONSE__REPLY_STATS, &code);
    if (reply == NULL)
        return code;
    if (cli->a.json)
        out_json(PB_BASE(goctl_response(reply)->stats));
    else
        stats_print(goctl_response(reply)->stats);
    goctl_reply_free(reply);
    return 0;
}

/* --- backup and trace: chunks into a file ----------------------------------------------- */

static int
write_all(int fd, const void *data, size_t n)
{
    const char *p = data;

    while (n > 0) {
        ssize_t w = write(fd, p, n);

        if (w < 0 && errno == EINTR)
            continue;
        if (w < 0)
            return -errno;
        p += w;
        n -= (size_t)w;
    }
    return 0;
}

/* Asks for chunk after chunk; next puts the handle and the offset into the request. */
static int
download(struct cli *cli, PbRequest *req, void (*next)(PbRequest *req, const PbChunk *c),
         int fd, const char *path)
{
    bool done = false;
    int code = 0;

    while (!done) {
        struct goctl_reply *reply = cli_call(cli, req, PB_RESPONSE__REPLY_CHUNK, &code);
        const PbChunk *c;
        int r;

        if (reply == NULL)
            return code;
        c = goctl_response(reply)->chunk;
        r = write_all(fd, c->data.data, c->has_data ? c->data.len : 0);
        if (r < 0)
            code = out_fail(EXIT_JOB, "%s: %s", path, strerror(-r));
        done = PB_GET(c, done, false) || code != 0;
        next(req, c);
        goctl_reply_free(reply);
    }
    return code;
}

static void
backup_next(PbRequest *req, const PbChunk *c)
{
    PB_SET(req->backup, handle, c->handle);
    PB_SET(req->backup, offset, c->offset + (c->has_data ? c->data.len : 0));
}

/* The copy gets its name when it is whole and on the disk: an old one is never lost to half
 * of a new one. */
static int
run_backup(struct cli *cli)
{
    PbBackup backup = PB_BACKUP__INIT;
    PbRequest req = PB_REQUEST__INIT;
    const char *path = cli->argv[0];
    char part[4096];
    int fd, code;

    if (snprintf(part, sizeof(part), "%s.part", path) >= (int)sizeof(part))
        return out_fail(EXIT_USAGE, "the file's name is too long");
    fd = open(part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return out_fail(EXIT_USAGE, "%s: %s", part, strerror(errno));
    req.call_case = PB_REQUEST__CALL_BACKUP;
    req.backup = &backup;
    code = download(cli, &req, backup_next, fd, part);
    if (code == 0 && fsync(fd) < 0)
        code = out_fail(EXIT_JOB, "%s: %s", part, strerror(errno));
    (void)close(fd);
    if (code == 0 && rename(part, path) < 0)
        code = out_fail(EXIT_JOB, "%s: %s", path, strerror(errno));
    if (code != 0)
        (void)unlink(part);
    else if (!cli->a.json)
        out_printf("%s\n", path);
    return code;
}

static void
trace_next(PbRequest *req, const PbChunk *c)
{
    PB_SET(req->trace, handle, c->handle);
    PB_SET(req->trace, offset, c->offset + (c->has_data ? c->data.len : 0));
}

/* To standard output; into a file not torn apart by Ctrl-C. */
static int
copy_out(int fd)
{
    static char buf[256 * 1024];
    struct stat st;
    ssize_t n;
    int r = 0;

    if (fstat(STDOUT_FILENO, &st) == 0 && S_ISREG(st.st_mode))
        interrupt_hold();
    while (r == 0 && (n = read(fd, buf, sizeof(buf))) != 0)
        r = n < 0 ? -errno : write_all(STDOUT_FILENO, buf, (size_t)n);
    return r < 0 ? out_fail(EXIT_JOB, "standard output: %s", strerror(-r)) : 0;
}

/* Fetched whole before any of it is printed: half a trace is none. */
static int
fetch_trace(struct cli *cli, PbRequest *req)
{
    FILE *f = tmpfile();
    int code;

    if (f == NULL)
        return out_fail(EXIT_JOB, "no temporary file: %s", strerror(errno));
    code = download(cli, req, trace_next, fileno(f), "the temporary file");
    if (code == 0 && lseek(fileno(f), 0, SEEK_SET) < 0)
        code = out_fail(EXIT_JOB, "the temporary file: %s", strerror(errno));
    if (code == 0)
        code = copy_out(fileno(f));
    (void)fclose(f);
    return code;
}

static int
run_trace(struct cli *cli)
{
    PbTrace trace = PB_TRACE__INIT;
    PbRequest req = PB_REQUEST__INIT;
    PbDuration span = PB_DURATION__INIT;
    struct args a = {0};
    char text[200], word[64];
    char *argv[] = {word, word, NULL};

    (void)snprintf(word, sizeof(word), "--timeout=%s", cli->argv[0]);
    if (opt_parse(2, argv, &a, text, sizeof(text)) < 0) {
        free(a.pos);
        return out_fail(EXIT_USAGE, "\"%s\" is not a duration such as 5s", cli->argv[0]);
    }
    free(a.pos);
    PB_SET(&span, ns, a.timeout_ns);
    trace.duration = &span;
    req.call_case = PB_REQUEST__CALL_TRACE;
    req.trace = &trace;
    return fetch_trace(cli, &req);
}

static int
run_check(struct cli *cli)
{
    PbCheck check = PB_CHECK__INIT;
    PbRequest req = PB_REQUEST__INIT;
    struct goctl_reply *reply;
    const PbCheckReply *r;
    int code = 0;

    req.call_case = PB_REQUEST__CALL_CHECK;
    req.check = &check;
    reply = cli_call(cli, &req, PB_RESPONSE__REPLY_CHECK, &code);
    if (reply == NULL)
        return code;
    r = goctl_response(reply)->check;
    if (cli->a.json)
        out_json(PB_BASE(r));
    else if (PB_GET(r, ok, false))
        out_printf("the store is whole\n");
    for (size_t i = 0; !cli->a.json && i < r->n_problems; i++)
        out_printf("%s\n", r->problems[i]);
    code = PB_GET(r, ok, false) ? 0 : EXIT_JOB;
    goctl_reply_free(reply);
    return code;
}

/* --- goroutines ------------------------------------------------------------------------- */

static void
group_print(const PbGoroutineGroup *g)
{
    char span[SHOW_TEXT_MAX];

    out_colour(BOLD);
    out_printf("%" PRIu64 " %s", PB_GET(g, count, 1), g->state != NULL ? g->state : "");
    out_colour(PLAIN);
    if (g->reason != NULL)
        out_printf(", %s", g->reason);
    if (g->longest != NULL)
        out_printf(", %s", show_span(pb_duration_ns(g->longest, 0), span));
    if (g->name != NULL)
        out_printf(", %s", g->name);
    if (g->has_job)
        out_printf(", job %" PRIu64, g->job);
    out_printf(", goroutine%s", g->n_ids == 1 ? "" : "s");
    for (size_t i = 0; i < g->n_ids && i < 8; i++)
        out_printf(" %" PRIu64, g->ids[i]);
    out_printf(PB_GET(g, count, 1) > 8 ? " ...\n" : "\n");
    for (size_t i = 0; i < g->n_frames; i++) {
        const PbFrame *f = g->frames[i];

        if (f->file != NULL)
            out_printf("    %-28s %s:%" PRIu32 "\n", f->function, f->file, f->line);
        else
            out_printf("    %s\n", f->function != NULL ? f->function : "?");
    }
    if (g->spawned_by != NULL)
        out_printf("    spawned by %s\n", g->spawned_by);
}

static int
print_groups(struct cli *cli, PbRequest *req)
{
    int code = 0;
    struct goctl_reply *reply = cli_call(cli, req, PB_RESPONSE__REPLY_GOROUTINES, &code);
    const PbGoroutinesReply *r;

    if (reply == NULL)
        return code;
    r = goctl_response(reply)->goroutines;
    if (cli->a.json) {
        for (size_t i = 0; i < r->n_groups; i++)
            out_json(PB_BASE(r->groups[i]));
    } else {
        out_printf("%" PRIu64 " goroutines\n", PB_GET(r, total, r->n_groups));
        for (size_t i = 0; i < r->n_groups; i++) {
            out_add("\n", 1);
            group_print(r->groups[i]);
        }
    }
    goctl_reply_free(reply);
    return 0;
}

static int
run_goroutines(struct cli *cli)
{
    PbGoroutines all = PB_GOROUTINES__INIT;
    PbRequest req = PB_REQUEST__INIT;

    req.call_case = PB_REQUEST__CALL_GOROUTINES;
    req.goroutines = &all;
    return print_groups(cli, &req);
}

static int
run_stack(struct cli *cli)
{
    PbStack stack = PB_STACK__INIT;
    PbRequest req = PB_REQUEST__INIT;

    if (!cli_id(cli->argv[0], &stack.job))
        return EXIT_USAGE;
    stack.has_job = 1;
    req.call_case = PB_REQUEST__CALL_STACK;
    req.stack = &stack;
    return print_groups(cli, &req);
}

/* --- call: raw RPC ---------------------------------------------------------------------- */

static const ProtobufCFieldDescriptor *
find_call(const char *name)
{
    const ProtobufCMessageDescriptor *d = &pb_request__descriptor;
    struct nearest near = {.word = name};

    for (unsigned i = 0; i < d->n_fields; i++) {
        const ProtobufCFieldDescriptor *f = &d->fields[i];

        if (!field_is_oneof(f))
            continue;
        if (strcasecmp(f->name, name) == 0)
            return f;
        nearest_offer(&near, f->name);
    }
    if (near.best != NULL)
        (void)out_fail(EXIT_USAGE, "there is no call \"%s\"; did you mean \"%s\"?", name,
                       near.best);
    else
        (void)out_fail(EXIT_USAGE, "there is no call \"%s\"", name);
    return NULL;
}

/* The reply without its envelope. */
static void
print_reply(const PbResponse *r)
{
    const ProtobufCMessageDescriptor *d = &pb_response__descriptor;

    for (unsigned i = 0; i < d->n_fields; i++) {
        const ProtobufCFieldDescriptor *f = &d->fields[i];
        const ProtobufCMessage *m;

        if (f->id != (uint32_t)r->reply_case)
            continue;
        memcpy(&m, field_at(PB_BASE(r), f), sizeof(m));
        out_json(m);
    }
}

static int
run_call(struct cli *cli)
{
    const ProtobufCFieldDescriptor *f = find_call(cli->argv[0]);
    const char *json = cli->argc > 1 ? cli->argv[1] : "{}";
    PbRequest req = PB_REQUEST__INIT;
    struct goctl_error gerr = {0};
    struct goctl_reply *reply = NULL;
    struct proto_err err = {0};
    ProtobufCMessage *m;

    if (f == NULL)
        return EXIT_USAGE;
    if (proto_json_parse(f->descriptor, json, strlen(json), &cli->arena, &m, &err) < 0)
        return out_fail(EXIT_USAGE, "%s: %s", f->name, err.text);
    req.call_case = (PbRequest__CallCase)f->id;
    memcpy(field_at_mut(PB_BASE(&req), f), &m, sizeof(m));
    if (goctl_call(cli->conn, &req,
                   cli->a.timeout_ns > 0 ? cli->a.timeout_ns : 300 * GOCTL_SECOND, &reply,
                   &gerr) < 0)
        return out_error(&gerr);
    print_reply(goctl_response(reply));
    goctl_reply_free(reply);
    return 0;
}

const struct command daemon_commands[] = {
    {"ping", "", "Whether the daemon answers, and how fast", "", NULL, "ping", 0, 0,
     false, run_ping},
    {"stats", "", "Load, rates, memory, scheduler and store", "all", NULL, "stats", 0, 0,
     false, run_stats},
    {"backup", "FILE", "Copy the store, while the daemon runs", "", NULL,
     "backup /srv/backup/gojobd.db", 1, 1, false, run_backup},
    {"check", "", "Check the store's integrity", "", NULL, "check", 0, 0, false,
     run_check},
    {"goroutines", "", "All goroutines of the daemon, by stack", "", NULL, "goroutines",
     0, 0, false, run_goroutines},
    {"stack", "JOB", "Where a running job's goroutines are", "", NULL, "stack 12", 1, 1,
     false, run_stack},
    {"trace", "DURATION", "What the scheduler does, for Perfetto", "", NULL,
     "trace 5s > trace.json", 1, 1, false, run_trace},
    {"call", "METHOD [JSON]", "One raw call, for scripts", "timeout",
     "METHOD is a member of Request in job.proto, JSON its message; the reply is JSON.",
     "call submit '{\"jobs\": [{\"sum\": {\"numbers\": [1, 2]}}]}'", 1, 2, false,
     run_call},
    {0},
};
