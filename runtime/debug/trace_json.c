/*
 * From recorded events to Chrome's trace-event JSON.
 *
 * The threads' buffers are merged by time. A slice is one run of a goroutine; it is drawn
 * on the track of the processor its thread holds, and moves to the thread's own track when
 * the processor is taken away (a runaway, a blocking call) and back when it has one again.
 * Invariant: each track has at most one open slice, so slices of a track never overlap.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>

#include "runtime/debug/out.h"
#include "runtime/debug/trace_record.h"
#include "runtime/sched/proc.h"

#define NO_LANE UINT32_MAX
#define PENDING 65536 /* slots of the wake-up table, a power of two */
#define PID_P   1     /* tracks of processors: tid is the processor's number + 1 */
#define PID_M   2     /* tracks of threads: tid is the system's */

struct slice {
    bool open;
    bool flow;  /* an arrow from its wake-up ends here */
    uint16_t p; /* TRACE_NO_P: on the thread's own track */
    int64_t gid;
    int64_t start;
    const char *name;
    size_t name_len;
};

/* A thread's events, and what runs there. */
struct lane {
    const struct trace_thread *t;
    size_t at;
    bool ran;  /* a RUN or STOP was seen: what ran before the trace is known */
    bool used; /* something was drawn on its own track */
    struct slice slice;
};

struct writer {
    struct rt_out o;
    int64_t start, stop;
    bool comma;
    struct lane *lanes;
    uint32_t nlanes;
    uint32_t *heap; /* lanes with events left, by the time of their next */
    uint32_t nheap;
    int64_t
        pending[PENDING]; /* goroutines woken, not yet run; collisions lose an arrow */
    uint32_t owner[GO_MAXPROCS_MAX]; /* lane whose slice is open on this processor */
    int64_t last_end[GO_MAXPROCS_MAX];
    bool p_used[GO_MAXPROCS_MAX];
};

/* --- JSON ---------------------------------------------------------------------------------------- */

/* Length of the UTF-8 character at s, 0 if it is none. */
static size_t
utf8_len(const char *s, size_t n)
{
    unsigned char c = (unsigned char)s[0];
    size_t len = c >= 0xf0 && c < 0xf5 ? 4 : c >= 0xe0 ? 3 : c >= 0xc2 ? 2 : 0;

    if (c >= 0xf5 || len == 0 || len > n)
        return 0;
    for (size_t i = 1; i < len; i++) {
        if (((unsigned char)s[i] & 0xc0) != 0x80)
            return 0;
    }
    /* Overlong forms and surrogates. */
    if ((c == 0xe0 && (unsigned char)s[1] < 0xa0) ||
        (c == 0xed && (unsigned char)s[1] > 0x9f) ||
        (c == 0xf0 && (unsigned char)s[1] < 0x90) ||
        (c == 0xf4 && (unsigned char)s[1] > 0x8f))
        return 0;
    return len;
}

/* The inside of a JSON string. */
static void
put_escaped(struct rt_out *o, const char *s, size_t n)
{
    for (size_t i = 0; i < n;) {
        unsigned char c = (unsigned char)s[i];
        size_t len;

        if (c == '"' || c == '\\') {
            rt_out_char(o, '\\');
            rt_out_char(o, (char)c);
            i++;
        } else if (c < 0x20 || c == 0x7f) {
            rt_out_fmt(o, "\\u%04x", c);
            i++;
        } else if (c < 0x80) {
            rt_out_char(o, (char)c);
            i++;
        } else if ((len = utf8_len(s + i, n - i)) > 0) {
            rt_out_mem(o, s + i, len);
            i += len;
        } else {
            rt_out_str(o, "\\ufffd");
            i++;
        }
    }
}

/* Every event starts like this; the caller adds members and put_end(). */
static void
put_begin(struct writer *w, const char *ph, int pid, int64_t tid)
{
    rt_out_fmt(&w->o, "%s\n{\"ph\":\"%s\",\"pid\":%d,\"tid\":%lld", w->comma ? "," : "",
               ph, pid, (long long)tid);
    w->comma = true;
}

static void
put_time(struct writer *w, const char *key, int64_t ns)
{
    rt_out_fmt(&w->o, ",\"%s\":%lld.%03d", key, (long long)(ns / 1000), (int)(ns % 1000));
}

static void
put_track(struct writer *w, const char *ph, const struct lane *l, uint16_t p)
{
    if (p != TRACE_NO_P)
        put_begin(w, ph, PID_P, p + 1);
    else
        put_begin(w, ph, PID_M, l->t->tid);
}

static void
put_meta(struct writer *w, int pid, int64_t tid, const char *what, const char *name,
         int64_t n)
{
    put_begin(w, "M", pid, tid);
    rt_out_fmt(&w->o, ",\"name\":\"%s\",\"args\":{\"name\":\"%s", what, name);
    if (n >= 0)
        rt_out_fmt(&w->o, "%lld", (long long)n);
    rt_out_str(&w->o, "\"}}");
}

/* --- slices ---------------------------------------------------------------------------------------- */

static void
mark_used(struct writer *w, struct lane *l, uint16_t p)
{
    if (p != TRACE_NO_P)
        w->p_used[p] = true;
    else
        l->used = true;
}

static void
close_slice(struct writer *w, struct lane *l, int64_t ns, const char *why)
{
    struct slice *s = &l->slice;

    if (!s->open)
        return;
    s->open = false;
    put_track(w, "X", l, s->p);
    put_time(w, "ts", s->start - w->start);
    put_time(w, "dur", ns - s->start);
    rt_out_str(&w->o, ",\"name\":\"");
    put_escaped(&w->o, s->name, s->name_len);
    rt_out_fmt(&w->o, " #%lld\",\"args\":{\"goroutine\":%lld", (long long)s->gid,
               (long long)s->gid);
    if (why != NULL) {
        rt_out_str(&w->o, ",\"stopped\":\"");
        put_escaped(&w->o, why, strlen(why));
        rt_out_char(&w->o, '"');
    }
    rt_out_str(&w->o, "}}");
    /* Behind its slice, at its start: viewers bind it to the slice they know there. */
    if (s->flow) {
        put_track(w, "f", l, s->p);
        put_time(w, "ts", s->start - w->start);
        rt_out_fmt(&w->o, ",\"bp\":\"e\",\"cat\":\"wake\",\"name\":\"wake\",\"id\":%lld}",
                   (long long)s->gid);
        s->flow = false;
    }
    mark_used(w, l, s->p);
    if (s->p != TRACE_NO_P) {
        w->owner[s->p] = NO_LANE;
        w->last_end[s->p] = ns;
    }
}

static void move_slice(struct writer *w, struct lane *l, uint16_t p, int64_t ns,
                       const char *why);

/* l's slice goes on (or begins) on p at ns. Whoever has p there lost it without saying. */
static void
open_slice(struct writer *w, struct lane *l, uint16_t p, int64_t ns)
{
    if (p != TRACE_NO_P) {
        if (w->owner[p] != NO_LANE)
            move_slice(w, &w->lanes[w->owner[p]], TRACE_NO_P, ns, "processor taken");
        w->owner[p] = (uint32_t)(l - w->lanes);
    }
    l->slice.p = p;
    l->slice.start = ns;
    l->slice.open = true;
}

static void
move_slice(struct writer *w, struct lane *l, uint16_t p, int64_t ns, const char *why)
{
    close_slice(w, l, ns, why);
    open_slice(w, l, p, ns);
}

static void
begin_run(struct writer *w, struct lane *l, const union trace_event *e, const char *name,
          size_t name_len)
{
    int64_t *woken = &w->pending[e->gid & (PENDING - 1)];

    close_slice(w, l, e->ns, NULL);
    l->slice.gid = e->gid;
    l->slice.name = name;
    l->slice.name_len = name_len;
    l->slice.flow = *woken == e->gid;
    if (l->slice.flow)
        *woken = 0;
    open_slice(w, l, e->p, e->ns);
}

static void
end_run(struct writer *w, struct lane *l, const union trace_event *e)
{
    const char *why = e->type == RT_EV_STOP && e->arg != 0
                          ? (const char *)e->arg /* NOLINT(performance-no-int-to-ptr) */
                      : e->type == RT_EV_END ? "end"
                                             : "yield";

    /* It ran before the trace began. */
    if (!l->ran && !l->slice.open && e->p != TRACE_NO_P && w->owner[e->p] == NO_LANE) {
        l->slice.gid = e->gid;
        l->slice.name = "goroutine";
        l->slice.name_len = strlen(l->slice.name);
        open_slice(w, l, e->p, w->last_end[e->p]);
    }
    close_slice(w, l, e->ns, why);
}

/* --- events ------------------------------------------------------------------------------------------ */

static void
put_instant(struct writer *w, struct lane *l, const union trace_event *e,
            const char *what, const char *name, size_t name_len)
{
    put_track(w, "i", l, e->p);
    put_time(w, "ts", e->ns - w->start);
    rt_out_fmt(&w->o, ",\"s\":\"t\",\"name\":\"%s\",\"args\":{", what);
    if (e->type == RT_EV_STEAL)
        rt_out_fmt(&w->o, "\"n\":%llu", (unsigned long long)e->arg);
    else if (e->gid != 0)
        rt_out_fmt(&w->o, "\"goroutine\":%lld", (long long)e->gid);
    if (name != NULL) {
        rt_out_str(&w->o, ",\"function\":\"");
        put_escaped(&w->o, name, name_len);
        rt_out_char(&w->o, '"');
    }
    rt_out_str(&w->o, "}}");
    mark_used(w, l, e->p);
}

/* An arrow starts at the running goroutine's slice. */
static void
put_wake_arrow(struct writer *w, struct lane *l, const union trace_event *e)
{
    int64_t *woken = &w->pending[e->gid & (PENDING - 1)];

    if (!l->slice.open || *woken == e->gid)
        return;
    *woken = e->gid;
    put_track(w, "s", l, l->slice.p);
    put_time(w, "ts", e->ns - w->start);
    rt_out_fmt(&w->o, ",\"cat\":\"wake\",\"name\":\"wake\",\"id\":%lld}",
               (long long)e->gid);
}

/* Whoever runs on the processor goes on without it. */
static void
lose_p(struct writer *w, const union trace_event *e)
{
    if (e->p != TRACE_NO_P && w->owner[e->p] != NO_LANE)
        move_slice(w, &w->lanes[w->owner[e->p]], TRACE_NO_P, e->ns, "processor taken");
}

static void
draw(struct writer *w, struct lane *l, const union trace_event *e, const char *name,
     size_t name_len)
{
    /* What its thread holds has changed since its slice began. */
    if (l->slice.open && l->slice.p != e->p && e->type != RT_EV_HANDOFF &&
        e->type != RT_EV_RUN && e->type != RT_EV_STOP && e->type != RT_EV_END &&
        e->type != RT_EV_BLOCK)
        move_slice(w, l, e->p, e->ns, NULL);

    switch ((enum rt_event)e->type) {
    case RT_EV_SPAWN:
        put_instant(w, l, e, "spawn", name, name_len);
        put_wake_arrow(w, l, e);
        break;
    case RT_EV_RUN:
        begin_run(w, l, e, name, name_len);
        l->ran = true;
        break;
    case RT_EV_STOP:
    case RT_EV_END:
        end_run(w, l, e);
        l->ran = true;
        break;
    case RT_EV_WAKE:
        put_instant(w, l, e, "wake", NULL, 0);
        put_wake_arrow(w, l, e);
        break;
    case RT_EV_STEAL:
        put_instant(w, l, e, "steal", NULL, 0);
        break;
    case RT_EV_BLOCK:
        put_instant(w, l, e, "blocking call", NULL, 0);
        break;
    case RT_EV_UNBLOCK:
        put_instant(w, l, e, "blocking call ends", NULL, 0);
        break;
    case RT_EV_HANDOFF:
        put_instant(w, l, e, "hand-off", NULL, 0);
        lose_p(w, e);
        break;
    }
}

/* --- merging ------------------------------------------------------------------------------------------ */

/* A lane's next event, past the name that may stand before it. */
static const union trace_event *
next_event(const struct lane *l)
{
    const union trace_event *e = &l->t->v[l->at];

    return e->name_type == TRACE_NAME ? e + 1 : e;
}

static bool
earlier(const struct writer *w, uint32_t a, uint32_t b)
{
    return next_event(&w->lanes[a])->ns < next_event(&w->lanes[b])->ns;
}

static void
sift_down(struct writer *w, uint32_t i)
{
    uint32_t lane = w->heap[i];

    for (uint32_t child; (child = 2 * i + 1) < w->nheap; i = child) {
        if (child + 1 < w->nheap && earlier(w, w->heap[child + 1], w->heap[child]))
            child++;
        if (!earlier(w, w->heap[child], lane))
            break;
        w->heap[i] = w->heap[child];
    }
    w->heap[i] = lane;
}

static void
draw_next(struct writer *w)
{
    struct lane *l = &w->lanes[w->heap[0]];
    const union trace_event *first = &l->t->v[l->at], *e = next_event(l);
    const char *name = NULL;
    size_t len = 0;

    if (e != first) {
        name = first->name;
        len = strnlen(name, sizeof(first->name));
    } else if ((e->type == RT_EV_RUN || e->type == RT_EV_SPAWN) && e->arg != 0) {
        name = (const char *)e->arg; /* NOLINT(performance-no-int-to-ptr) */
        len = strlen(name);
    }
    draw(w, l, e, name, len);
    l->at += (size_t)(e - first) + 1;
    if (l->at == l->t->n)
        w->heap[0] = w->heap[--w->nheap];
    if (w->nheap > 0)
        sift_down(w, 0);
}

static void
merge(struct writer *w)
{
    for (uint32_t i = 0; i < w->nlanes; i++)
        w->heap[w->nheap++] = i;
    for (uint32_t i = w->nheap / 2; i-- > 0;)
        sift_down(w, i);
    while (w->nheap > 0 && w->o.err == 0)
        draw_next(w);
    for (uint32_t i = 0; i < w->nlanes; i++)
        close_slice(w, &w->lanes[i], w->stop, "end of trace");
}

/* --- the file ------------------------------------------------------------------------------------------ */

static void
put_names(struct writer *w)
{
    put_meta(w, PID_P, 0, "process_name", "processors", -1);
    for (unsigned p = 0; p < GO_MAXPROCS_MAX; p++) {
        if (w->p_used[p])
            put_meta(w, PID_P, p + 1, "thread_name", "P", p);
    }
    put_meta(w, PID_M, 0, "process_name", "threads without a processor", -1);
    for (uint32_t i = 0; i < w->nlanes; i++) {
        if (w->lanes[i].used)
            put_meta(w, PID_M, w->lanes[i].t->tid, "thread_name", "thread ",
                     w->lanes[i].t->tid);
    }
}

static size_t
add_lanes(struct writer *w, const struct trace_thread *threads, uint32_t generation)
{
    size_t dropped = 0;

    for (const struct trace_thread *t = threads; t != NULL; t = t->next) {
        if (t->generation != generation)
            continue;
        dropped += t->dropped;
        if (t->n > 0)
            w->lanes[w->nlanes++].t = t;
    }
    return dropped;
}

int
trace_write_json(int fd, const struct trace_thread *threads, uint32_t generation,
                 int64_t start_ns, int64_t stop_ns, size_t lost)
{
    size_t n = 0, bytes;
    struct writer *w;
    int r;

    for (const struct trace_thread *t = threads; t != NULL; t = t->next)
        n++;
    bytes = sizeof(*w) + n * (sizeof(struct lane) + sizeof(uint32_t));
    w = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (w == MAP_FAILED)
        return -ENOMEM;
    w->lanes = (struct lane *)(void *)(w + 1);
    w->heap = (uint32_t *)(void *)(w->lanes + n);
    w->start = start_ns;
    w->stop = stop_ns;
    for (unsigned p = 0; p < GO_MAXPROCS_MAX; p++) {
        w->owner[p] = NO_LANE;
        w->last_end[p] = start_ns;
    }
    lost += add_lanes(w, threads, generation);

    rt_out_init(&w->o, fd);
    rt_out_str(&w->o, "{\"displayTimeUnit\":\"ns\",\"traceEvents\":[");
    merge(w);
    put_names(w);
    put_begin(w, "M", PID_P, 0);
    rt_out_fmt(&w->o, ",\"name\":\"dropped_events\",\"args\":{\"count\":%zu}}", lost);
    rt_out_fmt(&w->o, "\n],\"otherData\":{\"dropped_events\":%zu}}\n", lost);
    r = rt_out_flush(&w->o);
    (void)munmap(w, bytes);
    return r;
}
