#include <errno.h>

#include "daemon/call.h"
#include "daemon/jobpb.h"
#include "daemon/select.h"
#include "daemon/store/pool.h"

int
call_get(struct call *c)
{
    const PbGet *in = c->req->get;
    struct store_jobs jobs = {.v = NULL};
    unsigned want = (PB_GET(in, spec, 0) ? JOBPB_SPEC : 0) |
                    (PB_GET(in, result, 0) ? JOBPB_RESULT : 0) |
                    (PB_GET(in, history, 0) ? JOBPB_HISTORY : 0);
    int r;

    r = CALL_READ(
        c, rd,
        store_read_job(rd, (int64_t)PB_GET(in, job, 0), jobpb_store_want(want), &jobs));
    if (r == 0)
        r = call_fail(c, PB_ERROR__CODE__NOT_FOUND, "job", "there is no job %llu",
                      (unsigned long long)PB_GET(in, job, 0));
    if (r > 0) {
        PbJob *job = jobpb_make(c, &jobs.v[0], want);

        r = job != NULL ? 0 : -ENOBUFS;
        if (r == 0) {
            c->rep->reply_case = PB_RESPONSE__REPLY_JOB;
            c->rep->job = job;
        }
    }
    store_jobs_free(&jobs);
    return r;
}

/* --- list -------------------------------------------------------------------------------- */

enum { LIST_DFLT = 100, LIST_MAX = 10000, LOOKS_MAX = 20 };

int
call_list(struct call *c)
{
    const PbList *in = c->req->list;
    unsigned want = PB_GET(in, results, 0) ? JOBPB_RESULT : 0;
    size_t limit = PB_GET(in, limit, 0) > 0 ? in->limit : LIST_DFLT;
    PbListReply *rep = call_new(c, &pb_list_reply__descriptor);
    int64_t cursor = (int64_t)PB_GET(in, after, 0);
    struct selection s;
    int r = select_init(c, in->select, jobpb_store_want(want), &s);

    if (r < 0 || rep == NULL)
        return r < 0 ? r : -ENOBUFS;
    limit = limit < LIST_MAX ? limit : LIST_MAX;
    s.f.newest_first = !PB_GET(in, oldest_first, 0);
    rep->jobs = call_array(c, limit, sizeof(*rep->jobs));
    if (rep->jobs == NULL)
        return -ENOBUFS;
    /* Bounded: a selector that matches little answers with what was found so far. */
    for (int looks = 0; r == 0 && looks < LOOKS_MAX && rep->n_jobs < limit; looks++) {
        struct store_jobs jobs;

        r = select_next(c, &s, &cursor, limit - rep->n_jobs, &jobs);
        for (size_t i = 0; r == 0 && i < jobs.n; i++) {
            rep->jobs[rep->n_jobs] = jobpb_make(c, &jobs.v[i], want);
            if (rep->jobs[rep->n_jobs++] == NULL)
                r = -ENOBUFS;
        }
        store_jobs_free(&jobs);
        if (cursor == 0)
            break;
    }
    if (r < 0)
        return r;
    if (cursor != 0)
        PB_SET(rep, next, (uint64_t)cursor);
    c->rep->reply_case = PB_RESPONSE__REPLY_LIST;
    c->rep->list = rep;
    return 0;
}
