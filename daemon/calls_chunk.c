#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/call.h"
#include "daemon/store/backup.h"
#include "runtime/go.h"

/*
 * Files handed out in chunks: a backup of the store, a trace of the scheduler. The first
 * call makes the file, whose name is removed at once; the descriptor is the handle, kept
 * until its last chunk is fetched or nobody has asked for a minute. What a killed daemon was
 * making is removed at the next start.
 */

#define CHUNK_BYTES (4 << 20)
#define IDLE_MAX    (60 * GO_SECOND)
#define TRACE_DFLT  (5 * GO_SECOND)
#define TRACE_MAX   (60 * GO_SECOND)

enum { HANDLES_MAX = 8 };

static struct handle {
    uint64_t id; /* 0: free */
    int fd;
    bool trace, busy;
    int64_t used_at;    /* go_now() */
} handles[HANDLES_MAX]; /* guarded by mu */
static bool sweeping;   /* guarded by mu: a goroutine drops what is idle */
static struct go_mutex mu = GO_MUTEX_INIT;
static uint64_t last_id; /* guarded by mu */

/* mu is held. */
static void
drop_locked(struct handle *h)
{
    (void)close(h->fd);
    h->id = 0;
}

/* Drop what nobody has asked for in a while: whether anything is left. */
static bool
drop_idle(void)
{
    bool left = false;

    go_mutex_lock(&mu);
    for (int i = 0; i < HANDLES_MAX; i++) {
        struct handle *h = &handles[i];

        if (h->id != 0 && !h->busy && go_now() - h->used_at >= IDLE_MAX)
            drop_locked(h);
        left = left || h->id != 0;
    }
    sweeping = left;
    go_mutex_unlock(&mu);
    return left;
}

/* A file without a name that is kept by its descriptor alone is disk nobody can free. */
static void
sweep(void)
{
    do
        go_sleep(IDLE_MAX / 4);
    while (drop_idle());
}

/* A free place, claimed: NULL when all are in use. */
static struct handle *
place_new(bool trace)
{
    struct handle *found = NULL;

    go_mutex_lock(&mu);
    for (int i = 0; i < HANDLES_MAX; i++) {
        if (handles[i].id == 0 && found == NULL)
            found = &handles[i];
    }
    if (found != NULL)
        *found = (struct handle){.id = ++last_id, .fd = -1, .trace = trace, .busy = true};
    go_mutex_unlock(&mu);
    return found;
}

static struct handle *
place_find(uint64_t id, bool trace)
{
    struct handle *found = NULL;

    go_mutex_lock(&mu);
    for (int i = 0; i < HANDLES_MAX; i++)
        if (id != 0 && handles[i].id == id && handles[i].trace == trace &&
            !handles[i].busy)
            found = &handles[i];
    if (found != NULL)
        found->busy = true;
    go_mutex_unlock(&mu);
    return found;
}

static void
place_leave(struct handle *h, bool done)
{
    go_mutex_lock(&mu);
    h->busy = false;
    h->used_at = go_now();
    if (done)
        drop_locked(h);
    if (!done && !sweeping)
        sweeping = go(sweep) > 0;
    go_mutex_unlock(&mu);
}

/* --- making files ------------------------------------------------------------------------ */

#define HANDOUT ".handout-" /* after the store's path; then what makes it unique */

void
call_chunk_clean(const char *store)
{
    const char *slash = strrchr(store, '/'), *name = slash != NULL ? slash + 1 : store;
    char dir[4096], prefix[300];
    struct dirent *entry;
    DIR *d;

    (void)snprintf(dir, sizeof(dir), "%.*s", slash != NULL ? (int)(slash - store) + 1 : 1,
                   slash != NULL ? store : ".");
    (void)snprintf(prefix, sizeof(prefix), "%s" HANDOUT, name);
    d = opendir(dir);
    if (d == NULL)
        return;
    while ((entry = readdir(d)) != NULL)
        if (strncmp(entry->d_name, prefix, strlen(prefix)) == 0)
            (void)unlinkat(dirfd(d), entry->d_name, 0);
    (void)closedir(d);
}

/* A backup beside the store, so that it is on the same disk. */
static int
make_backup(struct call *c, int *ret_fd)
{
    char path[4200], err[512] = "";
    int r, fd;

    (void)snprintf(path, sizeof(path), "%s" HANDOUT "%d-%llu", store_path(c->d->store),
                   getpid(), (unsigned long long)go_id());
    (void)unlink(path);
    r = store_backup(store_path(c->d->store), path, NULL, err, sizeof(err));
    if (r < 0)
        return call_store_failed(c, r, err);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    r = fd < 0 ? -errno : 0;
    (void)unlink(path);
    if (r < 0)
        return call_fail(c, PB_ERROR__CODE__STORAGE, NULL,
                         "the backup cannot be opened: %s", strerror(-r));
    *ret_fd = fd;
    return 0;
}

static int
make_trace(struct call *c, int *ret_fd)
{
    int64_t span = pb_duration_ns(c->req->trace->duration, TRACE_DFLT);
    int fd, r;

    if (span <= 0 || span > TRACE_MAX)
        return call_fail(c, PB_ERROR__CODE__INVALID, "duration",
                         "duration is not between 0 and 60 s");
    fd = memfd_create("trace", MFD_CLOEXEC);
    if (fd < 0)
        return call_fail(c, PB_ERROR__CODE__INTERNAL, NULL, "no file for the trace");
    r = go_trace_start(0);
    if (r == 0) {
        (void)go_ctx_sleep(c->ctx, span);
        r = GO_BLOCKING(go_trace_stop(fd));
    }
    if (r < 0) {
        (void)close(fd);
        return call_fail(
            c, r == -EBUSY ? PB_ERROR__CODE__CONFLICT : PB_ERROR__CODE__INTERNAL, NULL,
            r == -EBUSY ? "a trace is being recorded already" : "tracing failed");
    }
    *ret_fd = fd;
    return 0;
}

/* --- handing them out -------------------------------------------------------------------- */

static int
chunk(struct call *c, struct handle *h, uint64_t offset, bool *ret_done)
{
    PbChunk *out = call_new(c, &pb_chunk__descriptor);
    uint8_t *data = call_array(c, CHUNK_BYTES, 1);
    struct stat st;
    ssize_t n;

    if (out == NULL || data == NULL)
        return -ENOBUFS;
    n = GO_BLOCKING(GO_ERRNO(pread(h->fd, data, CHUNK_BYTES, (off_t)offset)));
    if (n < 0 || fstat(h->fd, &st) < 0)
        return call_fail(c, PB_ERROR__CODE__STORAGE, NULL, "the file cannot be read");
    *ret_done = offset + (uint64_t)n >= (uint64_t)st.st_size;
    PB_SET(out, handle, h->id);
    PB_SET(out, offset, offset);
    PB_SET(out, total, (uint64_t)st.st_size);
    out->has_data = 1;
    out->data = (ProtobufCBinaryData){(size_t)n, data};
    PB_SET(out, done, *ret_done);
    c->rep->reply_case = PB_RESPONSE__REPLY_CHUNK;
    c->rep->chunk = out;
    return 0;
}

static int
serve(struct call *c, bool trace, uint64_t handle, uint64_t offset)
{
    struct handle *h = handle != 0 ? place_find(handle, trace) : place_new(trace);
    bool done = false;
    int r = 0;

    if (h == NULL)
        return handle != 0 ? call_fail(c, PB_ERROR__CODE__NOT_FOUND, "handle",
                                       "there is no such handle any more")
                           : call_fail(c, PB_ERROR__CODE__BUSY, NULL,
                                       "too many backups and traces are being fetched");
    if (handle == 0)
        r = trace ? make_trace(c, &h->fd) : GO_BLOCKING(make_backup(c, &h->fd));
    if (r == 0)
        r = chunk(c, h, offset, &done);
    place_leave(h, done || r < 0);
    return r;
}

int
call_backup(struct call *c)
{
    return serve(c, false, PB_GET(c->req->backup, handle, 0),
                 PB_GET(c->req->backup, offset, 0));
}

int
call_trace(struct call *c)
{
    return serve(c, true, PB_GET(c->req->trace, handle, 0),
                 PB_GET(c->req->trace, offset, 0));
}
