/* gojobd: reads its command line and configuration, then enters the runtime. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sysexits.h>

#include "daemon/daemon.h"
#include "daemon/log.h"
#include "daemon/schedule_config.h"
#include "daemon/service.h"
#include "runtime/go.h"

static struct service_opts opts = {.log_level = -1, .log_format = -1};
static struct config *config; /* service_run() takes it */

static void
usage(FILE *out)
{
    (void)fputs(
        "usage: gojobd [--config FILE] [OPTION...]\n"
        "\n"
        "  --config FILE        the configuration; without it, all defaults\n"
        "  --check-config       say whether the configuration is right, and end\n"
        "  --log-level LEVEL    error, warning, notice, info or debug\n"
        "  --log-format FORMAT  text or json\n"
        "  --version            print the version, and end\n"
        "  --help               print this, and end\n"
        "\n"
        "An empty configuration is a valid one; the installed gojobd.yaml has every key\n"
        "with its default. SIGTERM lets running jobs end, and stops; a second one stops\n"
        "at once. SIGHUP reads the configuration again.\n"
        "Exit status: 0 stopped, 1 an error that was logged, 64 usage, 78 "
        "configuration.\n"
        "See gojobd(8) and gojobd.yaml(5).\n",
        out);
}

/* The index of word in the list, which ends with NULL; -1: not there. */
static int
index_of(const char *word, const char *const *list)
{
    for (int i = 0; list[i] != NULL; i++)
        if (strcmp(word, list[i]) == 0)
            return i;
    return -1;
}

static int
run(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    if (config->runtime.gomaxprocs > 0 && getenv("GOMAXPROCS") == NULL)
        (void)go_maxprocs((int)config->runtime.gomaxprocs);
    (void)go_max_threads((int)config->runtime.threads);
    return service_run(config, &opts);
}

/* What is left to check once the file has been read. */
static int
check_run(int argc, char **argv)
{
    struct cfg_err err = {.text = ""};
    int r = schedule_config_check(config, opts.config_path, &err);

    (void)argc;
    (void)argv;
    if (r < 0)
        (void)fprintf(stderr, "%s\n", err.text[0] != '\0' ? err.text : strerror(-r));
    else
        (void)printf("%s is right\n", opts.config_path != NULL
                                          ? opts.config_path
                                          : "the default configuration");
    cfg_free(config);
    return r < 0 ? EX_CONFIG : 0;
}

static int
load(void)
{
    struct cfg_err err = {.text = ""};
    int r = opts.config_path != NULL ? cfg_load(opts.config_path, &config, &err)
                                     : cfg_parse("defaults", "", 0, &config, &err);

    if (r < 0)
        (void)fprintf(stderr, "%s\n", err.text[0] != '\0' ? err.text : strerror(-r));
    return r;
}

/* A client is a file descriptor, and so is a fetch: as many as the system lets us have. */
static void
raise_limits(void)
{
    struct rlimit files;

    if (getrlimit(RLIMIT_NOFILE, &files) < 0 || files.rlim_cur == files.rlim_max)
        return;
    files.rlim_cur = files.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &files);
}

int
main(int argc, char **argv)
{
    static const char *const levels[] = {"error", "warning", "notice",
                                         "info",  "debug",   NULL};
    static const char *const formats[] = {"text", "json", NULL};
    enum { CHECK = 256, LEVEL, FORMAT, VERSION, HELP };
    static const struct option options[] = {
        {"config", required_argument, NULL, 'c'},
        {"check-config", no_argument, NULL, CHECK},
        {"log-level", required_argument, NULL, LEVEL},
        {"log-format", required_argument, NULL, FORMAT},
        {"version", no_argument, NULL, VERSION},
        {"help", no_argument, NULL, HELP},
        {NULL, 0, NULL, 0},
    };
    bool check = false;
    int opt;

    while ((opt = getopt_long(argc, argv, "c:", options, NULL)) != -1) {
        switch (opt) {
        case 'c':
            opts.config_path = optarg;
            break;
        case CHECK:
            check = true;
            break;
        case LEVEL:
            opts.log_level = index_of(optarg, levels);
            if (opts.log_level < 0) {
                (void)fprintf(stderr, "gojobd: \"%s\" is no log level\n", optarg);
                return EX_USAGE;
            }
            break;
        case FORMAT:
            opts.log_format = index_of(optarg, formats);
            if (opts.log_format < 0) {
                (void)fprintf(stderr, "gojobd: \"%s\" is no log format\n", optarg);
                return EX_USAGE;
            }
            break;
        case VERSION:
            (void)printf("gojobd %s\n", DAEMON_VERSION);
            return 0;
        case HELP:
            usage(stdout);
            return 0;
        default:
            usage(stderr);
            return EX_USAGE;
        }
    }
    if (optind < argc) {
        (void)fprintf(stderr, "gojobd: unexpected \"%s\"\n", argv[optind]);
        usage(stderr);
        return EX_USAGE;
    }
    if (load() < 0)
        return EX_CONFIG;
    if (check)
        return go_main(check_run, argc, argv);
    log_setup(opts.log_level >= 0 ? opts.log_level : config->log.level,
              opts.log_format >= 0 ? opts.log_format : config->log.format);
    raise_limits();
    service_block_signals();
    return go_main(run, argc, argv);
}
