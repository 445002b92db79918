/*
 * Pool: freed blocks of one size, kept for the next allocation. One short list per
 * stripe, and each thread has its stripe, so that taking and giving back is an
 * uncontended lock and a few loads. Blocks beyond a stripe's share go back to malloc.
 * Internal: not installed.
 */
#ifndef GOJOBD_RUNTIME_MEM_POOL_H
#define GOJOBD_RUNTIME_MEM_POOL_H

#include <stddef.h>
#include <stdint.h>

#include "runtime/base/lck.h"

#define RT_POOL_STRIPES 16

struct rt_pool_stripe {
    struct go_lck lock;
    uint32_t n; /* guarded by lock */
    void *free; /* guarded by lock; each block's first word links to the next */
    char pad_[64 - sizeof(struct go_lck) - 8 - sizeof(void *)];
};

/* A static object: the blocks in it stay reachable, and there is nothing to release. */
struct rt_pool {
    size_t size;  /* of a block, at least a pointer's; constant */
    uint32_t max; /* most blocks a stripe keeps; constant */
    struct rt_pool_stripe stripe[RT_POOL_STRIPES];
};

/* A block with undefined content, aligned as by malloc; NULL: no memory. Never parks. */
void *rt_pool_get(struct rt_pool *p);

/* Give back what get returned. */
void rt_pool_put(struct rt_pool *p, void *block);

#endif
