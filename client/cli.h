/*
 * goctl: what its commands share.
 *
 * Each command group has a file, which exports a table of commands; main.c joins them.
 */
#ifndef GOJOBD_CLIENT_CLI_H
#define GOJOBD_CLIENT_CLI_H

#include "client/goctl.h"
#include "client/opt.h"
#include "client/out.h"
#include "proto/arena.h"
#include "proto/err.h"

/* The build says which; code checkers do not. */
#ifndef GOJOBD_VERSION
#define GOJOBD_VERSION "unknown"
#endif

struct cli {
    struct args a;
    char **argv; /* the command's own arguments */
    size_t argc;
    struct goctl *conn;       /* open, unless the command is offline */
    struct proto_arena arena; /* for what lives until the command ends */
    PbNeeds *needs;           /* of --needs, once needs_read */
    bool needs_read;
    /* Where the library's notices go; NULL: to standard error. Atomic. */
    void (*notice)(const char *text);
};

struct command {
    const char *name; /* one or two words */
    const char *args; /* after the name, in help */
    const char *summary;
    const char *options; /* names of those it takes, beside the common ones */
    const char *detail;  /* more help, or NULL */
    const char *example; /* arguments after "goctl" */
    size_t min, max;     /* arguments it takes */
    bool offline;        /* needs no daemon */
    int (*run)(struct cli *cli);
};

enum { ARGS_ANY = 1 << 20 };

/* Ended by a command without a name. */
extern const struct command submit_commands[];
extern const struct command wait_commands[];
extern const struct command job_commands[];
extern const struct command live_commands[];
extern const struct command bulk_commands[];
extern const struct command batch_commands[];
extern const struct command queue_commands[];
extern const struct command schedule_commands[];
extern const struct command daemon_commands[];
extern const struct command help_commands[];
extern const struct command *const command_groups[]; /* NULL-terminated */
extern const char *const command_titles[];

/* What the first one or two words name; NULL: none. */
const struct command *command_find(char **words, size_t n, size_t *ret_used);
void command_help(const struct command *cmd);
/* Prints what a bulk call did: "3 of 5 jobs cancelled". Returns the exit code: not 0 if it
 * found less than the jobs that were named one by one. */
int bulk_report(struct cli *cli, PbRequest *req, const char *verb, size_t named);
/* Whether all options given are the command's; false after a complaint. */
bool command_takes(const struct command *cmd, const struct args *a);

/* A message in the command's arena; never NULL, as it ends the process out of memory. */
void *cli_new(struct cli *cli, const ProtobufCMessageDescriptor *d);
void *cli_alloc(struct cli *cli, size_t n);
char *cli_dup(struct cli *cli, const char *s);
PbDuration *cli_duration(struct cli *cli, int64_t ns);
PbTimestamp *cli_timestamp(struct cli *cli, int64_t ns);

/* One call; its reply is of the expected case, or the exit code is in *ret_code, after a
 * complaint, and NULL is returned. */
struct goctl_reply *cli_call(struct cli *cli, PbRequest *req, PbResponse__ReplyCase what,
                             int *ret_code);

/* A job's number; false after a complaint. */
bool cli_id(const char *s, uint64_t *ret);
/* A number from 0. Says nothing. */
bool cli_count(const char *s, uint64_t *ret);
/* A batch's number, or else its name. */
void cli_batch(const char *s, uint64_t *ret_id, const char **ret_name);

/* The options that choose jobs. */
#define SELECT_OPTIONS "batch state kind label name queue schedule finished-before "

/* What --batch, --state, --kind, --label, --name, --queue, --schedule and --finished-before
 * select; *ret NULL: nothing was said. False after a complaint. */
bool cli_selector(struct cli *cli, PbSelector **ret);

/* The values of a repeated option, "a,b" taken apart, of an enum. False after a complaint. */
bool cli_enums(struct cli *cli, const struct texts *t, const ProtobufCEnumDescriptor *e,
               const char *option, int **ret, size_t *ret_n);

/* "K=V" options as labels, of an entry type with key and value. False after a complaint. */
struct cli_pair {
    char *key, *value;
};
bool cli_pairs(struct cli *cli, bool select, struct cli_pair **ret, size_t *ret_n);

#endif
