/*
 * Goroutine stacks: reserved in large mappings, grown by page faults, shrunk by the
 * scavenger. Internal.
 *
 * A stack is bound to a goroutine at its first run, not when it is spawned: goroutines that
 * wait for their turn cost a record only, and a finished one's stack, still in the cache,
 * serves the next. (docs/decisions/0002-stacks-are-bound-at-the-first-run.md)
 *
 *   slot   lo-guard        lo                                              desc      hi
 *          | guard page(s) | usable, grows down <------------------ frames | struct  |
 */
#ifndef GOJOBD_RUNTIME_MEM_STACK_H
#define GOJOBD_RUNTIME_MEM_STACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct go_g;
struct go_p;

#define STACK_CLASSES   11 /* 64 KiB << class: 64 KiB … 64 MiB */
#define STACK_MIN       ((size_t)64 << 10)
#define STACK_CLASS_DEF 2 /* 256 KiB */
#define STACK_CANARY    0x6b617473u

/* The descriptor at the top of each slot. */
struct go_stack {
    uintptr_t lo;          /* lowest usable address */
    uintptr_t hi;          /* end of the slot; this struct is just below */
    struct go_stack *next; /* link in a free list */
    void *fiber;           /* TSan's; NULL else */
    uint32_t size_class;
    uint32_t slot;     /* number in its class */
    uint32_t valgrind; /* stack id */
    uint32_t trimmed;  /* g->runs at the scavenger's last visit: no second one needed */
    uint32_t bare;     /* no guard page; see stack_check() */
    uint32_t canary;   /* last: an overflow from above comes upon it first */
};

/* Read $GOSTACK; choose how guard pages are made. */
void stack_init(void);

/* The class for a wish in bytes (0: the default), clamped. */
uint32_t stack_class(size_t size);

/* Reserve address space for n more stacks of the default class. 0 or -ENOMEM. */
int stack_reserve(uint32_t n);

/* Bind a stack to g, which has none: 0, or -ENOMEM (guard pages or memory exhausted).
 * stack_bind_cached is the fast part, from p's cache only: false if that is empty. */
bool stack_bind_cached(struct go_p *p, struct go_g *g);
int stack_bind(struct go_p *p, struct go_g *g);

/* Take g's stack from it, into p's cache or (p NULL, cache full) the central pool. */
void stack_unbind(struct go_p *p, struct go_g *g);

/* End the process if g, at rest or dead, has run off its stack s, which is bare, as far as
 * can be told afterwards. stack_unbind() and the scavenger ask. */
void stack_check(const struct go_g *g, const struct go_stack *s);

/* Hand the running stack of one goroutine that ended to a new one of the same class. */
void stack_pass_on(struct go_g *from, struct go_g *to);

/* Give all of p's cached stacks back to the central pool: p goes idle or retires. */
void stack_flush(struct go_p *p);

/* For the statistics: that much address space was offered back to the system. */
void stack_count_released(size_t bytes);

struct stack_stats {
    int64_t reserved, inuse, cached, released;
};
void stack_stats(struct stack_stats *ret);

/* Give back the pages of up to max stacks that were free since the last call; how many.
 * sysmon only. */
uint32_t stack_release_free(uint32_t max);

/* The next bit of background shrinking; true while there is more to come. sysmon only;
 * mem/scavenge.c. */
bool stack_scavenge(int64_t now);

#endif
