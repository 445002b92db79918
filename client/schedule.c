/*
 * goctl schedule ...: what runs again and again.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "client/cli.h"
#include "client/schedule.h"
#include "client/show.h"
#include "client/spec.h"
#include "proto/json.h"

static const char *
state_of(const PbSchedule *s)
{
    if (PB_GET(s, paused, false))
        return "paused";
    return s->next != NULL ? "active" : "over";
}

/* "every 1h00m", "0 8 * * * Europe/Berlin", "at 2026-12-01 08:00:00". */
static void
add_when(struct table *t, const PbScheduleSpec *spec)
{
    char text[SHOW_TEXT_MAX];

    if (spec != NULL && spec->cron != NULL)
        table_printf(t, "%s%s%s", spec->cron, spec->tz != NULL ? " " : "",
                     spec->tz != NULL ? spec->tz : "");
    else if (spec != NULL && spec->every != NULL)
        table_printf(t, "every %s", show_span(pb_duration_ns(spec->every, 0), text));
    else if (spec != NULL && spec->at != NULL)
        table_printf(t, "at %s", show_time(spec->at, text));
    else
        table_text(t, NULL);
}

static void
schedules_print(struct table *t, PbSchedule *const *list, size_t n)
{
    char text[SHOW_TEXT_MAX];

    for (size_t i = 0; i < n; i++) {
        const PbSchedule *s = list[i];

        table_printf(t, "%" PRIu64, s->id);
        table_text(t, s->name);
        table_text(t, state_of(s));
        add_when(t, s->spec);
        table_text(t, show_time(s->next, text));
        table_text(t, show_time(s->last, text));
        if (s->has_last_batch)
            table_printf(t, "%" PRIu64, s->last_batch);
        else
            table_text(t, NULL);
        table_printf(t, "%" PRIu64, PB_GET(s, runs, 0));
        table_printf(t, "%" PRIu64, PB_GET(s, missed, 0));
        table_printf(t, "%" PRIu64, PB_GET(s, skipped, 0));
        table_text(t, PB_GET(s, config, false) ? "config" : NULL);
    }
    table_print(t);
}

static const char *const heads[] = {">ID",     "NAME",     "STATE",  "WHEN",
                                    "NEXT",    "LAST",     ">BATCH", ">RUNS",
                                    ">MISSED", ">SKIPPED", "FROM"};
enum { HEADS = sizeof(heads) / sizeof(heads[0]) };

static void
print_one(PbSchedule *s)
{
    struct table t;

    table_init(&t, HEADS, heads);
    schedules_print(&t, &s, 1);
    table_fini(&t);
}

static int
schedule_call(struct cli *cli, PbRequest *req)
{
    struct goctl_reply *reply;
    PbSchedule *s;
    int code = 0;

    reply = cli_call(cli, req, PB_RESPONSE__REPLY_SCHEDULE, &code);
    if (reply == NULL)
        return code;
    s = goctl_response(reply)->schedule;
    if (cli->a.json)
        out_json(PB_BASE(s));
    else
        print_one(s);
    goctl_reply_free(reply);
    return 0;
}

static PbScheduleRef *
reference(struct cli *cli)
{
    PbScheduleRef *ref = cli_new(cli, &pb_schedule_ref__descriptor);
    const char *name;
    uint64_t id;

    cli_batch(cli->argv[0], &id, &name); /* a number or a name, like a batch */
    if (name != NULL)
        ref->name = cli->argv[0];
    else
        PB_SET(ref, schedule, id);
    return ref;
}

static int
by_ref(struct cli *cli, PbRequest__CallCase what)
{
    PbRequest req = PB_REQUEST__INIT;

    req.call_case = what;
    req.schedule_get = reference(cli); /* all of them are refs */
    return schedule_call(cli, &req);
}

static int
run_show(struct cli *cli)
{
    return by_ref(cli, PB_REQUEST__CALL_SCHEDULE_GET);
}

static int
run_pause(struct cli *cli)
{
    return by_ref(cli, PB_REQUEST__CALL_SCHEDULE_PAUSE);
}

static int
run_resume(struct cli *cli)
{
    return by_ref(cli, PB_REQUEST__CALL_SCHEDULE_RESUME);
}

static int
run_rm(struct cli *cli)
{
    PbRequest req = PB_REQUEST__INIT;
    int code = 0;

    req.call_case = PB_REQUEST__CALL_SCHEDULE_REMOVE;
    req.schedule_remove = reference(cli);
    goctl_reply_free(cli_call(cli, &req, PB_RESPONSE__REPLY_DONE, &code));
    return code;
}

static int
run_now(struct cli *cli)
{
    PbRequest req = PB_REQUEST__INIT;
    struct goctl_reply *reply;
    int code = 0;

    req.call_case = PB_REQUEST__CALL_SCHEDULE_RUN;
    req.schedule_run = reference(cli);
    reply = cli_call(cli, &req, PB_RESPONSE__REPLY_RUN, &code);
    if (reply == NULL)
        return code;
    if (cli->a.json)
        out_json(PB_BASE(goctl_response(reply)->run));
    else
        out_printf("batch %" PRIu64 "\n", goctl_response(reply)->run->id);
    goctl_reply_free(reply);
    return 0;
}

static int
run_ls(struct cli *cli)
{
    PbScheduleList list = PB_SCHEDULE_LIST__INIT;
    PbRequest req = PB_REQUEST__INIT;
    struct table t;
    bool more = true;
    int code = 0;

    table_init(&t, HEADS, heads);
    req.call_case = PB_REQUEST__CALL_SCHEDULE_LIST;
    req.schedule_list = &list;
    PB_SET(&list, limit, 1000);
    while (more) {
        struct goctl_reply *reply;
        const PbScheduleListReply *r;

        reply = cli_call(cli, &req, PB_RESPONSE__REPLY_SCHEDULE_LIST, &code);
        if (reply == NULL)
            break;
        r = goctl_response(reply)->schedule_list;
        if (cli->a.json)
            for (size_t i = 0; i < r->n_schedules; i++)
                out_json(PB_BASE(r->schedules[i]));
        else
            schedules_print(&t, r->schedules, r->n_schedules);
        more = r->has_next && r->n_schedules > 0;
        PB_SET(&list, after, r->next);
        goctl_reply_free(reply);
    }
    table_fini(&t);
    return code;
}

enum { NEXT_DFLT = 10, NEXT_MAX = 10000 };

/* How many: --count, or the word after the schedule. */
static bool
next_count(struct cli *cli, size_t place, uint32_t *ret)
{
    const char *word = place < cli->argc ? cli->argv[place] : NULL;
    uint64_t n = NEXT_DFLT;

    if (opt_given(&cli->a, "count"))
        n = (uint64_t)cli->a.count;
    if (word != NULL && !cli_count(word, &n)) {
        (void)out_fail(EXIT_USAGE, "\"%s\" is not a number of times", word);
        return false;
    }
    if (n == 0 || n > NEXT_MAX) {
        (void)out_fail(EXIT_USAGE, "from 1 to %d times can be asked for", NEXT_MAX);
        return false;
    }
    *ret = (uint32_t)n;
    return true;
}

/* Of a stored schedule, or of the times that options give. */
static int
run_next(struct cli *cli)
{
    bool draft = opt_given(&cli->a, "cron") || opt_given(&cli->a, "every") ||
                 opt_given(&cli->a, "at");
    PbScheduleSpec spec = PB_SCHEDULE_SPEC__INIT;
    PbScheduleNext next = PB_SCHEDULE_NEXT__INIT;
    PbRequest req = PB_REQUEST__INIT;
    struct goctl_reply *reply;
    const PbScheduleNextReply *r;
    char text[SHOW_TEXT_MAX];
    int code = 0;

    if (cli->argc < 1 && !draft)
        return out_fail(EXIT_USAGE,
                        "of which? A schedule's name or number, or --cron LINE");
    if (cli->argc > 1 && draft)
        return out_fail(EXIT_USAGE, "give either a schedule or its times, not both");
    if (draft && !schedule_times(cli, false, &spec))
        return EXIT_USAGE;
    next.has_count = 1;
    if (!next_count(cli, draft ? 0 : 1, &next.count))
        return EXIT_USAGE;
    if (draft)
        next.spec = &spec;
    else
        next.ref = reference(cli);
    req.call_case = PB_REQUEST__CALL_SCHEDULE_NEXT;
    req.schedule_next = &next;
    reply = cli_call(cli, &req, PB_RESPONSE__REPLY_SCHEDULE_NEXT, &code);
    if (reply == NULL)
        return code;
    r = goctl_response(reply)->schedule_next;
    if (cli->a.json)
        out_json(PB_BASE(r));
    else
        for (size_t i = 0; i < r->n_times; i++)
            out_printf("%s\n", show_time(r->times[i], text));
    goctl_reply_free(reply);
    return 0;
}

/* --- schedule add ----------------------------------------------------------------------- */

static const struct {
    const char *name;
    bool (*make)(struct cli *cli, struct spec_list *ret);
} kinds[] = {
    {"fetch", spec_fetch}, {"read", spec_read},   {"sum", spec_sum},
    {"sql", spec_sql},     {"timer", spec_timer},
};

/* "fetch URL...", or one JSON JobSpec. */
static bool
make_jobs(struct cli *cli, struct spec_list *ret)
{
    struct proto_err err = {0};
    char *word = cli->argv[0];
    ProtobufCMessage *m;

    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
        if (strcmp(word, kinds[i].name) == 0) {
            cli->argv++;
            cli->argc--;
            return kinds[i].make(cli, ret);
        }
    if (word[0] != '{') {
        (void)out_fail(EXIT_USAGE,
                       "\"%s\" is no kind of job: fetch, read, sum, sql, timer", word);
        return false;
    }
    if (proto_json_parse(&pb_job_spec__descriptor, word, strlen(word), &cli->arena, &m,
                         &err) < 0) {
        (void)out_fail(EXIT_USAGE, "%s", err.text);
        return false;
    }
    ret->specs = cli_alloc(cli, sizeof(*ret->specs));
    ret->specs[0] = (PbJobSpec *)m;
    ret->n = 1;
    return true;
}

static int
run_add(struct cli *cli)
{
    static const struct schedule_source none;
    PbScheduleSpec spec = PB_SCHEDULE_SPEC__INIT;
    struct spec_list l = {.n = 0};

    if (!schedule_times(cli, false, &spec) || !make_jobs(cli, &l))
        return EXIT_USAGE;
    return schedule_add(cli, &spec, &l, &none);
}

const struct command schedule_commands[] = {
    {"schedule ls", "", "List schedules", "", NULL, "schedule ls", 0, 0, false, run_ls},
    {"schedule add", "KIND ARGUMENT... | JSON", "Submit jobs again and again",
     SCHEDULE_OPTIONS
     "at after dry-run name timeout priority retries backoff queue label deadline "
     "fail-fast max-parallel method header data http keep-body no-follow no-verify "
     "any-status max-bytes content no-glob offset length file format column delimiter "
     "parts db param max-rows tick first count",
     "KIND and its arguments are those of submit; JSON is one job. When:\n"
     "  --cron LINE   minute hour day month weekday, or @daily and the like; in --tz\n"
     "  --every D     each D from --at, or from now; a timer's tick is --tick\n"
     "  --at TIME     once; beside --every the first run, beside --cron none before\n"
     "Each run is a batch; --deadline, --fail-fast and --max-parallel are of each.\n"
     "  --missed once|skip|all       runs that the daemon could not start in time\n"
     "  --overlap skip|queue|allow   a run that is due while the last one goes on",
     "schedule add --name hourly --every 1h fetch https://example.org/", 1, ARGS_ANY,
     false, run_add},
    {"schedule show", "SCHEDULE", "A schedule's state", "", NULL, "schedule show hourly",
     1, 1, false, run_show},
    {"schedule pause", "SCHEDULE", "Let it rest", "",
     "It stays so until it is resumed, however often the daemon starts.",
     "schedule pause hourly", 1, 1, false, run_pause},
    {"schedule resume", "SCHEDULE", "Go on", "",
     "With the next time to come: what was passed over is not made up for.",
     "schedule resume hourly", 1, 1, false, run_resume},
    {"schedule rm", "SCHEDULE", "Remove it; its batches stay", "",
     "One that stands in the daemon's configuration is removed there.",
     "schedule rm hourly", 1, 1, false, run_rm},
    {"schedule run-now", "SCHEDULE", "Run it once, now", "",
     "Beside its times, which stay, and even if it is paused or a run goes on.",
     "schedule run-now hourly", 1, 1, false, run_now},
    {"schedule next", "SCHEDULE [N] | --cron LINE [N]", "The times it runs next",
     "count cron every at after tz until jitter",
     "N times, 10 without. Times can be looked at before there is a schedule.",
     "schedule next hourly 5", 0, 2, false, run_next},
    {0},
};
