#include "daemon/notify.h"

#include <stdarg.h>
#include <stdio.h>
#include <systemd/sd-daemon.h>
#include <time.h>

#include "runtime/sched/blocking.h"

static void
tell(const char *state)
{
    (void)GO_BLOCKING(sd_notify(0, state));
}

void
notify_ready(void)
{
    tell("READY=1");
}

void
notify_reloading(void)
{
    struct timespec t;
    char state[96];

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    (void)snprintf(state, sizeof(state), "RELOADING=1\nMONOTONIC_USEC=%lld",
                   (long long)t.tv_sec * 1000000 + t.tv_nsec / 1000);
    tell(state);
}

void
notify_stopping(void)
{
    tell("STOPPING=1");
}

void
notify_status(const char *fmt, ...)
{
    char state[256] = "STATUS=";
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(state + 7, sizeof(state) - 7, fmt, ap);
    va_end(ap);
    tell(state);
}

void
notify_alive(void)
{
    tell("WATCHDOG=1");
}

int64_t
notify_watchdog_every(void)
{
    uint64_t usec = 0;

    return sd_watchdog_enabled(0, &usec) > 0 ? (int64_t)usec * 1000 / 2 : 0;
}
