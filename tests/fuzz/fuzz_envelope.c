/* Bytes as a client may send them: unpacked within bounds, and what passes the checks keeps
 * its JSON form. */
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

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const ProtobufCMessageDescriptor *const types[] = {
        &pb_request__descriptor,
        &pb_response__descriptor,
        &pb_event__descriptor,
    };
    const ProtobufCMessageDescriptor *d;
    struct proto_buf first = {0}, second = {0};
    struct proto_arena a;
    struct proto_err err;
    ProtobufCMessage *m, *back;

    if (size == 0)
        return 0;
    d = types[data[0] % 3];
    /* Small limits, too: every allocation must be able to fail. */
    proto_arena_init(&a, data[0] < 64 ? 2000 : 8 << 20);
    if (proto_unpack(d, data + 1, size - 1, PROTO_TRUST, &a, &m, &err) == 0) {
        must(proto_json_print(m, &first) == 0);
        if (proto_check(m, &err) == 0 && a.limit > 2000) {
            must(proto_json_parse(d, first.data, first.len, &a, &back, &err) == 0);
            must(proto_json_print(back, &second) == 0);
            must(strcmp(first.data, second.data) == 0);
        }
    } else {
        must(err.text[0] != '\0');
    }
    proto_buf_free(&first);
    proto_buf_free(&second);
    proto_arena_free(&a);
    return 0;
}
