#include "tests/support/gotest.h"

#include <errno.h>

#include "daemon/hub.h"
#include "daemon/rates.h"

/* Who is woken by what: hub.c. And how fast jobs come and go: rates.c. */

struct told {
    struct event_buf buf;
    struct event_cursor events;
};

static void
add(struct told *t, enum event_type type, enum store_state state, int64_t batch,
    int64_t count)
{
    struct store_event ev = {
        .type = type, .state = state, .job = 1, .batch = batch, .count = count};

    REQUIRE(event_put(&t->buf, &ev) == 0);
}

static void
tell(struct hub *hub, struct told *t)
{
    event_cursor_init(&t->events, t->buf.data, t->buf.len, 1, 1);
    hub_tell(hub, t->events);
    event_fini(&t->buf);
}

/* One event of a batch, told as a commit of its own. */
static void
happen(struct hub *hub, enum event_type type, enum store_state state, int64_t batch)
{
    struct told t = {.buf = {.data = NULL}};

    add(&t, type, state, batch, 1);
    tell(hub, &t);
}

/* Whether w was woken since the last look. */
static bool
woken(struct hub *hub, struct hub_waiter *w)
{
    if (!w->woken_)
        return false;
    CHECK_INT(hub_wait(hub, w, GO_NEVER, NULL), 0);
    return true;
}

GO_TEST(a_waiter_is_woken_by_what_it_waits_for_and_by_nothing_else)
{
    struct hub_waiter finishes, ends, any, every, moves;
    struct hub *hub;

    REQUIRE(hub_new(&hub) == 0);
    hub_enter(hub, &finishes, 7, HUB_FINISHES);
    hub_enter(hub, &ends, 7, HUB_ENDS);
    hub_enter(hub, &any, 7, HUB_ANY);
    hub_enter(hub, &every, 0, HUB_ANY);
    hub_enter(hub, &moves, 7, HUB_PROGRESS);
    CHECK_INT(hub_waiters(hub), 5);

    happen(hub, EVENT_STATE, STORE_RUNNING, 7);
    CHECK(!woken(hub, &finishes) && !woken(hub, &ends) && !woken(hub, &moves));
    CHECK(woken(hub, &any) && woken(hub, &every));

    happen(hub, EVENT_STATE, STORE_FAILED, 7);
    CHECK(woken(hub, &finishes) && !woken(hub, &ends) && !woken(hub, &moves));
    CHECK(woken(hub, &any) && woken(hub, &every));

    happen(hub, EVENT_BATCH_END, STORE_FAILED, 7);
    CHECK(!woken(hub, &finishes) && woken(hub, &ends));
    CHECK(woken(hub, &any) && woken(hub, &every));

    happen(hub, EVENT_STATE, STORE_SUCCEEDED, 8); /* another batch */
    CHECK(!woken(hub, &finishes) && !woken(hub, &ends) && !woken(hub, &any));
    CHECK(woken(hub, &every));

    hub_moved(hub, 7);
    CHECK(woken(hub, &moves) && !woken(hub, &any) && !woken(hub, &every));

    hub_leave(hub, &finishes);
    hub_leave(hub, &ends);
    hub_leave(hub, &any);
    hub_leave(hub, &every);
    hub_leave(hub, &moves);
    CHECK_INT(hub_waiters(hub), 0);
    hub_free(hub);
}

GO_TEST(what_happens_between_the_look_and_the_wait_wakes)
{
    struct hub_waiter w;
    struct hub *hub;

    REQUIRE(hub_new(&hub) == 0);
    hub_enter(hub, &w, 7, HUB_FINISHES);
    for (int i = 0; i < 3; i++) /* many wake-ups are one */
        happen(hub, EVENT_STATE, STORE_SUCCEEDED, 7);
    CHECK_INT(hub_wait(hub, &w, GO_NEVER, NULL), 0);
    CHECK(!woken(hub, &w));
    CHECK_INT(hub_wait(hub, &w, go_now(), NULL), -ETIMEDOUT);
    hub_leave(hub, &w);
    hub_free(hub);
}

/* Batches that share a place in the table of 1024 are still told apart. */
GO_TEST(each_of_many_batches_wakes_its_own_waiter_only)
{
    enum { N = 3000 };
    struct hub_waiter *w = calloc(N + 1, sizeof(*w));
    struct told t = {.buf = {.data = NULL}};
    struct hub *hub;

    REQUIRE(w != NULL && hub_new(&hub) == 0);
    for (int i = 1; i <= N; i++)
        hub_enter(hub, &w[i], i, HUB_ANY);
    for (int i = 2; i <= N; i += 2) /* one commit of many batches */
        add(&t, EVENT_STATE, STORE_RUNNING, i, 1);
    tell(hub, &t);
    for (int i = 1; i <= N; i++) {
        CHECK(woken(hub, &w[i]) == (i % 2 == 0));
        hub_leave(hub, &w[i]);
    }
    hub_free(hub);
    free(w);
}

static void
wait_for_end(struct hub *hub, int *result)
{
    struct hub_waiter w;

    hub_enter(hub, &w, 7, HUB_ENDS);
    *result = hub_wait(hub, &w, GO_NEVER, NULL);
    hub_leave(hub, &w);
}

GO_TEST(closing_wakes_everybody_for_the_last_time)
{
    struct go_wg wg = {0};
    int results[20] = {0};
    struct hub *hub;

    REQUIRE(hub_new(&hub) == 0);
    for (int i = 0; i < 20; i++)
        REQUIRE(go_wg_go(&wg, wait_for_end, hub, &results[i]) > 0);
    while (hub_waiters(hub) < 20)
        go_yield();
    hub_close(hub);
    go_wg_wait(&wg);
    for (int i = 0; i < 20; i++)
        CHECK_INT(results[i], -ESHUTDOWN);
    wait_for_end(hub, &results[0]);
    CHECK_INT(results[0], -ESHUTDOWN);
    hub_free(hub);
}

GO_TEST(submitted_and_ended_jobs_are_counted)
{
    struct told t = {.buf = {.data = NULL}};
    struct hub_totals n;
    struct hub *hub;

    REQUIRE(hub_new(&hub) == 0);
    add(&t, EVENT_ADDED, STORE_QUEUED, 7, 100);
    add(&t, EVENT_STATE, STORE_RUNNING, 7, 0);
    add(&t, EVENT_STATE, STORE_SUCCEEDED, 7, 0);
    add(&t, EVENT_STATE, STORE_QUEUED, 8, 0);
    add(&t, EVENT_STATE, STORE_DEAD, 8, 0);
    add(&t, EVENT_BATCH_END, STORE_FAILED, 8, 0);
    tell(hub, &t);
    happen(hub, EVENT_ADDED, STORE_SCHEDULED, 9);
    n = hub_totals(hub);
    CHECK_INT(n.submitted, 101);
    CHECK_INT(n.ended, 2);
    hub_free(hub);
}

/* --- rates ------------------------------------------------------------------------------- */

static struct rates rates;
static struct rates_sample sample;
static struct rates_now now;

static void
at_second(int64_t second, int64_t submitted, int64_t ended, int64_t started)
{
    sample.at = 1000 + second * GO_SECOND;
    sample.submitted = submitted;
    sample.ended = ended;
    sample.started[3] = started;
}

GO_TEST(rates_are_those_of_the_last_seconds)
{
    at_second(0, 0, 0, 0);
    rates_now(&rates, &sample, &now); /* nothing is known */
    CHECK(now.submit == 0 && now.finish == 0 && now.started[3] == 0);
    rates_add(&rates, &sample);
    rates_now(&rates, &sample, &now); /* no time has passed */
    CHECK(now.submit == 0);

    at_second(2, 100, 50, 20); /* before the ring is full: since the first */
    rates_now(&rates, &sample, &now);
    CHECK(now.submit == 50 && now.finish == 25 && now.started[3] == 10);
    CHECK(now.started[2] == 0);

    for (int s = 1; s <= 20; s++) {
        at_second(s, 1000, 1000, 1000);
        rates_add(&rates, &sample);
    }
    at_second(21, 1060, 1000, 1006); /* the burst is long past */
    rates_now(&rates, &sample, &now);
    CHECK(now.submit == 10 && now.finish == 0 && now.started[3] == 1);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_waiter_is_woken_by_what_it_waits_for_and_by_nothing_else),
        cmocka_unit_test(what_happens_between_the_look_and_the_wait_wakes),
        cmocka_unit_test(each_of_many_batches_wakes_its_own_waiter_only),
        cmocka_unit_test(closing_wakes_everybody_for_the_last_time),
        cmocka_unit_test(submitted_and_ended_jobs_are_counted),
        cmocka_unit_test(rates_are_those_of_the_last_seconds),
    };

    return cmocka_run_group_tests_name("hub", tests, NULL, NULL);
}
