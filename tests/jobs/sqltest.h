/*
 * What the tests of SQL jobs share, whatever the database.
 */
#ifndef GOJOBD_TESTS_JOBS_SQLTEST_H
#define GOJOBD_TESTS_JOBS_SQLTEST_H

#include "tests/jobs/jobtest.h"

#define QUERY(db, q) "{\"sql\":{\"db\":\"" db "\",\"query\":\"" q "\"}}"

/* What the job gives contains part; or it fails with that code, and says part. PARKS. */
static inline void
gives(struct job_env *env, const char *json, const char *part)
{
    struct outcome o;

    run_job(env, NULL, &o, "%s", json);
    CHECK_INT(o.r, 0);
    CHECK_HAS(o.r == 0 ? o.json : o.message, part);
}

static inline void
fails(struct job_env *env, const char *json, int code, const char *part)
{
    struct outcome o;

    run_job(env, NULL, &o, "%s", json);
    CHECK_INT(o.code, code);
    CHECK(o.r < 0);
    CHECK_HAS(o.message, part);
}

#endif
