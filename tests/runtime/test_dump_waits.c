/* Dumps of waiting goroutines: whatever one waits in, its frames begin with the function that
 * the program called, and the bracket says what it waits for. */
#define _GNU_SOURCE
#include <errno.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/support/await.h"

static struct {
    struct go_chan *c;
    struct go_ctx *ctx;
    struct go_mutex locked;
    struct go_rwmutex read, written;
    struct go_wg one, all;
    struct go_sem none;
    struct go_cond cond;
    int fd[2];
    int64_t late;
} x;

/* A goroutine that waits in its statement: nothing is a tail call. */
#define WAITS(name, ...)                                                                 \
    __attribute__((noinline)) static void name(void)                                     \
    {                                                                                    \
        __VA_ARGS__;                                                                     \
        __asm__ volatile("");                                                            \
    }

WAITS(sends, go_chan_send(x.c, NULL))
WAITS(selects, struct go_case k[] = {GO_CASE_SEND(x.c, NULL), GO_CASE_RECV(NULL, NULL)};
      CHECK(go_select(k, 2) == 0))
WAITS(selects_until, struct go_case k[] = {GO_CASE_SEND(x.c, NULL)};
      CHECK(go_select_until(k, 1, x.late) == 0))
WAITS(locks, go_mutex_lock(&x.locked); go_mutex_unlock(&x.locked))
WAITS(writes, go_rwmutex_lock(&x.read); go_rwmutex_unlock(&x.read))
WAITS(reads, go_rwmutex_rlock(&x.written); go_rwmutex_runlock(&x.written))
WAITS(waits, go_wg_wait(&x.one))
WAITS(acquires, go_sem_acquire(&x.none, 1))
WAITS(acquires_until, CHECK_INT(go_sem_acquire_until(&x.none, 1, x.late), 0))
WAITS(acquires_ctx, CHECK_INT(go_sem_acquire_ctx(&x.none, 1, x.ctx), -ECANCELED))
WAITS(waits_cond, struct go_mutex mu = GO_MUTEX_INIT; go_mutex_lock(&mu);
      go_cond_init(&x.cond, &mu); go_cond_wait(&x.cond))
WAITS(sleeps, CHECK_INT(go_ctx_sleep(x.ctx, 1000 * GO_SECOND), -ECANCELED))
WAITS(reads_fd, char b; CHECK_INT(go_fd_read(x.fd[0], &b, 1, GO_NEVER), 0))
WAITS(waits_fd, CHECK_INT(go_fd_wait_ctx(x.fd[1], GO_FD_READ, x.ctx), -ECANCELED))

static const struct {
    void (*fn)(void);
    const char *name, *reason;
} waits_of[] = {
    {sends, "sends", "chan send"},
    {selects, "selects", "select"},
    {selects_until, "selects_until", "select"},
    {locks, "locks", "mutex lock"},
    {writes, "writes", "rwmutex lock"},
    {reads, "reads", "rwmutex rlock"},
    {waits, "waits", "wait group"},
    {acquires, "acquires", "sem acquire"},
    {acquires_until, "acquires_until", "sem acquire"},
    {acquires_ctx, "acquires_ctx", "sem acquire"},
    {waits_cond, "waits_cond", "cond wait"},
    {sleeps, "sleeps", "sleep"},
    {reads_fd, "reads_fd", "IO wait (read)"},
    {waits_fd, "waits_fd", "IO wait (read)"},
};

#define N (sizeof(waits_of) / sizeof(waits_of[0]))

/* What go_dump_one() writes; lasts until the next call. */
static const char *
dump_of(int64_t id)
{
    static char text[16384];
    int fd = memfd_create("dump", MFD_CLOEXEC);
    ssize_t n;

    REQUIRE(fd >= 0);
    CHECK_INT(go_dump_one(fd, id), 0);
    n = pread(fd, text, sizeof(text) - 1, 0);
    REQUIRE(n > 0);
    text[n] = '\0';
    (void)close(fd);
    return text;
}

/* Public functions may call each other: behind them comes the program's. */
static void
check_dump(int64_t id, const char *name, const char *reason)
{
    const char *text, *frame;
    char want[64];

    /* It counts as waiting a moment before it has left its processor. */
    AWAIT(strstr(dump_of(id), "backtrace unavailable") == NULL);
    text = dump_of(id);
    frame = strchr(text, '\n') + 1;
    (void)snprintf(want, sizeof(want), "goroutine %lld [%s", (long long)id, reason);
    CHECK(strncmp(text, want, strlen(want)) == 0);
    while (strncmp(frame, "go_", 3) == 0)
        frame = strchr(strchr(frame, '\n') + 1, '\n') + 1; /* and its address */
    (void)snprintf(want, sizeof(want), "%s(+0x", name);
    CHECK(strncmp(frame, want, strlen(want)) == 0);
    if (gotest_failures != 0)
        fprintf(stderr, "%s:\n%s", name, text);
}

static void
set_up(void)
{
    x.c = go_chan_new(0, 0);
    x.ctx = go_ctx_with_cancel(NULL);
    x.late = go_now() + 1000 * GO_SECOND;
    go_sem_init(&x.none, 0);
    go_wg_add(&x.one, 1);
    go_mutex_lock(&x.locked);
    go_rwmutex_rlock(&x.read);
    go_rwmutex_lock(&x.written);
    REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, x.fd) ==
            0);
}

static void
let_go(void)
{
    for (int i = 0; i < 3; i++)
        CHECK(go_chan_recv(x.c, NULL));
    go_ctx_cancel(x.ctx);
    go_mutex_unlock(&x.locked);
    go_rwmutex_runlock(&x.read);
    go_rwmutex_unlock(&x.written);
    go_wg_done(&x.one);
    go_sem_release(&x.none, 2);
    go_cond_signal(&x.cond);
    CHECK_INT(shutdown(x.fd[1], SHUT_WR), 0);
}

GO_TEST(frames_of_a_wait_begin_with_what_the_program_called)
{
    int64_t id[N];

    set_up();
    for (size_t i = 0; i < N; i++) {
        id[i] = go_wg_go(&x.all, waits_of[i].fn);
        REQUIRE(id[i] > 0);
    }
    for (size_t i = 0; i < N; i++) {
        AWAIT(await_parked(id[i], waits_of[i].reason));
        check_dump(id[i], waits_of[i].name, waits_of[i].reason);
    }
    let_go();
    go_wg_wait(&x.all);
    CHECK_INT(go_fd_close(x.fd[0]), 0);
    CHECK_INT(go_fd_close(x.fd[1]), 0);
    go_ctx_unref(x.ctx);
    go_chan_unref(x.c);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_of_a_wait_begin_with_what_the_program_called),
    };

    return cmocka_run_group_tests_name("dump_waits", tests, NULL, NULL);
}
