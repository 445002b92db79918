/*
 * From code addresses to function names, by the ELF symbol tables of the program and its
 * shared objects: .symtab where it was not stripped (static functions too), else .dynsym.
 *
 * rt_symbol_init() notes where the objects lie; their files are mapped and indexed when an
 * address of theirs is first asked for, with plain system calls. So rt_symbol_find() is
 * async-signal-safe, and takes no lock: of two threads that index the same object at once
 * the second throws its work away.
 */
#ifndef GOJOBD_RUNTIME_DEBUG_SYMBOL_H
#define GOJOBD_RUNTIME_DEBUG_SYMBOL_H

#include <stdbool.h>
#include <stdint.h>

struct rt_symbol {
    const char *name;        /* NULL: not known */
    int name_len;            /* without what compilers add: ".constprop.0", ".cold" */
    uintptr_t offset;        /* into the function */
    const char *object;      /* file name without its folder; NULL: in no object */
    uintptr_t object_offset; /* what addr2line -e wants */
};

/* Note the objects loaded by now; again after dlopen(). Takes the dynamic linker's lock:
 * not in a signal handler, nor in a dying process. */
void rt_symbol_init(void);

/* All that is known of pc: false if nothing. The strings stay for ever. */
bool rt_symbol_find(uintptr_t pc, struct rt_symbol *ret);

#endif
