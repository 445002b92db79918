#include "tests/support/await.h"

#include <errno.h>
#include <time.h>
#include <unistd.h>

#include "daemon/store/backup.h"
#include "daemon/store/claim.h"
#include "daemon/store/finish.h"
#include "daemon/store/pool.h"
#include "daemon/store/queue.h"
#include "daemon/store/submit.h"
#include "daemon/store/writer.h"

/* The writer goroutine: group commit, isolation of failures, its own work, readers. */

#define LANE STORE_LANE(0, 3, 0)

struct env {
    char dir[40], path[60];
    struct store *st;
    struct store_writer *w;
    int64_t commits; /* the writer goroutine's until it stops */
    int64_t events;  /* atomic */
};

static int64_t clock_set_by; /* atomic; ms that the wall clock is set forward */

static int64_t
settable_now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000 +
           __atomic_load_n(&clock_set_by, __ATOMIC_RELAXED);
}

static void
count_events(void *arg, struct event_cursor *events, int64_t count)
{
    struct env *e = arg;
    struct store_event ev;

    e->commits++;
    while (event_next(events, &ev) == 1)
        __atomic_fetch_add(&e->events, 1, __ATOMIC_RELEASE);
    (void)count;
}

static void
env_open(struct env *e)
{
    struct store_writer_opts wo = {.keep = {.count = -1},
                                   .now_ms = settable_now,
                                   .on_events = count_events,
                                   .arg = e};
    struct store_opts o;
    char err[256];

    memset(e, 0, sizeof(*e));
    strcpy(e->dir, "/tmp/writertest.XXXXXX");
    REQUIRE(mkdtemp(e->dir) != NULL);
    snprintf(e->path, sizeof(e->path), "%s/jobs.db", e->dir);
    o = (struct store_opts){.path = e->path};
    REQUIRE(store_open(&o, (int64_t)time(NULL) * 1000, &e->st, err, sizeof(err)) == 0);
    REQUIRE(store_writer_start(e->st, &wo, &e->w) == 0);
}

static void
env_close(struct env *e)
{
    static const char *const ends[] = {"", "-wal", "-shm", ".lock"};
    char name[80], err[256] = "";

    store_writer_stop(e->w);
    store_close(e->st);
    CHECK_INT(store_verify(e->path, NULL, err, sizeof(err)), 0);
    if (err[0] != '\0')
        fprintf(stderr, "%s\n", err);
    for (int i = 0; i < 4; i++) {
        snprintf(name, sizeof(name), "%s%s", e->path, ends[i]);
        (void)unlink(name);
    }
    (void)rmdir(e->dir);
}

struct submit_op {
    struct store_op op;
    int64_t run_at, id;
    bool spoil; /* write, then fail in a way that spoils the transaction */
};

static int
run_submit(struct store *st, struct store_op *op)
{
    struct submit_op *s = (struct submit_op *)op;
    struct store_new_job j = {
        .lane = LANE, .run_at = s->run_at, .spec = "s", .spec_len = 1};
    struct store_submit sub = {.jobs = &j, .n_jobs = 1, .close = true};
    struct store_submitted done;
    int r = store_submit(st, &sub, &s->id, &done);

    if (r == 0 && s->spoil) {
        /* A long spec without bytes: the second of its two statements fails. */
        struct store_new_job bad = {.lane = LANE, .spec = NULL, .spec_len = 600};

        sub.jobs = &bad;
        r = store_submit(st, &sub, NULL, &done);
    }
    return r;
}

static int64_t
submit_one(struct env *e, int64_t run_at)
{
    struct submit_op s = {.op = {.run = run_submit}, .run_at = run_at};

    REQUIRE(store_writer_do(e->w, &s.op) == 0);
    return s.id;
}

struct claim_op {
    struct store_op op;
    struct store_claims c;
    size_t max;
};

static int
run_claim(struct store *st, struct store_op *op)
{
    struct claim_op *c = (struct claim_op *)op;

    return store_claim(st, LANE, c->max, 0, &c->c);
}

struct finish_op {
    struct store_op op;
    struct store_finish f;
};

static int
run_finish(struct store *st, struct store_op *op)
{
    return store_finish(st, &((struct finish_op *)op)->f, NULL);
}

static int
run_finish_all(struct store *st, struct store_op **ops, size_t n)
{
    const struct store_finish *v[STORE_OPS_MAX];

    for (size_t i = 0; i < n; i++) {
        v[i] = &((struct finish_op *)ops[i])->f;
        ops[i]->result = 0;
    }
    return store_finish_all(st, v, n);
}

static struct finish_op
finish_of(const struct store_claimed *c)
{
    return (struct finish_op){.op = {.run = run_finish, .run_all = run_finish_all},
                              .f = {.id = c->id,
                                    .attempt = c->attempt,
                                    .lane = c->lane,
                                    .batch = c->batch,
                                    .outcome = STORE_END_SUCCEEDED,
                                    .result = "r",
                                    .result_len = 1}};
}

/* Submits, claims and finishes jobs until n are through. */
static void
client(struct env *e, int n, int64_t *finished)
{
    struct claim_op c = {.op = {.run = run_claim, .nosync = true}, .max = 1};

    for (int i = 0; i < n; i++) {
        (void)submit_one(e, 0);
        REQUIRE(store_writer_do(e->w, &c.op) == 0);
        if (c.c.n == 0) {
            i--; /* another took it: there is one more to come for us */
            continue;
        }
        struct finish_op f = finish_of(&c.c.v[0]);

        REQUIRE(store_writer_do(e->w, &f.op) == 0);
        __atomic_fetch_add(finished, 1, __ATOMIC_RELAXED);
    }
    store_claims_fini(&c.c);
}

GO_TEST(many_clients_share_commits_and_all_their_jobs_finish)
{
    enum { CLIENTS = 100, EACH = 20 };
    struct env e;
    struct go_wg wg = {0};
    int64_t finished = 0;
    struct store_queue q;

    env_open(&e);
    for (int i = 0; i < CLIENTS; i++)
        go_wg_go(&wg, client, &e, (int)EACH, &finished);
    go_wg_wait(&wg);
    store_writer_stop(e.w);
    e.w = NULL;
    CHECK_INT(finished, CLIENTS * EACH);
    CHECK_INT(store_queue_get(e.st, 0, &q), 0);
    CHECK_INT(q.n[STORE_SUCCEEDED - STORE_BLOCKED], CLIENTS * EACH);
    /* Three operations a job, each with a commit of its own, would be 6000. */
    CHECK(e.commits < 3 * CLIENTS * EACH / 4);
    CHECK(e.events >= 4 * CLIENTS * EACH);
    env_close(&e);
}

static void
release_sem(struct store_op *op)
{
    go_sem_release(&op->sem_, 1);
}

GO_TEST(an_operation_that_spoils_its_group_fails_alone)
{
    struct env e;
    struct submit_op s[9];
    struct store_queue q;

    env_open(&e);
    memset(s, 0, sizeof(s));
    for (int i = 0; i < 9; i++) {
        s[i].op = (struct store_op){.run = run_submit, .done = release_sem};
        s[i].spoil = i == 4;
        go_sem_init(&s[i].op.sem_, 0);
    }
    for (int i = 0; i < 9; i++)
        store_writer_post(e.w, &s[i].op);
    for (int i = 0; i < 9; i++) {
        go_sem_acquire(&s[i].op.sem_, 1);
        CHECK_INT(s[i].op.result, i == 4 ? -EIO : 0);
    }
    CHECK(s[4].op.err[0] != '\0');
    store_writer_stop(e.w);
    e.w = NULL;
    CHECK_INT(store_queue_get(e.st, 0, &q), 0);
    CHECK_INT(q.n[STORE_QUEUED - STORE_BLOCKED], 8);
    env_close(&e);
}

GO_TEST(ends_posted_together_are_all_recorded_but_the_one_that_is_stale)
{
    enum { JOBS = 600, STALE = 77 };
    struct env e;
    struct claim_op c = {.op = {.run = run_claim, .nosync = true}, .max = JOBS};
    struct finish_op *f = calloc(JOBS, sizeof(*f));
    struct store_queue q;

    env_open(&e);
    for (int i = 0; i < JOBS; i++)
        (void)submit_one(&e, 0);
    REQUIRE(store_writer_do(e.w, &c.op) == 0 && c.c.n == JOBS);
    for (int i = 0; i < JOBS; i++) {
        f[i] = finish_of(&c.c.v[i]);
        f[i].f.attempt += i == STALE;
        f[i].op.done = release_sem;
        go_sem_init(&f[i].op.sem_, 0);
        store_writer_post(e.w, &f[i].op);
    }
    for (int i = 0; i < JOBS; i++) {
        go_sem_acquire(&f[i].op.sem_, 1);
        CHECK_INT(f[i].op.result, i == STALE ? -ESTALE : 0);
    }
    store_writer_stop(e.w);
    e.w = NULL;
    CHECK_INT(store_queue_get(e.st, 0, &q), 0);
    CHECK_INT(q.n[STORE_SUCCEEDED - STORE_BLOCKED], JOBS - 1);
    CHECK_INT(q.n[STORE_RUNNING - STORE_BLOCKED], 1);
    store_claims_fini(&c.c);
    free(f);
    env_close(&e);
}

GO_TEST(a_scheduled_job_is_queued_when_its_time_comes)
{
    struct env e;
    struct claim_op c = {.op = {.run = run_claim, .nosync = true}, .max = 1};
    struct timespec t;
    int64_t due;

    env_open(&e);
    clock_gettime(CLOCK_REALTIME, &t);
    due = (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000 + 150;
    (void)submit_one(&e, due);
    do {
        REQUIRE(store_writer_do(e.w, &c.op) == 0);
        clock_gettime(CLOCK_REALTIME, &t);
        if (c.c.n == 0)
            go_sleep(5000000);
    } while (c.c.n == 0);
    CHECK((int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000 >= due);
    store_claims_fini(&c.c);
    env_close(&e);
}

static int64_t
events_of(struct env *e)
{
    return __atomic_load_n(&e->events, __ATOMIC_ACQUIRE);
}

GO_TEST(a_clock_that_is_set_queues_what_became_due_once_the_writer_is_told)
{
    const int64_t hour = 3600000;
    struct env e;

    env_open(&e);
    __atomic_store_n(&clock_set_by, 0, __ATOMIC_RELAXED);
    (void)submit_one(&e, settable_now() + hour);
    (void)submit_one(&e, settable_now() + 3 * hour);
    AWAIT(events_of(&e) == 2);
    /* Nobody asks the writer for anything: only the kick makes it look. */
    __atomic_store_n(&clock_set_by, 2 * hour, __ATOMIC_RELAXED);
    store_writer_kick(e.w);
    AWAIT(events_of(&e) == 3);
    __atomic_store_n(&clock_set_by, -5 * hour, __ATOMIC_RELAXED);
    store_writer_kick(e.w);
    __atomic_store_n(&clock_set_by, 4 * hour, __ATOMIC_RELAXED);
    store_writer_kick(e.w);
    AWAIT(events_of(&e) == 4);
    __atomic_store_n(&clock_set_by, 0, __ATOMIC_RELAXED);
    env_close(&e);
}

static void
read_all(struct store_pool *p, int64_t id, int n)
{
    for (int i = 0; i < n; i++) {
        struct store_reader *rd = store_pool_get(p);
        struct store_jobs jobs;

        REQUIRE(GO_BLOCKING(store_read_job(rd, id, STORE_WANT_SPEC, &jobs)) == 1);
        store_pool_put(p, rd);
        store_jobs_free(&jobs);
    }
}

GO_TEST(readers_answer_beside_a_busy_writer)
{
    struct env e;
    struct store_pool *p = NULL;
    struct go_wg wg = {0};
    int64_t finished = 0, id;
    char err[256];

    env_open(&e);
    id = submit_one(&e, 0);
    REQUIRE(store_pool_open(e.path, 3, &p, err, sizeof(err)) == 0);
    for (int i = 0; i < 10; i++) {
        go_wg_go(&wg, client, &e, 20, &finished);
        go_wg_go(&wg, read_all, p, id, 100);
    }
    go_wg_wait(&wg);
    CHECK_INT(finished, 200);
    store_pool_close(p);
    env_close(&e);
    e.w = NULL;
}

static void
borrow(struct store_pool *p, int64_t id)
{
    read_all(p, id, 1);
}

GO_TEST(a_pool_makes_do_with_the_readers_that_can_be_opened)
{
    struct env e;
    struct store_pool *p = NULL;
    struct store_reader *first;
    struct go_wg wg = {0};
    char err[256], away[256];
    int64_t id;

    env_open(&e);
    id = submit_one(&e, 0);
    REQUIRE(store_pool_open(e.path, 3, &p, err, sizeof(err)) == 0);
    first = store_pool_get(p);
    snprintf(away, sizeof(away), "%s.away", e.path);
    REQUIRE(rename(e.path, away) == 0);
    go_wg_go(&wg, borrow, p, id);
    go_wg_go(&wg, borrow, p, id);
    go_yield();
    store_pool_put(p, first);
    go_wg_wait(&wg);
    REQUIRE(rename(away, e.path) == 0);
    store_pool_close(p);
    env_close(&e);
}

GO_TEST(a_group_is_no_larger_than_it_may_be)
{
    enum { JOBS = 50 };
    struct store_writer_opts wo = {.keep = {.count = -1}, .group = 1};
    struct env e;
    struct submit_op s[JOBS];

    env_open(&e);
    store_writer_stop(e.w);
    wo.on_events = count_events;
    wo.arg = &e;
    REQUIRE(store_writer_start(e.st, &wo, &e.w) == 0);
    for (int i = 0; i < JOBS; i++) {
        s[i] = (struct submit_op){.op = {.run = run_submit, .done = release_sem}};
        go_sem_init(&s[i].op.sem_, 0);
        store_writer_post(e.w, &s[i].op);
    }
    for (int i = 0; i < JOBS; i++) {
        go_sem_acquire(&s[i].op.sem_, 1);
        CHECK_INT(s[i].op.result, 0);
    }
    store_writer_stop(e.w);
    e.w = NULL;
    CHECK_INT(e.commits, JOBS);
    env_close(&e);
}

/* A claim that rides, and the ends of what it claimed, late for the same transaction. */
struct late {
    struct env e;
    struct claim_op claim;
    struct finish_op end;
    int times; /* the writer's: how often the end was carried out */
    bool spoil_first;
};

static struct late late;

static int
run_rider(struct store *st, struct store_op *op)
{
    struct claim_op *c = (struct claim_op *)op;
    int r = store_claim(st, LANE, 1, 0, &c->c);

    return r < 0 ? r : (int)c->c.n;
}

static void
nothing(struct store_op *op)
{
    (void)op;
}

static struct store_op *
the_rider(void *arg)
{
    (void)arg;
    late.claim.op = (struct store_op){.run = run_rider, .done = nothing, .nosync = true};
    return &late.claim.op;
}

static int
run_late_end(struct store *st, struct store_op *op)
{
    struct submit_op bad = {.spoil = true};
    int r = store_finish(st, &((struct finish_op *)op)->f, NULL);

    return late.times++ == 0 && late.spoil_first ? run_submit(st, &bad.op) : r;
}

static struct store_op *
the_end(void *arg)
{
    (void)arg;
    late.end = finish_of(&late.claim.c.v[0]);
    late.end.op.run = run_late_end;
    late.end.op.run_all = NULL;
    late.end.op.done = release_sem;
    go_sem_init(&late.end.op.sem_, 0);
    return &late.end.op;
}

/* One job: how many commits it takes until it has ended. */
static int64_t
commits_of_a_job(bool spoil_first)
{
    struct store_writer_opts wo = {.keep = {.count = -1},
                                   .rider = the_rider,
                                   .late = the_end,
                                   .on_events = count_events,
                                   .arg = &late.e};
    struct store_queue q;
    int64_t commits;

    memset(&late, 0, sizeof(late));
    late.spoil_first = spoil_first;
    env_open(&late.e);
    store_writer_stop(late.e.w);
    REQUIRE(store_writer_start(late.e.st, &wo, &late.e.w) == 0);
    (void)submit_one(&late.e, 0);
    go_sem_acquire(&late.end.op.sem_, 1);
    CHECK_INT(late.end.op.result, 0);
    commits = store_writer_stats(late.e.w).commits;
    store_writer_stop(late.e.w);
    late.e.w = NULL;
    CHECK_INT(store_queue_get(late.e.st, 0, &q), 0);
    CHECK_INT(q.n[STORE_SUCCEEDED - STORE_BLOCKED], 1);
    CHECK_INT(q.n[STORE_QUEUED - STORE_BLOCKED], 0);
    store_claims_fini(&late.claim.c);
    env_close(&late.e);
    return commits;
}

GO_TEST(what_is_late_goes_with_the_transaction_under_way)
{
    CHECK_INT(commits_of_a_job(false), 1);
    CHECK_INT(late.times, 1);
}

GO_TEST(what_is_late_and_spoils_goes_with_the_next_transaction)
{
    CHECK_INT(commits_of_a_job(true), 2);
    CHECK_INT(late.times, 2);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(many_clients_share_commits_and_all_their_jobs_finish),
        cmocka_unit_test(an_operation_that_spoils_its_group_fails_alone),
        cmocka_unit_test(ends_posted_together_are_all_recorded_but_the_one_that_is_stale),
        cmocka_unit_test(a_group_is_no_larger_than_it_may_be),
        cmocka_unit_test(a_scheduled_job_is_queued_when_its_time_comes),
        cmocka_unit_test(
            a_clock_that_is_set_queues_what_became_due_once_the_writer_is_told),
        cmocka_unit_test(readers_answer_beside_a_busy_writer),
        cmocka_unit_test(what_is_late_goes_with_the_transaction_under_way),
        cmocka_unit_test(what_is_late_and_spoils_goes_with_the_next_transaction),
        cmocka_unit_test(a_pool_makes_do_with_the_readers_that_can_be_opened),
    };

    return cmocka_run_group_tests_name("store writer", tests, NULL, NULL);
}
