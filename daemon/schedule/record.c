#include "daemon/schedule/record.h"

#include <errno.h>

#include "daemon/store/schedule.h"
#include "daemon/store/store.h"

/* One run; the row's next_at is `at`. *busy is the batch that is unfinished, or 0, and
 * becomes what the next run has to look at. */
static int
record_run(struct store *st, struct sched_fire *f, struct sched_run *run, int64_t at,
           int64_t *busy, const struct sched_submit *submit)
{
    int r = 0;

    run->batch = 0;
    run->verdict = sched_overlap(f->overlap, *busy != 0, f->waiting_now);
    if (run->verdict != SCHED_SKIP)
        r = submit->fn(submit->arg, st, f->id, run->at,
                       run->verdict == SCHED_WAIT ? *busy : 0, &run->batch);
    if (r == -EINVAL && !store_broken(st)) {
        run->verdict = SCHED_SKIP;
        run->batch = 0;
        r = 0;
    }
    if (r < 0)
        return r;
    if (at != run->at) /* those before it are given up */
        r = store_schedule_move(st, f->id, run->at, 0);
    if (r < 0)
        return r;
    r = store_schedule_ran(st, f->id, run->at, run->next, run->batch);
    if (r < 0)
        return r;
    if (run->verdict == SCHED_WAIT)
        f->waiting_now++;
    if (run->batch != 0)
        *busy = run->batch;
    return 0;
}

/* What will not happen, counted in the row. */
static int
record_lost(struct store *st, const struct sched_fire *f)
{
    int64_t skipped = 0;

    for (size_t i = 0; i < f->done; i++)
        skipped += f->runs[i].verdict == SCHED_SKIP;
    return f->missed + skipped > 0 ? store_schedule_count(st, f->id, f->missed, skipped)
                                   : 0;
}

static int
record_runs(struct store *st, struct sched_fire *f, int64_t busy,
            const struct sched_submit *submit)
{
    int64_t at = f->from;
    int r;

    if (busy == 0)
        f->waiting_now = 0;
    for (; f->done < f->n; f->done++) {
        struct sched_run *run = &f->runs[f->done];

        r = record_run(st, f, run, at, &busy, submit);
        if (r < 0)
            return f->done > 0 && !store_broken(st) ? 0 : r;
        at = run->next;
    }
    return at != f->next ? store_schedule_move(st, f->id, f->next, f->last) : 0;
}

static int
record(struct store *st, struct sched_fire *f, const struct sched_submit *submit)
{
    struct store_schedule_head row;
    int64_t busy;
    int r;

    r = store_schedule_state(st, f->id, &row, &busy);
    if (r < 0)
        return r;
    if (row.next_at != f->from || row.paused) {
        f->row_next = row.next_at;
        return -ESTALE;
    }
    r = record_runs(st, f, busy, submit);
    return r < 0 ? r : record_lost(st, f);
}

int
sched_record(struct store *st, struct sched_fire *f, const struct sched_submit *submit)
{
    f->done = 0;
    f->waiting_now = f->waiting;
    f->row_next = 0;
    f->result = record(st, f, submit);
    return f->result;
}
