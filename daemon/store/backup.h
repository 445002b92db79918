/*
 * Online backup and self-check. Both open a connection of their own, read only, so they
 * run beside the writer; both take long on a large store: call from a blocking region.
 */
#ifndef GOJOBD_DAEMON_STORE_BACKUP_H
#define GOJOBD_DAEMON_STORE_BACKUP_H

#include <stdbool.h>
#include <stddef.h>

/* Write the store at path, as of one commit, to the file dest, which must not exist; it
 * appears there whole and synced, or not at all. stop (may be NULL) is looked at now and
 * then: true ends it with -ECANCELED. 0 or -errno and a sentence in err. */
int store_backup(const char *path, const char *dest, const volatile bool *stop, char *err,
                 size_t err_size);

/* Check the file (SQLite's integrity_check) and the store's own invariants, numbered in
 * README.md. 0; -EUCLEAN and a sentence that names what is broken; or another -errno. vfs
 * NULL: the system's. */
int store_verify(const char *path, const char *vfs, char *err, size_t err_size);

#endif
