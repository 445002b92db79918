#include "client/progress.h"

#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "client/conn.h"
#include "client/out.h"

#define REDRAW_NS (GOCTL_SECOND / 10)
#define RATE_NS   (3 * GOCTL_SECOND) /* the rate is that of the last three to six seconds */

enum { BAR_MIN = 8, BAR_MAX = 40 };

static _Atomic uint64_t
    waited_for; /* batch; 0: none. Relaxed: only its own value counts */

void
progress_init(struct progress *p, bool on)
{
    *p = (struct progress){.on = on && out_error_terminal(), .start_ns = goctl_now()};
}

static int
columns(void)
{
    struct winsize ws;

    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &ws) < 0 || ws.ws_col < 20)
        return 80;
    return ws.ws_col > 160 ? 160 : ws.ws_col;
}

static void
eta_text(double seconds, char *out, size_t size)
{
    if (seconds < 100)
        (void)snprintf(out, size, "%.0fs", seconds);
    else if (seconds < 6000)
        (void)snprintf(out, size, "%.0fm", seconds / 60);
    else
        (void)snprintf(out, size, "%.0fh", seconds / 3600);
}

/* Jobs a second over the last few. */
static double
rate_of(struct progress *p, uint64_t done, int64_t now)
{
    double seconds;

    if (now - p->then[1].at_ns > RATE_NS) {
        p->then[0] = p->then[1];
        p->then[1].at_ns = now;
        p->then[1].done = done;
    }
    seconds = (double)(now - p->then[0].at_ns) / 1e9;
    return seconds > 0 && done > p->then[0].done
               ? (double)(done - p->then[0].done) / seconds
               : 0;
}

/* What stands beside the bar, as far as it fits: in the order shown, and what is left out
 * first when it is narrow. */
enum { DONE, FAILED, ACTIVE, RATE, ETA, PARTS };
static const int dispensable[] = {ACTIVE, RATE, ETA, FAILED};

static int
join(char parts[PARTS][48], int columns, char *out, size_t size)
{
    int n = 0, total = 0;

    for (int i = 0; i < PARTS; i++)
        total += (int)strlen(parts[i]);
    for (size_t i = 0; i < sizeof(dispensable) / sizeof(dispensable[0]); i++) {
        if (total <= columns)
            break;
        total -= (int)strlen(parts[dispensable[i]]);
        parts[dispensable[i]][0] = '\0';
    }
    for (int i = 0; i < PARTS; i++)
        n += snprintf(out + n, size - (size_t)n, "%s", parts[i]);
    return n;
}

static void
make_parts(struct progress *p, const PbCounts *c, uint64_t done, uint64_t total,
           char parts[PARTS][48])
{
    uint64_t bad = c->failed + c->cancelled + c->dead;
    double rate = rate_of(p, done, goctl_now());
    char eta[16];

    (void)snprintf(parts[DONE], 48, " %" PRIu64 "/%" PRIu64, done, total);
    (void)snprintf(parts[FAILED], 48, ", %" PRIu64 " failed", bad);
    (void)snprintf(parts[ACTIVE], 48, ", %" PRIu64 " running", c->running);
    (void)snprintf(parts[RATE], 48, rate < 10 ? ", %.1f/s" : ", %.0f/s", rate);
    parts[ETA][0] = '\0';
    if (rate > 0 && total > done) {
        eta_text((double)(total - done) / rate, eta, sizeof(eta));
        (void)snprintf(parts[ETA], 48, ", ETA %s", eta);
    }
}

void
progress_draw(struct progress *p, const PbCounts *c)
{
    static const char full[] = "########################################";
    static const char empty[] = "........................................";
    uint64_t done = c->succeeded + c->failed + c->cancelled + c->dead;
    uint64_t total = c->total > p->submitted ? c->total : p->submitted;
    char line[400], text[256], parts[PARTS][48];
    int64_t now = goctl_now();
    int width, bar, n;

    if (!p->counted) { /* what was done before is no speed of now */
        p->then[0].at_ns = p->then[1].at_ns = p->start_ns;
        p->then[0].done = p->then[1].done = done;
        p->counted = true;
    }
    if (!p->on || now - p->drawn_ns < REDRAW_NS || now - p->start_ns < REDRAW_NS)
        return;
    p->drawn_ns = now;
    make_parts(p, c, done, total, parts);
    n = join(parts, columns() - BAR_MIN - 3, text, sizeof(text));
    width = columns() - n - 3;
    if (width > BAR_MAX)
        width = BAR_MAX;
    if (width < BAR_MIN)
        width = 0;
    bar = total > 0 ? (int)((double)width * (double)done / (double)total) : 0;
    if (width > 0)
        (void)snprintf(line, sizeof(line), "[%.*s%.*s]%s", bar, full, width - bar, empty,
                       text);
    else
        (void)snprintf(line, sizeof(line), "%.*s", columns() - 1, text);
    out_progress(line);
}

void
progress_clear(struct progress *p)
{
    if (p->on)
        out_progress("");
}

/* In the low byte what to write, above it the file descriptor + 1; IGNORE; 0: end the
 * process. Release and acquire: the file is there when its number is. */
static _Atomic int64_t told;
enum { IGNORE = 1 };

void
interrupt_hold(void)
{
    atomic_store_explicit(&told, IGNORE, memory_order_release);
}

void
interrupt_to(int fd, char byte)
{
    atomic_store_explicit(&told, ((int64_t)fd + 1) << 8 | (unsigned char)byte,
                          memory_order_release);
}

static void *
interrupt_thread(void *arg)
{
    sigset_t set;
    uint64_t batch;
    int sig;

    (void)arg;
    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGINT);
    for (;;) {
        int64_t to;
        char byte;

        (void)sigwait(&set, &sig);
        to = atomic_load_explicit(&told, memory_order_acquire);
        if (to == 0)
            break;
        byte = (char)(to & 0xff);
        if (to != IGNORE)
            (void)!write((int)(to >> 8) - 1, &byte, 1);
    }
    out_progress("");
    batch = atomic_load_explicit(&waited_for, memory_order_relaxed);
    if (batch != 0)
        out_note("batch %" PRIu64 " goes on without you: goctl wait %" PRIu64
                 " waits for it, goctl cancel --batch %" PRIu64 " stops it",
                 batch, batch, batch);
    out_flush();
    _exit(EXIT_INTERRUPTED);
}

void
interrupt_init(void)
{
    struct sigaction old;
    pthread_t thread;
    sigset_t set;

    if (sigaction(SIGINT, NULL, &old) == 0 && old.sa_handler == SIG_IGN)
        return; /* started in the background */
    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGINT);
    (void)pthread_sigmask(SIG_BLOCK, &set, NULL);
    if (pthread_create(&thread, NULL, interrupt_thread, NULL) == 0)
        (void)pthread_detach(thread);
    else
        (void)pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}

void
interrupt_batch(uint64_t batch)
{
    atomic_store_explicit(&waited_for, batch, memory_order_relaxed);
}
