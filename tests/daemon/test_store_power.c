/* cmocka needs these four before it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/store/backup.h"
#include "daemon/store/claim.h"
#include "daemon/store/depend.h"
#include "daemon/store/finish.h"
#include "daemon/store/inner.h"
#include "daemon/store/keep.h"
#include "daemon/store/store.h"
#include "daemon/store/submit.h"
#include "runtime/base/san.h"
#include "tests/daemon/crashvfs.h"

/*
 * Power failure. One workload, which uses everything the store does, is run again and
 * again with the power cut at its first I/O, its second, and so on to its last; each cut
 * with several choices of what had reached the disk. Then the power comes back and must
 * find: every acknowledged job there, every acknowledged end still an end and never run
 * again, a repeated request answered as before, no counter adrift, the file sound.
 */

#define LANE STORE_LANE(0, 1, 0)
#define T0   INT64_C(1795000000000)

enum {
    JOBS_MAX = 400,
    STEPS = 26,
    /* Sanitizers are slow, and what they look for does not hide at single cuts. */
    SEEDS = GO_ASAN || GO_TSAN ? 1 : 4,
    STRIDE = GO_ASAN || GO_TSAN ? 13 : 1,
};

/* What the client was told. */
struct told {
    bool there[JOBS_MAX];
    enum store_state end[JOBS_MAX]; /* 0: not told that it ended */
    int64_t batch_of[STEPS], first_of[STEPS];
    struct store_claims running;
    bool finished[JOBS_MAX]; /* of running.v */
};

static struct store *st;
static struct told told;

static bool
open_store(void)
{
    struct store_opts o = {
        .path = "jobs.db", .vfs = CRASH_VFS, .no_lock = true, .wal_pages = 12};
    char err[256];

    return store_open(&o, T0, &st, err, sizeof(err)) == 0;
}

static void
close_store(void)
{
    store_close(st);
    st = NULL;
}

/* One submission of step k: always the same, whenever it is repeated. */
static int
do_submit(int k, int64_t *ids, struct store_submitted *done)
{
    static char big[900];
    char request[16];
    struct store_new_job jobs[12];
    struct store_dep dep = {.on_job = true, .mode = STORE_ON_FINISH, .id = 1};
    struct store_submit sub = {
        .request = request, .jobs = jobs, .n_jobs = 12, .close = true};
    int r;

    sub.request_len = (size_t)snprintf(request, sizeof(request), "step %d", k);
    for (int i = 0; i < 12; i++)
        jobs[i] = (struct store_new_job){.lane = LANE,
                                         .prio = i % 2,
                                         .spec = i == 3 ? big : "spec",
                                         .spec_len = i == 3 ? sizeof(big) : 4,
                                         .run_at = i == 5 ? T0 + 1000 * (k + 3) : 0,
                                         .deps = &dep,
                                         .n_deps = k > 0 && i == 7 ? 1 : 0};
    r = store_begin(st, T0 + 1000 * k, STORE_SYNC);
    if (r == 0)
        r = store_submit(st, &sub, ids, done);
    if (r == 0)
        r = store_deps_step(st, 100);
    return r < 0 ? r : store_commit(st);
}

static int
step_submit(int k)
{
    struct store_submitted done;
    int64_t ids[12];
    int r = do_submit(k, ids, &done);

    if (r < 0)
        return r;
    told.batch_of[k] = done.batch;
    told.first_of[k] = ids[0];
    for (int i = 0; i < 12; i++)
        told.there[ids[i]] = true;
    return 0;
}

/* A short job that runs within the transaction that submits it. */
static int
step_instant(int k)
{
    struct store_new_job job = {
        .lane = STORE_LANE(0, 3, 0), .spec = "instant", .spec_len = 7};
    struct store_submit sub = {.jobs = &job, .n_jobs = 1, .close = true};
    struct store_finish f = {
        .outcome = STORE_END_SUCCEEDED, .result = "result", .result_len = 6};
    struct store_claims c = {.v = NULL};
    struct store_submitted done;
    int64_t id = 0;
    int r = store_begin(st, T0 + 1000 * k, STORE_SYNC);

    if (r == 0)
        r = store_submit(st, &sub, &id, &done);
    if (r == 0)
        r = store_claim(st, job.lane, 9, 0, &c);
    if (r == 0) {
        assert_int_equal(c.n, 1);
        assert_int_equal(c.v[0].id, id);
        f.id = id;
        f.attempt = c.v[0].attempt;
        f.lane = c.v[0].lane;
        f.batch = c.v[0].batch;
        r = store_finish(st, &f, NULL);
    }
    store_claims_fini(&c);
    if (r < 0)
        return r;
    r = store_commit(st);
    if (r == 0) {
        told.there[id] = true;
        told.end[id] = STORE_SUCCEEDED;
    }
    return r;
}

static int
step_claim(int k)
{
    int r = store_begin(st, T0 + 1000 * k, STORE_NOSYNC);

    if (r == 0)
        r = store_claim(st, LANE, 9, 0, &told.running);
    if (r < 0)
        return r;
    r = store_commit(st);
    if (r < 0)
        told.running.n = 0;
    memset(told.finished, 0, sizeof(told.finished));
    return r;
}

/* All that runs succeeds at once. */
static int
step_finish_all(int k)
{
    struct store_finish f[JOBS_MAX];
    const struct store_finish *v[JOBS_MAX];
    size_t n = told.running.n;
    int r = store_begin(st, T0 + 1000 * k, STORE_SYNC);

    for (size_t i = 0; i < n; i++) {
        const struct store_claimed *c = &told.running.v[i];

        f[i] = (struct store_finish){.id = c->id,
                                     .attempt = c->attempt,
                                     .lane = c->lane,
                                     .batch = c->batch,
                                     .outcome = STORE_END_SUCCEEDED,
                                     .result = "result",
                                     .result_len = 6};
        v[i] = &f[i];
    }
    if (r == 0)
        r = store_finish_all(st, v, n);
    if (r < 0)
        return r;
    r = store_commit(st);
    for (size_t i = 0; r == 0 && i < n; i++)
        told.end[f[i].id] = STORE_SUCCEEDED;
    return r;
}

/* Finish half of what runs; the rest keeps running until a crash. */
static int
step_finish(int k)
{
    enum store_state ends[JOBS_MAX] = {0};
    size_t n = told.running.n;
    int r = store_begin(st, T0 + 1000 * k, STORE_SYNC);

    for (size_t i = 0; r == 0 && i < n; i++) {
        const struct store_claimed *c = &told.running.v[i];
        struct store_finish f = {.id = c->id,
                                 .attempt = c->attempt,
                                 .lane = c->lane,
                                 .batch = c->batch,
                                 .outcome = (enum store_outcome)(1 + i % 6),
                                 .run_at = T0 + 1000 * (k + 2),
                                 .result = "result",
                                 .result_len = 6,
                                 .error = "error"};

        if (i % 7 == 6)
            continue;
        r = store_finish(st, &f, &ends[i]);
    }
    if (r < 0)
        return r;
    r = store_commit(st);
    for (size_t i = 0; r == 0 && i < n; i++)
        if (store_state_final(ends[i]))
            told.end[told.running.v[i].id] = ends[i];
    return r;
}

static int
step_cancel(int k)
{
    int64_t id = told.first_of[0] + 10;
    enum store_state s = STORE_QUEUED;
    int r = store_begin(st, T0 + 1000 * k, STORE_SYNC);

    if (r == 0)
        r = store_cancel_job(st, id, NULL, &s);
    if (r == 0 && k > 12)
        r = store_cancel_batch(st, told.batch_of[9], STORE_STOP_CLIENT);
    if (r >= 0)
        r = store_cancel_step(st, 5);
    if (r >= 0)
        r = store_promote(st, 10);
    if (r < 0)
        return r;
    r = store_commit(st);
    if (r == 0 && store_state_final(s))
        told.end[id] = s;
    return r;
}

static int
step_keep(int k)
{
    static const struct store_keep keep = {
        .count = -1, .event_count = 30, .request_age_ms = 0};
    int r = store_begin(st, T0 + 1000 * k, STORE_SYNC);

    if (r == 0)
        r = store_keep_step(st, &keep, 50);
    if (r >= 0)
        r = store_commit(st);
    return r < 0 ? r : store_tidy(st, 4);
}

/* False: the power went. */
static bool
workload(void)
{
    static int (*const steps[])(int) = {step_submit, step_claim,   step_finish,
                                        step_claim,  step_submit,  step_finish_all,
                                        step_cancel, step_instant, step_keep};

    if (!open_store())
        return false;
    for (int k = 0; k < STEPS; k++) {
        if (steps[k % 9](k) < 0 || store_checkpoint_due(st) < 0)
            return false;
    }
    close_store();
    return !crashdisk_off();
}

static void
told_clear(void)
{
    store_claims_fini(&told.running);
    memset(&told, 0, sizeof(told));
}

#define HOLDS(cond, ...)                                                                 \
    do {                                                                                 \
        if (!(cond)) {                                                                   \
            print_error("cut at I/O %lld, seed %llu: ", (long long)cut,                  \
                        (unsigned long long)seed);                                       \
            print_error(__VA_ARGS__);                                                    \
            print_error("\n");                                                           \
            fail();                                                                      \
        }                                                                                \
    } while (0)

static void
check_jobs(int64_t cut, uint64_t seed)
{
    struct job_row row;

    for (int64_t id = 1; id < JOBS_MAX; id++) {
        if (!told.there[id])
            continue;
        HOLDS(store_job_row(st, id, &row) == 1, "job %lld is lost", (long long)id);
        HOLDS(row.state != STORE_RUNNING, "job %lld runs by itself", (long long)id);
        HOLDS(told.end[id] == 0 || row.state == told.end[id], "job %lld was %s, is %s",
              (long long)id, store_state_name(told.end[id]), store_state_name(row.state));
    }
}

/* Whatever can run now: none of it had ended. */
static void
check_claims(int64_t cut, uint64_t seed)
{
    struct store_claims c = {.v = NULL};

    for (int suspect = 0; suspect < 2; suspect++) {
        HOLDS(store_begin(st, T0 + 100000, STORE_NOSYNC) == 0, "%s", store_error(st));
        HOLDS(store_promote(st, 1000) >= 0, "%s", store_error(st));
        HOLDS(store_claim(st, STORE_LANE(0, 1, suspect), 1000, 0, &c) == 0, "%s",
              store_error(st));
        HOLDS(store_commit(st) == 0, "%s", store_error(st));
        for (size_t i = 0; i < c.n; i++)
            HOLDS(told.end[c.v[i].id] == 0, "job %lld runs again", (long long)c.v[i].id);
    }
    store_claims_fini(&c);
}

/* The client asks again for all it asked before: nothing may be inserted twice. */
static void
check_requests(int64_t cut, uint64_t seed)
{
    struct store_submitted done;
    int64_t ids[12];

    for (int k = 0; k < STEPS; k++) {
        if (told.batch_of[k] == 0)
            continue;
        HOLDS(do_submit(k, ids, &done) == 0, "%s", store_error(st));
        HOLDS(done.repeated && done.batch == told.batch_of[k] &&
                  ids[0] == told.first_of[k],
              "request %d was forgotten", k);
    }
}

static void
check_file(int64_t cut, uint64_t seed)
{
    char err[256];
    int r = store_verify("jobs.db", CRASH_VFS, err, sizeof(err));

    HOLDS(r == 0, "%s", err);
}

/* Power back; a second cut may hit the recovery itself. */
static void
restart(int64_t cut, uint64_t seed)
{
    if (st != NULL)
        close_store();
    crashdisk_on(seed);
    if (seed % 2 == 1) {
        crashdisk_cut_at((int64_t)(seed * 7 + (uint64_t)cut) % 40);
        if (open_store())
            close_store();
        crashdisk_on(seed + 1000);
    }
    HOLDS(open_store(), "the store does not open");
}

static void
nothing_acknowledged_is_lost_wherever_the_power_is_cut(void **state)
{
    int64_t total = 0, cut;
    uint64_t seed = 0;

    (void)state;
    for (cut = 0; total == 0; cut += STRIDE) {
        for (seed = 0; seed < SEEDS && total == 0; seed++) {
            crashdisk_new();
            told_clear();
            crashdisk_cut_at(cut);
            if (workload())
                total = crashdisk_ios();
            HOLDS(total > 0 || crashdisk_off(), "the workload fails by itself: %s",
                  st != NULL ? store_error(st) : "no store");
            restart(cut, seed + SEEDS * (uint64_t)cut);
            check_jobs(cut, seed);
            check_requests(cut, seed);
            check_claims(cut, seed);
            close_store();
            check_file(cut, seed);
        }
    }
    /* The workload must have been whole, and cut all over. */
    print_message("%lld I/Os, each cut with %d choices\n", (long long)total, SEEDS);
    assert_true(total > 300);
    told_clear();
    crashdisk_free();
}

/* G6: after a failed fsync nothing more is acknowledged, and a restart finds all that was. */
static void
a_failed_sync_stops_acknowledging(void **state)
{
    int64_t total = 0, cut;
    uint64_t seed = 0;
    int failures = 0;

    (void)state;
    for (cut = 0; total == 0; cut += STRIDE) {
        crashdisk_new();
        told_clear();
        crashdisk_fail_at(cut, SQLITE_IOERR_FSYNC);
        if (workload() && st == NULL)
            total = crashdisk_ios() <= cut ? crashdisk_ios() : 0;
        if (st != NULL && store_failed(st)) {
            failures++;
            HOLDS(store_begin(st, T0, STORE_SYNC) == -EIO, "a failed store takes more");
        }
        restart(cut, seed);
        check_jobs(cut, seed);
        check_requests(cut, seed);
        check_claims(cut, seed);
        close_store();
        check_file(cut, seed);
    }
    assert_true(failures > 20 / STRIDE);
    told_clear();
    crashdisk_free();
}

/* A full disk at any I/O: that operation fails, or nothing does, and what follows works. */
static void
a_full_disk_at_any_write_loses_nothing(void **state)
{
    int64_t total = 0, cut;
    uint64_t seed = 0;

    (void)state;
    for (cut = 0; total == 0; cut += STRIDE) {
        struct store_submitted done;
        int64_t ids[12];

        crashdisk_new();
        told_clear();
        crashdisk_fail_at(cut, SQLITE_FULL);
        if (workload() && st == NULL)
            total = crashdisk_ios() <= cut ? crashdisk_ios() : 0;
        if (st != NULL && !store_failed(st)) {
            if (sqlite3_get_autocommit(st->db) == 0 || st->open)
                store_rollback(st);
            if (told.there[1])
                HOLDS(do_submit(99, ids, &done) == 0, "room again, but: %s",
                      store_error(st));
        }
        restart(cut, seed);
        check_jobs(cut, seed);
        check_requests(cut, seed);
        check_claims(cut, seed);
        close_store();
        check_file(cut, seed);
    }
    told_clear();
    crashdisk_free();
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_acknowledged_is_lost_wherever_the_power_is_cut),
        cmocka_unit_test(a_failed_sync_stops_acknowledging),
        cmocka_unit_test(a_full_disk_at_any_write_loses_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
