/*
 * The HTTP client: one libcurl multi handle for the whole daemon, driven by one goroutine on
 * the netpoller. It keeps connections, and the handles of transfers, for the next fetch.
 *
 * Normal path  a job takes a transfer, sets its options, runs it: the transfer goes through a
 *              queue to the driver, which readies the job when it is over.
 * Sockets      libcurl's sockets stand in an epoll of their own, level-triggered, and the
 *              driver waits for that. An idle connection's socket stays there until it says
 *              something, so that a request on a kept connection costs no epoll_ctl.
 * Names        are looked up in threads of libcurl's. One that hangs is left behind when its
 *              transfer ends (CURLOPT_QUICK_EXIT), never waited for.
 *
 * Invariants   1. Only the driver touches the multi handle, and a transfer's easy handle from
 *                 submission to completion.
 *              2. A transfer that was submitted is completed exactly once, and its
 *                 cancellation, if there was one, answered exactly once.
 *              3. libcurl's callbacks never park: they run inside a no-park region.
 */
#ifndef GOJOBD_JOBS_FETCH_ENGINE_H
#define GOJOBD_JOBS_FETCH_ENGINE_H

#include <curl/curl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "jobs/sha256.h"
#include "runtime/sync/sem.h"

struct config;
struct fetch_engine;
struct go_ctx;
struct job_env;
struct job_progress;

enum { FETCH_SMALL = 4096 }; /* bytes of a body that are hashed at the end, by the job */

struct fetch;

struct fetch_node {
    struct fetch_node *next;
    struct fetch *f;
};

/* One transfer. The engine's while it runs, else the job's. */
struct fetch {
    /* Constant. */
    CURL *easy;
    struct fetch_engine *engine;

    /* The engine's. */
    struct fetch *next; /* free list */
    struct fetch_node submit, cancel;
    struct go_sem done; /* one unit for the completion, one for a cancellation's answer */
    bool active;        /* the driver's: added, not completed */
    CURLcode code;      /* how it ended */

    /* The job's: what the options were set for. */
    uint64_t env_id; /* 0: not at all */
    bool custom;     /* not only the URL differs from the default */
    struct curl_slist *headers;

    /* Of the transfer under way; see fetch_body.h and fetch_policy.h. */
    struct job_env *env;
    struct job_progress *progress;
    uint64_t bytes, max_bytes, keep_max;
    size_t header_bytes;
    struct sha256 sha;
    char *kept; /* malloc */
    size_t kept_len, kept_cap;
    bool too_large, too_many_headers, out_of_memory;
    char denied[160]; /* why an address was refused */
    char address[64]; /* connected to */
    char error[CURL_ERROR_SIZE];
    char small[FETCH_SMALL];
};

/* 0 or -ENOMEM. */
int fetch_engine_new(const struct config *cfg, struct fetch_engine **ret);

/* Limits of connections, from a new configuration. Any thread. */
void fetch_engine_configure(struct fetch_engine *e, const struct config *cfg);

struct fetch_engine *fetch_engine_ref(struct fetch_engine *e);
/* The last one PARKS until the driver has ended. No transfer may be out. */
void fetch_engine_unref(struct fetch_engine *e);

/* A transfer to use, perhaps a used one; NULL: no memory or no descriptors. The first one
 * starts libcurl and the driver. PARKS. */
struct fetch *fetch_take(struct fetch_engine *e);
void fetch_give(struct fetch *f);

/* PARKS until the transfer is over: 0, and f->code says how. Or until ctx ended: its error;
 * the transfer has been aborted then. */
int fetch_run(struct fetch *f, struct go_ctx *ctx);

/* --- for the callbacks of a transfer: the driver only --- */

/* fd is a new socket of libcurl's, which will be closed through fetch_socket_close. */
int fetch_socket_opened(struct fetch_engine *e, int fd);
int fetch_socket_close(void *engine, curl_socket_t fd);

/* True if ip has passed the policy of this environment before; see fetch_allow. */
bool fetch_allowed(const struct fetch_engine *e, uint64_t env_id, const char *ip);
void fetch_allow(struct fetch_engine *e, uint64_t env_id, const char *ip);

#endif
