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

void
progress_draw(struct progress *p, const PbCounts *c)
{
    static const char full[] = "########################################";
    char line[400], text[256], eta[32] = "";
    uint64_t bad = c->failed + c->cancelled + c->dead;
    uint64_t done = c->succeeded + bad;
    uint64_t total = c->total > p->submitted ? c->total : p->submitted;
    int64_t now = goctl_now();
    double seconds = (double)(now - p->start_ns) / 1e9;
    double rate = seconds > 0 ? (double)done / seconds : 0;
    int width, bar, n;

    if (!p->on || now - p->drawn_ns < REDRAW_NS || now - p->start_ns < REDRAW_NS)
        return;
    p->drawn_ns = now;
    if (rate > 0 && total > done)
        eta_text((double)(total - done) / rate, eta, sizeof(eta));
    n = snprintf(text, sizeof(text),
                 " %" PRIu64 "/%" PRIu64 ", %" PRIu64 " failed, %" PRIu64
                 " running, %.0f/s%s%s",
                 done, total, bad, c->running, rate, eta[0] != '\0' ? ", ETA " : "", eta);
    width = columns() - n - 3;
    if (width > 40)
        width = 40;
    if (width < 5)
        width = 0;
    bar = total > 0 ? (int)((double)width * (double)done / (double)total) : 0;
    if (width > 0)
        (void)snprintf(line, sizeof(line), "[%.*s%*s]%s", bar, full, width - bar, "",
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

static void *
interrupt_thread(void *arg)
{
    sigset_t set;
    uint64_t batch;
    int sig;

    (void)arg;
    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGINT);
    (void)sigwait(&set, &sig);
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
