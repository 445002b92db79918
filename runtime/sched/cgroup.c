/*
 * Where the quota is: /proc/self/cgroup names our group in each hierarchy, and
 * /proc/self/mountinfo where that hierarchy is mounted and which of its groups is seen at
 * the mount point (in a container, its own). From our group up to the mount point every
 * directory may hold a limit; the tightest counts.
 *
 *   version 2   one hierarchy, "0::/path"; cpu.max holds "QUOTA PERIOD" or "max PERIOD"
 *   version 1   a hierarchy with the controller cpu, "4:cpu,cpuacct:/path"; cpu.cfs_quota_us
 *               (-1: none) and cpu.cfs_period_us
 *
 * A machine may have both mounted, with the controller in one of them: both are asked, and
 * a file that is missing is no limit.
 */
#define _GNU_SOURCE
#include "runtime/sched/cgroup.h"

#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PATH_ROOM (2 * PATH_MAX)

/* Does the comma-separated list hold word? */
static bool
list_holds(const char *list, const char *word)
{
    size_t n = strlen(word);

    for (; list != NULL; list = strchr(list, ',')) {
        list += *list == ',';
        if (strncmp(list, word, n) == 0 && (list[n] == '\0' || list[n] == ','))
            return true;
    }
    return false;
}

/* --- limits ----------------------------------------------------------------------------------- */

static int
cpus(long long quota, long long period)
{
    if (quota <= 0 || period <= 0)
        return INT_MAX;
    quota = quota / period + (quota % period != 0);
    return quota > INT_MAX ? INT_MAX : (int)quota;
}

/* The first line of dir/name into line: false if there is none. */
static bool
first_line(const char *dir, const char *name, char line[64])
{
    char path[PATH_ROOM + 32];
    FILE *f;
    bool ok;

    (void)snprintf(path, sizeof(path), "%s/%s", dir, name);
    f = fopen(path, "re");
    if (f == NULL)
        return false;
    ok = fgets(line, 64, f) != NULL;
    (void)fclose(f);
    return ok;
}

static int
limit_v2(const char *dir)
{
    char line[64], *end;
    long long quota;

    if (!first_line(dir, "cpu.max", line))
        return INT_MAX;
    quota = strtoll(line, &end, 10); /* "max" reads as 0: no limit */
    return cpus(quota, strtoll(end, NULL, 10));
}

static int
limit_v1(const char *dir)
{
    char quota[64], period[64];

    if (!first_line(dir, "cpu.cfs_quota_us", quota) ||
        !first_line(dir, "cpu.cfs_period_us", period))
        return INT_MAX;
    return cpus(strtoll(quota, NULL, 10), strtoll(period, NULL, 10));
}

/* --- one hierarchy ------------------------------------------------------------------------------ */

/* A line of /proc/self/mountinfo, taken apart where it stands. */
struct mount {
    char *root, *point, *type, *options;
};

/* The kernel writes blanks and backslashes in paths as \ooo. */
static void
unescape(char *s)
{
    char *to = s;

    for (; *s != '\0'; s++) {
        if (s[0] == '\\' && s[1] >= '0' && s[1] <= '3' && s[2] >= '0' && s[2] <= '7' &&
            s[3] >= '0' && s[3] <= '7') {
            *to++ = (char)((s[1] - '0') << 6 | (s[2] - '0') << 3 | (s[3] - '0'));
            s += 3;
        } else {
            *to++ = *s;
        }
    }
    *to = '\0';
}

/* "36 35 98:0 /root /point rw,noatime … - type source options" */
static bool
mount_parse(char *line, struct mount *ret)
{
    char *save, *word[5];
    int n = 0;

    line[strcspn(line, "\n")] = '\0';
    for (char *w = strtok_r(line, " ", &save); w != NULL;
         w = strtok_r(NULL, " ", &save)) {
        if (n < 5)
            word[n++] = w;
        else if (strcmp(w, "-") == 0)
            break;
    }
    ret->type = strtok_r(NULL, " ", &save);
    (void)strtok_r(NULL, " ", &save);
    ret->options = strtok_r(NULL, " ", &save);
    if (n < 5 || ret->type == NULL || ret->options == NULL)
        return false;
    ret->root = word[3];
    ret->point = word[4];
    unescape(ret->root);
    unescape(ret->point);
    return true;
}

/* What of group is below the mount's root: "/a" of "/docker/1/a" for "/docker/1". A group
 * outside of it is not visible there; the mount point then is all there is to ask. */
static const char *
below(const char *group, const char *root)
{
    size_t n = strcmp(root, "/") == 0 ? 0 : strlen(root);

    if (strncmp(group, root, n) != 0 || (group[n] != '/' && group[n] != '\0'))
        return "";
    return strcmp(group + n, "/") == 0 ? "" : group + n;
}

/* The tightest limit from the group up to the mount point. */
static int
least_upwards(const char *root, const struct mount *m, const char *group,
              int (*limit)(const char *dir))
{
    char dir[PATH_ROOM];
    int least = INT_MAX;
    size_t top;
    int n;

    n = snprintf(dir, sizeof(dir), "%s%s%s", root, m->point, below(group, m->root));
    if (n < 0 || (size_t)n >= sizeof(dir))
        return INT_MAX;
    top = strlen(root) + strlen(m->point);
    for (;;) {
        int here = limit(dir);

        if (here < least)
            least = here;
        if (strlen(dir) <= top)
            return least;
        *strrchr(dir, '/') = '\0';
    }
}

/* --- both --------------------------------------------------------------------------------------- */

struct groups {
    char v1[PATH_MAX], v2[PATH_MAX]; /* "": in none */
};

static FILE *
open_proc(const char *root, const char *name)
{
    char path[PATH_ROOM];

    (void)snprintf(path, sizeof(path), "%s/proc/self/%s", root, name);
    return fopen(path, "re");
}

/* "0::/path", "4:cpu,cpuacct:/path" */
static void
read_groups(FILE *f, struct groups *ret)
{
    char *line = NULL;
    size_t room = 0;

    while (getline(&line, &room, f) > 0) {
        char *list = strchr(line, ':');
        char *path = list != NULL ? strchr(list + 1, ':') : NULL;
        char *to;

        if (path == NULL || path[1] != '/')
            continue;
        *list++ = *path++ = '\0';
        path[strcspn(path, "\n")] = '\0';
        if (strcmp(line, "0") == 0 && *list == '\0')
            to = ret->v2;
        else if (list_holds(list, "cpu"))
            to = ret->v1;
        else
            continue;
        (void)snprintf(to, PATH_MAX, "%s", path);
    }
    free(line);
}

int
rt_cgroup_cpus(const char *root)
{
    struct groups groups = {.v1 = "", .v2 = ""};
    int least = INT_MAX;
    char *line = NULL;
    size_t room = 0;
    FILE *f;

    f = open_proc(root, "cgroup");
    if (f == NULL)
        return INT_MAX;
    read_groups(f, &groups);
    (void)fclose(f);
    f = open_proc(root, "mountinfo");
    if (f == NULL)
        return INT_MAX;
    while (getline(&line, &room, f) > 0) {
        struct mount m;
        int here = INT_MAX;

        if (!mount_parse(line, &m))
            continue;
        if (strcmp(m.type, "cgroup2") == 0 && groups.v2[0] != '\0')
            here = least_upwards(root, &m, groups.v2, limit_v2);
        else if (strcmp(m.type, "cgroup") == 0 && groups.v1[0] != '\0' &&
                 list_holds(m.options, "cpu"))
            here = least_upwards(root, &m, groups.v1, limit_v1);
        if (here < least)
            least = here;
    }
    free(line);
    (void)fclose(f);
    return least;
}
