#include "proto/json.h"

#include <ctype.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "proto/base64.h"
#include "proto/field.h"
#include "proto/number.h"
#include "proto/units.h"
#include "proto/utf8.h"

struct printer {
    struct proto_buf *b;
    int indent; /* current depth, -1 on one line */
};

static void print_message(struct printer *p, const ProtobufCMessage *m);

void
proto_json_string(struct proto_buf *b, const char *s, size_t len)
{
    size_t from = 0, i = 0;
    char esc[8];

    proto_buf_addc(b, '"');
    while (i < len) {
        unsigned char c = (unsigned char)s[i];
        size_t n = c < 0x80 ? 1 : utf8_sequence(s + i, len - i);

        if (n > 0 && c >= 0x20 && c != '"' && c != '\\' && c != 0x7f) {
            i += n;
            continue;
        }
        proto_buf_add(b, s + from, i - from);
        if (n == 0)
            proto_buf_adds(b, "\xef\xbf\xbd");
        else if (c == '"' || c == '\\')
            proto_buf_add(b, (char[]){'\\', (char)c}, 2);
        else if (c == '\n')
            proto_buf_adds(b, "\\n");
        else if (c == '\t')
            proto_buf_adds(b, "\\t");
        else if (c == '\r')
            proto_buf_adds(b, "\\r");
        else {
            (void)snprintf(esc, sizeof(esc), "\\u%04x", c);
            proto_buf_adds(b, esc);
        }
        from = ++i;
    }
    proto_buf_add(b, s + from, len - from);
    proto_buf_addc(b, '"');
}

static void
print_cstring(struct printer *p, const char *s)
{
    proto_json_string(p->b, s == NULL ? "" : s, s == NULL ? 0 : strlen(s));
}

static void
print_double(struct printer *p, double v)
{
    char text[DOUBLE_TEXT_MAX];
    size_t n = double_format(v, text);

    /* NaN and the infinities are the only ones with letters at the end. */
    if (isalpha((unsigned char)text[n - 1]))
        print_cstring(p, text);
    else
        proto_buf_add(p->b, text, n);
}

/* Decimal, without printf: most of what is printed are numbers. */
static void
print_digits(struct printer *p, bool negative, uint64_t v)
{
    char text[24];
    size_t n = sizeof(text);

    do {
        text[--n] = (char)('0' + v % 10);
        v /= 10;
    } while (v != 0);
    if (negative)
        text[--n] = '-';
    proto_buf_add(p->b, text + n, sizeof(text) - n);
}

static void
print_int(struct printer *p, int64_t v)
{
    print_digits(p, v < 0, v < 0 ? 0 - (uint64_t)v : (uint64_t)v);
}

static void
print_uint(struct printer *p, uint64_t v)
{
    if (v > INT64_MAX)
        proto_buf_addc(p->b, '"');
    print_digits(p, false, v);
    if (v > INT64_MAX)
        proto_buf_addc(p->b, '"');
}

static void
print_bytes(struct printer *p, const ProtobufCBinaryData *d)
{
    size_t n = BASE64_ENCODED(d->len);
    char *out;

    proto_buf_addc(p->b, '"');
    out = proto_buf_reserve(p->b, n);
    if (out == NULL)
        return;
    base64_encode(d->data, d->len, out);
    p->b->len += n;
    proto_buf_addc(p->b, '"');
}

const char *
proto_enum_text(const ProtobufCEnumDescriptor *e, int value,
                char out[PROTO_ENUM_TEXT_MAX])
{
    const ProtobufCEnumValue *v = protobuf_c_enum_descriptor_get_value(e, value);
    char *p;

    if (v == NULL)
        (void)snprintf(out, PROTO_ENUM_TEXT_MAX, "%d", value);
    else
        (void)snprintf(out, PROTO_ENUM_TEXT_MAX, "%s", field_enum_name(e, v->name));
    for (p = out; *p != '\0'; p++)
        *p = (char)tolower((unsigned char)*p);
    return out;
}

static void
print_enum(struct printer *p, const ProtobufCEnumDescriptor *e, int value)
{
    char text[PROTO_ENUM_TEXT_MAX];

    if (protobuf_c_enum_descriptor_get_value(e, value) == NULL)
        print_int(p, value);
    else
        print_cstring(p, proto_enum_text(e, value, text));
}

static void
newline(struct printer *p)
{
    if (p->indent < 0)
        return;
    proto_buf_addc(p->b, '\n');
    for (int i = 0; i < p->indent; i++)
        proto_buf_adds(p->b, "  ");
}

static void
open_block(struct printer *p, char c)
{
    proto_buf_addc(p->b, c);
    if (p->indent >= 0)
        p->indent++;
}

static void
close_block(struct printer *p, char c, bool any)
{
    if (p->indent >= 0)
        p->indent--;
    if (any)
        newline(p);
    proto_buf_addc(p->b, c);
}

static void
next_item(struct printer *p, bool *any)
{
    if (*any)
        proto_buf_addc(p->b, ',');
    *any = true;
    newline(p);
}

static void
print_key(struct printer *p, const char *key)
{
    print_cstring(p, key);
    proto_buf_adds(p->b, p->indent >= 0 ? ": " : ":");
}

static void
print_value(struct printer *p, const ProtobufCFieldDescriptor *f, const void *at)
{
    switch (f->type) {
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_SFIXED32:
        print_int(p, *(const int32_t *)at);
        break;
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
        print_int(p, *(const int64_t *)at);
        break;
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
        print_uint(p, *(const uint32_t *)at);
        break;
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
        print_uint(p, *(const uint64_t *)at);
        break;
    case PROTOBUF_C_TYPE_FLOAT:
        print_double(p, (double)*(const float *)at);
        break;
    case PROTOBUF_C_TYPE_DOUBLE:
        print_double(p, *(const double *)at);
        break;
    case PROTOBUF_C_TYPE_BOOL:
        proto_buf_adds(p->b, *(const protobuf_c_boolean *)at ? "true" : "false");
        break;
    case PROTOBUF_C_TYPE_ENUM:
        print_enum(p, f->descriptor, *(const int *)at);
        break;
    case PROTOBUF_C_TYPE_STRING:
        print_cstring(p, *(const char *const *)at);
        break;
    case PROTOBUF_C_TYPE_BYTES:
        print_bytes(p, at);
        break;
    case PROTOBUF_C_TYPE_MESSAGE:
        print_message(p, *(const ProtobufCMessage *const *)at);
        break;
    }
}

/* Later entries of a key win when they are read, so each is written as it comes. */
static void
print_map(struct printer *p, const ProtobufCFieldDescriptor *f,
          const ProtobufCMessage *const *entries, size_t n)
{
    const ProtobufCFieldDescriptor *kv =
        ((const ProtobufCMessageDescriptor *)f->descriptor)->fields;
    bool any = false;

    open_block(p, '{');
    for (size_t i = 0; i < n; i++) {
        const char *key = *(const char *const *)field_at(entries[i], &kv[0]);

        next_item(p, &any);
        print_key(p, key);
        print_cstring(p, *(const char *const *)field_at(entries[i], &kv[1]));
    }
    close_block(p, '}', any);
}

/* Lists of plain values stay on their line, lists of objects do not. */
static void
print_list(struct printer *p, const ProtobufCFieldDescriptor *f, const char *items,
           size_t n)
{
    size_t size = field_size(f);
    int indent = p->indent;
    bool any = false;

    if (f->type != PROTOBUF_C_TYPE_MESSAGE || field_shape(f->descriptor) != SHAPE_OBJECT)
        p->indent = -1;
    open_block(p, '[');
    for (size_t i = 0; i < n; i++) {
        next_item(p, &any);
        print_value(p, f, items + i * size);
    }
    close_block(p, ']', any);
    p->indent = indent;
}

static void
print_object(struct printer *p, const ProtobufCMessage *m)
{
    const ProtobufCMessageDescriptor *d = m->descriptor;
    bool any = false;

    open_block(p, '{');
    for (unsigned i = 0; i < d->n_fields; i++) {
        const ProtobufCFieldDescriptor *f = &d->fields[i];
        const void *at = field_at(m, f);
        size_t n = field_count(m, f);

        if (n == 0)
            continue;
        next_item(p, &any);
        print_key(p, f->name);
        if (field_is_map(f))
            print_map(p, f, *(const ProtobufCMessage *const *const *)at, n);
        else if (field_is_repeated(f))
            print_list(p, f, *(const char *const *)at, n);
        else
            print_value(p, f, at);
    }
    close_block(p, '}', any);
}

static void
print_number(struct printer *p, const PbNumber *v)
{
    if (v->kind_case == PB_NUMBER__KIND_INT)
        print_int(p, v->int_);
    else if (v->kind_case == PB_NUMBER__KIND_REAL)
        print_double(p, v->real);
    else if (v->kind_case == PB_NUMBER__KIND_BIG)
        print_cstring(p, v->big);
    else
        proto_buf_adds(p->b, "null");
}

static void
print_number_list(struct printer *p, const PbNumberList *v)
{
    int indent = p->indent;
    bool any = false;

    p->indent = -1;
    proto_buf_addc(p->b, '[');
    for (size_t i = 0; i < v->n_ints; i++) {
        next_item(p, &any);
        print_int(p, v->ints[i]);
    }
    for (size_t i = 0; i < v->n_reals; i++) {
        next_item(p, &any);
        print_double(p, v->reals[i]);
    }
    for (size_t i = 0; i < v->n_bigs; i++) {
        next_item(p, &any);
        print_cstring(p, v->bigs[i]);
    }
    proto_buf_addc(p->b, ']');
    p->indent = indent;
}

static void
print_sql_value(struct printer *p, const PbValue *v)
{
    switch (v->kind_case) {
    case PB_VALUE__KIND_FLAG:
        proto_buf_adds(p->b, v->flag ? "true" : "false");
        return;
    case PB_VALUE__KIND_INT:
        print_int(p, v->int_);
        return;
    case PB_VALUE__KIND_REAL:
        print_double(p, v->real);
        return;
    case PB_VALUE__KIND_TEXT:
        print_cstring(p, v->text);
        return;
    case PB_VALUE__KIND_BLOB:
        proto_buf_adds(p->b, "{\"base64\":");
        print_bytes(p, &v->blob);
        proto_buf_addc(p->b, '}');
        return;
    case PB_VALUE__KIND__NOT_SET:
        break;
    }
    proto_buf_adds(p->b, "null");
}

static void
print_message(struct printer *p, const ProtobufCMessage *m)
{
    char text[UNITS_TEXT_MAX];

    switch (field_shape(m->descriptor)) {
    case SHAPE_DURATION:
        units_format_seconds(pb_duration_ns((const PbDuration *)m, 0), text);
        print_cstring(p, text);
        break;
    case SHAPE_TIMESTAMP:
        units_format_time(pb_timestamp_ns((const PbTimestamp *)m, 0), text);
        print_cstring(p, text);
        break;
    case SHAPE_NUMBER:
        print_number(p, (const PbNumber *)m);
        break;
    case SHAPE_NUMBER_LIST:
        print_number_list(p, (const PbNumberList *)m);
        break;
    case SHAPE_VALUE:
        print_sql_value(p, (const PbValue *)m);
        break;
    case SHAPE_ROW: {
        const PbRow *row = (const PbRow *)m;

        print_list(p, &pb_row__descriptor.fields[0], (const char *)row->values,
                   row->n_values);
        break;
    }
    case SHAPE_OBJECT:
        print_object(p, m);
        break;
    }
}

int
proto_json_print(const ProtobufCMessage *m, struct proto_buf *b)
{
    struct printer p = {.b = b, .indent = -1};

    print_message(&p, m);
    return b->failed ? -ENOMEM : 0;
}

int
proto_json_print_pretty(const ProtobufCMessage *m, struct proto_buf *b)
{
    struct printer p = {.b = b, .indent = 0};

    print_message(&p, m);
    proto_buf_addc(b, '\n');
    return b->failed ? -ENOMEM : 0;
}
