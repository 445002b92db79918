/*
 * From code addresses to lines of the sources, by the program's DWARF line table. Those of
 * shared objects are not read, nor is a table that was stripped or compressed.
 */
#ifndef GOJOBD_RUNTIME_DEBUG_LINE_H
#define GOJOBD_RUNTIME_DEBUG_LINE_H

#include <stddef.h>
#include <stdint.h>

struct go_line {
    uintptr_t pc;  /* of the call, where it came from a backtrace: return address - 1 */
    char file[64]; /* "daemon/rpc.c", its end if it is longer; "" = unknown */
    int line;
};

/* Fills in where each of v[0 … n) stands, in one pass over the table: some milliseconds,
 * however many there are. v is sorted by pc. Blocks on the disk; not async-signal-safe. */
void go_lines(struct go_line *v, size_t n);

#endif
