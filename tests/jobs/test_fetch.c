#define _GNU_SOURCE

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "tests/jobs/jobtest.h"

/* --- a server of goroutines that behaves well or badly, by path --- */

struct server {
    int fd;
    int port;
    int connections; /* atomic: accepted */
    int gone;        /* atomic: clients that left a stalled or dripping answer */
    char *bomb;      /* gzip of very many zeros */
    size_t bomb_len;
};

static void
say(int fd, const char *text)
{
    (void)go_fd_write(fd, text, strlen(text), go_deadline(10 * GO_SECOND));
}

static void
answer_body(int fd, const char *head, const char *body)
{
    char text[8192];

    (void)snprintf(text, sizeof(text), "%sContent-Length: %zu\r\n\r\n%s", head,
                   strlen(body), body);
    say(fd, text);
}

/* Waits until the client leaves. */
static void
wait_gone(struct server *s, int fd)
{
    char c;

    if (go_fd_read(fd, &c, 1, go_deadline(20 * GO_SECOND)) <= 0)
        __atomic_fetch_add(&s->gone, 1, __ATOMIC_RELAXED);
}

static void
drip(struct server *s, int fd)
{
    say(fd, "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n");
    for (int i = 0; i < 1000; i++) {
        if (go_fd_write(fd, "x", 1, go_deadline(GO_SECOND)) < 0)
            break;
        go_sleep(5 * MS);
    }
    __atomic_fetch_add(&s->gone, 1, __ATOMIC_RELAXED);
}

static void
many_headers(int fd)
{
    say(fd, "HTTP/1.1 200 OK\r\n");
    for (int i = 0; i < 20000; i++)
        if (go_fd_write(fd, "X-Filler: 0123456789abcdef\r\n", 28,
                        go_deadline(GO_SECOND)) < 0)
            return;
    say(fd, "Content-Length: 0\r\n\r\n");
}

/* True if the connection may be used for another request. */
static bool
answer(struct server *s, int fd, const char *request)
{
    static const char ok[] =
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nX-Test: a b\r\n";
    char path[64] = "", text[512];

    (void)sscanf(request, "%*s %63s", path);
    if (strcmp(path, "/ok") == 0) {
        answer_body(fd, ok, strncmp(request, "HEAD", 4) == 0 ? "" : "hello");
        return true;
    }
    if (strcmp(path, "/echo") == 0) {
        answer_body(fd, ok, request);
        return true;
    }
    if (strcmp(path, "/redirect") == 0)
        answer_body(fd, "HTTP/1.1 302 Found\r\nLocation: /ok\r\n", "moved");
    else if (strcmp(path, "/loop") == 0)
        answer_body(fd, "HTTP/1.1 302 Found\r\nLocation: /loop\r\n", "");
    else if (strcmp(path, "/private") == 0)
        answer_body(fd, "HTTP/1.1 302 Found\r\nLocation: http://10.1.2.3/\r\n", "");
    else if (strcmp(path, "/file") == 0)
        answer_body(fd, "HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\n", "");
    else if (strcmp(path, "/missing") == 0)
        answer_body(fd, "HTTP/1.1 404 Not Found\r\n", "no such page");
    else if (strcmp(path, "/garbage") == 0)
        say(fd, "this is no HTTP\r\n\r\n");
    else if (strcmp(path, "/short") == 0)
        say(fd, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello");
    else if (strcmp(path, "/announced") == 0)
        say(fd, "HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\nhello");
    else if (strcmp(path, "/headers") == 0)
        many_headers(fd);
    else if (strcmp(path, "/binary") == 0) {
        say(fd, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n");
        (void)go_fd_write(fd, "\xff\0\1", 3, GO_NEVER);
    } else if (strcmp(path, "/bomb") == 0) {
        (void)snprintf(text, sizeof(text),
                       "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: "
                       "%zu\r\n\r\n",
                       s->bomb_len);
        say(fd, text);
        (void)go_fd_write(fd, s->bomb, s->bomb_len, go_deadline(10 * GO_SECOND));
    } else if (strcmp(path, "/drip") == 0)
        drip(s, fd);
    else
        wait_gone(s, fd); /* /stall */
    return false;
}

static void
serve_connection(struct server *s, int fd)
{
    char request[8192];
    size_t have = 0;

    for (;;) {
        ssize_t n = go_fd_read(fd, request + have, sizeof(request) - 1 - have,
                               go_deadline(30 * GO_SECOND));
        char *end;

        if (n <= 0)
            break;
        have += (size_t)n;
        request[have] = '\0';
        if (request[0] == 0x16) { /* a TLS client's greeting */
            say(fd, "HTTP/1.1 400 Bad Request\r\n\r\n");
            break;
        }
        end = strstr(request, "\r\n\r\n");
        if (end == NULL)
            continue;
        if (!answer(s, fd, request))
            break;
        have = 0;
    }
    (void)go_fd_close(fd);
}

static void
serve(struct server *s)
{
    for (;;) {
        int fd = go_fd_accept(s->fd, NULL, NULL, GO_NEVER);

        if (fd == -ECANCELED || fd == -EBADF) /* closed while, or before, we waited */
            return;
        REQUIRE(fd >= 0);
        __atomic_fetch_add(&s->connections, 1, __ATOMIC_RELAXED);
        REQUIRE(go(serve_connection, s, fd) > 0);
    }
}

static void
server_start(struct server *s, struct go_wg *wg)
{
    struct sockaddr_in sa = {.sin_family = AF_INET};
    socklen_t len = sizeof(sa);

    memset(s, 0, sizeof(*s));
    sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    s->fd = go_listen((struct sockaddr *)&sa, sizeof(sa), 128);
    REQUIRE(s->fd >= 0);
    REQUIRE(getsockname(s->fd, (struct sockaddr *)&sa, &len) == 0);
    s->port = ntohs(sa.sin_port);
    REQUIRE(go_wg_go(wg, serve, s) > 0);
}

static void
server_stop(struct server *s, struct go_wg *wg)
{
    CHECK(go_fd_close(s->fd) == 0);
    go_wg_wait(wg);
}

#define LOCAL "fetch: {allow: [127.0.0.0/8], redirects: 3, keep_body: 8, max_body: 1MiB}"
#define URL   "\"url\":\"http://127.0.0.1:%d%s\""

/* --- validation --- */

GO_TEST(fetch_spec_that_makes_no_sense_is_refused)
{
    struct job_env *env = env_of(LOCAL);
    int no = PB_ERROR__CODE__INVALID;

    refused(env, "{\"fetch\":{}}", no, "fetch.url", "needed");
    refused(env, "{\"fetch\":{\"url\":\"example.org\"}}", no, "fetch.url", "http://");
    refused(env, "{\"fetch\":{\"url\":\"http://\"}}", no, "fetch.url", "no host");
    refused(env, "{\"fetch\":{\"url\":\"http:///x\"}}", no, "fetch.url", "no host");
    refused(env, "{\"fetch\":{\"url\":\"http://a/b c\"}}", no, "fetch.url", "%20");
    refused(env, "{\"fetch\":{\"url\":\"file:///etc/passwd\"}}", PB_ERROR__CODE__DENIED,
            "fetch.url", "fetch.schemes does not list file");
    refused(env, "{\"fetch\":{\"url\":\"http://a\",\"method\":\"A B\"}}", no,
            "fetch.method", "no HTTP method");
    refused(env, "{\"fetch\":{\"url\":\"http://a\",\"method\":\"GET\",\"text\":\"x\"}}",
            no, "fetch.method", "no body");
    refused(env, "{\"fetch\":{\"url\":\"http://a\",\"headers\":{\"A:\":\"x\"}}}", no,
            "fetch.headers", "headers[0].name");
    refused(env, "{\"fetch\":{\"url\":\"http://a\",\"headers\":{\"A\":\"x\\r\\nB: y\"}}}",
            no, "fetch.headers", "line end");
    refused(env, "{\"fetch\":{\"url\":\"http://a\",\"max_bytes\":2000000}}",
            PB_ERROR__CODE__TOO_LARGE, "fetch.max_bytes", "fetch.max_body");
    refused(env, "{\"fetch\":{\"url\":\"http://a\",\"max_redirects\":4}}", no,
            "fetch.max_redirects", "fetch.redirects");
    refused(env, "{\"fetch\":{\"url\":\"http://a\",\"connect_timeout\":\"0s\"}}", no,
            "fetch.connect_timeout", "1ms to 1h");
    job_env_unref(env);
}

/* --- what goes well --- */

GO_TEST(page_is_fetched_and_the_connection_kept)
{
    struct job_env *env = env_of(LOCAL);
    struct go_wg wg = GO_WG_INIT;
    struct server s;
    struct outcome o;

    server_start(&s, &wg);
    for (int i = 0; i < 3; i++) {
        run_job(env, NULL, &o, "{\"fetch\":{" URL ",\"keep_body\":true}}", s.port, "/ok");
        CHECK_INT(o.r, 0);
        CHECK_HAS(o.json,
                  "{\"fetch\":{\"status\":200,\"bytes\":5,\"sha256\":"
                  "\"2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824\"");
        CHECK_HAS(o.json, "\"content_type\":\"text/plain\"");
        CHECK_HAS(o.json, "\"http\":\"1.1\",\"address\":\"127.0.0.1:");
        CHECK_HAS(o.json, "{\"name\":\"X-Test\",\"value\":\"a b\"}");
        CHECK_HAS(o.json, "\"text\":\"hello\"");
        CHECK_HAS(o.json, "\"truncated\":false");
        CHECK_HAS(o.json, "\"timings\":{\"dns\":\"");
        CHECK_INT(o.done, 5);
    }
    CHECK_INT(s.connections, 1);
    job_env_unref(env);
    server_stop(&s, &wg);
}

GO_TEST(method_headers_and_body_are_sent)
{
    struct job_env *env = env_of("fetch: {allow: [127.0.0.0/8], user_agent: tester}");
    struct go_wg wg = GO_WG_INIT;
    struct server s;
    struct outcome o;

    server_start(&s, &wg);
    run_job(env, NULL, &o,
            "{\"fetch\":{" URL
            ",\"keep_body\":true,\"text\":\"a=1\",\"headers\":{\"X-Key\":\"v\","
            "\"X-Empty\":\"\"}}}",
            s.port, "/echo");
    CHECK_HAS(o.json, "\"text\":\"POST /echo HTTP/1.1");
    CHECK_HAS(o.json, "User-Agent: tester\\r\\n");
    CHECK_HAS(o.json, "X-Key: v\\r\\n");
    CHECK_HAS(o.json, "X-Empty:");
    CHECK_HAS(o.json, "Content-Length: 3\\r\\n");
    CHECK_HAS(o.json, "Accept-Encoding: ");
    /* Nothing of it is left for the next. */
    run_job(env, NULL, &o, "{\"fetch\":{" URL ",\"keep_body\":true}}", s.port, "/echo");
    CHECK_HAS(o.json, "\"text\":\"GET /echo HTTP/1.1");
    CHECK(strstr(o.json, "X-Key") == NULL);
    run_job(env, NULL, &o,
            "{\"fetch\":{" URL ",\"method\":\"DELETE\",\"keep_body\":true}}", s.port,
            "/echo");
    CHECK_HAS(o.json, "\"text\":\"DELETE /echo HTTP/1.1");
    run_job(env, NULL, &o, "{\"fetch\":{" URL ",\"method\":\"HEAD\"}}", s.port, "/ok");
    CHECK_HAS(o.json, "\"status\":200,\"bytes\":0");
    job_env_unref(env);
    server_stop(&s, &wg);
}

GO_TEST(redirects_are_followed_within_limits)
{
    struct job_env *env = env_of(LOCAL);
    struct go_wg wg = GO_WG_INIT;
    struct server s;
    struct outcome o;

    server_start(&s, &wg);
    run_job(env, NULL, &o, "{\"fetch\":{" URL "}}", s.port, "/redirect");
    CHECK_HAS(o.json, "\"status\":200,\"bytes\":5");
    CHECK_HAS(o.json, "/ok\",\"redirects\":1");
    run_job(env, NULL, &o, "{\"fetch\":{" URL ",\"follow\":false}}", s.port, "/redirect");
    CHECK_HAS(o.json, "\"status\":302");
    run_job(env, NULL, &o, "{\"fetch\":{" URL "}}", s.port, "/loop");
    CHECK_INT(o.code, PB_ERROR__CODE__DENIED);
    CHECK(strcmp(o.field, "fetch.max_redirects") == 0);
    run_job(env, NULL, &o, "{\"fetch\":{" URL "}}", s.port, "/file");
    CHECK_INT(o.code, PB_ERROR__CODE__DENIED);
    CHECK_HAS(o.message, "fetch.schemes");
    job_env_unref(env);
    server_stop(&s, &wg);
}

GO_TEST(status_of_400_fails_unless_told_otherwise)
{
    struct job_env *env = env_of(LOCAL);
    struct go_wg wg = GO_WG_INIT;
    struct server s;
    struct outcome o;

    server_start(&s, &wg);
    run_job(env, NULL, &o, "{\"fetch\":{" URL ",\"keep_body\":true}}", s.port,
            "/missing");
    CHECK_INT(o.code, PB_ERROR__CODE__HTTP_STATUS);
    CHECK_HAS(o.message, "404");
    CHECK_HAS(o.json, "\"status\":404");
    CHECK_HAS(o.json, "\"text\":\"no such \"");
    CHECK_HAS(o.json, "\"truncated\":true");
    run_job(env, NULL, &o, "{\"fetch\":{" URL ",\"fail_status\":false}}", s.port,
            "/missing");
    CHECK_INT(o.r, 0);
    run_job(env, NULL, &o, "{\"fetch\":{" URL ",\"keep_body\":true}}", s.port, "/binary");
    CHECK_HAS(o.json, "\"body\":\"/wAB\"");
    job_env_unref(env);
    server_stop(&s, &wg);
}

/* --- policy --- */

GO_TEST(addresses_are_judged_when_connecting)
{
    struct job_env *none = env_of("{}"), *local = env_of(LOCAL);
    struct job_env *deny = env_of("fetch: {allow: [127.0.0.0/8], deny: [127.0.0.1]}");
    struct go_wg wg = GO_WG_INIT;
    struct server s;
    struct outcome o;

    server_start(&s, &wg);
    run_job(none, NULL, &o, "{\"fetch\":{" URL "}}", s.port, "/ok");
    CHECK_INT(o.code, PB_ERROR__CODE__DENIED);
    CHECK(strcmp(o.field, "fetch.url") == 0);
    CHECK_HAS(o.message, "127.0.0.1 is in 127.0.0.0/8 (loopback)");
    CHECK_HAS(o.message, "fetch.allow");
    run_job(none, NULL, &o, "{\"fetch\":{\"url\":\"http://localhost:%d/ok\"}}", s.port);
    CHECK_INT(o.code, PB_ERROR__CODE__DENIED);
    run_job(deny, NULL, &o, "{\"fetch\":{" URL "}}", s.port, "/ok");
    CHECK_HAS(o.message, "fetch.deny");
    CHECK_INT(s.connections, 0);
    /* Octal, hexadecimal and mapped forms are the same address. */
    run_job(none, NULL, &o, "{\"fetch\":{\"url\":\"http://0177.0.0.1:%d/ok\"}}", s.port);
    CHECK_INT(o.code, PB_ERROR__CODE__DENIED);
    run_job(none, NULL, &o, "{\"fetch\":{\"url\":\"http://[::ffff:127.0.0.1]:%d/ok\"}}",
            s.port);
    CHECK_INT(o.code, PB_ERROR__CODE__DENIED);
    run_job(local, NULL, &o, "{\"fetch\":{" URL "}}", s.port, "/private");
    CHECK_INT(o.code, PB_ERROR__CODE__DENIED);
    CHECK_HAS(o.message, "10.1.2.3 is in 10.0.0.0/8 (private)");
    job_env_unref(none);
    job_env_unref(deny);
    job_env_unref(local);
    server_stop(&s, &wg);
}

/* The connection is kept, but the new configuration does not want it used. */
GO_TEST(reload_judges_kept_connections_anew)
{
    struct job_env *env = env_of(LOCAL), *next = NULL;
    struct go_wg wg = GO_WG_INIT;
    struct server s;
    struct outcome o;

    server_start(&s, &wg);
    run_job(env, NULL, &o, "{\"fetch\":{" URL "}}", s.port, "/ok");
    CHECK_INT(o.r, 0);
    REQUIRE(job_env_reload(env, config_of("{}"), &next) == 0);
    run_job(next, NULL, &o, "{\"fetch\":{" URL "}}", s.port, "/ok");
    CHECK_INT(o.code, PB_ERROR__CODE__DENIED);
    run_job(env, NULL, &o, "{\"fetch\":{" URL "}}", s.port, "/ok");
    CHECK_INT(o.r, 0);
    job_env_unref(env);
    job_env_unref(next);
    server_stop(&s, &wg);
}

/* --- bad servers --- */

static void
fails(struct job_env *env, const struct server *s, const char *path, int code,
      const char *part)
{
    struct outcome o;

    run_job(env, NULL, &o, "{\"fetch\":{" URL "}}", s->port, path);
    CHECK_INT(o.code, code);
    CHECK(o.r < 0);
    CHECK_HAS(o.message, part);
}

static void
make_bomb(struct server *s)
{
    FILE *p =
        popen("head -c 50000000 /dev/zero | gzip -c", "r"); /* NOLINT(cert-env33-c) */

    s->bomb = malloc(1 << 20);
    REQUIRE(p != NULL && s->bomb != NULL);
    s->bomb_len = fread(s->bomb, 1, 1 << 20, p);
    REQUIRE(s->bomb_len > 1000);
    (void)pclose(p);
}

GO_TEST(bad_servers_give_errors_that_say_what_was_wrong)
{
    struct job_env *env = env_of(LOCAL);
    struct go_wg wg = GO_WG_INIT;
    struct server s;
    struct outcome o;
    int port;

    server_start(&s, &wg);
    make_bomb(&s);
    fails(env, &s, "/garbage", PB_ERROR__CODE__NETWORK, "HTTP");
    fails(env, &s, "/short", PB_ERROR__CODE__NETWORK, "95 bytes remaining");
    fails(env, &s, "/announced", PB_ERROR__CODE__TOO_LARGE, "fetch.max_body");
    fails(env, &s, "/headers", PB_ERROR__CODE__TOO_LARGE, "headers");
    fails(env, &s, "/bomb", PB_ERROR__CODE__TOO_LARGE, "more than 1048576 bytes");
    run_job(env, NULL, &o, "{\"fetch\":{" URL ",\"max_bytes\":4}}", s.port, "/ok");
    CHECK_INT(o.code, PB_ERROR__CODE__TOO_LARGE);
    CHECK_HAS(o.message, "fetch.max_bytes");
    run_job(env, NULL, &o, "{\"fetch\":{" URL ",\"max_bytes\":5}}", s.port, "/ok");
    CHECK_INT(o.r, 0);
    run_job(env, NULL, &o, "{\"fetch\":{\"url\":\"https://127.0.0.1:%d/ok\"}}", s.port);
    CHECK_INT(o.code, PB_ERROR__CODE__TLS);
    free(s.bomb);
    server_stop(&s, &wg);
    server_start(&s, &wg);
    port = s.port;
    server_stop(&s, &wg); /* nobody has connected: the port is closed now */
    run_job(env, NULL, &o, "{\"fetch\":{" URL "}}", port, "/ok");
    CHECK_INT(o.code, PB_ERROR__CODE__CONNECT);
    run_job(env, NULL, &o, "{\"fetch\":{\"url\":\"http://no-such-host.invalid/\"}}");
    CHECK_INT(o.code, PB_ERROR__CODE__DNS);
    job_env_unref(env);
}

GO_TEST(stalled_and_dripping_servers_do_not_hold_a_cancelled_job)
{
    struct job_env *env = env_of(LOCAL);
    struct go_wg wg = GO_WG_INIT;
    struct go_ctx *ctx;
    struct server s;
    struct outcome o;

    server_start(&s, &wg);
    check_cancel(env, &o, "{\"fetch\":{" URL "}}", s.port, "/stall");
    check_cancel(env, &o, "{\"fetch\":{" URL "}}", s.port, "/drip");
    CHECK(o.done > 0 && o.total == 100000);
    ctx = go_ctx_with_timeout(NULL, 20 * MS);
    run_job(env, ctx, &o, "{\"fetch\":{" URL "}}", s.port, "/stall");
    CHECK_INT(o.code, PB_ERROR__CODE__TIMEOUT);
    go_ctx_unref(ctx);
    job_env_unref(env);
    while (__atomic_load_n(&s.gone, __ATOMIC_RELAXED) < 3) /* connections were closed */
        go_yield();
    server_stop(&s, &wg);
}

/* --- many --- */

struct crowd {
    struct job_env *env;
    int port;
    int ok, cancelled; /* atomic */
};

static void
one_of_many(struct crowd *c, int i)
{
    struct go_ctx *ctx =
        go_ctx_with_timeout(NULL, i % 3 == 0 ? (i % 7) * MS / 4 : 60 * GO_SECOND);
    struct job_run run;
    struct proto_arena a;
    char json[128];
    PbJobSpec *spec;
    int r;

    (void)snprintf(json, sizeof(json), "{\"fetch\":{" URL "}}", c->port,
                   i % 3 == 0 && i % 2 == 0 ? "/stall" : "/ok");
    spec = spec_of(json, &a);
    job_run_init(&run, c->env, ctx, spec);
    r = job_run(&run);
    CHECK(r == 0 || r == -ETIMEDOUT);
    __atomic_fetch_add(r == 0 ? &c->ok : &c->cancelled, 1, __ATOMIC_RELAXED);
    job_run_fini(&run);
    proto_arena_free(&a);
    go_ctx_unref(ctx);
}

GO_TEST(many_fetches_at_once_some_of_them_cancelled)
{
    struct crowd c = {.env = env_of("fetch: {allow: [127.0.0.0/8], per_host: 500}")};
    struct go_wg wg = GO_WG_INIT, jobs = GO_WG_INIT;
    struct server s;

    server_start(&s, &wg);
    c.port = s.port;
    for (int i = 1; i <= 600; i++) {
        REQUIRE(go_wg_go(&jobs, one_of_many, &c, i) > 0);
        if (i % 100 == 0)
            go_wg_wait(&jobs);
    }
    CHECK_INT(c.ok + c.cancelled, 600);
    CHECK(c.ok >= 400);
    CHECK(c.cancelled >= 100);
    job_env_unref(c.env);
    server_stop(&s, &wg);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fetch_spec_that_makes_no_sense_is_refused),
        cmocka_unit_test(page_is_fetched_and_the_connection_kept),
        cmocka_unit_test(method_headers_and_body_are_sent),
        cmocka_unit_test(redirects_are_followed_within_limits),
        cmocka_unit_test(status_of_400_fails_unless_told_otherwise),
        cmocka_unit_test(addresses_are_judged_when_connecting),
        cmocka_unit_test(reload_judges_kept_connections_anew),
        cmocka_unit_test(bad_servers_give_errors_that_say_what_was_wrong),
        cmocka_unit_test(stalled_and_dripping_servers_do_not_hold_a_cancelled_job),
        cmocka_unit_test(many_fetches_at_once_some_of_them_cancelled),
    };

    return cmocka_run_group_tests_name("fetch", tests, NULL, NULL);
}
