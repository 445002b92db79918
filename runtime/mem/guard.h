/*
 * Guard pages below stacks. Internal.
 *
 * MADV_GUARD_INSTALL (Linux 6.13) costs no mapping. Before that there is mprotect(), which
 * splits the mapping: two more for each guard, of the vm.max_map_count (65530) that a process
 * may have. So that a million goroutines can park there, too, and that the program keeps some
 * mappings for itself, stacks past a budget go without; an overflow of those is found late
 * (stack_check).
 */
#ifndef GOJOBD_RUNTIME_MEM_GUARD_H
#define GOJOBD_RUNTIME_MEM_GUARD_H

#include <stdbool.h>

#define GUARD_SIZE 4096

enum guard_method { GUARD_NONE, GUARD_MADVISE, GUARD_MPROTECT };

/* Probe the kernel and choose. $GODEBUG's guard=madvise|mprotect|none overrides. */
void guard_init(void);
enum guard_method guard_method(void);

/* Make the page at at, of a private mapping, fault: 1; 0: it is to go without; -errno.
 * rather: from what the budget keeps for the purpose. Any thread. */
int guard_install(char *at, bool rather);

#endif
