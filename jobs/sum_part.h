/*
 * A share of a sum over a file: the numbers that begin in one range of its bytes, added up
 * by one goroutine.
 */
#ifndef GOJOBD_JOBS_SUM_PART_H
#define GOJOBD_JOBS_SUM_PART_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "jobs/file.h"
#include "jobs/sum_exact.h"

/* What all parts of a job share. */
struct sum_task {
    struct job_run *run; /* its context and progress only */
    const struct job_file *file;
    uint64_t end;   /* of the file, as it was opened */
    size_t column;  /* CSV: from 0 */
    char delimiter; /* CSV */
    uint64_t
        failed; /* atomic: the least offset at which a part failed; else UINT64_MAX */
};

struct sum_part {
    struct sum_task *task;
    uint64_t start, end; /* bytes of the file */
    bool first;          /* nothing precedes start that belongs to another part */
    bool in_turn;        /* it computes, see turn.h */
    uint64_t quotes;     /* CSV: before the byte ahead of start */
    struct exact sum;

    /* 0, or -errno: of reading; -ERANGE, -EINVAL: what stands at offset; a context's end. */
    int r;
    uint64_t offset;
    char text[48]; /* what stands there */
};

enum { SUM_BLOCK = 256 * 1024 }; /* bytes read at a time */

/* Each fills part->sum and part->r. PARKS; goroutines only. */
void sum_part_text(struct sum_part *part);
void sum_part_int64(struct sum_part *part);
void sum_part_float64(struct sum_part *part);
void sum_part_csv(struct sum_part *part);

/* CSV, beforehand: counts the quotes from the byte ahead of start (from start, in the first
 * part) up to the one ahead of end, into part->quotes. */
void sum_part_quotes(struct sum_part *part);

/* After one of them: the end of its turn. */
void sum_part_rest(struct sum_part *part);

/* --- for the parts --- */

/* Reads up to len bytes at offset into buf and counts them as progress. The number of bytes,
 * or -errno into part->r: also -EIO where the file became shorter, and the context's end.
 * What was read is worked on in a turn, up to the next call. PARKS. */
ssize_t sum_part_read(struct sum_part *part, char *buf, size_t len, uint64_t offset);

/* Ends the part at offset, where len bytes of s could not be added. Returns r. */
int sum_part_fail(struct sum_part *part, int r, uint64_t offset, const char *s,
                  size_t len);

#endif
