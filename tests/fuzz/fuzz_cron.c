/*
 * Cron lines, and zone files: read whole or refused with words; and the run after any time
 * is later, on a whole minute, and the same when asked from just before it.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/schedule/cron.h"
#include "daemon/schedule/tz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct tz_set *zones;

static void
check(const struct cron *c, const char *name)
{
    char err[TZ_ERR_MAX];
    const struct tz *z;
    int64_t at = 1774600000;

    if (tz_set_get(zones, name, &z, err) < 0)
        return;
    for (int i = 0; i < 50; i++) {
        int64_t next = cron_next(c, z, at);

        if (next == CRON_NEVER && i > 0) /* 2262, a leap day at a time */
            return;
        if (next <= at || next == CRON_NEVER || next % 60 != 0 ||
            cron_next(c, z, next - 1) != next)
            abort();
        at = next;
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data, *zone;
    char err[TZ_ERR_MAX > CRON_ERR_MAX ? TZ_ERR_MAX : CRON_ERR_MAX] = "";
    struct cron c;
    struct tz *z;
    size_t zone_len, from, column;

    if (zones == NULL)
        zones = tz_set_new(NULL);
    if (size > 4 && memcmp(data, "TZif", 4) == 0) {
        if (tz_parse("fuzz", data, size, &z, err) == 0)
            tz_free(z);
        else if (err[0] == '\0')
            abort();
        return 0;
    }
    from = cron_zone(text, size, &zone, &zone_len);
    if (from > size || zone < text || zone + zone_len > text + size)
        abort();
    column = cron_column(text + from, size - from);
    if (cron_parse(text + from, size - from, &c, err) < 0) {
        if (column > size - from + 1 || err[0] == '\0' || strlen(err) >= CRON_ERR_MAX)
            abort();
        return 0;
    }
    if (column != 0)
        abort();
    check(&c, "Europe/Berlin");
    check(&c, "Australia/Lord_Howe");
    return 0;
}
