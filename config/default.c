/*
 * Writes gojobd.yaml from the table of keys.
 *
 * In it, "# " begins prose and "#" before anything else a setting that only lacks its
 * removal; sections stand uncommented, because an empty one changes nothing.
 */
#include "config/config.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "config/keys.h"
#include "config/value.h"

/* Each line of text as prose. */
static void
write_prose(struct proto_buf *b, const char *indent, const char *text)
{
    while (*text != '\0') {
        size_t n = strcspn(text, "\n");

        proto_buf_adds(b, indent);
        proto_buf_adds(b, n > 0 ? "# " : "#");
        proto_buf_add(b, text, n);
        proto_buf_addc(b, '\n');
        text += n + (text[n] == '\n');
    }
}

/* What a value may be, where that is not plain from the doc. */
static void
write_bounds(struct proto_buf *b, const char *indent, const struct cfg_key *k)
{
    char low[48], high[48], line[160] = "";

    if (k->type == CFG_INT || k->type == CFG_REAL || k->type == CFG_SIZE ||
        k->type == CFG_DURATION) {
        value_format(k, k->min, low);
        value_format(k, k->max, high);
        (void)snprintf(line, sizeof(line), "From %s to %s.", low, high);
    } else if (k->type == CFG_WORD) {
        (void)snprintf(line, sizeof(line), "One of %s", k->words[0]);
        for (int i = 1; k->words[i] != NULL; i++) {
            strncat(line, ", ", sizeof(line) - strlen(line) - 1);
            strncat(line, k->words[i], sizeof(line) - strlen(line) - 1);
        }
        strncat(line, ".", sizeof(line) - strlen(line) - 1);
    }
    write_prose(b, indent, line);
}

static void
write_key(struct proto_buf *b, const struct cfg_key *k)
{
    const char *dot = strchr(k->path, '.');
    const char *indent = dot == NULL ? "" : "  ";

    proto_buf_addc(b, '\n');
    write_prose(b, indent, k->doc);
    write_bounds(b, indent, k);
    proto_buf_adds(b, indent);
    proto_buf_addc(b, '#');
    proto_buf_adds(b, dot == NULL ? k->path : dot + 1);
    proto_buf_adds(b, ": ");
    proto_buf_adds(b, k->value);
    proto_buf_addc(b, '\n');
}

static void
write_section(struct proto_buf *b, const char *path, size_t n)
{
    for (const struct cfg_section *s = cfg_sections; s->path != NULL; s++) {
        if (strlen(s->path) != n || memcmp(s->path, path, n) != 0)
            continue;
        proto_buf_addc(b, '\n');
        write_prose(b, "", s->doc);
        proto_buf_adds(b, s->path);
        proto_buf_adds(b, ":\n");
    }
}

int
cfg_write_default(struct proto_buf *b)
{
    const char *section = "";

    write_prose(
        b, "",
        "gojobd's configuration: every key with its default. To change one, remove the\n"
        "# in front of it and write the new value; `gojobd --check-config` tells "
        "whether\n"
        "it is right. SIGHUP makes a running daemon read the file again.\n"
        "\n"
        "Durations: 250ms, 30s, 10m, 1h30m, 7d. Sizes: 512, 64KiB, 1GiB.");
    for (const struct cfg_key *k = cfg_keys; k->path != NULL; k++) {
        const char *dot = strchr(k->path, '.');
        size_t n = dot == NULL ? 0 : (size_t)(dot - k->path);

        if (n > 0 && (strncmp(section, k->path, n) != 0 || section[n] != '.'))
            write_section(b, k->path, n);
        section = k->path;
        write_key(b, k);
    }
    return b->failed ? -ENOMEM : 0;
}
