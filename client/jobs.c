/*
 * goctl ls, show, why, result.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "client/cli.h"
#include "client/show.h"

enum { PAGE = 500, LS_LIMIT = 100 };

#define FIELD "%-11s "

/* How long the last attempt ran, or has been running. */
static const char *
took(const PbJob *j, char out[SHOW_TEXT_MAX])
{
    int64_t from = pb_timestamp_ns(j->started, 0);
    int64_t to = pb_timestamp_ns(j->finished, 0);

    out[0] = '\0';
    if (j->state == PB_JOB__STATE__STATE_RUNNING)
        to = show_wall_ns();
    if (from != 0 && to >= from)
        (void)show_span(to - from, out);
    return out;
}

static void
ls_row(struct table *t, const PbJob *j)
{
    char text[SHOW_TEXT_MAX], detail[400] = "";
    const char *state = show_state(j->state);

    table_printf(t, "%" PRIu64, j->id);
    table_printf(t, "%" PRIu64, j->batch);
    table_text(t, show_kind(j->kind));
    table_cell(t, show_state_colour(j->state), state, strlen(state));
    table_printf(t, "%" PRIu32, j->attempt);
    table_text(t, show_time(j->submitted, text));
    table_text(t, took(j, text));
    table_text(t, j->name);
    if (j->progress != NULL)
        (void)show_progress(j->progress, detail, sizeof(detail));
    else if (j->error != NULL && j->state != PB_JOB__STATE__STATE_SUCCEEDED)
        (void)show_error(j->error, detail, sizeof(detail));
    table_text(t, detail);
}

static int
run_ls(struct cli *cli)
{
    static const char *const heads[] = {">ID",       "",      "KIND", "STATE", ">TRY",
                                        "SUBMITTED", ">TOOK", "NAME", ""};
    const char *columns[9];
    bool json = cli->a.json;
    uint64_t left = opt_given(&cli->a, "limit") ? (uint64_t)cli->a.limit
                    : json                      ? 0
                                                : LS_LIMIT;
    bool unlimited = left == 0;
    PbList list = PB_LIST__INIT;
    PbRequest req = PB_REQUEST__INIT;
    struct table t;
    bool more = true;
    int code = 0;

    if (!cli_selector(cli, &list.select))
        return EXIT_USAGE;
    memcpy(columns, heads, sizeof(columns));
    columns[1] = ">BATCH";
    table_init(&t, 9, columns);
    if (cli->a.oldest)
        PB_SET(&list, oldest_first, true);
    req.call_case = PB_REQUEST__CALL_LIST;
    req.list = &list;
    while (more && (unlimited || left > 0)) {
        struct goctl_reply *reply;
        const PbListReply *r;

        PB_SET(&list, limit, unlimited || left > PAGE ? PAGE : (uint32_t)left);
        reply = cli_call(cli, &req, PB_RESPONSE__REPLY_LIST, &code);
        if (reply == NULL)
            break;
        r = goctl_response(reply)->list;
        for (size_t i = 0; i < r->n_jobs; i++)
            if (json)
                out_json(PB_BASE(r->jobs[i]));
            else
                ls_row(&t, r->jobs[i]);
        if (!json)
            table_print(&t);
        left -= unlimited ? 0 : r->n_jobs < left ? r->n_jobs : left;
        more = r->has_next && r->n_jobs > 0;
        PB_SET(&list, after, r->next);
        goctl_reply_free(reply);
    }
    table_fini(&t);
    if (code == 0 && more && !json && !opt_given(&cli->a, "limit"))
        out_printf("... and more: --limit 0 shows all\n");
    return code;
}

static struct goctl_reply *
get(struct cli *cli, bool whole, int *code)
{
    PbGet get = PB_GET__INIT;
    PbRequest req = PB_REQUEST__INIT;

    *code = EXIT_USAGE;
    if (!cli_id(cli->argv[0], &get.job))
        return NULL;
    get.has_job = 1;
    PB_SET(&get, result, true);
    PB_SET(&get, spec, whole);
    PB_SET(&get, history, whole);
    req.call_case = PB_REQUEST__CALL_GET;
    req.get = &get;
    return cli_call(cli, &req, PB_RESPONSE__REPLY_JOB, code);
}

static void
field_time(const char *name, const PbTimestamp *t)
{
    char text[SHOW_TEXT_MAX];

    if (t != NULL)
        out_printf(FIELD "%s\n", name, show_time(t, text));
}

static void
field_text(const char *name, const char *text)
{
    if (text == NULL)
        return;
    out_printf(FIELD, name);
    out_text(text, strlen(text));
    out_add("\n", 1);
}

static void
field_json(const char *name, const ProtobufCMessage *m)
{
    if (m == NULL)
        return;
    out_printf(FIELD, name);
    out_json(m);
}

static void
show_history(const PbJob *j)
{
    char why[400], time[SHOW_TEXT_MAX];

    for (size_t i = 0; i < j->n_history; i++) {
        const PbAttempt *a = j->history[i];

        out_printf(FIELD "%" PRIu32 ", %s: %s %s\n", i == 0 ? "attempts" : "", a->attempt,
                   show_time(a->started, time), show_state(a->state),
                   show_error(a->error, why, sizeof(why)));
    }
}

static void
show_job(const PbJob *j)
{
    char text[400], span[SHOW_TEXT_MAX];

    out_printf(FIELD "%" PRIu64 " (batch %" PRIu64 ")\n", "job", j->id, j->batch);
    out_printf(FIELD "%s\n", "kind", show_kind(j->kind));
    out_printf(FIELD, "state");
    out_colour(show_state_colour(j->state));
    out_printf("%s", show_state(j->state));
    out_colour(PLAIN);
    out_printf(", attempt %" PRIu32 "%s%s\n", j->attempt, took(j, span)[0] ? ", " : "",
               span);
    field_text("name", j->name);
    field_text("key", j->key);
    field_text("queue", j->queue);
    if (PB_GET(j, priority, 0) != 0)
        out_printf(FIELD "%" PRId32 "\n", "priority", j->priority);
    for (size_t i = 0; i < j->n_labels; i++) {
        (void)snprintf(text, sizeof(text), "%.180s=%.180s", j->labels[i]->key,
                       j->labels[i]->value);
        field_text("label", text);
    }
    field_time("submitted", j->submitted);
    field_time("runs at", j->run_at);
    field_time("started", j->started);
    field_time("finished", j->finished);
    field_time("deadline", j->deadline);
    if (j->progress != NULL) {
        field_text("progress", show_progress(j->progress, text, sizeof(text)));
    }
    if (j->error != NULL)
        field_text("error", show_error(j->error, text, sizeof(text)));
    show_history(j);
    field_json("spec", j->spec != NULL ? PB_BASE(j->spec) : NULL);
    if (j->result_case != PB_JOB__RESULT__NOT_SET) {
        out_printf(show_answer_is_line(j) ? FIELD : "%s:\n", "result");
        show_answer(j);
    }
}

static int
run_show(struct cli *cli)
{
    int code = 0;
    struct goctl_reply *reply = get(cli, true, &code);

    if (reply == NULL)
        return code;
    if (cli->a.json)
        out_json(PB_BASE(goctl_response(reply)->job));
    else
        show_job(goctl_response(reply)->job);
    goctl_reply_free(reply);
    return 0;
}

/* --- result ----------------------------------------------------------------------------- */

/* The content that a job returned, as it is. */
static bool
content_of(const PbJob *j, const void **ret, size_t *ret_len)
{
    *ret = NULL;
    *ret_len = 0;
    if (j->result_case == PB_JOB__RESULT_FETCH) {
        if (j->fetch->content_case == PB_FETCH_RESULT__CONTENT_TEXT) {
            *ret = j->fetch->text;
            *ret_len = strlen(j->fetch->text);
        } else if (j->fetch->content_case == PB_FETCH_RESULT__CONTENT_BODY) {
            *ret = j->fetch->body.data;
            *ret_len = j->fetch->body.len;
        }
    } else if (j->result_case == PB_JOB__RESULT_READ) {
        if (j->read->content_case == PB_READ_RESULT__CONTENT_TEXT) {
            *ret = j->read->text;
            *ret_len = strlen(j->read->text);
        } else if (j->read->content_case == PB_READ_RESULT__CONTENT_DATA) {
            *ret = j->read->data.data;
            *ret_len = j->read->data.len;
        }
    }
    return *ret != NULL;
}

/* Sends what out.c prints to a file. */
static int
redirect(const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);

    if (fd < 0 || dup2(fd, STDOUT_FILENO) < 0)
        return out_fail(EXIT_USAGE, "%s: %s", path, strerror(errno));
    (void)close(fd);
    out_init();
    return 0;
}

static int
print_result(struct cli *cli, const PbJob *j)
{
    const void *data;
    char why[1000];
    size_t n;

    if (j->state != PB_JOB__STATE__STATE_SUCCEEDED) {
        (void)show_error(j->error, why, sizeof(why));
        return out_fail(EXIT_JOB, "job %" PRIu64 " is %s%s%s", j->id,
                        show_state(j->state), why[0] != '\0' ? ": " : "", why);
    }
    if (cli->a.output != NULL && strcmp(cli->a.output, "-") != 0) {
        int code = redirect(cli->a.output);

        if (code != 0)
            return code;
    }
    if (cli->a.json)
        out_json(PB_BASE(j));
    else if (content_of(j, &data, &n) && !out_terminal())
        out_add(data, n); /* byte for byte */
    else
        show_answer(j);
    return 0;
}

static int
run_result(struct cli *cli)
{
    int code = 0;
    struct goctl_reply *reply = get(cli, false, &code);

    if (reply == NULL)
        return code;
    code = print_result(cli, goctl_response(reply)->job);
    out_flush();
    goctl_reply_free(reply);
    return code;
}

/* --- why -------------------------------------------------------------------------------- */

static int
run_why(struct cli *cli)
{
    PbWhy why = PB_WHY__INIT;
    PbRequest req = PB_REQUEST__INIT;
    struct goctl_reply *reply;
    const PbWhyReply *r;
    char text[SHOW_TEXT_MAX];
    int code = 0;

    if (!cli_id(cli->argv[0], &why.job))
        return EXIT_USAGE;
    why.has_job = 1;
    req.call_case = PB_REQUEST__CALL_WHY;
    req.why = &why;
    reply = cli_call(cli, &req, PB_RESPONSE__REPLY_WHY, &code);
    if (reply == NULL)
        return code;
    r = goctl_response(reply)->why;
    if (cli->a.json) {
        out_json(PB_BASE(r));
    } else {
        out_printf("%s: ", show_state(PB_GET(r, state, PB_JOB__STATE__STATE_NONE)));
        if (r->message != NULL)
            out_text(r->message, strlen(r->message));
        out_add("\n", 1);
        field_text("limit", r->limit);
        if (r->has_ahead)
            out_printf(FIELD "%" PRIu64 " in queue %s\n", "ahead", r->ahead,
                       r->queue != NULL ? r->queue : "default");
        field_time("runs at", r->run_at);
        field_text("parked in", r->park);
        if (r->since != NULL)
            out_printf(FIELD "%s\n", "since",
                       show_span(pb_duration_ns(r->since, 0), text));
        field_json("needs", r->needs != NULL ? PB_BASE(r->needs) : NULL);
    }
    goctl_reply_free(reply);
    return 0;
}

const struct command job_commands[] = {
    {"ls", "", "List jobs, the newest first", SELECT_OPTIONS "limit oldest", NULL,
     "ls --state failed --kind fetch", 0, 0, false, run_ls},
    {"show", "JOB", "All there is to know about a job", "", NULL, "show 12", 1, 1, false,
     run_show},
    {"why", "JOB", "Why a job has not run, or what it waits for", "", NULL, "why 12", 1,
     1, false, run_why},
    {"result", "JOB", "What came of a job: the answer, or the content it returned",
     "output", NULL, "result 12 -O page.html", 1, 1, false, run_result},
    {0},
};
