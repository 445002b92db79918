#define _GNU_SOURCE
#include "runtime/mem/guard.h"

#include <errno.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "runtime/base/atomic.h"
#include "runtime/sched/blocking.h"

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102 /* Linux 6.13; unknown to older headers */
#endif

static enum guard_method method;
static int64_t left;    /* atomic: guards that mprotect() may still make */
static int64_t reserve; /* of them, those kept for where one is wanted rather */

/* --- choosing ----------------------------------------------------------------------------------- */

static bool
madvise_works(void)
{
    void *page = mmap(NULL, GUARD_SIZE, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    bool works;

    if (page == MAP_FAILED)
        return false;
    works = madvise(page, GUARD_SIZE, MADV_GUARD_INSTALL) == 0;
    (void)munmap(page, GUARD_SIZE);
    return works;
}

/* Two mappings a guard, and an eighth of all for the program. */
static int64_t
mprotect_budget(void)
{
    FILE *f = fopen("/proc/sys/vm/max_map_count", "re");
    char line[32] = "";
    long long max;

    if (f != NULL) {
        if (fgets(line, sizeof(line), f) == NULL)
            line[0] = '\0';
        (void)fclose(f);
    }
    max = strtoll(line, NULL, 10);
    if (max <= 0)
        max = 65530;
    return (max - max / 8) / 2;
}

/* The value of name in $GODEBUG, a list like "a=1,b=2" that Go programs and ours may share;
 * its length in *n. NULL: not there. */
static const char *
debug_value(const char *name, size_t *n)
{
    const char *at = getenv("GODEBUG");
    size_t len = strlen(name);

    while (at != NULL) {
        if (strncmp(at, name, len) == 0 && at[len] == '=') {
            *n = strcspn(at + len + 1, ",");
            return at + len + 1;
        }
        at = strchr(at, ',');
        at += at != NULL;
    }
    return NULL;
}

static void
choose(void)
{
    static const char *const names[] = {[GUARD_NONE] = "none",
                                        [GUARD_MADVISE] = "madvise",
                                        [GUARD_MPROTECT] = "mprotect"};
    size_t n = 0;
    const char *wish = debug_value("guard", &n);
    bool can = madvise_works();

    method = can ? GUARD_MADVISE : GUARD_MPROTECT;
    if (wish == NULL)
        return;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strlen(names[i]) != n || strncmp(names[i], wish, n) != 0)
            continue;
        if (i != GUARD_MADVISE || can)
            method = (enum guard_method)i;
        else
            fprintf(stderr,
                    "goroutine: GODEBUG=guard=madvise ignored: this kernel has no "
                    "MADV_GUARD_INSTALL (Linux 6.13)\n");
        return;
    }
    fprintf(stderr,
            "goroutine: GODEBUG=guard=%.*s ignored: not madvise, mprotect or none\n",
            (int)n, wish);
}

void
guard_init(void)
{
    choose();
    STORE(&left, mprotect_budget(), RELAXED);
    reserve = left / 4;
}

enum guard_method
guard_method(void)
{
    return method;
}

/* --- installing --------------------------------------------------------------------------------- */

static void
say_short(void)
{
    static uint32_t said;

    if (SWAP(&said, 1, RELAXED) == 0)
        fprintf(
            stderr,
            "goroutine: mappings run short: further stacks have no guard page, and "
            "overflows of them are found late; raise vm.max_map_count (sysctl), or run "
            "on Linux 6.13 or later\n");
}

static int
by_mprotect(char *at, bool rather)
{
    int r;

    if (LOAD(&left, RELAXED) > (rather ? 0 : reserve)) {
        r = mprotect(at, GUARD_SIZE, PROT_NONE) < 0 ? -go_errno_() : 1;
        if (r > 0)
            (void)ADD(&left, -1, RELAXED);
        if (r != -ENOMEM)
            return r;
        STORE(&left, 0, RELAXED); /* others have taken more than their share */
    }
    say_short();
    return 0;
}

int
guard_install(char *at, bool rather)
{
    int r;

    if (method == GUARD_NONE)
        return 0;
    if (method == GUARD_MADVISE) {
        r = madvise(at, GUARD_SIZE, MADV_GUARD_INSTALL) < 0 ? -go_errno_() : 1;
        if (r != -EINVAL) /* locked memory (mlockall) cannot have such guards */
            return r;
    }
    return by_mprotect(at, rather);
}
