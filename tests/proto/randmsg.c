#include "tests/proto/randmsg.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "proto/field.h"
#include "proto/number.h"
#include "proto/wire.h"

/* splitmix64 */
uint64_t
randmsg_next(struct randmsg *r)
{
    uint64_t z = r->state += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

uint64_t
randmsg_below(struct randmsg *r, uint64_t n)
{
    return randmsg_next(r) % n;
}

static void *
new_bytes(struct randmsg *r, size_t n)
{
    void *p = proto_arena_alloc(r->arena, n);

    if (p == NULL)
        abort();
    memset(p, 0, n);
    return p;
}

/* Small numbers, powers of two and their neighbours, and anything. */
static uint64_t
rand_uint(struct randmsg *r)
{
    switch (randmsg_below(r, 3)) {
    case 0:
        return randmsg_below(r, 100);
    case 1:
        return (UINT64_C(1) << randmsg_below(r, 64)) + randmsg_below(r, 3) - 1;
    default:
        return randmsg_next(r);
    }
}

static double
rand_double(struct randmsg *r)
{
    uint64_t bits = randmsg_next(r);
    double d;

    switch (randmsg_below(r, 4)) {
    case 0:
        return (double)(int64_t)randmsg_below(r, 2000) / 8 - 100;
    case 1:
        return (double)randmsg_below(r, 1000) / 1000;
    default:
        memcpy(&d, &bits, sizeof(d));
        return isfinite(d) ? d : 0.1;
    }
}

static char *
rand_string(struct randmsg *r)
{
    static const char *const pieces[] = {
        "a",  "Z",    "0",    " ", "\"",       "\\",           "\n",
        "\t", "\x01", "\x7f", "/", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80",
        "</", "\r",
    };
    char *s = new_bytes(r, 64);
    size_t n = randmsg_below(r, 12), len = 0;

    for (size_t i = 0; i < n; i++) {
        for (const char *piece =
                 pieces[randmsg_below(r, sizeof(pieces) / sizeof(pieces[0]))];
             *piece != '\0'; piece++)
            s[len++] = *piece;
    }
    return s;
}

static char *
rand_big(struct randmsg *r)
{
    i128 v = (i128)((unsigned __int128)randmsg_next(r) << 64 | randmsg_next(r));
    char *text = new_bytes(r, I128_TEXT_MAX);

    if (i128_fits_int64(v))
        v = (i128)1 << 100;
    i128_format(v, text);
    return text;
}

static void
rand_value(struct randmsg *r, const ProtobufCFieldDescriptor *f, void *at)
{
    const ProtobufCEnumDescriptor *e = f->descriptor;
    ProtobufCBinaryData *data = at;
    uint64_t v = rand_uint(r);

    switch (f->type) {
    case PROTOBUF_C_TYPE_BOOL:
        *(protobuf_c_boolean *)at = (int)(v & 1);
        break;
    case PROTOBUF_C_TYPE_DOUBLE:
        *(double *)at = rand_double(r);
        break;
    case PROTOBUF_C_TYPE_FLOAT:
        *(float *)at = (float)randmsg_below(r, 1000) / 8;
        break;
    case PROTOBUF_C_TYPE_ENUM:
        *(int *)at = e->values[randmsg_below(r, e->n_values)].value;
        break;
    case PROTOBUF_C_TYPE_STRING:
        *(char **)at = rand_string(r);
        break;
    case PROTOBUF_C_TYPE_BYTES:
        data->len = randmsg_below(r, 20);
        data->data = new_bytes(r, data->len);
        for (size_t i = 0; i < data->len; i++)
            data->data[i] = (uint8_t)randmsg_next(r);
        break;
    case PROTOBUF_C_TYPE_MESSAGE:
        *(ProtobufCMessage **)at = randmsg_new(r, f->descriptor);
        break;
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_SFIXED32:
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
        memcpy(at, &v, field_size(f)); /* the low half for 32 bits */
        break;
    }
}

static void
rand_field(struct randmsg *r, ProtobufCMessage *m, const ProtobufCFieldDescriptor *f)
{
    size_t n, size = field_size(f);
    char *items;

    if (!field_is_repeated(f)) {
        rand_value(r, f, field_at_mut(m, f));
        field_mark(m, f);
        return;
    }
    n = field_is_map(f) ? 1 : 1 + randmsg_below(r, 3); /* a map's keys differ */
    items = new_bytes(r, n * size);
    for (size_t i = 0; i < n; i++)
        rand_value(r, f, items + i * size);
    *(char **)field_at_mut(m, f) = items;
    *(size_t *)field_quantifier(m, f) = n;
}

/* Forms that JSON cannot keep apart: a duration that is absent inside, an integer that fits
 * int64 spelled as a big one. */
static void
canonical(struct randmsg *r, ProtobufCMessage *m)
{
    PbNumber *number = (PbNumber *)m; /* used where the shape says so */
    PbNumberList *list = (PbNumberList *)m;

    switch (field_shape(m->descriptor)) {
    case SHAPE_DURATION:
        ((PbDuration *)m)->has_ns = 1;
        break;
    case SHAPE_TIMESTAMP:
        ((PbTimestamp *)m)->has_ns = 1;
        break;
    case SHAPE_NUMBER:
        if (number->kind_case == PB_NUMBER__KIND__NOT_SET) {
            number->kind_case = PB_NUMBER__KIND_INT;
            number->int_ = 7;
        } else if (number->kind_case == PB_NUMBER__KIND_BIG) {
            number->big = rand_big(r);
        }
        break;
    case SHAPE_NUMBER_LIST:
        for (size_t i = 0; i < list->n_bigs; i++)
            list->bigs[i] = rand_big(r);
        break;
    case SHAPE_VALUE:
    case SHAPE_ROW:
    case SHAPE_OBJECT:
        break;
    }
}

/* A map's entry has both its strings. */
static bool
is_entry(const ProtobufCMessageDescriptor *d)
{
    return d->n_fields == 2 && strcmp(d->fields[0].name, "key") == 0 &&
           strcmp(d->fields[1].name, "value") == 0;
}

ProtobufCMessage *
randmsg_new(struct randmsg *r, const ProtobufCMessageDescriptor *d)
{
    ProtobufCMessage *m = proto_new(r->arena, d);

    if (m == NULL)
        abort();
    for (unsigned i = 0; i < d->n_fields; i++) {
        const ProtobufCFieldDescriptor *f = &d->fields[i];

        /* A later member of a oneof replaces an earlier one. */
        if (is_entry(d) || randmsg_below(r, field_is_oneof(f) ? 5 : 2) == 0)
            rand_field(r, m, f);
    }
    canonical(r, m);
    return m;
}
