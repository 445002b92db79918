#include "jobs/sum_part.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "jobs/sum_text.h"
#include "jobs/turn.h"
#include "runtime/base/atomic.h"
#include "runtime/go.h"

#define MIN(a, b) ((a) < (b) ? (a) : (b))

ssize_t
sum_part_read(struct sum_part *part, char *buf, size_t len, uint64_t offset)
{
    struct sum_task *t = part->task;
    ssize_t n;

    sum_part_rest(part);
    part->r = go_ctx_err(t->run->ctx);
    /* What comes after a failed part is of no use any more. */
    if (part->r == 0 && LOAD(&t->failed, RELAXED) < part->start)
        part->r = -ECANCELED;
    if (part->r < 0)
        return part->r;
    n = turn_read(t->file, buf, len, offset);
    part->in_turn = n >= 0;
    if (n >= 0 && (size_t)n < len)
        n = -EIO;
    if (n < 0)
        (void)sum_part_fail(part, (int)n, offset, "", 0);
    return n;
}

void
sum_part_rest(struct sum_part *part)
{
    if (part->in_turn)
        turn_end();
    part->in_turn = false;
}

int
sum_part_fail(struct sum_part *part, int r, uint64_t offset, const char *s, size_t len)
{
    uint64_t least = LOAD(&part->task->failed, RELAXED);
    size_t n = MIN(len, sizeof(part->text) - 1);

    part->r = r;
    part->offset = offset;
    for (size_t i = 0; i < n; i++)
        part->text[i] = isprint((unsigned char)s[i]) ? s[i] : '?';
    part->text[n] = '\0';
    while (offset < least && !CAS(&part->task->failed, least, offset, RELAXED))
        least = LOAD(&part->task->failed, RELAXED);
    return r;
}

/* The text up to its first white space. */
static size_t
word(const char *s, size_t len)
{
    size_t n = 0;

    while (n < len && !number_space(s[n]))
        n++;
    return n;
}

/* A number that begins before the part is the one before's: skip it. */
static size_t
skip_first(const struct sum_part *part, const char *buf, size_t len)
{
    return part->first ? 0 : word(buf, len);
}

static void
text_blocks(struct sum_part *part, char *buf)
{
    const struct sum_task *t = part->task;
    /* One byte earlier, to see whether a number begins at start. */
    uint64_t at = part->start - !part->first; /* file offset of buf */
    size_t have = 0;
    bool skipping = true;

    while (at + have < t->end || have > 0) {
        uint64_t from = at + have;
        /* Behind the part only the rest of its last number is wanted. */
        uint64_t to = from < part->end ? part->end : from + NUMBER_MAX;
        size_t n = (size_t)(MIN(MIN(to, t->end) - from, SUM_BLOCK));
        size_t used = 0;
        bool more;

        if (n > 0 && sum_part_read(part, buf + have, n, from) < 0)
            return;
        ADD(&part->task->run->progress.done, from < part->end ? n : 0, RELAXED);
        have += n;
        more = at + have < t->end;
        if (skipping) {
            used = skip_first(part, buf, have);
            skipping = used == have && more;
        }
        if (!skipping && part->end > at + used) {
            size_t done = 0, stop = (size_t)MIN(part->end - at - used, have - used);
            int r = numbers_add(&part->sum, buf + used, have - used, stop, more, &done);

            used += done;
            if (r < 0) {
                (void)sum_part_fail(part, r, at + used, buf + used,
                                    word(buf + used, have - used));
                return;
            }
        }
        if (!more || at + used >= part->end)
            return;
        memmove(buf, buf + used, have - used);
        at += used;
        have -= used;
    }
}

void
sum_part_text(struct sum_part *part)
{
    char *buf = malloc(SUM_BLOCK + 2 * NUMBER_MAX + NUMBER_SLACK);

    if (buf == NULL) {
        (void)sum_part_fail(part, -ENOMEM, part->start, "", 0);
        return;
    }
    text_blocks(part, buf);
    free(buf);
}

/* Both binary formats: eight bytes a number, in the machine's order on all machines the
 * runtime knows. */
static void
binary(struct sum_part *part, void (*add)(struct sum_part *, const void *, size_t))
{
    char *buf = malloc(SUM_BLOCK);
    uint64_t at = part->start;

    if (buf == NULL) {
        (void)sum_part_fail(part, -ENOMEM, at, "", 0);
        return;
    }
    while (at < part->end) {
        size_t n = (size_t)MIN(part->end - at, SUM_BLOCK);

        if (sum_part_read(part, buf, n, at) < 0)
            break;
        add(part, buf, n / 8);
        ADD(&part->task->run->progress.done, n, RELAXED);
        at += n;
    }
    free(buf);
}

static void
add_int64s(struct sum_part *part, const void *v, size_t n)
{
    exact_add_int64s(&part->sum, v, n);
}

static void
add_doubles(struct sum_part *part, const void *v, size_t n)
{
    exact_add_doubles(&part->sum, v, n);
}

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
               "numbers in files are little endian");

void
sum_part_int64(struct sum_part *part)
{
    binary(part, add_int64s);
}

void
sum_part_float64(struct sum_part *part)
{
    binary(part, add_doubles);
}
