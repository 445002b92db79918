/*
 * static_server: serve a folder over HTTP/1.1, a goroutine per connection.
 *
 * The goroutine reads a request, answers it, and reads the next, as if it were the only one;
 * whenever the socket is not ready, its thread serves another connection. Calls that may
 * wait for the disk stand in GO_BLOCKING(). Nothing outside the folder can be reached: the
 * kernel itself refuses to leave it (RESOLVE_BENEATH), whatever the path or its links say.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "examples/http.h"
#include "examples/server.h"

#define PATIENCE (30 * GO_SECOND) /* for the next request, and for each stalled write */
#define SMALL    16384            /* up to this size, head and body go out in one write */

struct conn {
    struct server *server;
    int fd;
    bool keep_alive, head_only; /* of the request being answered */
    time_t date_at;
    char date[32]; /* date_at, as HTTP writes it */
    size_t have;   /* bytes in buf: a request, and perhaps the start of the next */
    char buf[HTTP_HEAD_MAX];
};

static const struct {
    const char *extension, *type;
} types[] = {
    {".html", "text/html; charset=utf-8"},
    {".htm", "text/html; charset=utf-8"},
    {".css", "text/css; charset=utf-8"},
    {".js", "text/javascript; charset=utf-8"},
    {".json", "application/json"},
    {".txt", "text/plain; charset=utf-8"},
    {".md", "text/markdown; charset=utf-8"},
    {".csv", "text/csv; charset=utf-8"},
    {".xml", "application/xml"},
    {".svg", "image/svg+xml"},
    {".png", "image/png"},
    {".jpg", "image/jpeg"},
    {".jpeg", "image/jpeg"},
    {".gif", "image/gif"},
    {".webp", "image/webp"},
    {".ico", "image/x-icon"},
    {".pdf", "application/pdf"},
    {".wasm", "application/wasm"},
    {".woff2", "font/woff2"},
};

static const char *
content_type(const char *path)
{
    const char *dot = strrchr(path, '.');

    for (size_t i = 0; dot != NULL && i < sizeof(types) / sizeof(types[0]); i++)
        if (strcasecmp(dot, types[i].extension) == 0)
            return types[i].type;
    return "application/octet-stream";
}

/* --- answers ---------------------------------------------------------------------------------- */

static const char *
http_date(struct conn *c)
{
    const time_t now = time(NULL);
    struct tm tm;

    if (now != c->date_at && gmtime_r(&now, &tm) != NULL) {
        (void)strftime(c->date, sizeof(c->date), "%a, %d %b %Y %H:%M:%S GMT", &tm);
        c->date_at = now;
    }
    return c->date;
}

/* The head of an answer into buf: its length. extra: more header lines, or "". */
static size_t
format_head(struct conn *c, char *buf, size_t size, const char *status, const char *type,
            long long length, const char *extra)
{
    const int n = snprintf(buf, size,
                           "HTTP/1.1 %s\r\nDate: %s\r\nContent-Type: %s\r\n"
                           "Content-Length: %lld\r\n%s%s\r\n",
                           status, http_date(c), type, length, extra,
                           c->keep_alive ? "" : "Connection: close\r\n");

    return n < 0 || (size_t)n >= size ? 0 : (size_t)n;
}

/* PARKS. As all that answer: 0, or -errno and the connection is of no more use. */
static int
send_text(struct conn *c, const char *status, const char *type, const char *body,
          size_t length, const char *extra)
{
    char head[HTTP_HEAD_MAX + 512]; /* extra may hold a redirect to the longest target */
    const size_t n =
        format_head(c, head, sizeof(head), status, type, (long long)length, extra);
    ssize_t r = n == 0 ? -EMSGSIZE : go_fd_write(c->fd, head, n, go_deadline(PATIENCE));

    if (r >= 0 && !c->head_only)
        r = go_fd_write(c->fd, body, length, go_deadline(PATIENCE));
    return r < 0 ? (int)r : 0;
}

static int
send_error(struct conn *c, const char *status)
{
    char body[256];
    const int n =
        snprintf(body, sizeof(body), "<!doctype html><title>%s</title><h1>%s</h1>\n",
                 status, status);

    return send_text(c, status, "text/html; charset=utf-8", body, (size_t)n,
                     strncmp(status, "405", 3) == 0 ? "Allow: GET, HEAD\r\n" : "");
}

/* PARKS. The file's bytes straight from the page cache to the socket. */
static int
send_body(struct conn *c, int file, off_t size)
{
    off_t at = 0;

    while (at < size) {
        const ssize_t n =
            GO_BLOCKING(GO_ERRNO(sendfile(c->fd, file, &at, (size_t)(size - at))));
        int r = 0;

        if (n == -EAGAIN)
            r = go_fd_wait(c->fd, GO_FD_WRITE, go_deadline(PATIENCE));
        else if (n < 0 && n != -EINTR)
            r = (int)n;
        else if (n == 0)
            r = -EIO; /* the file shrank: the length we promised cannot be kept */
        if (r < 0)
            return r;
    }
    return 0;
}

static int
send_file(struct conn *c, int file, off_t size, const char *type)
{
    char buf[512 + SMALL];
    size_t n = format_head(c, buf, 512, "200 OK", type, size, "");
    const size_t head = n;
    int r;

    if (c->head_only || size == 0)
        return (int)go_fd_write(c->fd, buf, n, go_deadline(PATIENCE));
    if (size <= SMALL) {
        const ssize_t got = GO_BLOCKING(GO_ERRNO(pread(file, buf + n, (size_t)size, 0)));

        if (got != size)
            return got < 0 ? (int)got : -EIO;
        n += (size_t)got;
        return (int)go_fd_write(c->fd, buf, n, go_deadline(PATIENCE));
    }
    /* The head waits for the first of the body, to share a packet. */
    if (send(c->fd, buf, head, MSG_MORE | MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)head)
        return send_body(c, file, size);
    r = (int)go_fd_write(c->fd, buf, head, go_deadline(PATIENCE));
    return r < 0 ? r : send_body(c, file, size);
}

/* --- folders ------------------------------------------------------------------------------------ */

/* Append text to a page, with what HTML and URLs take for themselves escaped. */
static void
escape(FILE *page, const char *text, bool url)
{
    for (const unsigned char *s = (const unsigned char *)text; *s != '\0'; s++) {
        if (url && (*s <= ' ' || *s >= 0x7f || strchr("%?#\"<>&'\\", *s)))
            fprintf(page, "%%%02X", *s);
        else if (strchr("<>&\"'", *s))
            fprintf(page, "&#%u;", *s);
        else
            fputc(*s, page);
    }
}

/* A page that lists the folder, which stays open. NULL: no memory. Blocks. */
static char *
list_folder(int folder, size_t *ret_size)
{
    struct dirent **entry = NULL;
    const int n = scandirat(folder, ".", &entry, NULL, alphasort);
    char *text = NULL;
    FILE *page = open_memstream(&text, ret_size);

    if (page != NULL)
        fprintf(page, "<!doctype html><meta charset=utf-8><title>Index</title><ul>\n");
    for (int i = 0; i < n; i++) {
        const char *name = entry[i]->d_name;
        const char *slash = entry[i]->d_type == DT_DIR ? "/" : "";

        if (page != NULL && strcmp(name, ".") != 0) {
            fprintf(page, "<li><a href=\"./");
            escape(page, name, true);
            fprintf(page, "%s\">", slash);
            escape(page, name, false);
            fprintf(page, "%s</a>\n", slash);
        }
        free(entry[i]);
    }
    free(entry);
    if (page == NULL)
        return NULL;
    fprintf(page, "</ul>\n");
    return fclose(page) == 0 ? text : NULL;
}

static int
send_folder(struct conn *c, int folder)
{
    size_t size = 0;
    char *page = GO_BLOCKING(list_folder(folder, &size));
    int r;

    if (page == NULL)
        return send_error(c, "500 Internal Server Error");
    r = send_text(c, "200 OK", "text/html; charset=utf-8", page, size, "");
    free(page);
    return r;
}

/* A folder asked for without its slash: links on its page would lead astray. */
static int
redirect_to_slash(struct conn *c, const char *target)
{
    char location[HTTP_HEAD_MAX + 32];

    /* One slash in front, or "//host/" would send the client elsewhere. */
    target += strspn(target, "/");
    (void)snprintf(location, sizeof(location), "Location: /%.*s/\r\n",
                   (int)strcspn(target, "?#"), target);
    return send_text(c, "301 Moved Permanently", "text/html", "", 0, location);
}

/* --- requests ------------------------------------------------------------------------------------- */

/* Open path below the folder root: an fd or -errno. Blocks. */
static int
open_beneath(int root, const char *path)
{
    const struct open_how how = {.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY,
                                 .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS};
    int fd;

    path += strspn(path, "/");
    do { /* EAGAIN: something was renamed meanwhile, so the kernel cannot tell */
        fd = (int)GO_ERRNO(
            syscall(SYS_openat2, root, *path == '\0' ? "." : path, &how, sizeof(how)));
    } while (fd == -EAGAIN || fd == -EINTR);
    return fd;
}

/* Answer for the open file; path is decoded. */
static int
answer_file(struct conn *c, int root, int file, const char *target, const char *path)
{
    struct stat st;
    char index[HTTP_HEAD_MAX + 16];
    int fd, r;

    if (fstat(file, &st) < 0)
        return send_error(c, "500 Internal Server Error");
    if (S_ISREG(st.st_mode))
        return send_file(c, file, st.st_size, content_type(path));
    if (!S_ISDIR(st.st_mode))
        return send_error(c, "403 Forbidden");
    if (path[strlen(path) - 1] != '/')
        return redirect_to_slash(c, target);

    (void)snprintf(index, sizeof(index), "%sindex.html", path);
    fd = GO_BLOCKING(open_beneath(root, index));
    if (fd < 0)
        return send_folder(c, file);
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
        r = send_file(c, fd, st.st_size, content_type(index));
    else
        r = send_error(c, "403 Forbidden");
    (void)close(fd);
    return r;
}

static int
answer(struct conn *c, const struct http_request *req)
{
    const int root = *(const int *)c->server->arg;
    const char *length = http_header(req, "Content-Length");
    const char *target = req->target;
    char path[HTTP_HEAD_MAX];
    int fd, r;

    c->keep_alive = req->minor > 0 ? !http_header_has(req, "Connection", "close")
                                   : http_header_has(req, "Connection", "keep-alive");
    c->head_only = strcmp(req->method, "HEAD") == 0;
    /* What follows the head of a request with a body is not the next request. */
    if ((length != NULL && strcmp(length, "0") != 0) ||
        http_header(req, "Transfer-Encoding") != NULL)
        c->keep_alive = false;
    if (!c->head_only && strcmp(req->method, "GET") != 0)
        return send_error(c, "405 Method Not Allowed");
    if (strncasecmp(target, "http://", 7) == 0) /* as proxies ask */
        target += strcspn(target + 7, "/") + 7;
    (void)snprintf(path, sizeof(path), "%s", target);
    if ((req->minor > 0 && http_header(req, "Host") == NULL) || path[0] != '/' ||
        !http_decode_path(path)) {
        c->keep_alive = false; /* who knows what else it got wrong */
        return send_error(c, "400 Bad Request");
    }

    fd = GO_BLOCKING(open_beneath(root, path));
    if (fd == -EACCES || fd == -EPERM)
        return send_error(c, "403 Forbidden");
    if (fd == -EMFILE || fd == -ENFILE)
        return send_error(c, "503 Service Unavailable");
    if (fd < 0)
        return send_error(c, "404 Not Found");
    r = answer_file(c, root, fd, target, path);
    (void)close(fd);
    return r;
}

/* PARKS until a whole head is in buf: its length; 0: the peer is gone; or -errno. */
static int
read_head(struct conn *c, struct http_request *req)
{
    const int64_t deadline = go_deadline(PATIENCE); /* for the whole of it */

    for (;;) {
        const int head = http_parse(c->buf, c->have, req);
        ssize_t n;

        if (head != 0)
            return head;
        if (c->have == sizeof(c->buf))
            return -E2BIG;
        n = go_fd_read(c->fd, c->buf + c->have, sizeof(c->buf) - c->have, deadline);
        if (n <= 0)
            return (int)n;
        c->have += (size_t)n;
    }
}

/* Closing with unread bytes would reset the connection, and the peer might never see the
 * answer: let it close first, if it does so soon. */
static void
drain(struct conn *c)
{
    const int64_t deadline = go_deadline(GO_SECOND);

    (void)shutdown(c->fd, SHUT_WR);
    while (go_fd_read(c->fd, c->buf, sizeof(c->buf), deadline) > 0)
        ;
}

static void
serve(struct server *s, int fd)
{
    struct conn c;
    int head;

    c.server = s;
    c.fd = fd;
    c.date_at = 0;
    c.have = 0;
    do {
        struct http_request req;

        c.keep_alive = c.head_only = false;
        head = read_head(&c, &req);
        if (head == -EBADMSG)
            (void)send_error(&c, "400 Bad Request");
        else if (head == -E2BIG)
            (void)send_error(&c, "431 Request Header Fields Too Large");
        if (head < 0)
            break;
        if (head == 0)
            return;
        if (answer(&c, &req) < 0)
            return;
        server_count(s);
        c.have -= (size_t)head;
        memmove(c.buf, c.buf + head, c.have);
    } while (c.keep_alive);
    drain(&c);
}

/* --- the program -------------------------------------------------------------------------------------- */

static int
usage(FILE *to, int status)
{
    fprintf(
        to,
        "usage: static_server [--host ADDRESS] [--port PORT] [--requests N] [FOLDER]\n\n"
        "Serve FOLDER (default: the current one) over HTTP/1.1.\n\n"
        "  --host ADDRESS  IPv4 address to listen on (default 127.0.0.1)\n"
        "  --port PORT     port to listen on (default 8080; 0: any free one)\n"
        "  --requests N    stop after N requests (default: on SIGINT or SIGTERM)\n");
    return status;
}

static int
main_(int argc, char **argv)
{
    struct server s = {.port = 8080, .serve = serve};
    const char *folder;
    int root, opt, r;

    while ((opt = getopt_long(argc, argv, "H:p:n:h", server_options, NULL)) != -1)
        if (!server_option(&s, opt, optarg))
            return opt == 'h' ? usage(stdout, 0) : usage(stderr, 2);
    if (argc - optind > 1)
        return usage(stderr, 2);

    folder = optind < argc ? argv[optind] : ".";
    root = GO_ERRNO(open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (root < 0) {
        fprintf(stderr, "static_server: %s: %s\n", folder, strerror(-root));
        return 1;
    }
    s.arg = &root;
    r = server_run(&s);
    if (r < 0)
        fprintf(stderr, "static_server: %s\n", strerror(-r));
    (void)close(root);
    return r < 0;
}

int
main(int argc, char **argv)
{
    server_signals();
    return go_main(main_, argc, argv);
}
