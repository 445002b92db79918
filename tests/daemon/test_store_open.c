#include "tests/daemon/storetest.h"
#include "tests/support/skip.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

/* Opening: boot epochs and what a crash left, foreign files, locks, full disks. */

static void
what_ran_in_a_crash_is_queued_again_without_spending_a_retry(void **state)
{
    struct fixture *f = *state;
    struct store_claims c;
    uint64_t epoch = store_epoch(f->st);

    submit(f, 0, 700, NULL);
    c = claim(f, LANE, 600);
    assert_int_equal(finish(f, &c.v[0], STORE_END_SUCCEEDED), 0);
    fixture_crash(f);
    assert_int_equal(store_epoch(f->st), epoch + 1);
    assert_int_equal(store_recovered(f->st).requeued, 599);
    verify(f);
    assert_int_equal(finish(f, &c.v[1], STORE_END_SUCCEEDED), -ESTALE);
    store_claims_fini(&c);
    c = claim(f, LANE, 1000);
    assert_int_equal(c.n, 699);
    assert_int_equal(c.v[0].attempt, 2);
    assert_int_equal(c.v[0].fails, 0);
    assert_int_equal(c.v[0].crashes, 1);
    store_claims_fini(&c);
    assert_int_equal(query(f, "SELECT count(*) FROM attempt WHERE outcome = 7"), 599);
    verify(f);
}

static void
a_job_running_in_three_crashes_is_dead_and_suspects_have_a_lane(void **state)
{
    struct fixture *f = *state;
    int64_t suspects = STORE_LANE(0, 3, 1);
    struct store_claims c;
    struct store_claimed poison;

    submit(f, 0, 3, NULL);
    for (int i = 0; i < 2; i++) {
        c = claim(f, LANE, 10);
        assert_int_equal(c.n, 3);
        store_claims_fini(&c);
        fixture_crash(f);
    }
    c = claim(f, LANE, 10);
    assert_int_equal(c.n, 0);
    store_claims_fini(&c);
    poison = claim_one(f, suspects);
    fixture_crash(f);
    assert_int_equal(store_recovered(f->st).poisoned, 1);
    assert_int_equal(state_of(f, poison.id), STORE_DEAD);
    verify(f);
    for (int i = 0; i < 2; i++) {
        struct store_claimed v = claim_one(f, suspects);

        assert_int_equal(finish(f, &v, STORE_END_SUCCEEDED), 0);
    }
    begin(f);
    ok(f, store_retry_job(f->st, poison.id, NULL, 0));
    commit(f);
    assert_int_equal(claim_one(f, LANE).crashes, 0);
    verify(f);
}

static void
a_running_job_that_was_to_be_cancelled_is_cancelled_by_the_crash(void **state)
{
    struct fixture *f = *state;
    struct store_claimed c;
    enum store_state s;

    submit(f, 0, 1, NULL);
    c = claim_one(f, LANE);
    begin(f);
    ok(f, store_cancel_job(f->st, c.id, NULL, &s));
    commit(f);
    fixture_crash(f);
    assert_int_equal(store_recovered(f->st).cancelled, 1);
    assert_int_equal(state_of(f, c.id), STORE_CANCELLED);
    verify(f);
}

static void
ids_are_never_used_twice(void **state)
{
    struct fixture *f = *state;
    struct store_keep keep = {.count = 0};
    struct store_claimed c;
    int64_t first, again;
    int r;

    submit(f, 0, 1, &first);
    c = claim_one(f, LANE);
    assert_int_equal(finish(f, &c, STORE_END_SUCCEEDED), 0);
    do {
        begin(f);
        r = ok(f, store_keep_step(f->st, &keep, 100));
        commit(f);
    } while (r > 0);
    assert_int_equal(query(f, "SELECT count(*) FROM job"), 0);
    fixture_reopen(f);
    submit(f, 0, 1, &again);
    assert_true(again > first);
    verify(f);
}

static int
open_fails(const char *path, char *err, size_t size)
{
    struct store_opts o = {.path = path};
    struct store *st = NULL;
    int r = store_open(&o, T0, &st, err, size);

    assert_true(r < 0);
    assert_null(st);
    return r;
}

static void
a_second_daemon_is_told_who_has_the_store(void **state)
{
    struct fixture *f = *state;
    char err[256], want[64];

    assert_int_equal(open_fails(f->path, err, sizeof(err)), -EBUSY);
    snprintf(want, sizeof(want), "in use by another gojobd (pid %ld)", (long)getpid());
    assert_non_null(strstr(err, want));
}

static void
make_file(const char *path, const void *data, size_t len)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, data, len), len);
    close(fd);
}

/* keep_log: as a killed process leaves it. */
static void
exec_as(const char *path, bool keep_log, const char *sql)
{
    sqlite3 *db = NULL;

    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, keep_log, NULL);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

static void
exec(const char *path, const char *sql)
{
    exec_as(path, false, sql);
}

static void
files_that_are_not_ours_are_left_alone(void **state)
{
    struct fixture *f = *state;
    char path[100], err[256], text[4096];

    memset(text, 'x', sizeof(text));
    snprintf(path, sizeof(path), "%s/text", f->dir);
    make_file(path, text, sizeof(text));
    assert_int_equal(open_fails(path, err, sizeof(err)), -EILSEQ);
    assert_non_null(strstr(err, "is not a gojobd database"));

    snprintf(path, sizeof(path), "%s/other", f->dir);
    exec(path, "CREATE TABLE music (id)");
    assert_int_equal(open_fails(path, err, sizeof(err)), -EILSEQ);
    assert_non_null(strstr(err, "another application"));
    exec(path, "INSERT INTO music VALUES (1)");

    assert_int_equal(open_fails("/nowhere/jobs.db", err, sizeof(err)), -ENOENT);
    assert_non_null(strstr(err, "/nowhere/jobs.db.lock"));
}

static void
a_newer_schema_and_none_are_refused(void **state)
{
    struct fixture *f = *state;
    char err[256];

    store_close(f->st);
    f->st = NULL;
    exec(f->path, "PRAGMA user_version = 99");
    assert_int_equal(open_fails(f->path, err, sizeof(err)), -EPROTO);
    assert_non_null(strstr(err, "newer gojobd (schema 99"));
    exec(f->path, "PRAGMA user_version = -1");
    assert_int_equal(open_fails(f->path, err, sizeof(err)), -EUCLEAN);
    assert_non_null(strstr(err, "its schema has the number -1"));
}

static char *
content(const char *path, size_t *ret_len)
{
    struct stat sb = {.st_size = 0};
    char *data;
    int fd = open(path, O_RDONLY);

    assert_true(fd >= 0);
    assert_int_equal(fstat(fd, &sb), 0);
    *ret_len = (size_t)sb.st_size;
    data = malloc(*ret_len);
    assert_non_null(data);
    assert_int_equal(read(fd, data, *ret_len), *ret_len);
    close(fd);
    return data;
}

/* The file is refused with that finding, and stays as it is. */
static void
refused_as(const char *path, const char *finding)
{
    char err[400];
    size_t len, len_after;
    char *before = content(path, &len), *after;

    assert_int_equal(open_fails(path, err, sizeof(err)), -EPROTO);
    if (strstr(err, finding) == NULL || strstr(err, path) != err ||
        strstr(err, "choose another state_dir") == NULL)
        fail_msg("%s", err);
    after = content(path, &len_after);
    assert_int_equal(len_after, len);
    assert_memory_equal(after, before, len);
    free(before);
    free(after);
}

static void
what_an_unreleased_build_wrote_is_refused_and_left_alone(void **state)
{
    static const struct {
        const char *change, *finding;
    } cases[] = {
        {"ALTER TABLE batch DROP COLUMN schedule",
         "column 9 of its table batch is \"n_blocked INTEGER NOT NULL\", not \"schedule"},
        {"ALTER TABLE batch DROP COLUMN n_dead",
         "column 17 of its table batch is nothing, not \"n_dead"},
        {"ALTER TABLE job ADD COLUMN more",
         "column 16 of its table job is \"more \", not nothing"},
        {"ALTER TABLE result RENAME COLUMN data TO body",
         "column 2 of its table result is \"body BLOB NOT NULL\", not \"data BLOB"},
        {"DROP TABLE span; CREATE TABLE span (batch INTEGER NOT NULL, first INTEGER NOT "
         "NULL,"
         " last INTEGER NOT NULL)",
         "column 1 of its table span is \"batch INTEGER NOT NULL\", not"},
        {"DROP TABLE queue_file", "it has no table queue_file"},
        {"DROP TABLE sweep", "it has no table sweep"},
        {"DROP INDEX request_created", "it has no index request_created"},
    };
    struct fixture *f = *state;
    char path[100], copy[200];

    submit(f, 0, 3, NULL);
    store_close(f->st);
    f->st = NULL;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        snprintf(path, sizeof(path), "%s/old%zu.db", f->dir, i);
        snprintf(copy, sizeof(copy), "VACUUM INTO '%s'", path);
        exec(f->path, copy);
        exec(path, cases[i].change);
        refused_as(path, cases[i].finding);
    }
    snprintf(path, sizeof(path), "%s/first.db", f->dir);
    exec(path, "PRAGMA application_id = 0x474f4a42; PRAGMA user_version = 1;"
               "CREATE TABLE meta (one INTEGER PRIMARY KEY, epoch INTEGER);"
               "CREATE TABLE job (id INTEGER PRIMARY KEY, state INTEGER);");
    refused_as(path, "it has no table attempt");
}

static void
the_log_of_what_is_refused_stays_too(void **state)
{
    struct fixture *f = *state;
    char log[100];
    size_t len, len_after;
    char *before, *after;

    submit(f, 0, 3, NULL);
    store_close(f->st);
    f->st = NULL;
    exec_as(f->path, true, "DROP INDEX request_created");
    snprintf(log, sizeof(log), "%s-wal", f->path);
    before = content(log, &len);
    assert_true(len > 0);
    refused_as(f->path, "it has no index request_created");
    after = content(log, &len_after);
    assert_int_equal(len_after, len);
    assert_memory_equal(after, before, len);
    free(before);
    free(after);
}

static void
what_people_do_to_a_store_of_this_schema_does_not_matter(void **state)
{
    static const char other_words[] =
        "ALTER TABLE result RENAME TO r; CREATE TABLE  \"result\"(id integer primary key,"
        "\n\tdata blob not null /* as before */); INSERT INTO result SELECT * FROM r;"
        " DROP TABLE r";
    static const char *const changes[] = {
        "ANALYZE",
        "CREATE INDEX aaa_mine ON job (created); CREATE INDEX zzz_mine ON job (created)",
        "CREATE TABLE batch_notes (id INTEGER); CREATE VIEW dead AS SELECT * FROM job",
        "ALTER TABLE batch ADD COLUMN more; ALTER TABLE batch DROP COLUMN more",
        other_words,
        "VACUUM",
    };
    struct fixture *f = *state;
    int jobs = 0;

    for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
        submit(f, 0, 3, NULL);
        jobs += 3;
        store_close(f->st);
        f->st = NULL;
        exec(f->path, changes[i]);
        fixture_reopen(f);
        assert_int_equal(store_backlog(f->st), jobs);
        verify(f);
    }
}

static void
damage_is_named_by_verify(void **state)
{
    struct fixture *f = *state;
    char err[256];

    submit(f, 0, 5, NULL);
    verify(f);
    store_close(f->st);
    f->st = NULL;
    exec(f->path, "UPDATE batch SET n_queued = n_queued + 1");
    assert_int_equal(store_verify(f->path, NULL, err, sizeof(err)), -EUCLEAN);
    assert_non_null(strstr(err, "I1: the counters of batch 1"));
    exec(f->path, "UPDATE batch SET n_queued = n_queued - 1; DELETE FROM ready");
    assert_int_equal(store_verify(f->path, NULL, err, sizeof(err)), -EUCLEAN);
    assert_non_null(strstr(err, "I3: queued job 1"));
}

static void
a_file_overwritten_with_noise_is_an_error_not_a_crash(void **state)
{
    struct fixture *f = *state;
    char err[256], noise[3 * 4096];
    int fd;

    submit(f, 0, 2000, NULL);
    store_close(f->st);
    f->st = NULL;
    memset(noise, 0x5a, sizeof(noise));
    fd = open(f->path, O_WRONLY);
    assert_int_equal(pwrite(fd, noise, sizeof(noise), 4096), sizeof(noise));
    close(fd);
    assert_int_equal(open_fails(f->path, err, sizeof(err)), -EUCLEAN);
    assert_int_equal(store_verify(f->path, NULL, err, sizeof(err)), -EUCLEAN);
}

static void
a_backup_holds_what_was_committed_and_opens(void **state)
{
    struct fixture *f = *state;
    char dest[100], err[256];
    struct store_opts o = {.path = dest};
    struct store *copy;

    submit(f, 0, 300, NULL);
    snprintf(dest, sizeof(dest), "%s/copy.db", f->dir);
    assert_int_equal(store_backup(f->path, dest, NULL, err, sizeof(err)), 0);
    assert_int_equal(store_backup(f->path, dest, NULL, err, sizeof(err)), -EEXIST);
    assert_int_equal(store_verify(dest, NULL, err, sizeof(err)), 0);
    assert_int_equal(store_open(&o, f->now, &copy, err, sizeof(err)), 0);
    assert_int_equal(store_backlog(copy), 300);
    store_close(copy);
}

/* A small tmpfs of its own; skips where mounting is not allowed. */
static void
a_full_disk_refuses_and_recovers_and_loses_nothing(void **state)
{
    struct fixture *f = *state;
    static struct store_new_job jobs[1000];
    static char spec[400];
    struct store_submit sub = {.jobs = jobs, .n_jobs = 1000, .close = true};
    struct store_submitted done;
    char path[100], err[256];
    struct store_opts o = {.path = path};
    struct store *st;
    int r = 0, acked = 0;

    if (mount("tmpfs", f->dir, "tmpfs", 0, "size=4m") < 0)
        SKIP("no right to mount a small file system");
    snprintf(path, sizeof(path), "%s/jobs.db", f->dir);
    for (int i = 0; i < 1000; i++)
        jobs[i] =
            (struct store_new_job){.lane = LANE, .spec = spec, .spec_len = sizeof(spec)};
    assert_int_equal(store_open(&o, T0, &st, err, sizeof(err)), 0);
    while (acked < 50) {
        r = store_begin(st, T0, STORE_SYNC);
        if (r == 0)
            r = store_submit(st, &sub, NULL, &done);
        if (r == 0) {
            r = store_commit(st);
        } else {
            snprintf(err, sizeof(err), "%s", store_error(st));
            store_rollback(st);
            break;
        }
        if (r < 0)
            break;
        acked++;
    }
    assert_int_equal(r, -ENOSPC);
    assert_non_null(strstr(store_error(st), "the disk is full"));
    assert_false(store_failed(st));
    assert_true(acked > 0);
    assert_int_equal(store_backlog(st), acked * 1000);
    /* Room again: the same store goes on. */
    assert_int_equal(mount("tmpfs", f->dir, "tmpfs", MS_REMOUNT, "size=40m"), 0);
    assert_int_equal(store_begin(st, T0, STORE_SYNC), 0);
    assert_int_equal(store_submit(st, &sub, NULL, &done), 0);
    assert_int_equal(store_commit(st), 0);
    acked++;
    store_close(st);
    assert_int_equal(store_verify(path, NULL, err, sizeof(err)), 0);
    assert_int_equal(store_open(&o, T0, &st, err, sizeof(err)), 0);
    assert_int_equal(store_backlog(st), acked * 1000);
    store_close(st);
    /* And read-only. */
    assert_int_equal(mount("tmpfs", f->dir, "tmpfs", MS_REMOUNT | MS_RDONLY, NULL), 0);
    assert_int_equal(open_fails(path, err, sizeof(err)), -EROFS);
    assert_int_equal(umount(f->dir), 0);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(what_ran_in_a_crash_is_queued_again_without_spending_a_retry),
        CASE(a_job_running_in_three_crashes_is_dead_and_suspects_have_a_lane),
        CASE(a_running_job_that_was_to_be_cancelled_is_cancelled_by_the_crash),
        CASE(ids_are_never_used_twice),
        CASE(a_second_daemon_is_told_who_has_the_store),
        CASE(files_that_are_not_ours_are_left_alone),
        CASE(a_newer_schema_and_none_are_refused),
        CASE(what_an_unreleased_build_wrote_is_refused_and_left_alone),
        CASE(the_log_of_what_is_refused_stays_too),
        CASE(what_people_do_to_a_store_of_this_schema_does_not_matter),
        CASE(damage_is_named_by_verify),
        CASE(a_file_overwritten_with_noise_is_an_error_not_a_crash),
        CASE(a_backup_holds_what_was_committed_and_opens),
        CASE(a_full_disk_refuses_and_recovers_and_loses_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
