#define _GNU_SOURCE
#include "jobs/fetch_engine.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "config/config.h"
#include "runtime/base/atomic.h"
#include "runtime/base/check.h"
#include "runtime/go.h"

enum {
    EVENTS = 128,          /* taken from epoll at once */
    POOL_MAX = 1024,       /* transfers kept for later */
    ALLOWED = 64,          /* addresses remembered; a power of two */
    DRIVER_STACK = 1 << 20 /* TLS handshakes run on it */
};

/* What the driver knows of a descriptor of libcurl's. */
struct slot {
    uint32_t want;       /* epoll events libcurl waits for; 0: none */
    uint32_t registered; /* what epoll was told; 0: the descriptor is not in it */
    bool ours;           /* opened by our callback: its close is seen, too */
};

struct allowed {
    uint64_t env_id;
    char ip[64];
};

struct fetch_engine {
    int refs; /* atomic */

    /* Constant after the first fetch_take(). */
    CURLM *multi;
    int epoll_fd;
    int wake_fd; /* in epoll: something was queued while the driver slept */
    struct go_wg driver;

    struct fetch_node *queue;   /* atomic: a stack, newest first */
    int sleeping;               /* atomic: the driver waits or is about to */
    int stopping;               /* atomic */
    long connections, per_host; /* atomic: wanted limits */

    struct go_mutex pool_mu;
    struct fetch *pool; /* guarded by pool_mu */
    size_t pooled;
    bool started; /* guarded by pool_mu: the driver runs */

    /* The driver's. */
    struct slot *slots; /* by descriptor */
    size_t n_slots;
    int64_t timer; /* when libcurl wants to be called */
    long applied_connections, applied_per_host;
    struct allowed allowed[ALLOWED];
};

static pthread_once_t curl_once = PTHREAD_ONCE_INIT;

static void
curl_init(void)
{
    ENSURE(curl_global_init(CURL_GLOBAL_ALL) == CURLE_OK);
}

/* --- sockets --- */

static struct slot *
slot_of(struct fetch_engine *e, int fd)
{
    if ((size_t)fd >= e->n_slots) {
        size_t n = ((size_t)fd + 1) * 2;
        struct slot *more = realloc(e->slots, n * sizeof(*more));

        if (more == NULL)
            return NULL;
        memset(more + e->n_slots, 0, (n - e->n_slots) * sizeof(*more));
        e->slots = more;
        e->n_slots = n;
    }
    return &e->slots[fd];
}

static void
slot_register(struct fetch_engine *e, int fd, struct slot *s, uint32_t events)
{
    struct epoll_event ev = {.events = events, .data.fd = fd};
    int op = EPOLL_CTL_MOD;

    if (s->registered == 0)
        op = EPOLL_CTL_ADD;
    else if (events == 0)
        op = EPOLL_CTL_DEL;
    /* Without the descriptor in epoll the transfer would wait for its timeout: it does when
     * the kernel has no memory, and its error is then that timeout. */
    (void)epoll_ctl(e->epoll_fd, op, fd, &ev);
    s->registered = events;
}

static int
on_socket(CURL *easy, curl_socket_t fd, int what, void *engine, void *unused)
{
    struct fetch_engine *e = engine;
    struct slot *s = slot_of(e, fd);

    (void)easy;
    (void)unused;
    if (s == NULL)
        return -1;
    s->want = (what & CURL_POLL_IN ? (uint32_t)EPOLLIN : 0) |
              (what & CURL_POLL_OUT ? (uint32_t)EPOLLOUT : 0);
    if (what == CURL_POLL_REMOVE) {
        /* One of ours stays, to be found ready for the next request; unless it is writable
         * all the time. Others may be closed unseen. */
        s->want = 0;
        if (s->registered != 0 && (!s->ours || s->registered != EPOLLIN))
            slot_register(e, fd, s, 0);
    } else if (s->registered != s->want) {
        slot_register(e, fd, s, s->want);
    }
    return 0;
}

static int
on_timer(CURLM *multi, long ms, void *engine)
{
    struct fetch_engine *e = engine;

    (void)multi;
    e->timer = ms < 0 ? GO_NEVER : go_deadline(ms * GO_MILLISECOND);
    return 0;
}

int
fetch_socket_opened(struct fetch_engine *e, int fd)
{
    struct slot *s = slot_of(e, fd);

    if (s == NULL)
        return -ENOMEM;
    *s = (struct slot){.ours = true};
    return 0;
}

int
fetch_socket_close(void *engine, curl_socket_t fd)
{
    struct fetch_engine *e = engine;

    /* Closing takes it out of epoll. */
    if ((size_t)fd < e->n_slots)
        e->slots[fd] = (struct slot){0};
    return close(fd);
}

/* --- addresses that passed --- */

static size_t
allowed_slot(uint64_t env_id, const char *ip)
{
    uint64_t h = env_id * UINT64_C(0x9e3779b97f4a7c15);

    while (*ip != '\0')
        h = (h ^ (unsigned char)*ip++) * UINT64_C(0x100000001b3);
    return (h >> 32) % ALLOWED;
}

bool
fetch_allowed(const struct fetch_engine *e, uint64_t env_id, const char *ip)
{
    const struct allowed *a = &e->allowed[allowed_slot(env_id, ip)];

    return a->env_id == env_id && strcmp(a->ip, ip) == 0;
}

void
fetch_allow(struct fetch_engine *e, uint64_t env_id, const char *ip)
{
    struct allowed *a = &e->allowed[allowed_slot(env_id, ip)];

    if (strlen(ip) < sizeof(a->ip)) {
        a->env_id = env_id;
        memcpy(a->ip, ip, strlen(ip) + 1);
    }
}

/* --- the driver --- */

static void
complete(struct fetch *f, CURLcode code)
{
    f->active = false;
    f->code = code;
    (void)curl_multi_remove_handle(f->engine->multi, f->easy);
    go_sem_release(&f->done, 1); /* f is the job's again */
}

static void
take_node(struct fetch_engine *e, struct fetch_node *n)
{
    struct fetch *f = n->f;
    CURLMcode mc;

    if (n == &f->cancel) {
        if (f->active)
            complete(f, CURLE_ABORTED_BY_CALLBACK);
        go_sem_release(&f->done, 1);
        return;
    }
    f->active = true;
    mc = curl_multi_add_handle(e->multi, f->easy);
    if (mc != CURLM_OK)
        complete(f, mc == CURLM_OUT_OF_MEMORY ? CURLE_OUT_OF_MEMORY : CURLE_FAILED_INIT);
}

/* Takes what jobs queued, oldest first. */
static bool
take_queue(struct fetch_engine *e)
{
    /* Acquire pairs with the release in push: the transfer's fields. */
    struct fetch_node *n = SWAP(&e->queue, NULL, ACQUIRE), *oldest = NULL;

    if (n == NULL)
        return false;
    while (n != NULL) {
        struct fetch_node *next = n->next;

        n->next = oldest;
        oldest = n;
        n = next;
    }
    while (oldest != NULL) {
        struct fetch_node *next = oldest->next;

        take_node(e, oldest);
        oldest = next;
    }
    return true;
}

static void
take_event(struct fetch_engine *e, const struct epoll_event *ev)
{
    int fd = ev->data.fd, running, flags = 0;
    struct slot *s;

    if (fd == e->wake_fd) {
        uint64_t n;

        (void)!read(fd, &n, sizeof(n));
        return;
    }
    s = slot_of(e, fd);
    if (s == NULL || s->want == 0) {
        /* An idle connection was closed by its server: libcurl finds out when it tries to
         * use it, we only stop listening. */
        if (s != NULL && s->registered != 0)
            slot_register(e, fd, s, 0);
        return;
    }
    if (ev->events & EPOLLIN)
        flags |= CURL_CSELECT_IN;
    if (ev->events & EPOLLOUT)
        flags |= CURL_CSELECT_OUT;
    if (ev->events & (EPOLLERR | EPOLLHUP))
        flags |= CURL_CSELECT_ERR;
    (void)curl_multi_socket_action(e->multi, fd, flags, &running);
}

static bool
take_events(struct fetch_engine *e)
{
    struct epoll_event ev[EVENTS];
    int n = epoll_wait(e->epoll_fd, ev, EVENTS, 0);

    for (int i = 0; i < n; i++)
        take_event(e, &ev[i]);
    return n > 0;
}

static bool
take_timer(struct fetch_engine *e)
{
    int running;

    if (e->timer > go_now())
        return false;
    e->timer = GO_NEVER;
    (void)curl_multi_socket_action(e->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    return true;
}

static bool
take_messages(struct fetch_engine *e)
{
    bool any = false;
    CURLMsg *m;
    int left;

    while ((m = curl_multi_info_read(e->multi, &left)) != NULL) {
        struct fetch *f = NULL;
        CURLcode code = m->data.result;

        if (m->msg != CURLMSG_DONE)
            continue;
        (void)curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **)&f);
        complete(f, code);
        any = true;
    }
    return any;
}

static void
apply_limits(struct fetch_engine *e)
{
    long connections = LOAD(&e->connections, RELAXED),
         per_host = LOAD(&e->per_host, RELAXED);

    if (connections != e->applied_connections)
        (void)curl_multi_setopt(e->multi, CURLMOPT_MAXCONNECTS, connections);
    if (per_host != e->applied_per_host)
        (void)curl_multi_setopt(e->multi, CURLMOPT_MAX_HOST_CONNECTIONS, per_host);
    e->applied_connections = connections;
    e->applied_per_host = per_host;
}

/* One round of all there is to do; false if there was nothing. Never parks. */
static bool
turn(struct fetch_engine *e)
{
    bool any;

    go_nopark_begin("libcurl");
    any = take_queue(e);
    any |= take_timer(e);
    any |= take_events(e);
    any |= take_messages(e);
    go_nopark_end();
    return any;
}

static void
drive(struct fetch_engine *e)
{
    while (!LOAD(&e->stopping, ACQUIRE)) {
        apply_limits(e);
        if (turn(e)) {
            go_checkpoint();
            continue;
        }
        /* Jobs that are runnable are likely to queue something: let them, before sleeping. */
        go_yield();
        if (turn(e))
            continue;
        /* Either we see what was queued before this store, or push sees the store. */
        STORE(&e->sleeping, 1, SEQ_CST);
        if (LOAD(&e->queue, SEQ_CST) == NULL && !LOAD(&e->stopping, SEQ_CST))
            (void)go_fd_wait(e->epoll_fd, GO_FD_READ, e->timer);
        STORE(&e->sleeping, 0, RELAXED);
    }
}

static void
wake(struct fetch_engine *e)
{
    const uint64_t one = 1;

    if (SWAP(&e->sleeping, 0, SEQ_CST) != 0)
        (void)!write(e->wake_fd, &one, sizeof(one));
}

static void
push(struct fetch_engine *e, struct fetch_node *n)
{
    struct fetch_node *head = LOAD(&e->queue, RELAXED);

    do {
        n->next = head;
    } while (!__atomic_compare_exchange_n(&e->queue, &head, n, true, __ATOMIC_SEQ_CST,
                                          __ATOMIC_RELAXED));
    wake(e);
}

int
fetch_run(struct fetch *f, struct go_ctx *ctx)
{
    int r;

    push(f->engine, &f->submit);
    r = go_sem_acquire_ctx(&f->done, 1, ctx);
    if (r == 0)
        return 0;
    push(f->engine, &f->cancel);
    go_sem_acquire(&f->done, 2);
    return r;
}

/* --- the start --- */

static int
engine_open(struct fetch_engine *e)
{
    struct epoll_event ev = {.events = EPOLLIN};

    e->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (e->epoll_fd < 0)
        return -go_errno_();
    e->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (e->wake_fd < 0)
        return -go_errno_();
    ev.data.fd = e->wake_fd;
    if (epoll_ctl(e->epoll_fd, EPOLL_CTL_ADD, e->wake_fd, &ev) < 0)
        return -go_errno_();
    e->multi = curl_multi_init();
    if (e->multi == NULL)
        return -ENOMEM;
    (void)curl_multi_setopt(e->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    (void)curl_multi_setopt(e->multi, CURLMOPT_SOCKETDATA, e);
    (void)curl_multi_setopt(e->multi, CURLMOPT_TIMERFUNCTION, on_timer);
    (void)curl_multi_setopt(e->multi, CURLMOPT_TIMERDATA, e);
    return 0;
}

static void
engine_close(struct fetch_engine *e)
{
    go_nopark_begin("libcurl");
    (void)curl_multi_cleanup(e->multi); /* NULL is fine */
    go_nopark_end();
    if (e->epoll_fd >= 0)
        (void)go_fd_close(e->epoll_fd);
    if (e->wake_fd >= 0)
        (void)close(e->wake_fd);
    e->multi = NULL;
    e->epoll_fd = e->wake_fd = -1;
}

/* libcurl, and what it is linked with, costs memory that a daemon without fetches need not
 * spend: all of it begins with the first transfer. pool_mu is held. */
static int
start_locked(struct fetch_engine *e)
{
    struct go_opts opts = {
        .stack_size = DRIVER_STACK, .name = "fetch driver", .wg = &e->driver};
    int r;

    if (e->started)
        return 0;
    (void)GO_BLOCKING(pthread_once(&curl_once, curl_init));
    r = engine_open(e);
    if (r == 0) {
        int64_t id = go_opt(&opts, drive, e);

        r = id < 0 ? (int)id : 0;
    }
    if (r < 0)
        engine_close(e);
    e->started = r == 0;
    return r;
}

/* --- transfers kept for later --- */

struct fetch *
fetch_take(struct fetch_engine *e)
{
    struct fetch *f;
    int r;

    go_mutex_lock(&e->pool_mu);
    r = start_locked(e);
    f = e->pool;
    if (f != NULL) {
        e->pool = f->next;
        e->pooled--;
    }
    go_mutex_unlock(&e->pool_mu);
    if (f != NULL || r < 0)
        return f;
    f = calloc(1, sizeof(*f));
    if (f == NULL)
        return NULL;
    f->easy = curl_easy_init();
    if (f->easy == NULL) {
        free(f);
        return NULL;
    }
    f->engine = e;
    f->submit.f = f->cancel.f = f;
    go_sem_init(&f->done, 0);
    return f;
}

static void
fetch_free(struct fetch *f)
{
    curl_easy_cleanup(f->easy);
    curl_slist_free_all(f->headers);
    free(f->kept);
    free(f);
}

void
fetch_give(struct fetch *f)
{
    struct fetch_engine *e = f->engine;
    bool keep;

    go_mutex_lock(&e->pool_mu);
    keep = e->pooled < POOL_MAX;
    if (keep) {
        f->next = e->pool;
        e->pool = f;
        e->pooled++;
    }
    go_mutex_unlock(&e->pool_mu);
    if (!keep)
        fetch_free(f);
}

/* --- life --- */

static void
engine_free(struct fetch_engine *e)
{
    while (e->pool != NULL) {
        struct fetch *f = e->pool;

        e->pool = f->next;
        fetch_free(f);
    }
    engine_close(e);
    free(e->slots);
    free(e);
}

int
fetch_engine_new(const struct config *cfg, struct fetch_engine **ret)
{
    struct fetch_engine *e = calloc(1, sizeof(*e));

    if (e == NULL)
        return -ENOMEM;
    e->refs = 1;
    e->epoll_fd = e->wake_fd = -1;
    e->timer = GO_NEVER;
    fetch_engine_configure(e, cfg);
    *ret = e;
    return 0;
}

void
fetch_engine_configure(struct fetch_engine *e, const struct config *cfg)
{
    STORE(&e->connections, (long)cfg->fetch.connections, RELAXED);
    STORE(&e->per_host, (long)cfg->fetch.per_host, RELAXED);
}

struct fetch_engine *
fetch_engine_ref(struct fetch_engine *e)
{
    ENSURE(ADD(&e->refs, 1, RELAXED) > 1);
    return e;
}

void
fetch_engine_unref(struct fetch_engine *e)
{
    if (e == NULL || ADD(&e->refs, -1, ACQ_REL) > 0)
        return;
    STORE(&e->stopping, 1, SEQ_CST);
    wake(e);
    go_wg_wait(&e->driver);
    engine_free(e);
}
