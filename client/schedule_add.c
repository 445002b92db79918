#include "client/schedule.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/show.h"
#include "proto/json.h"
#include "proto/lines.h"

enum {
    FILE_JOBS_MAX = 10000, /* what the daemon takes as one schedule */
    LINE_MAX_BYTES = 4 << 20,
};

/* --- what is asked for ------------------------------------------------------------------ */

bool
schedule_wanted(const struct cli *cli, bool timer)
{
    const struct args *a = &cli->a;

    return opt_given(a, "cron") ||
           (opt_given(a, "every") && (!timer || opt_given(a, "tick")));
}

bool
schedule_unasked(const struct cli *cli, bool timer)
{
    static const char *const names[] = {"tz",    "missed", "overlap", "jitter",
                                        "until", "paused", "replace"};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (opt_given(&cli->a, names[i])) {
            (void)out_fail(EXIT_USAGE, "--%s is a schedule's: it needs --cron%s",
                           names[i],
                           timer ? ", or --every beside --tick" : " or --every");
            return false;
        }
    return true;
}

/* --- the spec ---------------------------------------------------------------------------- */

static bool
policies(struct cli *cli, PbScheduleSpec *spec)
{
    const struct args *a = &cli->a;
    int v = 0;

    if (a->missed != NULL) {
        if (!spec_word(&pb_schedule_spec__missed__descriptor, a->missed, "--missed", &v))
            return false;
        PB_SET(spec, missed, (PbScheduleSpec__Missed)v);
    }
    if (a->overlap != NULL) {
        if (!spec_word(&pb_schedule_spec__overlap__descriptor, a->overlap, "--overlap",
                       &v))
            return false;
        PB_SET(spec, overlap, (PbScheduleSpec__Overlap)v);
    }
    return true;
}

/* The first run's time: the jobs get neither. */
static bool
first_run(struct cli *cli, PbScheduleSpec *spec)
{
    struct args *a = &cli->a;
    int64_t at = a->at_ns;

    if (opt_given(a, "at") && opt_given(a, "after")) {
        (void)out_fail(EXIT_USAGE, "give either --at or --after, not both");
        return false;
    }
    if (opt_given(a, "after"))
        at = show_wall_ns() + a->after_ns;
    if (opt_given(a, "at") || opt_given(a, "after"))
        spec->at = cli_timestamp(cli, at);
    a->at_ns = a->after_ns = 0;
    return true;
}

bool
schedule_times(struct cli *cli, bool timer, PbScheduleSpec *spec)
{
    struct args *a = &cli->a;

    if (!first_run(cli, spec) || !policies(cli, spec))
        return false;
    spec->cron = a->cron;
    spec->tz = a->tz;
    if (opt_given(a, "every") && (!timer || opt_given(a, "tick"))) {
        spec->every = cli_duration(cli, a->every_ns);
        a->given[opt_find("every")] = false; /* it is no timer's tick */
    }
    if (opt_given(a, "until"))
        spec->until = cli_timestamp(cli, a->until_ns);
    if (opt_given(a, "jitter"))
        spec->jitter = cli_duration(cli, a->jitter_ns);
    if (spec->cron != NULL || spec->every != NULL || spec->at != NULL)
        return true;
    (void)out_fail(EXIT_USAGE, "when? --cron LINE, --every D, --at TIME or --after D");
    return false;
}

/* --- adding ------------------------------------------------------------------------------ */

static void
print_added(const PbSchedule *s, bool dry)
{
    char text[SHOW_TEXT_MAX];

    if (dry)
        out_printf("all well, nothing was stored: ");
    else
        out_printf("schedule %" PRIu64 " \"", s->id);
    if (!dry && s->name != NULL)
        out_text(s->name, strlen(s->name));
    if (!dry)
        out_printf("\": ");
    if (PB_GET(s, paused, false))
        out_printf("paused\n");
    else if (s->next == NULL)
        out_printf("never runs\n");
    else
        out_printf("next %s\n", show_time(s->next, text));
}

/* Sends it. A complaint about a job of a file names its line. */
static int
send_add(struct cli *cli, PbScheduleSpec *spec, const struct schedule_source *source)
{
    PbScheduleAdd add = PB_SCHEDULE_ADD__INIT;
    PbRequest req = PB_REQUEST__INIT;
    struct goctl_error err = {0};
    struct goctl_reply *reply = NULL;

    add.spec = spec;
    PB_SET(&add, replace, cli->a.replace);
    PB_SET(&add, dry_run, cli->a.dry_run);
    req.call_case = PB_REQUEST__CALL_SCHEDULE_ADD;
    req.schedule_add = &add;
    if (goctl_call(cli->conn, &req, 300 * GOCTL_SECOND, &reply, &err) < 0) {
        if (err.code == GOCTL_REFUSED && err.has_index && source->name != NULL &&
            err.index < spec->n_jobs)
            return out_fail(EXIT_REFUSED, "%s:%" PRIu64 ": %s", source->name,
                            source->lines[err.index], err.text);
        return out_error(&err);
    }
    if (goctl_response(reply)->reply_case != PB_RESPONSE__REPLY_SCHEDULE) {
        goctl_reply_free(reply);
        return out_fail(EXIT_UNREACHABLE, "gojobd sent a reply of another call");
    }
    if (cli->a.json)
        out_json(PB_BASE(goctl_response(reply)->schedule));
    else
        print_added(goctl_response(reply)->schedule, cli->a.dry_run);
    goctl_reply_free(reply);
    return 0;
}

int
schedule_add(struct cli *cli, PbScheduleSpec *spec, struct spec_list *l,
             const struct schedule_source *source)
{
    struct args *a = &cli->a;
    PbBatchSpec *b;

    if (a->wait)
        return out_fail(EXIT_USAGE,
                        "--wait: a schedule has no end to wait for; see goctl watch");
    if (a->batch != NULL)
        return out_fail(EXIT_USAGE,
                        "--batch: each run of a schedule is a batch of its own");
    spec->name = a->name;
    a->name = NULL; /* the jobs have none */
    if (a->paused)
        PB_SET(spec, paused, true);
    b = spec_batch(cli);
    if (b->timeout != NULL || b->has_fail_fast || b->has_max_parallel)
        spec->batch = b;
    for (size_t i = 0; i < l->n; i++)
        if (!spec_defaults(cli, &cli->arena, l->specs[i]))
            return EXIT_USAGE;
    spec->jobs = l->specs;
    spec->n_jobs = l->n;
    return send_add(cli, spec, source);
}

/* --- from a file ------------------------------------------------------------------------- */

static int
add_line(struct cli *cli, struct spec_list *l, struct schedule_source *source, char *line,
         size_t len, uint64_t number)
{
    struct proto_err err = {0};
    ProtobufCMessage *m;

    if (line[strspn(line, " \t\r")] == '\0')
        return 0;
    if (l->n == FILE_JOBS_MAX)
        return out_fail(EXIT_USAGE, "%s:%" PRIu64 ": a schedule has at most %d jobs",
                        source->name, number, FILE_JOBS_MAX);
    if (proto_json_parse(&pb_job_spec__descriptor, line, len, &cli->arena, &m, &err) < 0)
        return out_fail(EXIT_USAGE, "%s:%" PRIu64 ": %s", source->name, number, err.text);
    source->lines[l->n] = number;
    l->specs[l->n++] = (PbJobSpec *)m;
    return 0;
}

static int
read_jobs(struct cli *cli, int fd, struct spec_list *l, struct schedule_source *source)
{
    struct proto_lines lines;
    char *line = NULL;
    size_t len = 0;
    int code = 0, r = 0;

    l->specs = cli_alloc(cli, FILE_JOBS_MAX * sizeof(*l->specs));
    source->lines = cli_alloc(cli, FILE_JOBS_MAX * sizeof(*source->lines));
    proto_lines_init(&lines, fd, LINE_MAX_BYTES);
    while (code == 0 && (r = proto_lines_next(&lines, &line, &len)) > 0)
        code = add_line(cli, l, source, line, len, lines.number);
    if (code == 0 && r == -E2BIG)
        code = out_fail(EXIT_USAGE, "%s:%" PRIu64 ": longer than 4 MiB", source->name,
                        lines.number + 1);
    else if (code == 0 && r < 0)
        code = out_fail(EXIT_USAGE, "%s: %s", source->name, strerror(-r));
    proto_lines_fini(&lines);
    return code;
}

int
schedule_add_file(struct cli *cli)
{
    const char *path = cli->a.from;
    bool in = strcmp(path, "-") == 0;
    struct schedule_source source = {.name = in ? "stdin" : path};
    PbScheduleSpec spec = PB_SCHEDULE_SPEC__INIT;
    struct spec_list l = {.n = 0};
    int fd = in ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC), code;

    if (fd < 0)
        return out_fail(EXIT_USAGE, "%s: %s", path, strerror(errno));
    code =
        schedule_times(cli, false, &spec) ? read_jobs(cli, fd, &l, &source) : EXIT_USAGE;
    if (!in)
        (void)close(fd);
    if (code == 0 && l.n == 0)
        code = out_fail(EXIT_USAGE, "%s holds no jobs", source.name);
    return code != 0 ? code : schedule_add(cli, &spec, &l, &source);
}
