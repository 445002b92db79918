#include "runtime/debug/caller.h"

#include <string.h>

#include "runtime/base/san.h"
#include "runtime/debug/symbol.h"

/* Longest look for a prologue. */
#define PROLOGUE_MAX 4096

GO_NO_SANITIZE uintptr_t
rt_peek(uintptr_t addr)
{
    return *(const volatile uintptr_t *)addr; /* NOLINT(performance-no-int-to-ptr) */
}

#if defined(__x86_64__)

static const unsigned char *
code(uintptr_t addr)
{
    return (const unsigned char *)addr; /* NOLINT(performance-no-int-to-ptr) */
}

/* Whether "mov %rsp,%rbp" lies in [from, to). */
GO_NO_SANITIZE static bool
sets_frame(uintptr_t from, uintptr_t to)
{
    const unsigned char *p = code(from);

    for (uintptr_t i = 0; i + 3 <= to - from && i < PROLOGUE_MAX; i++) {
        if (p[i] == 0x48 && ((p[i + 1] == 0x89 && p[i + 2] == 0xe5) ||
                             (p[i + 1] == 0x8b && p[i + 2] == 0xec)))
            return true;
    }
    return false;
}

GO_NO_SANITIZE bool
rt_is_frameless(uintptr_t pc, bool exact)
{
    struct rt_symbol s;

    /* Code in no object was made at run time. */
    if (!rt_symbol_find(exact ? pc : pc - 1, &s))
        return false;
    /* A stripped library's inner function: most likely one. The program's own: hardly. */
    if (s.name == NULL)
        return strstr(s.object, ".so") != NULL;
    if (strcmp(s.name, "rt_start_") == 0)
        return false; /* nobody called it */
    if (exact && *code(pc) == 0xc3)
        return true; /* its frame is gone already */
    return !sets_frame((exact ? pc : pc - 1) - s.offset, pc);
}

/* Whether a call instruction ends at word; *ret_target is where it goes, 0 if that is in a
 * register or in memory. */
GO_NO_SANITIZE static bool
is_call(uintptr_t word, uintptr_t *ret_target)
{
    const unsigned char *p = code(word);

    *ret_target = 0;
    if (p[-5] == 0xe8) {
        int32_t rel = (int32_t)((uint32_t)p[-4] | (uint32_t)p[-3] << 8 |
                                (uint32_t)p[-2] << 16 | (uint32_t)p[-1] << 24);

        *ret_target = word + (uintptr_t)(intptr_t)rel;
        return true;
    }
    /* ff /2 with a register; with 8 bits, 32 bits of displacement; relative to rip. */
    return (p[-2] == 0xff && (p[-1] & 0xf8) == 0xd0) ||
           (p[-2] == 0xff && (p[-1] & 0xf8) == 0x10) ||
           (p[-3] == 0xff && (p[-2] & 0xf8) == 0x50) ||
           (p[-6] == 0xff && (p[-5] & 0xf8) == 0x90) || (p[-6] == 0xff && p[-5] == 0x15);
}

/* Only code with a name is read: it lies in a mapped section for certain. The bytes before
 * a return address belong to the caller, at least seven of them if it is not its start. */
static bool
in_function(uintptr_t word, struct rt_symbol *ret)
{
    return rt_symbol_find(word - 1, ret) && ret->name != NULL && ret->offset >= 7;
}

bool
rt_is_return(uintptr_t word)
{
    struct rt_symbol s;
    uintptr_t target;

    return in_function(word, &s) && is_call(word, &target);
}

uintptr_t
rt_find_caller(uintptr_t pc, bool exact, uintptr_t lo, uintptr_t hi)
{
    struct rt_symbol callee, caller, called;
    uintptr_t at = exact ? pc : pc - 1;

    if (!rt_symbol_find(at, &callee))
        return 0;
    for (uintptr_t a = lo; a + sizeof(a) <= hi; a += sizeof(a)) {
        uintptr_t word = rt_peek(a), target;

        if (!in_function(word, &caller) || !is_call(word, &target))
            continue;
        if (target != 0 && rt_symbol_find(target, &called) && called.name != NULL) {
            /* A direct call: it must be of the function we are in. */
            if (callee.name == NULL || target == at - callee.offset)
                return a;
        } else if (callee.name == NULL || target == 0 || callee.object != caller.object) {
            return a; /* through a pointer, or the table for calls between objects */
        }
    }
    return 0;
}

#else

/* Elsewhere compilers keep frame records in functions that call, libraries' included. */
bool
rt_is_frameless(uintptr_t pc, bool exact)
{
    (void)pc;
    (void)exact;
    return false;
}

uintptr_t
rt_find_caller(uintptr_t pc, bool exact, uintptr_t lo, uintptr_t hi)
{
    (void)pc;
    (void)exact;
    (void)lo;
    (void)hi;
    return 0;
}

bool
rt_is_return(uintptr_t word)
{
    (void)word;
    return false;
}

#endif
