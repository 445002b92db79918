/*
 * beanstalk_bench PORT throughput|roundtrip COUNT: the durable-job rows' peer.
 *
 * throughput: one connection puts, another reserves and deletes what it got, both with up to
 * WINDOW commands on their way; prints jobs a second from the first put to the last delete.
 * roundtrip: put, reserve and delete of one job after another; prints the median.
 */
#include <arpa/inet.h>
#include <err.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define BODY   "{\"sum\":{\"numbers\":[100000,200000]}}"
#define WINDOW 500

struct conn {
    int fd;
    size_t len, at;
    char buf[65536];
};

struct load {
    uint16_t port;
    long count;
};

static double
now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static struct conn *
conn_open(uint16_t port)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct conn *c = calloc(1, sizeof(*c));
    int on = 1;

    if (c == NULL)
        err(1, "calloc");
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&to, sizeof(to)) < 0)
        err(1, "beanstalkd on port %u", (unsigned)port);
    (void)setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    return c;
}

static void
conn_close(struct conn *c)
{
    (void)close(c->fd);
    free(c);
}

static void
send_all(struct conn *c, const char *data, size_t len)
{
    while (len > 0) {
        ssize_t n = write(c->fd, data, len);

        if (n <= 0)
            err(1, "write");
        data += n;
        len -= (size_t)n;
    }
}

/* The next line, without its end. */
static char *
line_of(struct conn *c)
{
    for (;;) {
        char *start = c->buf + c->at;
        char *end = memchr(start, '\n', c->len - c->at);
        ssize_t n;

        if (end != NULL) {
            *end = '\0';
            c->at = (size_t)(end - c->buf) + 1;
            return start;
        }
        memmove(c->buf, start, c->len - c->at);
        c->len -= c->at;
        c->at = 0;
        n = read(c->fd, c->buf + c->len, sizeof(c->buf) - c->len);
        if (n <= 0)
            err(1, "beanstalkd closed the connection");
        c->len += (size_t)n;
    }
}

static void
expect(struct conn *c, const char *what)
{
    const char *line = line_of(c);

    if (strncmp(line, what, strlen(what)) != 0)
        errx(1, "%s instead of %s", line, what);
}

/* The id of a reserved job. Its body is a line of its own. */
static long
reserved(struct conn *c)
{
    const char *line = line_of(c);
    long id;

    if (strncmp(line, "RESERVED ", 9) != 0)
        errx(1, "%s instead of RESERVED", line);
    id = strtol(line + 9, NULL, 10);
    (void)line_of(c);
    return id;
}

static void
puts_of(char *out, size_t size, long n, size_t *ret)
{
    static const char one[] = "put 0 0 600 %zu\r\n" BODY "\r\n";

    *ret = 0;
    for (long i = 0; i < n; i++)
        *ret += (size_t)snprintf(out + *ret, size - *ret, one, strlen(BODY));
}

static void *
produce(void *arg)
{
    const struct load *l = arg;
    struct conn *c = conn_open(l->port);
    char *out = malloc(WINDOW * 100);
    size_t len;

    if (out == NULL)
        err(1, "malloc");
    for (long done = 0; done < l->count;) {
        long n = l->count - done < WINDOW ? l->count - done : WINDOW;

        puts_of(out, WINDOW * 100, n, &len);
        send_all(c, out, len);
        for (long i = 0; i < n; i++)
            expect(c, "INSERTED");
        done += n;
    }
    free(out);
    conn_close(c);
    return NULL;
}

/* Deletes go out with the next round's reserves. */
static void
consume(struct conn *c, long count)
{
    char *out = malloc(WINDOW * 64);
    size_t len = 0;
    long deletes = 0;

    if (out == NULL)
        err(1, "malloc");
    for (long done = 0; done < count || deletes > 0;) {
        long n = count - done < WINDOW ? count - done : WINDOW, before = deletes;

        for (long i = 0; i < n; i++)
            len += (size_t)snprintf(out + len, WINDOW * 64 - len, "reserve\r\n");
        send_all(c, out, len);
        for (long i = 0; i < before; i++)
            expect(c, "DELETED");
        len = 0;
        for (deletes = 0; deletes < n; deletes++)
            len += (size_t)snprintf(out + len, WINDOW * 64 - len, "delete %ld\r\n",
                                    reserved(c));
        done += n;
    }
    free(out);
}

static void
throughput(struct load *l)
{
    struct conn *c = conn_open(l->port);
    double start = now();
    pthread_t t;

    if (pthread_create(&t, NULL, produce, l) != 0)
        errx(1, "no thread");
    consume(c, l->count);
    (void)pthread_join(t, NULL);
    printf("durable %.6g jobs/s\n", (double)l->count / (now() - start));
    conn_close(c);
}

static int
by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static void
roundtrip(const struct load *l)
{
    struct conn *c = conn_open(l->port);
    double *took = calloc((size_t)l->count, sizeof(*took));
    char out[200];
    size_t len;

    if (took == NULL)
        err(1, "calloc");
    for (long i = 0; i < l->count; i++) {
        double start = now();

        puts_of(out, sizeof(out), 1, &len);
        send_all(c, out, len);
        expect(c, "INSERTED");
        send_all(c, "reserve\r\n", 9);
        len = (size_t)snprintf(out, sizeof(out), "delete %ld\r\n", reserved(c));
        send_all(c, out, len);
        expect(c, "DELETED");
        took[i] = (now() - start) * 1e3;
    }
    qsort(took, (size_t)l->count, sizeof(*took), by_value);
    printf("roundtrip_p50 %.6g ms\n", took[l->count / 2]);
    printf("roundtrip_p99 %.6g ms\n", took[l->count * 99 / 100]);
    free(took);
    conn_close(c);
}

int
main(int argc, char **argv)
{
    struct load l = {0};

    if (argc == 4) {
        l.port = (uint16_t)strtol(argv[1], NULL, 10);
        l.count = strtol(argv[3], NULL, 10);
    }
    if (l.count <= 0 ||
        (strcmp(argv[2], "throughput") != 0 && strcmp(argv[2], "roundtrip") != 0)) {
        fprintf(stderr, "usage: beanstalk_bench PORT throughput|roundtrip COUNT\n");
        return 2;
    }
    if (strcmp(argv[2], "throughput") == 0)
        throughput(&l);
    else
        roundtrip(&l);
    return 0;
}
