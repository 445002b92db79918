#include "daemon/names.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/store/queue.h"
#include "runtime/base/atomic.h"

static char *names[STORE_QUEUES_MAX]; /* atomic; set once, never freed */

struct name_op {
    struct store_op op;
    int64_t id;
    char *name;
};

static int
name_run(struct store *st, struct store_op *op)
{
    struct name_op *o = (struct name_op *)op;
    struct store_queue q;
    int r = store_queue_get(st, o->id, &q);

    if (r < 0)
        return r;
    free(o->name);
    o->name = strdup(q.name);
    return o->name == NULL ? -ENOMEM : 0;
}

char *
names_queue(struct call *c, int64_t id)
{
    struct name_op o = {.op = {.run = name_run, .nosync = true}, .id = id};
    char *none = NULL, *name;

    if (id < 0 || id >= STORE_QUEUES_MAX)
        return NULL;
    name = LOAD(&names[id], ACQUIRE);
    if (name != NULL)
        return name;
    if (store_writer_do(c->d->writer, &o.op) < 0)
        return NULL;
    if (__atomic_compare_exchange_n(&names[id], &none, o.name, false, __ATOMIC_ACQ_REL,
                                    __ATOMIC_ACQUIRE))
        return o.name;
    free(o.name);
    return none;
}
