/*
 * Calls: one request and its reply, whatever carried them.
 *
 *     call_init(&c, d, &peer, ctx);
 *     call_serve(&c, data, len);        // PARKS; c.rep is the reply, always
 *     ... pack c.rep ...
 *     call_fini(&c);
 *
 * Handlers get a request that is well-formed and allowed, fill in the reply (call_reply())
 * or refuse (call_fail()), and free nothing: what they make stands in the call's arena.
 */
#ifndef GOJOBD_DAEMON_CALL_H
#define GOJOBD_DAEMON_CALL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "daemon/daemon.h"
#include "daemon/store/pool.h"
#include "daemon/store/read.h"
#include "daemon/store/writer.h"
#include "proto/arena.h"
#include "proto/pb.h"
#include "runtime/sched/blocking.h"

struct go_ctx;

struct call_peer {
    bool ipc; /* then uid is known */
    uid_t uid;
};

struct call {
    struct daemon *d;
    struct job_env *env; /* a reference */
    const struct config *cfg;
    struct go_ctx *ctx; /* ends when the client is gone; borrowed */
    struct call_peer peer;
    int access; /* enum cfg_access */
    struct proto_arena mem;
    const PbRequest *req;
    PbResponse *rep;
    PbResponse fixed; /* the reply when there is no memory for one */
    struct {
        int64_t id; /* 0: none */
        int why;    /* enum store_stop, or -1: it is not cancelled */
    } batch;        /* that was looked at last, for its jobs' errors */
};

int call_init(struct call *c, struct daemon *d, const struct call_peer *peer,
              struct go_ctx *ctx);
void call_serve(struct call *c, const void *data, size_t len);
void call_fini(struct call *c);

/* The part of call_wait that waits, for a batch that is there; in->what is not looked at.
 * 0 and *ret, or as a handler. PARKS. */
int call_wait_batch(struct call *c, const PbWait *in, int64_t batch, PbWaitReply **ret);

/* Remove what an earlier daemon was making for Backup beside its store when it was killed. */
void call_chunk_clean(const char *store);

/* How many calls are being served, for Stats. */
int64_t call_count(void);

/* --- for handlers --- */

/* A new message of the arena; when memory is short the call is refused and NULL returned. */
void *call_new(struct call *c, const ProtobufCMessageDescriptor *desc);

/* An array of n pointers or numbers, zeroed. NULL as above. */
void *call_array(struct call *c, size_t n, size_t size);
char *call_dup(struct call *c, const char *s);
PbTimestamp *call_time_ms(struct call *c, int64_t ms);
PbDuration *call_duration(struct call *c, int64_t ns);

/* Refuses: the reply becomes an error. Returns -EINVAL. Of two refusals the first stands. */
int call_fail(struct call *c, PbError__Code code, const char *field, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* Refuses because of the store's -errno and its sentence. Returns r. */
int call_store_failed(struct call *c, int r, const char *why);

/* Runs op on the writer: its result; a failure has refused the call. PARKS. */
int call_write(struct call *c, struct store_op *op);

/* expr, which uses the reader rd, in a blocking region with a reader of its own; a failure
 * has refused the call. PARKS. */
#define CALL_READ(c, rd, expr)                                                           \
    __extension__({                                                                      \
        struct store_reader *rd = store_pool_get((c)->d->readers);                       \
        int call_r__ = GO_BLOCKING(expr);                                                \
        if (call_r__ < 0)                                                                \
            (void)call_store_failed((c), call_r__, store_reader_error(rd));              \
        store_pool_put((c)->d->readers, rd);                                             \
        call_r__;                                                                        \
    })

/* The handlers: 0, or a negative errno after call_fail(). PARK. */
typedef int call_fn(struct call *c);
call_fn call_submit, call_wait, call_get, call_list, call_ping;
call_fn call_cancel, call_retry, call_purge, call_why, call_stats, call_events;
call_fn call_batch_open, call_batch_get, call_batch_close, call_batch_cancel,
    call_batch_list;
call_fn call_queue_list, call_queue_set, call_queue_pause, call_queue_resume;
call_fn call_schedule_add, call_schedule_get, call_schedule_pause, call_schedule_resume,
    call_schedule_remove, call_schedule_run, call_schedule_list, call_schedule_next;
call_fn call_backup, call_check, call_stack, call_goroutines, call_trace;

#endif
