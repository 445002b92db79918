/*
 * Sending jobs: gathers them into messages, keeps some messages in flight, all into one
 * batch, in memory that does not grow with their number.
 *
 * Lifecycle  init -> add or line ... -> finish -> fini.
 * Failure    The first refused or wrong job stops it: what was taken before stays
 *            submitted, the batch is closed, code says what to exit with.
 * Context    one thread.
 */
#ifndef GOJOBD_CLIENT_SUBMITTER_H
#define GOJOBD_CLIENT_SUBMITTER_H

#include "client/cli.h"
#include "client/needs.h"

enum { SUBMITTER_AHEAD = 4 }; /* messages in flight */

struct submitter_message;

struct submitter {
    struct cli *cli;
    const char *source; /* of the lines, for complaints; NULL: none */
    /* Called once, when the batch is known. May be NULL. */
    void (*begun)(void *arg, uint64_t batch);
    /* Called for each reply. May be NULL. */
    void (*taken)(void *arg, const PbSubmitReply *reply);
    void *arg;
    PbWait *wait;   /* if all goes in one message: to wait like this in the same call */
    bool keep_ids;  /* all of them, instead of those that may be duplicates */
    bool stay_open; /* the batch takes jobs from others, too: it is not closed */

    /* Its own. */
    struct submitter_message *message; /* being filled */
    struct submitter_message *sent[SUBMITTER_AHEAD];
    size_t n_sent;
    PbBatchSpec *options;
    uint64_t batch;        /* 0: not known yet */
    uint64_t jobs;         /* acknowledged */
    uint64_t base;         /* jobs in the messages before the one being filled */
    struct id_runs places; /* of the jobs acknowledged */
    uint64_t *ids;         /* see keep_ids */
    size_t n_ids, cap_ids;
    int code; /* exit code; not 0: stopped */
};

/* False after a complaint. */
bool submitter_init(struct submitter *s, struct cli *cli);
/* The spec, in the caller's memory, is copied. */
void submitter_add(struct submitter *s, const PbJobSpec *spec);
/* One JSON JobSpec. */
void submitter_line(struct submitter *s, const char *line, size_t len, uint64_t number);
/* Sends what is gathered, because no more will come soon. */
void submitter_push(struct submitter *s);
void submitter_finish(struct submitter *s);
void submitter_fini(struct submitter *s);

/* goctl batch add, and the options it takes. */
#define SUBMIT_JOB_OPTIONS                                                               \
    "wait timeout priority retries backoff key name queue label needs then-on at after " \
    "dry-run "
#define SUBMIT_ADD_OPTIONS                                                               \
    SUBMIT_JOB_OPTIONS                                                                   \
    "from method header data http keep-body no-follow no-verify any-status max-bytes "   \
    "content offset length no-glob file format column delimiter parts results db param " \
    "max-rows every tick count first "
int submit_add(struct cli *cli);

#endif
