/*
 * A small pool of readers for goroutines.
 *
 *     struct store_reader *rd = store_pool_get(p);
 *     r = GO_BLOCKING(store_read_job(rd, id, want, &jobs));
 *     store_pool_put(p, rd);
 */
#ifndef GOJOBD_DAEMON_STORE_POOL_H
#define GOJOBD_DAEMON_STORE_POOL_H

#include <stddef.h>

#include "daemon/store/read.h"

struct store_pool;

/* Up to n readers (1 … 64) of the store at path, the first opened now, the others when they
 * are needed. 0 or -errno and a sentence in err. */
int store_pool_open(const char *path, int n, struct store_pool **ret, char *err,
                    size_t err_size);

/* All readers must have been put back. Accepts NULL. */
void store_pool_close(struct store_pool *p);

/* PARKS until a reader is free. Never fails. */
struct store_reader *store_pool_get(struct store_pool *p);
void store_pool_put(struct store_pool *p, struct store_reader *rd);

#endif
