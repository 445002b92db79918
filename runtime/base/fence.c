#define _GNU_SOURCE
#include "runtime/base/fence.h"

#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "runtime/base/check.h"

static bool works; /* constant after fence_threads_init() */

static int
membarrier(int cmd)
{
    return (int)syscall(SYS_membarrier, cmd, 0, 0);
}

bool
fence_threads_init(void)
{
    works = membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED) == 0 &&
            membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED) == 0;
    return works;
}

bool
fence_threads_works(void)
{
    return works;
}

void
fence_threads(void)
{
    ENSURE(membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED) == 0);
}
