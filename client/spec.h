/*
 * Job specs from the command line.
 */
#ifndef GOJOBD_CLIENT_SPEC_H
#define GOJOBD_CLIENT_SPEC_H

#include "client/cli.h"

/* What the options say for every job, where spec does not say it itself. Allocates from
 * arena. False after a complaint. */
bool spec_defaults(struct cli *cli, struct proto_arena *arena, PbJobSpec *spec);

/* An option's word, of those of an enum. False after a complaint. */
bool spec_word(const ProtobufCEnumDescriptor *e, const char *text, const char *option,
               int *ret);

/* What --deadline, --fail-fast and --max-parallel say of a batch. */
PbBatchSpec *spec_batch(struct cli *cli);

/* "fetch", "read", ...: one spec an argument, or one for all (sum of numbers, timer).
 * Lives in the command's arena. subject names what it is about. False after a complaint. */
struct spec_list {
    PbJobSpec **specs;
    char **subjects;
    size_t n;
};
bool spec_fetch(struct cli *cli, struct spec_list *ret);
bool spec_read(struct cli *cli, struct spec_list *ret);
bool spec_sum(struct cli *cli, struct spec_list *ret);
bool spec_sql(struct cli *cli, struct spec_list *ret);
bool spec_timer(struct cli *cli, struct spec_list *ret);

#endif
