/*
 * goctl submit ..., goctl batch add.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "client/cli.h"
#include "client/conn.h"
#include "client/schedule.h"
#include "client/spec.h"
#include "client/submitter.h"
#include "client/waiter.h"
#include "proto/lines.h"

enum { LINE_MAX_BYTES = 64 << 20 };

/* A submission with its wait. The waiter runs in a thread of its own beside a stream, so
 * that results come while jobs are still sent. */
struct session {
    struct submitter s;
    struct waiter w;
    pthread_t thread;
    bool threaded;
    bool stream;

    /* What a submission that is not a stream waits for in its own call. Not long: until
     * its reply comes an interrupt does not know the batch. */
    PbWait wait;
    PbDuration soon;
};

#define SOON_NS (GOCTL_SECOND / 4)

static void *
wait_thread(void *arg)
{
    struct session *t = arg;

    waiter_run(&t->w);
    return NULL;
}

static void
begun(void *arg, uint64_t batch)
{
    struct session *t = arg;

    if (!t->s.cli->a.wait || t->s.stay_open)
        return;
    interrupt_batch(batch);
    t->w.w.batch = batch;
    if (t->stream && pthread_create(&t->thread, NULL, wait_thread, t) == 0)
        t->threaded = true;
}

static void
taken(void *arg, const PbSubmitReply *reply)
{
    struct session *t = arg;

    atomic_store_explicit(&t->w.submitted, t->s.jobs, memory_order_relaxed);
    if (reply->wait != NULL) {
        t->w.ids = t->s.ids;
        t->w.n = t->s.n_ids < t->w.n ? t->s.n_ids : t->w.n;
        waiter_took(&t->w, reply->wait);
    }
    if (t->s.cli->a.json && !t->s.cli->a.wait)
        out_json(PB_BASE(reply));
}

static bool
session_init(struct session *t, struct cli *cli)
{
    if (!submitter_init(&t->s, cli))
        return false;
    t->s.begun = begun;
    t->s.taken = taken;
    t->s.arg = t;
    t->threaded = false;
    t->stream = false;
    waiter_init(&t->w, cli);
    t->wait = (PbWait)PB_WAIT__INIT;
    t->soon = (PbDuration)PB_DURATION__INIT;
    PB_SET(&t->soon, ns, SOON_NS);
    t->wait.timeout = &t->soon;
    PB_SET(&t->wait, jobs, true);
    PB_SET(&t->wait, results, true);
    return true;
}

static void
tell_submitted(const struct session *t)
{
    const struct submitter *s = &t->s;

    if (s->cli->a.json)
        return;
    if (s->cli->a.dry_run)
        out_printf("all well: nothing was submitted\n");
    else if (s->n_ids == 1)
        out_printf("batch %" PRIu64 ": job %" PRIu64 "\n", s->batch, s->ids[0]);
    else if (s->jobs > 0)
        out_printf("batch %" PRIu64 ": %" PRIu64 " jobs\n", s->batch, s->jobs);
}

/* After everything is sent: waits for what is left, and finds the exit code. */
static int
session_end(struct session *t)
{
    struct submitter *s = &t->s;
    struct cli *cli = s->cli;
    int code = s->code;

    if (t->threaded)
        (void)pthread_join(t->thread, NULL);
    else if (cli->a.wait && t->w.w.batch != 0 && code == 0)
        waiter_run(&t->w);
    if (cli->a.wait && code == 0 && !cli->a.dry_run && t->w.broken == 0) {
        /* Jobs of other batches that a key led to; and ours, in a batch that stays open. */
        uint64_t ours = s->stay_open ? 0 : s->batch;

        if (s->n_ids > 0 && (s->stay_open || !s->keep_ids || s->cli->a.key != NULL))
            for (size_t i = 0; i < s->n_ids && t->w.broken == 0; i++)
                waiter_one(&t->w, s->ids[i], ours);
    }
    if ((!cli->a.wait || cli->a.dry_run) && code == 0)
        tell_submitted(t);
    if (code == 0 && cli->a.wait)
        code = waiter_code(&t->w);
    submitter_fini(s);
    return code;
}

typedef bool make_fn(struct cli *cli, struct spec_list *ret);

/* The jobs again and again. */
static int
repeat_list(struct cli *cli, make_fn *make)
{
    static const struct schedule_source none;
    PbScheduleSpec spec = PB_SCHEDULE_SPEC__INIT;
    struct spec_list l;

    if (!schedule_times(cli, make == spec_timer, &spec) || !make(cli, &l))
        return EXIT_USAGE;
    return schedule_add(cli, &spec, &l, &none);
}

static int
submit_list(struct cli *cli, make_fn *make)
{
    bool timer = make == spec_timer;
    struct spec_list l;
    struct session t;

    if (schedule_wanted(cli, timer))
        return repeat_list(cli, make);
    if (!schedule_unasked(cli, timer) || !make(cli, &l) || !session_init(&t, cli))
        return EXIT_USAGE;
    t.s.keep_ids = true;
    t.s.wait = cli->a.wait ? &t.wait : NULL;
    t.w.subjects = l.subjects;
    t.w.n = l.n;
    t.w.many = l.n > 1;
    for (size_t i = 0; i < l.n && t.s.code == 0; i++) {
        if (!spec_defaults(cli, &cli->arena, l.specs[i]))
            t.s.code = EXIT_USAGE;
        else
            submitter_add(&t.s, l.specs[i]);
    }
    submitter_finish(&t.s);
    t.w.ids = t.s.ids;
    t.w.n = t.s.n_ids < l.n ? t.s.n_ids : l.n;
    return session_end(&t);
}

static int
run_fetch(struct cli *cli)
{
    return submit_list(cli, spec_fetch);
}

static int
run_read(struct cli *cli)
{
    return submit_list(cli, spec_read);
}

static int
run_sum(struct cli *cli)
{
    return submit_list(cli, spec_sum);
}

static int
run_sql(struct cli *cli)
{
    return submit_list(cli, spec_sql);
}

static int
run_timer(struct cli *cli)
{
    return submit_list(cli, spec_timer);
}

/* --- goctl submit -f -------------------------------------------------------------------- */

/* Whether the next line would have to be waited for. */
static bool
would_wait(const struct proto_lines *l)
{
    struct pollfd p = {.fd = l->fd, .events = POLLIN};

    if (l->end > l->start && memchr(l->buf + l->start, '\n', l->end - l->start) != NULL)
        return false;
    return !l->eof && poll(&p, 1, 0) == 0;
}

static void
read_lines(struct session *t, int fd)
{
    struct proto_lines lines;
    char *line = NULL;
    size_t len = 0;
    int r = 0;

    proto_lines_init(&lines, fd, LINE_MAX_BYTES);
    while (t->s.code == 0 && t->w.broken == 0) {
        if (would_wait(&lines))
            submitter_push(&t->s);
        r = proto_lines_next(&lines, &line, &len);
        if (r <= 0)
            break;
        if (line[strspn(line, " \t\r")] != '\0')
            submitter_line(&t->s, line, len, lines.number);
    }
    if (r == -E2BIG)
        t->s.code = out_fail(EXIT_USAGE, "%s:%" PRIu64 ": longer than 64 MiB",
                             t->s.source, lines.number + 1);
    else if (r < 0)
        t->s.code = out_fail(EXIT_USAGE, "%s: %s", t->s.source, strerror(-r));
    proto_lines_fini(&lines);
}

static int
run_file(struct cli *cli)
{
    const char *path = cli->a.from;
    struct session t;
    int fd = STDIN_FILENO;

    if (path == NULL)
        return out_fail(EXIT_USAGE, "submit what? fetch, read, sum, sql, timer, or "
                                    "-f FILE; see goctl help submit");
    if (schedule_wanted(cli, false))
        return schedule_add_file(cli);
    if (!schedule_unasked(cli, false))
        return EXIT_USAGE;
    if (strcmp(path, "-") != 0) {
        fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
            return out_fail(EXIT_USAGE, "%s: %s", path, strerror(errno));
    }
    if (!session_init(&t, cli))
        return EXIT_JOB;
    t.stream = true;
    t.s.source = strcmp(path, "-") == 0 ? "stdin" : path;
    t.s.keep_ids = cli->a.batch != NULL && cli->a.wait;
    read_lines(&t, fd);
    submitter_finish(&t.s);
    if (fd != STDIN_FILENO)
        (void)close(fd);
    if (t.s.code != 0 && t.s.jobs > 0)
        out_note("%" PRIu64 " jobs were submitted before, in batch %" PRIu64, t.s.jobs,
                 t.s.batch);
    else if (t.s.code == 0 && t.s.jobs == 0 && !cli->a.dry_run)
        out_note("%s holds no jobs", t.s.source);
    return session_end(&t);
}

/* --- goctl batch add -------------------------------------------------------------------- */

/* The batch's number, if it is open; 0 after a complaint. */
static uint64_t
open_batch(struct cli *cli, const char *text, int *ret_code)
{
    PbBatchRef ref = PB_BATCH_REF__INIT;
    PbRequest req = PB_REQUEST__INIT;
    struct goctl_reply *reply;
    const char *name;
    uint64_t id;
    bool is_open;

    cli_batch(text, &id, &name);
    if (name != NULL)
        ref.name = cli_dup(cli, name);
    else
        PB_SET(&ref, batch, id);
    req.call_case = PB_REQUEST__CALL_BATCH_GET;
    req.batch_get = &ref;
    reply = cli_call(cli, &req, PB_RESPONSE__REPLY_BATCH, ret_code);
    if (reply == NULL)
        return 0;
    id = goctl_response(reply)->batch->id;
    is_open = PB_GET(goctl_response(reply)->batch, state, PB_BATCH__STATE__STATE_OPEN) ==
              PB_BATCH__STATE__STATE_OPEN;
    goctl_reply_free(reply);
    if (is_open)
        return id;
    *ret_code = out_fail(EXIT_REFUSED, "batch %s is not open", text);
    return 0;
}

int
submit_add(struct cli *cli)
{
    char *words[] = {NULL, NULL, NULL}, submit[] = "submit", number[24];
    const struct command *cmd;
    size_t used;
    uint64_t id;
    int code = 0;

    words[0] = submit;
    words[1] = cli->argc > 1 ? cli->argv[1] : NULL;
    cmd = command_find(words, cli->argc > 1 ? 2 : 1, &used);
    if (cmd == NULL || (cli->argc > 1 ? used != 2 : cli->a.from == NULL))
        return out_fail(EXIT_USAGE, "add what? fetch, read, sum, sql, timer, or -f FILE");
    if (!command_takes(cmd, &cli->a))
        return EXIT_USAGE;
    if (cli->argc > 1 && cli->argc - 2 < cmd->min)
        return out_fail(EXIT_USAGE,
                        "usage: goctl batch add BATCH %s %s; see goctl help %s",
                        cli->argv[1], cmd->args, cmd->name);
    id = open_batch(cli, cli->argv[0], &code);
    if (id == 0)
        return code;
    (void)snprintf(number, sizeof(number), "%" PRIu64, id);
    cli->a.batch = cli_dup(cli, number);
    used = cli->argc > 1 ? 2 : 1;
    cli->argv += used;
    cli->argc -= used;
    return cmd->run(cli);
}

#define BATCH_OPTIONS                                                                    \
    SUBMIT_JOB_OPTIONS "deadline batch fail-fast max-parallel " SCHEDULE_OPTIONS

#define TIMES_DETAIL                                                                     \
    "--at and --after: once, not before then. --every and --cron make a schedule, "      \
    "which\n"                                                                            \
    "submits the jobs again and again; --tz, --missed, --overlap, --jitter, --until,\n"  \
    "--paused, --replace and then --name, too, are the schedule's. See\n"                \
    "`goctl help schedule add`."

const struct command submit_commands[] = {
    {"submit", "-f FILE", "Submit jobs from a file or pipe, one JSON object a line",
     BATCH_OPTIONS "from",
     "Options apply to the jobs that do not say otherwise. The file is streamed: it may "
     "hold\n"
     "millions of jobs. One invocation is one batch, unless --batch adds to an open "
     "one (where\n"
     "none of that name is open, one is made, and stays open).\n"
     "A job may wait for others: \"needs\": {\"jobs\": [12], \"batch_names\": "
     "[\"nightly\"],\n"
     "\"keys\": [\"k\"], \"siblings\": [0, 1], \"on\": \"success\"}; siblings are "
     "jobs of the file\n"
     "before it, counted from 0.\n"
     "Kinds: fetch, read, sum, sql, timer; `goctl help submit fetch` and so on.\n"
     "A line: {\"sum\": {\"numbers\": [1, 2, 3]}, \"name\": \"three\", \"retries\": "
     "2}\n\n" TIMES_DETAIL,
     "submit -f jobs.json --wait --json", 0, 0, false, run_file},
    {"submit fetch", "URL...", "Fetch each URL over HTTP",
     BATCH_OPTIONS "method header data http keep-body no-follow no-verify any-status "
                   "max-bytes",
     TIMES_DETAIL, "submit fetch https://example.org/ --timeout 10s --retries 2 --wait",
     1, ARGS_ANY, false, run_fetch},
    {"submit read", "PATH...", "Read each file, or those a pattern matches",
     BATCH_OPTIONS "content offset length no-glob max-bytes", TIMES_DETAIL,
     "submit read '/var/log/*.log' --wait", 1, ARGS_ANY, false, run_read},
    {"submit sum", "NUMBER... | --file FILE | --results PATH --needs WHAT",
     "Add numbers, exactly", BATCH_OPTIONS "file format column delimiter parts results",
     "--results PATH takes a number from the result of each job that --needs names, or "
     "of "
     "each job\n"
     "of the batches: sum.sum, read.size, read.lines, fetch.bytes, sql.rows.0.0, "
     "timer.count.\n\n" TIMES_DETAIL,
     "submit sum 1 2 3 4 5 6 7 8 9 10 --wait", 0, ARGS_ANY, false, run_sum},
    {"submit sql", "--db NAME QUERY...", "Query a configured database",
     BATCH_OPTIONS "db param max-rows max-bytes", TIMES_DETAIL,
     "submit sql --db stock 'SELECT * FROM part WHERE id = ?' --param 7 --wait", 1,
     ARGS_ANY, false, run_sql},
    {"submit timer", "--every D [--count N]", "Tick every D, N times",
     BATCH_OPTIONS "tick count first",
     "The tick is --tick, or --every where there is no --tick. Beside --tick, --every "
     "repeats\nthe timer as a schedule, as --cron does.\n\n" TIMES_DETAIL,
     "submit timer --every 1s --count 3 --wait", 0, 0, false, run_timer},
    {0},
};
