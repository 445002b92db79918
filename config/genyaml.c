/* Prints gojobd.yaml: `genyaml > config/gojobd.yaml` after a change of the table of keys. */
#include <stdio.h>

#include "config/config.h"

int
main(void)
{
    struct proto_buf b = {0};

    if (cfg_write_default(&b) < 0 || fwrite(b.data, 1, b.len, stdout) != b.len ||
        fflush(stdout) != 0)
        return 1;
    proto_buf_free(&b);
    return 0;
}
