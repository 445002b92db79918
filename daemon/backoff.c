#include "daemon/backoff.h"

#include <math.h>
#include <sys/random.h>

int64_t
backoff_at(const struct config *cfg, const PbBackoff *b, int64_t fails, double u)
{
    double wait = (double)cfg->defaults.backoff, max = (double)cfg->defaults.backoff_max;
    double factor = cfg->defaults.backoff_factor, jitter = cfg->defaults.backoff_jitter;

    if (b != NULL) {
        wait = (double)pb_duration_ns(b->initial, (int64_t)wait);
        max = (double)pb_duration_ns(b->max, (int64_t)max);
        factor = PB_GET(b, factor, factor);
        jitter = PB_GET(b, jitter, jitter);
    }
    wait *= pow(factor, (double)fails);
    if (!(wait < max)) /* infinity and what is no number, too */
        wait = max;
    wait *= 1.0 + jitter * (2.0 * u - 1.0);
    return wait > 0 ? (int64_t)wait : 0;
}

int64_t
backoff_ns(const struct config *cfg, const PbBackoff *b, int64_t fails)
{
    uint64_t r = UINT64_MAX / 2;

    (void)!getrandom(&r, sizeof(r), 0);
    return backoff_at(cfg, b, fails, (double)(r >> 11) * 0x1p-53);
}
