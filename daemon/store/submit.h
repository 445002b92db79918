/*
 * Submission: jobs into batches, with everything that must be decided in the inserting
 * transaction: repeated requests, idempotency keys, dependencies.
 */
#ifndef GOJOBD_DAEMON_STORE_SUBMIT_H
#define GOJOBD_DAEMON_STORE_SUBMIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct store;

enum store_dep_mode {
    STORE_ON_SUCCESS = 1, /* start when it has succeeded; else be cancelled */
    STORE_ON_FINISH = 2,  /* start when it has ended, however */
};

struct store_dep {
    int64_t id;
    bool on_job; /* a job's id, else a batch's */
    enum store_dep_mode mode;
    bool sibling;    /* id is a place in the same message, counted from 0 */
    const char *key; /* not NULL: the job with this key, of the message or before it */
};

struct store_label {
    const char *key, *value;
};

struct store_new_job {
    int64_t lane;
    int32_t prio;   /* higher first */
    int64_t run_at; /* ms since 1970; in the past or 0: at once */
    const void *spec;
    size_t spec_len;
    const char *key; /* idempotency key, or NULL */
    const struct store_label *labels;
    size_t n_labels;
    const struct store_dep *deps;
    size_t n_deps;
};

struct store_new_batch {
    const char *name;     /* or NULL; if a batch of that name is open, it is joined … */
    bool alone;           /* … unless this is set, which needs `close` */
    int64_t schedule;     /* that makes it; 0: none */
    bool fail_fast;       /* the first failure cancels the rest */
    int64_t max_parallel; /* 0: no limit */
    int64_t deadline;     /* ms since 1970, 0: none; the caller acts on it */
    const struct store_label *labels;
    size_t n_labels;
};

struct store_submit {
    const void *request; /* the client's request id; NULL: do not remember */
    size_t request_len;
    int64_t batch; /* add to this one; 0: to a new one, as `fresh` says */
    const struct store_new_batch *fresh; /* NULL: all defaults */
    bool close;                          /* no more jobs will come */
    const struct store_new_job *jobs;
    size_t n_jobs; /* 0 … STORE_MESSAGE_MAX */

    /* Called for each new job that waits for others by key or place, before it is written,
     * with what it waits for as ids: may put another spec in j, which must live as long as
     * this call. NULL: specs stay as they are. 0 or -errno. */
    int (*settle)(const struct store_submit *sub, size_t i, const struct store_dep *deps,
                  size_t n_deps, struct store_new_job *j);
};

struct store_submitted {
    int64_t batch;
    int64_t first;  /* id of the first job inserted, 0: none; the others follow it */
    int64_t n_new;  /* inserted */
    int64_t n_dups; /* had a key that was known: the older job's id stands in ids[] */
    bool repeated;  /* the request had been carried out before: nothing was done now */
};

/* Carry out a submission. ids: room for n_jobs ids, in order, or NULL. Refusals:
 *   -EINVAL    too many jobs, a bad lane, no such place
 *   -ENOENT    no such batch or dependency
 *   -ESHUTDOWN the batch is closed
 *   -ECANCELED the batch has been cancelled
 *   -ELOOP     the dependencies would wait for themselves */
int store_submit(struct store *st, const struct store_submit *sub, int64_t *ids,
                 struct store_submitted *ret);

/* Close a batch: once nothing is left it has ended. Closing again changes nothing. */
int store_batch_close(struct store *st, int64_t batch);

/* The open batch of that name: 1 and *ret, or 0. */
int store_batch_find(struct store *st, const char *name, int64_t *ret);

/* The newest, open or not. */
int store_batch_named(struct store *st, const char *name, int64_t *ret);

/* The job that has this key: 1 and *ret, or 0. */
int store_key_get(struct store *st, const char *key, int64_t *ret);

/* Requests other than submissions. get: 1 and the reply (malloc'd, the caller frees), or
 * 0 = new. put in the transaction that carries the request out. */
int store_request_get(struct store *st, const void *id, size_t id_len, void **ret,
                      size_t *ret_len);
int store_request_put(struct store *st, const void *id, size_t id_len, const void *reply,
                      size_t reply_len);

#endif
