/*
 * Prints when cron lines fire, for cron_oracle.py to check. Each line of stdin is
 * "ZONE|FROM|TO|CRON": the times after FROM, up to TO, go to one line of stdout.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/schedule/cron.h"
#include "daemon/schedule/tz.h"

static int
answer(struct tz_set *zones, char *line)
{
    char *zone = strtok(line, "|"), *from = strtok(NULL, "|"), *to = strtok(NULL, "|");
    char *text = strtok(NULL, "\n");
    char err[TZ_ERR_MAX], cron_err[CRON_ERR_MAX];
    const struct tz *z;
    struct cron c;
    int64_t at, end;

    if (text == NULL)
        return 1;
    if (tz_set_get(zones, zone, &z, err) < 0) {
        printf("%s\n", err);
        return 0;
    }
    if (cron_parse(text, strlen(text), &c, cron_err) < 0) {
        printf("%s\n", cron_err);
        return 0;
    }
    end = strtoll(to, NULL, 10);
    at = cron_next(&c, z, strtoll(from, NULL, 10));
    for (; at <= end; at = cron_next(&c, z, at))
        printf("%" PRId64 " ", at);
    printf("\n");
    return 0;
}

int
main(void)
{
    struct tz_set *zones = tz_set_new(NULL);
    char line[1024];
    int r = 0;

    while (r == 0 && fgets(line, sizeof(line), stdin) != NULL)
        r = answer(zones, line);
    tz_set_free(zones);
    return r;
}
