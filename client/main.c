/*
 * goctl: the command. Sorts the words of the command line, finds the command, connects,
 * runs it.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/cli.h"
#include "client/progress.h"
#include "proto/nearest.h"

#define COMMON_OPTIONS "url token token-file tls-ca tls-cert tls-name json help"

const struct command *const command_groups[] = {
    submit_commands, wait_commands,  job_commands,   live_commands,
    bulk_commands,   batch_commands, queue_commands, schedule_commands,
    daemon_commands, help_commands,  NULL,
};
const char *const command_titles[] = {
    "Submitting", "Waiting", "Looking at jobs", "Watching",   "Changing many jobs",
    "Batches",    "Queues",  "Schedules",       "The daemon", "Help",
};

static const struct command *
find_exact(const char *first, const char *second)
{
    for (size_t g = 0; command_groups[g] != NULL; g++)
        for (const struct command *c = command_groups[g]; c->name != NULL; c++) {
            size_t n = strlen(first);

            if (second == NULL ? strcmp(c->name, first) == 0
                               : strncmp(c->name, first, n) == 0 && c->name[n] == ' ' &&
                                     strcmp(c->name + n + 1, second) == 0)
                return c;
        }
    return NULL;
}

const struct command *
command_find(char **words, size_t n, size_t *ret_used)
{
    const struct command *c = NULL;

    *ret_used = 2;
    if (n >= 2)
        c = find_exact(words[0], words[1]);
    if (c == NULL && n >= 1) {
        *ret_used = 1;
        c = find_exact(words[0], NULL);
    }
    return c;
}

/* Names the nearest command to what was typed. */
static int
unknown_command(char **words, size_t n)
{
    struct nearest near = {.word = words[0]};
    bool group = false;
    char two[128] = "";

    for (size_t g = 0; command_groups[g] != NULL; g++)
        for (const struct command *c = command_groups[g]; c->name != NULL; c++) {
            size_t len = strcspn(c->name, " ");

            if (strlen(words[0]) == len && strncmp(c->name, words[0], len) == 0)
                group = true;
        }
    if (group && n < 2)
        return out_fail(EXIT_USAGE, "%s needs another word; see goctl help %s", words[0],
                        words[0]);
    if (group) {
        (void)snprintf(two, sizeof(two), "%s %s", words[0], words[1]);
        near.word = two;
    }
    for (size_t g = 0; command_groups[g] != NULL; g++)
        for (const struct command *c = command_groups[g]; c->name != NULL; c++)
            nearest_offer(&near, c->name);
    if (near.best != NULL)
        return out_fail(EXIT_USAGE, "unknown command \"%s\"; did you mean \"%s\"?",
                        near.word, near.best);
    return out_fail(EXIT_USAGE, "unknown command \"%s\"; see goctl help", near.word);
}

bool
command_takes(const struct command *cmd, const struct args *a)
{
    for (size_t i = 0; i < opt_count; i++) {
        const char *name = opt_table[i].name;
        struct nearest near = {.word = name};

        if (!a->given[i] || opt_listed(COMMON_OPTIONS, name) ||
            opt_listed(cmd->options, name))
            continue;
        for (size_t k = 0; k < opt_count; k++)
            if (opt_listed(cmd->options, opt_table[k].name))
                nearest_offer(&near, opt_table[k].name);
        if (near.best != NULL)
            (void)out_fail(EXIT_USAGE, "%s has no option --%s; did you mean --%s?",
                           cmd->name, name, near.best);
        else
            (void)out_fail(EXIT_USAGE, "%s has no option --%s; see goctl help %s",
                           cmd->name, name, cmd->name);
        return false;
    }
    return true;
}

static bool
check_count(const struct command *cmd, size_t n, char **argv)
{
    if (n >= cmd->min && n <= cmd->max)
        return true;
    if (n > cmd->max && strcmp(cmd->name, "submit") == 0)
        (void)out_fail(EXIT_USAGE,
                       "\"%s\" is no kind of job: fetch, read, sum, sql, timer", argv[0]);
    else if (n < cmd->min)
        (void)out_fail(EXIT_USAGE, "usage: goctl %s %s; see goctl help %s", cmd->name,
                       cmd->args, cmd->name);
    else
        (void)out_fail(EXIT_USAGE, "too many arguments; usage: goctl %s %s", cmd->name,
                       cmd->args);
    return false;
}

/* The first line of a file, for secrets that have no place in a process list. */
static char *
read_token(const char *path)
{
    FILE *f = fopen(path, "re");
    char *line = NULL;
    size_t cap = 0;

    if (f == NULL) {
        (void)out_fail(EXIT_USAGE, "--token-file: cannot open %s", path);
        return NULL;
    }
    if (getline(&line, &cap, f) < 0) {
        (void)out_fail(EXIT_USAGE, "--token-file: %s is empty", path);
        free(line);
        line = NULL;
    } else {
        line[strcspn(line, "\r\n")] = '\0';
    }
    (void)fclose(f);
    return line;
}

static void
notice(void *arg, const char *text)
{
    struct cli *cli = arg;
    void (*other)(const char *) = __atomic_load_n(&cli->notice, __ATOMIC_ACQUIRE);

    if (other != NULL)
        other(text);
    else
        out_note("%s", text);
}

static int
open_connection(struct cli *cli)
{
    const struct args *a = &cli->a;
    struct goctl_error err;
    char *token = a->token != NULL ? a->token : getenv("GOJOBD_TOKEN");
    int r = 0;

    if (a->token_file != NULL) {
        token = read_token(a->token_file);
        if (token == NULL)
            return EXIT_USAGE;
    }
    struct goctl_options options = {
        .url = a->url,
        .token = token,
        .client = "goctl " GOJOBD_VERSION,
        .tls_ca = a->tls_ca,
        .tls_cert = a->tls_cert,
        .tls_name = a->tls_name,
        .wait_when_busy = true,
        .notice = notice,
        .notice_arg = cli,
    };
    if (goctl_connect(&options, &cli->conn, &err) < 0)
        r = out_error(&err);
    if (a->token_file != NULL)
        free(token);
    return r;
}

static int
run(struct cli *cli, const struct command *cmd)
{
    int code = 0;

    proto_arena_init(&cli->arena, (size_t)1 << 30);
    if (!cmd->offline)
        code = open_connection(cli);
    if (code == 0)
        code = cmd->run(cli);
    out_progress("");
    out_flush();
    goctl_close(cli->conn);
    proto_arena_free(&cli->arena);
    return code;
}

static void
free_args(struct args *a)
{
    struct texts *lists[] = {&a->labels, &a->headers, &a->files, &a->params,
                             &a->states, &a->kinds,   &a->needs};

    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
        free(lists[i]->v);
    free(a->pos);
}

static int
dispatch(struct cli *cli)
{
    const struct command *cmd;
    size_t used = 0;

    if (cli->a.n_pos == 0) {
        command_help(NULL);
        out_flush();
        return cli->a.help ? 0 : EXIT_USAGE;
    }
    cmd = command_find(cli->a.pos, cli->a.n_pos, &used);
    if (cmd == NULL && !cli->a.help)
        return unknown_command(cli->a.pos, cli->a.n_pos);
    if (cli->a.help) {
        command_help(cmd);
        out_flush();
        return 0;
    }
    cli->argv = cli->a.pos + used;
    cli->argc = cli->a.n_pos - used;
    if (!command_takes(cmd, &cli->a) || !check_count(cmd, cli->argc, cli->argv))
        return EXIT_USAGE;
    return run(cli, cmd);
}

int
main(int argc, char **argv)
{
    struct cli cli = {0};
    char text[512];
    int code;

    out_init();
    (void)signal(SIGPIPE, SIG_IGN); /* out.c sees the error instead */
    interrupt_init();
    if (opt_parse(argc, argv, &cli.a, text, sizeof(text)) < 0)
        code = out_fail(EXIT_USAGE, "%s", text);
    else
        code = dispatch(&cli);
    free_args(&cli.a);
    return code;
}
