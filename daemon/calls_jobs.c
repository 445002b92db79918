#include <errno.h>

#include "daemon/call.h"
#include "daemon/jobpb.h"
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

    r = CALL_READ(c, rd, store_read_job(rd, (int64_t)PB_GET(in, job, 0), jobpb_store_want(want),
                                        &jobs));
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
