/*
 * A disk in memory under SQLite, whose power can be cut.
 *
 * Every write, truncation, sync, creation and deletion is one I/O, counted from 0. What
 * was written since a file's last sync may, when the power goes, be on the disk or not: at
 * the cut a seeded choice keeps all of it, none, a prefix with the last write torn, or any
 * subset with any write torn (a disk reorders what no sync orders). The same holds for
 * directory entries until a sync of the directory, which SQLite's unix VFS makes with the
 * first sync of a log and with a deletion that asks for it. Shared memory is lost always.
 *
 * One disk at a time, as VFS "crash"; file locks are granted blindly, so only one
 * connection may be open. After the cut every call fails until the power is back.
 */
#ifndef GOJOBD_TESTS_DAEMON_CRASHVFS_H
#define GOJOBD_TESTS_DAEMON_CRASHVFS_H

#include <stdbool.h>
#include <stdint.h>

#define CRASH_VFS "crash"

/* An empty disk, powered. */
void crashdisk_new(void);
void crashdisk_free(void);

/* Cut the power at I/O number io (counted from the last crashdisk_on() or _new()); < 0:
 * never. */
void crashdisk_cut_at(int64_t io);

/* Let I/O number io alone fail with this SQLite code, keeping the power: SQLITE_FULL,
 * SQLITE_IOERR_FSYNC … The operation is not carried out; a sync that fails forgets what it
 * should have written, as Linux does. */
void crashdisk_fail_at(int64_t io, int rc);

int64_t crashdisk_ios(void);
bool crashdisk_off(void);

/* Power back, after a cut or not: the seed decides what unsynced I/O had reached the
 * disk. */
void crashdisk_on(uint64_t seed);

#endif
