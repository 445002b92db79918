#include "tests/daemon/storetest.h"

#include <dirent.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/store/inner.h"

uint64_t rng;

unsigned
rnd(unsigned n)
{
    rng ^= rng << 13;
    rng ^= rng >> 7;
    rng ^= rng << 17;
    return (unsigned)(rng >> 33) % n;
}

static void
remove_dir(const char *dir)
{
    DIR *d = opendir(dir);
    struct dirent *e;
    char path[400];

    while (d != NULL && (e = readdir(d)) != NULL) {
        snprintf(path, sizeof(path), "%s/%s", dir, e->d_name);
        (void)unlink(path);
    }
    if (d != NULL)
        closedir(d);
    (void)rmdir(dir);
}

static void
fixture_open(struct fixture *f)
{
    struct store_opts o = {.path = f->path};
    char err[256] = "";

    if (store_open(&o, f->now, &f->st, err, sizeof(err)) < 0)
        fail_msg("%s", err);
}

int
fixture_setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    assert_non_null(f);
    strcpy(f->dir, "/tmp/storetest.XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    snprintf(f->path, sizeof(f->path), "%s/jobs.db", f->dir);
    f->now = T0;
    fixture_open(f);
    *state = f;
    return 0;
}

int
fixture_teardown(void **state)
{
    struct fixture *f = *state;

    store_close(f->st);
    remove_dir(f->dir);
    free(f);
    return 0;
}

void
fixture_reopen(struct fixture *f)
{
    store_close(f->st);
    f->st = NULL;
    fixture_open(f);
}

/* The files are what a kill -9 leaves: no checkpoint, the log still there. */
void
fixture_crash(struct fixture *f)
{
    sqlite3_db_config(f->st->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    fixture_reopen(f);
}

int
ok_(struct fixture *f, int r, const char *what, const char *file, int line)
{
    if (r < 0) {
        print_error("%s: %d: %s\n", what, r, store_error(f->st));
        _fail(file, line);
    }
    return r;
}

void
begin(struct fixture *f)
{
    ok(f, store_begin(f->st, f->now, STORE_SYNC));
}

void
commit(struct fixture *f)
{
    ok(f, store_commit(f->st));
}

int64_t
submit(struct fixture *f, int64_t batch, int n, int64_t *ret_first)
{
    struct store_new_job *jobs = calloc((size_t)n + 1, sizeof(*jobs));
    struct store_submit sub = {
        .batch = batch, .jobs = jobs, .n_jobs = (size_t)n, .close = batch == 0};
    struct store_submitted done;

    assert_non_null(jobs);
    for (int i = 0; i < n; i++)
        jobs[i] = (struct store_new_job){.lane = LANE, .spec = "spec", .spec_len = 4};
    begin(f);
    ok(f, store_submit(f->st, &sub, NULL, &done));
    commit(f);
    free(jobs);
    if (ret_first != NULL)
        *ret_first = done.first;
    return done.batch;
}

int64_t
submit_job(struct fixture *f, int64_t batch, const struct store_new_job *j)
{
    struct store_submit sub = {
        .batch = batch, .jobs = j, .n_jobs = 1, .close = batch == 0};
    struct store_submitted done;
    int64_t id;

    begin(f);
    ok(f, store_submit(f->st, &sub, &id, &done));
    commit(f);
    return id;
}

struct store_claims
claim(struct fixture *f, int64_t lane, size_t max)
{
    struct store_claims c = {.v = NULL};

    ok(f, store_begin(f->st, f->now, STORE_NOSYNC));
    ok(f, store_claim(f->st, lane, max, 0, &c));
    commit(f);
    return c;
}

struct store_claimed
claim_one(struct fixture *f, int64_t lane)
{
    struct store_claims c = claim(f, lane, 1);
    struct store_claimed v;

    assert_int_equal(c.n, 1);
    v = c.v[0];
    v.spec = NULL;
    store_claims_fini(&c);
    return v;
}

int
finish(struct fixture *f, const struct store_claimed *c, enum store_outcome outcome)
{
    struct store_finish fin = {.id = c->id,
                               .attempt = c->attempt,
                               .lane = c->lane,
                               .batch = c->batch,
                               .outcome = outcome,
                               .result = "result",
                               .result_len = 6,
                               .run_at = f->now + 1000,
                               .error = "because"};
    int r;

    begin(f);
    r = store_finish(f->st, &fin, NULL);
    commit(f);
    return r;
}

int64_t
query(struct fixture *f, const char *sql, ...)
{
    char text[512];
    sqlite3 *db = NULL;
    sqlite3_stmt *q = NULL;
    int64_t v = -1;
    va_list ap;

    va_start(ap, sql);
    vsnprintf(text, sizeof(text), sql, ap);
    va_end(ap);
    assert_int_equal(sqlite3_open_v2(f->path, &db, SQLITE_OPEN_READONLY, NULL),
                     SQLITE_OK);
    if (sqlite3_prepare_v2(db, text, -1, &q, NULL) != SQLITE_OK)
        fail_msg("%s: %s", text, sqlite3_errmsg(db));
    if (sqlite3_step(q) == SQLITE_ROW)
        v = sqlite3_column_int64(q, 0);
    sqlite3_finalize(q);
    sqlite3_close(db);
    return v;
}

enum store_state
state_of(struct fixture *f, int64_t id)
{
    return (enum store_state)query(f, "SELECT state FROM job WHERE id = %lld",
                                   (long long)id);
}

void
verify(struct fixture *f)
{
    char err[256];

    if (store_verify(f->path, NULL, err, sizeof(err)) < 0)
        fail_msg("%s", err);
}
