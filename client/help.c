#include <stdio.h>
#include <string.h>

#include "client/cli.h"

static void
options(const char *list)
{
    for (size_t i = 0; i < opt_count; i++) {
        const struct opt *o = &opt_table[i];
        char left[64];
        char letter[8] = "    ";

        if (!opt_listed(list, o->name))
            continue;
        if (o->letter != 0)
            (void)snprintf(letter, sizeof(letter), "-%c, ", o->letter);
        (void)snprintf(left, sizeof(left), "%s--%s%s%s", letter, o->name,
                       o->arg != NULL ? " " : "", o->arg != NULL ? o->arg : "");
        out_printf("  %-24s %s\n", left, o->help);
    }
}

static void
overview(void)
{
    out_printf("usage: goctl COMMAND [OPTION...] [ARGUMENT...]\n\n"
               "Submits jobs to gojobd and shows what came of them.\n");
    for (size_t g = 0; command_groups[g] != NULL; g++) {
        out_printf("\n%s\n", command_titles[g]);
        for (const struct command *c = command_groups[g]; c->name != NULL; c++)
            out_printf("  %-18s %s\n", c->name, c->summary);
    }
    out_printf("\nEvery command takes\n");
    options("url token token-file json help");
    out_printf(
        "\nExit status: 0 all succeeded, 1 some job did not, 2 usage, 3 no daemon,\n"
        "4 refused by the daemon, 124 the deadline passed while waiting.\n"
        "`goctl help COMMAND` explains one, with an example.\n");
}

void
command_help(const struct command *cmd)
{
    if (cmd == NULL) {
        overview();
        return;
    }
    out_printf("usage: goctl %s %s\n\n%s.\n", cmd->name, cmd->args, cmd->summary);
    if (cmd->detail != NULL)
        out_printf("\n%s\n", cmd->detail);
    if (cmd->options != NULL && *cmd->options != '\0') {
        out_printf("\nOptions\n");
        options(cmd->options);
    }
    out_printf("\nAs with every command\n");
    options("url token token-file tls-ca tls-cert tls-name json help");
    out_printf("\nExample\n  goctl %s\n", cmd->example);
}

static int
run_help(struct cli *cli)
{
    const struct command *cmd;
    bool any = false;
    size_t used;

    if (cli->argc == 0) {
        overview();
        return 0;
    }
    cmd = command_find(cli->argv, cli->argc, &used);
    if (cmd != NULL && used == cli->argc) {
        command_help(cmd);
        return 0;
    }
    /* "help batch": the commands that begin so. */
    for (size_t g = 0; command_groups[g] != NULL; g++)
        for (const struct command *c = command_groups[g]; c->name != NULL; c++) {
            size_t n = strlen(cli->argv[0]);

            if (strncmp(c->name, cli->argv[0], n) != 0 || c->name[n] != ' ')
                continue;
            out_printf("  goctl %s %s\n      %s\n", c->name, c->args, c->summary);
            any = true;
        }
    if (!any)
        return out_fail(EXIT_USAGE, "there is no command \"%s\"; see goctl help",
                        cli->argv[0]);
    return 0;
}

static int
run_version(struct cli *cli)
{
    if (cli->a.json)
        out_printf("{\"version\":\"%s\"}\n", GOJOBD_VERSION);
    else
        out_printf("goctl %s\n", GOJOBD_VERSION);
    return 0;
}

const struct command help_commands[] = {
    {"help", "[COMMAND]", "Explain a command", "", NULL, "help submit fetch", 0, 2, true,
     run_help},
    {"version", "", "Print goctl's version; ping prints the daemon's", "", NULL,
     "version", 0, 0, true, run_version},
    {0},
};
