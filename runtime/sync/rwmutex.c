/*
 * RWMutex: Go's algorithm.
 *
 * readers counts the readers that hold or wait for the lock; a writer that has the
 * writer mutex announces itself by taking WRITER off it, which turns it negative and
 * sends new readers to read_sem. The readers it found there are added to leaving; each
 * of them takes itself off again on its way out, and the one that reaches zero lets the
 * writer in. They may be faster than the writer's addition: then leaving was negative
 * and the addition reaches zero. On unlock the writer gives WRITER back and lets in
 * those who wait by then.
 */
#include "runtime/sync/rwmutex.h"

#include "runtime/base/atomic.h"
#include "runtime/sync/wait.h"

#define WRITER (1 << 30)

void
go_rwmutex_rlock(struct go_rwmutex *rw)
{
    /* Acquire pairs with the release in unlock. */
    if (ADD(&rw->readers, 1, ACQUIRE) < 0)
        rt_sem_acquire(&rw->read_sem, 1, "rwmutex rlock");
}

bool
go_rwmutex_tryrlock(struct go_rwmutex *rw)
{
    int32_t n = LOAD(&rw->readers, RELAXED);

    while (n >= 0) {
        if (CAS(&rw->readers, n, n + 1, ACQUIRE))
            return true;
        n = LOAD(&rw->readers, RELAXED);
    }
    return false;
}

void
go_rwmutex_runlock(struct go_rwmutex *rw)
{
    int32_t n = ADD(&rw->readers, -1, RELEASE);

    if (LIKELY(n >= 0))
        return;
    if (UNLIKELY(n + 1 == 0 || n + 1 == -WRITER))
        rt_fatal("sync: RUnlock of unlocked RWMutex");
    /* A writer waits. Release and acquire: the last one passes on what all have read. */
    if (ADD(&rw->leaving, -1, ACQ_REL) == 0)
        go_sem_release(&rw->write_sem, 1);
}

void
go_rwmutex_lock(struct go_rwmutex *rw)
{
    int32_t n;

    go_mutex_lock(&rw->writer);
    /* Acquire pairs with the release of readers that have left. */
    n = ADD(&rw->readers, -WRITER, ACQUIRE) + WRITER;
    if (n != 0 && ADD(&rw->leaving, n, ACQ_REL) != 0)
        rt_sem_acquire(&rw->write_sem, 1, "rwmutex lock");
}

bool
go_rwmutex_trylock(struct go_rwmutex *rw)
{
    if (!go_mutex_trylock(&rw->writer))
        return false;
    if (!CAS(&rw->readers, 0, -WRITER, ACQUIRE)) {
        go_mutex_unlock(&rw->writer);
        return false;
    }
    return true;
}

void
go_rwmutex_unlock(struct go_rwmutex *rw)
{
    int32_t n = ADD(&rw->readers, WRITER, RELEASE);

    if (UNLIKELY(n >= WRITER))
        rt_fatal("sync: Unlock of unlocked RWMutex");
    if (n > 0)
        go_sem_release(&rw->read_sem, n);
    go_mutex_unlock(&rw->writer);
}
