/* Text as people write it: refused with words, or a message that keeps its JSON form, packs
 * and comes back. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "proto/json.h"
#include "proto/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
must(int ok)
{
    if (!ok)
        abort();
}

/* What was read must survive printing and packing. */
static void
check_round_trips(const ProtobufCMessageDescriptor *d, const ProtobufCMessage *m)
{
    struct proto_buf text = {0}, again = {0}, wire = {0};
    struct proto_arena a;
    struct proto_err err;
    ProtobufCMessage *back;

    proto_arena_init(&a, 32 << 20);
    must(proto_json_print(m, &text) == 0);
    must(proto_json_parse(d, text.data, text.len, &a, &back, &err) == 0);
    must(proto_json_print(back, &again) == 0);
    must(strcmp(text.data, again.data) == 0);

    must(proto_pack(m, &wire) == 0);
    must(proto_unpack(d, wire.data, wire.len, PROTO_TRUST, &a, &back, &err) == 0);
    proto_buf_reset(&again);
    must(proto_json_print(back, &again) == 0);
    must(strcmp(text.data, again.data) == 0);
    proto_buf_free(&text);
    proto_buf_free(&again);
    proto_buf_free(&wire);
    proto_arena_free(&a);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const ProtobufCMessageDescriptor *const types[] = {
        &pb_job_spec__descriptor,
        &pb_schedule_spec__descriptor,
        &pb_request__descriptor,
        &pb_job__descriptor,
    };
    const ProtobufCMessageDescriptor *d;
    struct proto_arena a;
    struct proto_err err;
    ProtobufCMessage *m;

    if (size == 0)
        return 0;
    d = types[data[0] % 4];
    proto_arena_init(&a, 8 << 20);
    if (proto_json_parse(d, (const char *)data + 1, size - 1, &a, &m, &err) == 0)
        check_round_trips(d, m);
    else
        must(err.text[0] != '\0');
    proto_arena_free(&a);
    return 0;
}
