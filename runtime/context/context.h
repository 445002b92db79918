/*
 * Context: deadlines, cancellation and values down a tree of calls (Go's package
 * context).
 *
 *     struct go_ctx *ctx = go_ctx_with_timeout(parent, 2 * GO_SECOND);
 *     r = work(ctx);
 *     go_ctx_cancel(ctx);
 *     go_ctx_unref(ctx);
 *
 * Lifecycle  with_* returns one reference; a child holds its parent. The last unref
 *            cancels (releasing the timer) and frees.
 * Context    every function may be called from any thread; none parks.
 * Errors     constructors return NULL when memory is short.
 * NULL       stands for go_ctx_background() everywhere.
 */
#ifndef GOJOBD_RUNTIME_CONTEXT_CONTEXT_H
#define GOJOBD_RUNTIME_CONTEXT_CONTEXT_H

#include <stdbool.h>
#include <stdint.h>

struct go_ctx;
struct go_chan;

/* The root: never cancelled, no deadline, no values. Static; ref and unref do nothing. */
struct go_ctx *go_ctx_background(void);

struct go_ctx *go_ctx_with_cancel(struct go_ctx *parent);

/* Cancelled with -ETIMEDOUT at deadline (go_now() clock), or with the parent if
 * earlier. */
struct go_ctx *go_ctx_with_deadline(struct go_ctx *parent, int64_t deadline);
struct go_ctx *go_ctx_with_timeout(struct go_ctx *parent, int64_t timeout);

/* key is compared by address. The context does not own value. */
struct go_ctx *go_ctx_with_value(struct go_ctx *parent, const void *key, void *value);

/* A child that keeps the values but is not cancelled with its parent (WithoutCancel). */
struct go_ctx *go_ctx_without_cancel(struct go_ctx *parent);

struct go_ctx *go_ctx_ref(struct go_ctx *ctx);
void go_ctx_unref(struct go_ctx *ctx); /* NULL is fine */

/* Cancel ctx and all below it with -ECANCELED; later calls do nothing. */
void go_ctx_cancel(struct go_ctx *ctx);

/* As cancel, recording why: a negative errno and an optional static text. */
void go_ctx_cancel_cause(struct go_ctx *ctx, int err, const char *text);

/* Closed when ctx is cancelled; NULL (never ready) for one that cannot be. Borrowed:
 * valid while ctx is. Created at the first call; no memory for it is fatal, for NULL
 * would mean that the end never comes. */
struct go_chan *go_ctx_done(struct go_ctx *ctx);

/* 0 while alive, else -ECANCELED or -ETIMEDOUT. One atomic load: for loops. */
int go_ctx_err(const struct go_ctx *ctx);

/* The cause given where the cancellation began, else go_ctx_err(). text may be NULL. */
int go_ctx_cause(struct go_ctx *ctx, const char **text);

/* True and *ret set if there is a deadline, own or inherited. */
bool go_ctx_deadline(const struct go_ctx *ctx, int64_t *ret);

/* The nearest value for key up the tree, or NULL. */
void *go_ctx_value(const struct go_ctx *ctx, const void *key);

/* Call fn(arg) in a goroutine of its own once ctx is cancelled (AfterFunc). The handle
 * is freed by stop, which returns true if that kept fn from being called; it holds
 * ctx. NULL: no memory. */
struct go_ctx_after *go_ctx_after_func(struct go_ctx *ctx, void (*fn)(void *), void *arg);
bool go_ctx_after_stop(struct go_ctx_after *a);

/* PARKS for ns, or until ctx ends: 0 or ctx's error. */
int go_ctx_sleep(struct go_ctx *ctx, int64_t ns);

#endif
