/*
 * goctl schedule ...: what runs again and again.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "client/cli.h"
#include "client/show.h"
#include "client/spec.h"
#include "proto/json.h"

static void
schedules_print(PbSchedule *const *list, size_t n)
{
    static const char *const heads[] = {">ID",  "NAME",  "WHEN", "NEXT",
                                        "LAST", ">RUNS", "STATE"};
    struct table t;
    char text[SHOW_TEXT_MAX];

    table_init(&t, sizeof(heads) / sizeof(heads[0]), heads);
    for (size_t i = 0; i < n; i++) {
        const PbSchedule *s = list[i];

        table_printf(&t, "%" PRIu64, s->id);
        table_text(&t, s->name);
        if (s->spec != NULL && s->spec->cron != NULL)
            table_printf(&t, "%s %s", s->spec->cron,
                         s->spec->tz != NULL ? s->spec->tz : "");
        else if (s->spec != NULL && s->spec->every != NULL)
            table_printf(&t, "every %s",
                         show_span(pb_duration_ns(s->spec->every, 0), text));
        else
            table_text(&t, "once");
        table_text(&t, show_time(s->next, text));
        table_text(&t, show_time(s->last, text));
        table_printf(&t, "%" PRIu64, s->runs);
        table_text(&t, PB_GET(s, paused, false) ? "paused" : "");
    }
    table_print(&t);
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
        schedules_print(&s, 1);
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
    bool more = true;
    int code = 0;

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
            schedules_print(r->schedules, r->n_schedules);
        more = r->has_next && r->n_schedules > 0;
        PB_SET(&list, after, r->next);
        goctl_reply_free(reply);
    }
    return code;
}

static int
run_next(struct cli *cli)
{
    PbScheduleNext next = PB_SCHEDULE_NEXT__INIT;
    PbRequest req = PB_REQUEST__INIT;
    struct goctl_reply *reply;
    const PbScheduleNextReply *r;
    char text[SHOW_TEXT_MAX];
    int code = 0;

    next.ref = reference(cli);
    PB_SET(&next, count, opt_given(&cli->a, "count") ? (uint32_t)cli->a.count : 10);
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

static bool
parse_policies(struct cli *cli, PbScheduleSpec *spec)
{
    struct proto_err err = {0};
    int v = 0;

    if (cli->a.missed != NULL) {
        if (proto_enum_parse(&pb_schedule_spec__missed__descriptor, cli->a.missed, &v,
                             "--missed", &err) < 0)
            goto wrong;
        PB_SET(spec, missed, (PbScheduleSpec__Missed)v);
    }
    if (cli->a.overlap != NULL) {
        if (proto_enum_parse(&pb_schedule_spec__overlap__descriptor, cli->a.overlap, &v,
                             "--overlap", &err) < 0)
            goto wrong;
        PB_SET(spec, overlap, (PbScheduleSpec__Overlap)v);
    }
    return true;
wrong:
    (void)out_fail(EXIT_USAGE, "%s", err.text);
    return false;
}

static int
run_add(struct cli *cli)
{
    struct args *a = &cli->a;
    PbScheduleSpec spec = PB_SCHEDULE_SPEC__INIT;
    PbScheduleAdd add = PB_SCHEDULE_ADD__INIT;
    PbRequest req = PB_REQUEST__INIT;
    struct spec_list l = {0};

    spec.name = a->name;
    spec.cron = a->cron;
    spec.tz = a->tz;
    if (opt_given(a, "every"))
        spec.every = cli_duration(cli, a->every_ns);
    if (opt_given(a, "at"))
        spec.at = cli_timestamp(cli, a->at_ns);
    if (opt_given(a, "until"))
        spec.until = cli_timestamp(cli, a->until_ns);
    if (opt_given(a, "jitter"))
        spec.jitter = cli_duration(cli, a->jitter_ns);
    if (a->paused)
        PB_SET(&spec, paused, true);
    if (spec.cron == NULL && spec.every == NULL && spec.at == NULL)
        return out_fail(EXIT_USAGE, "when? --cron LINE, --every D or --at TIME");
    a->name = NULL; /* the schedule's, not its jobs' */
    a->at_ns = 0;
    if (!parse_policies(cli, &spec) || !make_jobs(cli, &l))
        return EXIT_USAGE;
    for (size_t i = 0; i < l.n; i++)
        if (!spec_defaults(cli, &cli->arena, l.specs[i]))
            return EXIT_USAGE;
    spec.jobs = l.specs;
    spec.n_jobs = l.n;
    add.spec = &spec;
    PB_SET(&add, replace, a->replace);
    PB_SET(&add, dry_run, a->dry_run);
    req.call_case = PB_REQUEST__CALL_SCHEDULE_ADD;
    req.schedule_add = &add;
    return schedule_call(cli, &req);
}

const struct command schedule_commands[] = {
    {"schedule ls", "", "List schedules", "", NULL, "schedule ls", 0, 0, false, run_ls},
    {"schedule add", "KIND ARGUMENT... | JSON", "Submit jobs again and again",
     "cron every at tz missed overlap jitter until paused replace dry-run name timeout "
     "priority retries queue label method header data keep-body content file format "
     "column "
     "db param",
     "KIND and its arguments are those of submit; JSON is one job.",
     "schedule add --name hourly --every 1h fetch https://example.org/", 1, ARGS_ANY,
     false, run_add},
    {"schedule show", "SCHEDULE", "A schedule's state", "", NULL, "schedule show hourly",
     1, 1, false, run_show},
    {"schedule pause", "SCHEDULE", "Let it rest", "", NULL, "schedule pause hourly", 1, 1,
     false, run_pause},
    {"schedule resume", "SCHEDULE", "Go on", "", NULL, "schedule resume hourly", 1, 1,
     false, run_resume},
    {"schedule rm", "SCHEDULE", "Remove it; its batches stay", "", NULL,
     "schedule rm hourly", 1, 1, false, run_rm},
    {"schedule run-now", "SCHEDULE", "Run it once, now", "", NULL,
     "schedule run-now hourly", 1, 1, false, run_now},
    {"schedule next", "SCHEDULE", "The times it runs next", "count", NULL,
     "schedule next hourly --count 5", 1, 1, false, run_next},
    {0},
};
