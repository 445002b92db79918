#include "daemon/errtext.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/wire.h"

void
errtext_print(char *out, size_t size, int code, const char *field, const char *message)
{
    (void)snprintf(out, size, "%d %s|%s", code, field != NULL ? field : "", message);
}

PbError *
errtext_parse(struct proto_arena *a, const char *text, int dflt)
{
    PbError *e = proto_new(a, &pb_error__descriptor);
    const char *bar = strchr(text, '|');
    char *end;
    long code = strtol(text, &end, 10);

    if (e == NULL)
        return NULL;
    if (end == text || *end != ' ' || bar == NULL ||
        protobuf_c_enum_descriptor_get_value(&pb_error__code__descriptor, (int)code) ==
            NULL) {
        PB_SET(e, code, (PbError__Code)dflt);
        e->message = proto_arena_dup(a, text, strlen(text));
        return e->message != NULL ? e : NULL;
    }
    PB_SET(e, code, (PbError__Code)code);
    if (bar > end + 1)
        e->field = proto_arena_dup(a, end + 1, (size_t)(bar - end - 1));
    e->message = proto_arena_dup(a, bar + 1, strlen(bar + 1));
    return e->message != NULL ? e : NULL;
}
