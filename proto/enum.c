#include "proto/enum.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "proto/field.h"
#include "proto/json.h"

/* The value 0 that stands for "not set" in some enums: it is read, but nobody has to say it. */
static bool
means_unset(const ProtobufCEnumDescriptor *e, const ProtobufCEnumValue *v)
{
    return v->value == 0 && strcmp(field_enum_name(e, v->name), "NONE") == 0;
}

int
enum_unknown(struct proto_err *err, const char *path, const ProtobufCEnumDescriptor *e,
             const char *text)
{
    char known[200] = "", name[PROTO_ENUM_TEXT_MAX];
    size_t len = 0;

    for (unsigned i = 0; i < e->n_values; i++) {
        int n;

        if (means_unset(e, &e->values[i]))
            continue;
        n = snprintf(known + len, sizeof(known) - len, "%s%s", len > 0 ? ", " : "",
                     proto_enum_text(e, e->values[i].value, name));
        if ((size_t)n >= sizeof(known) - len) {
            memcpy(known + sizeof(known) - 4, "...", 4);
            break;
        }
        len += (size_t)n;
    }
    return proto_err_set(err, -EINVAL, path,
                         "unknown value \"%.40s\", expected one of %s", text, known);
}

static bool
same_word(const char *a, const char *b)
{
    while (*a != '\0' && tolower((unsigned char)*a) == tolower((unsigned char)*b)) {
        a++;
        b++;
    }
    return *a == *b;
}

const ProtobufCEnumValue *
enum_find(const ProtobufCEnumDescriptor *e, const char *text)
{
    for (unsigned i = 0; i < e->n_values; i++) {
        const ProtobufCEnumValue *v = &e->values[i];

        if (same_word(text, v->name) || same_word(text, field_enum_name(e, v->name)))
            return v;
    }
    return NULL;
}

int
proto_enum_parse(const ProtobufCEnumDescriptor *e, const char *text, int *ret,
                 const char *path, struct proto_err *err)
{
    const ProtobufCEnumValue *v = enum_find(e, text);

    if (v == NULL || means_unset(e, v))
        return err == NULL ? -EINVAL : enum_unknown(err, path, e, text);
    *ret = v->value;
    return 0;
}
