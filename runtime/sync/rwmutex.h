/*
 * RWMutex: many readers or one writer (Go's sync.RWMutex). A waiting writer holds back new
 * readers, so it is never starved; readers that were waiting when the writer unlocks go
 * before the next writer. Zero is unlocked. Do not take a read lock twice: a writer in
 * between deadlocks it, as in Go.
 */
#ifndef GOJOBD_RUNTIME_SYNC_RWMUTEX_H
#define GOJOBD_RUNTIME_SYNC_RWMUTEX_H

#include <stdbool.h>
#include <stdint.h>

#include "runtime/sync/mutex.h"
#include "runtime/sync/sem.h"

struct go_rwmutex {
    struct go_mutex writer;  /* held by the writer, and by the one in waiting */
    struct go_sem write_sem; /* where the writer waits for readers to leave */
    struct go_sem read_sem;  /* where readers wait for the writer */
    int32_t readers; /* atomic: active and waiting readers; minus 1<<30 with a writer */
    int32_t leaving; /* atomic: readers the waiting writer still waits for */
};

#define GO_RWMUTEX_INIT                                                                  \
    {                                                                                    \
        .readers = 0                                                                     \
    }

void go_rwmutex_lock(struct go_rwmutex *rw);    /* PARKS */
void go_rwmutex_unlock(struct go_rwmutex *rw);  /* panics if not write-locked */
void go_rwmutex_rlock(struct go_rwmutex *rw);   /* PARKS */
void go_rwmutex_runlock(struct go_rwmutex *rw); /* panics if not read-locked */
bool go_rwmutex_trylock(struct go_rwmutex *rw);
bool go_rwmutex_tryrlock(struct go_rwmutex *rw);

#endif
