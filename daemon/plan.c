#include "daemon/plan.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "jobs/kind.h"
#include "runtime/time/timer.h"

#define SPEC_BYTES    (8 << 20) /* of the specs of one claim of one lane */
#define INSTANT_BYTES 4096      /* of the specs of jobs that run within a transaction */

struct lane {
    int64_t lane;
    int32_t prio;
};

static int
by_priority(const void *a, const void *b)
{
    const struct lane *x = a, *y = b;

    if (x->prio != y->prio)
        return x->prio < y->prio ? 1 : -1;
    return x->lane < y->lane ? -1 : x->lane > y->lane;
}

/* Each run of lanes with equal priority begins somewhere else each time, so that under a
 * full limit all of them get on. */
static void
lanes_turn(struct lane *v, int n, unsigned turn)
{
    struct lane tmp[PLAN_LANES];

    for (int i = 0, end; i < n; i = end) {
        int len;

        for (end = i + 1; end < n && v[end].prio == v[i].prio; end++)
            ;
        len = end - i;
        for (int k = 0; k < len; k++)
            tmp[k] = v[i + (int)(((unsigned)k + turn) % (unsigned)len)];
        for (int k = 0; k < len; k++)
            v[i + k] = tmp[k];
    }
}

double
plan_tokens(const struct plan_queue *q, const struct store_queue_conf *c, int64_t now)
{
    double burst = c->burst > 0 ? (double)c->burst : 1.0;
    double tokens;

    if (q->filled_at == 0)
        return burst;
    tokens = q->tokens + c->rate * (double)(now - q->filled_at) / (double)GO_SECOND;
    return tokens < burst ? tokens : burst;
}

/* Room in a queue: by its pause, its limit and its rate. *held: the limit decided it. */
static int64_t
queue_room(struct store *st, struct plan *p, int64_t id, int64_t claimed, bool *held)
{
    struct store_queue q;
    int64_t room = p->lane_max;
    double tokens;

    if (store_queue_get(st, id, &q) < 0 || q.conf.paused)
        return 0;
    p->conf[id] = q.conf;
    if (q.conf.parallel > 0 && q.conf.parallel - p->queues[id].running - claimed < room) {
        room = q.conf.parallel - p->queues[id].running - claimed;
        *held = true;
    }
    if (q.conf.rate > 0) {
        tokens = plan_tokens(&p->queues[id], &q.conf, p->now) - (double)claimed;
        if (tokens < (double)room) {
            /* When the rate allows one more than now. */
            int64_t more = (int64_t)floor(tokens) + 1;
            int64_t at = p->now + (int64_t)ceil(((double)more - tokens) / q.conf.rate *
                                                (double)GO_SECOND);

            p->again_at = at < p->again_at ? at : p->again_at;
            room = (int64_t)tokens;
        }
    }
    return room > 0 ? room : 0;
}

/* *held: a limit decided it, not a rate or a pause. */
static int64_t
lane_room(struct store *st, struct plan *p, int64_t lane, int64_t total,
          const int64_t *by_kind, const int64_t *by_queue, bool suspect, bool *held)
{
    int64_t queue = STORE_LANE_QUEUE(lane);
    int kind = STORE_LANE_KIND(lane);
    int64_t room = queue_room(st, p, queue, by_queue[queue], held);
    int64_t limited = room;

    if (p->room - total < limited)
        limited = p->room - total;
    if (p->kind_room[kind] - by_kind[kind] < limited)
        limited = p->kind_room[kind] - by_kind[kind];
    if (STORE_LANE_SUSPECT(lane) && limited > 0)
        limited = suspect || p->suspect_runs ? 0 : 1;
    *held = *held || limited < room;
    return limited;
}

/* Lanes that have queued jobs and room, at most PLAN_LANES of them: those without room take
 * nobody's place. When there are more, the next plan begins with the others. */
static int
lanes_list(struct store *st, struct plan *p, struct lane *v, int *ret_n)
{
    static const int64_t none[STORE_QUEUES_MAX];
    int64_t after = p->from, end = INT64_MAX;
    int n = 0, r;

    for (;;) {
        struct lane found;
        bool held = false;

        r = store_lane_next(st, after, &found.lane, &found.prio);
        if (r < 0)
            return r;
        if (r == 0 && end == INT64_MAX && p->from >= 0) {
            end = p->from;
            after = -1;
            continue;
        }
        if (r == 0 || found.lane > end)
            break;
        after = found.lane;
        if (lane_room(st, p, found.lane, 0, none, none, false, &held) <= 0) {
            p->held = p->held || held;
            continue;
        }
        if (n == PLAN_LANES) {
            p->more = true;
            break;
        }
        v[n++] = found;
    }
    p->from = p->more ? v[n - 1].lane : -1;
    *ret_n = n;
    return 0;
}

/* Whether the lane still has queued jobs. */
static bool
lane_left(struct store *st, int64_t lane)
{
    int64_t found;
    int32_t prio;

    return store_lane_next(st, lane - 1, &found, &prio) > 0 && found == lane;
}

/* Why the lane still has jobs after a claim with this much room, if it has. */
static void
note_left(struct store *st, struct plan *p, int64_t lane, int64_t claimed, int64_t room,
          bool held)
{
    if (!lane_left(st, lane))
        return;
    if (claimed < room)
        p->stuck = true;
    else if (held)
        p->held = true;
    else /* a rate, or as many as one claim takes: the next plan tells when */
        p->more = true;
}

static int
claim_lanes(struct store *st, struct plan *p, const struct lane *v, int n)
{
    int64_t by_kind[STORE_KIND_MAX + 1] = {0}, total = 0, room;
    int64_t *by_queue = calloc(STORE_QUEUES_MAX, sizeof(*by_queue));
    bool suspect = false;
    int r = by_queue == NULL ? -ENOMEM : 0;

    for (int i = 0; r == 0 && i < n; i++) {
        struct store_claims *c = &p->claims[p->n_lanes];
        bool held = false;

        room = lane_room(st, p, v[i].lane, total, by_kind, by_queue, suspect, &held);
        if (room <= 0) {
            p->held = p->held || held;
            continue;
        }
        r = store_claim(st, v[i].lane, (size_t)room, SPEC_BYTES, c);
        if (r < 0)
            break;
        note_left(st, p, v[i].lane, (int64_t)c->n, room, held);
        if (c->n == 0)
            continue;
        p->n_lanes++;
        p->more = p->more || c->text_len >= SPEC_BYTES / 2;
        total += (int64_t)c->n;
        by_kind[STORE_LANE_KIND(v[i].lane)] += (int64_t)c->n;
        by_queue[STORE_LANE_QUEUE(v[i].lane)] += (int64_t)c->n;
        suspect = suspect || STORE_LANE_SUSPECT(v[i].lane);
    }
    free(by_queue);
    return r;
}

/* A few short jobs of a kind that has instant ones, and nothing that a limit holds back
 * and that their ends would set free. */
static bool
may_be_instant(const struct plan *p)
{
    const struct store_claims *c = &p->claims[0];
    const struct job_kind *kind;

    if (p->n_lanes != 1 || p->more || p->held || p->stuck || c->n > PLAN_FEW ||
        c->text_len > INSTANT_BYTES || STORE_LANE_SUSPECT(c->v[0].lane))
        return false;
    kind = job_kind_find(STORE_LANE_KIND(c->v[0].lane));
    return kind != NULL && kind->instant != NULL;
}

static int
plan_run(struct store *st, struct store_op *op)
{
    struct plan *p = (struct plan *)op;
    struct lane lanes[PLAN_LANES];
    int n, r;

    p->n_lanes = 0;
    p->more = p->held = p->stuck = false;
    p->again_at = GO_NEVER;
    if (store_queued(st) == 0)
        return 0;
    r = lanes_list(st, p, lanes, &n);
    if (r < 0)
        return r;
    qsort(lanes, (size_t)n, sizeof(lanes[0]), by_priority);
    lanes_turn(lanes, n, p->turn);
    r = claim_lanes(st, p, lanes, n);
    return r < 0 ? r : may_be_instant(p);
}

void
plan_prepare(struct plan *p)
{
    p->op.run = plan_run;
    p->op.nosync = true;
    p->now = go_now();
    p->turn++;
}

void
plan_fini(struct plan *p)
{
    for (int i = 0; i < PLAN_LANES; i++)
        store_claims_fini(&p->claims[i]);
}
