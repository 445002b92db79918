/* Once: the slow path runs fn under the mutex, so latecomers wait for its end. */
#include "runtime/sync/once.h"

#include "runtime/base/atomic.h"

void
go_once_slow_(struct go_once *o, void (*fn)(void *), void *arg)
{
    go_mutex_lock(&o->mu);
    if (!LOAD(&o->done, RELAXED)) {
        fn(arg);
        STORE(&o->done, 1, RELEASE); /* pairs with the acquire in go_once() */
    }
    go_mutex_unlock(&o->mu);
}
