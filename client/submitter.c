#include "client/submitter.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "client/conn.h"
#include "client/spec.h"
#include "proto/json.h"
#include "proto/wire.h"

enum {
    JOBS_PER_MESSAGE = 5000,
    BYTES_PER_MESSAGE = 1 << 20, /* of JSON, about */
};

#define MESSAGE_MEMORY ((size_t)256 << 20)

struct submitter_message {
    struct proto_arena arena; /* of the specs; freed when the message is packed */
    size_t n;
    size_t bytes;
    bool ordered; /* it names jobs that must be in before it */
    struct goctl_call *call;
    PbJobSpec *jobs[JOBS_PER_MESSAGE];
    uint64_t lines[JOBS_PER_MESSAGE];
};

static struct submitter_message *
message_new(void)
{
    struct submitter_message *m = calloc(1, sizeof(*m));

    if (m != NULL)
        proto_arena_init(&m->arena, MESSAGE_MEMORY);
    return m;
}

static void
message_free(struct submitter_message *m)
{
    if (m == NULL)
        return;
    proto_arena_free(&m->arena);
    free(m);
}

static void
stop(struct submitter *s, int code)
{
    if (s->code == 0)
        s->code = code;
}

bool
submitter_init(struct submitter *s, struct cli *cli)
{
    *s = (struct submitter){.cli = cli, .stay_open = cli->a.batch != NULL};
    s->options = spec_batch(cli);
    s->message = message_new();
    if (s->message == NULL)
        (void)out_fail(EXIT_JOB, "out of memory");
    return s->message != NULL;
}

void
submitter_fini(struct submitter *s)
{
    message_free(s->message);
    free(s->ids);
    id_runs_fini(&s->places);
}

/* --- replies ---------------------------------------------------------------------------- */

static void
complain(struct submitter *s, const struct submitter_message *m,
         const struct goctl_error *err)
{
    if (err->code == GOCTL_REFUSED && err->has_index && err->index < m->n &&
        s->source != NULL)
        stop(s, out_fail(EXIT_REFUSED, "%s:%" PRIu64 ": %s", s->source,
                         m->lines[err->index], err->text));
    else
        stop(s, out_error(err));
}

static void
keep_ids(struct submitter *s, const PbSubmitReply *r)
{
    if (s->n_ids + r->n_ids > s->cap_ids) {
        size_t cap = (s->n_ids + r->n_ids) * 2;
        uint64_t *ids = realloc(s->ids, cap * sizeof(*ids));

        if (ids == NULL) {
            stop(s, out_fail(EXIT_JOB, "out of memory"));
            return;
        }
        s->ids = ids;
        s->cap_ids = cap;
    }
    memcpy(s->ids + s->n_ids, r->ids, r->n_ids * sizeof(*r->ids));
    s->n_ids += r->n_ids;
}

/* Waits for the oldest message's reply. */
static void
collect(struct submitter *s)
{
    struct submitter_message *m = s->sent[0];
    struct goctl_error err = {0};
    struct goctl_reply *reply = NULL;
    const PbSubmitReply *r;

    s->n_sent--;
    memmove(s->sent, s->sent + 1, s->n_sent * sizeof(s->sent[0]));
    if (goctl_finish(m->call, &reply, &err) < 0) {
        complain(s, m, &err);
        message_free(m);
        return;
    }
    if (goctl_response(reply)->reply_case != PB_RESPONSE__REPLY_SUBMIT) {
        stop(s, out_fail(EXIT_UNREACHABLE, "gojobd sent a reply of another call"));
    } else {
        r = goctl_response(reply)->submit;
        s->jobs += r->n_ids;
        if (!id_runs_add(&s->places, r->ids, r->n_ids))
            stop(s, out_fail(EXIT_JOB, "out of memory"));
        if (r->n_ids > 0 && (s->keep_ids || PB_GET(r, duplicates, 0) > 0))
            keep_ids(s, r);
        if (s->batch == 0 && r->batch != 0) {
            s->batch = r->batch;
            if (s->begun != NULL)
                s->begun(s->arg, s->batch);
        }
        if (s->taken != NULL)
            s->taken(s->arg, r);
    }
    goctl_reply_free(reply);
    message_free(m);
}

static void
collect_all(struct submitter *s)
{
    while (s->n_sent > 0)
        collect(s);
}

/* --- messages --------------------------------------------------------------------------- */

static void
address(struct submitter *s, PbSubmit *submit)
{
    const char *name;
    uint64_t id;

    if (s->batch != 0) {
        PB_SET(submit, batch, s->batch);
        return;
    }
    submit->options = s->options;
    if (s->cli->a.batch == NULL)
        return;
    cli_batch(s->cli->a.batch, &id, &name);
    if (name != NULL)
        submit->batch_name = s->cli->a.batch;
    else
        PB_SET(submit, batch, id);
}

/* The last message closes the batch, so all others must be in before; the first one makes
 * it, so the others wait for its reply. */
static void
send_message(struct submitter *s, bool last)
{
    struct submitter_message *m = s->message;
    PbSubmit submit = PB_SUBMIT__INIT;
    PbRequest req = PB_REQUEST__INIT;
    struct goctl_error err = {0};
    bool first = s->batch == 0;
    int r;

    if (last || m->ordered)
        collect_all(s);
    if (s->code != 0)
        return;
    submit.jobs = m->jobs;
    submit.n_jobs = m->n;
    if (!last || s->stay_open)
        PB_SET(&submit, more, true);
    if (s->cli->a.dry_run)
        PB_SET(&submit, dry_run, true);
    if (first && last && !s->stay_open && !s->cli->a.dry_run &&
        m->n <= GOCTL_SUBMIT_WAIT_MAX)
        submit.wait = s->wait;
    address(s, &submit);
    req.call_case = PB_REQUEST__CALL_SUBMIT;
    req.submit = &submit;
    r = goctl_start(s->cli->conn, &req, GOCTL_FOREVER, &m->call, &err);
    proto_arena_free(&m->arena);
    if (r < 0) {
        stop(s, out_error(&err));
        return;
    }

    s->base += m->n;
    s->message = message_new();
    if (s->message == NULL)
        stop(s, out_fail(EXIT_JOB, "out of memory"));
    s->sent[s->n_sent++] = m;
    if (first || last)
        collect_all(s);
    else if (s->n_sent == SUBMITTER_AHEAD)
        collect(s);
}

static void
added(struct submitter *s, PbJobSpec *spec, size_t bytes, uint64_t line)
{
    struct submitter_message *m = s->message;

    m->jobs[m->n] = spec;
    m->lines[m->n] = line;
    m->n++;
    m->bytes += bytes;
}

/* One job stays behind, so that finish has a last message to send. */
static void
make_room(struct submitter *s)
{
    if (s->message->n == JOBS_PER_MESSAGE || s->message->bytes > BYTES_PER_MESSAGE)
        send_message(s, false);
}

void
submitter_add(struct submitter *s, const PbJobSpec *spec)
{
    struct proto_buf packed = {0};
    struct proto_err err = {0};
    ProtobufCMessage *copy;

    make_room(s);
    if (s->code != 0)
        return;
    if (proto_pack(PB_BASE(spec), &packed) < 0 ||
        proto_unpack(&pb_job_spec__descriptor, packed.data, packed.len, PROTO_CHECK,
                     &s->message->arena, &copy, &err) < 0)
        stop(s, out_fail(EXIT_USAGE, "%s", err.text[0] ? err.text : "out of memory"));
    else
        added(s, (PbJobSpec *)copy, packed.len, 0);
    proto_buf_free(&packed);
}

/* Jobs of the file that this one waits for. False: stopped. */
static bool
place(struct submitter *s, PbJobSpec *spec, uint64_t number)
{
    int64_t r;

    if (spec->needs == NULL)
        return true;
    s->message->ordered = s->message->ordered || spec->needs->n_keys > 0;
    if (spec->needs->n_siblings == 0)
        return true;
    if (needs_earlier(spec->needs, s->base))
        collect_all(s);
    if (s->code != 0)
        return false;
    r = needs_place(&s->message->arena, spec->needs, s->base + s->message->n, s->base,
                    &s->places);
    if (r > 0)
        stop(s, out_fail(EXIT_USAGE,
                         "%s:%" PRIu64 ": needs.siblings: %" PRId64
                         " is not a job before this one, which is %" PRIu64
                         " counted from 0",
                         s->source, number, r - 1, s->base + s->message->n));
    else if (r < 0)
        stop(s, out_fail(EXIT_JOB, "out of memory"));
    return r == 0;
}

void
submitter_line(struct submitter *s, const char *line, size_t len, uint64_t number)
{
    struct proto_err err = {0};
    ProtobufCMessage *m;

    make_room(s);
    if (s->code != 0)
        return;
    if (proto_json_parse(&pb_job_spec__descriptor, line, len, &s->message->arena, &m,
                         &err) < 0) {
        stop(s, out_fail(EXIT_USAGE, "%s:%" PRIu64 ": %s", s->source, number, err.text));
        return;
    }
    if (!spec_defaults(s->cli, &s->message->arena, (PbJobSpec *)m)) {
        stop(s, EXIT_USAGE);
        return;
    }
    if (place(s, (PbJobSpec *)m, number))
        added(s, (PbJobSpec *)m, len, number);
}

void
submitter_push(struct submitter *s)
{
    if (s->message->n > 0 && s->code == 0)
        send_message(s, false);
}

/* A last message without jobs. */
static void
close_batch(struct submitter *s)
{
    PbSubmit submit = PB_SUBMIT__INIT;
    PbRequest req = PB_REQUEST__INIT;
    struct goctl_reply *reply;
    struct goctl_error err = {0};

    PB_SET(&submit, batch, s->batch);
    req.call_case = PB_REQUEST__CALL_SUBMIT;
    req.submit = &submit;
    if (goctl_call(s->cli->conn, &req, 60 * GOCTL_SECOND, &reply, &err) < 0)
        stop(s, out_error(&err));
    else
        goctl_reply_free(reply);
}

void
submitter_finish(struct submitter *s)
{
    if (s->code == 0 && s->message->n > 0) {
        send_message(s, true);
        if (s->code == 0)
            return;
    }
    collect_all(s);
    if (s->batch != 0 && !s->stay_open && !s->cli->a.dry_run)
        close_batch(s);
}
