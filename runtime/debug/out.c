#define _GNU_SOURCE
#include "runtime/debug/out.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

/* One conversion of a format. */
struct spec {
    bool left, zero, plus, space, alt;
    int width;
    int precision; /* -1: none */
    int size;      /* bytes of the integer */
    char conv;
};

void
rt_out_init(struct rt_out *o, int fd)
{
    o->fd = fd;
    o->err = 0;
    o->n = 0;
}

/* A pipe or terminal made non-blocking by someone else must not cut a dump short. */
static int
write_all(int fd, const char *p, size_t n)
{
    while (n > 0) {
        ssize_t w = write(fd, p, n);

        if (w > 0) {
            p += w;
            n -= (size_t)w;
        } else if (w < 0 && errno == EAGAIN) {
            struct pollfd pfd = {.fd = fd, .events = POLLOUT};

            (void)poll(&pfd, 1, -1);
        } else if (w < 0 && errno != EINTR) {
            return -errno;
        }
    }
    return 0;
}

int
rt_out_flush(struct rt_out *o)
{
    int saved = errno;

    if (o->err == 0 && o->n > 0)
        o->err = write_all(o->fd, o->buf, o->n);
    o->n = 0;
    errno = saved;
    return o->err;
}

void
rt_out_mem(struct rt_out *o, const char *s, size_t n)
{
    while (n > 0) {
        size_t room = sizeof(o->buf) - o->n;
        size_t part = n < room ? n : room;

        memcpy(o->buf + o->n, s, part);
        o->n += part;
        s += part;
        n -= part;
        if (o->n == sizeof(o->buf))
            (void)rt_out_flush(o);
    }
}

void
rt_out_char(struct rt_out *o, char c)
{
    rt_out_mem(o, &c, 1);
}

void
rt_out_str(struct rt_out *o, const char *s)
{
    rt_out_mem(o, s, strlen(s));
}

static void
pad(struct rt_out *o, char c, int n)
{
    while (n-- > 0)
        rt_out_char(o, c);
}

static void
put_text(struct rt_out *o, const struct spec *sp, const char *s)
{
    size_t n;
    int fill;

    if (s == NULL)
        s = "(null)";
    n = sp->precision >= 0 ? strnlen(s, (size_t)sp->precision) : strlen(s);
    fill = (size_t)sp->width > n ? sp->width - (int)n : 0;
    if (!sp->left)
        pad(o, ' ', fill);
    rt_out_mem(o, s, n);
    if (sp->left)
        pad(o, ' ', fill);
}

static void
put_number(struct rt_out *o, const struct spec *sp, uint64_t v, const char *sign)
{
    const char *digits = sp->conv == 'X' ? "0123456789ABCDEF" : "0123456789abcdef";
    unsigned base = sp->conv == 'x' || sp->conv == 'X' || sp->conv == 'p' ? 16
                    : sp->conv == 'o'                                     ? 8
                                                                          : 10;
    const char *prefix =
        base == 16 && (sp->conv == 'p' || (sp->alt && v != 0)) ? "0x" : "";
    char text[24];
    int n = 0, zeros, fill;

    for (; v != 0 || n == 0; v /= base)
        text[n++] = digits[v % base];
    zeros = sp->precision > n ? sp->precision - n : 0;
    fill = sp->width - n - zeros - (int)strlen(sign) - (int)strlen(prefix);
    if (sp->zero && !sp->left && sp->precision < 0 && fill > 0) {
        zeros = fill;
        fill = 0;
    }
    if (!sp->left)
        pad(o, ' ', fill);
    rt_out_str(o, sign);
    rt_out_str(o, prefix);
    pad(o, '0', zeros);
    while (n > 0)
        rt_out_char(o, text[--n]);
    if (sp->left)
        pad(o, ' ', fill);
}

/* "%" is behind us: parse up to the conversion, -2 standing for a '*'. */
static const char *
parse(const char *f, struct spec *sp)
{
    *sp = (struct spec){.precision = -1, .size = sizeof(int)};
    for (;; f++) {
        if (*f == '-')
            sp->left = true;
        else if (*f == '0')
            sp->zero = true;
        else if (*f == '+')
            sp->plus = true;
        else if (*f == ' ')
            sp->space = true;
        else if (*f == '#')
            sp->alt = true;
        else
            break;
    }
    if (*f == '*') {
        sp->width = -2;
        f++;
    }
    for (; *f >= '0' && *f <= '9'; f++)
        sp->width = sp->width * 10 + (*f - '0');
    if (*f == '.') {
        sp->precision = 0;
        if (*++f == '*') {
            sp->precision = -2;
            f++;
        }
        for (; *f >= '0' && *f <= '9'; f++)
            sp->precision = sp->precision * 10 + (*f - '0');
    }
    for (;; f++) {
        if (*f == 'h')
            sp->size /= 2;
        else if (*f == 'l' || *f == 'j' || *f == 'z' || *f == 't')
            sp->size = 8;
        else
            break;
    }
    sp->conv = *f;
    return *f == '\0' ? f : f + 1;
}

int
rt_out_knows(const char *fmt)
{
    struct spec sp;

    while ((fmt = strchr(fmt, '%')) != NULL) {
        fmt = parse(fmt + 1, &sp);
        if (sp.conv == '\0' || strchr("diuxXocsp%", sp.conv) == NULL)
            return 0;
    }
    return 1;
}

static int64_t
sign_extend(uint64_t v, int size)
{
    return size == 8   ? (int64_t)v
           : size == 4 ? (int32_t)v
           : size == 2 ? (int16_t)v
                       : (int8_t)v;
}

static uint64_t
zero_extend(uint64_t v, int size)
{
    return size == 8 ? v : v & ((UINT64_C(1) << (8 * size)) - 1);
}

void
rt_out_vfmt(struct rt_out *o, const char *fmt, va_list ap)
{
    struct spec sp;

    for (;;) {
        const char *pct = strchrnul(fmt, '%');
        uint64_t v;

        rt_out_mem(o, fmt, (size_t)(pct - fmt));
        if (*pct == '\0')
            return;
        fmt = parse(pct + 1, &sp);
        if (sp.width == -2)
            sp.width = va_arg(ap, int);
        if (sp.width < 0) {
            sp.left = true;
            sp.width = -sp.width;
        }
        if (sp.precision == -2)
            sp.precision = va_arg(ap, int);

        switch (sp.conv) {
        case '%':
            rt_out_char(o, '%');
            break;
        case 'c': {
            char c[2] = {(char)va_arg(ap, int), '\0'};

            put_text(o, &sp, c);
            break;
        }
        case 's':
            put_text(o, &sp, va_arg(ap, const char *));
            break;
        case 'p':
            put_number(o, &sp, (uintptr_t)va_arg(ap, void *), "");
            break;
        case 'd':
        case 'i': {
            int64_t s;

            v = sp.size == 8 ? va_arg(ap, uint64_t) : va_arg(ap, unsigned);
            s = sign_extend(v, sp.size);
            v = s < 0 ? 0 - (uint64_t)s : (uint64_t)s;
            put_number(o, &sp, v, s < 0 ? "-" : sp.plus ? "+" : sp.space ? " " : "");
            break;
        }
        case 'u':
        case 'x':
        case 'X':
        case 'o':
            v = sp.size == 8 ? va_arg(ap, uint64_t) : va_arg(ap, unsigned);
            put_number(o, &sp, zero_extend(v, sp.size), "");
            break;
        default: /* not known: as written, and no argument is taken */
            rt_out_mem(o, pct, (size_t)(fmt - pct));
        }
    }
}

void
rt_out_fmt(struct rt_out *o, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    rt_out_vfmt(o, fmt, ap);
    va_end(ap);
}
