#include "jobs/sql_pool.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "config/config.h"
#include "runtime/base/atomic.h"
#include "runtime/base/check.h"
#include "runtime/go.h"

static const struct {
    const char *prefix;
    const struct sql_driver *driver;
} drivers[] = {
    {"sqlite:", &sql_sqlite},
    {"postgresql://", &sql_postgres},
    {"postgres://", &sql_postgres},
};

static const struct sql_driver *
driver_of(const char *url)
{
    for (size_t i = 0; i < sizeof(drivers) / sizeof(drivers[0]); i++)
        if (strncasecmp(url, drivers[i].prefix, strlen(drivers[i].prefix)) == 0)
            return drivers[i].driver;
    return NULL;
}

static void
pool_free(struct sql_pool *p)
{
    while (p->idle != NULL) {
        struct sql_conn *c = p->idle;

        p->idle = c->next;
        p->driver->close(c);
    }
    free(p->name);
    free(p->url);
    free(p);
}

int
sql_pool_new(const struct cfg_database *db, int64_t connections, struct sql_pool **ret)
{
    const struct sql_driver *driver = driver_of(db->url);
    struct sql_pool *p;

    if (driver == NULL)
        return -EINVAL;
    p = calloc(1, sizeof(*p));
    if (p == NULL)
        return -ENOMEM;
    p->refs = 1;
    p->driver = driver;
    p->write = db->write;
    p->connections = connections;
    p->name = strdup(db->name);
    p->url = strdup(db->url);
    go_sem_init(&p->slots, connections);
    if (p->name == NULL || p->url == NULL) {
        pool_free(p);
        return -ENOMEM;
    }
    *ret = p;
    return 0;
}

bool
sql_pool_like(const struct sql_pool *p, const struct cfg_database *db,
              int64_t connections)
{
    return strcmp(p->name, db->name) == 0 && strcmp(p->url, db->url) == 0 &&
           p->write == db->write && p->connections == connections;
}

struct sql_pool *
sql_pool_ref(struct sql_pool *p)
{
    ENSURE(ADD(&p->refs, 1, RELAXED) > 1);
    return p;
}

void
sql_pool_unref(struct sql_pool *p)
{
    if (p != NULL && ADD(&p->refs, -1, ACQ_REL) == 0)
        pool_free(p);
}

int
sql_pool_slot(struct sql_pool *p, struct job_run *run)
{
    int r = go_sem_acquire_ctx(&p->slots, 1, run->ctx);

    return r < 0 ? job_run_ended(run, r) : 0;
}

void
sql_pool_release(struct sql_pool *p)
{
    go_sem_release(&p->slots, 1);
}

struct sql_conn *
sql_pool_take(struct sql_pool *p)
{
    struct sql_conn *c;

    go_mutex_lock(&p->mu);
    c = p->idle;
    if (c != NULL)
        p->idle = c->next;
    go_mutex_unlock(&p->mu);
    return c;
}

void
sql_pool_give(struct sql_pool *p, struct sql_conn *c)
{
    go_mutex_lock(&p->mu);
    c->next = p->idle;
    p->idle = c;
    go_mutex_unlock(&p->mu);
    sql_pool_release(p);
}
