/*
 * What the store's tests share: a store in a folder of its own, and the short forms of its
 * operations, each in a transaction of its own unless it says otherwise.
 */
#ifndef GOJOBD_TESTS_DAEMON_STORETEST_H
#define GOJOBD_TESTS_DAEMON_STORETEST_H

/* cmocka needs these four before it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "daemon/store/backup.h"
#include "daemon/store/claim.h"
#include "daemon/store/depend.h"
#include "daemon/store/finish.h"
#include "daemon/store/keep.h"
#include "daemon/store/queue.h"
#include "daemon/store/store.h"
#include "daemon/store/submit.h"

#define T0   INT64_C(1795000000000)
#define LANE STORE_LANE(0, 3, 0)

struct fixture {
    struct store *st;
    char dir[64];
    char path[80];
    int64_t now;
};

int fixture_setup(void **state);
int fixture_teardown(void **state);

/* Close, or forget as a killed process would, and open again. */
void fixture_reopen(struct fixture *f);
void fixture_crash(struct fixture *f);

/* ENSURE-like: r must be what a good call returns. */
#define ok(f, expr) ok_((f), (expr), #expr, __FILE__, __LINE__)
int ok_(struct fixture *f, int r, const char *what, const char *file, int line);

void begin(struct fixture *f);
void commit(struct fixture *f);

/* Submit n plain jobs to a batch (0: a new one, which it closes): the batch. *ret_first
 * may be NULL. */
int64_t submit(struct fixture *f, int64_t batch, int n, int64_t *ret_first);

/* Submit one job as it stands: its id. batch as above. */
int64_t submit_job(struct fixture *f, int64_t batch, const struct store_new_job *j);

/* Claim up to max. Free with store_claims_fini(). */
struct store_claims claim(struct fixture *f, int64_t lane, size_t max);

/* Claim the one job that must be claimable. */
struct store_claimed claim_one(struct fixture *f, int64_t lane);

/* Finish as claimed: what store_finish() returned. */
int finish(struct fixture *f, const struct store_claimed *c, enum store_outcome outcome);

/* The first column of the first row of sql, read beside the store. */
int64_t query(struct fixture *f, const char *sql, ...)
    __attribute__((format(printf, 2, 3)));

/* The job's state. */
enum store_state state_of(struct fixture *f, int64_t id);

/* A number below n, the next of those that the seed rng, not 0, leads to. */
extern uint64_t rng;
unsigned rnd(unsigned n);

/* store_verify() must find nothing. */
void verify(struct fixture *f);

#endif
