/*
 * Parts of a test program that run in a process of their own: misuse that ends the process,
 * and schedules replayed seed by seed. The program executes itself anew, since a fork alone
 * would copy a runtime without its threads.
 *
 *     static int
 *     unlock_unlocked(int argc, char **argv)       // under go_main, in the child
 *     {
 *         struct go_mutex mu = GO_MUTEX_INIT;
 *         go_mutex_unlock(&mu);
 *         return 0;
 *     }
 *     static const struct child_case children[] = {{"unlock_unlocked", unlock_unlocked}};
 *
 *     static void
 *     unlock_of_unlocked_mutex_is_fatal(void **state)
 *     {
 *         child_expect("unlock_unlocked", 2, "fatal error: sync: unlock of unlocked mutex");
 *     }
 *     static void
 *     nothing_is_lost_under_any_seed(void **state)
 *     {
 *         child_seeds("transfer", 500);
 *     }
 *     int
 *     main(int argc, char **argv)
 *     {
 *         CHILD_MAIN(argc, argv, children);
 *         …
 *         return cmocka_run_group_tests_name(…);
 *     }
 *
 * Define _GNU_SOURCE before the first include. A child also fails (status 1) by a failed
 * CHECK. By hand: GOSEED=7 ./test_x --child NAME.
 */
#ifndef GOJOBD_TESTS_SUPPORT_CHILD_H
#define GOJOBD_TESTS_SUPPORT_CHILD_H

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "runtime/base/san.h"
#include "tests/support/gotest.h"

#define CHILD_TIMEOUT_S 120
#define CHILD_ENV_MAX   8

#if GO_TSAN
/* ThreadSanitizer otherwise sleeps for a second at each exit, for late reports. */
const char *__tsan_default_options(void);
const char *
__tsan_default_options(void)
{
    return "atexit_sleep_ms=0";
}
#endif

struct child_case {
    const char *name;
    int (*fn)(int argc, char **argv);
    bool plain; /* call fn on the main thread, not under go_main */
};

struct child_result {
    int status; /* exit status, or 128 + the signal that ended it */
    size_t len;
    char err[32768]; /* the start of its stderr, terminated */
};

static inline int
child_dispatch(int argc, char **argv, const struct child_case *cases, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        int rc;

        if (strcmp(cases[i].name, argv[2]) != 0)
            continue;
        rc = cases[i].plain ? cases[i].fn(argc - 2, argv + 2)
                            : go_main(cases[i].fn, argc - 2, argv + 2);
        return rc == 0 && __atomic_load_n(&gotest_failures, __ATOMIC_RELAXED) > 0 ? 1
                                                                                  : rc;
    }
    fprintf(stderr, "no child case \"%s\"\n", argv[2]);
    return 99;
}

/* First in main(): runs the asked-for case and returns its status, in a child. */
#define CHILD_MAIN(argc, argv, cases)                                                    \
    do {                                                                                 \
        if ((argc) >= 3 && strcmp((argv)[1], "--child") == 0)                            \
            return child_dispatch((argc), (argv), (cases),                               \
                                  sizeof(cases) / sizeof((cases)[0]));                   \
    } while (0)

/* This process' environment with env's "NAME=value" entries put in place of its own. */
static inline char **
child_environ(char *const env[])
{
    size_t n = 0, k = 0;
    char **out;

    while (environ[n] != NULL)
        n++;
    out = (char **)calloc(n + CHILD_ENV_MAX + 1, sizeof(*out));
    assert_non_null(out);
    for (size_t i = 0; env != NULL && env[i] != NULL; i++) {
        assert_true(i < CHILD_ENV_MAX);
        out[k++] = env[i];
    }
    for (size_t i = 0; i < n; i++) {
        bool replaced = false;

        for (size_t j = 0; env != NULL && env[j] != NULL; j++) {
            size_t name = (size_t)(strchr(env[j], '=') - env[j]) + 1;

            replaced = replaced || strncmp(environ[i], env[j], name) == 0;
        }
        if (!replaced)
            out[k++] = environ[i];
    }
    return out;
}

/* All of the child's stderr, until it closed it or the time is up (then it is killed). */
static inline void
child_drain(int fd, pid_t pid, struct child_result *ret)
{
    time_t end = time(NULL) + CHILD_TIMEOUT_S;
    char rest[4096];

    for (;;) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        size_t room = sizeof(ret->err) - 1 - ret->len;
        ssize_t n;

        if (poll(&p, 1, 1000) == 0) {
            if (time(NULL) > end)
                (void)kill(pid, SIGKILL);
            continue;
        }
        n = read(fd, room > 0 ? ret->err + ret->len : rest,
                 room > 0 ? room : sizeof(rest));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return;
        if (room > 0)
            ret->len += (size_t)n;
    }
}

/* Run case name in a child with env (NULL-terminated "NAME=value"s, or NULL) added. */
static inline void
child_run(const char *name, char *const env[], struct child_result *ret)
{
    char exe[] = "/proc/self/exe", flag[] = "--child", case_name[128];
    char *argv[] = {exe, flag, case_name, NULL};
    char **envp = child_environ(env);
    posix_spawn_file_actions_t fa;
    posix_spawnattr_t attr;
    sigset_t quit;
    int pipe_fd[2], status = 0;
    pid_t pid;

    memset(ret, 0, sizeof(*ret));
    (void)snprintf(case_name, sizeof(case_name), "%s", name);
    assert_int_equal(pipe2(pipe_fd, O_CLOEXEC), 0);
    assert_int_equal(posix_spawn_file_actions_init(&fa), 0);
    assert_int_equal(posix_spawn_file_actions_adddup2(&fa, pipe_fd[1], 2), 0);
    assert_int_equal(posix_spawn_file_actions_addopen(&fa, 1, "/dev/null", O_WRONLY, 0),
                     0);
    /* A shell starts what goes to the background with SIGQUIT ignored. */
    (void)sigemptyset(&quit);
    (void)sigaddset(&quit, SIGQUIT);
    assert_int_equal(posix_spawnattr_init(&attr), 0);
    assert_int_equal(posix_spawnattr_setsigdefault(&attr, &quit), 0);
    assert_int_equal(posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGDEF), 0);
    assert_int_equal(posix_spawn(&pid, exe, &fa, &attr, argv, envp), 0);
    (void)posix_spawnattr_destroy(&attr);
    (void)posix_spawn_file_actions_destroy(&fa);
    (void)close(pipe_fd[1]);
    child_drain(pipe_fd[0], pid, ret);
    (void)close(pipe_fd[0]);
    while (waitpid(pid, &status, 0) < 0)
        assert_int_equal(errno, EINTR);
    ret->status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    ret->err[ret->len] = '\0';
    free((void *)envp);
}

/* Case name ends with status, having said text on stderr (NULL: anything). */
static inline void
child_expect(const char *name, int status, const char *text)
{
    static struct child_result r;

    child_run(name, NULL, &r);
    if (r.status != status || (text != NULL && strstr(r.err, text) == NULL)) {
        fprintf(stderr, "child %s: status %d, want %d and \"%s\"; it said:\n%s\n", name,
                r.status, status, text != NULL ? text : "", r.err);
        fail();
    }
}

/* Case name succeeds under seeds 1 to n ($GOTEST_SEEDS overrides n, for long runs). */
static inline void
child_seeds(const char *name, int n)
{
    static struct child_result r;
    const char *more = getenv("GOTEST_SEEDS");

    if (GO_TSAN || GO_ASAN) /* slow to start, and one thread shows them little */
        n = 1 + n / 10;
    if (more != NULL && strtol(more, NULL, 10) > 0)
        n = (int)strtol(more, NULL, 10);
    for (int seed = 1; seed <= n; seed++) {
        char var[32];
        char *env[] = {var, NULL};

        (void)snprintf(var, sizeof(var), "GOSEED=%d", seed);
        child_run(name, env, &r);
        if (r.status != 0) {
            fprintf(stderr, "%s failed with status %d; again: %s ... --child %s\n%s\n",
                    name, r.status, var, name, r.err);
            fail();
        }
    }
}

#endif
