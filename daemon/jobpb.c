#include "daemon/jobpb.h"

#include <errno.h>
#include <string.h>

#include "daemon/dispatch.h"
#include "daemon/errtext.h"
#include "daemon/names.h"
#include "daemon/spec.h"
#include "daemon/store/pool.h"
#include "proto/wire.h"
#include "runtime/go.h"

PbJob__State
jobpb_state(enum store_state s)
{
    static const PbJob__State map[STORE_STATE_END] = {
        [STORE_BLOCKED] = PB_JOB__STATE__STATE_SCHEDULED,
        [STORE_SCHEDULED] = PB_JOB__STATE__STATE_SCHEDULED,
        [STORE_QUEUED] = PB_JOB__STATE__STATE_QUEUED,
        [STORE_RUNNING] = PB_JOB__STATE__STATE_RUNNING,
        [STORE_SUCCEEDED] = PB_JOB__STATE__STATE_SUCCEEDED,
        [STORE_FAILED] = PB_JOB__STATE__STATE_FAILED,
        [STORE_CANCELLED] = PB_JOB__STATE__STATE_CANCELLED,
        [STORE_DEAD] = PB_JOB__STATE__STATE_DEAD,
    };

    return s < STORE_STATE_END ? map[s] : PB_JOB__STATE__STATE_NONE;
}

unsigned
jobpb_store_want(unsigned want)
{
    return STORE_WANT_SPEC | (want & JOBPB_RESULT ? STORE_WANT_RESULT : 0);
}

/* --- from the spec and the result -------------------------------------------------------- */

static ProtobufCMessage *
unpack(struct call *c, const ProtobufCMessageDescriptor *desc, const void *data,
       size_t len)
{
    struct proto_err err = {.text = ""};
    ProtobufCMessage *m;
    int r = proto_unpack(desc, data, len, PROTO_TRUST, &c->mem, &m, &err);

    if (r == 0)
        return m;
    if (r == -ENOBUFS)
        (void)call_fail(c, PB_ERROR__CODE__TOO_LARGE, NULL, "the reply is too large");
    else
        (void)call_fail(c, PB_ERROR__CODE__STORAGE, NULL,
                        "a stored message cannot be read");
    return NULL;
}

static int
from_spec(struct call *c, const struct store_job *j, unsigned want, PbJob *out)
{
    size_t len = want & JOBPB_SPEC ? j->spec_len : spec_head(j->spec, j->spec_len);
    PbJobSpec *s;

    s = (PbJobSpec *)(void *)unpack(c, &pb_job_spec__descriptor, j->spec, len);
    if (s == NULL)
        return -ENOBUFS;
    out->name = s->name;
    out->key = s->key;
    out->deadline = s->deadline;
    out->n_labels = s->n_labels;
    out->labels =
        (PbJob__LabelsEntry **)(void *)s->labels; /* maps of strings are all alike */
    if (s->has_retries || c->cfg->defaults.retries > 0) {
        int64_t left = PB_GET(s, retries, (uint32_t)c->cfg->defaults.retries) - j->fails;

        PB_SET(out, retries, (uint32_t)(left > 0 ? left : 0));
    }
    if (want & JOBPB_SPEC)
        out->spec = s;
    return 0;
}

static int
from_result(struct call *c, const struct store_job *j, PbJob *out)
{
    PbJobResult *res;

    if (j->result == NULL)
        return 0;
    res = (PbJobResult *)(void *)unpack(c, &pb_job_result__descriptor, j->result,
                                        j->result_len);
    if (res == NULL)
        return -ENOBUFS;
    switch (res->result_case) {
    case PB_JOB_RESULT__RESULT_FETCH:
        out->result_case = PB_JOB__RESULT_FETCH;
        out->fetch = res->fetch;
        break;
    case PB_JOB_RESULT__RESULT_READ:
        out->result_case = PB_JOB__RESULT_READ;
        out->read = res->read;
        break;
    case PB_JOB_RESULT__RESULT_SUM:
        out->result_case = PB_JOB__RESULT_SUM;
        out->sum = res->sum;
        break;
    case PB_JOB_RESULT__RESULT_SQL:
        out->result_case = PB_JOB__RESULT_SQL;
        out->sql = res->sql;
        break;
    case PB_JOB_RESULT__RESULT_TIMER:
        out->result_case = PB_JOB__RESULT_TIMER;
        out->timer = res->timer;
        break;
    case PB_JOB_RESULT__RESULT__NOT_SET:
        break;
    }
    return 0;
}

/* --- from the history -------------------------------------------------------------------- */

static const struct {
    PbJob__State state;
    PbError__Code code; /* of an attempt whose error says none */
    const char *text;
} outcomes[] = {
    [0] = {PB_JOB__STATE__STATE_NONE, PB_ERROR__CODE__INTERNAL, "unknown"},
    [STORE_END_SUCCEEDED] = {PB_JOB__STATE__STATE_SUCCEEDED, PB_ERROR__CODE__INTERNAL,
                             ""},
    [STORE_END_FAILED] = {PB_JOB__STATE__STATE_FAILED, PB_ERROR__CODE__INTERNAL,
                          "failed"},
    [STORE_END_CANCELLED] = {PB_JOB__STATE__STATE_CANCELLED, PB_ERROR__CODE__CANCELLED,
                             "cancelled"},
    [STORE_END_DEAD] = {PB_JOB__STATE__STATE_DEAD, PB_ERROR__CODE__POISON,
                        "it was running in too many crashes"},
    [STORE_END_RETRY] = {PB_JOB__STATE__STATE_FAILED, PB_ERROR__CODE__INTERNAL, "failed"},
    [STORE_END_INTERRUPTED] = {PB_JOB__STATE__STATE_QUEUED, PB_ERROR__CODE__INTERRUPTED,
                               "the daemon stopped"},
    [STORE_END_CRASHED] = {PB_JOB__STATE__STATE_QUEUED, PB_ERROR__CODE__INTERRUPTED,
                           "the daemon crashed while it ran"},
    [STORE_END_UNMET] = {PB_JOB__STATE__STATE_CANCELLED, PB_ERROR__CODE__DEPENDENCY,
                         "what it waits for did not succeed"},
};

static PbError *
error_of(struct call *c, const struct store_attempt *a)
{
    size_t o =
        (size_t)a->outcome < sizeof(outcomes) / sizeof(outcomes[0]) ? a->outcome : 0;
    PbError *e = errtext_parse(&c->mem, a->error != NULL ? a->error : outcomes[o].text,
                               outcomes[o].code);

    if (e == NULL)
        (void)call_fail(c, PB_ERROR__CODE__TOO_LARGE, NULL, "the reply is too large");
    return e;
}

static PbAttempt *
attempt_of(struct call *c, const struct store_attempt *a)
{
    size_t o =
        (size_t)a->outcome < sizeof(outcomes) / sizeof(outcomes[0]) ? a->outcome : 0;
    PbAttempt *out = call_new(c, &pb_attempt__descriptor);

    if (out == NULL)
        return NULL;
    PB_SET(out, attempt, (uint32_t)a->attempt);
    PB_SET(out, state, outcomes[o].state);
    PB_SET(out, epoch, (uint64_t)a->epoch);
    out->error = error_of(c, a);
    out->started = call_time_ms(c, a->started);
    out->finished = call_time_ms(c, a->finished);
    return out->error != NULL && out->started != NULL && out->finished != NULL ? out
                                                                               : NULL;
}

static int
fill_history(struct call *c, const struct store_attempts *v, unsigned want, PbJob *out)
{
    if (v->n == 0)
        return 0;
    if (out->state != PB_JOB__STATE__STATE_SUCCEEDED) {
        out->error = error_of(c, &v->v[v->n - 1]);
        if (out->error == NULL)
            return -ENOBUFS;
    }
    if (!(want & JOBPB_HISTORY))
        return 0;
    out->history = call_array(c, v->n, sizeof(*out->history));
    for (size_t i = 0; out->history != NULL && i < v->n; i++) {
        out->history[i] = attempt_of(c, &v->v[i]);
        if (out->history[i] == NULL)
            return -ENOBUFS;
        out->n_history = i + 1;
    }
    return out->history == NULL ? -ENOBUFS : 0;
}

/* Why a batch was cancelled; NULL: no memory, the call is refused. */
static PbError *
stop_error(struct call *c, enum store_stop why, const char *late_text,
           const char *fail_fast)
{
    PbError *e = call_new(c, &pb_error__descriptor);
    bool late = why == STORE_STOP_DEADLINE;

    if (e == NULL)
        return NULL;
    PB_SET(e, code, late ? PB_ERROR__CODE__DEADLINE : PB_ERROR__CODE__CANCELLED);
    e->message = call_dup(c, late                          ? late_text
                             : why == STORE_STOP_FAIL_FAST ? fail_fast
                                                           : "cancelled");
    return e->message != NULL ? e : NULL;
}

/* A job that was cancelled as it waited has no attempt that tells why: its batch may. */
static int
from_batch(struct call *c, int64_t batch, PbJob *out)
{
    struct store_batches v = {.v = NULL};
    int r = 1;

    if (c->batch.id != batch) {
        r = CALL_READ(c, rd, store_read_batch(rd, batch, &v));
        c->batch.id = batch;
        c->batch.why = r > 0 && v.v[0].cancelled ? (int)v.v[0].why : -1;
        store_batches_free(&v);
    }
    if (r < 0)
        return r;
    out->error = stop_error(
        c, c->batch.why < 0 ? STORE_STOP_CLIENT : (enum store_stop)c->batch.why,
        "the deadline of its batch passed", "another job of its batch failed");
    return out->error != NULL ? 0 : -ENOBUFS;
}

static int
from_history(struct call *c, const struct store_job *j, unsigned want, PbJob *out)
{
    struct store_attempts v = {.v = NULL};
    bool before = false; /* what is kept is from before its cancellation */
    int r;

    if (j->state == STORE_SUCCEEDED && !(want & JOBPB_HISTORY))
        return 0;
    if (j->attempt == 0 && !store_state_final(j->state))
        return 0;
    r = CALL_READ(c, rd, store_read_attempts(rd, j->id, &v));
    if (r == 0) {
        before = v.n == 0 || (v.v[v.n - 1].outcome != STORE_END_CANCELLED &&
                              v.v[v.n - 1].outcome != STORE_END_UNMET);
        r = fill_history(c, &v, want, out);
    }
    store_attempts_free(&v);
    if (r == 0 && before && j->state == STORE_CANCELLED)
        r = from_batch(c, j->batch, out);
    return r;
}

/* --- the job ----------------------------------------------------------------------------- */

static int
from_running(struct call *c, const struct store_job *j, PbJob *out)
{
    struct dispatch_look look;

    if (j->state != STORE_RUNNING || !dispatch_look(c->d->dispatch, j->id, &look))
        return 0;
    out->progress = call_new(c, &pb_progress__descriptor);
    if (out->progress == NULL)
        return -ENOBUFS;
    PB_SET(out->progress, done, look.done);
    PB_SET(out->progress, unit, (PbProgress__Unit)look.unit);
    if (look.total > 0)
        PB_SET(out->progress, total, look.total);
    return 0;
}

static int
from_row(struct call *c, const struct store_job *j, PbJob *out)
{
    PB_SET(out, id, (uint64_t)j->id);
    PB_SET(out, batch, (uint64_t)j->batch);
    PB_SET(out, kind, (PbJob__Kind)STORE_LANE_KIND(j->lane));
    PB_SET(out, state, jobpb_state(j->state));
    PB_SET(out, attempt, (uint32_t)j->attempt);
    if (j->schedule != 0)
        PB_SET(out, schedule, (uint64_t)j->schedule);
    if (j->prio != 0)
        PB_SET(out, priority, j->prio);
    out->submitted = call_time_ms(c, j->created);
    if (j->started != 0)
        out->started = call_time_ms(c, j->started);
    if (j->finished != 0)
        out->finished = call_time_ms(c, j->finished);
    if (j->state == STORE_SCHEDULED || j->state == STORE_BLOCKED)
        out->run_at = call_time_ms(c, j->run_at);
    if (STORE_LANE_QUEUE(j->lane) != 0)
        out->queue = names_queue(c, STORE_LANE_QUEUE(j->lane));
    return c->rep->reply_case == PB_RESPONSE__REPLY_ERROR ? -ENOBUFS : 0;
}

PbJob *
jobpb_make(struct call *c, const struct store_job *j, unsigned want)
{
    PbJob *out = call_new(c, &pb_job__descriptor);
    int r = out == NULL ? -ENOBUFS : from_row(c, j, out);

    if (r == 0)
        r = from_spec(c, j, want, out);
    if (r == 0 && (want & JOBPB_RESULT))
        r = from_result(c, j, out);
    if (r == 0)
        r = from_history(c, j, want, out);
    if (r == 0)
        r = from_running(c, j, out);
    return r < 0 ? NULL : out;
}

/* --- batches ----------------------------------------------------------------------------- */

static PbBatch__State
batch_state(const struct store_batch_info *b)
{
    if (b->finished != 0)
        return b->cancelled ? PB_BATCH__STATE__STATE_CANCELLED
                            : PB_BATCH__STATE__STATE_DONE;
    return b->closed ? PB_BATCH__STATE__STATE_CLOSED : PB_BATCH__STATE__STATE_OPEN;
}

static PbCounts *
batch_counts(struct call *c, const struct store_batch_info *b)
{
    PbCounts *n = call_new(c, &pb_counts__descriptor);
    uint64_t total = 0;

    if (n == NULL)
        return NULL;
    for (int s = 0; s < STORE_STATE_N; s++)
        total += (uint64_t)b->n[s];
    PB_SET(n, total, total);
#define N(state) ((uint64_t)b->n[(state)-STORE_BLOCKED])
    PB_SET(n, scheduled, N(STORE_SCHEDULED) + N(STORE_BLOCKED));
    PB_SET(n, queued, N(STORE_QUEUED));
    PB_SET(n, running, N(STORE_RUNNING));
    PB_SET(n, succeeded, N(STORE_SUCCEEDED));
    PB_SET(n, failed, N(STORE_FAILED));
    PB_SET(n, cancelled, N(STORE_CANCELLED));
    PB_SET(n, dead, N(STORE_DEAD));
#undef N
    return n;
}

static void
batch_labels(struct call *c, const struct store_batch_info *b, PbBatch *out)
{
    out->labels = call_array(c, b->n_labels + 1, sizeof(*out->labels));
    for (size_t i = 0; out->labels != NULL && i < b->n_labels; i++) {
        PbBatch__LabelsEntry *e = call_new(c, &pb_batch__labels_entry__descriptor);

        if (e == NULL)
            return;
        e->key = call_dup(c, b->labels[i].key);
        e->value = call_dup(c, b->labels[i].value);
        out->labels[out->n_labels++] = e;
    }
}

PbBatch *
jobpb_batch(struct call *c, const struct store_batch_info *b)
{
    PbBatch *out = call_new(c, &pb_batch__descriptor);

    if (out == NULL)
        return NULL;
    PB_SET(out, id, (uint64_t)b->id);
    PB_SET(out, state, batch_state(b));
    if (b->name != NULL)
        out->name = call_dup(c, b->name);
    out->counts = batch_counts(c, b);
    out->created = call_time_ms(c, b->created);
    if (b->finished != 0)
        out->finished = call_time_ms(c, b->finished);
    if (b->deadline != 0)
        out->deadline = call_time_ms(c, b->deadline);
    if (b->fail_fast)
        PB_SET(out, fail_fast, 1);
    if (b->max_parallel > 0)
        PB_SET(out, max_parallel, (uint32_t)b->max_parallel);
    if (b->schedule != 0)
        PB_SET(out, schedule, (uint64_t)b->schedule);
    if (b->cancelled)
        out->error = stop_error(c, b->why, "its deadline passed", "a job of it failed");
    batch_labels(c, b, out);
    return c->rep->reply_case == PB_RESPONSE__REPLY_ERROR ? NULL : out;
}
