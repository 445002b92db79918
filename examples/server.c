#define _GNU_SOURCE
#include "examples/server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

/* An open connection; lives on the stack of its goroutine while linked. */
struct server_conn {
    struct server_conn *next, *prev;
    int fd;
};

static sigset_t
stop_signals(void)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    return set;
}

void
server_signals(void)
{
    const sigset_t set = stop_signals();

    (void)signal(SIGPIPE, SIG_IGN); /* sendfile() has no MSG_NOSIGNAL */
    (void)sigprocmask(SIG_BLOCK, &set, NULL);
}

const struct option server_options[] = {
    {"host", required_argument, NULL, 'H'},
    {"port", required_argument, NULL, 'p'},
    {"requests", required_argument, NULL, 'n'},
    {"help", no_argument, NULL, 'h'},
    {0},
};

bool
server_option(struct server *s, int opt, const char *arg)
{
    char *end;
    long n;

    if (opt == 'H') {
        s->host = arg;
        return true;
    }
    if (arg == NULL) /* --help, or none of them */
        return false;
    n = strtol(arg, &end, 10);
    if (end == arg || *end != '\0' || n < 0)
        return false;
    switch (opt) {
    case 'p':
        s->port = (uint16_t)n;
        return n <= UINT16_MAX;
    case 'n':
        s->requests = n;
        return true;
    default:
        return false;
    }
}

/* A signal is one more thing to read from a descriptor. */
static void
watch_signals(struct server *s)
{
    struct signalfd_siginfo info;

    (void)go_fd_read(s->signals, &info, sizeof(info), GO_NEVER);
    go_mutex_lock(&s->mu);
    s->stopping = true;
    /* Whoever waits for the next request reads the end; an answer under way is finished. */
    for (struct server_conn *c = s->all; c != NULL; c = c->next)
        (void)shutdown(c->fd, SHUT_RD);
    go_mutex_unlock(&s->mu);
    (void)shutdown(s->listener, SHUT_RDWR); /* wakes accept: EINVAL */
}

static void
connection(struct server *s, int fd)
{
    struct server_conn self = {.fd = fd};

    go_mutex_lock(&s->mu);
    self.next = s->all;
    if (s->all != NULL)
        s->all->prev = &self;
    s->all = &self; /* cppcheck-suppress autoVariables */
    if (s->stopping)
        (void)shutdown(fd, SHUT_RD);
    go_mutex_unlock(&s->mu);

    s->serve(s, fd);

    go_mutex_lock(&s->mu);
    if (self.prev != NULL)
        self.prev->next = self.next;
    else
        s->all = self.next;
    if (self.next != NULL)
        self.next->prev = self.prev;
    go_mutex_unlock(&s->mu);
    (void)go_fd_close(fd);
}

void
server_stop(struct server *s)
{
    (void)s;
    (void)kill(getpid(), SIGTERM); /* one way to stop is enough */
}

void
server_count(struct server *s)
{
    if (s->requests > 0 &&
        __atomic_add_fetch(&s->served, 1, __ATOMIC_RELAXED) == s->requests)
        server_stop(s);
}

/* Accept until the listener is shut down: 0 or -errno. */
static int
accept_loop(struct server *s)
{
    for (;;) {
        const int fd = go_fd_accept(s->listener, NULL, NULL, GO_NEVER);

        if (fd == -EINVAL) /* shut down */
            return 0;
        if (fd == -EMFILE || fd == -ENFILE || fd == -ENOBUFS || fd == -ENOMEM) {
            go_sleep(10 * GO_MILLISECOND); /* until some connection ends */
            continue;
        }
        if (fd < 0)
            return fd;
        if (go_wg_go(&s->conns, connection, s, fd) < 0)
            (void)go_fd_close(fd);
    }
}

static int
open_listener(struct server *s)
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_port = htons(s->port)};
    socklen_t len = sizeof(addr);
    char text[INET_ADDRSTRLEN];

    if (inet_pton(AF_INET, s->host == NULL ? "127.0.0.1" : s->host, &addr.sin_addr) != 1)
        return -EINVAL;
    s->listener = go_listen((struct sockaddr *)&addr, len, 4096);
    if (s->listener < 0)
        return s->listener;
    (void)getsockname(s->listener, (struct sockaddr *)&addr, &len);
    printf("listening on %s:%u\n", inet_ntop(AF_INET, &addr.sin_addr, text, sizeof(text)),
           ntohs(addr.sin_port));
    return fflush(stdout) == 0 ? 0 : -EIO;
}

int
server_run(struct server *s)
{
    const sigset_t set = stop_signals();
    struct go_wg watcher = GO_WG_INIT;
    int r = open_listener(s);

    if (r < 0)
        return r;
    s->signals = GO_ERRNO(signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC));
    if (s->signals < 0 || go_wg_go(&watcher, watch_signals, s) < 0) {
        r = s->signals < 0 ? s->signals : -ENOMEM;
        (void)close(s->signals);
        (void)go_fd_close(s->listener);
        return r;
    }
    r = accept_loop(s);
    if (r < 0)
        server_stop(s);
    go_wg_wait(&watcher);
    go_wg_wait(&s->conns);
    (void)go_fd_close(s->signals);
    (void)go_fd_close(s->listener);
    return r;
}
