/*
 * http_fetch: fetch many URLs at once: libcurl's event interface on the netpoller.
 *
 * libcurl tells which of its sockets it wants watched. They are gathered in an epoll fd of
 * our own, and a goroutine waits for that one fd with go_fd_wait(): curl's timeout is the
 * deadline. Thousands of transfers need one goroutine and no thread; each result goes down a
 * channel as soon as it is there.
 */
#include <curl/curl.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "runtime/go.h"

struct transfer {
    const char *url;
    CURL *easy;
    long long bytes; /* of the body */
    long status;     /* HTTP's */
    CURLcode error;
};

/* Belongs to the goroutine that drives it: no lock. */
struct loop {
    CURLM *multi;
    int epoll_fd;
    int64_t deadline;     /* when curl wants to be called even if no socket is ready */
    struct go_chan *done; /* struct transfer *: the finished ones */
};

/* --- what curl calls: none of these waits ----------------------------------------------------------- */

static int
on_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *known)
{
    struct loop *l = arg;
    struct epoll_event ev = {.data = {.fd = fd}};

    (void)easy;
    if (what == CURL_POLL_REMOVE) {
        (void)epoll_ctl(l->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
        return 0;
    }
    if (what & CURL_POLL_IN)
        ev.events |= EPOLLIN;
    if (what & CURL_POLL_OUT)
        ev.events |= EPOLLOUT;
    if (epoll_ctl(l->epoll_fd, known != NULL ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &ev) <
        0)
        return -1;
    curl_multi_assign(l->multi, fd, l); /* comes back as known */
    return 0;
}

static int
on_timeout(CURLM *multi, long ms, void *arg)
{
    struct loop *l = arg;

    (void)multi;
    l->deadline = ms < 0 ? GO_NEVER : go_deadline(ms * GO_MILLISECOND);
    return 0;
}

static size_t
on_body(char *data, size_t size, size_t n, void *arg)
{
    struct transfer *t = arg;

    (void)data;
    t->bytes += (long long)(size * n);
    return size * n;
}

/* --- the loop --------------------------------------------------------------------------------------- */

/* PARKS: hand over what has finished. */
static void
send_done(struct loop *l)
{
    CURLMsg *msg;
    int left;

    while ((msg = curl_multi_info_read(l->multi, &left)) != NULL) {
        struct transfer *t = NULL;

        if (msg->msg != CURLMSG_DONE)
            continue;
        curl_easy_getinfo(msg->easy_handle, CURLINFO_PRIVATE, &t);
        t->error = msg->data.result;
        curl_easy_getinfo(msg->easy_handle, CURLINFO_RESPONSE_CODE, &t->status);
        curl_multi_remove_handle(l->multi, t->easy);
        go_send(l->done, t);
    }
}

/* Tell curl about the sockets that are ready now: how many. */
static int
act_on_sockets(struct loop *l, int *running)
{
    struct epoll_event ev[64];
    const int n = epoll_wait(l->epoll_fd, ev, 64, 0);

    for (int i = 0; i < n; i++) {
        const int what = (ev[i].events & EPOLLIN ? CURL_CSELECT_IN : 0) |
                         (ev[i].events & EPOLLOUT ? CURL_CSELECT_OUT : 0) |
                         (ev[i].events & (EPOLLERR | EPOLLHUP) ? CURL_CSELECT_ERR : 0);

        curl_multi_socket_action(l->multi, ev[i].data.fd, what, running);
    }
    return n;
}

static void
drive(struct loop *l)
{
    int running = 1;

    while (running > 0) {
        if (act_on_sockets(l, &running) <= 0) {
            const bool due = l->deadline <= go_now();

            if (due || go_fd_wait(l->epoll_fd, GO_FD_READ, l->deadline) < 0) {
                l->deadline = GO_NEVER;
                curl_multi_socket_action(l->multi, CURL_SOCKET_TIMEOUT, 0, &running);
            }
        }
        send_done(l);
    }
    go_chan_close(l->done);
}

/* --- the program --------------------------------------------------------------------------------------- */

static bool
transfer_start(struct transfer *t, const char *url, CURLM *multi, long timeout_s)
{
    t->url = url;
    t->easy = curl_easy_init();
    return t->easy != NULL && curl_easy_setopt(t->easy, CURLOPT_URL, url) == CURLE_OK &&
           curl_easy_setopt(t->easy, CURLOPT_PRIVATE, t) == CURLE_OK &&
           curl_easy_setopt(t->easy, CURLOPT_WRITEFUNCTION, on_body) == CURLE_OK &&
           curl_easy_setopt(t->easy, CURLOPT_WRITEDATA, t) == CURLE_OK &&
           curl_easy_setopt(t->easy, CURLOPT_PROTOCOLS_STR, "http,https") == CURLE_OK &&
           curl_easy_setopt(t->easy, CURLOPT_NOSIGNAL, 1L) == CURLE_OK &&
           curl_easy_setopt(t->easy, CURLOPT_TIMEOUT, timeout_s) == CURLE_OK &&
           curl_multi_add_handle(multi, t->easy) == CURLM_OK;
}

static int
fetch_all(char **urls, int n, long parallel, long timeout_s)
{
    struct loop l = {.multi = curl_multi_init(),
                     .epoll_fd = epoll_create1(EPOLL_CLOEXEC),
                     .deadline = GO_NEVER,
                     .done = go_chan_new(sizeof(struct transfer *), 0)};
    struct transfer *all = calloc((size_t)n, sizeof(*all));
    struct transfer *t;
    bool started = true;
    int failed = 0;

    if (l.multi == NULL || l.epoll_fd < 0 || l.done == NULL || all == NULL) {
        free(all);
        return 1;
    }
    curl_multi_setopt(l.multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    curl_multi_setopt(l.multi, CURLMOPT_SOCKETDATA, &l);
    curl_multi_setopt(l.multi, CURLMOPT_TIMERFUNCTION, on_timeout);
    curl_multi_setopt(l.multi, CURLMOPT_TIMERDATA, &l);
    curl_multi_setopt(l.multi, CURLMOPT_MAX_TOTAL_CONNECTIONS, parallel);
    for (int i = 0; started && i < n; i++)
        started = transfer_start(&all[i], urls[i], l.multi, timeout_s);
    if (!started || go(drive, &l) < 0) {
        free(all);
        return 1;
    }

    while (go_chan_recv(l.done, &t)) {
        if (t->error == CURLE_OK)
            printf("%ld %8lld bytes  %s\n", t->status, t->bytes, t->url);
        else
            printf("failed: %s  %s\n", curl_easy_strerror(t->error), t->url);
        failed += t->error != CURLE_OK || t->status >= 400;
        curl_easy_cleanup(t->easy);
    }
    curl_multi_cleanup(l.multi);
    (void)go_fd_close(l.epoll_fd);
    go_chan_unref(l.done);
    free(all);
    printf("%d of %d fetched\n", n - failed, n);
    return failed > 0;
}

static int
usage(FILE *to, int status)
{
    fprintf(to,
            "usage: http_fetch [--parallel N] [--timeout SECONDS] URL...\n\n"
            "Fetch all URLs at once and tell the status and size of each.\n\n"
            "  --parallel N       at most N connections (default 64)\n"
            "  --timeout SECONDS  give up on a transfer after this long (default 30)\n");
    return status;
}

static int
main_(int argc, char **argv)
{
    static const struct option options[] = {{"parallel", required_argument, NULL, 'p'},
                                            {"timeout", required_argument, NULL, 't'},
                                            {"help", no_argument, NULL, 'h'},
                                            {0}};
    long parallel = 64, timeout_s = 30;
    int opt;

    while ((opt = getopt_long(argc, argv, "p:t:h", options, NULL)) != -1) {
        if (opt == 'p')
            parallel = strtol(optarg, NULL, 10);
        else if (opt == 't')
            timeout_s = strtol(optarg, NULL, 10);
        else
            return opt == 'h' ? usage(stdout, 0) : usage(stderr, 2);
    }
    if (optind == argc || parallel < 1 || timeout_s < 1)
        return usage(stderr, 2);
    return fetch_all(argv + optind, argc - optind, parallel, timeout_s);
}

int
main(int argc, char **argv)
{
    int r;

    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        return 1;
    r = go_main(main_, argc, argv);
    curl_global_cleanup();
    return r;
}
