/*
 * The table of all configuration keys.
 */
#ifndef GOJOBD_CONFIG_KEYS_H
#define GOJOBD_CONFIG_KEYS_H

#include <stddef.h>
#include <stdint.h>

enum cfg_type {
    CFG_BOOL,      /* bool */
    CFG_INT,       /* int64_t */
    CFG_REAL,      /* double; bounds count as whole numbers */
    CFG_MODE,      /* int64_t, written in octal */
    CFG_DURATION,  /* int64_t, nanoseconds */
    CFG_SIZE,      /* int64_t, bytes */
    CFG_STRING,    /* char * */
    CFG_WORD,      /* int, index into words */
    CFG_STRINGS,   /* struct cfg_strings */
    CFG_CIDRS,     /* struct cidr_list */
    CFG_MAP,       /* array of structs whose first member is the entry's name */
    CFG_LIST,      /* array of structs */
    CFG_SCHEDULES, /* array of PbScheduleSpec * */
};

struct cfg_key {
    const char *path; /* "limits.running" */
    enum cfg_type type;
    size_t offset;     /* in struct config, or in the entry's struct */
    const char *value; /* default, as YAML; NULL: must be given (entries only) */
    int64_t min, max;  /* numbers, durations, sizes */
    const char *const *words;
    const struct cfg_key *entry; /* CFG_MAP, CFG_LIST: the keys of an entry */
    size_t entry_size;
    const char *doc; /* lines for gojobd.yaml */
};

/* Ends with a NULL path. Keys of a section stand together. */
extern const struct cfg_key cfg_keys[];

/* What a section is about: path and doc, ended by a NULL path. */
struct cfg_section {
    const char *path;
    const char *doc;
};
extern const struct cfg_section cfg_sections[];

#endif
