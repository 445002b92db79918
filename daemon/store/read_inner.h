/*
 * A reader's inside, shared by the files that read.
 */
#ifndef GOJOBD_DAEMON_STORE_READ_INNER_H
#define GOJOBD_DAEMON_STORE_READ_INNER_H

#include <sqlite3.h>
#include <stddef.h>
#include <stdint.h>

#define RD_KEPT 16

struct store_reader {
    sqlite3 *db;
    sqlite3_stmt *kept[RD_KEPT]; /* prepared, not in use; NULL where there is none */
    unsigned next_kept;          /* the place to give away when all are taken */
    char err[256];
};

/* Note a sentence and return the -errno. */
int store_rd_failed(struct store_reader *rd, int rc);
int store_rd_no_memory(struct store_reader *rd);

/* Make what follows see one commit, until store_rd_end(). */
int store_rd_begin(struct store_reader *rd);
void store_rd_end(struct store_reader *rd);

/* Prepare sql, or take what store_rd_done() kept of it, and bind the n integers v. */
int store_rd_prepare(struct store_reader *rd, const char *sql, int n, const int64_t *v,
                     sqlite3_stmt **ret);

/* Done with the statement: it is kept for the next time. Accepts NULL. */
void store_rd_done(struct store_reader *rd, sqlite3_stmt *q);

/* 1 = a row, 0 = the end, -errno. */
int store_rd_step(struct store_reader *rd, sqlite3_stmt *q);

/* Copies of a column, malloc'd; NULL for NULL. */
int store_rd_text(struct store_reader *rd, sqlite3_stmt *q, int column, char **ret);
int store_rd_blob(struct store_reader *rd, sqlite3_stmt *q, int column, void **ret,
                  size_t *ret_len);

/* A new, zeroed element at the end of the array *v of *n; NULL when memory is short. */
void *store_rd_append(void **v, size_t *n, size_t size);

#define APPEND(list)                                                                     \
    __extension__({                                                                      \
        void *v__ = (list)->v;                                                           \
        void *e__ = store_rd_append(&v__, &(list)->n, sizeof(*(list)->v));               \
        (list)->v = v__;                                                                 \
        (__typeof__((list)->v))e__;                                                      \
    })

#endif
