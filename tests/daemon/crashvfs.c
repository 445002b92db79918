#include "tests/daemon/crashvfs.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/base/check.h"

enum {
    FILES_MAX = 16,
    SHM_MAX = 16,
};

struct bytes {
    unsigned char *p;
    int64_t len, cap;
};

/* A write, or with data NULL a truncation to `off`. */
struct pending {
    int64_t off;
    unsigned char *data;
    int len;
};

struct file {
    char name[200];    /* "": a free slot */
    bool live, stable; /* the entry exists: now; after a power cut for certain */
    struct bytes now, synced;
    struct pending *todo;
    int n_todo;
};

static struct disk {
    struct file files[FILES_MAX];
    unsigned char *shm[SHM_MAX];
    int64_t ios, cut, fail;
    int fail_rc;
    bool off;
    uint64_t rng;
} disk;

struct handle {
    sqlite3_file base;
    struct file *f;
    bool log;    /* the first sync also syncs the directory */
    bool remove; /* at close: an unnamed temporary file */
};

static unsigned
rnd(unsigned n)
{
    disk.rng ^= disk.rng << 13;
    disk.rng ^= disk.rng >> 7;
    disk.rng ^= disk.rng << 17;
    return (unsigned)(disk.rng >> 33) % n;
}

static void
bytes_write(struct bytes *b, int64_t off, const void *data, int64_t len)
{
    int64_t end = off + len;

    if (end > b->cap) {
        b->cap = end * 2;
        b->p = realloc(b->p, (size_t)b->cap);
        ENSURE(b->p != NULL);
    }
    if (off > b->len)
        memset(b->p + b->len, 0, (size_t)(off - b->len));
    if (len > 0)
        memcpy(b->p + off, data, (size_t)len);
    if (end > b->len)
        b->len = end;
}

static void
bytes_truncate(struct bytes *b, int64_t size)
{
    if (size < b->len)
        b->len = size;
}

static void
bytes_copy(struct bytes *to, const struct bytes *from)
{
    to->len = 0;
    bytes_write(to, 0, from->p, from->len);
}

static void
todo_clear(struct file *f)
{
    for (int i = 0; i < f->n_todo; i++)
        free(f->todo[i].data);
    free(f->todo);
    f->todo = NULL;
    f->n_todo = 0;
}

static void
todo_add(struct file *f, int64_t off, const void *data, int len)
{
    struct pending *t = realloc(f->todo, (size_t)(f->n_todo + 1) * sizeof(*t));

    ENSURE(t != NULL);
    f->todo = t;
    t = &f->todo[f->n_todo++];
    t->off = off;
    t->len = len;
    t->data = NULL;
    if (data != NULL) {
        t->data = malloc((size_t)len);
        ENSURE(t->data != NULL);
        memcpy(t->data, data, (size_t)len);
    }
}

static void
file_drop(struct file *f)
{
    todo_clear(f);
    free(f->now.p);
    free(f->synced.p);
    memset(f, 0, sizeof(*f));
}

/* Count an I/O: SQLITE_OK if it may happen. Only what takes room meets a full disk. An I/O that the cut hits is still in flight:
 * the caller enters writes among the unsynced ones before asking. */
static int
io(int rc_off, bool grows)
{
    if (disk.off)
        return rc_off;
    if (disk.ios == disk.cut) {
        disk.off = true;
        return rc_off;
    }
    if (disk.ios == disk.fail && (grows || disk.fail_rc != SQLITE_FULL)) {
        disk.ios++;
        return disk.fail_rc;
    }
    disk.ios++;
    return SQLITE_OK;
}

static void
apply(struct bytes *b, const struct pending *t, int len)
{
    if (t->data == NULL)
        bytes_truncate(b, t->off);
    else
        bytes_write(b, t->off, t->data, len);
}

/* --- power ------------------------------------------------------------------------------- */

/* What of the unsynced I/O has reached the disk. */
static void
settle(struct file *f)
{
    unsigned how = rnd(4);
    int keep = f->n_todo > 0 ? (int)rnd((unsigned)f->n_todo + 1) : 0;

    for (int i = 0; i < f->n_todo; i++) {
        const struct pending *t = &f->todo[i];
        int len = t->len;

        if (how == 0)
            break;
        if (how == 1 && i > keep)
            break;
        if (how == 2 && rnd(2) == 0)
            continue;
        if ((how == 1 && i == keep) || (how == 2 && rnd(3) == 0))
            len = len > 0 ? (int)rnd((unsigned)len) : 0;
        apply(&f->synced, t, len);
    }
    todo_clear(f);
    bytes_copy(&f->now, &f->synced);
}

static void
shm_drop(void)
{
    for (int i = 0; i < SHM_MAX; i++) {
        free(disk.shm[i]);
        disk.shm[i] = NULL;
    }
}

void
crashdisk_on(uint64_t seed)
{
    disk.rng = (seed + 1) * UINT64_C(0x9e3779b97f4a7c15);
    for (int i = 0; i < FILES_MAX; i++) {
        struct file *f = &disk.files[i];

        if (f->name[0] == '\0')
            continue;
        if (f->live != f->stable)
            f->live = rnd(2) == 0;
        if (!f->live) {
            file_drop(f);
            continue;
        }
        f->stable = true;
        settle(f);
    }
    shm_drop();
    disk.off = false;
    disk.ios = 0;
    disk.cut = -1;
    disk.fail = -1;
}

void
crashdisk_cut_at(int64_t io)
{
    disk.cut = io;
}

void
crashdisk_fail_at(int64_t io, int rc)
{
    disk.fail = io;
    disk.fail_rc = rc;
}

int64_t
crashdisk_ios(void)
{
    return disk.ios;
}

bool
crashdisk_off(void)
{
    return disk.off;
}

/* --- files ------------------------------------------------------------------------------- */

static int
f_close(sqlite3_file *h)
{
    struct handle *hd = (struct handle *)h;

    if (hd->remove)
        file_drop(hd->f);
    return SQLITE_OK;
}

static int
f_read(sqlite3_file *h, void *buf, int n, sqlite3_int64 off)
{
    const struct bytes *b = &((struct handle *)h)->f->now;
    int64_t got = off < b->len ? b->len - off : 0;

    if (disk.off)
        return SQLITE_IOERR_READ;
    got = got < n ? got : n;
    if (got > 0)
        memcpy(buf, b->p + off, (size_t)got);
    if (got < n)
        memset((char *)buf + got, 0, (size_t)(n - got));
    return got < n ? SQLITE_IOERR_SHORT_READ : SQLITE_OK;
}

static int
f_write(sqlite3_file *h, const void *buf, int n, sqlite3_int64 off)
{
    struct file *f = ((struct handle *)h)->f;
    bool was_off = disk.off;
    int rc = io(SQLITE_IOERR_WRITE, true);

    if (rc == SQLITE_OK || (disk.off && !was_off))
        todo_add(f, off, buf, n);
    if (rc == SQLITE_OK)
        bytes_write(&f->now, off, buf, n);
    return rc;
}

static int
f_truncate(sqlite3_file *h, sqlite3_int64 size)
{
    struct file *f = ((struct handle *)h)->f;
    bool was_off = disk.off;
    int rc = io(SQLITE_IOERR_TRUNCATE, false);

    if (rc == SQLITE_OK || (disk.off && !was_off))
        todo_add(f, size, NULL, 0);
    if (rc == SQLITE_OK)
        bytes_truncate(&f->now, size);
    return rc;
}

static void
sync_directory(void)
{
    for (int i = 0; i < FILES_MAX; i++) {
        struct file *f = &disk.files[i];

        if (f->name[0] == '\0')
            continue;
        f->stable = f->live;
        if (!f->live)
            file_drop(f);
    }
}

static int
f_sync(sqlite3_file *h, int flags)
{
    struct handle *hd = (struct handle *)h;
    int rc = io(SQLITE_IOERR_FSYNC, false);

    (void)flags;
    if (rc == SQLITE_OK) {
        for (int i = 0; i < hd->f->n_todo; i++)
            apply(&hd->f->synced, &hd->f->todo[i], hd->f->todo[i].len);
        todo_clear(hd->f);
        if (hd->log)
            sync_directory();
        hd->log = false;
    } else if (!disk.off) {
        /* The kernel drops the dirty pages it could not write and reports it once. */
        todo_clear(hd->f);
    }
    return rc;
}

static int
f_size(sqlite3_file *h, sqlite3_int64 *ret)
{
    *ret = ((struct handle *)h)->f->now.len;
    return SQLITE_OK;
}

static int
f_lock(sqlite3_file *h, int level)
{
    (void)h;
    (void)level;
    return SQLITE_OK;
}

static int
f_check_lock(sqlite3_file *h, int *ret)
{
    (void)h;
    *ret = 0;
    return SQLITE_OK;
}

static int
f_control(sqlite3_file *h, int op, void *arg)
{
    (void)h;
    (void)op;
    (void)arg;
    return SQLITE_NOTFOUND;
}

static int
f_sector(sqlite3_file *h)
{
    (void)h;
    return 4096;
}

static int
f_device(sqlite3_file *h)
{
    (void)h;
    return 0;
}

static int
f_shm_map(sqlite3_file *h, int region, int size, int extend, void volatile **ret)
{
    (void)h;
    if (region >= SHM_MAX)
        return SQLITE_IOERR_SHMMAP;
    if (disk.shm[region] == NULL && extend)
        disk.shm[region] = calloc(1, (size_t)size);
    *ret = disk.shm[region];
    return SQLITE_OK;
}

static int
f_shm_lock(sqlite3_file *h, int off, int n, int flags)
{
    (void)h;
    (void)off;
    (void)n;
    (void)flags;
    return SQLITE_OK;
}

static void
f_shm_barrier(sqlite3_file *h)
{
    (void)h;
}

static int
f_shm_unmap(sqlite3_file *h, int delete)
{
    (void)h;
    (void)delete;
    shm_drop();
    return SQLITE_OK;
}

static const sqlite3_io_methods methods = {
    .iVersion = 2,
    .xClose = f_close,
    .xRead = f_read,
    .xWrite = f_write,
    .xTruncate = f_truncate,
    .xSync = f_sync,
    .xFileSize = f_size,
    .xLock = f_lock,
    .xUnlock = f_lock,
    .xCheckReservedLock = f_check_lock,
    .xFileControl = f_control,
    .xSectorSize = f_sector,
    .xDeviceCharacteristics = f_device,
    .xShmMap = f_shm_map,
    .xShmLock = f_shm_lock,
    .xShmBarrier = f_shm_barrier,
    .xShmUnmap = f_shm_unmap,
};

/* --- directory --------------------------------------------------------------------------- */

static struct file *
lookup(const char *name)
{
    for (int i = 0; i < FILES_MAX; i++)
        if (disk.files[i].live && strcmp(disk.files[i].name, name) == 0)
            return &disk.files[i];
    return NULL;
}

/* A deleted file whose deletion is not yet stable keeps its slot; another of its name
 * takes its place, as if the two directory changes were one. */
static struct file *
create(const char *name)
{
    struct file *f = NULL;

    for (int i = 0; i < FILES_MAX; i++) {
        if (strcmp(disk.files[i].name, name) == 0) {
            bytes_truncate(&disk.files[i].now, 0);
            todo_add(&disk.files[i], 0, NULL, 0);
            disk.files[i].live = true;
            return &disk.files[i];
        }
        if (f == NULL && disk.files[i].name[0] == '\0')
            f = &disk.files[i];
    }
    ENSURE(f != NULL);
    snprintf(f->name, sizeof(f->name), "%s", name);
    f->live = true;
    return f;
}

static int
v_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *h, int flags, int *out)
{
    static int temps;
    struct handle *hd = (struct handle *)h;
    char temp[32];
    int rc;

    (void)vfs;
    hd->base.pMethods = NULL;
    hd->remove = name == NULL;
    if (name == NULL) {
        snprintf(temp, sizeof(temp), "temp-%d", temps++);
        name = temp;
    }
    hd->f = lookup(name);
    hd->log = false;
    if (hd->f == NULL) {
        if (!(flags & SQLITE_OPEN_CREATE))
            return SQLITE_CANTOPEN;
        rc = io(SQLITE_CANTOPEN, true);
        if (rc != SQLITE_OK)
            return rc;
        hd->f = create(name);
        hd->log = (flags & (SQLITE_OPEN_WAL | SQLITE_OPEN_MAIN_JOURNAL)) != 0;
    }
    hd->base.pMethods = &methods;
    if (out != NULL)
        *out = flags;
    return SQLITE_OK;
}

static int
v_delete(sqlite3_vfs *vfs, const char *name, int sync_dir)
{
    struct file *f = lookup(name);
    int rc;

    (void)vfs;
    if (f == NULL)
        return SQLITE_IOERR_DELETE_NOENT;
    rc = io(SQLITE_IOERR_DELETE, false);
    if (rc != SQLITE_OK)
        return rc;
    f->live = false;
    if (sync_dir)
        sync_directory();
    return SQLITE_OK;
}

static int
v_access(sqlite3_vfs *vfs, const char *name, int flags, int *ret)
{
    struct file *f = lookup(name);

    (void)vfs;
    *ret = f != NULL && (flags != SQLITE_ACCESS_EXISTS || f->now.len > 0);
    return SQLITE_OK;
}

static int
v_full_path(sqlite3_vfs *vfs, const char *name, int n, char *out)
{
    (void)vfs;
    snprintf(out, (size_t)n, "%s", name);
    return SQLITE_OK;
}

/* The same on every run, so that a cut at the n-th I/O hits the same one. */
static int
v_randomness(sqlite3_vfs *vfs, int n, char *out)
{
    (void)vfs;
    for (int i = 0; i < n; i++)
        out[i] = (char)rnd(256);
    return n;
}

static int
v_sleep(sqlite3_vfs *vfs, int us)
{
    (void)vfs;
    return us;
}

static int
v_time(sqlite3_vfs *vfs, double *ret)
{
    (void)vfs;
    *ret = 2461000.5;
    return SQLITE_OK;
}

static int
v_last_error(sqlite3_vfs *vfs, int n, char *out)
{
    (void)vfs;
    (void)n;
    (void)out;
    return 0;
}

static sqlite3_vfs crash_vfs = {
    .iVersion = 1,
    .szOsFile = (int)sizeof(struct handle),
    .mxPathname = 199,
    .zName = CRASH_VFS,
    .xOpen = v_open,
    .xDelete = v_delete,
    .xAccess = v_access,
    .xFullPathname = v_full_path,
    .xRandomness = v_randomness,
    .xSleep = v_sleep,
    .xCurrentTime = v_time,
    .xGetLastError = v_last_error,
};

void
crashdisk_new(void)
{
    crashdisk_free();
    disk.rng = 1;
    disk.cut = -1;
    disk.fail = -1;
    ENSURE(sqlite3_vfs_register(&crash_vfs, 0) == SQLITE_OK);
}

void
crashdisk_free(void)
{
    for (int i = 0; i < FILES_MAX; i++)
        file_drop(&disk.files[i]);
    shm_drop();
    memset(&disk, 0, sizeof(disk));
}
