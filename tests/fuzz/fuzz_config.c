/* A configuration file: read whole, or refused with a place and words. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "config/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct config *cfg;
    struct cfg_err err;

    if (cfg_parse("fuzz.yaml", (const char *)data, size, &cfg, &err) < 0) {
        if (strncmp(err.text, "fuzz.yaml:", 10) != 0)
            abort();
        return 0;
    }
    cfg_free(cfg);
    return 0;
}
