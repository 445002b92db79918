/*
 * Why some input was refused: the path of the field at fault ("fetch.headers[2].name") and
 * a sentence that names it again. The first error wins; nothing is allocated.
 */
#ifndef GOJOBD_PROTO_ERR_H
#define GOJOBD_PROTO_ERR_H

struct proto_err {
    char field[192]; /* "" when no field is meant */
    char text[320];
    int line; /* in the text that was parsed, from 1; 0 when unknown */
    int column;
};

/* Returns r, so that a parser can `return proto_err_set(...)`. field may be NULL. */
int proto_err_set(struct proto_err *e, int r, const char *field, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

#endif
